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

/// librdkafka's `batch.size`.
const BATCH_BYTES_MAX: usize = 1_000_000;
/// Each message in a batch of its own, and the next one after its answer: behind a refused one they are out of order.
const ALONE: &[(&str, &str)] = &[("batch.num.messages", "1"), ("max.in.flight.requests.per.connection", "1")];

/// Messages to one topic.
pub(super) struct TopicSink {
    connection: Connection,
    settings: TopicSinkSettings,
    gauges: Arc<Gauges>,
    /// Made when the sink is prepared: its thread is never quite at rest, and most flows have no dead letters.
    producer: Option<FutureProducer<Producing>>,
    /// What it may put into one batch, where the broker has refused larger ones.
    batch_bytes_max: Option<usize>,
    complaints: Complaints,
}

impl TopicSink {
    pub(super) fn new(connection: Connection, settings: TopicSinkSettings, gauges: Arc<Gauges>) -> Self {
        let complaints = Complaints::default();
        Self { connection, settings, gauges, producer: None, batch_bytes_max: None, complaints }
    }

    fn what(&self) -> String {
        format!("writing topic {} on {}", self.settings.topic, self.connection.brokers)
    }

    fn producer(&mut self) -> Result<FutureProducer<Producing>> {
        match &self.producer {
            Some(producer) if !has_failed_for_good(producer) => return Ok(producer.clone()),
            Some(_) => tracing::warn!(
                "{}: the broker no longer knows what we wrote last: it has lost messages that it had \
                 acknowledged; the flow goes on with those that follow",
                self.what()
            ),
            None => {}
        }
        let batch_bytes_max = self.batch_bytes_max.map(|bytes| bytes.to_string());
        let batches = batch_bytes_max.as_deref().map(|bytes| ("batch.size", bytes));
        let producer = self.make(batches.as_slice())?;
        self.producer = Some(producer.clone());
        Ok(producer)
    }

    /// Makes a producer that forms its batches like this, whatever the pipeline chooses.
    fn make(&self, batches: &[(&str, &str)]) -> Result<FutureProducer<Producing>> {
        let mut config = self.connection.client("millstream")?;
        config.set("enable.idempotence", "true").set("acks", "all");
        for (name, value) in batches {
            config.set(*name, *value);
        }
        prefer(&mut config, CHOICES);
        let context = Producing { complaints: self.complaints.clone(), gauges: self.gauges.clone() };
        config
            .create_with_context(context)
            .map_err(|e| self.complaints.explain(&self.connection, &self.what(), &e))
    }

    /// Sends the messages with these numbers, and waits until the broker has answered for each. Gives back those that
    /// were too large for it, be it only with others in one batch.
    async fn send(
        &self,
        producer: &FutureProducer<Producing>,
        messages: &Records,
        numbers: &[u32],
    ) -> Result<Vec<u32>> {
        let what = self.what();
        let mut too_large = Vec::new();
        let mut failure: Option<Error> = None;
        let mut under_way = FuturesUnordered::new();
        let mut settle = |number: u32, result: Result<(), KafkaError>| match result {
            Ok(()) => {}
            Err(error) if is_too_large(&error) => too_large.push(number),
            Err(error) => failure = Some(self.complaints.explain(&self.connection, &what, &error)),
        };
        for number in numbers.iter().copied() {
            let message = messages.get(number as usize);
            let sent = loop {
                match producer.send_result(record(&self.settings.topic, &message)) {
                    Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                        // Room is made by what is delivered.
                        match under_way.next().await {
                            Some((number, result)) => settle(number, result),
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
                    let goes_on = is_too_large(&error);
                    settle(number, Err(error));
                    if goes_on {
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
                (number, delivered.map(|_| ()).map_err(|(error, _)| error))
            });
        }
        while let Some((number, result)) = under_way.next().await {
            settle(number, result);
        }
        match failure {
            Some(error) => Err(error),
            None => {
                too_large.sort_unstable();
                Ok(too_large)
            }
        }
    }

    /// From now on batches are smaller than those in which these messages were refused.
    fn fill_less(&mut self, messages: &Records, refused: &[u32]) {
        let size =
            |message: Record<'_>| message.key.map_or(0, <[u8]>::len) + message.value.map_or(0, <[u8]>::len);
        let bytes: usize = refused.iter().map(|number| size(messages.get(*number as usize))).sum();
        let before = self.batch_bytes_max.unwrap_or(BATCH_BYTES_MAX);
        self.batch_bytes_max = Some((before.min(bytes) / 2).max(1));
        self.producer = None;
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
        let all: Vec<u32> = (0..messages.len() as u32).collect();
        let mut too_large = self.send(&producer, messages, &all).await?;
        // What the broker measures is the batch: in one that is too large every message is refused. Only one that is
        // refused alone is too large itself.
        if too_large.len() > 1 {
            let refused = too_large;
            too_large = self.send(&self.make(ALONE)?, messages, &refused).await?;
            if too_large.len() < refused.len() {
                self.fill_less(messages, &refused);
            }
        }
        // What was complained about before is over.
        drop(self.complaints.take());
        let detail = format!("the broker takes no message as large in topic {}", self.settings.topic);
        let written = (messages.len() - too_large.len()) as u64;
        let refused =
            too_large.into_iter().map(|number| (number, Reason::TooLarge, detail.clone())).collect();
        Ok(Written { written, refused })
    }
}

/// Whether the broker, or librdkafka before it, finds a message or its batch too large.
fn is_too_large(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(error.rdkafka_error_code(), Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge))
}

fn record<'a>(topic: &'a str, message: &Record<'a>) -> FutureRecord<'a, [u8], [u8]> {
    let mut record = FutureRecord::to(topic);
    record.key = message.key;
    record.payload = message.value;
    record.timestamp = (message.timestamp >= 0).then_some(message.timestamp);
    record.partition = (message.partition >= 0).then_some(message.partition);
    if !message.headers.is_empty() {
        let headers = message.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: value.as_deref() })
        });
        record.headers = Some(headers);
    }
    record
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    use tokio::task::block_in_place;

    use super::*;
    use crate::kafka::read_all;

    /// A broker that finds its first batches too large, and a sink that puts everything into one.
    fn refusing(batches: usize) -> (MockCluster<'static, DefaultProducerContext>, TopicSink) {
        let cluster = MockCluster::new(1).expect("a broker");
        cluster.create_topic("t", 1, 1).expect("a topic");
        let refused = vec![RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; batches];
        cluster.request_errors(RDKafkaApiKey::Produce, &refused);
        let mut connection = Connection::to(cluster.bootstrap_servers());
        // Long enough for all of them also where the machine has much else to do.
        connection.client.insert("linger.ms".into(), "2000".into());
        let sink = TopicSink::new(connection, TopicSinkSettings::of("t"), Arc::default());
        (cluster, sink)
    }

    /// A hundred messages of one byte.
    fn messages() -> Records {
        let mut records = Records::default();
        (0..100).for_each(|n: u8| records.push(Record::of_value(&[n], 0)));
        records
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_batch_that_is_too_large_is_sent_again_in_parts() {
        let (_cluster, mut sink) = refusing(1);
        let written = sink.write(&messages()).await.expect("writes");
        assert_eq!(written, Written { written: 100, refused: Vec::new() });
        assert_eq!(sink.batch_bytes_max, Some(50), "the next batches are smaller");
        let again = sink.write(&messages()).await.expect("writes");
        assert_eq!(again.written, 100);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_too_large_alone_is_refused_and_nothing_else() {
        let (_cluster, mut sink) = refusing(2);
        let written = sink.write(&messages()).await.expect("writes");
        let refused: Vec<_> = written.refused.iter().map(|(row, reason, _)| (*row, *reason)).collect();
        assert_eq!((written.written, refused), (99, vec![(0, Reason::TooLarge)]));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_header_without_a_value_stays_without_one() {
        let (_cluster, mut sink) = refusing(0);
        let headers = [("null".to_owned(), None), ("empty".to_owned(), Some(Vec::<u8>::new()))];
        let mut records = Records::default();
        records.push(Record { headers: &headers, ..Record::of_value(b"value", 0) });
        sink.write(&records).await.expect("writes");
        let mut found = Vec::new();
        let see = |read: Records| {
            read.iter().for_each(|record| found.extend_from_slice(record.headers));
            Ok(true)
        };
        assert!(block_in_place(|| read_all(&sink.connection, "t", see)).expect("reads"));
        assert_eq!(found, headers);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_complained_about_is_over_when_something_is_written() {
        let (_cluster, mut sink) = refusing(0);
        sink.complaints.note("a:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused");
        sink.write(&messages()).await.expect("writes");
        assert_eq!(sink.complaints.take(), None);
    }
}
