//! Dates and timestamps: read from text, printed, and cast to and from numbers. The calendar is
//! the proleptic Gregorian one, the session's time zone UTC.
//! Sources: Spark's `SparkDateTimeUtils.stringToDate` and `parseTimestampString`.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, PrimitiveArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType,
};
use chrono::{DateTime, Datelike, MappedLocalTime, NaiveDate, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

use super::from_text::trim_all;
use crate::functions::decimal::rescale;
use crate::operation::{Kernel, on_arrays};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
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

fn digits_of(text: &str, count: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let digits = count.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// As [`parse_timestamp`], for a time without a zone: one that is given does not count, and a date
/// must be there.
pub(super) fn parse_local(text: &str) -> Option<i64> {
    let trimmed = trim_all(text);
    if trimmed.starts_with('T') || is_time(trimmed) {
        return None;
    }
    let (local, zone) = parse_parts(text)?;
    zone.is_none_or(|zone| offset_at(zone, local).is_some()).then_some(local)
}

/// Microseconds since 1970 of a text like `2020-1-2 3:4:5.678+02:00`.
pub(crate) fn parse_timestamp(text: &str) -> Option<i64> {
    let (local, zone) = parse_parts(text)?;
    let offset_seconds = match zone {
        None => 0,
        Some(zone) => offset_at(zone, local)?,
    };
    local.checked_sub(i64::from(offset_seconds) * MICROS_PER_SECOND)
}

/// Microseconds since 1970 as a clock shows them, and the zone's name.
fn parse_parts(text: &str) -> Option<(i64, Option<&str>)> {
    let text = trim_all(text);
    let (sign, rest) = signed(text)?;
    let has_sign = rest.len() < text.len();
    let (days, time) = if let Some(time) = rest.strip_prefix('T').filter(|_| !has_sign) {
        (today(), Some(time))
    } else if !has_sign && is_time(rest) {
        (today(), Some(rest))
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
        (days_from_civil(sign * numbers[0], numbers[1], numbers[2])?, time)
    };
    let (micros, zone) = match time {
        None => (0, None),
        Some(time) => parse_time(time)?,
    };
    let local = days.checked_mul(MICROS_PER_DAY)?.checked_add(micros)?;
    Some((local, zone))
}

/// Whether a text without a date begins with hours: `3:4`.
fn is_time(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (1..=2).contains(&digits) && text.as_bytes().get(digits) == Some(&b':')
}

fn today() -> i64 {
    i64::from(chrono::Utc::now().date_naive().num_days_from_ce())
        - i64::from(NaiveDate::default().num_days_from_ce())
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
    let zone = (!rest.is_empty()).then(|| rest.trim());
    let [hours, minutes, seconds] = parts;
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    Some((((hours * 60 + minutes) * 60 + seconds) * MICROS_PER_SECOND + micros, zone))
}

/// Seconds ahead of UTC that a zone is at a local time; `None` where there is no such zone.
pub(crate) fn offset_at(zone: &str, local_micros: i64) -> Option<i32> {
    fixed_offset(zone).or_else(|| region_offset(zone, local_micros))
}

/// Seconds ahead of UTC that a zone is at a moment.
pub(crate) fn offset_of(zone: &str, micros: i64) -> Option<i32> {
    let region = || {
        let zone: Tz = long_name(zone).parse().ok()?;
        let utc = DateTime::from_timestamp_micros(micros)?.naive_utc();
        Some(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc())
    };
    fixed_offset(zone).or_else(region)
}

/// Java's short names of zones (`ZoneId.SHORT_IDS`) that are regions of another name.
fn long_name(zone: &str) -> &str {
    match zone {
        "ACT" => "Australia/Darwin",
        "AET" => "Australia/Sydney",
        "AGT" => "America/Argentina/Buenos_Aires",
        "ART" => "Africa/Cairo",
        "AST" => "America/Anchorage",
        "BET" => "America/Sao_Paulo",
        "BST" => "Asia/Dhaka",
        "CAT" => "Africa/Harare",
        "CNT" => "America/St_Johns",
        "CST" => "America/Chicago",
        "CTT" => "Asia/Shanghai",
        "EAT" => "Africa/Addis_Ababa",
        "ECT" => "Europe/Paris",
        "IET" => "America/Indiana/Indianapolis",
        "IST" => "Asia/Kolkata",
        "JST" => "Asia/Tokyo",
        "MIT" => "Pacific/Apia",
        "NET" => "Asia/Yerevan",
        "NST" => "Pacific/Auckland",
        "PLT" => "Asia/Karachi",
        "PNT" => "America/Phoenix",
        "PRT" => "America/Puerto_Rico",
        "PST" => "America/Los_Angeles",
        "SST" => "Pacific/Guadalcanal",
        "VST" => "Asia/Ho_Chi_Minh",
        zone => zone,
    }
}

/// Seconds ahead of UTC of a region like `Europe/Paris` at a local time. An hour that a clock
/// change skips or repeats is read with the offset before the change, as Java does.
fn region_offset(zone: &str, local_micros: i64) -> Option<i32> {
    let zone: Tz = long_name(zone).parse().ok()?;
    let local = DateTime::from_timestamp_micros(local_micros)?.naive_utc();
    let offset = match zone.offset_from_local_datetime(&local) {
        MappedLocalTime::Single(offset) | MappedLocalTime::Ambiguous(offset, _) => offset,
        MappedLocalTime::None => zone.offset_from_local_datetime(&(local - TimeDelta::days(1))).earliest()?,
    };
    Some(offset.fix().local_minus_utc())
}

/// Seconds ahead of UTC of `Z`, `+2`, `-02:30`, `UTC+02:00`.
fn fixed_offset(zone: &str) -> Option<i32> {
    let rest = match zone {
        "Z" | "UTC" | "GMT" | "UT" => return Some(0),
        "EST" => return Some(-5 * 3600),
        "MST" => return Some(-7 * 3600),
        "HST" => return Some(-10 * 3600),
        _ => ["UTC", "GMT", "UT"].into_iter().find_map(|prefix| zone.strip_prefix(prefix)).unwrap_or(zone),
    };
    let (sign, digits) = match rest.as_bytes().first()? {
        b'-' => (-1, &rest[1..]),
        b'+' => (1, &rest[1..]),
        _ => return None,
    };
    if !digits.is_ascii() {
        return None;
    }
    let parts: Vec<&str> = if digits.contains(':') {
        digits.split(':').collect()
    } else {
        match digits.len() {
            1 | 2 => vec![digits],
            4 => vec![&digits[..2], &digits[2..]],
            6 => vec![&digits[..2], &digits[2..4], &digits[4..]],
            _ => return None,
        }
    };
    let mut numbers = [0, 0, 0];
    for (at, part) in parts.iter().enumerate() {
        let last_may_be_short = at == 1 && parts.len() == 2;
        let digits = if at == 0 || last_may_be_short { 1..=2 } else { 2..=2 };
        *numbers.get_mut(at)? = digits_of(part, digits)? as i32;
    }
    let [hours, minutes, seconds] = numbers;
    let offset = (hours * 60 + minutes) * 60 + seconds;
    (minutes < 60 && seconds < 60 && offset <= 18 * 3600).then_some(sign * offset)
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
        (D::Date32, D::Timestamp(_, Some(_))) => on_arrays(|args| {
            let days = args[0].as_primitive::<Date32Type>();
            let micros = days.iter().map(|days| i64::from(days?).checked_mul(MICROS_PER_DAY));
            Ok(utc(micros.collect()))
        }),
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
        (D::Date32, D::Timestamp(_, None)) => on_arrays(|args| {
            let days = args[0].as_primitive::<Date32Type>();
            let micros = days.iter().map(|days| i64::from(days?).checked_mul(MICROS_PER_DAY));
            Ok(Arc::new(micros.collect::<TimestampMicrosecondArray>()))
        }),
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
                // The low 64 bits, as Java's `longValue` gives them.
                let micros = numbers.map(|unscaled| {
                    Some((unscaled?.checked_mul(MICROS_PER_SECOND.into())? / divisor) as i64)
                });
                Ok(utc(micros.collect()))
            })
        }
        _ => return None,
    })
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
    fn every_day_is_itself() {
        for days in (-1_000_000..1_000_000).step_by(37) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), Some(days));
        }
    }
}
