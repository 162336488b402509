//! Arrays and structs: made, and taken apart.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, StructArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::{cast, interleave, take};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};

use datafusion::common::ScalarValue;

use super::Call;
use crate::bind::coerce;
use crate::bind::{Bind, failed};
use crate::error::SqlError;
use crate::operation::{Bound, apply, on_arrays};
use crate::types::simple_string;

/// `value[index]`: an array's element, from 0; null where there is none.
pub(crate) fn index(value: Bound, index: Bound, span: Range<usize>) -> Bind {
    if super::lists::entry_of(&value.kind).is_some() {
        let spans = vec![span.clone(), span.clone()];
        return super::arrays::element_at(Call::new("element_at", vec![value, index], spans, span));
    }
    let DataType::List(element) = &value.kind else {
        let message = format!("[…] on {} is not answered natively", simple_string(&value.kind));
        return Err(SqlError::unsupported(message, span));
    };
    if !coerce::is_integer(&index.kind) {
        return Err(SqlError::unsupported("an array's index that is no whole number", span));
    }
    let kind = element.data_type().clone();
    let name = format!("element of {} by {}", simple_string(&value.kind), simple_string(&index.kind));
    let kernel = on_arrays(|args| {
        let list = args[0].as_list::<i32>();
        let wanted = cast(&args[1], &DataType::Int64)?;
        let wanted = wanted.as_primitive::<Int64Type>();
        let offsets = list.value_offsets();
        let places: Int64Array = (0..list.len())
            .map(|row| {
                if list.is_null(row) || wanted.is_null(row) {
                    return None;
                }
                let (start, end) = (i64::from(offsets[row]), i64::from(offsets[row + 1]));
                // Spark takes the low 32 bits of a BIGINT.
                let at = i64::from(wanted.value(row) as i32);
                (at >= 0 && at < end - start).then(|| start + at)
            })
            .collect();
        Ok(take(list.values(), &places, None)?)
    });
    apply(name, kind, kernel, vec![value, index]).map_err(failed(&span))
}

pub(super) fn array(call: Call) -> Bind {
    if call.args.is_empty() {
        return Ok(Bound::literal(ScalarValue::List(ScalarValue::new_list(&[], &DataType::Null, true))));
    }
    let (kind, values) = coerce::all_alike(call.args, call.span.clone())?;
    let field = Arc::new(Field::new("element", kind, true));
    let returns = DataType::List(field.clone());
    let kernel = on_arrays(move |args| {
        let rows = args[0].len();
        let places: Vec<_> = (0..rows).flat_map(|row| (0..args.len()).map(move |at| (at, row))).collect();
        let arrays: Vec<&dyn Array> = args.iter().map(AsRef::as_ref).collect();
        let values = interleave(&arrays, &places)?;
        let ends = (0..=rows).map(|row| (row * args.len()) as i32).collect::<Vec<_>>();
        let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
        Ok(Arc::new(ListArray::try_new(field.clone(), offsets, values, None)?) as ArrayRef)
    });
    Call::new("array", values, Vec::new(), call.span).apply(returns, kernel)
}

/// Only in the table of functions: `bind` knows the names of the arguments and calls [`named_fields`].
pub(super) fn r#struct(call: Call) -> Bind {
    let fields = call.args.into_iter().map(|value| (None, value)).collect();
    named_fields(fields, call.span)
}

/// A struct whose fields are `col1`, `col2`, … where they have no name.
pub(crate) fn named_fields(fields: Vec<(Option<String>, Bound)>, span: Range<usize>) -> Bind {
    if fields.is_empty() {
        return Err(SqlError::invalid("struct takes at least 1 argument(s), not 0", span));
    }
    let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let names = names.into_iter().enumerate().map(|(at, name)| name.unwrap_or(format!("col{}", at + 1)));
    make_struct(names.collect(), values, span)
}

pub(super) fn named_struct(call: Call) -> Bind {
    if call.args.is_empty() || !call.args.len().is_multiple_of(2) {
        return Err(SqlError::invalid("named_struct takes pairs of a name and a value", call.span));
    }
    let mut names = Vec::new();
    let mut values = Vec::new();
    for pair in call.args.chunks(2) {
        let Some(name) = pair[0].constant_text() else {
            return Err(SqlError::invalid("the names in named_struct are constant texts", call.span));
        };
        names.push(name.to_owned());
        values.push(pair[1].clone());
    }
    make_struct(names, values, call.span)
}

fn make_struct(names: Vec<String>, values: Vec<Bound>, span: Range<usize>) -> Bind {
    let fields: Fields =
        names.iter().zip(&values).map(|(name, value)| Field::new(name, value.kind.clone(), true)).collect();
    let returns = DataType::Struct(fields.clone());
    let kernel = on_arrays(move |args| {
        Ok(Arc::new(StructArray::try_new(fields.clone(), args.to_vec(), None)?) as ArrayRef)
    });
    let name = format!("make {}", simple_string(&returns));
    apply(name, returns, kernel, values).map_err(failed(&span))
}
