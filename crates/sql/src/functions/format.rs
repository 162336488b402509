//! Numbers and texts laid out: `format_string` and `format_number`.
//! Source: Java's `Formatter` and `DecimalFormat`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type};

use super::Call;
use crate::bind::Bind;
use crate::bind::coerce::{is_float, is_integer};
use crate::cast::{self, Formatter, big_decimal, java_double};
use crate::error::SqlError;
use crate::operation::{Bound, on_arrays};

const WIDTH_MAX: usize = 1_000;

/// One part of a format.
#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    /// `%-5s`, `%05d`
    Value {
        at: usize,
        left: bool,
        zeros: bool,
        width: usize,
        whole: bool,
    },
}

/// `%s`, `%d`, `%5s`, `%-5s`, `%05d`, `%n` and `%%`; others are refused.
fn pieces(format: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut at = 0;
    let mut rest = format.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let left = rest.next_if_eq(&'-').is_some();
        let zeros = !left && rest.next_if_eq(&'0').is_some();
        let mut width = String::new();
        while let Some(digit) = rest.next_if(char::is_ascii_digit) {
            width.push(digit);
        }
        let has_width = !width.is_empty();
        let width: usize = if has_width { width.parse().ok()? } else { 0 };
        if width > WIDTH_MAX || ((left || zeros) && !has_width) {
            return None;
        }
        match rest.next()? {
            '%' if !has_width => text.push('%'),
            'n' if !has_width => text.push('\n'),
            kind @ ('s' | 'd') if !(zeros && kind == 's') => {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(Piece::Value { at, left, zeros, width, whole: kind == 'd' });
                at += 1;
            }
            _ => return None,
        }
    }
    pieces.push(Piece::Text(text));
    Some(pieces)
}

/// The text with the arguments in the places of `%s` and `%d`; null is written `null`.
pub(super) fn format_string(mut call: Call) -> Bind {
    call.arity(1..=usize::MAX)?;
    let Some(format) = call.constant_text(0, "the format")? else { return Ok(Bound::null(&DataType::Utf8)) };
    let Some(pieces) = pieces(&format) else {
        let message = "format_string is answered natively with %s, %d, a width, and %%";
        return Err(SqlError::unsupported(message, call.spans[0].clone())
            .help("write concat(…), lpad(…) or format_number(…)"));
    };
    call.args.remove(0);
    call.spans.remove(0);
    for piece in &pieces {
        let Piece::Value { at, whole, .. } = piece else { continue };
        let Some(arg) = call.args.get(*at) else {
            return Err(SqlError::invalid("the format has more places than there are values", call.span));
        };
        let printable = matches!(arg.kind, DataType::Utf8 | DataType::Boolean | DataType::Null)
            || is_integer(&arg.kind)
            || is_float(&arg.kind);
        let fits = if *whole { is_integer(&arg.kind) || arg.kind == DataType::Null } else { printable };
        if !fits {
            return Err(call.refuse());
        }
    }
    let name = format!("format_string {format}");
    let fixed = pieces.iter().all(|piece| matches!(piece, Piece::Text(_)));
    if call.args.is_empty() || fixed {
        let text = pieces.iter().map(|piece| if let Piece::Text(text) = piece { text.as_str() } else { "" });
        return Ok(super::search::text(&text.collect::<String>()));
    }
    let kernel = on_arrays(move |args| {
        let formatters: Vec<_> = args.iter().map(Formatter::new).collect();
        let cells = (0..args[0].len()).map(|row| {
            let mut out = String::new();
            for piece in &pieces {
                match piece {
                    Piece::Text(text) => out.push_str(text),
                    Piece::Value { at, left, zeros, width, .. } => {
                        let mut value = String::new();
                        let known = formatters[*at].write(row, &mut value);
                        if !known {
                            value.push_str("null");
                        }
                        padded(&value, *left, *zeros && known, *width, &mut out);
                    }
                }
            }
            Some(out)
        });
        Ok(Arc::new(cells.collect::<StringArray>()) as ArrayRef)
    });
    call.apply_as(name, DataType::Utf8, kernel)
}

/// A value in its width, which Java counts in UTF-16 units.
fn padded(value: &str, left: bool, zeros: bool, width: usize, out: &mut String) {
    let missing = width.saturating_sub(value.encode_utf16().count());
    let (sign, digits) = match value.strip_prefix('-').filter(|_| zeros) {
        Some(digits) => ("-", digits),
        None => ("", value),
    };
    out.push_str(sign);
    if !left {
        out.extend(std::iter::repeat_n(if zeros { '0' } else { ' ' }, missing));
    }
    out.push_str(digits);
    if left {
        out.extend(std::iter::repeat_n(' ', missing));
    }
}

/// With commas between thousands and so many digits behind the point, rounded half even.
pub(super) fn format_number(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    if call.args[1].kind == DataType::Utf8 {
        let message = "format_number by a pattern is not answered natively";
        return Err(SqlError::unsupported(message, call.spans[1].clone()).help("give the number of digits"));
    }
    let Some(digits) = call.constant_int(1, "the number of digits")? else {
        return Ok(Bound::null(&DataType::Utf8));
    };
    if digits < 0 {
        return Ok(Bound::null(&DataType::Utf8));
    }
    let digits = digits as usize;
    if digits > 340 {
        return Err(call.refuse());
    }
    call.args.truncate(1);
    let name = format!("format_number {digits}");
    if is_integer(&call.args[0].kind) {
        let (value, span) = (call.args.remove(0), call.spans[0].clone());
        call.args.push(cast::explicit(value, &DataType::Decimal128(38, 0), span)?);
    } else if matches!(call.args[0].kind, DataType::Utf8 | DataType::Null | DataType::Float32) {
        call.cast(0, &DataType::Float64)?;
    }
    let kernel = match call.args[0].kind {
        DataType::Float64 => on_arrays(move |args| {
            let numbers = args[0].as_primitive::<Float64Type>().iter();
            let cells = numbers.map(|number| Some(grouped_double(number?, digits)));
            Ok(Arc::new(cells.collect::<StringArray>()) as ArrayRef)
        }),
        DataType::Decimal128(..) => on_arrays(move |args| {
            let numbers = args[0].as_primitive::<Decimal128Type>();
            let scale = usize::try_from(numbers.scale()).unwrap_or(0);
            let cells =
                numbers.iter().map(|unscaled| Some(grouped(&rounded_decimal(unscaled?, scale, digits))));
            Ok(Arc::new(cells.collect::<StringArray>()) as ArrayRef)
        }),
        _ => return Err(call.refuse()),
    };
    call.apply_as(name, DataType::Utf8, kernel)
}

fn grouped_double(number: f64, digits: usize) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "∞" } else { "-∞" }.into();
    }
    let mut shown = String::new();
    java_double(number, &mut shown);
    let Some((all_digits, exponent)) = big_decimal(&shown) else { return shown };
    // Digits beyond those that Java shows are zeros to it.
    if exponent + digits as i64 >= 0 {
        let behind = (-exponent).max(0) as usize;
        let (sign, all_digits) =
            all_digits.strip_prefix('-').map_or(("", all_digits.as_str()), |rest| ("-", rest));
        let whole = format!("{all_digits}{}", "0".repeat(exponent.max(0) as usize));
        let whole = format!("{:0>width$}", whole.trim_start_matches('0'), width = behind + 1);
        let (whole, fraction) = whole.split_at(whole.len() - behind);
        return grouped(&with_point(sign, whole, fraction, digits));
    }
    // Java does not round up a 5 that stands alone with an exponent.
    let lone_five = shown.trim_start_matches('-').strip_prefix("5.0E-");
    if lone_five.is_some_and(|place| place == (digits + 1).to_string()) {
        return with_point(if number < 0.0 { "-" } else { "" }, "0", "", digits);
    }
    // Rust rounds the exact value half even, as Java does.
    grouped(&format!("{number:.digits$}"))
}

/// A number with so many digits behind the point, the last of them zeros.
fn with_point(sign: &str, whole: &str, fraction: &str, digits: usize) -> String {
    let point = if digits > 0 { "." } else { "" };
    format!("{sign}{whole}{point}{fraction:0<digits$}")
}

/// A DECIMAL with so many digits behind the point.
fn rounded_decimal(unscaled: i128, scale: usize, digits: usize) -> String {
    let mut number = unscaled.unsigned_abs();
    let mut kept = scale;
    if digits < scale {
        let divisor = 10_u128.pow((scale - digits) as u32);
        let (whole, rest) = (number / divisor, number % divisor);
        let up = rest > divisor / 2 || (rest == divisor / 2 && whole % 2 == 1);
        number = whole + u128::from(up);
        kept = digits;
    }
    let sign = if unscaled < 0 { "-" } else { "" };
    let text = format!("{number:0>width$}", width = kept + 1);
    let (whole, fraction) = text.split_at(text.len() - kept);
    with_point(sign, whole, fraction, digits)
}

/// Commas between the thousands.
fn grouped(number: &str) -> String {
    let (sign, number) = match number.strip_prefix('-') {
        Some(number) => ("-", number),
        None => ("", number),
    };
    let (whole, fraction) =
        number.split_once('.').map_or((number, None), |(whole, rest)| (whole, Some(rest)));
    let mut out = sign.to_owned();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_laid_out_as_java_does() {
        for (number, digits, expected) in [
            (1_234_567.891, 2, "1,234,567.89"),
            (0.125, 2, "0.12"),
            (-0.001, 2, "-0.00"),
            (999.5, 0, "1,000"),
            (0.1, 20, "0.10000000000000000000"),
            (-2.5, 1, "-2.5"),
            (1.2345678901234567e20, 1, "123,456,789,012,345,670,000.0"),
            (1e-7, 9, "0.000000100"),
            (-0.0, 2, "-0.00"),
            (5e-4, 3, "0.000"),
            (-5e-5, 4, "-0.0000"),
            (5.1e-4, 3, "0.001"),
            (0.005, 2, "0.01"),
            (1.5e-4, 4, "0.0001"),
        ] {
            let shown = grouped_double(number, digits);
            // 999.5 is a tie, and 1000 is even.
            assert_eq!(shown, expected, "{number}");
        }
        assert_eq!(grouped(&rounded_decimal(12_332_123_456, 6, 4)), "12,332.1235");
        assert_eq!(grouped(&rounded_decimal(25, 1, 0)), "2");
        assert_eq!(grouped(&rounded_decimal(5, 0, 2)), "5.00");
    }

    #[test]
    fn formats_have_places_for_values() {
        assert_eq!(pieces("100 %% of %5s").map(|pieces| pieces.len()), Some(3));
        for format in ["%x", "%", "%1$s", "%-s", "%0d", "%,d"] {
            assert_eq!(pieces(format), None, "{format}");
        }
    }
}
