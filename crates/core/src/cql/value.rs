//! Reads the cells of an Arrow column as values of a CQL type, and refuses what is none.
//! Which Arrow types fit at all is decided before, by [`Type::takes`].

use std::borrow::Cow;
use std::net::IpAddr;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use uuid::Uuid;

use super::Type;

/// One cell's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// `ascii` and `text`.
    Text(&'a str),
    /// `blob`.
    Blob(&'a [u8]),
    /// `boolean`.
    Boolean(bool),
    /// `tinyint`, `smallint`, `int`, `bigint`; `date` in days and `timestamp` in milliseconds
    /// since 1970, `time` in nanoseconds since midnight.
    Integer(i64),
    /// `float` and `double`.
    Double(f64),
    /// `decimal` and `varint`: the number is `unscaled / 10^scale`.
    Decimal {
        /// The digits.
        unscaled: i128,
        /// How many of them stand behind the point.
        scale: i8,
    },
    /// `uuid` and `timeuuid`.
    Uuid(Uuid),
    /// `inet`.
    Inet(IpAddr),
}

impl Value<'_> {
    /// The bytes that Cassandra stores, which decide between two values of the same write time.
    pub fn serialized(&self, kind: Type) -> Cow<'_, [u8]> {
        let owned = match self {
            Self::Text(text) => return Cow::Borrowed(text.as_bytes()),
            Self::Blob(bytes) => return Cow::Borrowed(bytes),
            Self::Boolean(value) => vec![u8::from(*value)],
            Self::Integer(number) => match kind {
                Type::Tinyint => (*number as i8).to_be_bytes().to_vec(),
                Type::Smallint => (*number as i16).to_be_bytes().to_vec(),
                Type::Int => (*number as i32).to_be_bytes().to_vec(),
                // A date counts from 2^31 days before 1970.
                Type::Date => ((number + (1 << 31)) as u32).to_be_bytes().to_vec(),
                _ => number.to_be_bytes().to_vec(),
            },
            Self::Double(number) if kind == Type::Float => (*number as f32).to_be_bytes().to_vec(),
            Self::Double(number) => number.to_be_bytes().to_vec(),
            Self::Decimal { unscaled, scale } if kind == Type::Decimal => {
                [i32::from(*scale).to_be_bytes().as_slice(), &varint(*unscaled)].concat()
            }
            Self::Decimal { unscaled, .. } => varint(*unscaled),
            Self::Uuid(uuid) => uuid.as_bytes().to_vec(),
            Self::Inet(IpAddr::V4(address)) => address.octets().to_vec(),
            Self::Inet(IpAddr::V6(address)) => address.octets().to_vec(),
        };
        Cow::Owned(owned)
    }
}

/// The shortest big-endian two's complement.
fn varint(number: i128) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let sign = if number < 0 { 0xff } else { 0 };
    let redundant =
        bytes.windows(2).take_while(|pair| pair[0] == sign && (pair[1] ^ sign) & 0x80 == 0).count();
    bytes[redundant..].to_vec()
}

enum Column {
    Text(StringArray),
    Blob(BinaryArray),
    Boolean(BooleanArray),
    Integer(Int64Array),
    Float(Float32Array),
    Double(Float64Array),
    Decimal(Decimal128Array, i8),
    Date(Date32Array),
    Timestamp(TimestampMicrosecondArray),
}

/// The cells of one column, as values of its CQL type.
pub struct Cells {
    kind: Type,
    column: Column,
}

impl Cells {
    /// Prepares `array` for reading; `None` where the types do not fit ([`Type::takes`]).
    pub fn new(array: &ArrayRef, kind: Type) -> Option<Self> {
        if !kind.takes(array.data_type()) {
            return None;
        }
        let to = |wanted: DataType| cast(array, &wanted).expect("a cast between widths of one type");
        let column = match array.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Column::Text(to(DataType::Utf8).as_string().clone())
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                Column::Blob(to(DataType::Binary).as_binary().clone())
            }
            DataType::Boolean => Column::Boolean(array.as_boolean().clone()),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                Column::Integer(to(DataType::Int64).as_primitive().clone())
            }
            DataType::Float32 => Column::Float(array.as_primitive().clone()),
            DataType::Float64 => Column::Double(array.as_primitive().clone()),
            DataType::Decimal128(_, scale) => Column::Decimal(array.as_primitive().clone(), *scale),
            DataType::Date32 => Column::Date(array.as_primitive().clone()),
            DataType::Timestamp(..) => {
                Column::Timestamp(to(DataType::Timestamp(TimeUnit::Microsecond, None)).as_primitive().clone())
            }
            _ => return None,
        };
        Some(Self { kind, column })
    }

    /// The cell of `row`: its value, `None` for null, or why it is no value of the type.
    pub fn get(&self, row: usize) -> Result<Option<Value<'_>>, String> {
        if self.is_null(row) {
            return Ok(None);
        }
        let value = match &self.column {
            Column::Text(array) => self.text(array.value(row))?,
            Column::Blob(array) => Value::Blob(array.value(row)),
            Column::Boolean(array) => Value::Boolean(array.value(row)),
            Column::Integer(array) => self.integer(array.value(row))?,
            Column::Float(array) => Value::Double(array.value(row).into()),
            Column::Double(array) => Value::Double(array.value(row)),
            Column::Decimal(array, scale) => Value::Decimal { unscaled: array.value(row), scale: *scale },
            Column::Date(array) => Value::Integer(array.value(row).into()),
            // Cassandra counts milliseconds: what is finer is cut off towards the past.
            Column::Timestamp(array) => Value::Integer(array.value(row).div_euclid(1000)),
        };
        Ok(Some(value))
    }

    fn is_null(&self, row: usize) -> bool {
        match &self.column {
            Column::Text(array) => array.is_null(row),
            Column::Blob(array) => array.is_null(row),
            Column::Boolean(array) => array.is_null(row),
            Column::Integer(array) => array.is_null(row),
            Column::Float(array) => array.is_null(row),
            Column::Double(array) => array.is_null(row),
            Column::Decimal(array, _) => array.is_null(row),
            Column::Date(array) => array.is_null(row),
            Column::Timestamp(array) => array.is_null(row),
        }
    }

    fn text<'a>(&self, text: &'a str) -> Result<Value<'a>, String> {
        let value = match self.kind {
            Type::Uuid | Type::Timeuuid => canonical_uuid(text)
                .filter(|uuid| self.kind == Type::Uuid || uuid.get_version_num() == 1)
                .map(Value::Uuid),
            Type::Inet => text.parse().ok().map(Value::Inet),
            Type::Ascii => text.is_ascii().then_some(Value::Text(text)),
            _ => Some(Value::Text(text)),
        };
        value.ok_or_else(|| format!("{} is no {}", excerpt(text), self.kind))
    }

    fn integer(&self, number: i64) -> Result<Value<'static>, String> {
        let fits = match self.kind {
            Type::Tinyint => i8::try_from(number).is_ok(),
            Type::Smallint => i16::try_from(number).is_ok(),
            Type::Int => i32::try_from(number).is_ok(),
            Type::Time => (0..86_400_000_000_000).contains(&number),
            Type::Decimal | Type::Varint => {
                return Ok(Value::Decimal { unscaled: number.into(), scale: 0 });
            }
            _ => true,
        };
        if fits { Ok(Value::Integer(number)) } else { Err(format!("{number} is no {}", self.kind)) }
    }
}

/// Only the 36-character form: the other forms that libraries take differ from one to the next.
fn canonical_uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// A text in quotes, cut where it is long.
fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("'{}…'", &text[..end]),
        None => format!("'{text}'"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn text_cell(text: &str, kind: Type) -> Result<(), String> {
        let array: ArrayRef = Arc::new(StringArray::from(vec![text]));
        Cells::new(&array, kind).expect("text fits").get(0).map(|_| ())
    }

    #[test]
    fn refuses_what_is_no_value_of_the_type() {
        let uuid = "0f5cc5f9-f46f-47f1-ade4-2d60ad67ade2";
        assert_eq!(text_cell(uuid, Type::Uuid), Ok(()));
        for (text, kind) in [
            ("", Type::Uuid),
            ("0f5cc5f9f46f47f1ade42d60ad67ade2", Type::Uuid),
            ("{0f5cc5f9-f46f-47f1-ade4-2d60ad67ad}", Type::Uuid),
            (uuid, Type::Timeuuid),
            ("é", Type::Ascii),
            ("1.2.3", Type::Inet),
        ] {
            assert!(text_cell(text, kind).is_err(), "{text} as {kind}");
        }
    }

    #[test]
    fn a_number_must_fit_its_column() {
        let array: ArrayRef = Arc::new(Int64Array::from(vec![127, 128]));
        let cells = Cells::new(&array, Type::Tinyint).expect("numbers fit");
        assert_eq!(cells.get(0), Ok(Some(Value::Integer(127))));
        assert_eq!(cells.get(1), Err("128 is no tinyint".into()));
    }

    #[test]
    fn numbers_are_stored_as_cassandra_stores_them() {
        let bytes = |number: i128| {
            Value::Decimal { unscaled: number, scale: 0 }.serialized(Type::Varint).into_owned()
        };
        assert_eq!(bytes(0), [0]);
        assert_eq!(bytes(127), [127]);
        assert_eq!(bytes(128), [0, 128]);
        assert_eq!(bytes(-128), [128]);
        assert_eq!(bytes(-129), [255, 127]);
        assert_eq!(*Value::Integer(-1).serialized(Type::Date), [0x7f, 255, 255, 255]);
    }

    #[test]
    fn times_before_1970_are_cut_towards_the_past() {
        let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![-1]));
        let cells = Cells::new(&array, Type::Timestamp).expect("a timestamp fits");
        assert_eq!(cells.get(0), Ok(Some(Value::Integer(-1))));
    }
}
