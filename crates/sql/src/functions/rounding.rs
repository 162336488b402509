//! Rounding to a number of digits: half up, half even, up and down.
//! Source: Spark's `RoundBase`, `RoundCeil`, `RoundFloor`, and Java's `BigDecimal.setScale`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type};
use num_bigint::BigInt;

use super::Call;
use super::rows::{Double, Long};
use crate::bind::Bind;
use crate::bind::coerce::{bounded_decimal, decimal_of, is_integer};
use crate::cast::{self, big_decimal, java_double};
use crate::error::SqlError;
use crate::operation::{Bound, on_arrays};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    HalfUp,
    HalfEven,
    Ceiling,
    Floor,
}

pub(super) fn round(call: Call) -> Bind {
    half(call, Mode::HalfUp)
}

pub(super) fn bround(call: Call) -> Bind {
    half(call, Mode::HalfEven)
}

/// Java's `BigInteger` has no power of ten much beyond.
const DIGITS_MAX: u32 = 500_000_000;

fn half(mut call: Call, mode: Mode) -> Bind {
    call.arity(1..=2)?;
    let digits = if call.args.len() == 2 { call.constant_int(1, "the number of digits")? } else { Some(0) };
    if call.args[0].kind == DataType::Utf8 || call.args[0].kind == DataType::Null {
        call.cast(0, &DataType::Float64)?;
    }
    let kind = call.args[0].kind.clone();
    let Some(digits) = digits else { return Ok(Bound::null(&to_no_digits(kind))) };
    if digits.unsigned_abs() > DIGITS_MAX {
        let message = "so many digits: from about there on Spark stops, but not for every value";
        return Err(SqlError::unsupported(message, call.spans[1].clone()));
    }
    call.args.truncate(1);
    match kind {
        DataType::Float64 => {
            let name = format!("{} {digits}", call.name);
            let kernel = on_arrays(move |args| {
                let numbers = args[0].as_primitive::<Float64Type>();
                Ok(Arc::new(
                    numbers.iter().map(|n| rounded_double(n?, digits, mode)).collect::<Float64Array>(),
                ) as ArrayRef)
            });
            call.apply_as(name, kind, kernel)
        }
        DataType::Decimal128(precision, scale) => decimal(call, digits, mode, precision, scale),
        ref kind if is_integer(kind) && digits >= 0 => Ok(call.args.remove(0)),
        ref kind if is_integer(kind) => {
            let (kind, span) = (kind.clone(), call.span.clone());
            call.cast(0, &DataType::Int64)?;
            let name = format!("{} {digits}", call.name);
            let kernel = super::rows::rows1::<Long, Long>(move |n| {
                Some(rounded(&n.to_string(), 0, digits, mode)? as i64)
            });
            let wide = call.apply_as(name, DataType::Int64, kernel)?;
            cast::explicit(wide, &kind, span)
        }
        DataType::Float32 => Err(SqlError::unsupported(
            "rounding a FLOAT is answered differently by Spark's compiled and interpreted code",
            call.span,
        )
        .help("CAST it to DOUBLE or DECIMAL")),
        _ => Err(call.refuse()),
    }
}

/// The type of a number rounded to a null of digits.
fn to_no_digits(kind: DataType) -> DataType {
    let DataType::Decimal128(precision, scale) = kind else { return kind };
    let (precision, scale) = rounded_to(0, precision, scale);
    bounded_decimal(precision.min(38), scale)
}

pub(super) fn ceil(call: Call) -> Bind {
    directed(call, Mode::Ceiling, f64::ceil)
}

pub(super) fn floor(call: Call) -> Bind {
    directed(call, Mode::Floor, f64::floor)
}

fn directed(mut call: Call, mode: Mode, of_double: fn(f64) -> f64) -> Bind {
    call.arity(1..=2)?;
    if call.args.len() == 2 {
        if call.args[1].kind != DataType::Int32 {
            let message = format!("the number of digits of {} is an INT", call.name);
            return Err(SqlError::invalid(message, call.spans[1].clone()));
        }
        let digits = call.constant_int(1, "the number of digits")?;
        let kind = call.args[0].kind.clone();
        let to = match decimal_of(&kind) {
            Some((precision, scale)) => DataType::Decimal128(precision, scale),
            None if kind == DataType::Float32 => DataType::Decimal128(14, 7),
            None if kind == DataType::Float64 => DataType::Decimal128(30, 15),
            None => return Err(call.refuse()),
        };
        call.cast(0, &to)?;
        let Some((precision, scale)) = decimal_of(&to) else { return Err(call.refuse()) };
        let Some(digits) = digits else { return Err(call.refuse()) };
        call.args.truncate(1);
        return decimal(call, digits, mode, precision, scale);
    }
    if let DataType::Decimal128(precision, scale) = call.args[0].kind {
        if scale == 0 {
            return Ok(call.args.remove(0));
        }
        return decimal(call, 0, mode, precision, scale);
    }
    if is_integer(&call.args[0].kind) {
        call.cast(0, &DataType::Int64)?;
        return Ok(call.args.remove(0));
    }
    call.one::<Double, Long>(move |number| Some(of_double(number) as i64))
}

/// Precision and scale of a DECIMAL rounded to so many digits, be it of more than 38.
fn rounded_to(digits: i32, precision: u8, scale: i8) -> (i32, i32) {
    let whole = i32::from(precision) - i32::from(scale) + 1;
    match digits {
        ..0 => (whole.max(digits.saturating_neg().saturating_add(1)), 0),
        _ => (whole + digits.min(scale.into()), digits.min(scale.into())),
    }
}

/// A DECIMAL of that precision and scale, rounded.
fn decimal(call: Call, digits: i32, mode: Mode, precision: u8, scale: i8) -> Bind {
    let (precision, scale) = rounded_to(digits, precision, scale);
    // Beyond 38 digits Spark's query stops, but only where it rounds in front of the point.
    let may_stop = digits < 0 && precision > 38;
    let returns = bounded_decimal(precision.min(38), scale.min(38));
    let DataType::Decimal128(precision, scale) = returns else { return Err(call.refuse()) };
    if may_stop {
        let message = format!("{}: a number too large for 38 digits stops Spark's query", call.name);
        return Err(
            SqlError::unsupported(message, call.span).help("CAST it to a DECIMAL of fewer digits before")
        );
    }
    let name = format!("{} {digits}", call.name);
    let kernel = on_arrays(move |args| {
        let numbers = args[0].as_primitive::<Decimal128Type>();
        let from = numbers.scale();
        let cells = numbers.iter().map(|number| {
            let unscaled = rounded(&number?.to_string(), from, digits.min(scale.into()), mode)?;
            // What is left is at `min(digits, from)` places, as a whole number where that is below 0.
            let places = digits.clamp(0, i32::from(from).max(0)).min(scale.into());
            let unscaled =
                unscaled.checked_mul(10_i128.checked_pow((i32::from(scale) - places).try_into().ok()?)?)?;
            (unscaled.unsigned_abs() < 10_u128.pow(precision.into())).then_some(unscaled)
        });
        let decimals: Decimal128Array = cells.collect();
        Ok(Arc::new(decimals.with_precision_and_scale(precision, scale)?) as ArrayRef)
    });
    call.apply_as(name, DataType::Decimal128(precision, scale), kernel)
}

/// `digits × 10^−from` rounded to `places` behind the point; where `places` is below 0, still as a
/// whole number. With more places than there are nothing changes.
fn rounded(digits: &str, from: i8, places: i32, mode: Mode) -> Option<i128> {
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, digits),
    };
    let dropped = usize::try_from(i64::from(from) - i64::from(places)).unwrap_or(0);
    let kept = digits.len().saturating_sub(dropped);
    let (head, tail) = digits.split_at(kept);
    let mut number: i128 = if head.is_empty() { 0 } else { head.parse().ok()? };
    if dropped > 0 {
        let any = tail.bytes().any(|digit| digit != b'0');
        // The first dropped digit; zeros in front of a short number count.
        let first = if dropped > digits.len() { b'0' } else { tail.as_bytes()[0] };
        let beyond_half = first > b'5' || (first == b'5' && tail.bytes().skip(1).any(|digit| digit != b'0'));
        let half = first == b'5' && !beyond_half;
        let up = match mode {
            Mode::HalfUp => beyond_half || half,
            Mode::HalfEven => beyond_half || (half && number % 2 == 1),
            Mode::Ceiling => any && !negative,
            Mode::Floor => any && negative,
        };
        number += i128::from(up);
    }
    if places < 0 {
        number = match number {
            0 => 0,
            number => number.checked_mul(10_i128.checked_pow(places.unsigned_abs())?)?,
        };
    }
    Some(if negative { -number } else { number })
}

/// The digits that Java prints of the number, rounded: `BigDecimal.valueOf(x).setScale(…)`.
fn rounded_double(number: f64, places: i32, mode: Mode) -> Option<f64> {
    if !number.is_finite() {
        return Some(number);
    }
    let mut text = String::new();
    java_double(number, &mut text);
    let (digits, exponent) = big_decimal(&text)?;
    if exponent >= -i64::from(places) {
        // A `BigDecimal` has no negative zero.
        return Some(number + 0.0);
    }
    let dropped = usize::try_from(-i64::from(places) - exponent).ok()?;
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, digits.as_str()),
    };
    let digits = digits.trim_start_matches('0');
    let kept = digits.len().saturating_sub(dropped);
    let (head, tail) = digits.split_at(kept);
    let first = if dropped > digits.len() { b'0' } else { tail.as_bytes().first().copied().unwrap_or(b'0') };
    let rest = tail.bytes().skip(1).any(|digit| digit != b'0');
    let odd = head.as_bytes().last().is_some_and(|digit| (digit - b'0') % 2 == 1);
    let up = first > b'5' || (first == b'5' && (rest || mode == Mode::HalfUp || odd));
    let mut number: BigInt = if head.is_empty() { BigInt::from(0) } else { head.parse().ok()? };
    if up {
        number += 1;
    }
    let sign = if negative && number != BigInt::from(0) { "-" } else { "" };
    format!("{sign}{number}e{}", -i64::from(places)).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_rounded_as_java_does() {
        for (digits, from, places, mode, expected) in [
            ("25", 1, 0, Mode::HalfUp, 3),
            ("-25", 1, 0, Mode::HalfUp, -3),
            ("25", 1, 0, Mode::HalfEven, 2),
            ("35", 1, 0, Mode::HalfEven, 4),
            ("31411", 4, 3, Mode::Ceiling, 3142),
            ("31411", 4, 3, Mode::Floor, 3141),
            ("31411", 4, -3, Mode::Floor, 0),
            ("-31411", 4, -3, Mode::Floor, -1000),
            ("155", 0, -1, Mode::HalfUp, 160),
            ("5", 0, -2, Mode::HalfUp, 0),
        ] {
            assert_eq!(rounded(digits, from, places, mode), Some(expected), "{digits} {places} {mode:?}");
        }
        for (precision, scale, expected) in [(10, 2, 9), (5, 0, 6), (38, 18, 21), (38, 0, 38)] {
            let rounded = to_no_digits(DataType::Decimal128(precision, scale));
            assert_eq!(rounded, DataType::Decimal128(expected, 0));
        }
        for (number, places, expected) in
            [(2.5, 0, 3.0), (-2.5, 0, -3.0), (1.005, 2, 1.01), (1234.5, -2, 1200.0), (0.04, 1, 0.0)]
        {
            assert_eq!(rounded_double(number, places, Mode::HalfUp), Some(expected), "{number} {places}");
        }
    }
}
