//! What a statement gives for constants it gives for columns, too: every statement of the corpus with
//! its literals taken out into columns, nulls between them, in batches of every size and in slices.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use millstream_sql::{FlowQuery, answer, cell_text};
use serde_json::Value;

const CASES: &str = include_str!("../../../tests/spark/cases.jsonl");

/// The rows in which the literal stands; in the others there is a null.
const THERE: [bool; 6] = [false, true, false, true, true, false];

/// Where the texts and numbers of a statement stand. A text behind a word (`DATE '…'`) is none.
fn literals(sql: &str) -> Vec<Range<usize>> {
    let bytes = sql.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            quote @ (b'\'' | b'"') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
                let before = sql[..start].trim_end().as_bytes().last().copied();
                if before.is_none_or(|byte| !is_word(byte))
                    || sql[..start].to_uppercase().ends_with("SELECT ")
                {
                    found.push(start..at.min(bytes.len()));
                }
            }
            byte if is_word(byte) => {
                while at < bytes.len() && (is_word(bytes[at]) || (byte.is_ascii_digit() && bytes[at] == b'.'))
                {
                    at += 1;
                }
                if byte.is_ascii_digit() {
                    found.push(start..at);
                }
            }
            _ => at += 1,
        }
    }
    found
}

/// The statement with other words in the places of some literals, as a query over `input`.
fn query(sql: &str, places: &[Range<usize>], word: impl Fn(usize) -> String) -> String {
    let mut out = String::new();
    let mut from = 0;
    for (at, place) in places.iter().enumerate() {
        out.push_str(&sql[from..place.start]);
        out.push_str(&word(at));
        from = place.end;
    }
    format!("{}{} AS r FROM input", out, &sql[from..])
}

/// The kind and the texts of a query's one column.
fn run(sql: &str, batch: &RecordBatch) -> Option<(DataType, Vec<Option<String>>)> {
    let planned = FlowQuery::new(sql, &batch.schema()).ok()?;
    let result = planned.run(batch).unwrap_or_else(|e| panic!("{sql}: {e}")).batch;
    let column = result.column(0);
    assert_eq!(column.len(), batch.num_rows(), "{sql}");
    Some((column.data_type().clone(), (0..column.len()).map(|row| cell_text(column, row)).collect()))
}

fn there() -> RecordBatch {
    let schema = Schema::new(vec![Field::new("there", DataType::Boolean, true)]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(BooleanArray::from(THERE.to_vec()))])
        .expect("a batch")
}

/// A batch with each literal in a column of its own.
fn columns(sql: &str, places: &[Range<usize>]) -> Option<RecordBatch> {
    let columns: Vec<_> = places
        .iter()
        .enumerate()
        .map(|(at, place)| format!("CASE WHEN there THEN {} END AS v{at}", &sql[place.clone()]))
        .collect();
    let query =
        FlowQuery::new(&format!("SELECT {} FROM input", columns.join(", ")), &there().schema()).ok()?;
    Some(query.run(&there()).expect("literals").batch)
}

/// Whether a comparison was possible; what differs is noted.
fn compare(sql: &str, places: &[Range<usize>], different: &mut Vec<String>) -> bool {
    let Some(batch) = columns(sql, places) else { return false };
    let in_columns = query(sql, places, |at| format!("v{at}"));
    let Some((kind, rows)) = run(&in_columns, &batch) else { return false };
    let Some((constant_kind, constant)) = run(&query(sql, &[], |_| String::new()), &there()) else {
        return false;
    };
    // The type of a DECIMAL depends on the digits of a constant.
    if kind != constant_kind {
        return false;
    }
    let kinds: Vec<_> = places
        .iter()
        .map(|place| {
            answer(&format!("SELECT {}", &sql[place.clone()])).ok().flatten().expect("a literal").types[0]
                .clone()
        })
        .collect();
    let null = run(&query(sql, places, |at| format!("CAST(NULL AS {})", kinds[at])), &there());
    let null = null.filter(|(null_kind, _)| *null_kind == kind);
    for (row, is_there) in THERE.into_iter().enumerate() {
        let expected = match (is_there, &null) {
            (true, _) => &constant[0],
            (false, Some((_, null))) => &null[0],
            (false, None) => continue,
        };
        if rows[row] != *expected {
            let what = if is_there { "the value" } else { "null" };
            different.push(format!("{in_columns}: {:?} for {what} in a column, not {expected:?}", rows[row]));
            return true;
        }
    }
    for (from, length) in [(0, 0), (1, 3), (3, 3), (2, 1), (5, 1)] {
        let part = run(&in_columns, &batch.slice(from, length)).expect("a slice").1;
        if part != rows[from..from + length] {
            different.push(format!("{in_columns}: a slice from {from} of {length} gives {part:?}"));
        }
    }
    true
}

#[test]
fn columns_are_answered_as_constants_are() {
    let (mut compared, mut different) = (0, Vec::new());
    for line in CASES.lines() {
        let case: Value = serde_json::from_str(line).expect("a case");
        let sql = case["sql"].as_str().expect("a statement");
        if answer(sql).is_err() || sql.contains(" FROM VALUES") {
            continue;
        }
        let places = literals(sql);
        if places.is_empty() {
            continue;
        }
        compared += usize::from(compare(sql, &places, &mut different));
        for place in places {
            compared += usize::from(compare(sql, &[place], &mut different));
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
    assert!(compared > 1000, "only {compared} comparisons were possible");
}
