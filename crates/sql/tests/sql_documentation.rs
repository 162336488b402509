//! `docs/sql.md`: the functions that are answered and those that are refused, with examples that a
//! real Spark has answered. The page is made here; a stale one is red.

#![allow(clippy::print_stdout, reason = "what was written is said aloud")]

use std::fmt::Write;
use std::path::Path;

use millstream_sql::{answer, answered_functions, refused_functions};
use serde_json::Value;

const CASES: &str = include_str!("../../../tests/spark/cases.jsonl");

const HEAD: &str = "# SQL

This page is made from the table of functions (`crates/sql/src/functions/table.rs`):
`MILLSTREAM_WRITE=1 cargo test --release --workspace --test sql_documentation`.

A flow's query is a `SELECT` over the view `input`, with `WHERE`, `WITH`, queries in `FROM`, `CASE`, `CAST`,
`TRY_CAST`, `IN`, `BETWEEN`, `LIKE`, `ILIKE`, `RLIKE`, `IS`, `<=>`, `INTERVAL` beside dates and times, fields by dots
(`items.price` is the prices of all items), items by `[…]` and functions with `->`. It means what it means to Spark 4.2 with `spark.sql.ansi.enabled=false` and the session time zone UTC.
What natively might be answered otherwise is refused by `check`, with the reason; `runner: spark` runs it.
";

/// The shortest statement that Spark and we answer alike and that calls the function, with its answer.
fn example(name: &str) -> Option<(String, String)> {
    let call = format!("{name}(");
    let calls = |sql: &str| {
        let lower = sql.to_lowercase();
        lower
            .match_indices(&call)
            .any(|(at, _)| !lower[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let cases = CASES.lines().map(|line| serde_json::from_str::<Value>(line).expect("a case"));
    let mut found: Vec<(String, String)> = cases
        .filter(|case| case["error"] != true)
        .filter_map(|case| {
            let sql = case["sql"].as_str()?;
            let text = case["text"][0].as_str()?;
            (calls(sql) && answer(sql).is_ok()).then(|| (sql["SELECT ".len()..].to_owned(), text.to_owned()))
        })
        .filter(|(sql, text)| !sql.contains('\n') && !text.contains('\n'))
        .collect();
    found.sort_by_key(|(sql, _)| (sql.len(), sql.clone()));
    found.into_iter().next()
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('`', "'")
}

fn page() -> String {
    let mut out = HEAD.to_owned();
    let mut group = "";
    for function in answered_functions() {
        if function.group != group {
            group = function.group;
            writeln!(out, "\n## {group}\n\n| function | example | meaning from |\n| --- | --- | --- |")
                .expect("a text");
        }
        let example = example(function.name)
            .map(|(sql, text)| format!("`{}` → `{}`", cell(&sql), cell(&text)))
            .unwrap_or_default();
        writeln!(out, "| `{}` | {example} | {} |", function.name, cell(function.source)).expect("a text");
    }
    out.push_str("\n## Refused\n\n| function | because | instead |\n| --- | --- | --- |\n");
    for refusal in refused_functions() {
        writeln!(out, "| `{}` | {} | {} |", refusal.name, cell(refusal.why), cell(refusal.instead))
            .expect("a text");
    }
    out
}

#[test]
fn the_page_of_sql_is_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sql.md");
    let page = page();
    if std::env::var_os("MILLSTREAM_WRITE").is_some() {
        std::fs::write(&path, &page).expect("the page is written");
        println!("written: {}", path.display());
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/sql.md is stale: run this test with MILLSTREAM_WRITE=1");
}

/// Groups of Spark's manual whose functions make no value of one record.
const NOT_SCALAR: [&str; 4] = ["agg_funcs", "generator_funcs", "table_funcs", "window_funcs"];
/// What the manual calls functions and the grammar reads.
const SYNTAX: [&str; 10] = ["and", "between", "case", "cast", "div", "exists", "in", "not", "or", "when"];

#[test]
fn every_scalar_function_of_spark_is_answered_or_refused_by_name() {
    let known: Value =
        serde_json::from_str(include_str!("../../../tests/spark/functions.json")).expect("JSON");
    let answered: Vec<&str> = answered_functions().iter().map(|function| function.name).collect();
    let refused: Vec<&str> = refused_functions().iter().map(|refusal| refusal.name).collect();
    let functions = known["functions"].as_object().expect("names with groups");
    let missing: Vec<&String> = functions
        .iter()
        .filter(|(_, group)| group.as_str().is_some_and(|group| !NOT_SCALAR.contains(&group)))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
        .filter(|name| !SYNTAX.contains(&name.as_str()))
        .filter(|name| !answered.contains(&name.as_str()) && !refused.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "neither answered nor refused: {missing:?}");
    let twice: Vec<_> = answered.iter().filter(|name| refused.contains(name)).collect();
    assert!(twice.is_empty(), "answered and refused: {twice:?}");
}
