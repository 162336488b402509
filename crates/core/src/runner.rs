//! What runs whole flows somewhere else than in this process, on a cluster.
//! How a flow is run there is the runner's affair; what must come of it is what comes of it here.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::{Counts, Result, cql};

/// A flow from a topic to a table, with everything a cluster needs to run it.
#[derive(Debug, Clone)]
pub struct RemoteFlow {
    /// The pipeline's name.
    pub pipeline: String,
    /// The flow's name.
    pub flow: String,
    /// The pipeline's services by name, each with its settings.
    pub services: Map<String, Value>,
    /// The topic that it reads, from its beginning.
    pub topic: String,
    /// What the messages look like: the fields, each with its type in Spark's DDL form.
    pub fields: Vec<(String, String)>,
    /// How messages are read beyond that: the options of Spark's `from_json`.
    pub reading: &'static [(&'static str, &'static str)],
    /// Whether a message without a value is passed over instead of being a dead letter.
    pub nulls_ignored: bool,
    /// The query over the view `input`, in which every row carries the column [`RemoteFlow::PLACE`].
    pub sql: String,
    /// The same query, which also gives a row for every record of which [`RemoteFlow::IS_UNREAD`] holds; nothing
    /// where such a record could be lost on the way.
    pub sql_with_unread: Option<String>,
    /// The table.
    pub table: cql::Table,
    /// The settings of the sink, as `TableSettings` reads them.
    pub sink: Value,
    /// Where records go that cannot be processed.
    pub dead_letter_topic: String,
}

impl RemoteFlow {
    /// The column of `input` that says which message a row came from.
    pub const PLACE: &'static str = "_millstream_place";

    /// Holds for a record whose message could not be read: all its fields but [`RemoteFlow::PLACE`] are null.
    pub const IS_UNREAD: &'static str = "_millstream_place.reason IS NOT NULL";
}

/// When a flow that runs elsewhere ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteUntil {
    /// When everything is processed that is in the topic at its start.
    Drained,
    /// When it is stopped.
    Stopped,
}

/// Something that runs flows: `spark`.
#[async_trait]
pub trait FlowRunner: Send + Sync {
    /// Whether it can run the flow at all; nobody is asked.
    fn check(&self, flow: &RemoteFlow) -> Result<()>;

    /// Starts the flow, or finds it where it is at work already.
    async fn start(&self, flow: &RemoteFlow, until: RemoteUntil) -> Result<Box<dyn RemoteRun>>;
}

/// A flow at work somewhere else.
#[async_trait]
pub trait RemoteRun: Send {
    /// Waits for what became of records since the last time, for a while; `None` when it has ended.
    /// May be cancelled at any await.
    async fn next(&mut self) -> Result<Option<Counts>>;

    /// Messages behind what was done last, by partition of the topic, as far as it is known.
    fn lag(&self) -> BTreeMap<i32, u64>;

    /// Ends it, and gives what became of records since the last time. What is in hand there is done again by the
    /// next start.
    async fn stop(&mut self) -> Result<Counts>;
}
