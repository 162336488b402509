//! Writes messages with an idempotent producer and waits until the broker has all of them.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use millstream_core::{Error, Gauges, MessageSink, Reason, Record, Records, Result, Written};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::admin::ensure_topic;
use super::client::prefer;
use super::connection::Complaints;
use super::errors::has_failed_for_good;
use super::statistics::{EVERY_MS, Producing};
use super::{Connection, TopicSinkSettings};

/// How librdkafka writes, where the pipeline does not say.
const CHOICES: &[(&str, &str)] = &[
    ("compression.type", "zstd"),
    ("linger.ms", "2"),
    ("batch.num.messages", "10000"),
    ("queue.buffering.max.kbytes", "32768"),
    // What is too large is decided by the broker, for each topic.
    ("message.max.bytes", "100000000"),
    ("statistics.interval.ms", EVERY_MS),
    // How long the broker may take for a message before that counts as a failure to be retried.
    ("message.timeout.ms", "30000"),
];

/// Messages to one topic.
pub(super) struct TopicSink {
    connection: Connection,
    settings: TopicSinkSettings,
    gauges: Arc<Gauges>,
    /// Made when the sink is prepared: its thread is never quite at rest, and most flows have no dead letters.
    producer: Option<FutureProducer<Producing>>,
    complaints: Complaints,
}

impl TopicSink {
    pub(super) fn new(connection: Connection, settings: TopicSinkSettings, gauges: Arc<Gauges>) -> Self {
        Self { connection, settings, gauges, producer: None, complaints: Complaints::default() }
    }

    fn producer(&mut self) -> Result<FutureProducer<Producing>> {
        let what = format!("writing topic {} on {}", self.settings.topic, self.connection.brokers);
        match &self.producer {
            Some(producer) if !has_failed_for_good(producer) => return Ok(producer.clone()),
            Some(_) => tracing::warn!(
                "{what}: the broker no longer knows what we wrote last: it has lost messages that it had \
                 acknowledged; the flow goes on with those that follow"
            ),
            None => {}
        }
        let mut config = self.connection.client("millstream")?;
        config.set("enable.idempotence", "true").set("acks", "all");
        prefer(&mut config, CHOICES);
        let context = Producing { complaints: self.complaints.clone(), gauges: self.gauges.clone() };
        let producer: FutureProducer<Producing> = config
            .create_with_context(context)
            .map_err(|e| self.complaints.explain(&self.connection, &what, &e))?;
        self.producer = Some(producer.clone());
        Ok(producer)
    }
}

#[async_trait]
impl MessageSink for TopicSink {
    async fn prepare(&mut self) -> Result<()> {
        // It finds its broker and gets its number meanwhile, which the first messages would wait for.
        let _made = self.producer()?;
        ensure_topic(&self.connection, &self.settings).await
    }

    async fn write(&mut self, messages: &Records) -> Result<Written> {
        let producer = self.producer()?;
        let what = format!("writing topic {} on {}", self.settings.topic, self.connection.brokers);
        let explain = |e: &KafkaError| self.complaints.explain(&self.connection, &what, e);
        let mut written = Written::default();
        let mut failure: Option<Error> = None;
        let mut under_way = FuturesUnordered::new();
        let mut settle = |index: u32, result: Result<(), KafkaError>| match result {
            Ok(()) => written.written += 1,
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                let detail = format!("the broker takes no message as large in topic {}", self.settings.topic);
                written.refused.push((index, Reason::TooLarge, detail));
            }
            Err(error) => failure = Some(explain(&error)),
        };
        for (index, message) in messages.iter().enumerate() {
            let index = index as u32;
            let sent = loop {
                match producer.send_result(record(&self.settings.topic, &message)) {
                    Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                        // Room is made by what is delivered.
                        match under_way.next().await {
                            Some((index, result)) => settle(index, result),
                            // What does not fit into an empty queue never will.
                            None => {
                                let code = RDKafkaErrorCode::MessageSizeTooLarge;
                                break Err(KafkaError::MessageProduction(code));
                            }
                        }
                    }
                    sent => break sent.map_err(|(error, _)| error),
                }
            };
            let delivery = match sent {
                Ok(delivery) => delivery,
                Err(error) => {
                    let is_refused =
                        error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge);
                    settle(index, Err(error));
                    if is_refused {
                        continue;
                    }
                    // None behind it may come before it. What is under way is waited for.
                    break;
                }
            };
            under_way.push(async move {
                let delivered = delivery.await.unwrap_or(Err((
                    KafkaError::Canceled,
                    rdkafka::message::OwnedMessage::new(
                        None,
                        None,
                        String::new(),
                        rdkafka::Timestamp::NotAvailable,
                        0,
                        0,
                        None,
                    ),
                )));
                (index, delivered.map(|_| ()).map_err(|(error, _)| error))
            });
        }
        while let Some((index, result)) = under_way.next().await {
            settle(index, result);
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(written),
        }
    }
}

fn record<'a>(topic: &'a str, message: &Record<'a>) -> FutureRecord<'a, [u8], [u8]> {
    let mut record = FutureRecord::to(topic);
    record.key = message.key;
    record.payload = message.value;
    record.timestamp = (message.timestamp >= 0).then_some(message.timestamp);
    record.partition = (message.partition >= 0).then_some(message.partition);
    if !message.headers.is_empty() {
        let headers = message.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        record.headers = Some(headers);
    }
    record
}
