//! Finding and cutting texts at other texts. Source: Spark's `UTF8String` and `stringExpressions`.

use arrow::datatypes::DataType;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, ListBuilder, StringBuilder};
use arrow::error::ArrowError;

use super::rows::{Cell, Int, Text};
use super::{Call, arrays};
use crate::bind::{self, Bind};
use crate::error::SqlError;
use crate::operation::{Bound, on_arrays};

/// What stands before the so-many-th place of a text, or behind it counted from the end.
pub(super) fn substring_index(call: Call) -> Bind {
    call.try_three::<Text, Text, Int, Text>(|text, delimiter, count| {
        if count == i32::MIN && !delimiter.is_empty() {
            return Err(ArrowError::ComputeError(format!(
                "substring_index(…, {count}) stops Spark's query, too"
            )));
        }
        Ok(Some(index_part(text, delimiter, count).to_owned()))
    })
}

fn index_part<'a>(text: &'a str, delimiter: &str, count: i32) -> &'a str {
    if delimiter.is_empty() || count == 0 {
        return "";
    }
    let (bytes, wanted) = (text.as_bytes(), delimiter.as_bytes());
    // Occurrences may overlap.
    let mut places =
        bytes.windows(wanted.len()).enumerate().filter(|(_, window)| *window == wanted).map(|(at, _)| at);
    if count > 0 {
        return match places.nth(count as usize - 1) {
            Some(at) => &text[..at],
            None => text,
        };
    }
    let places: Vec<_> = places.collect();
    match places.len().checked_sub(count.unsigned_abs() as usize) {
        Some(at) => &text[places[at] + delimiter.len()..],
        None => text,
    }
}

/// The part of that number, from 1 on, from the end where it is negative; empty where there is none.
pub(super) fn split_part(mut call: Call) -> Bind {
    call.arity(3..=3)?;
    // The least INT has no size in Java.
    if let Some(0 | i32::MIN) = call.constant_int(2, "the number of the part")? {
        return Err(SqlError::invalid("parts are numbered from 1, or back from -1", call.spans[2].clone()));
    }
    call.three::<Text, Text, Int, Text>(|text, delimiter, at| {
        let parts: Vec<&str> =
            if delimiter.is_empty() { vec![text] } else { text.split(delimiter).collect() };
        let place = match at {
            1.. => Some(at as usize - 1),
            _ => parts.len().checked_sub(at.unsigned_abs() as usize),
        };
        Some(place.and_then(|place| parts.get(place)).copied().unwrap_or_default().to_owned())
    })
}

/// The place in a list with commas, from 1 on; 0 where it is not in it.
pub(super) fn find_in_set(call: Call) -> Bind {
    call.two::<Text, Text, Int>(|word, list| {
        if word.contains(',') {
            return Some(0);
        }
        Some(list.split(',').position(|item| item == word).map_or(0, |at| at as i32 + 1))
    })
}

/// The argument of that number, from 1 on; null where there is none.
pub(super) fn elt(mut call: Call) -> Bind {
    call.arity(2..=usize::MAX)?;
    call.cast(0, &DataType::Int32)?;
    let binary = call.args[1..].iter().all(|arg| arg.kind == DataType::Binary);
    let kind = if binary { DataType::Binary } else { DataType::Utf8 };
    for at in 1..call.args.len() {
        call.cast(at, &kind)?;
    }
    let kernel = on_arrays(move |args| {
        let chosen = |row: usize| {
            if args[0].is_null(row) {
                return None;
            }
            let at = usize::try_from(Int::get(&args[0], row)).ok().filter(|at| *at > 0)?;
            args.get(at).filter(|array| array.is_valid(row))
        };
        let rows = 0..args[0].len();
        Ok(match binary {
            true => super::rows::Bytes::collect(
                rows.map(|row| Some(super::rows::Bytes::get(chosen(row)?, row).to_vec())),
            ),
            false => Text::collect(rows.map(|row| Some(Text::get(chosen(row)?, row).to_owned()))),
        })
    });
    call.apply(kind, kernel)
}

/// `LIKE` and `ILIKE` as functions.
pub(super) fn like(mut call: Call) -> Bind {
    like_of(&mut call, false)
}

pub(super) fn ilike(mut call: Call) -> Bind {
    like_of(&mut call, true)
}

fn like_of(call: &mut Call, ignore_case: bool) -> Bind {
    call.arity(2..=3)?;
    let escape = match call.args.len() {
        3 => {
            let text = call.constant_text(2, "the escape character")?.unwrap_or_default();
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(escape), None) => Some(escape),
                _ => return Err(SqlError::invalid("the escape is one character", call.spans[2].clone())),
            }
        }
        _ => None,
    };
    let pattern = call.args[1].clone();
    bind::like(call.args[0].clone(), &pattern, escape, ignore_case, call.span.clone())
}

/// The parts between a delimiter that is no pattern; only what Spark itself rewrites to.
pub(super) fn concat_ws_arrays(mut call: Call) -> Bind {
    let texts = arrays::list_of(DataType::Utf8);
    for at in 0..call.args.len() {
        match call.args[at].kind {
            DataType::List(_) if at > 0 => {
                if !bind::coerce::is_atomic(&call.item(at)?) {
                    return Err(call.refuse());
                }
                let arg = call.args[at].clone();
                call.args[at] = crate::cast::explicit(arg, &texts, call.spans[at].clone())?;
            }
            _ => call.cast(at, &DataType::Utf8)?,
        }
    }
    let kernel = on_arrays(|args| {
        let cells = (0..args[0].len()).map(|row| {
            if args[0].is_null(row) {
                return None;
            }
            let separator = Text::get(&args[0], row);
            let mut parts: Vec<&str> = Vec::new();
            for arg in args[1..].iter().filter(|arg| arg.is_valid(row)) {
                match arg.data_type() {
                    DataType::List(_) => {
                        let list = arg.as_list::<i32>();
                        let offsets = list.value_offsets();
                        let items = list.values();
                        let places = offsets[row] as usize..offsets[row + 1] as usize;
                        parts.extend(places.filter(|at| items.is_valid(*at)).map(|at| Text::get(items, at)));
                    }
                    _ => parts.push(Text::get(arg, row)),
                }
            }
            Some(parts.join(separator))
        });
        Ok(Text::collect(cells))
    });
    call.apply(DataType::Utf8, kernel)
}

/// A column of arrays of texts, built row by row.
pub(super) fn text_lists(rows: impl Iterator<Item = Option<Vec<String>>>) -> ArrayRef {
    let field = arrow::datatypes::Field::new("element", DataType::Utf8, true);
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(field);
    for row in rows {
        match row {
            None => builder.append_null(),
            Some(texts) => {
                texts.iter().for_each(|text| builder.values().append_value(text));
                builder.append(true);
            }
        }
    }
    Arc::new(builder.finish())
}

/// The value as a constant in place of a call, where Spark knows it without a row.
pub(super) fn text(value: &str) -> Bound {
    Bound::literal(datafusion::common::ScalarValue::Utf8(Some(value.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_before_and_behind_a_delimiter() {
        for (text, delimiter, count, expected) in [
            ("www.apache.org", ".", 2, "www.apache"),
            ("www.apache.org", ".", -1, "org"),
            ("www.apache.org", ".", 5, "www.apache.org"),
            ("www.apache.org", ".", -5, "www.apache.org"),
            ("a", "", 1, ""),
            (".a", ".", 1, ""),
            ("aaaa", "aa", 2, "a"),
            ("aaaa", "aa", -2, "a"),
        ] {
            assert_eq!(index_part(text, delimiter, count), expected, "{text} {delimiter} {count}");
        }
    }
}
