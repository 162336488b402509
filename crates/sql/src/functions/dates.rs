//! Dates: their parts, and days, weeks and months from one to another. The calendar is the
//! proleptic Gregorian one. Source: Spark's `datetimeExpressions` and `DateTimeUtils`.

use std::ops::RangeInclusive;

use arrow::datatypes::DataType;

use super::Call;
use super::rows::{Date, Double, Flag, Int, Moment, Text, Tried};
use crate::bind::Bind;
use crate::cast::{self, civil_from_days, days_from_civil, days_in_month, too_far};
use crate::error::SqlError;
use crate::operation::Bound;

const MICROS_PER_DAY: i64 = 86_400_000_000;

fn of_date(call: Call, part: fn(i64) -> i64) -> Bind {
    call.one::<Date, Int>(move |days| Some(part(days.into()) as i32))
}

macro_rules! parts_of_dates {
    ($($name:ident => $part:expr;)*) => {
        $(pub(super) fn $name(call: Call) -> Bind {
            of_date(call, $part)
        })*
    };
}

parts_of_dates! {
    year => |days| civil_from_days(days).0;
    quarter => |days| (civil_from_days(days).1 + 2) / 3;
    month => |days| civil_from_days(days).1;
    day => |days| civil_from_days(days).2;
    day_of_year => place_in_year;
    day_of_week => |days| (days + 4).rem_euclid(7) + 1;
    weekday => weekday_of;
    week_of_year => |days| iso_week(days).1;
    year_of_week => |days| iso_week(days).0;
    day_of_week_iso => |days| weekday_of(days) + 1;
    unix_date => |days| days;
}

/// Monday is 0.
fn weekday_of(days: i64) -> i64 {
    (days + 3).rem_euclid(7)
}

fn place_in_year(days: i64) -> i64 {
    let (year, ..) = civil_from_days(days);
    days - days_from_civil(year, 1, 1).unwrap_or(days) + 1
}

/// The year and the number of a week: weeks begin on Monday, the first has the year's first
/// Thursday.
fn iso_week(days: i64) -> (i64, i64) {
    let thursday = days - weekday_of(days) + 3;
    (civil_from_days(thursday).0, (place_in_year(thursday) - 1) / 7 + 1)
}

/// The first day of the month, some months on.
fn month_start(year: i64, month: i64, months: i64) -> (i64, i64) {
    let all = year * 12 + month - 1 + months;
    (all.div_euclid(12), all.rem_euclid(12) + 1)
}

pub(crate) fn days_plus_months(days: i64, months: i64) -> Option<i64> {
    let (year, month, day) = civil_from_days(days);
    let (year, month) = month_start(year, month, months);
    days_from_civil(year, month, day.min(days_in_month(year, month)))
}

fn date_of(days: i64) -> Tried<Date> {
    days.try_into().map(Some).map_err(|_| too_far())
}

pub(super) fn add_months(call: Call) -> Bind {
    call.try_two::<Date, Int, Date>(|days, months| {
        days_plus_months(days.into(), months.into()).ok_or_else(too_far).and_then(date_of)
    })
}

pub(super) fn last_day(call: Call) -> Bind {
    call.one::<Date, Date>(|days| {
        let (year, month, day) = civil_from_days(days.into());
        Some(days.wrapping_add((days_in_month(year, month) - day) as i32))
    })
}

/// Refuses a number of days that Spark does not take: only INT and narrower, or a constant text of a whole number.
fn number_of_days(call: &mut Call) -> Bind<()> {
    call.arity(2..=2)?;
    if call.args[1].constant_text().is_some_and(|text| !text.contains('.')) {
        let number = cast::explicit(call.args[1].clone(), &DataType::Int32, call.spans[1].clone())?;
        if !number.is_null_constant() {
            call.args[1] = number;
            return Ok(());
        }
    }
    match call.args[1].kind {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Null => Ok(()),
        _ => Err(call.refuse()),
    }
}

pub(crate) fn date_add(mut call: Call) -> Bind {
    number_of_days(&mut call)?;
    call.two::<Date, Int, Date>(|date, days| Some(date.wrapping_add(days)))
}

pub(crate) fn date_sub(mut call: Call) -> Bind {
    number_of_days(&mut call)?;
    call.two::<Date, Int, Date>(|date, days| Some(date.wrapping_sub(days)))
}

pub(super) fn date_diff(call: Call) -> Bind {
    call.two::<Date, Date, Int>(|end, start| Some(end.wrapping_sub(start)))
}

pub(super) fn date_from_unix_date(call: Call) -> Bind {
    call.one::<Int, Date>(Some)
}

pub(super) fn make_date(call: Call) -> Bind {
    /// Java's own, beyond which there are no dates.
    const YEARS: RangeInclusive<i32> = -999_999_999..=999_999_999;
    call.try_three::<Int, Int, Int, Date>(|year, month, day| {
        match days_from_civil(year.into(), month.into(), day.into()) {
            Some(days) if YEARS.contains(&year) => date_of(days),
            _ => Ok(None),
        }
    })
}

pub(super) fn next_day(call: Call) -> Bind {
    call.two::<Date, Text, Date>(|days, name| {
        let wanted = match name.to_uppercase().as_str() {
            "MO" | "MON" | "MONDAY" => 0,
            "TU" | "TUE" | "TUESDAY" => 1,
            "WE" | "WED" | "WEDNESDAY" => 2,
            "TH" | "THU" | "THURSDAY" => 3,
            "FR" | "FRI" | "FRIDAY" => 4,
            "SA" | "SAT" | "SATURDAY" => 5,
            "SU" | "SUN" | "SUNDAY" => 6,
            _ => return None,
        };
        Some(next_weekday(days, wanted))
    })
}

/// The first day behind `days` that is this one of the week. Beyond the last day of all Spark begins anew at the first.
fn next_weekday(days: i32, weekday: i64) -> i32 {
    let ahead = (weekday - weekday_of(days.into()) + 6).rem_euclid(7) + 1;
    days.wrapping_add(ahead as i32)
}

/// A unit that dates and moments are cut to.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Unit {
    Micros(i64),
    Week,
    Month,
    Quarter,
    Year,
}

fn unit(name: &str) -> Option<Unit> {
    Some(match name.to_uppercase().as_str() {
        "MICROSECOND" => Unit::Micros(1),
        "MILLISECOND" => Unit::Micros(1_000),
        "SECOND" => Unit::Micros(1_000_000),
        "MINUTE" => Unit::Micros(60_000_000),
        "HOUR" => Unit::Micros(3_600_000_000),
        "DAY" | "DD" => Unit::Micros(MICROS_PER_DAY),
        "WEEK" => Unit::Week,
        "MON" | "MONTH" | "MM" => Unit::Month,
        "QUARTER" => Unit::Quarter,
        "YEAR" | "YYYY" | "YY" => Unit::Year,
        _ => return None,
    })
}

fn cut_days(days: i64, unit: Unit) -> Option<i64> {
    let (year, month, _) = civil_from_days(days);
    match unit {
        Unit::Micros(_) => Some(days),
        Unit::Week => Some(days - weekday_of(days)),
        Unit::Month => days_from_civil(year, month, 1),
        Unit::Quarter => days_from_civil(year, (month - 1) / 3 * 3 + 1, 1),
        Unit::Year => days_from_civil(year, 1, 1),
    }
}

/// The first day of the week, month, quarter or year; null for another unit.
pub(super) fn trunc(call: Call) -> Bind {
    call.two::<Date, Text, Date>(|days, name| {
        let unit = unit(name).filter(|unit| !matches!(unit, Unit::Micros(_)))?;
        match unit {
            Unit::Week => Some(next_weekday(days.wrapping_sub(7), 0)),
            unit => cut_days(days.into(), unit).map(|days| days as i32),
        }
    })
}

/// The start of the unit in which a moment is; null for an unknown unit.
pub(super) fn date_trunc(call: Call) -> Bind {
    call.try_two::<Text, Moment, Moment>(|name, micros| {
        let Some(unit) = unit(name) else { return Ok(None) };
        let start = match unit {
            Unit::Micros(size) => micros.checked_sub(micros.rem_euclid(size)),
            unit => cut_days(micros.div_euclid(MICROS_PER_DAY), unit)
                .and_then(|days| days.checked_mul(MICROS_PER_DAY)),
        };
        start.map(Some).ok_or_else(too_far)
    })
}

pub(super) fn day_name(call: Call) -> Bind {
    const NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    call.one::<Date, Text>(|days| Some(NAMES[weekday_of(days.into()) as usize].to_owned()))
}

pub(super) fn month_name(call: Call) -> Bind {
    const NAMES: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    call.one::<Date, Text>(|days| Some(NAMES[(civil_from_days(days.into()).1 - 1) as usize].to_owned()))
}

/// Months of 31 days from the second moment to the first, whole where both are the same day of
/// the month or the last; rounded to eight digits unless the third argument says no.
pub(super) fn months_between(mut call: Call) -> Bind {
    call.arity(2..=3)?;
    call.cast(0, &crate::types::timestamp())?;
    call.cast(1, &crate::types::timestamp())?;
    if call.args.len() == 2 {
        return call.try_two::<Moment, Moment, Double>(|a, b| months(a, b, true));
    }
    if !matches!(call.args[2].kind, DataType::Boolean | DataType::Null) {
        return Err(call.refuse());
    }
    call.try_three::<Moment, Moment, Flag, Double>(months)
}

fn months(a: i64, b: i64, rounded: bool) -> Tried<Double> {
    let parts = |micros: i64| {
        let (year, month, day) = civil_from_days(micros.div_euclid(MICROS_PER_DAY));
        let seconds = micros.rem_euclid(MICROS_PER_DAY) / 1_000_000;
        (year * 12 + month, day, days_in_month(year, month) == day, seconds)
    };
    let ((months_a, day_a, last_a, seconds_a), (months_b, day_b, last_b, seconds_b)) = (parts(a), parts(b));
    let whole = (months_a - months_b) as f64;
    if day_a == day_b || (last_a && last_b) {
        return Ok(Some(whole));
    }
    // The midnight before it.
    if [a, b].iter().any(|micros| micros.checked_sub(micros.rem_euclid(MICROS_PER_DAY)).is_none()) {
        return Err(too_far());
    }
    let seconds = (day_a - day_b) * 86_400 + seconds_a - seconds_b;
    let months = whole + seconds as f64 / (31 * 86_400) as f64;
    Ok(Some(if rounded { (months * 1e8 + 0.5).floor() / 1e8 } else { months }))
}

/// `extract(field FROM source)` and `date_part('field', source)`.
pub(super) fn date_part(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    let Some(field) = call.constant_text(0, "the field")? else { return Ok(Bound::null(&DataType::Float64)) };
    // Each part is an operation of its own name: two of one name would be taken for the same.
    let (name, part): (&'static str, fn(Call) -> Bind) = match field.to_uppercase().as_str() {
        "YEAR" | "Y" | "YEARS" | "YR" | "YRS" => ("year", year),
        "YEAROFWEEK" => ("date_part yearofweek", year_of_week),
        "QUARTER" | "QTR" => ("quarter", quarter),
        "MONTH" | "MON" | "MONS" | "MONTHS" => ("month", month),
        "WEEK" | "W" | "WEEKS" => ("weekofyear", week_of_year),
        "DAY" | "D" | "DAYS" => ("day", day),
        "DAYOFWEEK" | "DOW" => ("dayofweek", day_of_week),
        "DAYOFWEEK_ISO" | "DOW_ISO" => ("date_part dayofweek_iso", day_of_week_iso),
        "DOY" => ("dayofyear", day_of_year),
        "HOUR" | "H" | "HOURS" | "HR" | "HRS" => ("hour", super::moments::hour),
        "MINUTE" | "M" | "MIN" | "MINS" | "MINUTES" => ("minute", super::moments::minute),
        "SECOND" | "S" | "SEC" | "SECONDS" | "SECS" => {
            ("date_part second", super::moments::second_with_fraction)
        }
        _ => {
            let message = format!("`{field}` is no part of a date or time");
            return Err(SqlError::invalid(message, call.spans[0].clone()));
        }
    };
    call.args.remove(0);
    call.spans.remove(0);
    part(Call { name, ..call })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::explain;
    use crate::types::parse_schema;

    #[test]
    fn parts_are_told_apart_by_their_names() {
        let schema = parse_schema("at TIMESTAMP").expect("a schema");
        let fields =
            ["year", "yearofweek", "qtr", "mon", "week", "d", "dow", "dow_iso", "doy", "hr", "m", "s"];
        let columns = fields.map(|field| format!("date_part('{field}', at) AS {field}")).join(", ");
        let explained = explain(&format!("SELECT {columns} FROM input"), Some(&schema)).expect("a plan");
        let mut names: Vec<_> = explained.columns.iter().map(|(_, step)| step.what.clone()).collect();
        assert!(explained.columns.iter().all(|(_, step)| step.source.is_some()), "{names:?}");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), fields.len(), "{names:?}");
    }

    #[test]
    fn days_are_whole_numbers() {
        for days in ["'1.5'", "'1.'", "'.5'", "'x'", "CAST(NULL AS STRING)", "1L", "1.0"] {
            for function in ["date_add", "date_sub"] {
                let sql = format!("SELECT {function}(DATE'2024-02-29', {days})");
                assert!(crate::answer(&sql).is_err(), "{sql}");
            }
        }
        for days in ["' 1 '", "'+1'", "1S"] {
            let sql = format!("SELECT date_add(DATE'2024-02-29', {days})");
            let answer = crate::answer(&sql).expect(&sql).expect("a row");
            assert_eq!(answer.text, [Some("2024-03-01".to_owned())], "{sql}");
        }
    }

    #[test]
    fn weeks_are_the_standards() {
        for (date, expected) in [
            ((2020, 2, 29), (2020, 9)),
            ((2021, 1, 3), (2020, 53)),
            ((2008, 12, 29), (2009, 1)),
            ((1582, 10, 10), (1582, 40)),
        ] {
            let days = days_from_civil(date.0, date.1, date.2).expect("a day");
            assert_eq!(iso_week(days), expected, "{date:?}");
        }
    }

    #[test]
    fn months_end_where_they_end() {
        let day = |year, month, day| days_from_civil(year, month, day).expect("a day");
        assert_eq!(days_plus_months(day(2020, 2, 29), 12), Some(day(2021, 2, 28)));
        assert_eq!(days_plus_months(day(2020, 1, 31), -2), Some(day(2019, 11, 30)));
        assert_eq!(days_plus_months(day(1, 1, 1), -1), Some(day(0, 12, 1)));
    }
}
