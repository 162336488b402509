//! Records that no topic has dated, straight into a table: of one key the later one stays, whatever its place in its
//! file, its answer or its run.

mod support;

use std::path::Path;

use serde_json::json;
use support::{Api, done, millstream};

fn pipeline(from: &str) -> String {
    format!(
        r#"
name: arrivals
kafka: {{ brokers: "embedded:0" }}
flows:
  load:
    from: {from}
    sql: SELECT id, n FROM input
    to: {{ table: k.t, create: "CREATE TABLE k.t (id TEXT PRIMARY KEY, n INT)" }}
"#
    )
}

/// What the table holds after one more run.
fn after_a_run(folder: &Path) -> String {
    done(millstream(folder).args(["run", "p.yaml"]));
    let sql = "SELECT id, n FROM t ORDER BY id";
    let (rows, said) = done(millstream(folder).args(["query", "p.yaml", sql, "--format", "csv"]));
    rows.strip_prefix("id,n\n").unwrap_or_else(|| panic!("{rows}{said}")).to_owned()
}

/// Lines that give `a` its newest value where a thousand lines have passed, and `b` in the last line.
fn lines(last: i32) -> String {
    let line = |id: &str, n: i32| json!({"id": id, "n": n}).to_string();
    let all = (1..=1_999).map(|n| line(if n < 1_001 { "a" } else { "c" }, n));
    all.chain([line("a", 7), line("b", last)]).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_later_line_or_file_or_run_wins() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("writes");
    write("p.yaml", &pipeline(r#"{ file: "*.jsonl", schema: "id STRING, n INT" }"#));
    write("1.jsonl", &lines(9));
    assert_eq!(after_a_run(folder.path()), "a,7\nb,9\nc,1999\n");
    // A second file, whose first line comes after the last one of the first.
    write("2.jsonl", r#"{"id": "c", "n": 1}"#);
    assert_eq!(after_a_run(folder.path()), "a,7\nb,9\nc,1\n");
    // What was wrong is put right, be it by a smaller value.
    write("1.jsonl", &lines(2));
    assert_eq!(after_a_run(folder.path()), "a,7\nb,2\nc,1\n");
}

#[test]
fn a_later_record_of_an_answer_wins() {
    let body = format!("[{}]", lines(9).lines().collect::<Vec<_>>().join(","));
    let api = Api::start(move |_| body.clone());
    let folder = tempfile::tempdir().expect("a folder");
    let from = format!("{{ http: \"{}\", schema: \"id STRING, n INT\" }}", api.url);
    std::fs::write(folder.path().join("p.yaml"), pipeline(&from)).expect("writes");
    assert_eq!(after_a_run(folder.path()), "a,7\nb,9\nc,1999\n");
}

#[test]
fn a_key_of_many_messages_a_second_is_not_dated_ahead_of_the_next_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("writes");
    let file = pipeline("{ topic: hot }").replace(
        "flows:\n",
        "flows:\n  send:\n    from: { file: \"*.jsonl\", schema: \"id STRING, n INT\" }\n    sql: SELECT id, n FROM input\n    \
         to: { topic: hot, key: id }\n",
    );
    write("p.yaml", &file);
    let hot: Vec<_> = (1..=3_000).map(|n| json!({"id": "hot", "n": n}).to_string()).collect();
    write("1.jsonl", &hot.join("\n"));
    assert_eq!(after_a_run(folder.path()), "hot,3000\n");
    std::fs::remove_file(folder.path().join("1.jsonl")).expect("is removed");
    write("2.jsonl", r#"{"id": "hot", "n": 7}"#);
    assert_eq!(after_a_run(folder.path()), "hot,7\n");
}
