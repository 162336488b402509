//! Histories of writes to a table: every type, nulls, late and equal write times, values that no
//! column takes. What becomes of them is the store's affair.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use millstream_sql::{Decoder, parse_schema};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value};

/// A column: its name and type in CQL, its type in the query, and JSON values for it: those that it
/// takes, and those that it does not.
type Kind = (&'static str, &'static str, &'static str, &'static str, &'static str);

/// Types that a key may have. Few values, so that rows meet.
const KEYS: [Kind; 12] = [
    ("k", "text", "STRING", r#"["a", "b", "ä"]"#, r#"["", null]"#),
    ("k", "int", "BIGINT", "[1, -1, 7]", "[3000000000, null]"),
    ("k", "bigint", "BIGINT", "[0, -9223372036854775808]", "[null]"),
    (
        "k",
        "uuid",
        "STRING",
        r#"["0f5cc5f9-f46f-47f1-ade4-2d60ad67ade2", "0F5CC5F9-F46F-47F1-ADE4-2D60AD67ADE2"]"#,
        r#"["x", "0f5cc5f9f46f47f1ade42d60ad67ade2"]"#,
    ),
    (
        "k",
        "timeuuid",
        "STRING",
        r#"["50554d6e-29bb-11e5-b345-feff819cdc9f", "50554d6e-29bb-11e5-7345-feff819cdc9f"]"#,
        r#"["0f5cc5f9-f46f-47f1-ade4-2d60ad67ade2"]"#,
    ),
    ("k", "date", "DATE", r#"["2024-02-29", "1969-12-31", "0001-01-01"]"#, "[null]"),
    (
        "k",
        "timestamp",
        "TIMESTAMP",
        r#"["2024-02-29T12:00:00.123456Z", "1969-12-31T23:59:59.9999Z"]"#,
        "[null]",
    ),
    ("k", "inet", "STRING", r#"["::1", "127.0.0.1"]"#, r#"["1.2.3", ""]"#),
    ("k", "boolean", "BOOLEAN", "[true, false]", "[null]"),
    ("k", "varint", "DECIMAL(30,0)", r#"[0, -129, "123456789012345678901234567890"]"#, "[null]"),
    // With as many digits behind the point as it is read with, so that it is found by what was read.
    ("k", "decimal", "DECIMAL(38,18)", "[0, 1.5, -1.5]", "[null]"),
    ("k", "frozen<list<text>>", "ARRAY<STRING>", r#"[["a"], ["a", ""], []]"#, r#"[["a", null], null]"#),
];

/// All types, with values at their edges.
const COLUMNS: [Kind; 34] = [
    ("ascii", "ascii", "STRING", r#"["", "a", "b"]"#, r#"["é"]"#),
    ("bigint", "bigint", "BIGINT", "[0, -1, 9223372036854775807]", "[]"),
    ("blob", "blob", "BINARY", r#"["", "AP8=", "AAAA"]"#, "[]"),
    ("boolean", "boolean", "BOOLEAN", "[true, false]", "[]"),
    ("date", "date", "DATE", r#"["1970-01-01", "1969-12-31", "9999-12-31", "0001-01-01"]"#, "[]"),
    ("decimal", "decimal", "DECIMAL(20,4)", "[0, 1.5, -1.5, 99999999.9999]", "[]"),
    ("whole", "decimal", "BIGINT", "[0, 128, -129]", "[]"),
    ("double", "double", "DOUBLE", "[0.0, -0.0, 1.5, -1.5, 1e300]", "[]"),
    ("wide", "double", "FLOAT", "[0.1, -0.1]", "[]"),
    (
        "duration",
        "duration",
        "STRING",
        r#"["1y2mo3d", "-PT90M", "0s", "P2W", "64ns", "-9223372036854775807ns"]"#,
        r#"["1d1y", ""]"#,
    ),
    (
        "durations",
        "map<text, duration>",
        "MAP<STRING, STRING>",
        r#"[{"a": "1h", "b": "P1M"}, {}]"#,
        r#"[{"a": "1"}]"#,
    ),
    ("float", "float", "FLOAT", "[0.0, -0.0, 1.5, -1.5, 1e30]", "[]"),
    ("inet", "inet", "STRING", r#"["::1", "10.0.0.1", "1.2.3.4"]"#, r#"["x"]"#),
    ("int", "int", "BIGINT", "[0, -1, 2147483647]", "[2147483648]"),
    ("smallint", "smallint", "INT", "[0, -1, 32767]", "[32768]"),
    ("text", "text", "STRING", r#"["", "a", "ä", "zz"]"#, "[]"),
    ("time", "time", "BIGINT", "[0, 86399999999999]", "[86400000000000, -1]"),
    (
        "timestamp",
        "timestamp",
        "TIMESTAMP",
        r#"["1970-01-01T00:00:00Z", "1969-12-31T23:59:59.9991Z", "9999-12-31T00:00:00Z"]"#,
        "[]",
    ),
    (
        "timeuuid",
        "timeuuid",
        "STRING",
        r#"["50554d6e-29bb-11e5-b345-feff819cdc9f", "00000000-0000-1000-8000-000000000000"]"#,
        r#"["0f5cc5f9-f46f-47f1-ade4-2d60ad67ade2"]"#,
    ),
    ("tinyint", "tinyint", "TINYINT", "[0, -1, 127, -128]", "[]"),
    (
        "uuid",
        "uuid",
        "STRING",
        r#"["0f5cc5f9-f46f-47f1-ade4-2d60ad67ade2", "00000000-0000-0000-0000-000000000000"]"#,
        r#"[""]"#,
    ),
    (
        "varint",
        "varint",
        "DECIMAL(38,0)",
        r#"[0, 127, 128, -128, -129, "99999999999999999999999999999999999999"]"#,
        "[]",
    ),
    ("list", "frozen<list<text>>", "ARRAY<STRING>", r#"[[], ["b", "a", "b"], [""]]"#, r#"[["a", null]]"#),
    ("frozen_set", "frozen<set<int>>", "ARRAY<INT>", "[[], [1, -1, 1], [5]]", "[[null]]"),
    (
        "frozen_map",
        "frozen<map<text, int>>",
        "MAP<STRING, INT>",
        r#"[{}, {"b": 1, "a": 2}, {"a": 3}]"#,
        r#"[{"a": null}]"#,
    ),
    (
        "texts",
        "set<text>",
        "ARRAY<STRING>",
        r#"[[], ["b", "a", "b"], ["c"], ["ä", "b"], [""]]"#,
        r#"[["a", null]]"#,
    ),
    ("doubles", "set<double>", "ARRAY<DOUBLE>", "[[], [1.5, -1.5, -0.0, 0.0], [1e300, -1e300]]", "[]"),
    ("decimals", "set<decimal>", "ARRAY<DECIMAL(10,2)>", "[[1.5, -1.5, 100], [0.01, 3]]", "[]"),
    ("varints", "set<varint>", "ARRAY<BIGINT>", "[[128, -129, 0, -1], [127, 300]]", "[]"),
    (
        "uuids",
        "set<uuid>",
        "ARRAY<STRING>",
        r#"[["0f5cc5f9-f46f-47f1-ade4-2d60ad67ade2", "f0554d6e-19bb-11e5-b345-feff819cdc9f",
             "50554d6e-29bb-11e5-b345-feff819cdc9f"], ["00000000-0000-0000-0000-000000000000"]]"#,
        r#"[["x"]]"#,
    ),
    (
        "timeuuids",
        "set<timeuuid>",
        "ARRAY<STRING>",
        r#"[["50554d6e-29bb-11e5-b345-feff819cdc9f", "50554d6e-29bb-11e5-7345-feff819cdc9f",
             "f0554d6e-19bb-11e5-b345-feff819cdc9f"]]"#,
        "[]",
    ),
    (
        "inets",
        "map<inet, text>",
        "MAP<STRING, STRING>",
        r#"[{"::1": "a", "10.0.0.1": "b"}, {"::1": "b"}]"#,
        r#"[{"x": "a"}]"#,
    ),
    (
        "words",
        "map<text, int>",
        "MAP<STRING, INT>",
        r#"[{}, {"b": 1, "a": -2}, {"a": 3}, {"c": 0, "b": 9}, {"": 0}]"#,
        r#"[{"a": null}]"#,
    ),
    (
        "nested",
        "map<text, frozen<set<timestamp>>>",
        "MAP<STRING, ARRAY<TIMESTAMP>>",
        r#"[{"a": ["2024-01-01T00:00:00Z", "1960-01-01T00:00:00Z"]}, {"a": [], "b": []}, {"b": ["2024-01-01T00:00:00Z"]}]"#,
        r#"[{"a": [null]}]"#,
    ),
];

/// Rows that are written at once, with their write times.
#[derive(Clone)]
pub(crate) struct Write {
    pub(crate) rows: RecordBatch,
    pub(crate) times: Vec<i64>,
}

/// What is written to one table.
pub(crate) struct History {
    /// The columns and the key, as they stand in the brackets of CREATE TABLE.
    pub(crate) columns: String,
    /// `keep` or `delete`.
    pub(crate) nulls: &'static str,
    pub(crate) writes: Vec<Write>,
}

fn values(json: &str) -> Vec<Value> {
    serde_json::from_str(json).expect("the values of a column are JSON")
}

impl History {
    /// The history that belongs to a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let key = KEYS[random.random_range(0..KEYS.len())];
        let clustering = ("c", "smallint", "INT", "[1, -1]", "[null, 40000]");
        let columns: Vec<Kind> = [key, clustering].into_iter().chain(COLUMNS).collect();
        let ddl: Vec<_> = columns.iter().map(|(name, _, kind, ..)| format!("`{name}` {kind}")).collect();
        let cql: Vec<_> = columns.iter().map(|(name, kind, ..)| format!("\"{name}\" {kind}")).collect();
        let mut decoder = Decoder::new(&parse_schema(&ddl.join(", ")).expect("a schema"));
        let writes = (0..random.random_range(3..12)).map(|_| {
            let count = random.random_range(1..12);
            let messages: Vec<_> = (0..count).map(|_| row(&columns, &mut random)).collect();
            let decoded = decoder.decode(messages.iter().map(|message| Some(message.as_bytes())));
            assert_eq!(decoded.refused, [], "every message can be read");
            let time = |_| *[-5, 10, 11, 12, 13].choose(&mut random).expect("one");
            let times: Vec<_> = messages.iter().map(time).collect();
            let rows = some_columns(&with_nan(decoded.batch), &mut random);
            Write { times, rows }
        });
        let writes = writes.collect();
        let nulls = if random.random_bool(0.5) { "keep" } else { "delete" };
        Self { columns: format!("{}, PRIMARY KEY (k, c)", cql.join(", ")), nulls, writes }
    }
}

/// A message with a value for some columns, seldom one that its column does not take.
fn row(columns: &[Kind], random: &mut StdRng) -> String {
    let bad = random.random_bool(0.1).then(|| random.random_range(0..columns.len()));
    let mut row = Map::new();
    for (at, (name, _, _, good, wrong)) in columns.iter().enumerate() {
        let wrong = values(wrong);
        let value = match wrong.choose(random) {
            Some(wrong) if bad == Some(at) => wrong.clone(),
            _ if at < 2 || random.random_bool(0.6) => {
                values(good).choose(random).cloned().unwrap_or_default()
            }
            _ => Value::Null,
        };
        row.insert((*name).to_owned(), value);
    }
    Value::Object(row).to_string()
}

/// JSON has no NaN: it takes the place of 1e300.
fn with_nan(rows: RecordBatch) -> RecordBatch {
    let columns = rows.columns().iter().map(|column| match column.as_primitive_opt::<Float64Type>() {
        Some(numbers) => {
            let numbers = numbers.unary::<_, Float64Type>(|n| if n == 1e300 { f64::NAN } else { n });
            Arc::new(numbers) as ArrayRef
        }
        None => column.clone(),
    });
    RecordBatch::try_new(rows.schema(), columns.collect()).expect("columns of the same types")
}

/// The columns of the key and sometimes not all of the others: nothing is known of those.
fn some_columns(rows: &RecordBatch, random: &mut StdRng) -> RecordBatch {
    if random.random_bool(0.5) {
        return rows.clone();
    }
    let kept: Vec<usize> = (0..rows.num_columns()).filter(|at| *at < 2 || random.random_bool(0.7)).collect();
    rows.project(&kept).expect("columns that are there")
}
