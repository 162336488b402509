//! The thread that polls librdkafka, and hands what comes over in batches.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millstream_core::{Header, Record, Records, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message, Timestamp};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Connection;
use super::assignment::{Context, Shared};
use super::connection::Complaints;

/// A batch is handed over when it has so many records or bytes, …
const BATCH_RECORDS_MAX: usize = 2_048;
const BATCH_BYTES_MAX: usize = 2 << 20;
/// … or when nothing more has come for so long.
const LINGER: Duration = Duration::from_millis(2);
/// How long the engine may take with its batch before partitions are paused.
const BEFORE_PAUSE: Duration = Duration::from_secs(2);
/// How often it looks up while nothing comes.
pub(super) const IDLE_POLL: Duration = Duration::from_millis(100);

/// Records with the assignment under which each partition's were read.
pub(super) struct Batch {
    pub(super) records: Records,
    pub(super) epochs: HashMap<i32, u64>,
}

/// The thread that polls.
pub(super) struct Poller {
    pub(super) what: String,
    pub(super) connection: Connection,
    pub(super) complaints: Complaints,
    pub(super) consumer: Arc<BaseConsumer<Context>>,
    pub(super) shared: Arc<Shared>,
    pub(super) sender: mpsc::Sender<Result<Batch>>,
    pub(super) runtime: Handle,
}

impl Poller {
    pub(super) fn run(self) {
        let mut records = Records::default();
        while !self.shared.stopping.load(Ordering::Relaxed) {
            let wait = if records.is_empty() { IDLE_POLL } else { LINGER };
            let full = match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    push(&mut records, &message);
                    records.len() >= BATCH_RECORDS_MAX || records.size_bytes() >= BATCH_BYTES_MAX
                }
                Some(Err(error)) if is_transient(&error) => continue,
                Some(Err(error)) => {
                    // The source has ended if nobody takes it.
                    let error = self.complaints.explain(&self.connection, &self.what, &error);
                    let _ = self.sender.blocking_send(Err(error));
                    continue;
                }
                None => !records.is_empty(),
            };
            if full && !self.hand_over(&mut records) {
                return;
            }
        }
    }

    /// Waits until the engine takes the batch; false when nobody will take it.
    ///
    /// A wait that gets long is a service that does not answer: then partitions are paused and
    /// polling goes on, so that the group can share them anew. Not before: pausing throws away
    /// what librdkafka has fetched ahead.
    fn hand_over(&self, records: &mut Records) -> bool {
        let assigned = self.shared.assigned.lock();
        let epochs = assigned.iter().map(|(partition, now)| (*partition, now.epoch)).collect();
        drop(assigned);
        let batch = Batch { records: std::mem::take(records), epochs };
        let mut paused: Option<TopicPartitionList> = None;
        let place = loop {
            let wait = if paused.is_none() { BEFORE_PAUSE } else { Duration::from_millis(10) };
            match self.runtime.block_on(async { tokio::time::timeout(wait, self.sender.reserve()).await }) {
                Ok(place) => break place,
                Err(_) if self.shared.stopping.load(Ordering::Relaxed) => return false,
                Err(_) => {}
            }
            if paused.is_none()
                && let Ok(assignment) = self.consumer.assignment()
                && self.consumer.pause(&assignment).is_ok()
            {
                paused = Some(assignment);
            }
            if let Some(Ok(message)) = self.consumer.poll(Duration::from_millis(10)) {
                push(records, &message);
            }
        };
        if let Some(paused) = paused
            && let Err(error) = self.consumer.resume(&paused)
        {
            tracing::debug!("{}: cannot resume: {error}", self.what);
        }
        place.map(|place| place.send(Ok(batch))).is_ok()
    }
}

pub(super) fn is_transient(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::OperationTimedOut
                | Code::Resolve
                | Code::NotCoordinator
                | Code::CoordinatorNotAvailable
                | Code::CoordinatorLoadInProgress
        )
    )
}

pub(super) fn push(records: &mut Records, message: &BorrowedMessage<'_>) {
    let headers: Vec<Header> = match message.headers() {
        None => Vec::new(),
        Some(headers) => headers
            .iter()
            .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
            .collect(),
    };
    records.push(Record {
        key: message.key(),
        value: message.payload(),
        headers: &headers,
        timestamp: match message.timestamp() {
            Timestamp::CreateTime(ms) | Timestamp::LogAppendTime(ms) => ms,
            Timestamp::NotAvailable => -1,
        },
        partition: message.partition(),
        offset: message.offset(),
    });
}
