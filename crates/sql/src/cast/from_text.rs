//! What a text is as another type; null where it is none.
//! Sources: Spark's `UTF8String.toLong`, `Cast.castToDouble`, `Decimal.fromString`,
//! `StringUtils.isTrueString`, and Java's grammar of a floating-point number.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, PrimitiveArray, StringArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType,
};
use arrow::error::ArrowError;

use super::times;
use crate::functions::decimal::rescale_parts;
use crate::operation::{Kernel, on_arrays};

pub(super) fn kernel(to: &DataType) -> Option<Kernel> {
    Some(match to {
        DataType::Boolean => on_arrays(|args| {
            Ok(Arc::new(texts(&args[0]).iter().map(|text| boolean(text?)).collect::<BooleanArray>())
                as ArrayRef)
        }),
        DataType::Int8 => primitive::<Int8Type>(|text| whole(text)?.try_into().ok()),
        DataType::Int16 => primitive::<Int16Type>(|text| whole(text)?.try_into().ok()),
        DataType::Int32 => primitive::<Int32Type>(|text| whole(text)?.try_into().ok()),
        DataType::Int64 => primitive::<Int64Type>(whole),
        DataType::Float32 => primitive::<Float32Type>(|text| {
            floating(text, FLOAT, |digits| digits.parse().ok(), |exact| exact as f32)
        }),
        DataType::Float64 => primitive::<Float64Type>(double),
        DataType::Decimal128(precision, scale) => decimal(*precision, *scale),
        DataType::Date32 => primitive::<Date32Type>(|text| times::parse_date(text)?.try_into().ok()),
        DataType::Timestamp(_, Some(_)) => on_arrays(|args| {
            let times = texts(&args[0]).iter().map(|text| times::parse_timestamp(text?));
            let array: PrimitiveArray<TimestampMicrosecondType> = times.collect();
            Ok(Arc::new(array.with_timezone("UTC")))
        }),
        DataType::Timestamp(_, None) => on_arrays(|args| {
            let times = texts(&args[0]).iter().map(|text| times::parse_local(text?));
            Ok(Arc::new(times.collect::<PrimitiveArray<TimestampMicrosecondType>>()))
        }),
        DataType::Binary => on_arrays(|args| {
            let bytes = texts(&args[0]).iter().map(|text| text.map(str::as_bytes));
            Ok(Arc::new(bytes.collect::<BinaryArray>()))
        }),
        _ => return None,
    })
}

fn texts(array: &ArrayRef) -> &StringArray {
    array.as_string::<i32>()
}

fn primitive<T: ArrowPrimitiveType>(
    parse: impl Fn(&str) -> Option<T::Native> + Send + Sync + 'static,
) -> Kernel {
    on_arrays(move |args| {
        let parsed: PrimitiveArray<T> = texts(&args[0]).iter().map(|text| parse(text?)).collect();
        Ok(Arc::new(parsed))
    })
}

/// What a DECIMAL can have.
pub(crate) const DECIMAL_DIGITS_MAX: i32 = 38;

/// From this power of ten on, Java's `BigInteger` gives up.
const JAVA_POWER_OF_TEN_MAX: i64 = 536_870_919;

fn decimal(precision: u8, scale: i8) -> Kernel {
    on_arrays(move |args| {
        let parsed = texts(&args[0]).iter().map(|text| match text {
            Some(text) => decimal_of(java_trim(text), precision, scale),
            None => Ok(None),
        });
        let parsed: Decimal128Array = parsed.collect::<Result<_, _>>()?;
        Ok(Arc::new(parsed.with_precision_and_scale(precision, scale)?))
    })
}

fn decimal_of(text: &str, precision: u8, scale: i8) -> Result<Option<i128>, ArrowError> {
    let Some((digits, exponent)) = big_decimal(text) else { return Ok(None) };
    let significant = digits.trim_start_matches(['-', '0']).len();
    // Spark counts the digits before the point also of zero, in an int that may run over.
    if (significant.max(1) as i32).wrapping_add(exponent as i32) > DECIMAL_DIGITS_MAX {
        return Ok(None);
    }
    let has_run_over = exponent > i64::from(DECIMAL_DIGITS_MAX);
    if significant > 0 && (has_run_over || -exponent - i64::from(scale) > JAVA_POWER_OF_TEN_MAX) {
        return Err(ArrowError::ComputeError(
            "a number's exponent is beyond what can be computed with".into(),
        ));
    }
    Ok(rescale_parts(&digits, exponent, precision, scale))
}

/// White space and control characters at both ends do not count.
pub(super) fn trim_all(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii() && (c as u32 <= 0x20 || c == '\u{7f}'))
}

/// As Java trims: everything up to the blank.
pub(super) fn java_trim(text: &str) -> &str {
    text.trim_matches(|c: char| c <= ' ')
}

fn boolean(text: &str) -> Option<bool> {
    match trim_all(text).to_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// As BIGINT, where a fraction is none.
pub(super) fn strict_kernel() -> Kernel {
    primitive::<Int64Type>(|text| if text.contains('.') { None } else { whole(text) })
}

/// Digits with a sign; digits behind a point are cut off.
fn whole(text: &str) -> Option<i64> {
    let text = trim_all(text);
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    whole.bytes().try_fold(0_i64, |number, digit| {
        let digit = i64::from(digit - b'0');
        let shifted = number.checked_mul(10)?;
        if negative { shifted.checked_sub(digit) } else { shifted.checked_add(digit) }
    })
}

pub(super) fn double(text: &str) -> Option<f64> {
    floating(text, DOUBLE, |digits| digits.parse().ok(), |exact| exact)
}

/// How many bits a floating-point type has for digits, and the power of two of the last bit of the smallest number.
#[derive(Clone, Copy)]
struct Width {
    bits: i64,
    exponent_min: i64,
}

const DOUBLE: Width = Width { bits: 53, exponent_min: -1074 };
const FLOAT: Width = Width { bits: 24, exponent_min: -149 };

/// A number as Java reads it (with `d` or `f` behind it, or in hexadecimal), and the names of
/// infinity and NaN in any case.
fn floating<N>(
    text: &str,
    width: Width,
    parse: impl Fn(&str) -> Option<N>,
    from: impl Fn(f64) -> N,
) -> Option<N> {
    let trimmed = java_trim(text);
    let special = match trimmed.to_lowercase().as_str() {
        "inf" | "+inf" | "infinity" | "+infinity" => Some(f64::INFINITY),
        "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
        "nan" => Some(f64::NAN),
        "+nan" | "-nan" if trimmed.ends_with("NaN") => Some(f64::NAN),
        _ => None,
    };
    if let Some(special) = special {
        return Some(from(special));
    }
    if let Some(number) = hexadecimal(trimmed, width) {
        return Some(from(number));
    }
    let digits = trimmed.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(trimmed);
    // Rust's grammar is Java's without the suffix, but it also knows names.
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    if plain { parse(digits) } else { None }
}

/// `0x1.8p3`, as near as the type can have it.
fn hexadecimal(text: &str, width: Width) -> Option<f64> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    let rest = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X"))?;
    let rest = rest.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(rest);
    let (mantissa, exponent) = rest.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let exponent = binary_exponent(exponent)? - 4 * fraction.len() as i64;
    Some(sign * nearest(&digits, exponent, width))
}

/// A whole number with a sign; of one that is far too large only that it is.
fn binary_exponent(text: &str) -> Option<i64> {
    const FAR: i64 = 1 << 40;
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i64>().unwrap_or(FAR).min(FAR);
    Some(if text.starts_with('-') { -size } else { size })
}

/// `digits × 2^exponent` rounded once, half even.
fn nearest(digits: &str, exponent: i64, width: Width) -> f64 {
    /// More than any type takes; of those behind them only counts whether they are zeros.
    const DIGITS: usize = 15;
    let digits = digits.trim_start_matches('0');
    let (head, tail) = digits.split_at(digits.len().min(DIGITS));
    if head.is_empty() {
        return 0.0;
    }
    let head = u64::from_str_radix(head, 16).expect("hexadecimal digits");
    let bits = (head << 1) | u64::from(tail.bytes().any(|digit| digit != b'0'));
    let exponent = exponent + 4 * tail.len() as i64 - 1;
    let length = i64::from(u64::BITS - bits.leading_zeros());
    let dropped = (length - width.bits).max(width.exponent_min - exponent).max(0);
    if dropped > length {
        return 0.0;
    }
    let unit = 1_u64 << dropped;
    let (kept, rest) = (bits / unit, bits % unit);
    let up = rest * 2 > unit || (rest * 2 == unit && kept % 2 == 1);
    let exponent = (exponent + dropped).clamp(i32::MIN.into(), i32::MAX.into());
    libm::ldexp((kept + u64::from(up)) as f64, exponent as i32)
}

/// The digits of a number as Java's `BigDecimal` reads it, and the power of ten behind them.
pub(crate) fn big_decimal(text: &str) -> Option<(String, i64)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, decimal_exponent(exponent)?),
        None => (text, 0),
    };
    let sign = if mantissa.starts_with('-') { "-" } else { "" };
    let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits: String = whole.chars().chain(fraction.chars()).map(digit).collect::<Option<_>>()?;
    if digits.is_empty() {
        return None;
    }
    // Java keeps the negative of the power in an int.
    let scale = i32::try_from(fraction.chars().count() as i64 - i64::from(exponent)).ok()?;
    Some((format!("{sign}{digits}"), -i64::from(scale)))
}

fn decimal_exponent(text: &str) -> Option<i32> {
    let sign = if text.starts_with('-') { "-" } else { "" };
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits: String = unsigned.chars().map(digit).collect::<Option<_>>()?;
    format!("{sign}{digits}").parse().ok()
}

/// A digit of any script, as `Character.isDigit` has it, as one of 0 to 9.
pub(crate) fn digit(c: char) -> Option<char> {
    /// The zeros of the scripts within the first 65,536 characters.
    const ZEROS: [u32; 37] = [
        0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6,
        0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0,
        0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
    ];
    let zero = ZEROS.into_iter().find(|zero| (*zero..zero + 10).contains(&u32::from(c)))?;
    char::from_digit(u32::from(c) - zero, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_numbers_are_rounded_once() {
        for (text, double, float) in [
            ("0x1.8p3", 12.0, 12.0),
            ("-0x.8p1", -1.0, -1.0),
            ("0x1.p1d", 2.0, 2.0),
            ("0x1p-1074", 5e-324, 0.0),
            ("0x1p-1075", 0.0, 0.0),
            ("0x1.8p-1075", 5e-324, 0.0),
            ("0x1p-1030", 8.691_694_759_793_8e-311, 0.0),
            ("0x3p-150", 3.0 * 2_f64.powi(-150), 2.8e-45),
            ("0x0.0000001p1050", 2_f64.powi(1022), f32::INFINITY),
            ("0x1p1024", f64::INFINITY, f32::INFINITY),
            ("0x1p-99999999999", 0.0, 0.0),
            ("0x1.000001000000000001p0", 1.000_000_059_604_644_8, 1.000_000_1),
            ("0x10000000000000000000000000000000000p0", 2_f64.powi(136), f32::INFINITY),
        ] {
            assert_eq!(hexadecimal(text, DOUBLE), Some(double), "{text}");
            assert_eq!(hexadecimal(text, FLOAT).map(|number| number as f32), Some(float), "{text}");
        }
        for text in ["0x.p1", "0x1p", "0x1", "0x1.1.1p1", "0x+1p1", "0x1p1x", "1p1"] {
            assert_eq!(hexadecimal(text, DOUBLE), None, "{text}");
        }
    }

    #[test]
    fn decimals_are_read_as_java_does() {
        for (text, expected) in [
            ("-1.50", Some(("-150", -2))),
            ("\u{661}.\u{665}e\u{663}", Some(("15", 2))),
            ("1e+00000000000000005", Some(("1", 5))),
            ("1e-2147483647", Some(("1", -2_147_483_647))),
            ("1e-2147483648", None),
            ("0.1e-2147483647", None),
            ("1e2147483647", Some(("1", 2_147_483_647))),
            ("1e2147483648", None),
            ("1e", None),
            ("1e+-5", None),
            (".", None),
        ] {
            let read = big_decimal(text);
            let read = read.as_ref().map(|(digits, exponent)| (digits.as_str(), *exponent));
            assert_eq!(read, expected, "{text}");
        }
    }
}
