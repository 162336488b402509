//! Many messages to one batch. A message that cannot be read is set aside with its reason and
//! leaves the others as they are.

use std::borrow::Cow;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use millstream_core::Reason;

use super::column::Column;
use super::read;
use super::scan::Scanner;
use crate::types::nullable;

/// The batch that came of messages.
#[derive(Debug)]
pub struct Decoded {
    /// One row for each message that can be read.
    pub batch: RecordBatch,
    /// For each row the index of its message.
    pub origins: Vec<u32>,
    /// The messages that cannot be read, by index, with the reason and a detail for people.
    pub refused: Vec<(u32, Reason, String)>,
}

/// Turns JSON messages into batches of one schema.
pub struct Decoder {
    schema: SchemaRef,
    root: Column,
}

impl Decoder {
    /// A decoder for messages that are objects with these fields. What a message lacks is null, also where the
    /// schema says that nothing is.
    pub fn new(schema: &Schema) -> Self {
        let kind = nullable(&DataType::Struct(schema.fields().clone()));
        let DataType::Struct(fields) = &kind else { unreachable!("a struct with nulls is a struct") };
        Self { schema: Schema::new(fields.clone()).into(), root: Column::new(&kind) }
    }

    /// The columns of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Reads messages; `None` is a message without a value.
    pub fn decode<'m>(&mut self, messages: impl Iterator<Item = Option<&'m [u8]>>) -> Decoded {
        let mut origins = Vec::with_capacity(messages.size_hint().0);
        let mut refused = Vec::new();
        for (index, message) in messages.enumerate() {
            let index = index as u32;
            let message = message.unwrap_or_default();
            if message.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
                refused.push((index, Reason::Empty, "there is no value".to_owned()));
                continue;
            }
            match self.read(message) {
                Ok(()) => origins.push(index),
                Err(detail) => {
                    self.root.truncate(origins.len());
                    refused.push((index, Reason::Unreadable, detail));
                }
            }
        }
        Decoded { batch: self.finish(origins.len()), origins, refused }
    }

    fn read(&mut self, message: &[u8]) -> Result<(), String> {
        let text = match std::str::from_utf8(message) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(java_text(message)),
        };
        let mut scanner = Scanner::new(&text);
        if scanner.peek() != Some(b'{') {
            scanner.skip()?;
            return Err("the message is no JSON object".into());
        }
        read::value(&mut scanner, &mut self.root)?;
        scanner.end()
    }

    fn finish(&mut self, rows: usize) -> RecordBatch {
        let array = self.root.finish();
        let columns: Vec<ArrayRef> = arrow::array::AsArray::as_struct(&array).columns().to_vec();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .expect("columns of the schema's types")
    }
}

/// Bytes as Java reads them: what is no UTF-8 as U+FFFD. It differs from Rust in taking a surrogate (`ED A0..BF`)
/// with its continuation as one.
#[cold]
pub(crate) fn java_text(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(2).position(|pair| pair[0] == 0xed && (0xa0..=0xbf).contains(&pair[1]))
    {
        text.push_str(&String::from_utf8_lossy(&rest[..at]));
        text.push('\u{fffd}');
        let third = rest.get(at + 2).is_some_and(|byte| (0x80..=0xbf).contains(byte));
        rest = &rest[at + 2 + usize::from(third)..];
    }
    text.push_str(&String::from_utf8_lossy(rest));
    text
}

#[cfg(test)]
mod tests {
    use arrow::util::pretty::pretty_format_batches;

    use super::*;
    use crate::types::parse_schema;

    fn decode(schema: &str, messages: &[&str]) -> Decoded {
        let schema = parse_schema(schema).expect("a schema");
        Decoder::new(&schema).decode(messages.iter().map(|message| Some(message.as_bytes())))
    }

    fn table(batch: &RecordBatch) -> String {
        pretty_format_batches(std::slice::from_ref(batch)).expect("prints").to_string()
    }

    #[test]
    fn bad_messages_leave_no_trace_in_the_good_ones() {
        let good = [r#"{"a":1,"s":{"x":"é","l":[1,2]}}"#, r#"{"s":{"l":[]},"a":null,"other":[{}]}"#, "{}"];
        let bad = [
            r#"{"a":1,"s":{"x":"lost","l":[7,"x"]}}"#,
            r#"{"a":1.5}"#,
            r#"{"a":1}{"a":2}"#,
            r#"{"a":1"#,
            "[1]",
            "null",
        ];
        let schema = "a INT, s STRUCT<x: STRING, l: ARRAY<INT>>";
        let alone = decode(schema, &good);
        let mut mixed = Vec::new();
        for good in good {
            mixed.extend(bad);
            mixed.push(good);
        }
        let mixed = decode(schema, &mixed);
        assert_eq!(table(&mixed.batch), table(&alone.batch));
        assert_eq!(mixed.origins, [6, 13, 20]);
        assert_eq!(mixed.refused.len(), 18);
        assert!(mixed.refused.iter().all(|(_, reason, _)| *reason == Reason::Unreadable));
    }

    #[test]
    fn a_time_without_a_zone_is_a_text_without_one() {
        let local =
            decode("at TIMESTAMP_NTZ", &[r#"{"at":"2024-02-29T12:30:00"}"#, r#"{"at":"2024-02-29"}"#]);
        assert!(local.refused.is_empty(), "{:?}", local.refused);
        let others = [
            r#"{"at":"2024-02-29T12:30:00+02:00"}"#,
            r#"{"at":"2024-02-29T12:30:00Z"}"#,
            r#"{"at":"12:30"}"#,
            r#"{"at":1700000000}"#,
        ];
        assert_eq!(decode("at TIMESTAMP_NTZ", &others).refused.len(), others.len());
        assert!(decode("at TIMESTAMP", &others).refused.is_empty());
    }

    #[test]
    fn details_name_the_field_and_the_value() {
        let decoded = decode("s STRUCT<n: INT>", &[r#"{"s":{"n":"12"}}"#]);
        assert_eq!(decoded.refused[0].2, "s: n: \"12\" is no int at byte 14");
    }

    #[test]
    fn nothing_is_empty() {
        let decoded = decode("a INT", &["", " \n", "{}"]);
        assert_eq!(
            decoded.refused.iter().map(|(_, reason, _)| *reason).collect::<Vec<_>>(),
            [Reason::Empty; 2]
        );
        assert_eq!(decoded.batch.num_rows(), 1);
    }

    #[test]
    fn of_a_name_that_comes_twice_the_last_counts() {
        let decoded = decode("a INT, s STRUCT<x: INT>", &[r#"{"a":1,"s":{"x":1},"a":2,"s":{}}"#]);
        assert_eq!(
            table(&decoded.batch),
            table(&decode("a INT, s STRUCT<x: INT>", &[r#"{"a":2,"s":{}}"#]).batch)
        );
    }

    #[test]
    fn texts_take_everything() {
        let messages = [
            r#"{"t":1.50}"#,
            r#"{"t":true}"#,
            r#"{"t":-0}"#,
            r#"{"t":{"k":[1,2]}}"#,
            r#"{"t":"\ud83d\ude00"}"#,
        ];
        let decoded = decode("t STRING", &messages);
        let column =
            arrow::array::AsArray::as_string::<i32>(decoded.batch.column(0)).iter().collect::<Vec<_>>();
        assert_eq!(column, [Some("1.5"), Some("true"), Some("0"), Some(r#"{"k":[1,2]}"#), Some("😀")]);
    }
}
