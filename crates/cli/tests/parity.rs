//! One topic, run natively and by a real Spark: the same rows with the same write times, and the same
//! dead letters. The messages are as odd as they come; `MILLSTREAM_SEED` repeats them.

#![allow(clippy::print_stdout, reason = "what was measured or skipped is said aloud")]

#[path = "support/messages.rs"]
mod messages;
#[path = "support/real.rs"]
mod real;
mod support;

use std::collections::BTreeMap;

use millstream_connectors::kafka::{Connection, read_all};
use millstream_core::{DeadLetter, Header};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use real::{Real, cells, services};
use support::{output, stderr, summary};

/// Messages of one run, beside those of transactions.
const MESSAGES: usize = 20_000;

const PIPELINE: &str = r#"
name: "${TABLE}"
kafka: { brokers: "${BROKERS}" }
cassandra: { hosts: "${HOSTS}" }
spark: { connect: "${SPARK}", checkpoints: "${CHECKPOINTS}", batch_messages_max: 7000 }
flows:
  store:
    from:
      topic: "${TOPIC}"
      schema: |
        id STRING, n INT, big BIGINT, d DOUBLE, f FLOAT, dec DECIMAL(12,3), yes BOOLEAN, day DATE, at TIMESTAMP,
        s STRUCT<x: INT, y: STRING>, l ARRAY<INT>, t STRING, u STRING
    sql: |
      SELECT id, n, big, d, f, dec, yes, day, at, s.x AS sx, s.y AS sy, l[1] AS l1,
             concat_ws('-', t, n) AS t, upper(t) AS upper, u
      FROM input WHERE n IS NULL OR n % 7 <> 3
    dead_letters: { topic: "${TABLE}.dead-letters" }
    to:
      table: "cases.${TABLE}"
      create: |
        CREATE TABLE cases.${TABLE} (
          id TEXT PRIMARY KEY, n INT, big BIGINT, d DOUBLE, f FLOAT, dec DECIMAL, yes BOOLEAN, day DATE, at TIMESTAMP,
          sx INT, sy TEXT, l1 INT, t TEXT, upper TEXT, u UUID)
"#;

/// A dead letter without what differs: the detail, and the table that it was meant for.
type Dead = (i32, i64, String, Option<Vec<u8>>, Option<Vec<u8>>, i64, Vec<Header>);

fn dead_letters(real: &Real, table: &str) -> BTreeMap<(i32, i64), Dead> {
    let mut found = BTreeMap::new();
    read_all(&Connection::to(&real.brokers), &format!("{table}.dead-letters"), |records| {
        for record in records.iter() {
            let letter = DeadLetter::from_record(&record).expect("a dead letter");
            let headers = record.headers.iter().filter(|(name, _)| !DeadLetter::is_ours(name)).cloned();
            let dead = (
                letter.partition,
                letter.offset,
                letter.reason.to_string(),
                record.key.map(<[u8]>::to_vec),
                record.value.map(<[u8]>::to_vec),
                letter.sent_ms.unwrap_or(record.timestamp),
                headers.collect(),
            );
            found.insert((letter.partition, letter.offset), dead);
        }
        Ok(true)
    })
    .expect("the dead letters are read");
    found
}

#[test]
fn an_adversarial_topic_gives_the_same_table_natively_and_on_spark() {
    let Some(real) = Real::take("parity") else { return };
    services(&["start", "spark"]);
    let seed = std::env::var("MILLSTREAM_SEED")
        .map_or_else(|_| rand::rng().random(), |seed| seed.parse().expect("a number"));
    println!("MILLSTREAM_SEED={seed} repeats the messages");
    messages::fill(&real.brokers, &real.name, MESSAGES, &mut StdRng::seed_from_u64(seed));
    std::fs::write(real.path().join("parity.yaml"), PIPELINE).expect("writes");
    let mut found = Vec::new();
    for by in ["native", "spark"] {
        let table = format!("{}_{by}", real.name);
        let mut command = real.millstream(&["run", "parity.yaml", "--format", "json", "--runner"]);
        command.arg(format!("store={by}")).env("TABLE", &table);
        let ended = output(&mut command);
        assert_eq!(ended.status.code(), Some(0), "{by}: {}", stderr(&ended));
        let counts = summary(&ended)["flows"]["store"].clone();
        let columns: Vec<_> =
            ["n", "big", "d", "f", "dec", "yes", "day", "at", "sx", "sy", "l1", "t", "upper", "u"]
                .iter()
                .map(|column| format!("{column}, writetime({column})"))
                .collect();
        let rows = cells(&format!("SELECT id, {} FROM cases.{table}", columns.join(", ")));
        found.push((counts, rows, dead_letters(&real, &table)));
    }
    let [(native_counts, native_rows, native_dead), (counts, rows, dead)] = found.as_slice() else {
        panic!("two runs");
    };
    println!("{native_counts}; {} rows, {} dead letters", native_rows.len(), native_dead.len());
    let differing: Vec<_> = native_dead
        .iter()
        .filter(|(place, letter)| dead.get(place) != Some(letter))
        .map(|(_, letter)| letter)
        .chain(dead.values().filter(|letter| !native_dead.contains_key(&(letter.0, letter.1))))
        .collect();
    let shown: Vec<_> = differing
        .iter()
        .take(5)
        .map(|letter| {
            let value = letter
                .4
                .as_deref()
                .map(|value| String::from_utf8_lossy(&value[..value.len().min(400)]).into_owned());
            let place = (letter.0, letter.1);
            let by = (native_dead.get(&place).map(|l| &l.2), dead.get(&place).map(|l| &l.2));
            let sent = (native_dead.get(&place).map(|l| (l.5, &l.6)), dead.get(&place).map(|l| (l.5, &l.6)));
            format!("{place:?} native and spark say {by:?}, sent {sent:?}: {value:?}")
        })
        .collect();
    assert!(differing.is_empty(), "{} dead letters differ:\n{}", differing.len(), shown.join("\n"));
    let native_only: Vec<_> = native_rows.difference(rows).take(5).collect();
    let spark_only: Vec<_> = rows.difference(native_rows).take(5).collect();
    assert_eq!(native_only, spark_only, "rows differ");
    assert_eq!(native_counts, counts);
}
