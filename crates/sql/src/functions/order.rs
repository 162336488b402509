//! How values are ordered and when they are equal: NaN equals itself and is above every number,
//! 0.0 equals −0.0, texts go by bytes, nulls in arrays and structs come first.
//! Source: Spark's `PhysicalDataType` orderings (`SQLOrderingUtil`, `InterpretedOrdering`).

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType,
};

/// Whether values of the type have an order in Spark.
pub(crate) fn is_orderable(kind: &DataType) -> bool {
    match kind {
        DataType::List(item) => is_orderable(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_orderable(field.data_type())),
        DataType::Map(..) => false,
        _ => true,
    }
}

/// Whether a cell is null, also in a column of nothing but nulls, of which Arrow says that none is.
pub(super) fn is_null(array: &ArrayRef, at: usize) -> bool {
    *array.data_type() == DataType::Null || array.is_null(at)
}

/// Compares two cells, null first.
pub(crate) fn compare(left: &ArrayRef, at: usize, right: &ArrayRef, to: usize) -> Ordering {
    match (is_null(left, at), is_null(right, to)) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => compare_values(left, at, right, to),
    }
}

/// Compares two cells that are not null.
pub(crate) fn compare_values(left: &ArrayRef, at: usize, right: &ArrayRef, to: usize) -> Ordering {
    macro_rules! primitive {
        ($kind:ty) => {
            left.as_primitive::<$kind>().value(at).cmp(&right.as_primitive::<$kind>().value(to))
        };
    }
    match left.data_type() {
        DataType::Boolean => left.as_boolean().value(at).cmp(&right.as_boolean().value(to)),
        DataType::Int8 => primitive!(Int8Type),
        DataType::Int16 => primitive!(Int16Type),
        DataType::Int32 => primitive!(Int32Type),
        DataType::Int64 => primitive!(Int64Type),
        DataType::Date32 => primitive!(Date32Type),
        DataType::Timestamp(..) => primitive!(TimestampMicrosecondType),
        DataType::Decimal128(..) => primitive!(Decimal128Type),
        DataType::Float32 => floating(
            left.as_primitive::<Float32Type>().value(at).into(),
            right.as_primitive::<Float32Type>().value(to).into(),
        ),
        DataType::Float64 => floating(
            left.as_primitive::<Float64Type>().value(at),
            right.as_primitive::<Float64Type>().value(to),
        ),
        DataType::Utf8 => left.as_string::<i32>().value(at).cmp(right.as_string::<i32>().value(to)),
        DataType::Binary => left.as_binary::<i32>().value(at).cmp(right.as_binary::<i32>().value(to)),
        DataType::List(_) => {
            let (left, right) = (left.as_list::<i32>(), right.as_list::<i32>());
            let (a, b) = (left.value_offsets(), right.value_offsets());
            let (a, b) = (a[at] as usize..a[at + 1] as usize, b[to] as usize..b[to + 1] as usize);
            let lengths = a.len().cmp(&b.len());
            a.zip(b)
                .map(|(x, y)| compare(left.values(), x, right.values(), y))
                .find(|order| order.is_ne())
                .unwrap_or(lengths)
        }
        DataType::Struct(_) => {
            let (left, right) = (left.as_struct(), right.as_struct());
            left.columns()
                .iter()
                .zip(right.columns())
                .map(|(a, b)| compare(a, at, b, to))
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        }
        _ => Ordering::Equal,
    }
}

/// As Spark compares floating-point numbers.
pub(crate) fn floating(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        _ => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
    }
}
