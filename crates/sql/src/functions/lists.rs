//! Arrays as columns: read by the places of their items, and built out of items of other columns.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, new_null_array};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{DataFusionError, Result};

use crate::types::map_of;

/// The type of an array of that.
pub(crate) fn list_of(item: DataType) -> DataType {
    DataType::List(item_field(item))
}

fn item_field(item: DataType) -> FieldRef {
    Arc::new(Field::new("element", item, true))
}

/// The type of an array's items.
pub(super) fn item_of(kind: &DataType) -> Option<&DataType> {
    match kind {
        DataType::List(field) => Some(field.data_type()),
        _ => None,
    }
}

/// The types of a map's keys and values.
pub(crate) fn entry_of(kind: &DataType) -> Option<(DataType, DataType)> {
    let DataType::Map(entries, _) = kind else { return None };
    let DataType::Struct(fields) = entries.data_type() else { return None };
    Some((fields[0].data_type().clone(), fields[1].data_type().clone()))
}

/// A column of arrays or maps, by row.
pub(super) struct Lists<'a> {
    array: &'a ArrayRef,
    offsets: &'a [i32],
}

impl<'a> Lists<'a> {
    pub(super) fn new(array: &'a ArrayRef) -> Self {
        let offsets = match array.data_type() {
            DataType::Map(..) => array.as_map().value_offsets(),
            _ => array.as_list::<i32>().value_offsets(),
        };
        Self { array, offsets }
    }

    /// The items of all rows.
    pub(super) fn items(&self) -> &'a ArrayRef {
        self.array.as_list::<i32>().values()
    }

    /// The places of a row's items; `None` for null.
    pub(super) fn places(&self, row: usize) -> Option<Range<usize>> {
        self.array.is_valid(row).then(|| self.offsets[row] as usize..self.offsets[row + 1] as usize)
    }
}

/// Arrays under construction: each item is a cell of one of several columns.
#[derive(Default)]
pub(super) struct Builder {
    /// The number of the column, and the row in it.
    cells: Vec<(usize, usize)>,
    ends: Vec<i32>,
    valid: Vec<bool>,
}

impl Builder {
    pub(super) fn push(&mut self, column: usize, row: usize) {
        self.cells.push((column, row));
    }

    pub(super) fn end_row(&mut self) {
        self.ends.push(self.cells.len() as i32);
        self.valid.push(true);
    }

    pub(super) fn null_row(&mut self) {
        self.ends.push(self.cells.len() as i32);
        self.valid.push(false);
    }

    /// A row of those cells of one column, or null.
    pub(super) fn row(&mut self, column: usize, places: Option<impl IntoIterator<Item = usize>>) {
        match places {
            Some(places) => {
                places.into_iter().for_each(|place| self.push(column, place));
                self.end_row();
            }
            None => self.null_row(),
        }
    }

    /// The column of arrays; `columns` are those whose numbers were pushed, and number
    /// `columns.len()` is a null.
    pub(super) fn finish(self, item: &DataType, columns: &[&ArrayRef]) -> Result<ArrayRef> {
        let items = gather(&self.cells, item, columns)?;
        Ok(list_array(item, items, self.ends, self.valid))
    }

    /// As [`Builder::finish`], of maps whose keys and values are in the same places.
    pub(super) fn finish_map(
        self,
        kinds: (&DataType, &DataType),
        keys: &[&ArrayRef],
        values: &[&ArrayRef],
    ) -> Result<ArrayRef> {
        let keys = gather(&self.cells, kinds.0, keys)?;
        let values = gather(&self.cells, kinds.1, values)?;
        map_array(keys, values, self.ends, self.valid)
    }
}

fn gather(cells: &[(usize, usize)], kind: &DataType, columns: &[&ArrayRef]) -> Result<ArrayRef> {
    let null = new_null_array(kind, 1);
    let mut arrays: Vec<&dyn Array> = columns.iter().map(|column| column.as_ref()).collect();
    arrays.push(null.as_ref());
    let nothing = columns.len();
    let cells: Vec<_> =
        cells.iter().map(|cell| if cell.0 == nothing { (nothing, 0) } else { *cell }).collect();
    Ok(interleave(&arrays, &cells)?)
}

fn offsets(ends: Vec<i32>) -> OffsetBuffer<i32> {
    let starts: Vec<i32> = std::iter::once(0).chain(ends).collect();
    OffsetBuffer::new(ScalarBuffer::from(starts))
}

fn nulls(valid: Vec<bool>) -> Option<NullBuffer> {
    valid.contains(&false).then(|| NullBuffer::from(valid))
}

/// Arrays of these items, by where each row's end.
pub(super) fn list_array(item: &DataType, items: ArrayRef, ends: Vec<i32>, valid: Vec<bool>) -> ArrayRef {
    Arc::new(ListArray::new(item_field(item.clone()), offsets(ends), items, nulls(valid)))
}

/// Maps of these keys and values, by where each row's end; an error where a key is null.
pub(super) fn map_array(
    keys: ArrayRef,
    values: ArrayRef,
    ends: Vec<i32>,
    valid: Vec<bool>,
) -> Result<ArrayRef> {
    // Also where the keys have no other type than that of NULL.
    if keys.logical_null_count() > 0 {
        return Err(DataFusionError::Execution("a map's key is null".into()));
    }
    let kind = map_of(keys.data_type().clone(), values.data_type().clone());
    let DataType::Map(field, sorted) = kind else { unreachable!("a map's type is a map") };
    let fields: Fields = match field.data_type() {
        DataType::Struct(fields) => fields.clone(),
        _ => unreachable!("a map's entries are structs"),
    };
    let entries = StructArray::try_new(fields, vec![keys, values], None)?;
    Ok(Arc::new(MapArray::try_new(field, offsets(ends), entries, nulls(valid), sorted)?))
}
