//! The embedded table as a sink: whatever order rows come in, and however often, the same table.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int32Array, RecordBatch, StringArray};
use millstream_core::{Reason, RowSink, Rows, Scope, Sink, SinkKind, Written, cql};
use millstream_embedded::{TableKind, TableStore};
use serde_json::json;

const CREATE: &str = "CREATE TABLE k.t (id text PRIMARY KEY, a text, n int)";

type Row<'a> = (&'a str, Option<&'a str>, Option<i32>, i64);

fn batch(rows: &[Row<'_>]) -> (RecordBatch, Vec<i64>) {
    let id: StringArray = rows.iter().map(|row| Some(row.0)).collect();
    let a: StringArray = rows.iter().map(|row| row.1).collect();
    let n: Int32Array = rows.iter().map(|row| row.2).collect();
    let columns: [(&str, ArrayRef); 3] = [("id", Arc::new(id)), ("a", Arc::new(a)), ("n", Arc::new(n))];
    (RecordBatch::try_from_iter(columns).expect("a batch"), rows.iter().map(|row| row.3).collect())
}

async fn open(store: &TableStore, create: &str, nulls: &str) -> Box<dyn RowSink> {
    open_table(store, json!({"table": "k.t", "create": create, "nulls": nulls})).await
}

async fn open_table(store: &TableStore, settings: serde_json::Value) -> Box<dyn RowSink> {
    match TableKind::new(store.clone()).open(&settings, &Scope::default()).await.expect("opens") {
        Sink::Rows(sink) => sink,
        Sink::Messages(_) => panic!("a table takes rows"),
    }
}

fn contents(store: &TableStore) -> Vec<String> {
    let table = cql::parse(CREATE, "k", "t").expect("a table");
    let mut rows = Vec::new();
    for batch in store.scan(&table, None, 2).expect("reads").expect("is there") {
        let batch = batch.expect("reads");
        for row in 0..batch.num_rows() {
            let cell = |column: usize| {
                arrow::util::display::array_value_to_string(batch.column(column), row).expect("prints")
            };
            rows.push(format!("{} {} {}", cell(0), cell(1), cell(2)));
        }
    }
    rows.sort();
    rows
}

/// Writes rows that are there afterwards.
async fn write(sink: &mut Box<dyn RowSink>, batch: &RecordBatch, write_times: &[i64]) -> Written {
    let written = sink.write(&Rows { batch, write_times }).await.expect("writes");
    sink.flush().await.expect("flushes");
    written
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_writes_makes_no_difference() {
    let rows: [Row<'_>; 7] = [
        ("x", Some("old"), Some(1), 10),
        ("x", Some("new"), None, 20),
        ("x", None, Some(2), 15),
        ("x", Some("oldest"), Some(9), 5),
        ("y", Some("tie a"), Some(1), 7),
        ("y", Some("tie b"), Some(-1), 7),
        ("z", None, None, 1),
    ];
    // Of equal write times the greater bytes stay: −1 is ff ff ff ff.
    let expected = ["x new 2", "y tie b -1", "z  "];
    for rotation in 0..rows.len() {
        for backwards in [false, true] {
            let dir = tempfile::tempdir().expect("a folder");
            let store = TableStore::new(&dir.path().join("tables.sqlite"));
            let mut sink = open(&store, CREATE, "keep").await;
            sink.prepare().await.expect("prepares");
            let mut order = rows;
            order.rotate_left(rotation);
            if backwards {
                order.reverse();
            }
            // One by one, then all again in one batch: writing twice changes nothing.
            for row in order {
                let (batch, write_times) = batch(&[row]);
                write(&mut sink, &batch, &write_times).await;
            }
            let (batch, write_times) = batch(&order);
            let written = write(&mut sink, &batch, &write_times).await;
            assert_eq!(written.written, 7);
            assert_eq!(contents(&store), expected, "{order:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_deletes_only_where_it_is_asked_to() {
    for (nulls, expected) in [("keep", "x a 1"), ("delete", "x  1")] {
        let dir = tempfile::tempdir().expect("a folder");
        let store = TableStore::new(&dir.path().join("tables.sqlite"));
        let mut sink = open(&store, CREATE, nulls).await;
        sink.prepare().await.expect("prepares");
        for row in [("x", None, Some(1), 20), ("x", Some("a"), Some(0), 10)] {
            let (batch, write_times) = batch(&[row]);
            write(&mut sink, &batch, &write_times).await;
        }
        assert_eq!(contents(&store), [expected], "{nulls}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_can_never_be_written_are_refused_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = TableStore::new(&dir.path().join("tables.sqlite"));
    let mut sink = open(&store, CREATE, "keep").await;
    sink.prepare().await.expect("prepares");
    let (batch, write_times) =
        batch(&[("a", None, None, 1), ("", None, None, 1), (&"k".repeat(70_000), None, None, 1)]);
    let written = write(&mut sink, &batch, &write_times).await;
    assert_eq!(written.written, 1);
    let reasons: Vec<_> = written.refused.iter().map(|(row, reason, _)| (*row, *reason)).collect();
    assert_eq!(reasons, [(1, Reason::NullKey), (2, Reason::NullKey)]);

    let other = "CREATE TABLE k.t (id text PRIMARY KEY, a text, n bigint)";
    let error = open(&store, other, "keep").await.prepare().await.expect_err("other columns");
    assert!(error.message.contains("n is int there and bigint in the file"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_spark_has_no_value_for_is_read_as_null() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = TableStore::new(&dir.path().join("tables.sqlite"));
    let create = "CREATE TABLE k.t (id decimal PRIMARY KEY, n int)";
    let mut sink = open(&store, create, "keep").await;
    sink.prepare().await.expect("prepares");
    // Cassandra takes it; DECIMAL(38,18), in which it is read, has twenty digits before the point.
    let id =
        Decimal128Array::from(vec![2 * 10_i128.pow(20)]).with_precision_and_scale(38, 0).expect("a number");
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(id)), ("n", Arc::new(Int32Array::from(vec![1])))];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    assert_eq!(write(&mut sink, &batch, &[1]).await.written, 1);
    let table = cql::parse(create, "k", "t").expect("a table");
    let mut scan = store.scan(&table, None, 2).expect("reads").expect("is there");
    let row = scan.next().expect("a row").expect("reads");
    assert_eq!((row.column(0).is_null(0), row.column(1).is_null(0)), (true, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_name_differs_in_case_only_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = TableStore::new(&folder.path().join("tables.sqlite"));
    open(&store, CREATE, "keep").await.prepare().await.expect("is made");
    let other =
        json!({"table": "k.T", "create": "CREATE TABLE k.\"T\" (id text PRIMARY KEY, a text, n int)"});
    let refused = open_table(&store, other).await.prepare().await.expect_err("SQLite takes them for one");
    assert!(refused.message.contains("k.t only in case"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_column_is_null_in_old_rows_and_takes_values() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = TableStore::new(&dir.path().join("tables.sqlite"));
    let without = "CREATE TABLE k.t (id text PRIMARY KEY, a text)";
    let mut sink = open(&store, without, "keep").await;
    sink.prepare().await.expect("prepares");
    // Cells of different times, which are kept one by one.
    for row in [("x", Some("a"), None, 20), ("x", None, None, 30), ("y", Some("b"), None, 20)] {
        let (batch, write_times) = batch(&[row]);
        write(&mut sink, &batch, &write_times).await;
    }
    let table = cql::parse(CREATE, "k", "t").expect("a table");
    assert!(store.scan(&table, None, 2).is_err(), "there is no column n yet");
    let live = store.look(&table).expect("reads").expect("is there");
    let migration = cql::Migration::between(&table, &live);
    store.add_columns(&table, &migration.added).expect("adds");
    assert_eq!(contents(&store), ["x a ", "y b "]);
    let mut sink = open(&store, CREATE, "keep").await;
    sink.prepare().await.expect("prepares");
    for row in [("x", Some("old"), Some(1), 10), ("y", Some("new"), Some(2), 40)] {
        let (batch, write_times) = batch(&[row]);
        write(&mut sink, &batch, &write_times).await;
    }
    assert_eq!(contents(&store), ["x a 1", "y new 2"]);
    // Who does not know the column leaves it alone.
    let mut sink = open(&store, without, "delete").await;
    sink.prepare().await.expect("prepares");
    let (batch, write_times) = batch(&[("y", None, None, 50)]);
    let batch = batch.project(&[0, 1]).expect("id and a");
    write(&mut sink, &batch, &write_times).await;
    assert_eq!(contents(&store), ["x a 1", "y  2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_taken_until_they_are_flushed_or_too_many() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = TableStore::new(&dir.path().join("tables.sqlite"));
    let mut sink = open(&store, CREATE, "keep").await;
    sink.prepare().await.expect("prepares");
    let take = async |sink: &mut Box<dyn RowSink>, row: Row<'_>| {
        let (batch, write_times) = batch(&[row]);
        sink.write(&Rows { batch: &batch, write_times: &write_times }).await.expect("takes");
    };
    take(&mut sink, ("x", Some("a"), Some(1), 1)).await;
    assert!(contents(&store).is_empty(), "a row is there before it is flushed");
    take(&mut sink, ("x", Some("b"), None, 2)).await;
    sink.flush().await.expect("flushes");
    assert_eq!(contents(&store), ["x b 1"]);
    // Those of a sink that ends are gone, as nobody has committed what they came from.
    take(&mut sink, ("y", None, None, 1)).await;
    drop(sink);
    let mut sink = open(&store, CREATE, "keep").await;
    sink.prepare().await.expect("prepares");
    assert_eq!(contents(&store), ["x b 1"]);
    let keys: Vec<String> = (0..20_000).map(|number| format!("{:05}", number * 7 % 20_000)).collect();
    for keys in keys.chunks(1_000) {
        let rows: Vec<Row<'_>> = keys.iter().map(|key| (key.as_str(), Some("many"), None, 3)).collect();
        let (batch, write_times) = batch(&rows);
        sink.write(&Rows { batch: &batch, write_times: &write_times }).await.expect("takes");
    }
    let early = contents(&store).len();
    assert!(early > 10_000 && early < 20_000, "{early} rows are there before they are flushed");
    sink.flush().await.expect("flushes");
    assert_eq!(contents(&store).len(), 20_001);
}
