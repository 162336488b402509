//! A run that is stopped commits what it has written, also what a source had put off, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use millstream_core::{
    Checkpoint, Commit, Counts, Error, MessageSink, Record, Records, Result, RunValues, Scope, Sink,
    SinkKind, SinkPlan, Source, SourceKind, SourcePlan, Written,
};
use millstream_engine::{FlowSummary, Observer, Plan, Registry, RunOptions, Until, Values, run};
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

/// Gives records, of which none is the last; with some of them the run is stopped.
#[derive(Clone, Default)]
struct Numbers {
    next: i64,
    put_off: i64,
    /// How many come at once, and how many before the stop.
    at_once: i64,
    records: i64,
    /// Up to where it was committed, where that was asked for.
    committed: Arc<Mutex<Option<i64>>>,
    stop: CancellationToken,
}

#[async_trait]
impl Source for Numbers {
    async fn next(&mut self) -> Result<Option<Records>> {
        let mut records = Records::default();
        for _ in 0..self.at_once {
            records.push(Record::of_value(br#"{"n": 1}"#, self.next));
            self.next += 1;
        }
        if self.next == self.records {
            self.stop.cancel();
        }
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
                *self.committed.lock() = Some(next);
                Ok(Counts { read: next as u64, ..Counts::default() })
            }
        }
    }
}

struct NumbersKind(Numbers);

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

    async fn open(&self, settings: &Value, _: &Scope) -> Result<Box<dyn Source>> {
        if settings["numbers"] == "missing" {
            // Which is found out late.
            tokio::time::sleep(Duration::from_millis(200)).await;
            return Err(Error::lasting("they are not there"));
        }
        Ok(Box::new(self.0.clone()))
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

/// Runs the flows of a file in which `numbers` is read: what they did.
async fn ran(file: &str, numbers: &Numbers) -> Result<Vec<(String, FlowSummary)>> {
    let registry = Registry {
        sources: vec![Arc::new(NumbersKind(numbers.clone()))],
        sinks: vec![Arc::new(TopicKind)],
        ..Registry::default()
    };
    let plan = Plan::load("stopped.yaml", file, &Values::default(), &registry).expect("is right");
    let options = RunOptions {
        flows: Vec::new(),
        until: Until::Stopped,
        patience: None,
        stop: numbers.stop.clone(),
        clock: || 0,
        values: RunValues::default(),
    };
    run(&plan, &registry, &options, &Observer::default()).await
}

/// Runs a flow that is stopped: up to where it has committed, and how many records it says to have read.
async fn stopped(at_once: i64, records: i64) -> (Option<i64>, u64) {
    let numbers = Numbers { at_once, records, ..Numbers::default() };
    let flows = ran(FILE, &numbers).await.expect("it runs");
    let (_, summary) = &flows[0];
    assert_eq!(summary.error, None);
    (*numbers.committed.lock(), summary.counts.read)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_off_is_committed_at_the_end() {
    assert_eq!(stopped(1, 5).await, (Some(5), 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_written_is_not_committed() {
    // Messages of one key are dated a millisecond apart, so that so many have to wait for the clock.
    assert_eq!(stopped(3_000, 3_000).await, (None, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_flow_is_cut_off_by_one_that_cannot_begin() {
    let other = r#"
  other:
    from: { numbers: missing, schema: "n BIGINT" }
    sql: SELECT n FROM input
    to: { topic: others, key: n }
"#;
    let numbers = Numbers { at_once: 1, records: 5, ..Numbers::default() };
    let refused = ran(&format!("{}{other}", FILE.trim_end()), &numbers).await.expect_err("one cannot begin");
    assert!(refused.message.contains("they are not there"), "{refused}");
    assert!(!numbers.stop.is_cancelled(), "nothing was read");
}
