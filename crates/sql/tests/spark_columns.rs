//! Queries over columns that a real Spark has answered, answered natively: the same, or refused;
//! never different. Each runs over the whole view, over slices of it and over messages that come in
//! batches of every size. `tests/spark/README.md` says where the answers come from.

#![allow(clippy::print_stdout, reason = "what was measured or skipped is said aloud")]

mod tally;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millstream_sql::{Decoder, FlowQuery, answered_functions, cell_text, parse_schema, simple_string};
use serde_json::{Value, json};
use tally::Tally;

const ANSWERS: &str = include_str!("../../../tests/spark/columns.jsonl");

/// Of all cases at least so many per cent are answered the same; of the others many ask for what no text here can hold,
/// like bytes that are no UTF-8 and halves of characters.
const SAME_PERCENT_MIN: usize = 94;

/// The rows of each column, as texts.
type Texts = Vec<Vec<Option<String>>>;

/// Messages as the view `input`.
struct View {
    /// Of the messages.
    schema: SchemaRef,
    messages: Vec<String>,
    /// What makes the view of the messages.
    made: FlowQuery,
    whole: RecordBatch,
}

fn view_of(schema: &SchemaRef, made: &FlowQuery, messages: &[String]) -> RecordBatch {
    let decoded = Decoder::new(schema).decode(messages.iter().map(|message| Some(message.as_bytes())));
    assert!(decoded.refused.is_empty(), "{:?}", decoded.refused);
    made.run(&decoded.batch).expect("a view").batch
}

impl View {
    fn new(line: &Value) -> Self {
        let schema = parse_schema(line["schema"].as_str().expect("a schema")).expect("a schema");
        let messages = line["messages"].as_array().expect("messages");
        let messages: Vec<_> = messages.iter().map(|m| m.as_str().expect("a message").to_owned()).collect();
        let made = FlowQuery::new(line["as"].as_str().unwrap_or("SELECT * FROM input"), &schema);
        let made = made.unwrap_or_else(|e| panic!("{line}: {e}"));
        let whole = view_of(&schema, &made, &messages);
        Self { schema, messages, made, whole }
    }

    /// Runs the query over these batches; the texts of each column.
    fn run(&self, query: &FlowQuery, batches: &[RecordBatch]) -> Result<Texts, String> {
        let mut columns = vec![Vec::new(); query.schema().fields().len()];
        for batch in batches {
            let result = query.run(batch).map_err(|e| e.to_string())?.batch;
            for (texts, column) in columns.iter_mut().zip(result.columns()) {
                texts.extend((0..result.num_rows()).map(|row| cell_text(column, row)));
            }
        }
        Ok(columns)
    }

    /// What the query gives, whatever the batches that its messages come in.
    fn answer(&self, sql: &str) -> Result<(Vec<String>, Texts), String> {
        let query = FlowQuery::new(sql, &self.whole.schema()).map_err(|e| e.to_string())?;
        let types: Vec<_> =
            query.schema().fields().iter().map(|field| simple_string(field.data_type())).collect();
        let whole = self.run(&query, std::slice::from_ref(&self.whole));
        for size in [1, 2, 3, 5] {
            let rows = self.messages.len();
            let starts = (0..rows).step_by(size);
            let slices: Vec<_> = starts.map(|from| self.whole.slice(from, size.min(rows - from))).collect();
            let batches: Vec<_> =
                self.messages.chunks(size).map(|part| view_of(&self.schema, &self.made, part)).collect();
            for (what, parts) in [("slices", slices), ("batches", batches)] {
                let parts = self.run(&query, &parts);
                assert_eq!(parts.is_ok(), whole.is_ok(), "{sql}: in {what} of {size}");
                if parts.is_ok() {
                    assert_eq!(parts, whole, "{sql}: in {what} of {size}");
                }
            }
        }
        Ok((types, whole?))
    }
}

/// The names that are called in a statement.
fn calls(sql: &str) -> impl Iterator<Item = String> + '_ {
    sql.match_indices('(').map(|(at, _)| {
        let name = sql[..at].trim_end().rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        name.into_iter().next().unwrap_or_default().to_lowercase()
    })
}

#[test]
fn columns_are_answered_as_spark_answers_them() {
    let mut tally = Tally::default();
    let mut answered: BTreeMap<String, usize> = BTreeMap::new();
    let mut view = None;
    let mut group = String::new();
    for line in ANSWERS.lines().skip(1) {
        let case: Value = serde_json::from_str(line).expect("a line");
        if !case["view"].is_null() {
            group = case["group"].as_str().expect("a group").to_owned();
            view = Some(View::new(&case));
            continue;
        }
        let view = view.as_ref().expect("a view before its statements");
        let sql = case["sql"].as_str().expect("a statement");
        match (view.answer(sql), case["error"].as_str()) {
            (Err(_), Some(_)) => tally.same(&group),
            (Err(error), None) => tally.refused(&group, sql, error),
            (Ok(answer), Some(error)) => tally.different(&group, sql, error, format!("{answer:?}")),
            (Ok((types, text)), None) => {
                let here = [json!(types), json!(text)];
                if here == [case["types"].clone(), case["text"].clone()] {
                    tally.same(&group);
                    calls(sql).for_each(|name| *answered.entry(name).or_default() += 1);
                } else {
                    let spark = format!("{} {}", case["types"], case["text"]);
                    tally.different(&group, sql, spark, format!("{} {}", here[0], here[1]));
                }
            }
        }
    }
    tally.conclude(SAME_PERCENT_MIN);
    let functions = answered_functions();
    let untried: Vec<_> =
        functions.iter().map(|f| f.name).filter(|name| !answered.contains_key(*name)).collect();
    assert!(untried.is_empty(), "no case over columns calls {}", untried.join(", "));
}
