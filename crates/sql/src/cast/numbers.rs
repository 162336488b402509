//! Between numbers and booleans: whole numbers wrap as Java's narrowing does, floating-point
//! numbers saturate, DECIMALs are rounded half up and become null where they do not fit.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type,
};

use super::java_floating::java_double;
use super::to_text::big_decimal;
use crate::functions::decimal::{rescale, rescale_parts};
use crate::operation::{Kernel, on_arrays};

/// One number of any type, wide enough for all.
#[derive(Clone, Copy)]
enum Number {
    Whole(i64),
    Floating(f64),
    Single(f32),
    Decimal(i128, i8),
}

pub(super) fn kernel(from: &DataType, to: &DataType) -> Option<Kernel> {
    let known = |kind: &DataType| {
        matches!(
            kind,
            DataType::Boolean
                | DataType::Int8
                | DataType::Int16
                | DataType::Int32
                | DataType::Int64
                | DataType::Float32
                | DataType::Float64
                | DataType::Decimal128(..)
        )
    };
    if !known(from) || !known(to) {
        return None;
    }
    Some(match to {
        DataType::Boolean => on_arrays(|args| {
            let array = &args[0];
            let cells = (0..array.len()).map(|row| number(array, row).map(is_true));
            Ok(Arc::new(cells.collect::<BooleanArray>()) as ArrayRef)
        }),
        DataType::Int8 => primitive::<Int8Type>(|number| whole(number, true) as i8),
        DataType::Int16 => primitive::<Int16Type>(|number| whole(number, true) as i16),
        DataType::Int32 => primitive::<Int32Type>(|number| whole(number, true) as i32),
        DataType::Int64 => primitive::<Int64Type>(|number| whole(number, false)),
        DataType::Float32 => primitive::<Float32Type>(|number| match number {
            Number::Whole(number) => number as f32,
            Number::Floating(number) => number as f32,
            Number::Single(number) => number,
            Number::Decimal(unscaled, scale) => decimal_text(unscaled, scale).parse().unwrap_or(f32::NAN),
        }),
        DataType::Float64 => primitive::<Float64Type>(double),
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            on_arrays(move |args| {
                let array = &args[0];
                let cells = (0..array.len()).map(|row| decimal(number(array, row)?, precision, scale));
                let decimals: Decimal128Array = cells.collect();
                Ok(Arc::new(decimals.with_precision_and_scale(precision, scale)?))
            })
        }
        _ => return None,
    })
}

/// The bytes of a whole number, the highest first.
pub(super) fn to_bytes(from: &DataType) -> Option<Kernel> {
    let width = match from {
        DataType::Int8 => 1,
        DataType::Int16 => 2,
        DataType::Int32 => 4,
        DataType::Int64 => 8,
        _ => return None,
    };
    Some(on_arrays(move |args| {
        let array = &args[0];
        let bytes = |row: usize| match number(array, row)? {
            Number::Whole(number) => Some(number.to_be_bytes()[8 - width..].to_vec()),
            _ => None,
        };
        Ok(Arc::new((0..array.len()).map(bytes).collect::<arrow::array::BinaryArray>()) as ArrayRef)
    }))
}

fn primitive<T: ArrowPrimitiveType>(convert: fn(Number) -> T::Native) -> Kernel {
    on_arrays(move |args| {
        let array = &args[0];
        let cells = (0..array.len()).map(|row| number(array, row).map(convert));
        Ok(Arc::new(cells.collect::<PrimitiveArray<T>>()) as ArrayRef)
    })
}

fn number(array: &ArrayRef, row: usize) -> Option<Number> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => Number::Whole(array.as_boolean().value(row).into()),
        DataType::Int8 => Number::Whole(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => Number::Whole(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Number::Whole(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Number::Whole(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => Number::Single(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => Number::Floating(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            Number::Decimal(array.as_primitive::<Decimal128Type>().value(row), *scale)
        }
        _ => return None,
    })
}

/// As a whole number; what is to become narrower than BIGINT goes through INT where it is
/// floating-point.
fn whole(number: Number, narrow: bool) -> i64 {
    match number {
        Number::Whole(number) => number,
        Number::Floating(number) if narrow => (number as i32).into(),
        Number::Floating(number) => number as i64,
        Number::Single(number) if narrow => (number as i32).into(),
        Number::Single(number) => number as i64,
        // The low 64 bits, as Java's `longValue` gives them.
        Number::Decimal(unscaled, scale) => (unscaled / 10_i128.pow(scale.unsigned_abs().into())) as i64,
    }
}

fn double(number: Number) -> f64 {
    match number {
        Number::Whole(number) => number as f64,
        Number::Floating(number) => number,
        Number::Single(number) => number.into(),
        Number::Decimal(unscaled, scale) => decimal_text(unscaled, scale).parse().unwrap_or(f64::NAN),
    }
}

fn is_true(number: Number) -> bool {
    match number {
        Number::Whole(number) => number != 0,
        Number::Floating(number) => number != 0.0,
        Number::Single(number) => number != 0.0,
        Number::Decimal(unscaled, _) => unscaled != 0,
    }
}

fn decimal(number: Number, precision: u8, scale: i8) -> Option<i128> {
    match number {
        Number::Whole(number) => rescale(number.into(), 0, precision, scale),
        Number::Decimal(unscaled, from) => rescale(unscaled, from, precision, scale),
        Number::Single(number) => floating(number.into(), precision, scale),
        Number::Floating(number) => floating(number, precision, scale),
    }
}

/// The digits that Java prints of it, not its binary value.
pub(super) fn floating(number: f64, precision: u8, scale: i8) -> Option<i128> {
    if !number.is_finite() {
        return None;
    }
    let mut text = String::new();
    java_double(number, &mut text);
    let (mantissa, exponent) = text.split_once('E').unwrap_or((&text, "0"));
    let (whole, fraction) = mantissa.split_once('.')?;
    let exponent = exponent.parse::<i64>().ok()? - fraction.len() as i64;
    rescale_parts(&format!("{whole}{fraction}"), exponent, precision, scale)
}

fn decimal_text(unscaled: i128, scale: i8) -> String {
    let mut text = String::new();
    big_decimal(unscaled, scale, &mut text);
    text
}
