//! A table and a topic of dead letters in memory, which do what they are asked, half of it or
//! nothing, and may not say so.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use async_trait::async_trait;
use millstream_core::{
    DeadLetter, MessageSink, Reason, Records, Result, RowSink, Rows, Scope, Sink, SinkKind, SinkPlan,
    Written, cql,
};
use parking_lot::Mutex;
use schemars::{Schema, json_schema};
use serde_json::Value;

use super::faults::{Fate, Faults};
use super::log::REFUSED;

/// A row's cells: by column its value and its write time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Cells(BTreeMap<String, (i64, String)>);

impl Cells {
    /// The newer value stays; of two with one write time the greater.
    pub(crate) fn put(&mut self, column: &str, value: String, time: i64) {
        let new = (time, value);
        let cell = self.0.entry(column.to_owned()).or_insert_with(|| new.clone());
        if new > *cell {
            *cell = new;
        }
    }
}

/// The table.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) rows: Arc<Mutex<BTreeMap<String, Cells>>>,
    /// Cells that are taken and not there yet: id, column, value, write time.
    in_hand: Vec<(String, &'static str, String, i64)>,
    faults: Faults,
}

impl Table {
    pub(crate) fn new(faults: &Faults) -> Self {
        Self { rows: Arc::default(), in_hand: Vec::new(), faults: faults.clone() }
    }
}

/// The sink kind `ledger`.
pub(crate) struct LedgerKind(pub(crate) Table);

#[async_trait]
impl SinkKind for LedgerKind {
    fn name(&self) -> &'static str {
        "ledger"
    }

    fn settings(&self) -> Schema {
        json_schema!({"type": "object", "properties": {"ledger": {"type": "string"}}})
    }

    fn plan(&self, _: &Value) -> Result<SinkPlan> {
        let create = "CREATE TABLE k.numbers (id TEXT PRIMARY KEY, n BIGINT, a TEXT)";
        Ok(SinkPlan::Table(cql::parse(create, "k", "numbers").expect("is right")))
    }

    async fn open(&self, _: &Value, _: &Scope) -> Result<Sink> {
        Ok(Sink::Rows(Box::new(self.0.clone())))
    }
}

/// How many of `all` are done.
fn done(faults: &Faults, fate: Fate, all: usize) -> usize {
    match fate {
        Fate::Done | Fate::AnswerLost => all,
        Fate::Torn => faults.choose(all),
        Fate::Failed | Fate::Over => 0,
    }
}

#[async_trait]
impl RowSink for Table {
    async fn prepare(&mut self) -> Result<()> {
        self.faults.next().await.answer(())
    }

    async fn write(&mut self, rows: &Rows<'_>) -> Result<Written> {
        let fate = self.faults.next().await;
        let text = |name: &str| {
            let column = rows.batch.column_by_name(name).expect("the query has it");
            cast(column, &DataType::Utf8).expect("is text or a number")
        };
        let (ids, ns, notes) = (text("id"), text("n"), text("a"));
        let (ids, ns, notes) = (ids.as_string::<i32>(), ns.as_string::<i32>(), notes.as_string::<i32>());
        let mut written = Written::default();
        for at in 0..done(&self.faults, fate, rows.write_times.len()) {
            if ids.is_null(at) {
                written.refused.push((at as u32, Reason::NullKey, "id is null".into()));
                continue;
            }
            if ns.value(at) == REFUSED.to_string() && notes.is_valid(at) && notes.value(at) == "x" {
                written.refused.push((at as u32, Reason::BadValue, "n is not taken".into()));
                continue;
            }
            let (id, time) = (ids.value(at).to_owned(), rows.write_times[at]);
            if notes.is_valid(at) {
                self.in_hand.push((id.clone(), "a", notes.value(at).to_owned(), time));
            }
            self.in_hand.push((id, "n", ns.value(at).to_owned(), time));
            written.written += 1;
        }
        fate.answer(written)
    }

    async fn flush(&mut self) -> Result<()> {
        let fate = self.faults.next().await;
        let mut table = self.rows.lock();
        for (id, column, value, time) in &self.in_hand[..done(&self.faults, fate, self.in_hand.len())] {
            table.entry(id.clone()).or_default().put(column, value.clone(), *time);
        }
        if fate == Fate::Done {
            self.in_hand.clear();
        }
        fate.answer(())
    }
}

/// Where a dead letter came from: partition and offset.
pub(crate) type Place = (i32, i64);

/// By where they came from: why, and the original value.
pub(crate) type Buried = BTreeMap<Place, (Reason, Option<Vec<u8>>)>;

/// The dead letters, each once, by where they came from.
#[derive(Clone)]
pub(crate) struct Letters {
    pub(crate) kept: Arc<Mutex<Buried>>,
    faults: Faults,
}

impl Letters {
    pub(crate) fn new(faults: &Faults) -> Self {
        Self { kept: Arc::default(), faults: faults.clone() }
    }
}

/// The sink kind `topic`, for dead letters alone.
pub(crate) struct LettersKind(pub(crate) Letters);

#[async_trait]
impl SinkKind for LettersKind {
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
        Ok(Sink::Messages(Box::new(self.0.clone())))
    }
}

#[async_trait]
impl MessageSink for Letters {
    async fn prepare(&mut self) -> Result<()> {
        self.faults.next().await.answer(())
    }

    async fn write(&mut self, messages: &Records) -> Result<Written> {
        let fate = self.faults.next().await;
        let all = done(&self.faults, fate, messages.len());
        for message in messages.iter().take(all) {
            let letter = DeadLetter::from_record(&message).expect("has our headers");
            let original = message.value.map(<[u8]>::to_vec);
            self.kept.lock().insert((letter.partition, letter.offset), (letter.reason, original));
        }
        fate.answer(Written { written: all as u64, refused: Vec::new() })
    }
}
