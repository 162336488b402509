//! Moments: their parts, their numbers since 1970, their texts, and the zones of others. The
//! session's zone is UTC. Source: Spark's `datetimeExpressions` and `TimestampFormatter`.

use arrow::datatypes::DataType;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{Decimal128Type, Int32Type};

use super::Call;
use super::rows::{Cell, Int, LocalMoment, Long, Moment, Text, Tried, rows1, try_rows, try_rows1};
use crate::bind::Bind;
use crate::bind::coerce::is_integer;
use crate::cast::{self, days_from_civil, offset_at, offset_of, too_far};
use crate::error::SqlError;
use crate::java_time::{PatternError, TimePattern};
use crate::operation::{Bound, on_arrays};
use crate::types::timestamp;

const DEFAULT: &str = "yyyy-MM-dd HH:mm:ss";

/// Floor division towards the past.
fn seconds(micros: i64) -> i64 {
    micros.div_euclid(1_000_000)
}

pub(super) fn hour(call: Call) -> Bind {
    call.one::<Moment, Int>(|micros| Some((seconds(micros).rem_euclid(86_400) / 3600) as i32))
}

pub(super) fn minute(call: Call) -> Bind {
    call.one::<Moment, Int>(|micros| Some((seconds(micros).rem_euclid(3600) / 60) as i32))
}

pub(super) fn second(call: Call) -> Bind {
    call.one::<Moment, Int>(|micros| Some(seconds(micros).rem_euclid(60) as i32))
}

/// DECIMAL(8,6).
pub(super) fn second_with_fraction(mut call: Call) -> Bind {
    call.arity(1..=1)?;
    call.cast(0, &timestamp())?;
    let kernel = on_arrays(|args| {
        let micros = args[0].as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        let seconds =
            micros.iter().map(|micros| micros.map(|micros| i128::from(micros.rem_euclid(60_000_000))));
        Ok(Arc::new(seconds.collect::<Decimal128Array>().with_precision_and_scale(8, 6)?) as ArrayRef)
    });
    call.apply(DataType::Decimal128(8, 6), kernel)
}

pub(super) fn unix_seconds(call: Call) -> Bind {
    call.one::<Moment, Long>(|micros| Some(seconds(micros)))
}

pub(super) fn unix_millis(call: Call) -> Bind {
    call.one::<Moment, Long>(|micros| Some(micros.div_euclid(1000)))
}

pub(super) fn unix_micros(call: Call) -> Bind {
    call.one::<Moment, Long>(Some)
}

/// A moment by its number since 1970; beyond what a timestamp holds Spark stops its query.
fn from_number(mut call: Call, micros_per_unit: i64) -> Bind {
    call.arity(1..=1)?;
    if call.args[0].kind == DataType::Null {
        return Ok(Bound::null(&timestamp()));
    }
    if micros_per_unit == 1_000_000 && !is_integer(&call.args[0].kind) {
        // Fractions of a second are kept, as CAST does.
        return match call.args[0].kind {
            DataType::Float32 | DataType::Float64 => {
                let (value, span) = (call.args.remove(0), call.span);
                cast::explicit(value, &timestamp(), span)
            }
            _ => Err(call.refuse()),
        };
    }
    if !is_integer(&call.args[0].kind) {
        return Err(call.refuse());
    }
    let narrow = call.args[0].kind != DataType::Int64 || micros_per_unit == 1;
    if !narrow && call.args[0].constant().is_none() {
        // What does not fit becomes null here, and stops the query there.
        return Err(SqlError::unsupported(
            format!("{} of a BIGINT column: a number too large stops Spark's query", call.name),
            call.span,
        )
        .help("CAST it AS TIMESTAMP for seconds, or divide it by 1000 before"));
    }
    let constant = call.args[0].constant().is_some_and(|value| !value.is_null());
    let span = call.span.clone();
    let moment = call.one::<Long, Moment>(move |number| number.checked_mul(micros_per_unit))?;
    if constant && moment.is_null_constant() {
        return Err(SqlError::invalid("this is too large for a timestamp", span));
    }
    Ok(moment)
}

pub(super) fn timestamp_seconds(call: Call) -> Bind {
    from_number(call, 1_000_000)
}

pub(super) fn timestamp_millis(call: Call) -> Bind {
    from_number(call, 1_000)
}

pub(super) fn timestamp_micros(call: Call) -> Bind {
    from_number(call, 1)
}

impl Call {
    /// The pattern at `at`; `None` where it is null.
    fn time_pattern(&self, at: usize, to_read: bool) -> Bind<Option<(String, TimePattern)>> {
        let Some(text) = self.constant_text(at, "the pattern")? else { return Ok(None) };
        let pattern = TimePattern::new(&text).and_then(|pattern| {
            if to_read {
                pattern.check_read()?;
            }
            Ok(pattern)
        });
        let span = self.spans.get(at).unwrap_or(&self.span).clone();
        match pattern {
            Ok(pattern) => Ok(Some((text, pattern))),
            Err(PatternError::Invalid(what)) => Err(SqlError::invalid(what, span)),
            Err(PatternError::Unsupported(what)) => Err(SqlError::unsupported(
                format!("{what} in a pattern of times is not answered natively"),
                span,
            )
            .help("run the flow on Spark (`runner: spark`)")),
        }
    }

    /// A moment out of a text by the pattern at `at`.
    fn read_moment<R: Cell<Owned = i64>>(mut self, at: usize) -> Bind {
        let Some((text, pattern)) = self.time_pattern(at, true)? else { return Ok(Bound::null(&R::kind())) };
        self.args.truncate(1);
        self.cast(0, &DataType::Utf8)?;
        let name = format!("read {text}");
        self.apply_as(name, R::kind(), try_rows1::<Text, R>(move |text| pattern.read(text)))
    }
}

pub(super) fn date_format(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    let Some((text, pattern)) = call.time_pattern(1, false)? else { return Ok(Bound::null(&DataType::Utf8)) };
    call.args.truncate(1);
    call.cast(0, &timestamp())?;
    let kernel = rows1::<Moment, Text>(move |micros| Some(pattern.write(micros)));
    call.apply_as(format!("date_format {text}"), DataType::Utf8, kernel)
}

pub(super) fn from_unixtime(mut call: Call) -> Bind {
    call.arity(1..=2)?;
    let pattern = match call.args.len() {
        1 => Some((DEFAULT.to_owned(), default_pattern())),
        _ => call.time_pattern(1, false)?,
    };
    let Some((text, pattern)) = pattern else { return Ok(Bound::null(&DataType::Utf8)) };
    call.args.truncate(1);
    call.cast(0, &DataType::Int64)?;
    let kernel = rows1::<Long, Text>(move |seconds| Some(pattern.write(seconds.wrapping_mul(1_000_000))));
    call.apply_as(format!("from_unixtime {text}"), DataType::Utf8, kernel)
}

fn default_pattern() -> TimePattern {
    TimePattern::new(DEFAULT).expect("the default is a pattern")
}

/// Seconds since 1970 of a date, a moment, or a text in the pattern.
pub(super) fn unix_timestamp(mut call: Call) -> Bind {
    if call.args.is_empty() {
        return Err(SqlError::unsupported("unix_timestamp() is another one for every batch", call.span)
            .help("keep the time in the message, or run the flow on Spark (`runner: spark`)"));
    }
    call.arity(1..=2)?;
    match call.args[0].kind {
        DataType::Date32 | DataType::Timestamp(..) => {
            call.args.truncate(1);
            return whole_seconds(call);
        }
        DataType::Utf8 | DataType::Null => {}
        _ => return Err(call.refuse()),
    }
    if call.args.len() == 1 {
        call.args.push(super::search::text(DEFAULT));
        call.spans.push(call.span.clone());
    }
    let span = call.span.clone();
    let moment = call.read_moment::<Moment>(1)?;
    let spans = vec![span.clone()];
    whole_seconds(Call::new("unix_timestamp", vec![moment], spans, span))
}

/// Seconds since 1970 towards zero: `unix_seconds` goes down.
fn whole_seconds(call: Call) -> Bind {
    call.one::<Moment, Long>(|micros| Some(micros / 1_000_000))
}

pub(super) fn to_date(mut call: Call) -> Bind {
    call.arity(1..=2)?;
    let span = call.span.clone();
    if call.args.len() == 1 || call.args[0].kind != DataType::Utf8 {
        if matches!(
            call.args[0].kind,
            DataType::Utf8 | DataType::Null | DataType::Date32 | DataType::Timestamp(..)
        ) {
            return cast::explicit(call.args.remove(0), &DataType::Date32, span);
        }
        return Err(call.refuse());
    }
    let moment = call.read_moment::<Moment>(1)?;
    cast::explicit(moment, &DataType::Date32, span)
}

fn to_moment<R: Cell<Owned = i64>>(mut call: Call) -> Bind {
    call.arity(1..=2)?;
    let span = call.span.clone();
    if call.args.len() == 1 || call.args[0].kind != DataType::Utf8 {
        let kinds = matches!(
            call.args[0].kind,
            DataType::Utf8 | DataType::Null | DataType::Date32 | DataType::Timestamp(..)
        );
        let numbers = call.args.len() == 1
            && (is_integer(&call.args[0].kind) || matches!(call.args[0].kind, DataType::Float64));
        if kinds || numbers {
            return cast::explicit(call.args.remove(0), &R::kind(), span);
        }
        return Err(call.refuse());
    }
    call.read_moment::<R>(1)
}

pub(super) fn to_timestamp(call: Call) -> Bind {
    to_moment::<Moment>(call)
}

pub(super) fn to_timestamp_ntz(call: Call) -> Bind {
    if call.args.len() == 2 && call.constant_text(1, "the pattern")?.is_some_and(|text| text.contains('X')) {
        return Err(call.refuse());
    }
    to_moment::<LocalMoment>(call)
}

/// A moment as a clock in that zone shows it.
pub(super) fn from_utc_timestamp(call: Call) -> Bind {
    shifted(call, |zone, micros| micros.checked_add(i64::from(offset_of(zone, micros)?) * 1_000_000))
}

/// The moment at which a clock in that zone shows it.
pub(super) fn to_utc_timestamp(call: Call) -> Bind {
    shifted(call, |zone, micros| micros.checked_sub(i64::from(offset_at(zone, micros)?) * 1_000_000))
}

fn shifted(mut call: Call, shift: fn(&str, i64) -> Option<i64>) -> Bind {
    call.arity(2..=2)?;
    let Some(zone) = call.zone(1)? else { return Ok(Bound::null(&timestamp())) };
    call.args.truncate(1);
    call.cast(0, &timestamp())?;
    let name = format!("{} {zone}", call.name);
    let kernel =
        try_rows1::<Moment, Moment>(move |micros| shift(&zone, micros).map(Some).ok_or_else(too_far));
    call.apply_as(name, timestamp(), kernel)
}

impl Call {
    /// The zone at `at`; a name that is none would stop Spark's query.
    fn zone(&self, at: usize) -> Bind<Option<String>> {
        let Some(zone) = self.constant_text(at, "the zone")? else { return Ok(None) };
        match offset_of(&zone, 0) {
            Some(_) => Ok(Some(zone)),
            None => Err(SqlError::invalid(format!("`{zone}` is no time zone"), self.spans[at].clone())
                .help("write a region like Europe/Paris or an offset like +02:00")),
        }
    }
}

/// `convert_timezone([from,] to, time)`, for times without a zone.
pub(super) fn convert_timezone(mut call: Call) -> Bind {
    call.arity(2..=3)?;
    let from = if call.args.len() == 3 { call.zone(0)? } else { Some("UTC".to_owned()) };
    let at = call.args.len() - 2;
    let to = call.zone(at)?;
    let kind = LocalMoment::kind();
    let (Some(from), Some(to)) = (from, to) else { return Ok(Bound::null(&kind)) };
    let name = format!("convert_timezone {from} {to}");
    let span = call.spans[at + 1].clone();
    let value = cast::explicit(call.args.remove(at + 1), &kind, span)?;
    call.args = vec![value];
    let shift = move |local: i64| {
        let utc = local.checked_sub(i64::from(offset_at(&from, local)?) * 1_000_000)?;
        utc.checked_add(i64::from(offset_of(&to, utc)?) * 1_000_000)
    };
    let kernel =
        try_rows1::<LocalMoment, LocalMoment>(move |local| shift(local).map(Some).ok_or_else(too_far));
    call.apply_as(name, kind, kernel)
}

pub(super) fn make_timestamp(call: Call) -> Bind {
    make_moment::<Moment>(call)
}

pub(super) fn make_timestamp_ntz(call: Call) -> Bind {
    if call.args.len() > 6 {
        return Err(call.refuse());
    }
    make_moment::<LocalMoment>(call)
}

/// Out of year, month, day, hour, minute and second; null where no clock shows that.
fn make_moment<R: Cell<Owned = i64>>(mut call: Call) -> Bind {
    call.arity(6..=7)?;
    let zone = match call.args.len() {
        7 => match call.zone(6)? {
            Some(zone) => zone,
            None => return Ok(Bound::null(&R::kind())),
        },
        _ => "UTC".to_owned(),
    };
    call.args.truncate(6);
    for at in 0..5 {
        call.cast(at, &DataType::Int32)?;
    }
    call.cast(5, &DataType::Decimal128(16, 6))?;
    let name = format!("{} {zone}", call.name);
    let kernel = on_arrays(move |args| {
        try_rows::<R>(args, |row| {
            let part = |at: usize| i64::from(args[at].as_primitive::<Int32Type>().value(row));
            let micros = args[5].as_primitive::<Decimal128Type>().value(row);
            let local = local_moment([part(0), part(1), part(2), part(3), part(4)], micros);
            local.map_or(Ok(None), |local| moment_at(&zone, local))
        })
    });
    call.apply_as(name, R::kind(), kernel)
}

/// Microseconds since 1970 as that clock shows them.
fn local_moment([year, month, day, hour, minute]: [i64; 5], micros: i128) -> Option<i128> {
    /// Java's last year.
    const YEAR_MAX: i64 = 999_999_999;
    let days = days_from_civil(year, month, day).filter(|_| year.abs() <= YEAR_MAX)?;
    // Of the seconds Spark takes the low 32 bits.
    let micros = micros as i32;
    // Second 60 is the next minute's first, as in PostgreSQL, but only as it is.
    let fits = (0..=23).contains(&hour) && (0..=59).contains(&minute) && (0..=60_000_000).contains(&micros);
    let of_day = (hour * 60 + minute) * 60_000_000 + i64::from(micros);
    fits.then(|| i128::from(days) * 86_400_000_000 + i128::from(of_day))
}

/// The moment at which a clock in that zone shows it.
fn moment_at(zone: &str, local: i128) -> Tried<Moment> {
    let nearest = local.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
    let Some(offset) = offset_at(zone, nearest) else { return Ok(None) };
    (local - i128::from(offset) * 1_000_000).try_into().map(Some).map_err(|_| too_far())
}

#[cfg(test)]
mod tests {
    use crate::answer;

    #[test]
    fn what_no_timestamp_holds_stops_the_query() {
        for value in [
            "make_timestamp(300000, 1, 1, 0, 0, 0)",
            "make_timestamp_ntz(-300000, 1, 1, 0, 0, 0)",
            "make_timestamp(294247, 1, 10, 4, 0, 54.775808)",
            "try_make_timestamp(300000, 1, 1, 0, 0, 0)",
            "to_timestamp('+300000-01-01', 'yyyy-MM-dd')",
            "to_date('1000000-01-01', 'y-MM-dd')",
            "unix_timestamp('-300000-01-01', 'yyyy-MM-dd')",
            "to_utc_timestamp(timestamp_micros(9223372036854775807), '-01:00')",
        ] {
            let error = answer(&format!("SELECT {value}")).expect_err(value);
            assert!(error.message.contains("beyond"), "{value}: {error}");
        }
    }

    #[test]
    fn moments_are_made_of_what_fits_32_bits() {
        for (arguments, expected) in [
            ("294247, 1, 10, 4, 0, 54.775807", Some("+294247-01-10 04:00:54.775807")),
            ("294247, 1, 10, 5, 0, 54.775807, '+01:00'", Some("+294247-01-10 04:00:54.775807")),
            ("1000000000, 1, 1, 0, 0, 0", None),
            ("2024, 2, 28, 6, 30, 4295.5", Some("2024-02-28 06:30:00.532704")),
            ("2024, 2, 28, 6, 30, 4354.967296", Some("2024-02-28 06:31:00")),
            ("2024, 2, 28, 6, 30, -4294.467296", Some("2024-02-28 06:30:00.5")),
            ("2024, 2, 28, 6, 30, -0.5", None),
            ("2024, 2, 28, 6, 30, 60.5", None),
        ] {
            let sql = format!("SELECT make_timestamp({arguments})");
            let answer = answer(&sql).expect(&sql).expect("a row");
            assert_eq!(answer.text, [expected.map(str::to_owned)], "{sql}");
        }
    }
}
