//! Dates and times moved by a constant interval. Times are UTC's, so that a day has 24 hours.
//! Source: Spark's `BinaryArithmeticWithDatetimeResolver` and `DateTimeUtils.timestampAddMonths`.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::try_unary;
use arrow::datatypes::{DataType, Date32Type, TimestampMicrosecondType};

use super::{Bind, failed};
use crate::cast::{self, too_far};
use crate::error::SqlError;
use crate::functions::days_plus_months;
use crate::operation::{Bound, apply, on_arrays};
use crate::syntax::Interval;
use crate::types::{simple_string, timestamp};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// `moment + interval`, or `moment - interval`.
pub(super) fn shifted(moment: Bound, interval: Interval, negative: bool, span: Range<usize>) -> Bind {
    let sign = if negative { -1 } else { 1 };
    let interval = match interval {
        Interval::Months(months) => Interval::Months(months * sign),
        Interval::Micros { micros, days } => Interval::Micros { micros: micros * i64::from(sign), days },
    };
    let is_date = moment.kind == DataType::Date32;
    if !is_date && !matches!(moment.kind, DataType::Timestamp(..)) {
        let kind = simple_string(&moment.kind);
        let message = format!("only a date or time is moved by an interval, this is {kind}");
        return Err(SqlError::unsupported(message, span).help("CAST it AS TIMESTAMP or AS DATE"));
    }
    let moment = match interval {
        Interval::Micros { days: false, .. } if is_date => {
            cast::explicit(moment, &timestamp(), span.clone())?
        }
        _ => moment,
    };
    let kind = moment.kind.clone();
    let name = format!("{interval:?} from {}", simple_string(&kind));
    let kernel = on_arrays(move |args| {
        let array = &args[0];
        Ok(match array.data_type() {
            DataType::Date32 => {
                let dates = array.as_primitive::<Date32Type>();
                let moved = try_unary::<_, _, Date32Type>(dates, |days| {
                    let days = date(days.into(), interval).and_then(|days| days.try_into().ok());
                    days.ok_or_else(too_far)
                })?;
                Arc::new(moved) as ArrayRef
            }
            _ => {
                let moments = array.as_primitive::<TimestampMicrosecondType>();
                let moved = try_unary::<_, _, TimestampMicrosecondType>(moments, |micros| {
                    moment_of(micros, interval).ok_or_else(too_far)
                })?;
                Arc::new(moved.with_data_type(array.data_type().clone()))
            }
        })
    });
    apply(name, kind, kernel, vec![moment]).map_err(failed(&span))
}

fn date(days: i64, interval: Interval) -> Option<i64> {
    match interval {
        Interval::Months(months) => days_plus_months(days, months.into()),
        Interval::Micros { micros, .. } => days.checked_add(micros / MICROS_PER_DAY),
    }
}

fn moment_of(micros: i64, interval: Interval) -> Option<i64> {
    match interval {
        Interval::Months(months) => {
            let days = days_plus_months(micros.div_euclid(MICROS_PER_DAY), months.into())?;
            days.checked_mul(MICROS_PER_DAY)?.checked_add(micros.rem_euclid(MICROS_PER_DAY))
        }
        Interval::Micros { micros: shift, .. } => micros.checked_add(shift),
    }
}
