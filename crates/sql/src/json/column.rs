//! Columns that grow row by row and can be cut back, so that a bad message leaves no trace.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, ListArray, MapArray, NullArray, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};

use super::scan::QuotedName;

/// A column under construction.
pub(super) struct Column {
    pub(super) kind: DataType,
    pub(super) values: Values,
    /// One for each row.
    valid: Vec<bool>,
    nulls: usize,
}

pub(super) enum Values {
    Null,
    Boolean(Vec<bool>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>),
    /// Texts and binaries: all bytes, and where each ends.
    Bytes {
        bytes: Vec<u8>,
        ends: Vec<i32>,
    },
    /// Items of all rows, and where each row's end.
    List {
        items: Box<Column>,
        ends: Vec<i32>,
    },
    Map {
        entries: [Box<Column>; 2],
        ends: Vec<i32>,
    },
    Struct {
        fields: Fields,
        /// The fields' names, as messages write them.
        names: Vec<QuotedName>,
        children: Vec<Column>,
    },
}

impl Column {
    pub(super) fn new(kind: &DataType) -> Self {
        let values = match kind {
            DataType::Boolean => Values::Boolean(Vec::new()),
            DataType::Int8 => Values::Int8(Vec::new()),
            DataType::Int16 => Values::Int16(Vec::new()),
            DataType::Int32 | DataType::Date32 => Values::Int32(Vec::new()),
            DataType::Int64 | DataType::Timestamp(..) => Values::Int64(Vec::new()),
            DataType::Float32 => Values::Float32(Vec::new()),
            DataType::Float64 => Values::Float64(Vec::new()),
            DataType::Decimal128(..) => Values::Decimal(Vec::new()),
            DataType::Utf8 | DataType::Binary => Values::Bytes { bytes: Vec::new(), ends: Vec::new() },
            DataType::List(item) => {
                Values::List { items: Box::new(Self::new(item.data_type())), ends: Vec::new() }
            }
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) => {
                    let column = |at: usize| Box::new(Self::new(fields[at].data_type()));
                    Values::Map { entries: [column(0), column(1)], ends: Vec::new() }
                }
                _ => Values::Null,
            },
            DataType::Struct(fields) => Values::Struct {
                fields: fields.clone(),
                names: fields.iter().map(|field| QuotedName::new(field.name())).collect(),
                children: fields.iter().map(|field| Self::new(field.data_type())).collect(),
            },
            _ => Values::Null,
        };
        Self { kind: kind.clone(), values, valid: Vec::new(), nulls: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.valid.len()
    }

    /// Ends a row whose value has been added to `values`.
    #[inline]
    pub(super) fn push_valid(&mut self) {
        self.valid.push(true);
    }

    /// Adds a null.
    pub(super) fn push_null(&mut self) {
        self.valid.push(false);
        self.nulls += 1;
        match &mut self.values {
            Values::Null => {}
            Values::Boolean(values) => values.push(false),
            Values::Int8(values) => values.push(0),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) => values.push(0),
            Values::Int64(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal(values) => values.push(0),
            Values::Bytes { bytes, ends } => ends.push(bytes.len() as i32),
            Values::List { items, ends } => ends.push(items.len() as i32),
            Values::Map { entries, ends } => ends.push(entries[0].len() as i32),
            Values::Struct { children, .. } => children.iter_mut().for_each(Self::push_null),
        }
    }

    /// Cuts back to `rows` rows, also where a row is only half added.
    pub(super) fn truncate(&mut self, rows: usize) {
        if rows < self.valid.len() {
            self.nulls -= self.valid[rows..].iter().filter(|valid| !**valid).count();
            self.valid.truncate(rows);
        }
        let kept = |ends: &[i32]| rows.checked_sub(1).map_or(0, |last| ends[last] as usize);
        match &mut self.values {
            Values::Null => {}
            Values::Boolean(values) => values.truncate(rows),
            Values::Int8(values) => values.truncate(rows),
            Values::Int16(values) => values.truncate(rows),
            Values::Int32(values) => values.truncate(rows),
            Values::Int64(values) => values.truncate(rows),
            Values::Float32(values) => values.truncate(rows),
            Values::Float64(values) => values.truncate(rows),
            Values::Decimal(values) => values.truncate(rows),
            Values::Bytes { bytes, ends } => {
                ends.truncate(rows);
                bytes.truncate(kept(ends));
            }
            Values::List { items, ends } => {
                ends.truncate(rows);
                items.truncate(kept(ends));
            }
            Values::Map { entries, ends } => {
                ends.truncate(rows);
                entries.iter_mut().for_each(|entry| entry.truncate(kept(ends)));
            }
            Values::Struct { children, .. } => children.iter_mut().for_each(|child| child.truncate(rows)),
        }
    }

    /// The column as it is, which begins anew.
    pub(super) fn finish(&mut self) -> ArrayRef {
        let rows = self.len();
        let valid = taken(&mut self.valid);
        let nulls = (std::mem::take(&mut self.nulls) > 0).then(|| NullBuffer::from(valid));
        match &mut self.values {
            Values::Null => Arc::new(NullArray::new(rows)),
            Values::Boolean(values) => Arc::new(BooleanArray::new(taken(values).into(), nulls)),
            Values::Int8(values) => Arc::new(Int8Array::new(taken(values).into(), nulls)),
            Values::Int16(values) => Arc::new(Int16Array::new(taken(values).into(), nulls)),
            Values::Int32(values) => {
                let values: ScalarBuffer<i32> = taken(values).into();
                match self.kind {
                    DataType::Date32 => Arc::new(Date32Array::new(values, nulls)),
                    _ => Arc::new(Int32Array::new(values, nulls)),
                }
            }
            Values::Int64(values) => {
                let values: ScalarBuffer<i64> = taken(values).into();
                match &self.kind {
                    DataType::Timestamp(_, zone) => Arc::new(
                        TimestampMicrosecondArray::new(values, nulls).with_timezone_opt(zone.clone()),
                    ),
                    _ => Arc::new(Int64Array::new(values, nulls)),
                }
            }
            Values::Float32(values) => Arc::new(Float32Array::new(taken(values).into(), nulls)),
            Values::Float64(values) => Arc::new(Float64Array::new(taken(values).into(), nulls)),
            Values::Decimal(values) => {
                Arc::new(Decimal128Array::new(taken(values).into(), nulls).with_data_type(self.kind.clone()))
            }
            Values::Bytes { bytes, ends } => {
                let offsets = offsets(ends);
                let bytes = taken(bytes).into();
                match self.kind {
                    // Cut at the ends of texts that were whole.
                    DataType::Utf8 => Arc::new(StringArray::new(offsets, bytes, nulls)),
                    _ => Arc::new(BinaryArray::new(offsets, bytes, nulls)),
                }
            }
            Values::List { items, ends } => {
                let DataType::List(field) = &self.kind else { unreachable!("a list column has a list type") };
                Arc::new(ListArray::new(field.clone(), offsets(ends), items.finish(), nulls))
            }
            Values::Map { entries, ends } => {
                let DataType::Map(field, sorted) = &self.kind else {
                    unreachable!("a map column has a map type")
                };
                let columns = entries.iter_mut().map(|entry| entry.finish()).collect();
                let entries = StructArray::new(struct_fields(field), columns, None);
                Arc::new(MapArray::new(field.clone(), offsets(ends), entries, nulls, *sorted))
            }
            Values::Struct { fields, children, .. } => {
                let columns = children.iter_mut().map(Self::finish).collect();
                Arc::new(StructArray::new(fields.clone(), columns, nulls))
            }
        }
    }
}

/// What is there, leaving room for as much and a little more: batches are alike.
fn taken<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(values.len() + values.len() / 8);
    std::mem::replace(values, room)
}

fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    offsets.append(ends);
    OffsetBuffer::new(offsets.into())
}

fn struct_fields(field: &FieldRef) -> Fields {
    match field.data_type() {
        DataType::Struct(fields) => fields.clone(),
        other => Fields::from(vec![Field::new("value", other.clone(), true)]),
    }
}
