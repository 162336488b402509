//! Rows read from a table as Arrow batches, in the types in which Spark reads it.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder,
    Float64Builder, Int8Builder, Int16Builder, Int32Builder, Int64Builder, ListArray, MapArray, RecordBatch,
    StringBuilder, StructArray, TimestampMicrosecondBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

use super::collection::parts;
use super::{Table, Type, Value};

/// The type in which Spark reads a column.
fn spark_type(kind: &Type) -> DataType {
    match kind {
        Type::Ascii | Type::Duration | Type::Inet | Type::Text | Type::Timeuuid | Type::Uuid => {
            DataType::Utf8
        }
        Type::Bigint | Type::Time => DataType::Int64,
        Type::Blob => DataType::Binary,
        Type::Boolean => DataType::Boolean,
        Type::Date => DataType::Date32,
        Type::Decimal => DataType::Decimal128(38, 18),
        Type::Double => DataType::Float64,
        Type::Float => DataType::Float32,
        Type::Int => DataType::Int32,
        Type::Smallint => DataType::Int16,
        Type::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::Tinyint => DataType::Int8,
        Type::Varint => DataType::Decimal128(38, 0),
        Type::List(element) | Type::Set { element, .. } => DataType::List(element_field(element)),
        Type::Map { key, value, .. } => DataType::Map(entries_field(key, value), false),
    }
}

fn element_field(element: &Type) -> FieldRef {
    Arc::new(Field::new("element", spark_type(element), true))
}

fn entry_fields(key: &Type, value: &Type) -> Fields {
    let key = Field::new("key", spark_type(key), false);
    vec![key, Field::new("value", spark_type(value), true)].into()
}

fn entries_field(key: &Type, value: &Type) -> FieldRef {
    Arc::new(Field::new("entries", DataType::Struct(entry_fields(key, value)), false))
}

/// The columns in which `table` is read. One of the key may be null, too: Spark does not have every number and every
/// moment of Cassandra's.
pub fn schema_of(table: &Table) -> SchemaRef {
    let fields = table.columns.iter().map(|column| Field::new(&column.name, spark_type(&column.kind), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Rows on their way into a batch.
pub struct RowsBuilder {
    schema: SchemaRef,
    columns: Vec<Builder>,
    count: usize,
}

impl RowsBuilder {
    /// No rows yet of `table`.
    pub fn new(table: &Table) -> Self {
        let columns = table.columns.iter().map(|column| Builder::new(&column.kind)).collect();
        Self { schema: schema_of(table), columns, count: 0 }
    }

    /// Adds a row: its values in the table's order.
    pub fn push<'a>(&mut self, values: impl IntoIterator<Item = Option<Value<'a>>>) {
        let mut values = values.into_iter();
        for column in &mut self.columns {
            column.append(values.next().flatten());
        }
        self.count += 1;
    }

    /// The rows; none where there are none.
    pub fn finish(self) -> Option<RecordBatch> {
        let arrays = self.columns.into_iter().map(Builder::finish).collect();
        let batch = RecordBatch::try_new(self.schema, arrays).expect("arrays of the schema's types");
        (self.count > 0).then_some(batch)
    }
}

enum Builder {
    Text(StringBuilder),
    Blob(BinaryBuilder),
    Boolean(BooleanBuilder),
    Tiny(Int8Builder),
    Small(Int16Builder),
    Int(Int32Builder),
    Big(Int64Builder),
    Float(Float32Builder),
    Double(Float64Builder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Decimal(Decimal128Builder, i8),
    List { spans: Spans, element: Type, elements: Box<Builder> },
    Map { spans: Spans, key: Type, value: Type, keys: Box<Builder>, values: Box<Builder> },
}

/// Which parts belong to which row.
struct Spans {
    lengths: Vec<usize>,
    is_there: Vec<bool>,
}

impl Spans {
    fn new() -> Self {
        Self { lengths: Vec::new(), is_there: Vec::new() }
    }

    /// A row of so many parts, or a null.
    fn push(&mut self, parts: Option<usize>) {
        self.lengths.push(parts.unwrap_or(0));
        self.is_there.push(parts.is_some());
    }

    fn finish(self) -> (OffsetBuffer<i32>, NullBuffer) {
        (OffsetBuffer::from_lengths(self.lengths), NullBuffer::from(self.is_there))
    }
}

impl Builder {
    fn new(kind: &Type) -> Self {
        match kind {
            Type::List(element) | Type::Set { element, .. } => {
                let elements = Box::new(Self::new(element));
                return Self::List { spans: Spans::new(), element: (**element).clone(), elements };
            }
            Type::Map { key, value, .. } => {
                return Self::Map {
                    spans: Spans::new(),
                    keys: Box::new(Self::new(key)),
                    values: Box::new(Self::new(value)),
                    key: (**key).clone(),
                    value: (**value).clone(),
                };
            }
            _ => {}
        }
        match spark_type(kind) {
            DataType::Binary => Self::Blob(BinaryBuilder::new()),
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Int8 => Self::Tiny(Int8Builder::new()),
            DataType::Int16 => Self::Small(Int16Builder::new()),
            DataType::Int32 => Self::Int(Int32Builder::new()),
            DataType::Int64 => Self::Big(Int64Builder::new()),
            DataType::Float32 => Self::Float(Float32Builder::new()),
            DataType::Float64 => Self::Double(Float64Builder::new()),
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Timestamp(..) => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
            DataType::Decimal128(precision, scale) => {
                let builder = Decimal128Builder::new().with_precision_and_scale(precision, scale);
                Self::Decimal(builder.expect("a precision that Arrow has"), scale)
            }
            _ => Self::Text(StringBuilder::new()),
        }
    }

    /// Whether Spark has the value: not every number of Cassandra's.
    fn takes(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Decimal(_, to), Value::Decimal { unscaled, scale }) => {
                rescale(*unscaled, *scale, *to).is_some()
            }
            (Self::Timestamp(_), Value::Integer(ms)) => ms.checked_mul(1000).is_some(),
            _ => true,
        }
    }

    fn append(&mut self, value: Option<Value<'_>>) {
        let number = match &value {
            Some(Value::Integer(number)) => Some(*number),
            _ => None,
        };
        let double = match &value {
            Some(Value::Double(number)) => Some(*number),
            _ => None,
        };
        match self {
            Self::Text(builder) => match value {
                Some(Value::Text(text)) => builder.append_value(text),
                Some(Value::Uuid(uuid)) => builder.append_value(uuid.to_string()),
                Some(Value::Inet(address)) => builder.append_value(address.to_string()),
                Some(Value::Duration(duration)) => builder.append_value(duration.to_string()),
                _ => builder.append_null(),
            },
            Self::Blob(builder) => match value {
                Some(Value::Blob(bytes)) => builder.append_value(bytes),
                _ => builder.append_null(),
            },
            Self::Boolean(builder) => match value {
                Some(Value::Boolean(value)) => builder.append_value(value),
                _ => builder.append_null(),
            },
            Self::Decimal(builder, scale) => match value {
                Some(Value::Decimal { unscaled, scale: from }) => {
                    builder.append_option(rescale(unscaled, from, *scale))
                }
                _ => builder.append_null(),
            },
            Self::Tiny(builder) => builder.append_option(number.map(|n| n as i8)),
            Self::Small(builder) => builder.append_option(number.map(|n| n as i16)),
            Self::Int(builder) => builder.append_option(number.map(|n| n as i32)),
            Self::Big(builder) => builder.append_option(number),
            Self::Date(builder) => builder.append_option(number.map(|n| n as i32)),
            Self::Timestamp(builder) => builder.append_option(number.and_then(|ms| ms.checked_mul(1000))),
            Self::Float(builder) => builder.append_option(double.map(|n| n as f32)),
            Self::Double(builder) => builder.append_option(double),
            Self::List { spans, element, elements } => {
                let Some(Value::Collection(bytes)) = value else { return spans.push(None) };
                let mut count = 0;
                for part in parts(&bytes) {
                    elements.append(Value::deserialized(part, element));
                    count += 1;
                }
                spans.push(Some(count));
            }
            Self::Map { spans, key, value: kind, keys, values } => {
                let Some(Value::Collection(bytes)) = value else { return spans.push(None) };
                let (mut count, mut parts) = (0, parts(&bytes));
                while let (Some(k), Some(v)) = (parts.next(), parts.next()) {
                    // A key that Spark has no value for leaves its entry out: a map has no null key.
                    let k = Value::deserialized(k, key).filter(|k| keys.takes(k));
                    let Some(k) = k else { continue };
                    keys.append(Some(k));
                    values.append(Value::deserialized(v, kind));
                    count += 1;
                }
                spans.push(Some(count));
            }
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Text(mut builder) => Arc::new(builder.finish()),
            Self::Blob(mut builder) => Arc::new(builder.finish()),
            Self::Boolean(mut builder) => Arc::new(builder.finish()),
            Self::Tiny(mut builder) => Arc::new(builder.finish()),
            Self::Small(mut builder) => Arc::new(builder.finish()),
            Self::Int(mut builder) => Arc::new(builder.finish()),
            Self::Big(mut builder) => Arc::new(builder.finish()),
            Self::Float(mut builder) => Arc::new(builder.finish()),
            Self::Double(mut builder) => Arc::new(builder.finish()),
            Self::Date(mut builder) => Arc::new(builder.finish()),
            Self::Timestamp(mut builder) => Arc::new(builder.finish()),
            Self::Decimal(mut builder, _) => Arc::new(builder.finish()),
            Self::List { spans, element, elements } => {
                let (offsets, nulls) = spans.finish();
                Arc::new(ListArray::new(element_field(&element), offsets, elements.finish(), Some(nulls)))
            }
            Self::Map { spans, key, value, keys, values } => {
                let (offsets, nulls) = spans.finish();
                let parts = vec![keys.finish(), values.finish()];
                let entries = StructArray::new(entry_fields(&key, &value), parts, None);
                Arc::new(MapArray::new(entries_field(&key, &value), offsets, entries, Some(nulls), false))
            }
        }
    }
}

/// The number with `to` digits behind the point; null where that loses digits or takes too many, as in Spark.
fn rescale(unscaled: i128, from: i8, to: i8) -> Option<i128> {
    /// The first number of more than 38 digits.
    const TOO_LARGE: u128 = 10_u128.pow(38);
    let shift = 10_i128.checked_pow(u32::from(from.abs_diff(to)))?;
    let scaled = if from <= to {
        unscaled.checked_mul(shift)
    } else {
        (unscaled % shift == 0).then(|| unscaled / shift)
    };
    scaled.filter(|scaled| scaled.unsigned_abs() < TOO_LARGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cql::parse;

    #[test]
    fn a_key_that_spark_has_no_value_for_is_read_as_null() {
        let decimal = |unscaled: i128, scale: i8| Value::Decimal { unscaled, scale };
        for (kind, key) in [
            ("decimal", decimal(2 * 10_i128.pow(20), 0)),
            ("decimal", decimal(10_i128.pow(20), 0)),
            ("decimal", decimal(1, 20)),
            ("varint", decimal(10_i128.pow(38), 0)),
            ("timestamp", Value::Integer(i64::MAX)),
        ] {
            let create = format!("CREATE TABLE k.t (id {kind} PRIMARY KEY, n int)");
            let table = parse(&create, "k", "t").expect("a table");
            let mut rows = RowsBuilder::new(&table);
            rows.push([Some(key.clone()), Some(Value::Integer(7))]);
            let batch = rows.finish().expect("a row");
            assert!(batch.column(0).is_null(0), "{kind} {key}");
            assert!(!batch.column(1).is_null(0), "{kind} {key}");
        }
    }
}
