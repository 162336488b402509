//! Real services, started by `dev/services`, that a test may kill, pause and cut off.

#![allow(dead_code, reason = "each test uses its part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard};

use futures::TryStreamExt;
use scylla::client::session_builder::SessionBuilder;
use serde_json::{Value, json};

use crate::support::numbers::{Oracle, look_at_topic};
use crate::support::{millstream, output, stderr, stdout};

/// One test has them at a time.
static FREE: Mutex<()> = Mutex::new(());

/// Kafka and Cassandra, running.
pub(crate) struct Real {
    pub(crate) folder: tempfile::TempDir,
    /// The topic, the table and the group of this test.
    pub(crate) name: String,
    pub(crate) brokers: String,
    pub(crate) hosts: String,
    _taken: MutexGuard<'static, ()>,
}

fn port(variable: &str, default: u16) -> u16 {
    std::env::var(variable).map_or(default, |port| port.parse().expect("a port"))
}

pub(crate) fn kafka_port() -> u16 {
    port("KAFKA_PORT", 29092)
}

pub(crate) fn cassandra_port() -> u16 {
    port("CASSANDRA_PORT", 9042)
}

pub(crate) fn spark_port() -> u16 {
    port("SPARK_CONNECT_PORT", 15002)
}

/// The rows that Cassandra gives, each as a line.
pub(crate) fn cells(sql: &str) -> BTreeSet<String> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let address = format!("localhost:{}", cassandra_port());
        let session = SessionBuilder::new().known_node(address).build().await.expect("a session");
        let rows = session.query_iter(sql, ()).await.expect("answers");
        let mut rows = rows.rows_stream::<scylla::value::Row>().expect("rows");
        let mut lines = BTreeSet::new();
        while let Some(row) = rows.try_next().await.expect("a row") {
            lines.insert(format!("{:?}", row.columns));
        }
        lines
    })
}

/// Where the certificates of the services are.
pub(crate) fn certificates() -> PathBuf {
    let root = std::env::var("MILLSTREAM_SERVICES_DATA").unwrap_or_else(|_| {
        let home = std::env::var("HOME").expect("a home");
        format!("{home}/.cache/millstream/services/data")
    });
    Path::new(&root).join("tls")
}

pub(crate) fn spark_master_port() -> u16 {
    port("SPARK_MASTER_PORT", 7077)
}

/// `dev/services` with these words.
pub(crate) fn services(words: &[&str]) -> String {
    services_with(words, &[])
}

/// The same with more in its environment.
pub(crate) fn services_with(words: &[&str], variables: &[(&str, &str)]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dev/services");
    let said = output(Command::new(script).args(words).envs(variables.iter().copied()));
    assert!(said.status.success(), "dev/services {words:?}: {}", stderr(&said));
    stdout(&said)
}

impl Real {
    /// Takes the services for a test; none, and that is said, where `MILLSTREAM_TEST_SERVICES` is not
    /// set.
    pub(crate) fn take(name: &str) -> Option<Self> {
        if std::env::var_os("MILLSTREAM_TEST_SERVICES").is_none() {
            println!("SKIPPED: {name} needs real services; dev/test-services runs it with them");
            return None;
        }
        let taken = FREE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        services(&["start", "kafka", "cassandra"]);
        let moment = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        Some(Self {
            folder: tempfile::tempdir().expect("a folder"),
            name: format!("{name}_{}", moment.as_millis()),
            brokers: format!("localhost:{}", kafka_port()),
            hosts: format!("localhost:{}", cassandra_port()),
            _taken: taken,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The binary, with the services in its environment.
    pub(crate) fn millstream(&self, words: &[&str]) -> Command {
        let mut command = millstream(self.path());
        command.args(words).env("BROKERS", &self.brokers).env("HOSTS", &self.hosts);
        command.env("TOPIC", &self.name).env("MILLSTREAM_EMBEDDED", "deny");
        command.env("SPARK", format!("sc://localhost:{}", spark_port()));
        command.env("CHECKPOINTS", self.path().join("checkpoints"));
        command
    }

    /// Runs a command that must end well.
    pub(crate) fn run(&self, words: &[&str]) -> std::process::Output {
        let ended = output(&mut self.millstream(words));
        assert_eq!(ended.status.code(), Some(0), "{words:?}: {}", stderr(&ended));
        ended
    }

    /// Rows of the table that `condition` holds for, like `WHERE n > 1`; none while it cannot be asked.
    pub(crate) fn count(&self, condition: &str) -> usize {
        let sql = format!("SELECT count(*) AS n FROM k.{} {condition}", self.name);
        let asked = output(&mut self.millstream(&["query", "kill.yaml", &sql, "--format", "json"]));
        let answer = serde_json::from_str::<Value>(stdout(&asked).trim()).unwrap_or_default();
        answer["n"].as_u64().unwrap_or_default() as usize
    }

    /// Waits until a worker has written something.
    pub(crate) fn wait_for_rows(&self) {
        wait_for("the first rows", || self.count("") > 0);
    }

    /// What Cassandra has: by key and column the value and its write time.
    pub(crate) fn table(&self) -> BTreeMap<String, BTreeMap<String, (Value, i64)>> {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let address = format!("localhost:{}", cassandra_port());
            let session = SessionBuilder::new().known_node(address).build().await.expect("a session");
            let sql =
                format!("SELECT id, n, writetime(n), a, writetime(a), b, writetime(b) FROM k.{}", self.name);
            let rows = session.query_iter(sql, ()).await.expect("answers");
            type Row = (
                uuid::Uuid,
                Option<i64>,
                Option<i64>,
                Option<String>,
                Option<i64>,
                Option<String>,
                Option<i64>,
            );
            let mut rows = rows.rows_stream::<Row>().expect("rows");
            let mut table = BTreeMap::new();
            while let Some((id, n, n_time, a, a_time, b, b_time)) = rows.try_next().await.expect("a row") {
                let cells = [
                    ("n", n.map(|n| json!(n)), n_time),
                    ("a", a.map(|a| json!(a)), a_time),
                    ("b", b.map(|b| json!(b)), b_time),
                ];
                let cells = cells
                    .into_iter()
                    .filter_map(|(name, value, time)| Some((name.to_owned(), (value?, time?))));
                table.insert(id.to_string(), cells.collect());
            }
            table
        })
    }

    /// Compares table, dead letters and counts with what the topic says: each cell with its write
    /// time, each message once.
    pub(crate) fn compare(&self) -> Oracle {
        // Not through a proxy, and not through what a test may have cut.
        let address = format!("localhost:{}", kafka_port());
        let group = format!("{}.store", self.name);
        let (oracle, totals) = look_at_topic(&address, &self.name, &group);
        self.compare_rows(&oracle);
        let passed = oracle.messages - oracle.filtered - oracle.dead;
        let counts = json!({
            "read": oracle.messages, "passed": passed, "filtered": oracle.filtered, "dead": oracle.dead,
            "written": passed,
        });
        assert_eq!(totals, counts, "every message is counted once");
        oracle
    }

    /// Compares table and dead letters with what the topic says: each cell with its write time.
    pub(crate) fn compare_rows(&self, oracle: &Oracle) {
        let table = self.table();
        let expected = oracle.rows.iter().map(|(id, cells)| {
            let mut cells = cells.clone();
            cells.remove("id");
            (id.clone(), cells)
        });
        let expected: BTreeMap<_, _> = expected.collect();
        assert_eq!(table.len(), expected.len(), "rows in the table, rows that the topic says");
        let different: Vec<_> = table.iter().filter(|(id, cells)| expected.get(*id) != Some(cells)).collect();
        let first = different.first().map(|(id, cells)| (id, cells, expected.get(*id)));
        assert_eq!(different.len(), 0, "rows differ from the topic; first: {first:?}");
        let letters = self.run(&["dead-letters", "list", "kill.yaml", "--flow", "store"]);
        assert_eq!(stdout(&letters).lines().count() as u64, oracle.dead, "{}", stderr(&letters));
    }
}

/// Asks a worker to end, which it must do in order.
pub(crate) fn terminate(worker: Child) {
    let asked = Command::new("kill").arg(worker.id().to_string()).status();
    assert!(asked.expect("kill runs").success());
    assert_eq!(ended(worker).0, Some(143));
}

/// Waits until a process has ended; its exit code and what it said.
pub(crate) fn ended(mut process: Child) -> (Option<i32>, String) {
    wait_for("the end of the process", || process.try_wait().expect("waits").is_some());
    let said = process.wait_with_output().expect("ends");
    println!("{}", stderr(&said));
    (said.status.code(), stderr(&said))
}

/// Waits until something is so.
pub(crate) fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    crate::support::wait_for(what, || is_there().then_some(()));
}
