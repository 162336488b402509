//! The cursors of incremental sources, in the compacted topic `millstream.state` beside the
//! topics they belong to; the key is `PIPELINE/FLOW`.

use std::time::Duration;

use async_trait::async_trait;
use millstream_core::{Cursors, Result, STATE_TOPIC, Scope};
use parking_lot::Mutex;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde::{Deserialize, Serialize};
use tokio::task::block_in_place;

use super::admin::ensure_topic;
use super::client::prefer;
use super::errors::{explain, has_failed_for_good};
use super::{Connection, TopicSinkSettings, read_all};

/// How long a cursor may wait for room before it counts as not written.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Cursors on the pipeline's broker.
#[derive(Default)]
pub struct KafkaCursors {
    /// The producer that was used last, and the broker it is for.
    producer: Mutex<Option<(String, FutureProducer)>>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    cursor: String,
}

impl std::fmt::Debug for KafkaCursors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KafkaCursors")
    }
}

fn key(scope: &Scope) -> String {
    format!("{}/{}", scope.pipeline, scope.flow)
}

impl KafkaCursors {
    async fn producer(&self, connection: &Connection) -> Result<FutureProducer> {
        if let Some((brokers, producer)) = &*self.producer.lock()
            && *brokers == connection.brokers
            && !has_failed_for_good(producer)
        {
            return Ok(producer.clone());
        }
        let settings = TopicSinkSettings {
            partitions: Some(1),
            config: [("cleanup.policy".to_owned(), "compact".to_owned())].into_iter().collect(),
            ..TopicSinkSettings::of(STATE_TOPIC)
        };
        ensure_topic(connection, &settings).await?;
        let mut config = connection.client("millstream-state")?;
        config.set("acks", "all").set("enable.idempotence", "true");
        prefer(&mut config, &[("message.timeout.ms", "30000")]);
        let producer: FutureProducer =
            config.create().map_err(|e| explain(&format!("writing topic {STATE_TOPIC}"), &e, None, None))?;
        *self.producer.lock() = Some((connection.brokers.clone(), producer.clone()));
        Ok(producer)
    }
}

impl KafkaCursors {
    /// Appends a value for the flow; none is a tombstone.
    async fn send(&self, scope: &Scope, value: Option<&str>) -> Result<()> {
        let producer = self.producer(&Connection::of(scope)?).await?;
        let key = key(scope);
        let mut record = FutureRecord::to(STATE_TOPIC).key(&key);
        record.payload = value;
        let sent = producer.send(record, SEND_TIMEOUT).await;
        sent.map(|_| ())
            .map_err(|(error, _)| explain(&format!("writing topic {STATE_TOPIC}"), &error, None, None))
    }
}

#[async_trait]
impl Cursors for KafkaCursors {
    async fn load(&self, scope: &Scope) -> Result<Option<String>> {
        let connection = Connection::of(scope)?;
        let key = key(scope);
        let mut found = None;
        // The first run makes the topic.
        block_in_place(|| {
            read_all(&connection, STATE_TOPIC, |records| {
                for record in records.iter().filter(|record| record.key == Some(key.as_bytes())) {
                    let kept = record.value.and_then(|value| serde_json::from_slice::<Kept>(value).ok());
                    found = kept.map(|kept| kept.cursor);
                }
                Ok(true)
            })
        })?;
        Ok(found)
    }

    async fn save(&self, scope: &Scope, cursor: &str) -> Result<()> {
        let kept = Kept { cursor: cursor.to_owned() };
        self.send(scope, Some(&serde_json::to_string(&kept).expect("a text is JSON"))).await
    }

    async fn clear(&self, scope: &Scope) -> Result<()> {
        self.send(scope, None).await
    }
}
