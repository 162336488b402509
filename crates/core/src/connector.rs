//! How a connector enters the system: its name, its settings, what it promises before it is
//! opened. Which connectors there are is known in one place only, the binary's `bind`.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::Schema;
use serde_json::Value;

use crate::{Cursors, Gauges, Result, Sink, Source, cql};

/// For whom a connector is opened.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The pipeline's name.
    pub pipeline: String,
    /// The flow's name.
    pub flow: String,
    /// The pipeline's services by name (`kafka`, `cassandra`), each with its settings.
    pub services: serde_json::Map<String, Value>,
    /// The folder that relative paths begin at: the pipeline file's.
    pub folder: PathBuf,
    /// What this run was told beside the file.
    pub run: RunValues,
    /// Where a source that goes on from a value keeps it; nowhere when nothing is to be written.
    pub cursors: Option<Arc<dyn Cursors>>,
    /// Where it writes what it sees of its service.
    pub gauges: Arc<Gauges>,
}

/// Values that only a run knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunValues {
    /// The data interval that it is for: `{interval.start}` and `{interval.end}`.
    pub interval: Option<(String, String)>,
    /// What an incremental source begins from this once.
    pub since: Option<String>,
}

/// What is known of a source from its settings alone.
#[derive(Debug, Clone, Default)]
pub struct SourcePlan {
    /// Where it reads, for people.
    pub address: String,
    /// The topic, where it reads one.
    pub topic: Option<String>,
    /// The declared schema in Spark's DDL form.
    pub schema: Option<String>,
    /// Whether a null value is passed over instead of being a dead letter.
    pub nulls_ignored: bool,
    /// Whether a run that reads no record at all has failed.
    pub empty_run_fails: bool,
    /// Whether its records were true before they are read, so that the time of sending does not
    /// say which of two is newer.
    pub is_dated: bool,
    /// Whether it goes on from a cursor.
    pub has_cursor: bool,
    /// Whether it asks for the data interval of a run.
    pub needs_interval: bool,
    /// Whether it reads no topic and never ends by itself.
    pub is_endless: bool,
}

/// What is known of a sink from its settings alone.
#[derive(Debug, Clone)]
pub enum SinkPlan {
    /// Messages to a topic.
    Topic {
        /// Its name.
        topic: String,
        /// The columns of the message key.
        key: Vec<String>,
        /// The column that is the message's timestamp instead of the time of sending.
        timestamp: Option<String>,
    },
    /// Rows of a table.
    Table(cql::Table),
    /// Lines of text, a JSON object each, to an address for people.
    Lines(String),
}

/// One kind of source: `http`, `topic`.
#[async_trait]
pub trait SourceKind: Send + Sync {
    /// The first key of its settings, which names the kind.
    fn name(&self) -> &'static str;

    /// The JSON Schema of its settings; its descriptions are the manual.
    fn settings(&self) -> Schema;

    /// Reads the settings without talking to anybody.
    fn plan(&self, settings: &Value) -> Result<SourcePlan>;

    /// Opens it.
    async fn open(&self, settings: &Value, scope: &Scope) -> Result<Box<dyn Source>>;
}

/// One kind of sink: `topic`, `table`.
#[async_trait]
pub trait SinkKind: Send + Sync {
    /// The first key of its settings, which names the kind.
    fn name(&self) -> &'static str;

    /// The JSON Schema of its settings; its descriptions are the manual.
    fn settings(&self) -> Schema;

    /// Reads the settings without talking to anybody.
    fn plan(&self, settings: &Value) -> Result<SinkPlan>;

    /// Opens it.
    async fn open(&self, settings: &Value, scope: &Scope) -> Result<Sink>;
}
