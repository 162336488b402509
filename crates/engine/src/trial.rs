//! Runs a flow's query over records in hand, without its source and sink: `test` and `preview`.

use millstream_core::{Record, Records, Result, SinkPlan};
use millstream_sql::{Decoder, encode_rows};
use serde_json::{Map, Value};

use crate::decode::process;
use crate::keys::Keys;
use crate::pipeline::Test;
use crate::plan::{Plan, PlannedFlow};

/// What became of records in hand.
#[derive(Debug, Clone)]
pub struct Preview {
    /// Place of the record and the row it became, as a JSON object.
    pub rows: Vec<(usize, Map<String, Value>)>,
    /// Place of the record, reason and detail.
    pub dead: Vec<(usize, String, String)>,
}

/// Runs `flow` over `values`, one record each.
pub fn preview(flow: &PlannedFlow, values: &[Vec<u8>]) -> Result<Preview> {
    let mut records = Records::default();
    for (offset, value) in values.iter().enumerate() {
        records.push(Record::of_value(value, offset as i64));
    }
    let mut decoder = Decoder::new(&flow.input);
    let processed = process(&mut decoder, flow.native_query()?, &records, flow.origin.plan.nulls_ignored)?;
    let dead = processed.dead.into_iter();
    let mut dead: Vec<_> =
        dead.map(|(at, reason, detail)| (at as usize, reason.to_string(), detail)).collect();
    let keys = match &flow.target.plan {
        SinkPlan::Topic { key, .. } => key.clone(),
        SinkPlan::Table(table) => table.key().map(|column| column.name.clone()).collect(),
        SinkPlan::Lines(_) => Vec::new(),
    };
    let keys = Keys::new(&processed.rows.batch, &keys);
    let mut json = Vec::new();
    let mut rows = Vec::new();
    let mut start = 0;
    for (row, end) in encode_rows(&processed.rows.batch, &mut json).into_iter().enumerate() {
        let origin = processed.rows.origins[row] as usize;
        match keys.get(row) {
            Err(column) => dead.push((origin, "null-key".to_owned(), format!("{column} is null"))),
            Ok(_) => {
                let object = serde_json::from_slice(&json[start..end]).expect("a row is a JSON object");
                rows.push((origin, object));
            }
        }
        start = end;
    }
    dead.sort_by_key(|(at, ..)| *at);
    Ok(Preview { rows, dead })
}

/// How a test went.
#[derive(Debug, Clone)]
pub struct TestResult {
    /// Its name.
    pub name: String,
    /// What differs; nothing where it passed.
    pub differences: Vec<String>,
}

/// Runs all tests of a plan.
pub fn test(plan: &Plan) -> Result<Vec<TestResult>> {
    plan.pipeline.tests.iter().map(|test| run_test(plan, test)).collect()
}

fn run_test(plan: &Plan, test: &Test) -> Result<TestResult> {
    let mut differences = Vec::new();
    let Some(flow) = plan.flow(&test.flow) else {
        differences.push(format!("there is no flow `{}`", test.flow));
        return Ok(TestResult { name: test.name.clone(), differences });
    };
    let values: Vec<Vec<u8>> = test.given.iter().map(|value| value.to_string().into_bytes()).collect();
    let result = preview(flow, &values)?;
    if result.rows.len() != test.expect.len() {
        differences.push(format!("expected {} row(s), got {}", test.expect.len(), result.rows.len()));
    }
    for (at, (expected, (_, row))) in test.expect.iter().zip(&result.rows).enumerate() {
        for (column, wanted) in expected {
            let got = row.get(column).cloned().unwrap_or(Value::Null);
            if got != *wanted {
                differences.push(format!("row {}: {column}: expected {wanted}, got {got}", at + 1));
            }
        }
    }
    let reasons: Vec<String> = result.dead.iter().map(|(_, reason, _)| reason.clone()).collect();
    if reasons != test.expect_dead {
        let details: Vec<_> = result
            .dead
            .iter()
            .map(|(at, reason, detail)| format!("record {}: {reason}: {detail}", at + 1))
            .collect();
        differences.push(format!(
            "expected dead letters {:?}, got {:?} {}",
            test.expect_dead,
            reasons,
            details.join("; ")
        ));
    }
    Ok(TestResult { name: test.name.clone(), differences })
}
