//! A pipeline of numbers whose keys come up again and again, and what its table must hold: worked
//! out from the topic alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use millstream_connectors::kafka::{Connection, read_all};
use millstream_core::write_time;
use millstream_embedded::Broker;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::TopicPartitionList;
use serde_json::{Value, json};

use super::{Api, millstream, output, stderr, stdout};

pub(crate) const PAGE: usize = 4_000;
pub(crate) const PAGES: usize = 50;
const KEYS: usize = 20_000;
const PARTITIONS: i32 = 3;

/// Record number `n`: its key comes up again and again, its columns are not always there, and
/// now and then it cannot be read or stored.
pub(crate) fn record(n: usize) -> Value {
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

/// Writes the pipeline that reads `api` into a folder.
pub(crate) fn write_pipeline(folder: &Path, api: &str) {
    write_pipeline_of(folder, api, PAGES);
}

/// The same with fewer pages.
pub(crate) fn write_pipeline_of(folder: &Path, api: &str, pages: usize) {
    std::fs::write(folder.join("kill.yaml"), pipeline(api, pages)).expect("writes");
}

/// The API that gives all numbers, page after page.
pub(crate) fn numbers() -> Api {
    Api::start(page_of_numbers)
}

/// What it answers when it is asked for the n-th time.
pub(crate) fn page_of_numbers(page: usize) -> String {
    let first = (page % PAGES) * PAGE;
    json!((first..first + PAGE).map(record).collect::<Vec<_>>()).to_string()
}

/// The pipeline's file. Where it runs and what its topic and table are called may be said by the
/// environment.
fn pipeline(api: &str, pages: usize) -> String {
    format!(
        r#"
name: kill
kafka: {{ brokers: "${{BROKERS:-embedded:0}}" }}
cassandra: {{ hosts: "${{HOSTS:-embedded}}" }}
spark: {{ connect: "${{SPARK:-sc://localhost:15002}}", checkpoints: "${{CHECKPOINTS:-}}" }}
flows:
  fetch:
    from: {{ http: "{api}", every: 0ms, times: {pages}, timeout: 10m, schema: "id STRING, n BIGINT, a STRING, b STRING" }}
    sql: SELECT * FROM input
    to: {{ topic: "${{TOPIC:-numbers}}", key: id, partitions: {PARTITIONS} }}
  store:
    from: {{ topic: "${{TOPIC:-numbers}}", group: "${{TOPIC:-kill}}.store" }}
    sql: SELECT id, n, a, b FROM input WHERE n % 10 <> 3
    to:
      table: "k.${{TOPIC:-numbers}}"
      create: "CREATE TABLE k.${{TOPIC:-numbers}} (id UUID PRIMARY KEY, n BIGINT, a TEXT, b TEXT)"
"#
    )
}

/// A cell's value and its write time.
type Cell = (Value, i64);

/// What the topic says.
#[derive(Default)]
pub(crate) struct Oracle {
    pub(crate) rows: BTreeMap<String, BTreeMap<String, Cell>>,
    pub(crate) messages: u64,
    pub(crate) filtered: u64,
    pub(crate) dead: u64,
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
        // A null keeps what is there.
        for (column, value) in row.into_iter().filter(|(_, value)| !value.is_null()) {
            match cells.get(&column) {
                Some((_, known)) if *known > time => {}
                _ => {
                    cells.insert(column, (value, time));
                }
            }
        }
    }
}

/// What a topic says, and the counts that its group has committed.
pub(crate) fn look_at_topic(address: &str, topic: &str, group: &str) -> (Oracle, Value) {
    let mut oracle = Oracle::default();
    read_all(&Connection::to(address), topic, |records| {
        for record in records.iter() {
            oracle.see(record.value.expect("a value"), record.timestamp, record.offset);
        }
        Ok(true)
    })
    .expect("the topic is read");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("group.id", group);
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, PARTITIONS - 1);
    let committed = consumer.committed_offsets(list, Duration::from_secs(60)).expect("offsets");
    let mut totals = BTreeMap::<String, u64>::new();
    for element in committed.elements() {
        // A group that has committed nothing has no counts.
        let counts: BTreeMap<String, Value> = serde_json::from_str(element.metadata()).unwrap_or_default();
        for (name, count) in counts {
            *totals.entry(name).or_default() += count.as_u64().unwrap_or_default();
        }
    }
    totals.remove("topic_id");
    (oracle, json!(totals))
}

/// The same of the embedded topic in a state directory that nobody uses.
async fn look_at_state(state: &Path) -> (Oracle, Value) {
    let broker = Broker::start(&state.join("broker"), 0).await.expect("the broker starts");
    let address = broker.address().to_string();
    let looked = tokio::task::spawn_blocking(move || look_at_topic(&address, "numbers", "kill.store"));
    let looked = looked.await.expect("looked");
    broker.stop().await.expect("the broker stops");
    looked
}

/// Compares the table with the topic, cell for cell, and the dead letters; gives what the topic
/// says and the counts that were committed.
pub(crate) fn compare(folder: &Path) -> (Oracle, Value) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (oracle, totals) = runtime.block_on(look_at_state(&folder.join(".millstream")));
    let sql = "SELECT * FROM k.numbers ORDER BY id";
    let rows = output(millstream(folder).args(["query", "kill.yaml", sql, "--format", "json"]));
    let rows: Vec<BTreeMap<String, Value>> =
        stdout(&rows).lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    let expected = oracle
        .rows
        .values()
        .map(|row| row.iter().map(|(column, (value, _))| (column.clone(), value.clone())).collect());
    let expected: Vec<BTreeMap<String, Value>> = expected.collect();
    assert_eq!(rows.len(), expected.len());
    let differing = rows.iter().zip(&expected).filter(|(row, expected)| row != expected).count();
    let first = rows.iter().zip(&expected).find(|(row, expected)| row != expected);
    assert_eq!(differing, 0, "rows differ from the topic; first: {first:?}");
    let letters = output(millstream(folder).args(["dead-letters", "list", "kill.yaml", "--flow", "store"]));
    assert_eq!(stdout(&letters).lines().count() as u64, oracle.dead, "{}", stderr(&letters));
    assert!(stdout(&letters).lines().all(|line| line.contains("bad-value\tid: 'no-uuid-")));
    (oracle, totals)
}
