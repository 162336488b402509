//! Rows to JSON objects, as Spark's `to_json` writes them: a null is left out.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};

use crate::cast::Formatter;

/// Appends the rows of `batch`, each as one JSON object, and tells where each ends.
pub fn encode_rows(batch: &RecordBatch, out: &mut Vec<u8>) -> Vec<usize> {
    let schema = batch.schema();
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, array)| (quoted_name(field.name()), Cell::new(array)))
        .collect();
    (0..batch.num_rows())
        .map(|row| {
            members(&columns, row, out);
            out.len()
        })
        .collect()
}

/// Whether values of the type are written as Spark writes them. The keys of a map it writes as it keeps them: a date
/// as a number of days, bytes as an address in memory.
pub fn is_writable(kind: &DataType) -> bool {
    match kind {
        DataType::Struct(fields) => fields.iter().all(|field| is_writable(field.data_type())),
        DataType::List(item) => is_writable(item.data_type()),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(entry) => is_plain(entry[0].data_type()) && is_writable(entry[1].data_type()),
            _ => false,
        },
        _ => true,
    }
}

/// Whether Spark keeps a value of the type as it is cast to text.
fn is_plain(key: &DataType) -> bool {
    !matches!(key, DataType::Date32 | DataType::Timestamp(..) | DataType::Binary)
        && !matches!(key, DataType::List(_) | DataType::Struct(_) | DataType::Map(..))
}

/// Each value of a column as JSON, null for null.
pub(crate) fn to_texts(array: &ArrayRef) -> Vec<Option<String>> {
    let cell = Cell::new(array);
    let text = |row| {
        let mut out = Vec::new();
        cell.write(row, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    };
    (0..array.len()).map(|row| array.is_valid(row).then(|| text(row))).collect()
}

/// A name with its quotes and colon.
fn quoted_name(name: &str) -> Vec<u8> {
    let mut quoted = Vec::new();
    string(name, &mut quoted);
    quoted.push(b':');
    quoted
}

fn members(columns: &[(Vec<u8>, Cell<'_>)], row: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut first = true;
    for (name, cell) in columns.iter().filter(|(_, cell)| cell.array.is_valid(row)) {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        out.extend_from_slice(name);
        cell.write(row, out);
    }
    out.push(b'}');
}

struct Cell<'a> {
    array: &'a ArrayRef,
    /// The fields of a struct with their names, an array's items, a map's keys and values.
    children: Vec<(Vec<u8>, Cell<'a>)>,
}

impl<'a> Cell<'a> {
    fn new(array: &'a ArrayRef) -> Self {
        let children = match array.data_type() {
            DataType::Struct(fields) => fields
                .iter()
                .zip(array.as_struct().columns())
                .map(|(field, column)| (quoted_name(field.name()), Self::new(column)))
                .collect(),
            DataType::List(_) => vec![(Vec::new(), Self::new(array.as_list::<i32>().values()))],
            DataType::Map(..) => {
                let map = array.as_map();
                vec![(Vec::new(), Self::new(map.keys())), (Vec::new(), Self::new(map.values()))]
            }
            _ => Vec::new(),
        };
        Self { array, children }
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.array.is_null(row) || *self.array.data_type() == DataType::Null {
            out.extend_from_slice(b"null");
            return;
        }
        match self.array.data_type() {
            DataType::Utf8 => string(self.array.as_string::<i32>().value(row), out),
            DataType::Int8 => number(self.array.as_primitive::<Int8Type>().value(row).into(), out),
            DataType::Int16 => number(self.array.as_primitive::<Int16Type>().value(row).into(), out),
            DataType::Int32 => number(self.array.as_primitive::<Int32Type>().value(row).into(), out),
            DataType::Int64 => number(self.array.as_primitive::<Int64Type>().value(row), out),
            DataType::Float32 => {
                self.floating(row, self.array.as_primitive::<Float32Type>().value(row).into(), out)
            }
            DataType::Float64 => self.floating(row, self.array.as_primitive::<Float64Type>().value(row), out),
            DataType::Timestamp(..) => {
                let micros = self.array.as_primitive::<TimestampMicrosecondType>().value(row);
                timestamp(micros, matches!(self.array.data_type(), DataType::Timestamp(_, Some(_))), out);
            }
            DataType::Binary => base64(self.array.as_binary::<i32>().value(row), out),
            DataType::Date32 => {
                out.push(b'"');
                self.plain(row, out);
                out.push(b'"');
            }
            DataType::Struct(_) => members(&self.children, row, out),
            DataType::List(_) => self.list(row, out),
            DataType::Map(..) => self.map(row, out),
            _ => self.plain(row, out),
        }
    }

    /// As it is cast to text.
    fn plain(&self, row: usize, out: &mut Vec<u8>) {
        let mut text = String::new();
        Formatter::new(self.array).write(row, &mut text);
        out.extend_from_slice(text.as_bytes());
    }

    /// JSON has no NaN and no infinities: they are texts.
    fn floating(&self, row: usize, value: f64, out: &mut Vec<u8>) {
        let quotes: &[u8] = if value.is_finite() { b"" } else { b"\"" };
        out.extend_from_slice(quotes);
        self.plain(row, out);
        out.extend_from_slice(quotes);
    }

    fn list(&self, row: usize, out: &mut Vec<u8>) {
        let offsets = self.array.as_list::<i32>().value_offsets();
        out.push(b'[');
        for (at, item) in (offsets[row]..offsets[row + 1]).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            self.children[0].1.write(item as usize, out);
        }
        out.push(b']');
    }

    fn map(&self, row: usize, out: &mut Vec<u8>) {
        let offsets = self.array.as_map().value_offsets();
        out.push(b'{');
        for (at, entry) in (offsets[row]..offsets[row + 1]).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            let mut key = String::new();
            Formatter::new(self.children[0].1.array).write(entry as usize, &mut key);
            string(&key, out);
            out.push(b':');
            self.children[1].1.write(entry as usize, out);
        }
        out.push(b'}');
    }
}

fn number(number: i64, out: &mut Vec<u8>) {
    use std::io::Write;
    write!(out, "{number}").expect("writing to memory");
}

/// A text in quotes, escaped as Jackson does: quotes, backslashes and control characters.
fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        write_char(char::from(rest.as_bytes()[at]), out);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

/// One character of a text, escaped where JSON wants it.
pub(super) fn write_char(c: char, out: &mut Vec<u8>) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\u{8}' => out.extend_from_slice(b"\\b"),
        '\u{c}' => out.extend_from_slice(b"\\f"),
        c if c < ' ' => out.extend_from_slice(format!("\\u{:04X}", u32::from(c)).as_bytes()),
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// `"2020-01-02T03:04:05.678Z"`: Spark's default format has three digits behind the point.
fn timestamp(micros: i64, zoned: bool, out: &mut Vec<u8>) {
    let millis = micros.div_euclid(1000);
    let days = millis.div_euclid(86_400_000);
    let of_day = millis.rem_euclid(86_400_000);
    let (year, month, day) = crate::cast::civil_from_days(days);
    let sign = match year {
        ..0 => "-",
        10_000.. => "+",
        _ => "",
    };
    let year = year.abs();
    let (hours, minutes) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (seconds, millis) = (of_day / 1000 % 60, of_day % 1000);
    let zone = if zoned { "Z" } else { "" };
    let text = format!(
        "\"{sign}{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}{zone}\""
    );
    out.extend_from_slice(text.as_bytes());
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(to_base64(bytes).as_bytes());
    out.push(b'"');
}

/// Bytes in base64, filled up with `=`, on one line.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = (bits >> (18 - 6 * at)) & 63;
            out.push(if at <= group.len() { DIGITS[digit as usize].into() } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Decoder;
    use crate::types::{parse_schema, parse_type};

    #[test]
    fn what_was_read_is_written_and_nulls_are_left_out() {
        let schema = parse_schema(
            "t STRING, n DOUBLE, d DECIMAL(5,2), s STRUCT<x: INT, y: STRING>, l ARRAY<INT>, m MAP<STRING,INT>, \
             b BINARY, z TIMESTAMP, e DATE, nan BOOLEAN",
        )
        .expect("a schema");
        let text = concat!(
            r#"{"t":"\"\u0001\n\\é","n":1.0E10,"d":1.50,"s":{"y":"q"},"l":[1,null],"m":{"k":1},"#,
            r#""b":"YWJjZA==","z":"2020-01-02T03:04:05.120Z","e":"2020-01-02"}"#
        );
        let decoded = Decoder::new(&schema).decode([Some(text.as_bytes())].into_iter());
        assert!(decoded.refused.is_empty(), "{:?}", decoded.refused);
        let mut out = Vec::new();
        let ends = encode_rows(&decoded.batch, &mut out);
        assert_eq!(String::from_utf8(out).expect("UTF-8"), text);
        assert_eq!(ends, [text.len()]);
    }

    #[test]
    fn keys_that_spark_writes_otherwise_are_refused() {
        for kind in [
            "MAP<DATE, INT>",
            "MAP<TIMESTAMP_NTZ, INT>",
            "MAP<BINARY, INT>",
            "MAP<ARRAY<INT>, INT>",
            "ARRAY<MAP<STRING, STRUCT<m: MAP<DATE, INT>>>>",
        ] {
            assert!(!is_writable(&parse_type(kind).expect("a type")), "{kind}");
        }
        let error = crate::answer("SELECT to_json(map(DATE'2024-01-01', 1))").expect_err("a date");
        assert!(error.message.contains("keys"), "{error}");
        let sql = "SELECT to_json(map(1, 'x')), to_json(map(1.50, true)), to_json(map(false, 2))";
        let answer = crate::answer(sql).expect("an answer").expect("a row");
        assert_eq!(
            answer.text,
            [r#"{"1":"x"}"#, r#"{"1.50":true}"#, r#"{"false":2}"#].map(|text| Some(text.to_owned()))
        );
    }
}
