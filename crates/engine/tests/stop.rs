//! A run that is stopped commits what it has written, also what a source had put off.

use std::sync::Arc;

use async_trait::async_trait;
use millstream_core::{
    Checkpoint, Commit, Counts, MessageSink, Record, Records, Result, RunValues, Scope, Sink, SinkKind,
    SinkPlan, Source, SourceKind, SourcePlan, Written,
};
use millstream_engine::{Observer, Plan, Registry, RunOptions, Until, Values, run};
use parking_lot::Mutex;
use schemars::{Schema, json_schema};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

const FILE: &str = r#"
name: stopped
flows:
  copy:
    from: { numbers: all, schema: "n BIGINT" }
    sql: SELECT n FROM input
    to: { topic: copies, key: n }
"#;

/// How many records come before the run is stopped.
const RECORDS: i64 = 5;

/// Gives a record at a time, of which none is the last; after some of them the run is stopped.
#[derive(Default)]
struct Numbers {
    next: i64,
    put_off: i64,
    committed: Arc<Mutex<i64>>,
    stop: CancellationToken,
}

#[async_trait]
impl Source for Numbers {
    async fn next(&mut self) -> Result<Option<Records>> {
        if self.next == RECORDS {
            self.stop.cancel();
            std::future::pending::<()>().await;
        }
        let mut records = Records::default();
        records.push(Record::of_value(br#"{"n": 1}"#, self.next));
        self.next += 1;
        Ok(Some(records))
    }

    fn next_commit(&self) -> Commit {
        Commit::Later
    }

    async fn commit(&mut self, checkpoint: &Checkpoint, when: Commit) -> Result<Counts> {
        let next = checkpoint.partitions.get(&0).map_or(self.put_off, |progress| progress.next_offset);
        match when {
            Commit::Later => {
                self.put_off = next;
                Ok(Counts::default())
            }
            Commit::Now => {
                *self.committed.lock() = next;
                Ok(Counts { read: next as u64, ..Counts::default() })
            }
        }
    }
}

struct NumbersKind(Arc<Mutex<i64>>, CancellationToken);

#[async_trait]
impl SourceKind for NumbersKind {
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
        Ok(SourcePlan { schema: settings["schema"].as_str().map(str::to_owned), ..SourcePlan::default() })
    }

    async fn open(&self, _: &Value, _: &Scope) -> Result<Box<dyn Source>> {
        Ok(Box::new(Numbers { committed: self.0.clone(), stop: self.1.clone(), ..Numbers::default() }))
    }
}

/// Takes whatever comes.
struct TopicKind;

struct Topic;

#[async_trait]
impl SinkKind for TopicKind {
    fn name(&self) -> &'static str {
        "topic"
    }

    fn settings(&self) -> Schema {
        json_schema!({"type": "object", "properties": {"topic": {"type": "string"}, "key": {"type": "string"}}})
    }

    fn plan(&self, _: &Value) -> Result<SinkPlan> {
        Ok(SinkPlan::Topic { topic: "copies".into(), key: vec!["n".into()], timestamp: None })
    }

    async fn open(&self, _: &Value, _: &Scope) -> Result<Sink> {
        Ok(Sink::Messages(Box::new(Topic)))
    }
}

#[async_trait]
impl MessageSink for Topic {
    async fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, messages: &Records) -> Result<Written> {
        Ok(Written { written: messages.len() as u64, refused: Vec::new() })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_off_is_committed_at_the_end() {
    let (committed, stop) = (Arc::default(), CancellationToken::new());
    let registry = Registry {
        sources: vec![Arc::new(NumbersKind(Arc::clone(&committed), stop.clone()))],
        sinks: vec![Arc::new(TopicKind)],
        ..Registry::default()
    };
    let plan = Plan::load("stopped.yaml", FILE, &Values::default(), &registry).expect("is right");
    let options = RunOptions {
        flows: Vec::new(),
        until: Until::Stopped,
        patience: None,
        stop,
        clock: || 0,
        values: RunValues::default(),
    };
    let flows = run(&plan, &registry, &options, &Observer::default()).await.expect("it runs");
    let (_, summary) = &flows[0];
    assert_eq!((*committed.lock(), summary.counts.read, &summary.error), (RECORDS, RECORDS as u64, &None));
}
