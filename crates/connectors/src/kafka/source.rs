//! Reads a topic as a member of a consumer group. A thread of its own polls librdkafka and hands
//! batches over; offsets are committed only when the engine says so, with the totals of what
//! became of the records beside them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use millstream_core::{Checkpoint, Counts, Error, Header, Record, Records, Result, Source};
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message, Timestamp};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::block_in_place;

use super::Connection;
use super::admin::{ANSWER_TIMEOUT, partition_count};
use super::errors::explain;

/// A batch is handed over when it has so many records or bytes, …
const BATCH_RECORDS_MAX: usize = 8_192;
const BATCH_BYTES_MAX: usize = 4 << 20;
/// … or when nothing more has come for so long.
const LINGER: Duration = Duration::from_millis(2);
/// Batches that wait for the engine.
const BATCHES_WAITING_MAX: usize = 1;
/// How long the engine may take with its batch before partitions are paused.
const BEFORE_PAUSE: Duration = Duration::from_secs(2);
/// How often the thread looks up while nothing comes.
const IDLE_POLL: Duration = Duration::from_millis(100);
/// How often a source that drains asks what others have committed.
const DRAIN_POLL: Duration = Duration::from_millis(50);

/// A partition that is ours for now.
#[derive(Debug, Clone)]
struct Assigned {
    /// Which of our assignments this is: a batch from an earlier one is not committed.
    epoch: u64,
    /// What became of all records before the committed offset, over all runs.
    totals: Counts,
}

/// What the polling thread, librdkafka's callbacks and the source share.
#[derive(Default)]
struct Shared {
    assigned: Mutex<HashMap<i32, Assigned>>,
    epoch: Mutex<u64>,
    stopping: AtomicBool,
}

struct Context {
    topic: String,
    shared: Arc<Shared>,
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("topic {}: {error}: {reason}", self.topic);
    }
}

impl ConsumerContext for Context {
    /// Gives each new partition its place: the committed one, or the beginning where the group
    /// has none. What lies outside the topic is librdkafka's error, never a silent jump.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.take(consumer, list);
            if cooperative { consumer.incremental_assign(list) } else { consumer.assign(list) }
        } else {
            self.give_up(list);
            if cooperative { consumer.incremental_unassign(list) } else { consumer.unassign() }
        };
        if let Err(error) = done {
            tracing::warn!("topic {}: rebalance failed: {error}", self.topic);
        }
    }
}

impl Context {
    fn take(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) {
        let committed = consumer.committed_offsets(list.clone(), ANSWER_TIMEOUT);
        let committed = match committed {
            Ok(committed) => committed,
            Err(error) => {
                // librdkafka asks again by itself; only the totals start from what is known then.
                tracing::warn!("topic {}: cannot ask for committed offsets: {error}", self.topic);
                list.clone()
            }
        };
        let mut epoch = self.shared.epoch.lock();
        *epoch += 1;
        let mut assigned = self.shared.assigned.lock();
        for element in committed.elements() {
            let totals = serde_json::from_str(element.metadata()).unwrap_or_default();
            assigned.insert(element.partition(), Assigned { epoch: *epoch, totals });
            let start = match element.offset() {
                Offset::Offset(next) => Offset::Offset(next),
                _ => Offset::Beginning,
            };
            if let Some(mut wanted) = list.find_partition(&self.topic, element.partition())
                && let Err(error) = wanted.set_offset(start)
            {
                tracing::warn!("topic {}: cannot set an offset: {error}", self.topic);
            }
        }
    }

    fn give_up(&self, list: &TopicPartitionList) {
        let mut assigned = self.shared.assigned.lock();
        for element in list.elements() {
            assigned.remove(&element.partition());
        }
    }
}

/// Records with the assignment under which each partition's were read.
struct Batch {
    records: Records,
    epochs: HashMap<i32, u64>,
}

/// A topic, read by a group.
pub(super) struct TopicSource {
    topic: String,
    consumer: Arc<BaseConsumer<Context>>,
    shared: Arc<Shared>,
    batches: mpsc::Receiver<Result<Batch>>,
    /// The assignments of what was handed out last.
    in_hand: HashMap<i32, u64>,
    /// Where the topic ended when it was to be drained, by partition.
    drain_to: Option<BTreeMap<i32, i64>>,
}

impl TopicSource {
    pub(super) fn open(connection: &Connection, topic: &str, group: &str) -> Result<Self> {
        let what = format!("reading topic {topic} on {}", connection.brokers);
        let shared = Arc::new(Shared::default());
        let context = Context { topic: topic.to_owned(), shared: shared.clone() };
        let mut config = connection.client("millstream");
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "500")
            // The thread polls also while the engine waits for a service.
            .set("max.poll.interval.ms", "86400000")
            .set("fetch.wait.max.ms", "250")
            .set("queued.min.messages", "10000")
            .set("queued.max.messages.kbytes", "4096")
            // When that is full, look again soon and not after a second.
            .set("fetch.queue.backoff.ms", "2");
        let consumer: BaseConsumer<Context> =
            config.create_with_context(context).map_err(|e| explain(&what, &e))?;
        block_in_place(|| partition_count(consumer.client(), topic))?;
        consumer.subscribe(&[topic]).map_err(|e| explain(&what, &e))?;
        let consumer = Arc::new(consumer);
        let (sender, batches) = mpsc::channel(BATCHES_WAITING_MAX);
        let poller = Poller {
            what,
            consumer: consumer.clone(),
            shared: shared.clone(),
            sender,
            runtime: Handle::current(),
        };
        std::thread::Builder::new()
            .name(format!("topic {topic}"))
            .spawn(move || poller.run())
            .map_err(|e| Error::ours(format!("cannot start a thread: {e}")))?;
        Ok(Self {
            topic: topic.to_owned(),
            consumer,
            shared,
            batches,
            in_hand: HashMap::new(),
            drain_to: None,
        })
    }

    /// Whether the group has committed everything up to where the topic ended.
    fn is_drained(&self) -> Result<bool> {
        let Some(ends) = &self.drain_to else { return Ok(false) };
        let mut list = TopicPartitionList::new();
        for partition in ends.keys() {
            list.add_partition(&self.topic, *partition);
        }
        let what = format!("asking how far topic {} is read", self.topic);
        let committed = block_in_place(|| self.consumer.committed_offsets(list, ANSWER_TIMEOUT))
            .map_err(|e| explain(&what, &e))?;
        let all = committed.elements().iter().all(|element| {
            let end = ends.get(&element.partition()).copied().unwrap_or(0);
            match element.offset() {
                Offset::Offset(next) => next >= end,
                _ => end == 0,
            }
        });
        Ok(all)
    }
}

#[async_trait]
impl Source for TopicSource {
    async fn next(&mut self) -> Result<Option<Records>> {
        loop {
            if self.drain_to.is_some() && self.batches.is_empty() && self.is_drained()? {
                return Ok(None);
            }
            let wait = if self.drain_to.is_some() { DRAIN_POLL } else { Duration::from_secs(3600) };
            match tokio::time::timeout(wait, self.batches.recv()).await {
                Err(_) => {}
                Ok(None) => {
                    return Err(Error::ours(format!("topic {}: the reading thread has ended", self.topic)));
                }
                Ok(Some(batch)) => {
                    let batch = batch?;
                    self.in_hand = batch.epochs;
                    return Ok(Some(batch.records));
                }
            }
        }
    }

    async fn commit(&mut self, checkpoint: &Checkpoint) -> Result<Counts> {
        let what = format!("committing offsets of topic {}", self.topic);
        let mut list = TopicPartitionList::new();
        let mut totals = HashMap::new();
        let mut counted = Counts::default();
        for (partition, progress) in &checkpoint.partitions {
            let assigned = self.shared.assigned.lock().get(partition).cloned();
            let Some(assigned) = assigned.filter(|now| self.in_hand.get(partition) == Some(&now.epoch))
            else {
                continue;
            };
            let mut total = assigned.totals;
            total += progress.counts;
            counted += progress.counts;
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(progress.next_offset))
                .map_err(|e| explain(&what, &e))?;
            if let Some(mut element) = list.find_partition(&self.topic, *partition) {
                element.set_metadata(serde_json::to_string(&total).expect("numbers are JSON"));
            }
            totals.insert(*partition, (assigned.epoch, total));
        }
        if list.count() == 0 {
            return Ok(Counts::default());
        }
        match block_in_place(|| self.consumer.commit(&list, CommitMode::Sync)) {
            Ok(()) => {}
            Err(error) if is_lost(&error) => return Ok(Counts::default()),
            Err(error) => return Err(explain(&what, &error)),
        }
        let mut assigned = self.shared.assigned.lock();
        for (partition, (epoch, total)) in totals {
            if let Some(now) = assigned.get_mut(&partition).filter(|now| now.epoch == epoch) {
                now.totals = total;
            }
        }
        Ok(counted)
    }

    async fn drain(&mut self) -> Result<()> {
        let what = format!("asking where topic {} ends", self.topic);
        let mut ends = BTreeMap::new();
        block_in_place(|| {
            for partition in 0..partition_count(self.consumer.client(), &self.topic)? {
                let (start, end) = self
                    .consumer
                    .fetch_watermarks(&self.topic, partition, ANSWER_TIMEOUT)
                    .map_err(|e| explain(&what, &e))?;
                // Nothing to read is nothing to commit.
                ends.insert(partition, if start == end { 0 } else { end });
            }
            Ok(())
        })?;
        self.drain_to = Some(ends);
        Ok(())
    }
}

impl Drop for TopicSource {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.batches.close();
        // Leaves the group, so that nobody waits for a session to end.
        self.consumer.unsubscribe();
    }
}

/// Whether a commit was refused because the partitions are another member's by now.
fn is_lost(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::IllegalGeneration
                | Code::UnknownMemberId
                | Code::RebalanceInProgress
                | Code::AssignmentLost
        )
    )
}

/// The thread that polls.
struct Poller {
    what: String,
    consumer: Arc<BaseConsumer<Context>>,
    shared: Arc<Shared>,
    sender: mpsc::Sender<Result<Batch>>,
    runtime: Handle,
}

impl Poller {
    fn run(self) {
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
                    let _ = self.sender.blocking_send(Err(explain(&self.what, &error)));
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
