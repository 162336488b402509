//! Statements that a real Spark has answered, answered natively: the same, or refused; never
//! different. `tests/spark/README.md` says where the answers come from.

#![allow(clippy::print_stdout, reason = "what was measured or skipped is said aloud")]

mod tally;

use millstream_sql::answer;
use serde_json::Value;
use tally::Tally;

const CASES: &str = include_str!("../../../tests/spark/cases.jsonl");

/// Of all cases at least so many per cent are answered the same.
const SAME_PERCENT_MIN: usize = 92;

#[test]
fn nothing_is_answered_differently_from_spark() {
    let mut tally = Tally::default();
    for line in CASES.lines() {
        let case: Value = serde_json::from_str(line).expect("a case");
        let sql = case["sql"].as_str().expect("a statement");
        let group = case["group"].as_str().expect("a group");
        match (answer(sql), case["error"] == true) {
            (Err(_), true) => tally.same(group),
            (Err(error), false) => tally.refused(group, sql, error),
            (Ok(answer), true) => tally.different(group, sql, "refuses it", format!("{answer:?}")),
            (Ok(None), false) => tally.different(group, sql, &case["text"], "no row"),
            (Ok(Some(answer)), false) => {
                let types: Vec<_> = answer.types.iter().map(|name| Value::from(name.as_str())).collect();
                let text: Vec<_> = answer.text.iter().map(|text| Value::from(text.as_deref())).collect();
                if case["types"] == Value::from(types) && case["text"] == Value::from(text) {
                    tally.same(group);
                } else {
                    let spark = format!("{} {}", case["types"], case["text"]);
                    let here = format!("{:?} {:?}", answer.types, answer.text);
                    tally.different(group, sql, spark, here);
                }
            }
        }
    }
    tally.conclude(SAME_PERCENT_MIN);
}
