//! Files and statements nobody thought of: every one is read or refused with a reason; none panics,
//! hangs, or takes the memory.

use std::sync::Arc;

use millstream_connectors::file::FileKind;
use millstream_connectors::http::HttpKind;
use millstream_connectors::kafka::{Connection, TopicKind};
use millstream_connectors::stdout::StdoutKind;
use millstream_core::{TableConnection, settings};
use millstream_embedded::{TableKind, TableStore};
use millstream_engine::{Plan, Registry, Service, Values};
use millstream_sql::{FlowQuery, TableQuery, parse_schema};
use proptest::prelude::*;
use schemars::schema_for;

const USERS: &str = include_str!("../../../examples/users.yaml");
const ORDERS: &str = include_str!("../../../examples/orders.yaml");
const CASES: &str = include_str!("../../../tests/spark/cases.jsonl");

fn registry() -> Registry {
    let tables = TableStore::new("/nonexistent".as_ref());
    Registry {
        sources: vec![Arc::new(HttpKind), Arc::new(TopicKind), Arc::new(FileKind)],
        sinks: vec![Arc::new(TopicKind), Arc::new(TableKind::new(tables)), Arc::new(StdoutKind)],
        services: vec![
            Service {
                name: "kafka",
                settings: schema_for!(Connection),
                check: |settings| settings::read::<Connection>(settings)?.check(),
            },
            Service {
                name: "cassandra",
                settings: schema_for!(TableConnection),
                check: |settings| settings::read::<TableConnection>(settings)?.check(),
            },
        ],
        spark: None,
        cursors: None,
    }
}

/// One change to a text.
#[derive(Debug, Clone)]
enum Edit {
    Insert(prop::sample::Index, String),
    Delete(prop::sample::Index, usize),
    /// A part of the text put somewhere else too.
    Copy(prop::sample::Index, usize, prop::sample::Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let bits = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "'",
        "`",
        "|",
        ">",
        "-",
        "#",
        "&a",
        "*a",
        "!!",
        "\n",
        "  ",
        "(",
        ")",
        "${",
        "$$",
        "{since}",
        "NULL",
        "SELECT ",
        "CAST(",
        " AS ",
        "STRUCT<",
        "9999999999999999999999",
        "1e999",
        "\\",
        "\u{0}",
        "é",
        "\u{1f600}",
        "%",
        "0x",
        "--",
        "/*",
        "::",
    ];
    prop_oneof![
        (any::<prop::sample::Index>(), prop::sample::select(bits.to_vec()))
            .prop_map(|(at, text)| Edit::Insert(at, text.to_owned())),
        (any::<prop::sample::Index>(), ".{0,4}").prop_map(|(at, text)| Edit::Insert(at, text)),
        (any::<prop::sample::Index>(), 1_usize..30).prop_map(|(at, length)| Edit::Delete(at, length)),
        (any::<prop::sample::Index>(), 1_usize..60, any::<prop::sample::Index>())
            .prop_map(|(from, length, to)| Edit::Copy(from, length, to)),
    ]
}

fn edited(text: &str, edits: Vec<Edit>) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for edit in edits {
        if chars.is_empty() {
            chars.push(' ');
        }
        match edit {
            Edit::Insert(at, text) => {
                let at = at.index(chars.len());
                chars.splice(at..at, text.chars());
            }
            Edit::Delete(at, length) => {
                let at = at.index(chars.len());
                chars.drain(at..(at + length).min(chars.len()));
            }
            Edit::Copy(from, length, to) => {
                let from = from.index(chars.len());
                let part = chars[from..(from + length).min(chars.len())].to_vec();
                let to = to.index(chars.len());
                chars.splice(to..to, part);
            }
        }
    }
    chars.into_iter().collect()
}

/// The statements that a real Spark has answered.
fn statements() -> Vec<String> {
    let cases = CASES.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a case"));
    cases.filter_map(|case| Some(case["sql"].as_str()?.to_owned())).collect()
}

proptest! {
    #[test]
    fn a_pipeline_file_is_read_or_refused(
        which in prop::sample::select(vec![USERS, ORDERS]),
        edits in prop::collection::vec(edit(), 1..6),
    ) {
        let text = edited(which, edits);
        if let Err(report) = Plan::load("any.yaml", &text, &Values::default(), &registry()) {
            prop_assert!(report.has_errors());
            prop_assert!(report.render(false).contains("error"));
        }
    }

    #[test]
    fn a_statement_is_answered_or_refused(
        which in prop::sample::select(statements()),
        edits in prop::collection::vec(edit(), 0..5),
    ) {
        let sql = edited(&which, edits);
        // Nothing but the end of it is expected.
        let _ = millstream_sql::answer(&sql);
        let _ = TableQuery::parse(&sql);
        let _ = parse_schema(&sql);
        let schema = parse_schema("a STRING, b INT, c STRUCT<d: DOUBLE>").expect("a schema");
        let _ = FlowQuery::new(&sql, &schema);
    }

    #[test]
    fn a_create_statement_is_read_or_refused(edits in prop::collection::vec(edit(), 1..8)) {
        let sql = edited(
            "CREATE TABLE IF NOT EXISTS shop.\"Orders\" (id UUID, at TIMESTAMP, tags frozen<list<text>>, n decimal, \
             PRIMARY KEY ((id), at)) WITH CLUSTERING ORDER BY (at DESC) AND comment = 'it''s';",
            edits,
        );
        let settings = serde_json::json!({ "table": "shop.Orders", "create": sql });
        let _ = millstream_core::SinkKind::plan(&TableKind::new(TableStore::new("/nonexistent".as_ref())), &settings);
    }
}
