//! One suite for every store of tables: whatever is written, in whatever order and however often,
//! both leave the same rows and refuse the same ones. Cassandra is asked where `dev/test-services`
//! runs this.

#![allow(clippy::print_stdout, reason = "what was tried or skipped is said aloud")]

#[path = "support/history.rs"]
mod history;
#[path = "support/real.rs"]
mod real;
mod support;

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use history::{History, Write};
use millstream_core::{Reason, Rows, Scope, Sink, SinkKind, TableConnection, cql};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;

/// A store of tables, as the suite sees it.
#[async_trait::async_trait]
trait Store: Sync {
    /// How a sink is opened, and for whom.
    fn kind(&self) -> (&dyn SinkKind, Scope);

    /// The rows of a table, or those of a partition.
    async fn scan(&self, table: &cql::Table, key: Option<&cql::PartitionKey>) -> Vec<RecordBatch>;
}

/// What a history left behind.
#[derive(Debug, Default, PartialEq)]
struct Left {
    rows: Vec<String>,
    /// By write and row.
    refused: Vec<(usize, u32, Reason, String)>,
}

/// Writes a history to a table of its own.
async fn play(store: &dyn Store, name: &str, history: &History, writes: &[Write]) -> Left {
    let create = format!("CREATE TABLE suite.{name} ({})", history.columns);
    let table = cql::parse(&create, "suite", name).expect("a table");
    let settings = json!({"table": format!("suite.{name}"), "create": create, "nulls": history.nulls});
    let (kind, scope) = store.kind();
    let Sink::Rows(mut sink) = kind.open(&settings, &scope).await.expect("opens") else {
        panic!("a table takes rows")
    };
    sink.prepare().await.expect("prepares");
    let mut left = Left::default();
    for (at, write) in writes.iter().enumerate() {
        let rows = Rows { batch: &write.rows, write_times: &write.times };
        let written = sink.write(&rows).await.expect("writes");
        assert_eq!(written.written as usize + written.refused.len(), write.times.len(), "each row counts");
        left.refused.extend(written.refused.into_iter().map(|(row, reason, why)| (at, row, reason, why)));
        // Some go together.
        if at % 3 == 0 {
            sink.flush().await.expect("flushes");
        }
    }
    sink.flush().await.expect("flushes");
    left.refused.sort_by_key(|(at, row, ..)| (*at, *row));
    let batches = store.scan(&table, None).await;
    left.rows.extend(batches.iter().flat_map(texts));
    left.rows.sort();
    assert_partitions(store, &table, &left.rows, &batches).await;
    left
}

/// Each row as text.
fn texts(batch: &RecordBatch) -> Vec<String> {
    let schema = batch.schema();
    let row = |row| {
        let cells = batch.columns().iter().zip(schema.fields()).map(|(cells, field)| {
            let text = array_value_to_string(cells, row).expect("prints");
            let is_null = if cells.is_null(row) { " null" } else { "" };
            format!("{}={text}{is_null}", field.name())
        });
        cells.collect::<Vec<_>>().join("; ")
    };
    (0..batch.num_rows()).map(row).collect()
}

/// Partition by partition it is the same table.
async fn assert_partitions(store: &dyn Store, table: &cql::Table, rows: &[String], batches: &[RecordBatch]) {
    let mut found = BTreeSet::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let key = ("k".to_owned(), batch.column(0).slice(row, 1));
            let key = cql::PartitionKey::of(table, &[key]).expect("a row's key is one");
            let of_key = store.scan(table, Some(&key)).await;
            let of_key: Vec<_> = of_key.iter().flat_map(texts).collect();
            assert!((1..=2).contains(&of_key.len()), "a partition has at most two rows here: {of_key:?}");
            found.extend(of_key);
        }
    }
    assert_eq!(found.iter().collect::<Vec<_>>(), rows.iter().collect::<Vec<_>>());
}

/// The seeds of this run: printed, and repeated by `MILLSTREAM_SEED`.
fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let first = std::env::var("MILLSTREAM_SEED")
        .map_or_else(|_| u64::from(rand::rng().random::<u32>()), |seed| seed.parse().expect("a number"));
    println!("MILLSTREAM_SEED={first} repeats these {count} histories");
    first..first + count
}

/// What was written in another order, apart, and some of it again, is the same.
fn shuffled(writes: &[Write], seed: u64) -> Vec<Write> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut apart = Vec::new();
    for write in writes {
        let cut = random.random_range(0..=write.times.len());
        for part in [0..cut, cut..write.times.len()] {
            let part =
                Write { rows: write.rows.slice(part.start, part.len()), times: write.times[part].to_vec() };
            if random.random_bool(0.3) {
                apart.push(part.clone());
            }
            apart.push(part);
        }
    }
    apart.retain(|write| !write.times.is_empty());
    apart.shuffle(&mut random);
    apart
}

fn assert_same(seed: u64, what: &str, one: &[String], other: &[String]) {
    for (one, other) in one.iter().zip(other) {
        let cells = one.split("; ").zip(other.split("; "));
        let different: Vec<_> = cells.filter(|(one, other)| one != other).collect();
        assert_eq!(different, [], "seed {seed}, {what}: {one}");
    }
    assert_eq!(one.len(), other.len(), "seed {seed}, {what}: rows");
}

/// The order of writes, and how often they are repeated, makes no difference.
async fn order_makes_no_difference(store: &dyn Store, prefix: &str, count: u64) {
    for seed in seeds(count) {
        let history = History::of(seed);
        let straight = play(store, &format!("{prefix}_a{seed}"), &history, &history.writes).await;
        let other =
            play(store, &format!("{prefix}_b{seed}"), &history, &shuffled(&history.writes, seed)).await;
        assert_same(seed, "in another order", &straight.rows, &other.rows);
    }
}

mod embedded {
    use millstream_embedded::{TableKind, TableStore};

    use super::*;

    pub(super) struct Embedded {
        store: TableStore,
        kind: TableKind,
        _folder: tempfile::TempDir,
    }

    impl Embedded {
        pub(super) fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let store = TableStore::new(&folder.path().join("tables.sqlite"));
            Self { kind: TableKind::new(store.clone()), store, _folder: folder }
        }
    }

    #[async_trait::async_trait]
    impl Store for Embedded {
        fn kind(&self) -> (&dyn SinkKind, Scope) {
            (&self.kind, Scope::default())
        }

        async fn scan(&self, table: &cql::Table, key: Option<&cql::PartitionKey>) -> Vec<RecordBatch> {
            let scan = self.store.scan(table, key, 3).expect("reads").expect("is there");
            scan.map(|batch| batch.expect("reads")).collect()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn order_makes_no_difference() {
        super::order_makes_no_difference(&Embedded::new(), "t", 200).await;
    }
}

mod cassandra {
    use millstream_connectors::cassandra::{CassandraKind, scan};

    use scylla::client::session_builder::SessionBuilder;

    use super::embedded::Embedded;
    use super::*;
    use crate::real::Real;

    struct Cassandra {
        hosts: String,
    }

    #[async_trait::async_trait]
    impl Store for Cassandra {
        fn kind(&self) -> (&dyn SinkKind, Scope) {
            let services = [("cassandra".to_owned(), json!({"hosts": self.hosts}))].into_iter().collect();
            (&CassandraKind, Scope { services, ..Scope::default() })
        }

        async fn scan(&self, table: &cql::Table, key: Option<&cql::PartitionKey>) -> Vec<RecordBatch> {
            let connection = TableConnection { hosts: self.hosts.clone(), ..TableConnection::embedded() };
            let scan = scan(&connection, table, key, 3).await.expect("reads").expect("is there");
            scan.map(|batch| batch.expect("reads")).collect()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn order_makes_no_difference() {
        let Some(real) = Real::take("order") else { return };
        let cassandra = Cassandra { hosts: real.hosts.clone() };
        super::order_makes_no_difference(&cassandra, &real.name, 8).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn leaves_and_refuses_what_the_embedded_table_does() {
        let Some(real) = Real::take("conformance") else { return };
        let (cassandra, embedded) = (Cassandra { hosts: real.hosts.clone() }, Embedded::new());
        for seed in seeds(40) {
            let (name, history) = (format!("{}_{seed}", real.name), History::of(seed));
            let there = play(&cassandra, &name, &history, &history.writes).await;
            let here = play(&embedded, &name, &history, &history.writes).await;
            assert_same(seed, "Cassandra, then embedded", &there.rows, &here.rows);
            assert_eq!(there.refused, here.refused, "seed {seed}");
        }
    }
    /// Words of CQL's grammar: those that are no names unquoted, and those that are.
    const WORDS: &str = "ADD ALLOW ALTER AND APPLY ASC AUTHORIZE BATCH BEGIN BY COLUMNFAMILY CREATE DELETE DESC \
        DESCRIBE DROP ENTRIES EXECUTE FROM FULL GRANT IF IN INDEX INFINITY INSERT INTO IS KEYSPACE LIMIT \
        MATERIALIZED MODIFY NAN NORECURSIVE NOT NULL OF ON OR ORDER PRIMARY RENAME REVOKE SCHEMA SELECT SET TABLE \
        TO TOKEN TRUNCATE UNLOGGED UPDATE USE USING VIEW WHERE WITH _underscore \
        AS BETWEEN CALLED CAST CLUSTERING COMPACT CONTAINS COUNT DATE DEFAULT DISTINCT EXISTS FILTERING FROZEN \
        GROUP JSON KEY LIKE LIST MAP OPTIONS PARTITION STATIC STORAGE TEXT TIMESTAMP TTL TUPLE TYPE USER VALUES \
        VECTOR WRITETIME";

    #[tokio::test(flavor = "multi_thread")]
    async fn takes_the_names_that_check_takes() {
        let Some(real) = Real::take("names") else { return };
        let session = SessionBuilder::new().known_node(&real.hosts).build().await.expect("a session");
        let keyspace = "WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}";
        let made = format!("CREATE KEYSPACE IF NOT EXISTS suite {keyspace}");
        session.query_unpaged(made, ()).await.expect("makes the keyspace");
        let mut taken = vec!["id text PRIMARY KEY".to_owned()];
        for word in WORDS.split_whitespace() {
            let create = |columns: &str| format!("CREATE TABLE suite.{} ({columns})", real.name);
            let column = format!("{word} int");
            match cql::parse(&create(&format!("id text PRIMARY KEY, {column}")), "suite", &real.name) {
                Ok(_) => taken.push(column),
                Err(error) => {
                    assert!(error.message.contains("in quotes") || word == "PRIMARY", "{error}");
                    let refused =
                        session.query_unpaged(create(&format!("id text PRIMARY KEY, {column}")), ()).await;
                    let refused = refused.expect_err(word).to_string();
                    assert!(refused.to_lowercase().contains("syntax"), "{word}: {refused}");
                }
            }
        }
        println!("{} words are names", taken.len() - 1);
        let all = format!("CREATE TABLE suite.{} ({})", real.name, taken.join(", "));
        session.query_unpaged(all, ()).await.expect("takes them all");
    }
}
