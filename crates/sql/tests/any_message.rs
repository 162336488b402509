//! Messages nobody thought of: the reader never panics, reads what a slow and simple reader reads,
//! and reads a message the same whatever stands beside it.

use arrow::array::Array;
use millstream_sql::{Decoder, cell_text, parse_schema};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const SCHEMA: &str =
    "a STRING, b BIGINT, c BOOLEAN, d STRUCT<x: STRING, y: INT>, e ARRAY<STRING>, `ü` STRING";

/// What one message gives: its columns as texts, or nothing where it cannot be read.
fn read(messages: &[&[u8]]) -> Vec<Option<Vec<Option<String>>>> {
    let mut decoder = Decoder::new(&parse_schema(SCHEMA).expect("a schema"));
    let decoded = decoder.decode(messages.iter().map(|message| Some(*message)));
    assert_eq!(decoded.origins.len() + decoded.refused.len(), messages.len(), "a message has vanished");
    let mut rows = vec![None; messages.len()];
    for (row, origin) in decoded.origins.iter().enumerate() {
        let cells = decoded
            .batch
            .columns()
            .iter()
            .map(|column| if column.is_null(row) { None } else { cell_text(column, row) });
        rows[*origin as usize] = Some(cells.collect());
    }
    rows
}

/// A value of its column's type, or null.
fn of_type(name: &str, value: &Value) -> Option<String> {
    match (name, value) {
        (_, Value::Null) => None,
        ("d", Value::Object(members)) => {
            let part = |name: &str| match members.get(name) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Number(number)) => number.to_string(),
                _ => "null".to_owned(),
            };
            Some(format!("{{{}, {}}}", part("x"), part("y")))
        }
        ("e", Value::Array(items)) => {
            let items = items.iter().map(|item| item.as_str().unwrap_or("null")).collect::<Vec<_>>();
            Some(format!("[{}]", items.join(", ")))
        }
        (_, Value::String(text)) => Some(text.clone()),
        (_, other) => Some(other.to_string()),
    }
}

fn text() -> impl Strategy<Value = Value> {
    prop_oneof![".{0,8}", "[\\\\\"/\u{0}-\u{1f}\u{7f}-\u{ffff}]{0,6}"].prop_map(Value::String)
}

fn or_null(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop_oneof![4 => value, 1 => Just(Value::Null)]
}

/// A message with the right types; some fields are missing, some nobody asked for.
fn message() -> impl Strategy<Value = Map<String, Value>> {
    let d = (or_null(text()), or_null(any::<i32>().prop_map(Value::from)))
        .prop_map(|(x, y)| json!({"x": x, "y": y, "other": [1, {"z": null}]}));
    let e = proptest::collection::vec(or_null(text()), 0..4).prop_map(Value::Array);
    let fields = (
        or_null(text()),
        or_null(any::<i64>().prop_map(Value::from)),
        or_null(any::<bool>().prop_map(Value::from)),
        or_null(d),
        or_null(e),
        or_null(text()),
        proptest::collection::vec(any::<bool>(), 6),
    );
    fields.prop_map(|(a, b, c, d, e, u, there)| {
        let all = [("a", a), ("b", b), ("c", c), ("d", d), ("e", e), ("ü", u)];
        let kept = all.into_iter().zip(there).filter(|(_, there)| *there);
        let mut members: Map<String, Value> =
            kept.map(|((name, value), _)| (name.to_owned(), value)).collect();
        members.insert("nobody asked".to_owned(), json!({"n": [1.5e3, true]}));
        members
    })
}

/// JSON as somebody may have written it: white space where it is allowed, escapes where they are not
/// needed.
fn written(value: &Value, spaces: &[u8], at: &mut usize, out: &mut String) {
    let mut space = |out: &mut String| {
        *at += 1;
        out.push_str(["", "", " ", "\t\r\n"][spaces[*at % spaces.len()] as usize % 4]);
    };
    space(out);
    match value {
        Value::Object(members) => {
            out.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                written(&Value::String(name.clone()), spaces, at, out);
                out.push(':');
                written(value, spaces, at, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                written(item, spaces, at, out);
            }
            out.push(']');
        }
        Value::String(text) => {
            out.push('"');
            for c in text.chars() {
                *at += 1;
                let is_escaped = spaces[*at % spaces.len()] > 200 || c < ' ' || c == '"' || c == '\\';
                let mut units = [0; 2];
                match is_escaped {
                    true => c
                        .encode_utf16(&mut units)
                        .iter()
                        .for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
                    false => out.push(c),
                }
            }
            out.push('"');
        }
        other => out.push_str(&other.to_string()),
    }
    *at += 1;
    out.push_str(["", " "][spaces[*at % spaces.len()] as usize % 2]);
}

proptest! {
    #[test]
    fn what_is_well_typed_is_read_as_it_is(
        members in message(),
        spaces in proptest::collection::vec(any::<u8>(), 1..30),
    ) {
        let mut text = String::new();
        written(&Value::Object(members.clone()), &spaces, &mut 0, &mut text);
        let names = ["a", "b", "c", "d", "e", "ü"];
        let expected: Vec<_> =
            names.iter().map(|name| members.get(*name).and_then(|value| of_type(name, value))).collect();
        prop_assert_eq!(read(&[text.as_bytes()]), [Some(expected)], "{}", text);
    }

    #[test]
    fn a_message_is_read_the_same_whatever_stands_beside_it(
        good in message(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        noise in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let good = Value::Object(good).to_string().into_bytes();
        let mut damaged = good.clone();
        for (at, byte) in damage {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        let messages: [&[u8]; 5] = [&damaged, &good, &noise, &damaged, &good];
        let together = read(&messages);
        for (message, here) in messages.iter().zip(together) {
            prop_assert_eq!(&read(&[message])[0], &here);
        }
    }
}
