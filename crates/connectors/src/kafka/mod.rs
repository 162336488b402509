//! Topics, on librdkafka: the same code for the embedded broker and a real one.

mod admin;
mod assignment;
mod client;
mod connection;
mod cursors;
mod doctor;
mod drain;
mod errors;
mod headers;
mod java;
mod poller;
mod reset;
mod sink;
mod source;
mod statistics;
mod tail;
mod topic_id;
mod totals;

use async_trait::async_trait;
use millstream_core::settings::{self, Names};
use millstream_core::{Result, Scope, Sink, SinkKind, SinkPlan, Source, SourceKind, SourcePlan};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

pub use connection::{Connection, Mechanism, Sasl, TokenSettings};
pub use cursors::KafkaCursors;
pub use doctor::{examine_broker, examine_group, examine_topic, sample};
pub use drain::{Awaited, Standing};
pub use java::KnownTopic;
pub use reset::{Position, reset};
pub use tail::{follow, newest, read_all, read_ranges};

/// Messages of a topic, read as a member of a consumer group.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicSourceSettings {
    /// The topic's name.
    #[schemars(length(min = 1))]
    pub topic: String,
    /// The consumer group that remembers how far the flow has come; by default PIPELINE.FLOW.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub group: Option<String>,
    /// What the messages look like, in Spark's DDL form: `id STRING, n INT`. Not needed where a
    /// flow of the same pipeline writes the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// What becomes of a message without a value: `dead` makes it a dead letter, `ignore` passes
    /// over it. Default `dead`.
    #[serde(default)]
    pub on_null: OnNull,
}

impl TopicSourceSettings {
    /// The consumer group's name.
    pub fn group(&self, scope: &Scope) -> String {
        self.group.clone().unwrap_or_else(|| format!("{}.{}", scope.pipeline, scope.flow))
    }
}

/// What becomes of a message without a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnNull {
    /// It is a dead letter.
    #[default]
    Dead,
    /// It counts as filtered.
    Ignore,
}

/// Messages to a topic, each row one JSON object.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicSinkSettings {
    /// The topic's name; it is made where it is missing.
    #[schemars(length(min = 1))]
    pub topic: String,
    /// The column, or columns, of the message key: messages of one key stay in order.
    pub key: Names,
    /// The column that says when a row was true; without it that is the time of sending, at which a key gets a thousand
    /// messages a second and no more. Kafka deletes messages by it: where they may be older than the topic keeps them,
    /// set `retention.ms` in `config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// How many partitions a new topic gets; by default the broker decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u16>,
    /// How many copies of it the broker keeps; by default the broker decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<u16>,
    /// Configuration of a new topic, like `retention.ms: "86400000"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
}

impl TopicSinkSettings {
    /// A topic as the broker makes it.
    fn of(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            key: Names::Many(Vec::new()),
            timestamp: None,
            partitions: None,
            replication: None,
            config: BTreeMap::new(),
        }
    }
}

/// The kind `topic`, as a source and as a sink.
#[derive(Debug, Clone, Copy)]
pub struct TopicKind;

#[async_trait]
impl SourceKind for TopicKind {
    fn name(&self) -> &'static str {
        "topic"
    }

    fn settings(&self) -> Schema {
        schema_for!(TopicSourceSettings)
    }

    fn plan(&self, settings: &Value) -> Result<SourcePlan> {
        let settings: TopicSourceSettings = settings::read(settings)?;
        Ok(SourcePlan {
            address: settings.topic.clone(),
            topic: Some(settings.topic),
            schema: settings.schema,
            nulls_ignored: settings.on_null == OnNull::Ignore,
            ..SourcePlan::default()
        })
    }

    async fn open(&self, settings: &Value, scope: &Scope) -> Result<Box<dyn Source>> {
        let settings: TopicSourceSettings = settings::read(settings)?;
        let connection = Connection::of(scope)?;
        let (topic, group) = (&settings.topic, settings.group(scope));
        Ok(Box::new(source::TopicSource::open(&connection, topic, &group, scope.gauges.clone())?))
    }
}

#[async_trait]
impl SinkKind for TopicKind {
    fn name(&self) -> &'static str {
        "topic"
    }

    fn settings(&self) -> Schema {
        schema_for!(TopicSinkSettings)
    }

    fn plan(&self, settings: &Value) -> Result<SinkPlan> {
        let settings: TopicSinkSettings = settings::read(settings)?;
        Ok(SinkPlan::Topic {
            topic: settings.topic,
            key: settings.key.to_vec(),
            timestamp: settings.timestamp,
        })
    }

    async fn open(&self, settings: &Value, scope: &Scope) -> Result<Sink> {
        let settings: TopicSinkSettings = settings::read(settings)?;
        Ok(Sink::Messages(Box::new(sink::TopicSink::new(
            Connection::of(scope)?,
            settings,
            scope.gauges.clone(),
        ))))
    }
}
