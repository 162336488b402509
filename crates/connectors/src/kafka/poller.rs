//! The thread that polls librdkafka, and hands what comes over in batches.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use millstream_core::{Error, Record, Records, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message, Timestamp};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Connection;
use super::assignment::{Context, Shared};
use super::connection::Complaints;
use super::headers::headers_of;

/// A batch is handed over when it has so many records or bytes, …
const BATCH_RECORDS_MAX: usize = 2_048;
pub(super) const BATCH_BYTES_MAX: usize = 2 << 20;
/// … or when nothing more has come for so long.
const LINGER: Duration = Duration::from_millis(2);
/// How long the engine may take with its batch before partitions are paused.
pub(super) const BEFORE_PAUSE: Duration = Duration::from_secs(2);
/// How long it looks for messages, and waits for the engine, while partitions are paused.
const WHILE_PAUSED: Duration = Duration::from_millis(10);
/// How often it looks up while nothing comes.
pub(super) const IDLE_POLL: Duration = Duration::from_millis(100);

/// Records with the assignment under which each partition's were read.
pub(super) struct Batch {
    pub(super) records: Records,
    pub(super) epochs: HashMap<i32, u64>,
}

/// The thread that polls.
pub(super) struct Poller {
    pub(super) topic: String,
    pub(super) what: String,
    pub(super) connection: Connection,
    pub(super) complaints: Complaints,
    pub(super) consumer: Arc<BaseConsumer<Context>>,
    pub(super) shared: Arc<Shared>,
    pub(super) sender: mpsc::Sender<Result<Batch>>,
    /// Records that are done with, whose memory the next ones get.
    pub(super) spent: Receiver<Records>,
    pub(super) runtime: Handle,
}

/// Records that are not handed over yet.
#[derive(Default)]
struct Gathered {
    records: Records,
    /// The assignments under which they were read, …
    epochs: HashMap<i32, u64>,
    /// … and which change of assignments was the last then.
    epoch: u64,
}

impl Gathered {
    fn is_full(&self) -> bool {
        self.records.len() >= BATCH_RECORDS_MAX || self.records.size_bytes() >= BATCH_BYTES_MAX
    }

    fn take(&mut self, room: Records) -> Batch {
        Batch { records: std::mem::replace(&mut self.records, room), epochs: self.epochs.clone() }
    }

    /// Leaves out what was read under an assignment that is over: whoever has the partition now reads it again.
    fn keep_ours(&mut self, shared: &Shared) {
        let epoch = shared.epoch.load(Ordering::Relaxed);
        if self.epoch == epoch {
            return;
        }
        let now = shared.epochs();
        let is_ours =
            |partition| now.contains_key(&partition) && now.get(&partition) == self.epochs.get(&partition);
        if self.records.iter().any(|record| !is_ours(record.partition)) {
            let mut kept = Records::default();
            self.records
                .iter()
                .filter(|record| is_ours(record.partition))
                .for_each(|record| kept.push(record));
            self.records = kept;
        }
        self.epochs = now;
        self.epoch = epoch;
    }
}

impl Poller {
    pub(super) fn run(self) {
        let mut gathered = Gathered::default();
        while !self.shared.stopping.load(Ordering::Relaxed) {
            let wait = if gathered.records.is_empty() { IDLE_POLL } else { LINGER };
            let polled = self.consumer.poll(wait);
            gathered.keep_ours(&self.shared);
            let is_due = match polled {
                Some(Ok(message)) => {
                    push(&mut gathered.records, &message);
                    gathered.is_full()
                }
                Some(Err(error)) if is_transient(&error) => continue,
                Some(Err(error)) => {
                    if !self.hand_over(Err(self.explained(&error)), &mut gathered) {
                        return;
                    }
                    continue;
                }
                None => !gathered.records.is_empty(),
            };
            if is_due {
                let batch = gathered.take(self.spent.try_recv().unwrap_or_default());
                if !self.hand_over(Ok(batch), &mut gathered) {
                    return;
                }
            }
        }
    }

    fn explained(&self, error: &KafkaError) -> Error {
        self.complaints.explain(&self.connection, &self.what, error)
    }

    /// Waits until the engine takes what is `next`; false when nobody will take it.
    ///
    /// A wait that gets long is a service that does not answer: then partitions are paused and
    /// polling goes on, so that the group can share them anew. Not before: pausing throws away
    /// what librdkafka has fetched ahead.
    fn hand_over(&self, next: Result<Batch>, gathered: &mut Gathered) -> bool {
        let mut paused = HashMap::new();
        let mut failure = None;
        let mut wait = BEFORE_PAUSE;
        let place = loop {
            match self.runtime.block_on(async { tokio::time::timeout(wait, self.sender.reserve()).await }) {
                Ok(place) => break place,
                Err(_) if self.shared.stopping.load(Ordering::Relaxed) => return false,
                Err(_) => wait = WHILE_PAUSED,
            }
            // Also what the group has given us since.
            self.pause(&mut paused);
            let polled = self.consumer.poll(WHILE_PAUSED);
            gathered.keep_ours(&self.shared);
            match polled {
                Some(Ok(message)) => push(&mut gathered.records, &message),
                // It is said once only, and its partition is not read any more.
                Some(Err(error)) if !is_transient(&error) => {
                    failure.get_or_insert_with(|| self.explained(&error));
                }
                Some(Err(_)) | None => {}
            }
        };
        // All of them: librdkafka remembers it of a partition that has been given away, and of one that has come back.
        if !paused.is_empty()
            && let Err(error) = self.consumer.resume(&self.list(paused.keys()))
        {
            tracing::debug!("{}: cannot resume: {error}", self.what);
        }
        let is_taken = place.map(|place| place.send(next)).is_ok();
        match failure {
            Some(error) if is_taken => self.hand_over(Err(error), gathered),
            _ => is_taken,
        }
    }

    /// Pauses the partitions that are ours and were not paused under the same assignment.
    fn pause(&self, paused: &mut HashMap<i32, u64>) {
        let mut fresh = self.shared.epochs();
        fresh.retain(|partition, epoch| paused.get(partition) != Some(epoch));
        if fresh.is_empty() {
            return;
        }
        match self.consumer.pause(&self.list(fresh.keys())) {
            Ok(()) => paused.extend(fresh),
            Err(error) => tracing::debug!("{}: cannot pause: {error}", self.what),
        }
    }

    fn list<'a>(&self, partitions: impl Iterator<Item = &'a i32>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, *partition);
        }
        list
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
    let headers = headers_of(message);
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
