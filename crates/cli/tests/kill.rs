//! Killed anywhere: at random moments the process gets SIGKILL; once it has caught up, the table
//! is what the topic says, cell for cell, and every message was counted exactly once.

#![allow(clippy::print_stdout, reason = "what was measured or skipped is said aloud")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use millstream_connectors::kafka::{Connection, read_all};
use millstream_core::write_time;
use millstream_embedded::Broker;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::TopicPartitionList;
use serde_json::{Value, json};
use support::{Api, millstream, output, spawn, stderr, stdout, summary};

const PAGE: usize = 4_000;
const PAGES: usize = 50;
const KEYS: usize = 20_000;
const PARTITIONS: i32 = 3;

/// Record number `n`: its key comes up again and again, its columns are not always there, and
/// now and then it cannot be read or stored.
fn record(n: usize) -> Value {
    let key = (n * 7_919) % KEYS;
    let id = match n % 1_009 {
        0 => format!("no-uuid-{key}"),
        _ => format!("{key:08x}-0000-4000-8000-{:012x}", key * 31),
    };
    let mut record = json!({"id": id, "n": n, "a": format!("a{n}"), "b": format!("ü{}", n / 3)});
    if n.is_multiple_of(5) {
        record["a"] = Value::Null;
    }
    if n.is_multiple_of(7) {
        record.as_object_mut().expect("an object").remove("b");
    }
    if n % 1_013 == 1 {
        record["n"] = json!("not a number");
    }
    record
}

fn pipeline(api: &str) -> String {
    format!(
        r#"
name: kill
kafka: {{ brokers: "embedded:0" }}
cassandra: {{ hosts: embedded }}
flows:
  fetch:
    from: {{ http: "{api}", every: 0ms, times: {PAGES}, schema: "id STRING, n BIGINT, a STRING, b STRING" }}
    sql: SELECT * FROM input
    to: {{ topic: numbers, key: id, partitions: {PARTITIONS} }}
  store:
    from: {{ topic: numbers }}
    sql: SELECT id, n, a, b FROM input WHERE n % 10 <> 3
    to:
      table: k.numbers
      create: CREATE TABLE k.numbers (id UUID PRIMARY KEY, n BIGINT, a TEXT, b TEXT)
"#
    )
}

/// A cell's value and its write time.
type Cell = (Value, i64);

#[derive(Default)]
struct Oracle {
    rows: BTreeMap<String, BTreeMap<String, Cell>>,
    messages: u64,
    filtered: u64,
    dead: u64,
}

impl Oracle {
    fn see(&mut self, value: &[u8], timestamp: i64, offset: i64) {
        self.messages += 1;
        let row: BTreeMap<String, Value> = serde_json::from_slice(value).expect("our own JSON");
        if row["n"].as_i64().expect("a number") % 10 == 3 {
            self.filtered += 1;
            return;
        }
        let id = row["id"].as_str().expect("an id").to_owned();
        if id.starts_with("no-uuid") {
            self.dead += 1;
            return;
        }
        let time = write_time(timestamp, offset);
        let cells = self.rows.entry(id).or_default();
        for (column, value) in row {
            match cells.get(&column) {
                Some((_, known)) if *known > time => {}
                _ => {
                    cells.insert(column, (value, time));
                }
            }
        }
    }
}

async fn look_at_topic(state: &Path) -> (Oracle, Value) {
    let broker = Broker::start(&state.join("broker"), 0).await.expect("the broker starts");
    let address = broker.address().to_string();
    let looked = tokio::task::spawn_blocking(move || {
        let mut oracle = Oracle::default();
        read_all(&Connection { brokers: address.clone() }, "numbers", |records| {
            for record in records.iter() {
                oracle.see(record.value.expect("a value"), record.timestamp, record.offset);
            }
            Ok(true)
        })
        .expect("the topic is read");
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &address).set("group.id", "kill.store");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_range("numbers", 0, PARTITIONS - 1);
        let committed = consumer.committed_offsets(list, Duration::from_secs(10)).expect("offsets");
        let mut totals = BTreeMap::<String, u64>::new();
        for element in committed.elements() {
            let counts: BTreeMap<String, u64> = serde_json::from_str(element.metadata()).expect("counts");
            for (name, count) in counts {
                *totals.entry(name).or_default() += count;
            }
        }
        (oracle, json!(totals))
    });
    let looked = looked.await.expect("looked");
    broker.stop().await.expect("the broker stops");
    looked
}

#[test]
fn nothing_is_lost_or_doubled_or_out_of_order() {
    let kills: usize = std::env::var("MILLSTREAM_KILLS").map_or(10, |kills| kills.parse().expect("a number"));
    let seed = std::env::var("MILLSTREAM_SEED")
        .map_or_else(|_| rand::rng().random(), |s| s.parse().expect("a number"));
    println!("{kills} kills; MILLSTREAM_SEED={seed} repeats their moments");
    let mut random = StdRng::seed_from_u64(seed);
    let api = Api::start(|page| {
        let first = (page % PAGES) * PAGE;
        json!((first..first + PAGE).map(record).collect::<Vec<_>>()).to_string()
    });
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("kill.yaml"), pipeline(&api.url)).expect("writes");

    // Whether the process was still at work: what has ended by itself was not killed.
    let kill = |random: &mut StdRng, args: &[&str], longest_ms: u64| {
        let mut process = spawn(millstream(folder.path()).args(args));
        std::thread::sleep(Duration::from_millis(random.random_range(60..longest_ms)));
        let at_work = process.try_wait().expect("waits").is_none();
        process.kill().expect("kills");
        process.wait().expect("waits");
        at_work
    };
    let mut killed = 0;
    let mut attempts = 0;
    while killed < kills {
        attempts += 1;
        assert!(attempts < kills * 10, "the processes end before they can be killed");
        // While messages come in and are stored at the same time, or while what has come is stored.
        let at_work = match random.random_bool(0.4) {
            true => kill(&mut random, &["run", "kill.yaml"], 900),
            false => kill(&mut random, &["run", "kill.yaml", "--flow", "store"], 300),
        };
        killed += usize::from(at_work);
    }
    println!("killed {killed} times at work");
    let fetched = output(millstream(folder.path()).args(["run", "kill.yaml", "--flow", "fetch"]));
    assert_eq!(fetched.status.code(), Some(0), "{}", stderr(&fetched));
    let counts = summary(&fetched)["flows"]["fetch"].clone();
    assert_eq!(counts["read"], json!(PAGE * PAGES));
    assert_eq!(counts["dead"], json!((0..PAGE * PAGES).filter(|n| n % 1_013 == 1).count()));
    let stored = output(millstream(folder.path()).args(["run", "kill.yaml", "--flow", "store"]));
    assert_eq!(stored.status.code(), Some(0), "{}", stderr(&stored));

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (oracle, totals) = runtime.block_on(look_at_topic(&folder.path().join(".millstream")));
    println!("{} messages in the topic, {} rows", oracle.messages, oracle.rows.len());
    let passed = oracle.messages - oracle.filtered - oracle.dead;
    let expected = json!({
        "read": oracle.messages, "passed": passed, "filtered": oracle.filtered, "dead": oracle.dead,
        "written": passed,
    });
    assert_eq!(totals, expected, "every message is counted once");

    let rows = output(millstream(folder.path()).args([
        "query",
        "kill.yaml",
        "SELECT * FROM k.numbers ORDER BY id",
        "--format",
        "json",
    ]));
    let rows: Vec<BTreeMap<String, Value>> =
        stdout(&rows).lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    let expected: Vec<BTreeMap<String, Value>> = oracle
        .rows
        .into_values()
        .map(|row| row.into_iter().map(|(column, (value, _))| (column, value)).collect())
        .collect();
    assert_eq!(rows.len(), expected.len());
    let differing = rows.iter().zip(&expected).filter(|(row, expected)| row != expected).count();
    assert_eq!(
        differing,
        0,
        "rows differ from the topic; first: {:?}",
        rows.iter().zip(&expected).find(|(a, b)| a != b)
    );

    let letters =
        output(millstream(folder.path()).args(["dead-letters", "list", "kill.yaml", "--flow", "store"]));
    assert_eq!(stdout(&letters).lines().count() as u64, oracle.dead, "{}", stderr(&letters));
    assert!(stdout(&letters).lines().all(|line| line.contains("bad-value\tid: 'no-uuid-")));
}
