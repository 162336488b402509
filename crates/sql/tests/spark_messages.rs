//! Messages that a real Spark's `from_json` has read, read natively: the same are readable, with
//! the same values. `tests/spark/README.md` says where the answers come from.

#![allow(clippy::print_stdout, reason = "what was measured or skipped is said aloud")]

use arrow::array::Array;
use millstream_core::Reason;
use millstream_sql::{Decoder, cell_text, parse_schema};
use serde_json::Value;

const MESSAGES: &str = include_str!("../../../tests/spark/from_json.jsonl");

fn bytes(hex: &str) -> Vec<u8> {
    let (pairs, _) = hex.as_bytes().as_chunks::<2>();
    pairs
        .iter()
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex"))
        .collect()
}

/// Whether anything but white space follows the message's first value: Spark drops it silently,
/// here it is a dead letter.
fn has_more_behind(message: &[u8]) -> bool {
    let text = String::from_utf8_lossy(message);
    let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    matches!(values.next(), Some(Ok(_))) && !text[values.byte_offset()..].trim().is_empty()
}

#[test]
fn what_spark_reads_is_read_the_same() {
    let mut different = Vec::new();
    let mut compared = 0;
    for line in MESSAGES.lines() {
        let case: Value = serde_json::from_str(line).expect("a case");
        let Some(hex) = case["hex"].as_str() else { continue };
        let message = bytes(hex);
        let schema = case["schema"].as_str().expect("a schema");
        let schema = schema.replace(", _corrupt_record STRING", "");
        // Without a time of day a timestamp is today's: no answer can be kept.
        let decoded =
            Decoder::new(&parse_schema(&schema).expect("a schema")).decode([Some(&message[..])].into_iter());
        let refused = decoded.refused.first().map(|(_, reason, detail)| (*reason, detail.clone()));
        let expected = if case["j_null"] == true {
            Some(Reason::Empty)
        } else if case["corrupt"] == true || has_more_behind(&message) {
            Some(Reason::Unreadable)
        } else {
            None
        };
        compared += 1;
        if refused.as_ref().map(|(reason, _)| *reason) != expected {
            different.push(format!("{line}\n  here: {refused:?}"));
            continue;
        }
        if refused.is_some() {
            continue;
        }
        for (at, field) in decoded.batch.schema().fields().iter().enumerate() {
            let column = decoded.batch.column(at);
            let here = if column.is_null(0) { None } else { cell_text(column, 0) };
            let spark = case[field.name().as_str()].as_str().map(str::to_owned);
            // A binary is shown as text, which not every one is.
            if here != spark && case[format!("{}_hex", field.name())].is_null() {
                different.push(format!("{line}\n  {} here: {here:?}", field.name()));
            }
        }
    }
    println!("{compared} messages compared");
    assert!(compared > 900);
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}
