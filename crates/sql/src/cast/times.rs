//! Dates and timestamps: read from text, printed, and cast to and from numbers. The calendar is
//! the proleptic Gregorian one, the session's time zone UTC.
//! Sources: Spark's `SparkDateTimeUtils.stringToDate` and `parseTimestampString`.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, PrimitiveArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::try_unary;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType, i256,
};
use arrow::error::ArrowError;

use super::from_text::{java_trim, trim_all};
use super::zones::{offset_at, offset_of};
use crate::functions::decimal::rescale;
use crate::operation::{Kernel, on_arrays};

const MICROS_PER_SECOND: i64 = 1_000_000;
pub(super) const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_EPOCH: i64 = 719_468;

/// Days since 1970-01-01; `None` where there is no such day.
/// The arithmetic: <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - DAYS_TO_EPOCH,
    )
}

pub(crate) fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Year, month and day of a day since 1970-01-01.
pub(crate) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_EPOCH;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// Days since 1970 of a text like `2020-1-2`; what follows a blank or a `T` does not count.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    let text = trim_all(text);
    let (sign, rest) = signed(text)?;
    let end = rest.find([' ', 'T']).unwrap_or(rest.len());
    let parts: Vec<_> = rest[..end].splitn(3, '-').collect();
    if parts.len() < 3 && end < rest.len() {
        return None;
    }
    let mut numbers = [1, 1, 1];
    for (at, part) in parts.iter().enumerate() {
        let digits = if at == 0 { 4..=7 } else { 1..=2 };
        numbers[at] = digits_of(part, digits)?;
    }
    days_from_civil(sign * numbers[0], numbers[1], numbers[2])
}

/// The sign in front, and the rest, which is not empty.
fn signed(text: &str) -> Option<(i64, &str)> {
    Some(match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    })
}

pub(super) fn digits_of(text: &str, count: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let digits = count.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// As [`parse_timestamp`], for a time without a zone: one that is given does not count, and a date
/// must be there.
pub(super) fn parse_local(text: &str) -> Option<i64> {
    let parts = parse_parts(text)?;
    let local = i64::try_from(local_micros(parts.day?, parts.micros)).ok()?;
    parts.zone.is_none_or(|zone| offset_at(zone, local).is_some()).then_some(local)
}

/// Microseconds since 1970 of a text like `2020-1-2 3:4:5.678+02:00`; a time alone is one of today.
pub(crate) fn parse_timestamp(text: &str) -> Option<i64> {
    moment(text, || jiff::Timestamp::now().as_microsecond())
}

/// `now` is asked only where a time stands alone.
fn moment(text: &str, now: impl FnOnce() -> i64) -> Option<i64> {
    let Parts { day, micros, zone } = parse_parts(text)?;
    let day = match day {
        Some(day) => day,
        None => today(now(), zone)?,
    };
    let local = local_micros(day, micros);
    let offset_seconds = match zone {
        None => 0,
        Some(zone) => offset_at(zone, local.clamp(i64::MIN.into(), i64::MAX.into()) as i64)?,
    };
    i64::try_from(local - i128::from(offset_seconds) * i128::from(MICROS_PER_SECOND)).ok()
}

/// The day that it is in a zone.
fn today(now: i64, zone: Option<&str>) -> Option<i64> {
    let offset_seconds = zone.map_or(Some(0), |zone| offset_of(zone, now))?;
    Some((now + i64::from(offset_seconds) * MICROS_PER_SECOND).div_euclid(MICROS_PER_DAY))
}

fn local_micros(day: i64, micros: i64) -> i128 {
    i128::from(day) * i128::from(MICROS_PER_DAY) + i128::from(micros)
}

/// What stands in the text of a timestamp.
struct Parts<'a> {
    /// Since 1970; none where a time stands alone.
    day: Option<i64>,
    /// Since midnight.
    micros: i64,
    zone: Option<&'a str>,
}

fn parse_parts(text: &str) -> Option<Parts<'_>> {
    // A `T` in front counts only where nothing was trimmed.
    let may_begin_with_t = text.starts_with('T');
    let text = trim_all(text);
    let (sign, rest) = signed(text)?;
    let has_sign = rest.len() < text.len();
    let (day, time) = if let Some(time) = rest.strip_prefix('T').filter(|_| may_begin_with_t) {
        (None, Some(time))
    } else if !has_sign && is_time(rest) {
        (None, Some(rest))
    } else {
        let end = rest.find([' ', 'T']).unwrap_or(rest.len());
        let parts: Vec<_> = rest[..end].split('-').collect();
        let time = (end < rest.len()).then(|| &rest[end + 1..]);
        if parts.len() > 3 || (parts.len() < 3 && time.is_some()) {
            return None;
        }
        let mut numbers = [1, 1, 1];
        for (at, part) in parts.iter().enumerate() {
            numbers[at] = digits_of(part, if at == 0 { 4..=6 } else { 1..=2 })?;
        }
        (Some(days_from_civil(sign * numbers[0], numbers[1], numbers[2])?), time)
    };
    let (micros, zone) = match time {
        None => (0, None),
        Some(time) => parse_time(time)?,
    };
    Some(Parts { day, micros, zone })
}

/// Whether a text without a date begins with hours: `3:4`.
fn is_time(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (1..=2).contains(&digits) && text.as_bytes().get(digits) == Some(&b':')
}

/// Microseconds since midnight, and the zone's name.
fn parse_time(text: &str) -> Option<(i64, Option<&str>)> {
    let mut parts = [0_i64; 3];
    let mut rest = text;
    let mut count = 0;
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        parts[count] = digits_of(&rest[..digits], 1..=2)?;
        rest = &rest[digits..];
        count += 1;
        match rest.strip_prefix(':') {
            Some(after) if count < 3 => rest = after,
            _ => break,
        }
    }
    // A zone can only follow the seconds.
    if !rest.is_empty() && count < 3 {
        return None;
    }
    let mut micros = 0;
    if let Some(after) = rest.strip_prefix('.') {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let kept = &after[..digits.min(6)];
        micros = format!("{kept:0<6}").parse().ok()?;
        rest = &after[digits..];
    }
    let zone = (!rest.is_empty()).then(|| java_trim(rest));
    let [hours, minutes, seconds] = parts;
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    Some((((hours * 60 + minutes) * 60 + seconds) * MICROS_PER_SECOND + micros, zone))
}

/// `2020-01-02`; years beyond 9999 have a sign.
pub(super) fn write_date(days: i64, out: &mut String) {
    let (year, month, day) = civil_from_days(days);
    let sign = if year < 0 {
        "-"
    } else if year > 9999 {
        "+"
    } else {
        ""
    };
    write!(out, "{sign}{:04}-{month:02}-{day:02}", year.abs()).expect("writing to a text");
}

/// `2020-01-02 03:04:05.6`, without zeros at the end of the fraction.
pub(super) fn write_timestamp(micros: i64, out: &mut String) {
    write_date(micros.div_euclid(MICROS_PER_DAY), out);
    let of_day = micros.rem_euclid(MICROS_PER_DAY);
    let seconds = of_day / MICROS_PER_SECOND;
    write!(out, " {:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
        .expect("writing to a text");
    let fraction = of_day % MICROS_PER_SECOND;
    if fraction > 0 {
        let digits = format!("{fraction:06}");
        write!(out, ".{}", digits.trim_end_matches('0')).expect("writing to a text");
    }
}

pub(super) fn kernel(from: &DataType, to: &DataType) -> Option<Kernel> {
    use DataType as D;
    Some(match (from, to) {
        (D::Date32, D::Timestamp(_, Some(_))) => on_arrays(|args| Ok(utc(midnights(&args[0])?))),
        (D::Timestamp(..), D::Date32) => on_arrays(|args| {
            let days =
                micros_of(&args[0]).iter().map(|micros| Some(micros?.div_euclid(MICROS_PER_DAY) as i32));
            Ok(Arc::new(days.collect::<Date32Array>()))
        }),
        // The session's clock shows UTC.
        (D::Timestamp(..), D::Timestamp(_, zone)) => {
            let zone = zone.clone();
            on_arrays(move |args| Ok(Arc::new(micros_of(&args[0]).clone().with_timezone_opt(zone.clone()))))
        }
        (D::Date32, D::Timestamp(_, None)) => on_arrays(|args| Ok(Arc::new(midnights(&args[0])?))),
        (D::Timestamp(_, None), to) if *to != D::Date32 => return None,
        // Spark takes these and always answers null.
        (D::Date32, D::Boolean | D::Int8 | D::Int16 | D::Int32 | D::Int64 | D::Float32 | D::Float64)
        | (D::Date32, D::Decimal128(..)) => {
            let to = to.clone();
            on_arrays(move |args| Ok(new_null_array(&to, args[0].len())))
        }
        (D::Timestamp(..), D::Boolean) => on_arrays(|args| {
            let values = micros_of(&args[0]).iter().map(|micros| micros.map(|micros| micros != 0));
            Ok(Arc::new(values.collect::<BooleanArray>()))
        }),
        (D::Timestamp(..), D::Int8) => from_timestamp::<Int8Type>(|micros| seconds(micros).try_into().ok()),
        (D::Timestamp(..), D::Int16) => from_timestamp::<Int16Type>(|micros| seconds(micros).try_into().ok()),
        (D::Timestamp(..), D::Int32) => from_timestamp::<Int32Type>(|micros| seconds(micros).try_into().ok()),
        (D::Timestamp(..), D::Int64) => from_timestamp::<Int64Type>(|micros| Some(seconds(micros))),
        (D::Timestamp(..), D::Float32) => {
            from_timestamp::<Float32Type>(|micros| Some(exact_seconds(micros) as f32))
        }
        (D::Timestamp(..), D::Float64) => from_timestamp::<Float64Type>(|micros| Some(exact_seconds(micros))),
        (D::Timestamp(..), D::Decimal128(precision, scale)) => {
            let (precision, scale) = (*precision, *scale);
            on_arrays(move |args| {
                let micros = micros_of(&args[0]).iter();
                let decimals: Decimal128Array =
                    micros.map(|micros| rescale(micros?.into(), 6, precision, scale)).collect();
                Ok(Arc::new(decimals.with_precision_and_scale(precision, scale)?))
            })
        }
        (D::Boolean, D::Timestamp(_, Some(_))) => {
            on_arrays(|args| Ok(utc(args[0].as_boolean().iter().map(|value| value.map(i64::from)).collect())))
        }
        (D::Int8, D::Timestamp(_, Some(_))) => to_timestamp::<Int8Type>(|n| Some(from_seconds(n.into()))),
        (D::Int16, D::Timestamp(_, Some(_))) => to_timestamp::<Int16Type>(|n| Some(from_seconds(n.into()))),
        (D::Int32, D::Timestamp(_, Some(_))) => to_timestamp::<Int32Type>(|n| Some(from_seconds(n.into()))),
        (D::Int64, D::Timestamp(_, Some(_))) => to_timestamp::<Int64Type>(|n| Some(from_seconds(n))),
        (D::Float32, D::Timestamp(_, Some(_))) => {
            to_timestamp::<Float32Type>(|n| from_exact_seconds(n.into()))
        }
        (D::Float64, D::Timestamp(_, Some(_))) => to_timestamp::<Float64Type>(from_exact_seconds),
        (D::Decimal128(_, scale), D::Timestamp(_, Some(_))) => {
            let divisor = 10_i128.pow(scale.unsigned_abs().into());
            on_arrays(move |args| {
                let numbers = args[0].as_primitive::<Decimal128Type>().iter();
                Ok(utc(numbers.map(|unscaled| Some(decimal_micros(unscaled?, divisor))).collect()))
            })
        }
        _ => return None,
    })
}

/// What stops Spark's query, too.
pub(crate) fn too_far() -> ArrowError {
    ArrowError::ComputeError("a date or time is beyond what its type holds".into())
}

/// When the days of a column begin.
fn midnights(days: &ArrayRef) -> Result<TimestampMicrosecondArray, ArrowError> {
    let midnight = |days: i32| i64::from(days).checked_mul(MICROS_PER_DAY).ok_or_else(too_far);
    try_unary(days.as_primitive::<Date32Type>(), midnight)
}

fn micros_of(array: &ArrayRef) -> &TimestampMicrosecondArray {
    array.as_primitive::<TimestampMicrosecondType>()
}

fn utc(micros: TimestampMicrosecondArray) -> ArrayRef {
    Arc::new(micros.with_timezone("UTC"))
}

/// What does not fit is null, not cut as elsewhere.
fn from_timestamp<T: ArrowPrimitiveType>(convert: fn(i64) -> Option<T::Native>) -> Kernel {
    on_arrays(move |args| {
        let values = micros_of(&args[0]).iter().map(|micros| convert(micros?));
        Ok(Arc::new(values.collect::<PrimitiveArray<T>>()) as ArrayRef)
    })
}

fn to_timestamp<T: ArrowPrimitiveType>(convert: fn(T::Native) -> Option<i64>) -> Kernel {
    on_arrays(move |args| {
        let numbers = args[0].as_primitive::<T>().iter();
        Ok(utc(numbers.map(|number| convert(number?)).collect()))
    })
}

fn seconds(micros: i64) -> i64 {
    micros.div_euclid(MICROS_PER_SECOND)
}

fn exact_seconds(micros: i64) -> f64 {
    micros as f64 / MICROS_PER_SECOND as f64
}

fn from_seconds(seconds: i64) -> i64 {
    seconds.saturating_mul(MICROS_PER_SECOND)
}

/// The low 64 bits, as Java's `longValue` gives them.
fn decimal_micros(unscaled: i128, divisor: i128) -> i64 {
    match unscaled.checked_mul(MICROS_PER_SECOND.into()) {
        Some(micros) => (micros / divisor) as i64,
        None => {
            let micros = i256::from_i128(unscaled).wrapping_mul(i256::from_i128(MICROS_PER_SECOND.into()));
            micros.wrapping_div(i256::from_i128(divisor)).as_i128() as i64
        }
    }
}

fn from_exact_seconds(seconds: f64) -> Option<i64> {
    seconds.is_finite().then_some((seconds * MICROS_PER_SECOND as f64) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_printed() {
        for (text, expected) in [
            ("2020-02-29", Some("2020-02-29")),
            (" 2020-1-2 ", Some("2020-01-02")),
            ("2020", Some("2020-01-01")),
            ("2020-02-30", None),
            ("2020-01-02T whatever", Some("2020-01-02")),
            ("2020-01 x", None),
            ("20-01-01", None),
            ("-0044-03-15", Some("-0044-03-15")),
            ("12345-01-01", Some("+12345-01-01")),
            ("", None),
        ] {
            let printed = parse_date(text).map(|days| {
                let mut out = String::new();
                write_date(days, &mut out);
                out
            });
            assert_eq!(printed.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn timestamps_are_read_and_printed() {
        for (text, expected) in [
            ("2020-01-02T03:04:05.123456+02:00", Some("2020-01-02 01:04:05.123456")),
            ("2020-01-02 03:04:05.1234567", Some("2020-01-02 03:04:05.123456")),
            ("2007-07-09T05:51:59.390Z", Some("2007-07-09 05:51:59.39")),
            ("2020-01-02 03:04", Some("2020-01-02 03:04:00")),
            ("2020-01-02 03:04:05 UTC+1", Some("2020-01-02 02:04:05")),
            ("2020-01-02", Some("2020-01-02 00:00:00")),
            ("2020-01-02 25:00:00", None),
            ("2020-01-02 03:04Z", None),
            ("2020-07-01 12:00:00 Europe/Paris", Some("2020-07-01 10:00:00")),
            ("nonsense", None),
        ] {
            let printed = parse_timestamp(text).map(|micros| {
                let mut out = String::new();
                write_timestamp(micros, &mut out);
                out
            });
            assert_eq!(printed.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_time_alone_is_of_the_day_that_it_is_in_its_zone() {
        let now = parse_timestamp("2024-01-31 23:30:00").expect("a moment");
        for (text, expected) in [
            ("12:30", Some("2024-01-31 12:30:00")),
            ("T12:30:00", Some("2024-01-31 12:30:00")),
            (" 12:30:00", Some("2024-01-31 12:30:00")),
            ("12:30:00 Europe/Paris", Some("2024-02-01 11:30:00")),
            ("T12:30:00-08:00", Some("2024-01-31 20:30:00")),
            ("23:45:00+18:00", Some("2024-02-01 05:45:00")),
            (" T12:30:00", None),
            ("-T12:30:00", None),
            ("12:30:00 Europe/Nowhere", None),
        ] {
            assert_eq!(moment(text, || now), expected.and_then(parse_timestamp), "{text}");
            assert_eq!(parse_local(text), None, "{text}");
        }
    }

    #[test]
    fn zones_are_trimmed_as_java_does_and_reach_to_the_last_moment() {
        for (text, expected) in [
            ("2024-01-01 10:00:00\u{1}UTC", Some(1_704_103_200_000_000)),
            ("2024-01-01 10:00:00Z\u{2003}", None),
            ("2024-01-01 10:00:00\u{a0}", None),
            ("+294247-01-10 06:00:54.775807 +02:00", Some(i64::MAX)),
            ("+294247-01-10 06:00:54.775808 +02:00", None),
            ("-290308-12-21 19:59:05.224192", Some(i64::MIN)),
            ("-290308-12-21 19:59:05.224191", None),
        ] {
            assert_eq!(parse_timestamp(text), expected, "{text}");
        }
    }

    #[test]
    fn decimals_of_seconds_keep_the_low_bits() {
        for (unscaled, scale, expected) in [
            (1_500_000_000_000_000_000, 18, 1_500_000),
            (-99_999_999_999_999_999_999_999_999_999_999_999_999, 18, 2_537_764_290_115_403_777),
            (-99_999_999_999_999_999_999_999_999_999_999_999_999, 0, -80_237_960_547_581_376),
            (123_456_789_012_345_678_901_234_567_890_123_456, 0, 8_761_004_206_977_200_128),
        ] {
            assert_eq!(decimal_micros(unscaled, 10_i128.pow(scale)), expected);
        }
    }

    #[test]
    fn every_day_is_itself() {
        for days in (-1_000_000..1_000_000).step_by(37) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), Some(days));
        }
    }
}
