//! Functions on texts. Characters are code points, as Spark counts them.
//! Source of the edges: Spark's `UTF8String`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, Expr};

use super::Call;
use super::rows::{Bytes, Cell, Flag, Int};
use crate::bind::Bind;
use crate::error::SqlError;
use crate::operation::{Bound, Kernel, Texts, on_arrays};

/// From one text to another, null to null.
fn map_text(map: impl Fn(&str, &mut String) + Send + Sync + 'static) -> Kernel {
    on_arrays(move |args| {
        let texts = args[0].as_string::<i32>();
        let mut builder = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
        let mut out = String::new();
        for text in texts {
            match text {
                None => builder.append_null(),
                Some(text) => {
                    out.clear();
                    map(text, &mut out);
                    builder.append_value(&out);
                }
            }
        }
        Ok(Arc::new(builder.finish()) as ArrayRef)
    })
}

/// From texts in the same row to another, null where any of them is.
fn zip_texts<const N: usize>(map: impl Fn([&str; N]) -> String + Send + Sync + 'static) -> Kernel {
    rows_of_texts(move |texts| Some(map(texts)), |cells| Arc::new(cells.collect::<StringArray>()))
}

fn rows_of_texts<const N: usize, V: 'static>(
    map: impl Fn([&str; N]) -> Option<V> + Send + Sync + 'static,
    collect: fn(&mut dyn Iterator<Item = Option<V>>) -> ArrayRef,
) -> Kernel {
    Arc::new(move |args, rows| {
        let constant = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let columns: Vec<_> = args.iter().map(Texts::new).collect();
        let mut cells = (0..if constant { 1 } else { rows }).map(|row| {
            let mut texts = [""; N];
            for (text, column) in texts.iter_mut().zip(&columns) {
                *text = column.get(row)?;
            }
            map(texts)
        });
        let array = collect(&mut cells);
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            false => ColumnarValue::Array(array),
        })
    })
}

fn one_text(mut call: Call, kernel: Kernel) -> Bind {
    call.arity(1..=1)?;
    call.texts()?;
    call.apply(DataType::Utf8, kernel)
}

/// All texts side by side, null where any of them is.
pub(crate) fn concat(mut call: Call) -> Bind {
    call.arity(1..=usize::MAX)?;
    if call.args.iter().any(|arg| matches!(arg.kind, DataType::List(_))) {
        return super::array_items::concat(call);
    }
    let nested = call.args.iter().any(|arg| !crate::bind::coerce::is_atomic(&arg.kind));
    if nested {
        return Err(call.refuse());
    }
    if call.args.iter().all(|arg| arg.kind == DataType::Binary) {
        let kernel = on_arrays(|args| {
            let cells = (0..args[0].len()).map(|row| {
                let known = args.iter().all(|arg| arg.is_valid(row));
                known.then(|| args.iter().flat_map(|arg| Bytes::get(arg, row)).copied().collect())
            });
            Ok(Bytes::collect(cells))
        });
        return call.apply(DataType::Binary, kernel);
    }
    call.texts()?;
    let kernel: Kernel = Arc::new(|args, rows| {
        join(args, rows, |texts, out| {
            for text in texts {
                match text {
                    Some(text) => out.push_str(text),
                    None => return false,
                }
            }
            true
        })
    });
    call.apply(DataType::Utf8, kernel)
}

/// The texts that are not null with the first between them.
pub(super) fn concat_ws(mut call: Call) -> Bind {
    call.arity(1..=usize::MAX)?;
    if call.args[1..].iter().any(|arg| matches!(arg.kind, DataType::List(_))) {
        return super::search::concat_ws_arrays(call);
    }
    if call.args.iter().any(|arg| !crate::bind::coerce::is_atomic(&arg.kind)) {
        return Err(call.refuse());
    }
    call.texts()?;
    let kernel: Kernel = Arc::new(|args, rows| {
        join(args, rows, |texts, out| {
            let Some(separator) = texts[0] else { return false };
            let mut first = true;
            for text in texts[1..].iter().flatten() {
                if !std::mem::take(&mut first) {
                    out.push_str(separator);
                }
                out.push_str(text);
            }
            true
        })
    });
    call.apply(DataType::Utf8, kernel)
}

/// Builds a text from the texts of each row; null where `write` says false.
fn join(
    args: &[ColumnarValue],
    rows: usize,
    write: impl Fn(&[Option<&str>], &mut String) -> bool,
) -> datafusion::common::Result<ColumnarValue> {
    let columns: Vec<_> = args.iter().map(Texts::new).collect();
    let constant = columns.iter().all(|column| matches!(column, Texts::Constant(_)));
    let rows = if constant { 1 } else { rows };
    let mut builder = StringBuilder::with_capacity(rows, rows * 16 * args.len());
    let mut texts = vec![None; columns.len()];
    let mut out = String::new();
    for row in 0..rows {
        for (text, column) in texts.iter_mut().zip(&columns) {
            *text = column.get(row);
        }
        out.clear();
        if write(&texts, &mut out) { builder.append_value(&out) } else { builder.append_null() }
    }
    let array: ArrayRef = Arc::new(builder.finish());
    Ok(match constant {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
        false => ColumnarValue::Array(array),
    })
}

/// Spark's optimizer: of `upper(lower(text))` it computes `upper(text)`, which is not always the same.
fn take_case_off(call: &mut Call) {
    let Some(Bound { expr: Expr::ScalarFunction(inner), .. }) = call.args.first() else { return };
    if matches!(inner.func.name(), "lower -> string" | "upper -> string") {
        call.args[0] = Bound::new(inner.args[0].clone(), DataType::Utf8);
    }
}

pub(crate) fn lower(mut call: Call) -> Bind {
    take_case_off(&mut call);
    one_text(call, map_text(|text, out| out.push_str(&text.to_lowercase())))
}

pub(super) fn upper(mut call: Call) -> Bind {
    take_case_off(&mut call);
    one_text(call, map_text(|text, out| out.push_str(&text.to_uppercase())))
}

pub(super) fn reverse(call: Call) -> Bind {
    if matches!(call.args.first().map(|arg| &arg.kind), Some(DataType::List(_))) {
        return super::arrays::reverse(call);
    }
    one_text(call, map_text(|text, out| out.extend(text.chars().rev())))
}

fn measure(mut call: Call, of_text: fn(&str) -> usize, of_bytes: fn(usize) -> usize) -> Bind {
    call.arity(1..=1)?;
    let binary = call.args[0].kind == DataType::Binary;
    if !binary {
        call.texts()?;
    }
    let kernel = on_arrays(move |args| {
        let lengths: Int32Array = if binary {
            let column = args[0].as_binary::<i32>();
            column.iter().map(|bytes| Some(of_bytes(bytes?.len()) as i32)).collect()
        } else {
            args[0].as_string::<i32>().iter().map(|text| Some(of_text(text?) as i32)).collect()
        };
        Ok(Arc::new(lengths) as ArrayRef)
    });
    call.apply(DataType::Int32, kernel)
}

pub(super) fn length(call: Call) -> Bind {
    measure(call, |text| text.chars().count(), |bytes| bytes)
}

pub(super) fn octet_length(call: Call) -> Bind {
    measure(call, str::len, |bytes| bytes)
}

pub(super) fn bit_length(call: Call) -> Bind {
    measure(call, |text| text.len() * 8, |bytes| bytes * 8)
}

/// Both sides, without blanks only: tabs and line breaks stay.
pub(super) fn trim(call: Call) -> Bind {
    match call.args.len() {
        2 => trim_of(call, true, true, false),
        _ => one_text(call, map_text(|text, out| out.push_str(text.trim_matches(' ')))),
    }
}

/// `btrim(text, letters)`: here, unlike in `trim(letters, text)`, the text comes first.
pub(super) fn btrim(call: Call) -> Bind {
    match call.args.len() {
        2 => trim_of(call, true, true, true),
        _ => trim(call),
    }
}

pub(super) fn ltrim(call: Call) -> Bind {
    match call.args.len() {
        2 => trim_of(call, true, false, false),
        _ => one_text(call, map_text(|text, out| out.push_str(text.trim_start_matches(' ')))),
    }
}

pub(super) fn rtrim(call: Call) -> Bind {
    match call.args.len() {
        2 => trim_of(call, false, true, false),
        _ => one_text(call, map_text(|text, out| out.push_str(text.trim_end_matches(' ')))),
    }
}

/// Takes away every letter at the ends that is among the given ones.
fn trim_of(mut call: Call, start: bool, end: bool, text_first: bool) -> Bind {
    call.texts()?;
    if text_first {
        call.args.swap(0, 1);
    }
    let kernel = zip_texts(move |[letters, text]| {
        let is_letter = |c: char| letters.contains(c);
        let text = if start { text.trim_start_matches(is_letter) } else { text };
        let text = if end { text.trim_end_matches(is_letter) } else { text };
        text.to_owned()
    });
    call.apply_as(format!("trim {start} {end}"), DataType::Utf8, kernel)
}

/// In single quotes, with a backslash before each that is in it.
pub(super) fn quote(call: Call) -> Bind {
    one_text(call, zip_texts(|[text]| format!("'{}'", text.replace('\'', "\\'"))))
}

pub(super) fn replace(mut call: Call) -> Bind {
    call.arity(2..=3)?;
    call.texts()?;
    let kernel = match call.args.len() {
        2 => zip_texts(|[text, search]| replaced(text, search, "")),
        _ => zip_texts(|[text, search, with]| replaced(text, search, with)),
    };
    call.apply(DataType::Utf8, kernel)
}

/// Nothing is found where nothing is searched for.
fn replaced(text: &str, search: &str, with: &str) -> String {
    if search.is_empty() { text.to_owned() } else { text.replace(search, with) }
}

pub(super) fn starts_with(call: Call) -> Bind {
    test(call, |text, part| text.starts_with(part), |bytes, part| bytes.starts_with(part))
}

pub(super) fn ends_with(call: Call) -> Bind {
    test(call, |text, part| text.ends_with(part), |bytes, part| bytes.ends_with(part))
}

pub(super) fn contains(call: Call) -> Bind {
    test(
        call,
        |text, part| text.contains(part),
        |bytes, part| part.is_empty() || bytes.windows(part.len()).any(|window| window == part),
    )
}

fn test(mut call: Call, holds: fn(&str, &str) -> bool, holds_bytes: fn(&[u8], &[u8]) -> bool) -> Bind {
    call.arity(2..=2)?;
    if call.args.iter().all(|arg| arg.kind == DataType::Binary) {
        return call.two::<Bytes, Bytes, Flag>(move |bytes, part| Some(holds_bytes(bytes, part)));
    }
    call.texts()?;
    let kernel = rows_of_texts(
        move |[text, part]| Some(holds(text, part)),
        |cells| Arc::new(cells.collect::<BooleanArray>()),
    );
    call.apply(DataType::Boolean, kernel)
}

/// From 1 on; 0 where it is not found.
pub(super) fn instr(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    call.texts()?;
    let kernel = rows_of_texts(
        |[text, part]| Some(place(text, part, 0)),
        |cells| Arc::new(cells.collect::<Int32Array>()),
    );
    call.apply(DataType::Int32, kernel)
}

/// The place of `part` in `text` from the code point `from` on, counted from 1. Nothing is at the start, wherever it
/// is looked for.
fn place(text: &str, part: &str, from: usize) -> i32 {
    if part.is_empty() {
        return 1;
    }
    let Some(start) = text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(from) else { return 0 };
    match text[start..].find(part) {
        Some(found) => text[..start + found].chars().count() as i32 + 1,
        None => 0,
    }
}

/// `locate(part, text)`. With a place to start from, only where that is a constant.
pub(super) fn locate(mut call: Call) -> Bind {
    call.arity(2..=3)?;
    let from = if call.args.len() == 3 {
        call.cast(2, &DataType::Int32)?;
        match call.args[2].constant() {
            Some(ScalarValue::Int32(Some(from))) => *from,
            // Null where the texts are not asked at all; only Spark's own order tells.
            _ => return Err(call.refuse()),
        }
    } else {
        1
    };
    call.args.truncate(2);
    call.texts()?;
    let kernel = rows_of_texts(
        move |[part, text]| Some(if from < 1 { 0 } else { place(text, part, from as usize - 1) }),
        |cells| Arc::new(cells.collect::<Int32Array>()),
    );
    call.apply_as(format!("locate from {from}"), DataType::Int32, kernel)
}

pub(super) fn repeat(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    call.cast(0, &DataType::Utf8)?;
    call.cast(1, &DataType::Int32)?;
    // A constant bounds what one row can become.
    let Some(ScalarValue::Int32(times)) = call.args[1].constant().cloned() else {
        return Err(SqlError::unsupported("repeat with a number of times that is no constant", call.span));
    };
    if times.is_some_and(|times| times > super::letters::LENGTH_MAX) {
        return Err(super::letters::too_long(&call, 1));
    }
    call.args.truncate(1);
    let kernel = on_arrays(move |args| {
        let texts = args[0].as_string::<i32>();
        let times = times.map(|times| times.max(0) as usize);
        let offsets = texts.value_offsets();
        let bytes = (offsets[texts.len()] - offsets[0]) as usize;
        if bytes.saturating_mul(times.unwrap_or(0)) > i32::MAX as usize {
            return Err(DataFusionError::ResourcesExhausted(
                "repeat makes more than 2 GiB of a batch".into(),
            ));
        }
        let repeated: StringArray = texts.iter().map(|text| Some(text?.repeat(times?))).collect();
        Ok(Arc::new(repeated) as ArrayRef)
    });
    call.apply_as(format!("repeat {times:?}"), DataType::Utf8, kernel)
}

pub(super) fn substring(mut call: Call) -> Bind {
    call.arity(2..=3)?;
    if call.args[0].kind == DataType::Binary {
        return match call.args.len() {
            2 => {
                call.two::<Bytes, Int, Bytes>(|bytes, start| Some(byte_part(bytes, start, i32::MAX).to_vec()))
            }
            _ => call.three::<Bytes, Int, Int, Bytes>(|bytes, start, length| {
                Some(byte_part(bytes, start, length).to_vec())
            }),
        };
    }
    call.cast(0, &DataType::Utf8)?;
    for at in 1..call.args.len() {
        call.cast(at, &DataType::Int32)?;
    }
    let kernel = on_arrays(|args| {
        let texts = args[0].as_string::<i32>();
        let starts = args[1].as_primitive::<Int32Type>();
        let lengths = args.get(2).map(|lengths| lengths.as_primitive::<Int32Type>());
        let parts: StringArray = (0..texts.len())
            .map(|row| {
                let length = match lengths {
                    None => i32::MAX,
                    Some(lengths) => lengths.is_valid(row).then(|| lengths.value(row))?,
                };
                let known = texts.is_valid(row) && starts.is_valid(row);
                known.then(|| part(texts.value(row), starts.value(row), length))
            })
            .collect();
        Ok(Arc::new(parts) as ArrayRef)
    });
    call.apply(DataType::Utf8, kernel)
}

/// `substringSQL`: from 1 on, below 0 from the end; a start before the text still counts.
pub(super) fn part(text: &str, start: i32, length: i32) -> &str {
    let start = match start {
        1.. => i64::from(start) - 1,
        0 => 0,
        _ => text.chars().count() as i64 + i64::from(start),
    };
    let end = (start + i64::from(length)).clamp(i32::MIN.into(), i32::MAX.into());
    if end <= start {
        return "";
    }
    let byte = |at: i64| {
        let at = usize::try_from(at.max(0)).unwrap_or(usize::MAX);
        text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte)
    };
    &text[byte(start)..byte(end.max(0))]
}

/// As [`part`], of bytes.
pub(super) fn byte_part(bytes: &[u8], start: i32, length: i32) -> &[u8] {
    // As Java's ints, which may wrap.
    let size = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
    let start = match start {
        1.. => start - 1,
        0 => 0,
        _ => size + start,
    };
    let end = if size.wrapping_sub(start) < length { size } else { start.wrapping_add(length) };
    let start = start.max(0);
    if start >= end { &[] } else { &bytes[start as usize..end as usize] }
}

/// The first letters: `substring(text, 1, count)`.
pub(super) fn left(call: Call) -> Bind {
    if call.args.first().is_some_and(|arg| arg.kind == DataType::Binary) {
        return call.two::<Bytes, Int, Bytes>(|bytes, count| Some(byte_part(bytes, 1, count).to_vec()));
    }
    letters(call, |text, count| part(text, 1, count))
}

/// The last letters; none for a count of 0 or less.
pub(super) fn right(call: Call) -> Bind {
    letters(call, |text, count| if count <= 0 { "" } else { part(text, -count, i32::MAX) })
}

fn letters(mut call: Call, take: for<'a> fn(&'a str, i32) -> &'a str) -> Bind {
    call.arity(2..=2)?;
    if call.args[0].kind == DataType::Binary {
        return Err(call.refuse());
    }
    call.cast(0, &DataType::Utf8)?;
    call.cast(1, &DataType::Int32)?;
    let kernel = on_arrays(move |args| {
        let counts = args[1].as_primitive::<Int32Type>();
        let texts = args[0].as_string::<i32>();
        let parts: StringArray =
            texts.iter().zip(counts).map(|(text, count)| Some(take(text?, count?))).collect();
        Ok(Arc::new(parts) as ArrayRef)
    });
    call.apply(DataType::Utf8, kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_where_spark_finds_it() {
        for (text, part, from, expected) in [
            ("añb", "b", 0, 3),
            ("añb", "b", 2, 3),
            ("añb", "b", 3, 0),
            ("añb", "a", 1, 0),
            ("añb", "", 0, 1),
            ("añb", "", 1, 1),
            ("añb", "", 9, 1),
            ("", "", 1, 1),
            ("", "b", 0, 0),
        ] {
            assert_eq!(place(text, part, from), expected, "{part:?} in {text:?} from {from}");
        }
    }
}
