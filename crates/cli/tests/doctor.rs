//! `doctor`, `wait`, `run` and `up` beside services that are not ours. Kafka is a broker of the test's own, which they
//! reach as any other; Cassandra and Spark are not there.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use millstream_embedded::Broker;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::Value;
use support::{millstream, output, stderr, summary};

/// A broker with the topic `numbers`, and a folder for a pipeline.
struct Kafka {
    address: String,
    _broker: Broker,
    /// The broker runs as long as it is there.
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
}

impl Kafka {
    fn with(messages: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let broker = runtime.block_on(Broker::start(&folder.path().join("kafka"), 0)).expect("a broker");
        let address = broker.address().to_string();
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &address);
        let admin: AdminClient<DefaultClientContext> = client.create().expect("a client");
        let topic = NewTopic::new("numbers", 1, TopicReplication::Fixed(1));
        let made = runtime.block_on(admin.create_topics([&topic], &AdminOptions::new()));
        made.expect("answers")[0].as_ref().expect("the topic is made");
        let producer: ThreadedProducer<DefaultProducerContext> = client.create().expect("a producer");
        for message in messages {
            producer.send(BaseRecord::<(), _>::to("numbers").payload(*message)).expect("has room");
        }
        producer.flush(Duration::from_secs(60)).expect("is sent");
        Self { address, _broker: broker, runtime, folder }
    }

    /// The command on a file that knows the broker's address as a secret.
    fn command(&self, words: &[&str], file: &str) -> Command {
        command(self.folder.path(), words, file, &self.address)
    }
}

fn command(folder: &Path, words: &[&str], file: &str, brokers: &str) -> Command {
    std::fs::write(folder.join("p.yaml"), file).expect("writes");
    let mut command = millstream(folder);
    command.args(words).env("BROKERS", brokers);
    command
}

const NATIVE: &str = r#"
name: p
kafka: { brokers: "${secret:BROKERS}" }
cassandra: { hosts: embedded }
flows:
  store:
    from: { topic: numbers, schema: "id STRING, n INT" }
    sql: SELECT id, n FROM input
    to: { table: k.t, create: "CREATE TABLE k.t (id TEXT PRIMARY KEY, n INT)" }
"#;

const ON_SPARK: &str = r#"
name: p
kafka: { brokers: "${secret:BROKERS}" }
cassandra: { hosts: "127.0.0.1:1" }
spark: { connect: "sc://127.0.0.1:1", checkpoints: /checkpoints }
flows:
  store:
    runner: spark
    from: { topic: numbers, schema: "id STRING, n INT" }
    sql: SELECT id, cos(n) AS c FROM input
    to: { table: k.t, create: "CREATE TABLE k.t (id TEXT PRIMARY KEY, c DOUBLE)" }
"#;

const MESSAGE: &str = r#"{"id": "a", "n": 1}"#;

#[test]
fn doctor_says_how_far_the_group_is_and_whether_messages_can_be_read() {
    let kafka = Kafka::with(&[MESSAGE]);
    let doctor = output(&mut kafka.command(&["doctor", "p.yaml"], NATIVE));
    let said = stderr(&doctor);
    assert_eq!(doctor.status.code(), Some(0), "{said}");
    assert!(said.contains("ok    kafka: group p.store is 1 message(s) behind in numbers"), "{said}");
    assert!(said.contains("flow store: the 1 oldest and newest messages can be read"), "{said}");
}

#[test]
fn doctor_says_what_it_cannot_ask_and_goes_on() {
    let kafka = Kafka::with(&[MESSAGE]);
    // For such a group no client can be made; a group that we may not read as is refused later, and said the same way.
    let file = NATIVE.replace("topic: numbers,", "topic: numbers, group: \"\\0\",");
    let doctor = output(&mut kafka.command(&["doctor", "p.yaml"], &file));
    let said = stderr(&doctor);
    assert_eq!(doctor.status.code(), Some(1), "{said}");
    assert!(said.contains("WRONG kafka: flow store: asking ***"), "{said}");
    // What was found before and what comes after.
    assert!(said.contains("ok    kafka: topic numbers has 1 partition(s)"), "{said}");
    assert!(said.contains("flow store: the 1 oldest and newest messages can be read"), "{said}");
    assert!(said.contains("ok    cassandra: embedded: nothing to ask"), "{said}");
    assert!(!said.contains(&kafka.address), "a secret is shown: {said}");
}

#[test]
fn doctor_asks_of_a_flow_on_spark_what_spark_needs() {
    let kafka = Kafka::with(&[MESSAGE]);
    let doctor = output(&mut kafka.command(&["doctor", "p.yaml"], ON_SPARK));
    let said = stderr(&doctor);
    assert_eq!(doctor.status.code(), Some(1), "{said}");
    assert!(said.contains("ok    kafka: topic numbers has 1 partition(s)"), "{said}");
    for service in ["cassandra", "spark"] {
        assert!(said.contains(&format!("WRONG {service}: ")), "{said}");
    }
    // How far it has come is in its checkpoint, and what it makes of a message only Spark knows.
    assert!(!said.contains("group p.store"), "{said}");
    assert!(!said.contains("only Spark answers"), "{said}");
}

#[test]
fn wait_shows_no_secret_when_nothing_is_left() {
    let kafka = Kafka::with(&[]);
    let waited = output(&mut kafka.command(&["wait", "p.yaml", "--flow", "store"], NATIVE));
    assert_eq!(waited.status.code(), Some(0), "{}", stderr(&waited));
    assert_eq!(summary(&waited)["backends"]["kafka"], "***");
}

#[test]
fn wait_and_run_show_no_secret_while_nobody_answers() {
    for words in [&["wait", "p.yaml", "--flow", "store"][..], &["run", "p.yaml"][..]] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = command(folder.path(), words, NATIVE, "127.0.0.1:1,127.0.0.1:2");
        let mut waiting = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("runs");
        let lines = BufReader::new(waiting.stderr.take().expect("piped")).lines();
        let said = lines.map_while(Result::ok).find(|line| line.starts_with("waiting: "));
        waiting.kill().expect("is killed");
        waiting.wait().expect("ends");
        let said = said.expect("says what it waits for");
        // Of several brokers one that does not answer is named.
        assert!(said.contains("***") && !said.contains("127.0.0.1"), "{words:?}: {said}");
    }
}

#[test]
fn run_shows_no_secret_where_it_says_what_it_runs_on() {
    let kafka = Kafka::with(&[MESSAGE]);
    let run = output(&mut kafka.command(&["run", "p.yaml"], NATIVE));
    let said = stderr(&run);
    assert_eq!(run.status.code(), Some(0), "{said}");
    assert!(said.starts_with("p: kafka: ***; cassandra: embedded, "), "{said}");
    assert!(!said.contains(&kafka.address), "a secret is shown: {said}");
    assert_eq!(summary(&run)["backends"]["kafka"], "***");
}

#[test]
fn up_shows_no_secret_of_its_services() {
    let kafka = Kafka::with(&[MESSAGE]);
    let mut command = kafka.command(&["up", "p.yaml", "--listen", "127.0.0.1:0"], NATIVE);
    let mut up = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("runs");
    let mut lines = BufReader::new(up.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let mut said = String::new();
    let page = lines.find_map(|line| {
        said += &line;
        line.strip_prefix("page: ").map(str::to_owned)
    });
    let view = page.map(|page| {
        let view = format!("{page}/api/v1/pipelines/p");
        kafka.runtime.block_on(async { reqwest::get(view).await?.text().await })
    });
    up.kill().expect("is killed");
    up.wait().expect("ends");
    let view = view.unwrap_or_else(|| panic!("it says where its page is: {said}")).expect("is answered");
    let shown: Value = serde_json::from_str(&view).expect("JSON");
    assert_eq!(shown["backends"]["kafka"], "***");
    assert_eq!(shown["flows"][0]["from"]["service"], "***");
    assert!(said.starts_with("p: kafka: ***; cassandra: embedded, "), "{said}");
    for text in [said, view] {
        assert!(!text.contains(&kafka.address), "a secret is shown: {text}");
    }
}
