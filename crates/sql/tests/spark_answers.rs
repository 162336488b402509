//! Statements that a real Spark has answered, answered natively: the same, or refused; never
//! different. `tests/spark/README.md` says where the answers come from.

#![allow(clippy::print_stdout, reason = "what was measured or skipped is said aloud")]

use std::collections::BTreeMap;

use millstream_sql::answer;
use serde_json::Value;

const CASES: &str = include_str!("../../../tests/spark/cases.jsonl");

/// Of all cases at least so many per cent are answered the same.
const SAME_PERCENT_MIN: usize = 92;

#[derive(Default)]
struct Tally {
    same: usize,
    refused: usize,
    different: usize,
}

#[test]
fn nothing_is_answered_differently_from_spark() {
    let mut groups: BTreeMap<String, Tally> = BTreeMap::new();
    let mut different = Vec::new();
    let mut refused = Vec::new();
    for line in CASES.lines() {
        let case: Value = serde_json::from_str(line).expect("a case");
        let sql = case["sql"].as_str().expect("a statement");
        let tally = groups.entry(case["group"].as_str().expect("a group").to_owned()).or_default();
        match (answer(sql), case["error"] == true) {
            (Err(_), true) => tally.same += 1,
            (Err(error), false) => {
                tally.refused += 1;
                refused.push(format!("{sql}\n  {error}"));
            }
            (Ok(answer), true) => {
                tally.different += 1;
                different.push(format!("{sql}\n  Spark refuses it, answered: {answer:?}"));
            }
            (Ok(None), false) => {
                tally.different += 1;
                different.push(format!("{sql}\n  no row"));
            }
            (Ok(Some(answer)), false) => {
                let types: Vec<_> = answer.types.iter().map(|name| Value::from(name.as_str())).collect();
                let text: Vec<_> = answer.text.iter().map(|text| Value::from(text.as_deref())).collect();
                if case["types"] == Value::from(types) && case["text"] == Value::from(text) {
                    tally.same += 1;
                } else {
                    tally.different += 1;
                    different.push(format!(
                        "{sql}\n  Spark: {} {}\n  here:  {:?} {:?}",
                        case["types"], case["text"], answer.types, answer.text
                    ));
                }
            }
        }
    }
    let (mut same, mut all) = (0, 0);
    println!("{:<20} {:>5} {:>7} {:>9}", "group", "same", "refused", "different");
    for (group, tally) in &groups {
        println!("{group:<20} {:>5} {:>7} {:>9}", tally.same, tally.refused, tally.different);
        same += tally.same;
        all += tally.same + tally.refused + tally.different;
    }
    println!("refused:\n{}", refused.join("\n"));
    println!("same: {same} of {all} ({} %)", same * 100 / all);
    assert!(different.is_empty(), "{} answered differently:\n{}", different.len(), different.join("\n"));
    assert!(same * 100 >= SAME_PERCENT_MIN * all, "only {same} of {all} are answered");
}
