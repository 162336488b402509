//! Numbers as bits, and their digits in other bases.
//! Source: Spark's `bitwiseExpressions`, `bitmapExpressions` and `NumberConverter`.

use arrow::datatypes::DataType;

use super::Call;
use super::rows::{Bytes, Int, Long, Text};
use crate::bind::Bind;
use crate::bind::coerce::{is_integer, is_numeric};
use crate::error::SqlError;

/// Shifts within the width of the number: only the low bits of the count matter.
fn shift(mut call: Call, narrow: fn(i32, u32) -> i32, wide: fn(i64, u32) -> i64) -> Bind {
    if call.args.first().is_some_and(|arg| arg.kind == DataType::Int64) {
        return call.two::<Long, Int, Long>(move |value, count| Some(wide(value, count as u32)));
    }
    if call.args.first().is_some_and(|arg| {
        !matches!(arg.kind, DataType::Null | DataType::Int8 | DataType::Int16 | DataType::Int32)
    }) {
        return Err(call.refuse());
    }
    call.arity(2..=2)?;
    call.cast(1, &DataType::Int32)?;
    call.two::<Int, Int, Int>(move |value, count| Some(narrow(value, count as u32)))
}

pub(super) fn shift_left(call: Call) -> Bind {
    shift(call, i32::wrapping_shl, i64::wrapping_shl)
}

pub(super) fn shift_right(call: Call) -> Bind {
    shift(call, i32::wrapping_shr, i64::wrapping_shr)
}

pub(super) fn shift_right_unsigned(call: Call) -> Bind {
    shift(
        call,
        |value, count| (value as u32).wrapping_shr(count) as i32,
        |value, count| (value as u64).wrapping_shr(count) as i64,
    )
}

/// How many bits are set; narrower numbers are widened with their sign.
pub(super) fn bit_count(mut call: Call) -> Bind {
    call.arity(1..=1)?;
    match call.args[0].kind {
        DataType::Boolean => {
            call.args[0] = crate::cast::explicit(call.args[0].clone(), &DataType::Int64, call.span.clone())?
        }
        ref kind if is_integer(kind) => {}
        _ => return Err(call.refuse()),
    }
    call.one::<Long, Int>(|value| Some(value.count_ones() as i32))
}

pub(super) fn bit_get(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    let width = match call.args[0].kind {
        DataType::Int8 => 8,
        DataType::Int16 => 16,
        DataType::Int32 => 32,
        DataType::Int64 => 64,
        _ => return Err(call.refuse()),
    };
    let at = call.constant_int(1, "the place of the bit")?;
    if at.is_some_and(|at| !(0..width).contains(&at)) {
        return Err(SqlError::invalid(
            format!("the place of a bit is from 0 to {}", width - 1),
            call.spans[1].clone(),
        ));
    }
    let result = call.two::<Long, Int, Int>(|value, at| Some(((value >> at) & 1) as i32))?;
    crate::cast::explicit(result, &DataType::Int8, 0..0)
}

pub(super) fn bin(call: Call) -> Bind {
    call.one::<Long, Text>(|number| Some(format!("{number:b}")))
}

/// Of a number its 64 bits, of a text or binary its bytes.
pub(super) fn hex(mut call: Call) -> Bind {
    call.arity(1..=1)?;
    match call.args[0].kind {
        DataType::Utf8 => call.one::<Text, Text>(|text| Some(hexadecimal(text.as_bytes()))),
        DataType::Binary => call.one::<Bytes, Text>(|bytes| Some(hexadecimal(bytes))),
        ref kind if is_numeric(kind) => call.one::<Long, Text>(|number| Some(format!("{number:X}"))),
        DataType::Null => {
            call.cast(0, &DataType::Int64)?;
            call.one::<Long, Text>(|_| None)
        }
        _ => Err(call.refuse()),
    }
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .map(|c| c.to_ascii_uppercase())
        .collect()
}

/// The bytes of hexadecimal digits, null where it is none; an odd number has a zero in front.
pub(super) fn unhex(call: Call) -> Bind {
    call.one::<Text, Bytes>(unhexed)
}

pub(super) fn unhexed(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let mut digits = digits?;
    if digits.len() % 2 == 1 {
        digits.insert(0, 0);
    }
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// A number in one base written in another; negative bases mean signed results.
pub(super) fn conv(call: Call) -> Bind {
    call.three::<Text, Int, Int, Text>(|text, from, to| converted(text.trim_matches(' '), from, to))
}

fn converted(text: &str, from: i32, to: i32) -> Option<String> {
    if !(2..=36).contains(&from) || !(2..=36).contains(&to.unsigned_abs()) || text.is_empty() {
        return None;
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let from = from as u32;
    // Digits until the first that is none; too large becomes the largest.
    let value = digits
        .chars()
        .map_while(|c| if c.is_ascii() { c.to_digit(from) } else { None })
        .try_fold(0_u64, |value, digit| value.checked_mul(from.into())?.checked_add(digit.into()))
        .unwrap_or(u64::MAX);
    let mut value = value as i64;
    let mut minus = negative;
    if negative && to > 0 {
        value = if value < 0 { -1 } else { value.wrapping_neg() };
    }
    if to < 0 && value < 0 {
        value = value.wrapping_neg();
        minus = true;
    }
    let base = to.unsigned_abs();
    let mut rest = value as u64;
    let mut reversed = Vec::new();
    loop {
        let digit = char::from_digit((rest % u64::from(base)) as u32, base).expect("a digit of the base");
        reversed.push(digit.to_ascii_uppercase());
        rest /= u64::from(base);
        if rest == 0 {
            break;
        }
    }
    if minus && to < 0 {
        reversed.push('-');
    }
    Some(reversed.into_iter().rev().collect())
}

pub(super) fn bitmap_bucket_number(call: Call) -> Bind {
    call.one::<Long, Long>(|value| Some(if value > 0 { 1 + (value - 1) / 32_768 } else { value / 32_768 }))
}

pub(super) fn bitmap_bit_position(call: Call) -> Bind {
    call.one::<Long, Long>(|value| {
        Some(if value > 0 { (value - 1) % 32_768 } else { value.wrapping_neg() % 32_768 })
    })
}

pub(super) fn bitmap_count(call: Call) -> Bind {
    if call.args.iter().any(|arg| arg.kind != DataType::Binary) {
        return Err(call.refuse());
    }
    call.one::<Bytes, Long>(|bytes| Some(bytes.iter().map(|byte| i64::from(byte.count_ones())).sum()))
}
