//! Reads the cells of an Arrow column as values of a CQL type, and refuses what is none.
//! Which Arrow types fit at all is decided before, by [`Type::takes`].

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int64Array, ListArray, MapArray, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use uuid::Uuid;

use super::value::excerpt;
use super::{Duration, Type, Value, collection};

/// The longest name of a cell that Cassandra takes.
const NAME_BYTES_MAX: usize = 65_535;

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
    List(ListArray, Box<Cells>),
    Map { maps: MapArray, keys: Box<Cells>, values: Box<Cells> },
}

/// A value that its column's type does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Where in the cell, like `[2]` of a list or `['a']` of a map; empty for the cell itself.
    pub place: String,
    /// Why it is no value of the type.
    pub why: String,
}

impl Misfit {
    fn new(why: impl Into<String>) -> Self {
        Self { place: String::new(), why: why.into() }
    }

    /// The same, seen from the collection that `place` is in.
    fn within(self, place: impl fmt::Display) -> Self {
        Self { place: format!("[{place}]{}", self.place), ..self }
    }
}

/// The cells of one column, as values of its CQL type.
pub struct Cells {
    kind: Type,
    column: Column,
}

impl Cells {
    /// Prepares `array` for reading; `None` where the types do not fit ([`Type::takes`]).
    pub fn new(array: &ArrayRef, kind: &Type) -> Option<Self> {
        if !kind.takes(array.data_type()) {
            return None;
        }
        let to = |wanted: DataType| cast(array, &wanted).expect("a cast between widths of one type");
        let column = match array.data_type() {
            DataType::List(_) => {
                let (Type::List(element) | Type::Set { element, .. }) = kind else { return None };
                let lists = array.as_list::<i32>().clone();
                let elements = Self::new(lists.values(), element)?;
                Column::List(lists, Box::new(elements))
            }
            DataType::Map(..) => {
                let Type::Map { key, value, .. } = kind else { return None };
                let maps = array.as_map().clone();
                let keys = Box::new(Self::new(maps.keys(), key)?);
                let values = Box::new(Self::new(maps.values(), value)?);
                Column::Map { maps, keys, values }
            }
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
        Some(Self { kind: kind.clone(), column })
    }

    /// The cell of `row`: its value, `None` for null, or why it is no value of the type.
    pub fn get(&self, row: usize) -> Result<Option<Value<'_>>, Misfit> {
        if self.is_null(row) {
            return Ok(None);
        }
        let value = match &self.column {
            Column::Text(array) => self.text(array.value(row)).map_err(Misfit::new)?,
            Column::Blob(array) => Value::Blob(array.value(row)),
            Column::Boolean(array) => Value::Boolean(array.value(row)),
            Column::Integer(array) => self.integer(array.value(row)).map_err(Misfit::new)?,
            Column::Float(array) => Value::Double(array.value(row).into()),
            Column::Double(array) => Value::Double(array.value(row)),
            Column::Decimal(array, scale) => Value::Decimal { unscaled: array.value(row), scale: *scale },
            Column::Date(array) => Value::Integer(array.value(row).into()),
            // Cassandra counts milliseconds: what is finer is cut off towards the past.
            Column::Timestamp(array) => Value::Integer(array.value(row).div_euclid(1000)),
            Column::List(lists, elements) => self.list(elements, span(lists.value_offsets(), row))?,
            Column::Map { maps, keys, values } => self.map(keys, values, span(maps.value_offsets(), row))?,
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
            Column::List(lists, _) => lists.is_null(row),
            Column::Map { maps, .. } => maps.is_null(row),
        }
    }

    /// The elements in `span` as a list or a set.
    fn list(&self, elements: &Self, span: Range<usize>) -> Result<Value<'static>, Misfit> {
        let mut parts = Vec::with_capacity(span.len());
        for (place, row) in span.enumerate() {
            let element = elements.part(row, "an element").map_err(|misfit| misfit.within(place))?;
            self.check_length(&element).map_err(|misfit| misfit.within(place))?;
            parts.push(element);
        }
        let bytes = match self.kind {
            Type::List(_) => collection::joined(&parts, 1),
            _ => collection::set(parts, &elements.kind),
        };
        Ok(Value::Collection(Cow::Owned(bytes)))
    }

    /// The entries in `span` as a map.
    fn map(&self, keys: &Self, values: &Self, span: Range<usize>) -> Result<Value<'static>, Misfit> {
        let mut entries = Vec::with_capacity(span.len());
        for row in span {
            let key = keys.part(row, "a key")?;
            let place = || keys.get(row).ok().flatten().map_or_else(String::new, |key| key.to_string());
            self.check_length(&key).map_err(|misfit| misfit.within(place()))?;
            let value = values.part(row, "a value").map_err(|misfit| misfit.within(place()))?;
            entries.push((key, value));
        }
        Ok(Value::Collection(Cow::Owned(collection::map(entries, &keys.kind))))
    }

    /// The bytes of a part of a collection, which cannot be null.
    fn part(&self, row: usize, what: &str) -> Result<Vec<u8>, Misfit> {
        match self.get(row)? {
            Some(value) => Ok(value.serialized(&self.kind).into_owned()),
            None => Err(Misfit::new(format!("{what} is null, which no CQL collection has"))),
        }
    }

    /// An element that is a cell of its own has its value, or its key, in the cell's name.
    fn check_length(&self, part: &[u8]) -> Result<(), Misfit> {
        if self.kind.is_multi_cell() && part.len() > NAME_BYTES_MAX {
            let length = part.len();
            return Err(Misfit::new(format!(
                "{length} bytes, {NAME_BYTES_MAX} are possible in a collection that is not frozen"
            )));
        }
        Ok(())
    }

    fn text<'a>(&self, text: &'a str) -> Result<Value<'a>, String> {
        let value = match self.kind {
            Type::Uuid | Type::Timeuuid => canonical_uuid(text)
                .filter(|uuid| self.kind == Type::Uuid || uuid.get_version_num() == 1)
                .map(Value::Uuid),
            Type::Inet => text.parse().ok().map(Value::Inet),
            Type::Duration => Duration::parse(text).map(Value::Duration),
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

/// The rows of a list's or a map's parts that belong to `row`.
fn span(offsets: &[i32], row: usize) -> Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

/// Only the 36-character form: the other forms that libraries take differ from one to the next.
fn canonical_uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Builder, ListBuilder, MapBuilder, StringBuilder};

    use super::*;

    fn text_cell(text: &str, kind: &Type) -> Result<(), Misfit> {
        let array: ArrayRef = Arc::new(StringArray::from(vec![text]));
        Cells::new(&array, kind).expect("text fits").get(0).map(|_| ())
    }

    #[test]
    fn refuses_what_is_no_value_of_the_type() {
        let uuid = "0f5cc5f9-f46f-47f1-ade4-2d60ad67ade2";
        assert_eq!(text_cell(uuid, &Type::Uuid), Ok(()));
        for (text, kind) in [
            ("", Type::Uuid),
            ("0f5cc5f9f46f47f1ade42d60ad67ade2", Type::Uuid),
            ("{0f5cc5f9-f46f-47f1-ade4-2d60ad67ad}", Type::Uuid),
            (uuid, Type::Timeuuid),
            ("é", Type::Ascii),
            ("1.2.3", Type::Inet),
            ("1d1y", Type::Duration),
        ] {
            assert!(text_cell(text, &kind).is_err(), "{text} as {kind}");
        }
    }

    #[test]
    fn a_number_must_fit_its_column() {
        let array: ArrayRef = Arc::new(Int64Array::from(vec![127, 128]));
        let cells = Cells::new(&array, &Type::Tinyint).expect("numbers fit");
        assert_eq!(cells.get(0), Ok(Some(Value::Integer(127))));
        assert_eq!(cells.get(1), Err(Misfit::new("128 is no tinyint")));
    }

    #[test]
    fn times_before_1970_are_cut_towards_the_past() {
        let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![-1]));
        let cells = Cells::new(&array, &Type::Timestamp).expect("a timestamp fits");
        assert_eq!(cells.get(0), Ok(Some(Value::Integer(-1))));
    }

    /// The cell of one array of texts as `kind`: its bytes, or where it does not fit and why.
    fn texts(elements: &[Option<&str>], kind: &str) -> Result<Vec<u8>, Misfit> {
        let mut array = ListBuilder::new(StringBuilder::new());
        array.append_value(elements.iter().copied());
        let array: ArrayRef = Arc::new(array.finish());
        let kind = Type::parse(kind).expect("a type");
        let cells = Cells::new(&array, &kind).expect("an array of texts fits");
        Ok(cells.get(0)?.expect("is not null").serialized(&kind).into_owned())
    }

    #[test]
    fn a_set_has_each_value_once_and_in_order_and_a_list_as_it_came() {
        let written = [Some("b"), Some("a"), Some("b")];
        assert_eq!(texts(&written, "set<text>"), Ok(b"\0\0\0\x02\0\0\0\x01a\0\0\0\x01b".to_vec()));
        assert_eq!(
            texts(&written, "frozen<list<text>>"),
            Ok(b"\0\0\0\x03\0\0\0\x01b\0\0\0\x01a\0\0\0\x01b".to_vec())
        );
        assert_eq!(texts(&[], "set<text>"), Ok(vec![0; 4]));
    }

    #[test]
    fn what_a_collection_cannot_have_is_refused_with_its_place() {
        let long = "x".repeat(65_536);
        for (elements, kind, place, why) in [
            ([Some("a"), None], "set<text>", "[1]", "an element is null, which no CQL collection has"),
            ([Some("::1"), Some("x")], "frozen<list<inet>>", "[1]", "'x' is no inet"),
            ([Some(long.as_str()), Some("x")], "set<text>", "[0]", "65536 bytes"),
        ] {
            let misfit = texts(&elements, kind).expect_err(kind);
            assert_eq!(misfit.place, place);
            assert!(misfit.why.starts_with(why), "{misfit:?}");
        }
        assert!(texts(&[Some(long.as_str())], "frozen<set<text>>").is_ok());
    }

    #[test]
    fn a_map_is_in_the_order_of_its_keys_and_names_the_key_of_a_bad_value() {
        let mut array = MapBuilder::new(None, Int32Builder::new(), Int32Builder::new());
        for entries in [[(3, Some(1)), (-1, Some(2))], [(3, Some(1)), (-1, None)]] {
            for (key, value) in entries {
                array.keys().append_value(key);
                array.values().append_option(value);
            }
            array.append(true).expect("keys and values are of one length");
        }
        let array: ArrayRef = Arc::new(array.finish());
        let kind = Type::parse("map<int, tinyint>").expect("a type");
        let cells = Cells::new(&array, &kind).expect("a map of numbers fits");
        let bytes = [&[0, 0, 0, 2][..], &[0, 0, 0, 4, 255, 255, 255, 255, 0, 0, 0, 1, 2]].concat();
        let bytes = [&bytes[..], &[0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 1, 1]].concat();
        assert_eq!(cells.get(0), Ok(Some(Value::Collection(Cow::Owned(bytes)))));
        assert_eq!(cells.get(1).expect_err("a null").place, "[-1]");
    }
}
