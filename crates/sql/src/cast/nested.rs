//! Arrays, maps and structs to others of their kind: each part for itself.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;

use crate::operation::{Kernel, on_arrays};

/// The cast of one part; itself where nothing changes.
fn part(from: &DataType, to: &DataType) -> Option<Kernel> {
    if from == to { Some(Arc::new(|args, _| Ok(args[0].clone()))) } else { super::kernel(from, to) }
}

fn run(kernel: &Kernel, array: &ArrayRef) -> Result<ArrayRef> {
    kernel(&[ColumnarValue::Array(array.clone())], array.len())?.into_array(array.len())
}

pub(super) fn kernel(from: &DataType, to: &DataType) -> Option<Kernel> {
    match (from, to) {
        (DataType::List(a), DataType::List(b)) => {
            let (field, item) = (b.clone(), part(a.data_type(), b.data_type())?);
            Some(on_arrays(move |args| {
                let list = args[0].as_list::<i32>();
                let items = run(&item, list.values())?;
                Ok(Arc::new(ListArray::try_new(
                    field.clone(),
                    list.offsets().clone(),
                    items,
                    list.nulls().cloned(),
                )?) as ArrayRef)
            }))
        }
        (DataType::Struct(a), DataType::Struct(b)) if a.len() == b.len() => {
            let fields = b.clone();
            let parts: Vec<_> =
                a.iter().zip(b).map(|(a, b)| part(a.data_type(), b.data_type())).collect::<Option<_>>()?;
            Some(on_arrays(move |args| {
                let array = args[0].as_struct();
                let columns = parts
                    .iter()
                    .zip(array.columns())
                    .map(|(part, column)| run(part, column))
                    .collect::<Result<_>>()?;
                Ok(Arc::new(StructArray::try_new(fields.clone(), columns, array.nulls().cloned())?)
                    as ArrayRef)
            }))
        }
        (DataType::Map(a, _), DataType::Map(b, sorted)) => {
            let (DataType::Struct(from), DataType::Struct(to)) = (a.data_type(), b.data_type()) else {
                return None;
            };
            // Keys that become one, or null, are no keys of a map any more.
            if from[0].data_type() != to[0].data_type() {
                return None;
            }
            let (field, fields, sorted) = (b.clone(), to.clone(), *sorted);
            let value = part(from[1].data_type(), to[1].data_type())?;
            Some(on_arrays(move |args| {
                let map = args[0].as_map();
                let values = run(&value, map.values())?;
                let entries = StructArray::try_new(fields.clone(), vec![map.keys().clone(), values], None)?;
                Ok(Arc::new(MapArray::try_new(
                    field.clone(),
                    map.offsets().clone(),
                    entries,
                    map.nulls().cloned(),
                    sorted,
                )?) as ArrayRef)
            }))
        }
        _ => None,
    }
}
