//! One JSON value into a column, by the column's type: Spark's `JacksonParser.makeConverter`.
//! What is no value of the type makes the whole message unreadable.

use arrow::datatypes::{DataType, FieldRef};

use super::column::{Column, Values};
use super::encode::write_char;
use super::scan::{Bad, Scanner, Text};
use crate::cast::{big_decimal, digit, java_double, parse_date, parse_timestamp};
use crate::functions::decimal::rescale_parts;
use crate::types::simple_string;

/// Reads the value that comes next into `column`, as one row.
pub(super) fn value(scanner: &mut Scanner<'_>, column: &mut Column) -> Result<(), Bad> {
    match scanner.peek() {
        Some(b'n') => {
            scanner.word("null")?;
            column.push_null();
            Ok(())
        }
        Some(b'"') => text(scanner, column),
        Some(b'-' | b'0'..=b'9') => number(scanner, column),
        Some(b't') => {
            scanner.word("true")?;
            boolean(scanner, column, true)
        }
        Some(b'f') => {
            scanner.word("false")?;
            boolean(scanner, column, false)
        }
        Some(b'{') => object(scanner, column),
        Some(b'[') => array(scanner, column),
        _ => scanner.skip().map(|_| ()),
    }
}

#[inline]
fn text(scanner: &mut Scanner<'_>, column: &mut Column) -> Result<(), Bad> {
    if let (Values::Bytes { bytes, ends }, DataType::Utf8) = (&mut column.values, &column.kind)
        && scanner.copy_plain(bytes)
    {
        end_bytes(bytes, ends).map_err(|()| too_long(scanner))?;
        column.push_valid();
        return Ok(());
    }
    let text = if column.kind == DataType::Binary { scanner.base64()? } else { scanner.string()? };
    string(&text, column).map_err(|()| mismatch(scanner, column, &excerpt(text.as_str())))
}

#[cold]
fn mismatch(scanner: &Scanner<'_>, column: &Column, what: &str) -> Bad {
    scanner.bad(&format!("{what} is no {}", simple_string(&column.kind)))
}

/// More than an array's offsets can tell.
#[cold]
fn too_long(scanner: &Scanner<'_>) -> Bad {
    scanner.bad("too many bytes")
}

fn excerpt(text: &str) -> String {
    let start: String = text.chars().take(40).collect();
    format!("{start:?}")
}

/// A text where the column wants `kind`.
#[inline]
fn string(text: &Text<'_>, column: &mut Column) -> Result<(), ()> {
    let text = text.as_str();
    match (&mut column.values, &column.kind) {
        (Values::Bytes { bytes, ends }, DataType::Utf8) => push_bytes(bytes, ends, text.as_bytes())?,
        (Values::Bytes { bytes, ends }, _) => push_bytes(bytes, ends, &base64(text).ok_or(())?)?,
        // An empty text is no value of any other type.
        _ if text.is_empty() => return Err(()),
        (Values::Decimal(values), DataType::Decimal128(precision, scale)) => {
            values.push(decimal(text, *precision, *scale).ok_or(())?);
        }
        (Values::Int32(values), DataType::Date32) => values.push(date(text).ok_or(())?),
        (Values::Int64(values), DataType::Timestamp(_, Some(_))) => values.push(timestamp(text).ok_or(())?),
        (Values::Int64(values), DataType::Timestamp(_, None)) => {
            values.push(local_timestamp(text).ok_or(())?)
        }
        _ => return Err(()),
    }
    column.push_valid();
    Ok(())
}

#[inline]
fn push_bytes(bytes: &mut Vec<u8>, ends: &mut Vec<i32>, value: &[u8]) -> Result<(), ()> {
    bytes.extend_from_slice(value);
    end_bytes(bytes, ends)
}

/// Ends the text or binary whose bytes have been added.
#[inline]
fn end_bytes(bytes: &[u8], ends: &mut Vec<i32>) -> Result<(), ()> {
    ends.push(i32::try_from(bytes.len()).map_err(|_| ())?);
    Ok(())
}

/// A date, or, as Spark 1.5 wrote them, the number of days since 1970.
pub(super) fn date(text: &str) -> Option<i32> {
    let days = parse_date(text)
        .or_else(|| parse_date(&without_gmt(text)?))
        .or_else(|| Some(gregorian(java_int(text)?)))?;
    days.try_into().ok()
}

/// A number as Java's `Integer.parseInt` reads it.
fn java_int(text: &str) -> Option<i64> {
    let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
    let digits = digits.chars().map(digit).collect::<Option<String>>()?;
    format!("{sign}{digits}").parse::<i32>().ok().map(i64::from)
}

/// The day of the same date as in Java's old calendar, which is the Julian one before October 15th, 1582.
fn gregorian(days: i64) -> i64 {
    if days >= -141_427 {
        return days;
    }
    // Since the first of March in year 0: a year that begins there ends with its leap day.
    let since_march = days + 719_470;
    let year = since_march.div_euclid(1461) * 4 + (since_march.rem_euclid(1461) / 365).min(3);
    days + 2 - year.div_euclid(100) + year.div_euclid(400)
}

pub(super) fn timestamp(text: &str) -> Option<i64> {
    parse_timestamp(text).or_else(|| parse_timestamp(&without_gmt(text)?))
}

/// A time without a zone: Spark's `parseWithoutTimeZone`, to which a text with a zone, or without a date, is none.
pub(super) fn local_timestamp(text: &str) -> Option<i64> {
    parse_date(text)?;
    let text = text.trim_matches(|c: char| c <= ' ' || c == '\u{7f}');
    let time = text.split_once([' ', 'T']).map_or("", |(_, time)| time);
    // A zone is a name or has a sign.
    let has_zone = time.contains(|c: char| c.is_alphabetic() || matches!(c, '+' | '-'));
    if has_zone { None } else { parse_timestamp(text) }
}

/// An old way to write a zone: `2000-01-01T00:00:00GMT+01:00`.
fn without_gmt(text: &str) -> Option<String> {
    text.contains("GMT").then(|| text.replace("GMT", ""))
}

/// A number as Java's `BigDecimal` reads it, once the commas are taken out.
pub(super) fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (digits, exponent) = match text.contains(',') {
        true => big_decimal(&text.replace(',', ""))?,
        false => big_decimal(text)?,
    };
    rescale_parts(&digits, exponent, precision, scale)
}

/// Standard base64 in padded groups of four, white space between them.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut rest = text.trim_start_matches(|c: char| c <= ' ');
    while !rest.is_empty() {
        let group = rest.as_bytes().get(..4)?;
        let padding = group.iter().rev().take_while(|b| **b == b'=').count();
        if padding > 2 {
            return None;
        }
        let mut bits = 0_u32;
        for byte in &group[..4 - padding] {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = (bits << 6) | u32::from(digit);
        }
        bits <<= 6 * padding;
        bytes.extend_from_slice(&bits.to_be_bytes()[1..4 - padding]);
        rest = rest[4..].trim_start_matches(|c: char| c <= ' ');
    }
    Some(bytes)
}

#[inline]
fn number(scanner: &mut Scanner<'_>, column: &mut Column) -> Result<(), Bad> {
    let number = scanner.number()?;
    let digits = match scanner.slice(number.span) {
        // A whole number has no negative zero.
        "-0" => "0",
        digits => digits,
    };
    let fits = match (&mut column.values, &column.kind) {
        (Values::Int32(values), DataType::Int32) if number.whole => push(values, digits.parse().ok()),
        (Values::Int64(values), DataType::Int64) if number.whole => push(values, digits.parse().ok()),
        (Values::Float64(values), _) => push(values, digits.parse().ok()),
        (Values::Float32(values), _) => push(values, float(digits, number.whole)),
        (Values::Int16(values), _) if number.whole => push(values, digits.parse().ok()),
        // Jackson takes unsigned bytes, too, and Java makes them negative.
        (Values::Int8(values), _) if number.whole => {
            let byte = digits.parse::<i16>().ok().filter(|byte| (-128..=255).contains(byte));
            push(values, byte.map(|byte| byte as i8))
        }
        (Values::Decimal(values), DataType::Decimal128(precision, scale)) => {
            push(values, decimal(digits, *precision, *scale))
        }
        (Values::Int64(values), DataType::Timestamp(_, Some(_))) if number.whole => {
            push(values, digits.parse::<i64>().ok().map(|seconds| seconds.wrapping_mul(1_000_000)))
        }
        (Values::Bytes { bytes, ends }, DataType::Utf8) => {
            push_bytes(bytes, ends, number_as_text(digits, number.whole).as_bytes()).is_ok()
        }
        _ => false,
    };
    if !fits {
        return Err(mismatch(scanner, column, digits));
    }
    column.push_valid();
    Ok(())
}

/// A FLOAT. Jackson makes a DOUBLE first of a whole number that is no BIGINT.
pub(super) fn float(digits: &str, whole: bool) -> Option<f32> {
    if whole && digits.parse::<i64>().is_err() {
        return digits.parse::<f64>().ok().map(|number| number as f32);
    }
    digits.parse().ok()
}

#[inline]
fn push<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    let fits = value.is_some();
    values.extend(value);
    fits
}

/// A number where a text is wanted: as Jackson writes what it has read.
pub(super) fn number_as_text(digits: &str, whole: bool) -> String {
    if whole {
        return digits.to_owned();
    }
    let number: f64 = digits.parse().expect("a JSON number is a double");
    let mut text = String::new();
    java_double(number, &mut text);
    if number.is_finite() { text } else { format!("\"{text}\"") }
}

fn boolean(scanner: &Scanner<'_>, column: &mut Column, value: bool) -> Result<(), Bad> {
    let word = if value { "true" } else { "false" };
    match (&mut column.values, &column.kind) {
        (Values::Boolean(values), _) => values.push(value),
        (Values::Bytes { bytes, ends }, DataType::Utf8) => {
            push_bytes(bytes, ends, word.as_bytes()).map_err(|()| too_long(scanner))?;
        }
        _ => return Err(mismatch(scanner, column, word)),
    }
    column.push_valid();
    Ok(())
}

fn object(scanner: &mut Scanner<'_>, column: &mut Column) -> Result<(), Bad> {
    let row = column.len();
    match &mut column.values {
        Values::Struct { fields, names, children } => {
            let mut expected = 0;
            scanner.object_at_names(|scanner| {
                // Members mostly come in the schema's order.
                let at = match names.get(expected) {
                    Some(name) if scanner.take_name(name) => expected,
                    _ => {
                        let name = scanner.name()?;
                        let named = |field: &FieldRef| field.name() == name.as_str();
                        let Some(at) = fields.iter().position(named) else {
                            return scanner.skip().map(|_| ());
                        };
                        at
                    }
                };
                expected = at + 1;
                let child = &mut children[at];
                // Of a name that comes twice the last counts.
                if child.len() > row {
                    child.truncate(row);
                }
                value(scanner, child).map_err(|bad| inside(fields[at].name(), bad))
            })?;
            for child in children.iter_mut().filter(|child| child.len() == row) {
                child.push_null();
            }
        }
        Values::Map { entries, ends } => {
            let [keys, values] = entries;
            scanner.object(|scanner, name| {
                string(&name, keys).map_err(|()| mismatch(scanner, keys, &excerpt(name.as_str())))?;
                value(scanner, values)
            })?;
            ends.push(keys.len() as i32);
        }
        _ => return nested_as_text(scanner, column),
    }
    column.push_valid();
    Ok(())
}

#[cold]
fn inside(name: &str, bad: Bad) -> Bad {
    format!("{name}: {bad}")
}

fn array(scanner: &mut Scanner<'_>, column: &mut Column) -> Result<(), Bad> {
    let Values::List { items, ends } = &mut column.values else { return nested_as_text(scanner, column) };
    scanner.array(|scanner| value(scanner, items))?;
    ends.push(items.len() as i32);
    column.push_valid();
    Ok(())
}

/// An object or array where a text is wanted: its JSON, written anew as Jackson writes it.
fn nested_as_text(scanner: &mut Scanner<'_>, column: &mut Column) -> Result<(), Bad> {
    let (Values::Bytes { bytes, ends }, DataType::Utf8) = (&mut column.values, &column.kind) else {
        let what = if scanner.peek() == Some(b'{') { "an object" } else { "an array" };
        return Err(mismatch(scanner, column, what));
    };
    rewrite(scanner, bytes)?;
    end_bytes(bytes, ends).map_err(|()| too_long(scanner))?;
    column.push_valid();
    Ok(())
}

/// A value of any kind, without white space and with numbers and texts as Jackson writes them.
fn rewrite(scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<(), Bad> {
    match scanner.peek() {
        Some(b'{') => {
            out.push(b'{');
            let mut first = true;
            scanner.object_at_names(|scanner| {
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                rewrite_text(scanner, out)?;
                scanner.colon()?;
                out.push(b':');
                rewrite(scanner, out)
            })?;
            out.push(b'}');
        }
        Some(b'[') => {
            out.push(b'[');
            let mut first = true;
            scanner.array(|scanner| {
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                rewrite(scanner, out)
            })?;
            out.push(b']');
        }
        Some(b'"') => rewrite_text(scanner, out)?,
        Some(b'-' | b'0'..=b'9') => {
            let number = scanner.number()?;
            let digits = match scanner.slice(number.span) {
                "-0" => "0",
                digits => digits,
            };
            out.extend_from_slice(number_as_text(digits, number.whole).as_bytes());
        }
        _ => {
            let word = scanner.skip()?;
            out.extend_from_slice(scanner.slice(word).as_bytes());
        }
    }
    Ok(())
}

/// A text as Jackson's generator writes it: what is beyond the first 65,536 characters, and
/// halves of surrogate pairs, as escapes.
fn rewrite_text(scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<(), Bad> {
    let start = scanner.at() + 1;
    scanner.string()?;
    let raw = scanner.slice(start..scanner.at() - 1);
    out.push(b'"');
    let mut rest = raw.chars();
    while let Some(c) = rest.next() {
        let unit = match c {
            '\\' => match rest.next() {
                Some('u') => {
                    let digits = rest.as_str().get(..4).unwrap_or_default();
                    rest = rest.as_str()[digits.len()..].chars();
                    u32::from_str_radix(digits, 16).unwrap_or_default()
                }
                Some('n') => 0xa,
                Some('r') => 0xd,
                Some('t') => 0x9,
                Some('b') => 0x8,
                Some('f') => 0xc,
                other => other.map_or(0, u32::from),
            },
            c => u32::from(c),
        };
        match char::from_u32(unit) {
            Some(c) if unit < 0x10000 => write_char(c, out),
            Some(c) => {
                for half in c.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(format!("\\u{half:04X}").as_bytes());
                }
            }
            None => out.extend_from_slice(format!("\\u{unit:04X}").as_bytes()),
        }
    }
    out.push(b'"');
    Ok(())
}
