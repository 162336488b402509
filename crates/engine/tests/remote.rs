//! A flow that a cluster runs is shown as it stands there: as waiting only until it is at work again, and it stops
//! where too much of it is dead.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use millstream_core::{
    Counts, Error, FlowRunner, MessageSink, Records, RemoteFlow, RemoteRun, RemoteUntil, Result, RowSink,
    Rows, RunValues, Scope, Sink, SinkKind, SinkPlan, Source, SourceKind, SourcePlan, Written, cql,
};
use millstream_engine::{Observer, Plan, Registry, RunOptions, Until, Values, run};
use parking_lot::Mutex;
use schemars::{Schema, json_schema};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

const FILE: &str = r#"
name: remote
flows:
  store:
    from: { numbers: all, schema: "id STRING" }
    sql: SELECT id FROM input
    to: { table: k.numbers }
    runner: spark
    dead_letters: { fail_above: 5% }
"#;

struct Numbers;

#[async_trait]
impl SourceKind for Numbers {
    fn name(&self) -> &'static str {
        "numbers"
    }

    fn settings(&self) -> Schema {
        json_schema!({
            "type": "object",
            "properties": {"numbers": {"type": "string"}, "schema": {"type": "string"}},
        })
    }

    fn plan(&self, settings: &Value) -> Result<SourcePlan> {
        let schema = settings["schema"].as_str().map(str::to_owned);
        Ok(SourcePlan { schema, topic: Some("numbers".into()), ..SourcePlan::default() })
    }

    async fn open(&self, _: &Value, _: &Scope) -> Result<Box<dyn Source>> {
        Err(Error::ours("the cluster reads it"))
    }
}

/// Has to be there before the cluster writes.
struct TableKind;

#[async_trait]
impl SinkKind for TableKind {
    fn name(&self) -> &'static str {
        "table"
    }

    fn settings(&self) -> Schema {
        json_schema!({"type": "object", "properties": {"table": {"type": "string"}}})
    }

    fn plan(&self, _: &Value) -> Result<SinkPlan> {
        let create = "CREATE TABLE k.numbers (id TEXT PRIMARY KEY)";
        Ok(SinkPlan::Table(cql::parse(create, "k", "numbers").expect("is right")))
    }

    async fn open(&self, _: &Value, _: &Scope) -> Result<Sink> {
        Ok(Sink::Rows(Box::new(Prepared)))
    }
}

/// The topic of dead letters.
struct TopicKind;

#[async_trait]
impl SinkKind for TopicKind {
    fn name(&self) -> &'static str {
        "topic"
    }

    fn settings(&self) -> Schema {
        json_schema!({"type": "object", "properties": {"topic": {"type": "string"}}})
    }

    fn plan(&self, _: &Value) -> Result<SinkPlan> {
        Ok(SinkPlan::Topic { topic: "dead".into(), key: Vec::new(), timestamp: None })
    }

    async fn open(&self, _: &Value, _: &Scope) -> Result<Sink> {
        Ok(Sink::Messages(Box::new(Prepared)))
    }
}

/// What is made before, and not written to from here.
struct Prepared;

#[async_trait]
impl RowSink for Prepared {
    async fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, _: &Rows<'_>) -> Result<Written> {
        Err(Error::ours("the cluster writes"))
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl MessageSink for Prepared {
    async fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, _: &Records) -> Result<Written> {
        Err(Error::ours("the cluster writes"))
    }
}

/// What the cluster says next, the last first.
type Answers = Vec<Result<Option<Counts>>>;

/// A cluster that answers as it is told.
#[derive(Clone)]
struct Cluster {
    answers: Arc<Mutex<Answers>>,
    observer: Observer,
    /// Whether the flow was shown as waiting, at each question how far it is.
    shown_waiting: Arc<Mutex<Vec<bool>>>,
    stops: Arc<Mutex<usize>>,
}

#[async_trait]
impl FlowRunner for Cluster {
    fn check(&self, _: &RemoteFlow) -> Result<()> {
        Ok(())
    }

    async fn start(&self, _: &RemoteFlow, _: RemoteUntil) -> Result<Box<dyn RemoteRun>> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl RemoteRun for Cluster {
    async fn next(&mut self) -> Result<Option<Counts>> {
        let state = self.observer.lock()["store"].clone();
        self.shown_waiting.lock().push(state.lock().waiting_for.is_some());
        self.answers.lock().pop().expect("is asked no more")
    }

    fn lag(&self) -> BTreeMap<i32, u64> {
        BTreeMap::new()
    }

    async fn stop(&mut self) -> Result<Counts> {
        *self.stops.lock() += 1;
        Ok(Counts::default())
    }
}

/// Runs a flow on a cluster that gives these answers: its error, at which questions it was shown as waiting, and how
/// often its queries were stopped.
async fn watched(mut answers: Answers) -> (Option<String>, Vec<bool>, usize) {
    answers.reverse();
    let observer = Observer::default();
    let cluster = Cluster {
        answers: Arc::new(Mutex::new(answers)),
        observer: Arc::clone(&observer),
        shown_waiting: Arc::default(),
        stops: Arc::default(),
    };
    let registry = Registry {
        sources: vec![Arc::new(Numbers)],
        sinks: vec![Arc::new(TableKind), Arc::new(TopicKind)],
        spark: Some(Arc::new(cluster.clone())),
        ..Registry::default()
    };
    let plan = Plan::load("remote.yaml", FILE, &Values::default(), &registry).expect("is right");
    let options = RunOptions {
        flows: Vec::new(),
        until: Until::Stopped,
        patience: None,
        stop: CancellationToken::new(),
        clock: || 0,
        values: RunValues::default(),
    };
    let flows = run(&plan, &registry, &options, &observer).await.expect("it runs");
    let error = flows[0].1.error.clone();
    (error, cluster.shown_waiting.lock().clone(), *cluster.stops.lock())
}

fn read(read: u64, dead: u64) -> Result<Option<Counts>> {
    Ok(Some(Counts { read, passed: read - dead, dead, written: read - dead, ..Counts::default() }))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_at_work_again_waits_no_longer() {
    let down = || Err(Error::passing("down"));
    // That nothing has come yet is an answer, too.
    let (error, shown_waiting, stops) =
        watched(vec![down(), read(0, 0), read(0, 0), down(), down(), read(5, 0), read(0, 0), Ok(None)]).await;
    assert_eq!(error, None);
    assert_eq!(shown_waiting, [false, true, false, false, true, true, false, false]);
    assert_eq!(stops, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_at_work_stops_where_too_much_of_it_is_dead() {
    let (error, _, stops) = watched(vec![read(900, 900), read(100, 0), read(1, 0)]).await;
    let said = error.unwrap_or_default();
    assert!(said.starts_with("900 of 1000 records are dead letters, more than 5%"), "{said}");
    assert_eq!(stops, 1);
}
