//! `bench functions`: what the functions cost, group by group, over columns that are made up. It measures
//! the evaluation alone, not the reading of messages.

use millstream_core::Error;
use millstream_sql::{Decoder, FlowQuery, parse_schema};

use super::BATCH;
use crate::{Outcome, output};

const SCHEMA: &str = "s STRING, t STRING, i INT, l BIGINT, x DOUBLE, y STRING, c DECIMAL(12,2), e DECIMAL(20,6), \
    d DATE, m TIMESTAMP, w STRING, j STRING, a ARRAY<INT>, b ARRAY<STRING>, k MAP<STRING, INT>";

/// Expressions of a kind that flows have.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "text",
        &[
            "upper(s)",
            "trim(s)",
            "concat(s, '-', t)",
            "concat_ws(', ', s, t, y)",
            "substring(s, 3, 5)",
            "length(s)",
            "replace(s, 'e', '3')",
            "split_part(y, '-', 2)",
            "s LIKE '%user%'",
            "lpad(y, 20, '0')",
            "initcap(s)",
            "regexp_replace(s, '[0-9]+', '#')",
            "regexp_extract(y, '([0-9]+)-([0-9]+)', 2)",
            "s RLIKE 'user [0-9]*5'",
        ],
    ),
    (
        "math",
        &[
            "i + l",
            "i * 2",
            "l % 7",
            "x / 3.5D",
            "abs(i)",
            "round(x, 2)",
            "sqrt(x)",
            "pow(x, 0.5)",
            "ln(x)",
            "floor(x)",
            "greatest(i, l)",
            "i BETWEEN 10 AND 100",
            "CASE WHEN i > 50 THEN x ELSE 0 END",
        ],
    ),
    (
        "dates",
        &[
            "year(d)",
            "date_add(d, i % 30)",
            "add_months(d, 1)",
            "datediff(d, DATE'2000-01-01')",
            "date_trunc('HOUR', m)",
            "date_format(m, 'yyyy-MM-dd HH:mm')",
            "to_timestamp(w, 'yyyy-MM-dd HH:mm:ss')",
            "CAST(w AS TIMESTAMP)",
            "unix_timestamp(m)",
            "m + INTERVAL 1 HOUR",
            "from_utc_timestamp(m, 'Europe/Berlin')",
        ],
    ),
    (
        "json",
        &[
            "get_json_object(j, '$.user.name')",
            "from_json(j, 'id BIGINT, user STRUCT<name: STRING>').user.name",
            "to_json(named_struct('i', i, 's', s))",
            "json_array_length(get_json_object(j, '$.tags'))",
        ],
    ),
    (
        "arrays",
        &[
            "size(a)",
            "a[1]",
            "array_contains(a, 7)",
            "sort_array(a)",
            "array_distinct(a)",
            "array_join(b, ',')",
            "concat(a, a)",
            "slice(a, 2, 2)",
            "array_max(a)",
            "split(y, '-')",
        ],
    ),
    ("maps", &["k['one']", "map_keys(k)", "map_contains_key(k, 'two')", "map('s', s, 't', t)", "size(k)"]),
    (
        "lambdas",
        &[
            "transform(a, v -> v * 2 + i)",
            "filter(a, v -> v > 3)",
            "exists(b, v -> v = s)",
            "aggregate(a, 0, (sum, v) -> sum + v)",
            "transform_values(k, (n, v) -> v + 1)",
        ],
    ),
    (
        "hashes",
        &["md5(s)", "sha2(s, 256)", "crc32(s)", "hash(s, i)", "xxhash64(s, l)", "base64(s)", "hex(s)"],
    ),
    (
        "casts",
        &[
            "CAST(i AS STRING)",
            "CAST(x AS STRING)",
            "CAST(y AS INT)",
            "CAST(CAST(i AS STRING) AS INT)",
            "CAST(w AS DATE)",
            "CAST(m AS STRING)",
            "CAST(d AS STRING)",
            "CAST(x AS DECIMAL(12,2))",
            "CAST(c AS DOUBLE)",
            "CAST(a AS STRING)",
        ],
    ),
    (
        "decimals",
        &["c + e", "c * 1.19", "c / e", "round(e, 2)", "c > e", "CAST(c AS DECIMAL(20,4))", "c % 3", "-c"],
    ),
];

fn message(number: u64) -> String {
    format!(
        r#"{{"s":"  user {number} of example ","t":"Text {}","i":{},"l":{},"x":{}.25,"y":"{}-{}-9","c":{}.{:02},"e":{}.123456,"d":"20{:02}-0{}-1{}","m":"20{:02}-03-0{}T12:30:45.{:06}Z","w":"2024-0{}-1{} 08:15:{:02}","j":"{{\"id\":{number},\"user\":{{\"name\":\"user {number}\",\"age\":41}},\"tags\":[\"a\",\"b\"],\"note\":null}}","a":[{},7,3,{},7],"b":["red","green","blue {}"],"k":{{"one":{number},"two":2,"three":3}}}}"#,
        number % 97,
        number % 101,
        number * 1000,
        number * 31 % 9973,
        number % 977,
        number % 31,
        number % 99_991,
        number % 100,
        1 + number % 991,
        number % 40,
        1 + number % 9,
        number % 9,
        number % 40,
        1 + number % 9,
        number % 999_983,
        1 + number % 9,
        number % 9,
        number % 60,
        number % 11,
        number % 5,
        number % 7,
    )
}

/// What is measured shorter is nothing but the clock's steps.
const NANOS_MIN: u64 = 100_000_000;

/// Nanoseconds that this thread has run, so that others on the machine do not count.
fn cpu_nanos() -> Outcome<u64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let spent = stat.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    spent.ok_or_else(|| Error::user("bench functions needs Linux: /proc/thread-self/schedstat").into())
}

pub(super) fn run(records: u64) -> Outcome {
    let ours = |e: millstream_sql::SqlError| Error::ours(e.to_string());
    let schema = parse_schema(SCHEMA).map_err(ours)?;
    let messages: Vec<String> = (0..BATCH).map(message).collect();
    let decoded = Decoder::new(&schema).decode(messages.iter().map(|message| Some(message.as_bytes())));
    if let Some((_, reason, detail)) = decoded.refused.first() {
        return Err(Error::ours(format!("a made-up message is {reason}: {detail}")).into());
    }
    for (group, expressions) in GROUPS {
        let mut total = 0;
        let mut costs = Vec::new();
        for expression in *expressions {
            let query =
                FlowQuery::new(&format!("SELECT {expression} AS r FROM input"), &schema).map_err(ours)?;
            let began = cpu_nanos()?;
            let (mut spent, mut done) = (0, 0);
            while done < records || spent < NANOS_MIN {
                std::hint::black_box(query.run(&decoded.batch)?);
                done += BATCH;
                spent = cpu_nanos()? - began;
            }
            let picos = spent * 1000 / done;
            total += picos;
            costs.push((picos.max(1), *expression));
        }
        costs.sort_unstable();
        let rate = |picos: u64| 1e12 / picos as f64;
        let mean = rate(total / expressions.len() as u64);
        let (fastest, slowest) = (costs[0], costs[costs.len() - 1]);
        output::results(&format!(
            "{group:<9} {mean:>12.0} records a second and core for each of {}; {:.0} {}, {:.0} {}\n",
            expressions.len(),
            rate(fastest.0),
            fastest.1,
            rate(slowest.0),
            slowest.1,
        ))?;
    }
    Ok(())
}
