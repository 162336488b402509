//! Pipeline cases: folders with a topic's messages, a pipeline, and what must come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use millstream_connectors::kafka::{Connection, read_all};
use millstream_core::{DeadLetter, cql};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::real::{Real, cells, spark_port};
use crate::support::{millstream, output, stderr, stdout, summary};

const PARTITIONS: i32 = 3;
/// When the first message was sent that does not say when.
const FIRST_MS: i64 = 1_700_000_000_000;

/// One message of a case.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Message {
    key: Option<String>,
    value: Option<Value>,
    hex: Option<String>,
    timestamp: Option<i64>,
    partition: i32,
    headers: BTreeMap<String, Option<String>>,
}

impl Message {
    fn bytes(&self) -> Option<Vec<u8>> {
        match (&self.value, &self.hex) {
            (Some(Value::String(text)), _) => Some(text.clone().into_bytes()),
            (Some(value), _) => Some(value.to_string().into_bytes()),
            (None, Some(hex)) => {
                let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
                Some((0..hex.len()).step_by(2).map(byte).collect())
            }
            (None, None) => None,
        }
    }
}

/// Where a case runs.
pub(crate) struct Backend {
    folder: PathBuf,
    /// The topic's, the table's and the pipeline's name.
    pub(crate) name: String,
    variables: Vec<(&'static str, String)>,
}

impl Backend {
    fn new(folder: &Path, name: String, brokers: &str, hosts: &str) -> Self {
        let checkpoints = folder.join("checkpoints").display().to_string();
        let variables = vec![
            ("BROKERS", brokers.to_owned()),
            ("HOSTS", hosts.to_owned()),
            ("SPARK", format!("sc://localhost:{}", spark_port())),
            ("CHECKPOINTS", checkpoints),
        ];
        Self { folder: folder.to_owned(), name, variables }
    }

    /// Everything embedded, with its state in `folder`.
    pub(crate) fn embedded(folder: &Path, case: &str) -> Self {
        Self::new(folder, case.to_owned(), "embedded:0", "embedded")
    }

    /// Real services; the names are of this run and of what runs the flow alone.
    pub(crate) fn real(real: &Real, case: &str, by: &str) -> Self {
        Self::new(real.path(), format!("{}_{case}_{by}", real.name), &real.brokers, &real.hosts)
    }

    /// The binary, with where it runs in its environment.
    pub(crate) fn millstream(&self, words: &[&str]) -> Command {
        let mut command = millstream(&self.folder);
        command.args(words).envs(self.variables.iter().cloned()).env("NAME", &self.name);
        command
    }
}

/// A dead letter: its place in the topic and the reason.
type Dead = (i32, i64, String);

/// A case.
pub(crate) struct Case {
    pub(crate) name: String,
    folder: PathBuf,
    messages: Vec<Message>,
}

impl Case {
    /// All cases, by name.
    pub(crate) fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/pipelines");
        let folders = std::fs::read_dir(root).expect("the folder of the cases");
        let folders = folders.map(|entry| entry.expect("an entry").path());
        let mut cases: Vec<_> = folders.filter(|path| path.is_dir()).map(|path| Self::open(&path)).collect();
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        assert!(!cases.is_empty(), "there are no cases");
        cases
    }

    fn open(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join("messages.jsonl")).expect("messages.jsonl");
        let message = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        Self {
            name: folder.file_name().expect("a name").to_string_lossy().into_owned(),
            folder: folder.to_owned(),
            messages: text.lines().map(message).collect(),
        }
    }

    fn pipeline(&self) -> String {
        std::fs::read_to_string(self.folder.join("pipeline.yaml")).expect("pipeline.yaml")
    }

    /// Makes the topic and sends the messages to it.
    pub(crate) fn fill_topic(&self, brokers: &str, topic: &str) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("acks", "all").set("linger.ms", "0");
        let admin: AdminClient<DefaultClientContext> = config.create().expect("a client");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let wanted = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
        // The messages are dated long ago: a broker that looks at their age would delete them.
        let wanted = wanted.set("retention.ms", "-1");
        let made = runtime.block_on(admin.create_topics([&wanted], &AdminOptions::new()));
        made.expect("answers")[0].as_ref().expect("the topic is made");
        let producer: ThreadedProducer<DefaultProducerContext> = config.create().expect("a producer");
        for (at, message) in self.messages.iter().enumerate() {
            let bytes = message.bytes();
            let mut headers = OwnedHeaders::new();
            for (key, value) in &message.headers {
                headers = headers.insert(Header { key, value: value.as_deref() });
            }
            let mut record = BaseRecord::<str, [u8]>::to(topic)
                .partition(message.partition)
                .timestamp(message.timestamp.unwrap_or(FIRST_MS + at as i64 + 1));
            if !message.headers.is_empty() {
                record = record.headers(headers);
            }
            record.key = message.key.as_deref();
            record.payload = bytes.as_deref();
            producer.send(record).unwrap_or_else(|(e, _)| panic!("cannot send: {e}"));
        }
        producer.flush(Duration::from_secs(60)).expect("everything is sent");
    }

    /// Runs the pipeline once; what the flow says of its records.
    pub(crate) fn run(&self, backend: &Backend, words: &[&str]) -> Value {
        std::fs::write(backend.folder.join("pipeline.yaml"), self.pipeline()).expect("writes");
        let words = [&["run", "pipeline.yaml", "--format", "json"], words].concat();
        let ended = output(&mut backend.millstream(&words));
        assert_eq!(ended.status.code(), Some(0), "{}: {}", self.name, stderr(&ended));
        summary(&ended)["flows"]["store"].clone()
    }

    /// Runs a pipeline that must be refused before it starts.
    pub(crate) fn is_refused(&self, backend: &Backend, words: &[&str], reason: &str) {
        std::fs::write(backend.folder.join("pipeline.yaml"), self.pipeline()).expect("writes");
        let words = [&["check", "pipeline.yaml"], words].concat();
        let ended = output(&mut backend.millstream(&words));
        assert_eq!(ended.status.code(), Some(2), "{}: {}", self.name, stderr(&ended));
        assert!(stderr(&ended).contains(reason), "{}: {}", self.name, stderr(&ended));
    }

    fn table(&self, name: &str) -> cql::Table {
        let text = self.pipeline().replace("${NAME}", name);
        let create = text.split("CREATE TABLE").nth(1).expect("the table's statement");
        let end = create.find("\n      nulls:").unwrap_or(create.len());
        cql::parse(&format!("CREATE TABLE {}", &create[..end]), "cases", name).expect("a table")
    }

    /// The table's rows in the order of its key, each column as a text, without nulls.
    pub(crate) fn rows(&self, backend: &Backend) -> Vec<Value> {
        let table = self.table(&backend.name);
        let columns = table.columns.iter().map(|column| format!("CAST({0} AS STRING) AS {0}", column.name));
        let key: Vec<_> = table.key().map(|column| column.name.clone()).collect();
        let columns = columns.collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT {columns} FROM {table} ORDER BY {}", key.join(", "));
        let asked = output(&mut backend.millstream(&["query", "pipeline.yaml", &sql, "--format", "json"]));
        assert_eq!(asked.status.code(), Some(0), "{}: {}", self.name, stderr(&asked));
        stdout(&asked).lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
    }

    /// The dead letters, each compared with the message that it is of.
    pub(crate) fn dead_letters(&self, brokers: &str, topic: &str) -> Vec<Dead> {
        let mut found = Vec::new();
        read_all(&Connection::to(brokers), &format!("{topic}.dead-letters"), |records| {
            for record in records.iter() {
                let letter = DeadLetter::from_record(&record).expect("a dead letter");
                assert_eq!((letter.flow.as_str(), letter.topic.as_str()), ("store", topic));
                let (at, original) = self.message(letter.partition, letter.offset);
                assert_eq!(record.key, original.key.as_deref().map(str::as_bytes), "key of {letter:?}");
                assert_eq!(record.value, original.bytes().as_deref(), "value of {letter:?}");
                let timestamp = original.timestamp.unwrap_or(FIRST_MS + at as i64 + 1);
                // What Spark sends it dates itself.
                let sent_ms = letter.sent_ms.unwrap_or(record.timestamp);
                assert_eq!(sent_ms, timestamp, "timestamp of {letter:?}");
                let headers = record.headers.iter().filter(|(name, _)| !DeadLetter::is_ours(name));
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                let headers: BTreeMap<_, _> =
                    headers.map(|(name, value)| (name.clone(), value.as_deref().map(text))).collect();
                assert_eq!(headers, original.headers, "headers of {letter:?}");
                found.push((letter.partition, letter.offset, letter.reason.to_string()));
            }
            Ok(true)
        })
        .expect("the dead letters are read");
        found.sort();
        found
    }

    /// The message at a place of the topic, with its line's number from 0 on.
    fn message(&self, partition: i32, offset: i64) -> (usize, &Message) {
        let there = self.messages.iter().enumerate().filter(|(_, message)| message.partition == partition);
        there.into_iter().nth(offset as usize).expect("a message of the case")
    }

    /// What `check` says where Spark cannot run the case.
    pub(crate) fn refused_by_spark(&self) -> Option<String> {
        self.expected()["spark"].as_str().map(str::to_owned)
    }

    fn expected(&self) -> Value {
        let text = std::fs::read_to_string(self.folder.join("expected.json")).expect("expected.json");
        serde_json::from_str(&text).expect("JSON")
    }

    /// What Cassandra has, every cell with its write time, a line a row.
    pub(crate) fn cells(&self, name: &str) -> BTreeSet<String> {
        let table = self.table(name);
        let columns = table.columns.iter().map(|column| match column.key {
            Some(_) => column.name.clone(),
            None => format!("{0}, writetime({0})", column.name),
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        cells(&format!("SELECT {columns} FROM {table}"))
    }

    /// Compares what came with what must come.
    pub(crate) fn compare(&self, by: &str, counts: &Value, rows: &[Value], dead: &[Dead]) {
        let found = json!({"rows": rows, "dead": dead, "counts": counts});
        let path = self.folder.join("expected.json");
        if std::env::var_os("MILLSTREAM_WRITE_EXPECTED").is_some() {
            let row = |row: &Value| format!("    {row}");
            let rows = rows.iter().map(row).collect::<Vec<_>>().join(",\n");
            let spark = self.refused_by_spark().map(|reason| format!(",\n  \"spark\": {}", json!(reason)));
            let text = format!(
                "{{\n  \"rows\": [\n{rows}\n  ],\n  \"dead\": {},\n  \"counts\": {counts}{}\n}}\n",
                json!(dead),
                spark.unwrap_or_default()
            );
            return std::fs::write(&path, text).expect("writes");
        }
        let expected = self.expected();
        for part in ["dead", "counts", "rows"] {
            assert_eq!(found[part], expected[part], "{part} of {} by {by}", self.name);
        }
    }
}
