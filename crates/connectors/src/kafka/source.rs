//! Reads a topic as a member of a consumer group. Offsets are committed only when the engine says so,
//! with the totals of what became of the records beside them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use millstream_core::{Checkpoint, Commit, Counts, Error, Gauges, Progress, Records, Result, Source};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::block_in_place;

use super::Connection;
use super::admin::{ANSWER_TIMEOUT, await_partitions};
use super::assignment::{Context, Shared};
use super::client::prefer;
use super::connection::{Complaints, Reached};
use super::drain::{Ends, committed};
use super::poller::{BATCH_BYTES_MAX, Batch, IDLE_POLL, Poller};
use super::statistics::EVERY_MS;
use super::topic_id::topic_id;
use super::totals::{Totals, made_anew};

/// How librdkafka reads, where the pipeline does not say.
const CHOICES: &[(&str, &str)] = &[
    ("session.timeout.ms", "10000"),
    ("heartbeat.interval.ms", "500"),
    // The thread polls also while the engine waits for a service.
    ("max.poll.interval.ms", "86400000"),
    ("fetch.wait.max.ms", "250"),
    ("statistics.interval.ms", EVERY_MS),
    // What lies ready is a few milliseconds' work. A partition's share of one answer is kept small: it
    // stays in memory whole until its last message is taken, unpacked in buffers of up to three times
    // its size, because librdkafka has to guess that.
    ("queued.min.messages", "20000"),
    ("queued.max.messages.kbytes", "2048"),
    ("fetch.message.max.bytes", "131072"),
    // When that is full, look again soon and not after a second.
    ("fetch.queue.backoff.ms", "2"),
];

/// Batches that wait for the engine.
const BATCHES_WAITING_MAX: usize = 1;
/// A commit is an answer to wait for: while the next batch is ready there is one only so often. What is
/// put off is read again where we end before it.
const COMMIT_EVERY: Duration = Duration::from_millis(500);
/// When nothing has come for so long, a source that drains asks whether everything is committed: the answer
/// takes as long as a batch, …
const DRAIN_LINGER: Duration = Duration::from_millis(10);
/// … and how often, while others commit.
const DRAIN_POLL: Duration = Duration::from_millis(50);
/// How often the broker is asked whether the topic is still the same, …
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// … and how soon whether it is there at all, when its client complains.
const LOOK_AFTER_COMPLAINT: Duration = Duration::from_secs(2);

/// What a commit is to say, by partition: the assignment under which it was read, and how far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Due(BTreeMap<i32, (u64, Progress)>);

impl Due {
    /// The same with one step more. What an earlier assignment left is read again by whoever has the
    /// partition now.
    fn with(&self, checkpoint: &Checkpoint, epochs: &HashMap<i32, u64>) -> Self {
        let mut due = self.clone();
        for (partition, step) in &checkpoint.partitions {
            let Some(epoch) = epochs.get(partition) else { continue };
            let mut progress = *step;
            if let Some((before, put_off)) = due.0.get(partition)
                && before == epoch
            {
                progress.counts += put_off.counts;
            }
            due.0.insert(*partition, (*epoch, progress));
        }
        due
    }
}

/// A topic, read by a group.
pub(super) struct TopicSource {
    topic: String,
    group: String,
    connection: Connection,
    complaints: Complaints,
    /// When it was last asked whether the broker is there, and whether the topic is the same.
    asked: Instant,
    consumer: Arc<BaseConsumer<Context>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    batches: mpsc::Receiver<Result<Batch>>,
    /// Gives the thread back what it gave.
    recycler: SyncSender<Records>,
    /// The assignments of what was handed out last.
    in_hand: HashMap<i32, u64>,
    /// What is durable at the sink and not committed yet.
    put_off: Due,
    committed_at: Instant,
    /// Where the topic ended when it was to be drained.
    drain_to: Option<Ends>,
    /// The broker did not answer when it was asked last, which whoever reads may still think.
    is_missed: bool,
}

impl TopicSource {
    pub(super) fn open(
        connection: &Connection,
        topic: &str,
        group: &str,
        gauges: Arc<Gauges>,
    ) -> Result<Self> {
        let what = format!("reading topic {topic} on {}", connection.brokers);
        let complaints = Complaints::default();
        let failed = |e: &KafkaError| complaints.explain(connection, &what, e);
        let mut config = connection.client("millstream")?;
        prefer(&mut config, CHOICES);
        // Which topic it is must be known before the group hands out its partitions. A client without a group is closed
        // at once, one with a group within a tenth of a second.
        let reached = block_in_place(|| Reached::open(connection, &config, topic, what.clone()))?;
        block_in_place(|| await_partitions(reached.consumer.client(), topic))?;
        let topic_id = block_in_place(|| topic_id(reached.consumer.client(), topic, ANSWER_TIMEOUT));
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("partition.assignment.strategy", "cooperative-sticky");
        let shared = Arc::new(Shared { topic_id, ..Shared::default() });
        let context = Context {
            topic: topic.to_owned(),
            shared: shared.clone(),
            complaints: complaints.clone(),
            gauges,
        };
        let consumer: BaseConsumer<Context> = config.create_with_context(context).map_err(|e| failed(&e))?;
        consumer.subscribe(&[topic]).map_err(|e| failed(&e))?;
        let consumer = Arc::new(consumer);
        let (sender, batches) = mpsc::channel(BATCHES_WAITING_MAX);
        let (recycler, spent) = sync_channel(BATCHES_WAITING_MAX + 1);
        let poller = Poller {
            topic: topic.to_owned(),
            what: what.clone(),
            connection: connection.clone(),
            complaints: complaints.clone(),
            consumer: consumer.clone(),
            shared: shared.clone(),
            sender,
            spent,
            runtime: Handle::current(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("topic {topic}"))
            .spawn(move || poller.run())
            .map_err(|e| Error::ours(format!("cannot start a thread: {e}")))?;
        Ok(Self {
            topic: topic.to_owned(),
            group: group.to_owned(),
            connection: connection.clone(),
            complaints,
            asked: Instant::now(),
            consumer,
            thread: Some(thread),
            shared,
            batches,
            recycler,
            in_hand: HashMap::new(),
            put_off: Due::default(),
            committed_at: Instant::now(),
            drain_to: None,
            is_missed: false,
        })
    }

    fn failed(&self, what: &str, error: &KafkaError) -> Error {
        self.complaints.explain(&self.connection, what, error)
    }

    /// Whether the group has committed everything up to where the topic ended.
    fn is_drained(&mut self) -> Result<bool> {
        let Some(mut ends) = self.drain_to.take() else { return Ok(false) };
        let what = format!("asking how far topic {} is read", self.topic);
        let behind = block_in_place(|| {
            let committed = ends.committed(&self.consumer).map_err(|e| self.failed(&what, &e))?;
            ends.behind(&self.connection, &committed)
        });
        self.drain_to = Some(ends);
        Ok(behind? == 0)
    }

    /// Asks the broker, where its client complains, and now and then: is it there, and is the topic
    /// still the one that was opened? Whether it has asked.
    fn look(&mut self) -> Result<bool> {
        let complained = self.complaints.take();
        let every = if complained.is_some() { LOOK_AFTER_COMPLAINT } else { LOOK_EVERY };
        if self.asked.elapsed() < every {
            return Ok(false);
        }
        self.asked = Instant::now();
        let what = format!("reading topic {} on {}", self.topic, self.connection.brokers);
        let count = block_in_place(|| self.consumer.fetch_metadata(Some(&self.topic), ANSWER_TIMEOUT));
        count.map_err(|e| {
            if let Some(complained) = complained {
                self.complaints.note(&complained);
            }
            self.failed(&what, &e)
        })?;
        let now = block_in_place(|| topic_id(self.consumer.client(), &self.topic, ANSWER_TIMEOUT));
        let opened = Totals { topic_id: self.shared.topic_id.clone(), ..Totals::default() };
        if opened.is_of_another(now.as_deref()) {
            self.shared.is_another.store(true, Ordering::Relaxed);
        }
        Ok(true)
    }

    /// Commits what is still ours, and waits for the broker's answer.
    fn commit_now(&self, due: &Due) -> Result<Counts> {
        let what = format!("committing offsets of topic {}", self.topic);
        let mut list = TopicPartitionList::new();
        let mut totals = HashMap::new();
        let mut counted = Counts::default();
        for (partition, (epoch, progress)) in &due.0 {
            let assigned = self.shared.assigned.lock().get(partition).cloned();
            let Some(assigned) = assigned.filter(|now| now.epoch == *epoch) else { continue };
            let mut total = assigned.totals;
            total.counts += progress.counts;
            counted += progress.counts;
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(progress.next_offset))
                .map_err(|e| self.failed(&what, &e))?;
            if let Some(mut element) = list.find_partition(&self.topic, *partition) {
                element.set_metadata(total.text());
            }
            totals.insert(*partition, (assigned.epoch, total));
        }
        if list.count() == 0 {
            return Ok(Counts::default());
        }
        let committed = block_in_place(|| self.consumer.commit(&list, CommitMode::Sync));
        // While the group shares its partitions anew this fails: what stays ours is committed then, what
        // does not is for the next member to count.
        committed.map_err(|e| self.failed(&what, &e))?;
        let mut assigned = self.shared.assigned.lock();
        for (partition, (epoch, total)) in totals {
            if let Some(now) = assigned.get_mut(&partition).filter(|now| now.epoch == epoch) {
                now.totals = total;
            }
        }
        Ok(counted)
    }

    /// Whether the topic is still the one that was opened, and may be read.
    fn check_topic(&self) -> Result<()> {
        if let Some(error) = self.shared.refused.lock().take() {
            return Err(self.failed(&format!("asking how far topic {} is read", self.topic), &error));
        }
        if !self.shared.is_another.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(made_anew(&self.topic, &self.group))
    }
}

#[async_trait]
impl Source for TopicSource {
    async fn next(&mut self) -> Result<Option<Records>> {
        let mut waited = false;
        loop {
            self.check_topic()?;
            let wait = match (self.drain_to.is_some(), waited) {
                (true, false) => DRAIN_LINGER,
                (true, true) => DRAIN_POLL,
                (false, _) => IDLE_POLL,
            };
            waited = true;
            match tokio::time::timeout(wait, self.batches.recv()).await {
                // What seemed to be more was an error: no later batch takes the commit along.
                Err(_) if !self.put_off.0.is_empty() => return Ok(Some(Records::default())),
                Err(_) => {
                    let was_missed = std::mem::replace(&mut self.is_missed, true);
                    let has_answered = self.look()?;
                    let is_drained = self.is_drained()?;
                    self.is_missed = was_missed && !has_answered;
                    if was_missed && has_answered && !is_drained {
                        // It is there again, also where there is nothing to read.
                        return Ok(Some(Records::default()));
                    }
                    if is_drained {
                        return Ok(None);
                    }
                }
                Ok(None) => {
                    return Err(Error::ours(format!("topic {}: the reading thread has ended", self.topic)));
                }
                Ok(Some(batch)) => {
                    self.check_topic()?;
                    let batch = batch?;
                    self.in_hand = batch.epochs;
                    return Ok(Some(batch.records));
                }
            }
        }
    }

    fn recycle(&mut self, mut records: Records) {
        // One that a large message has made large is let go, and so is one more than the thread needs.
        if !records.is_empty() && records.size_bytes() <= 2 * BATCH_BYTES_MAX {
            records.clear();
            let _ = self.recycler.try_send(records);
        }
    }

    fn next_commit(&self) -> Commit {
        let is_soon = !self.batches.is_empty() && self.committed_at.elapsed() < COMMIT_EVERY;
        if is_soon { Commit::Later } else { Commit::Now }
    }

    async fn commit(&mut self, checkpoint: &Checkpoint, when: Commit) -> Result<Counts> {
        let due = self.put_off.with(checkpoint, &self.in_hand);
        if when == Commit::Later {
            self.put_off = due;
            return Ok(Counts::default());
        }
        let counted = self.commit_now(&due)?;
        self.put_off = Due::default();
        self.committed_at = Instant::now();
        Ok(counted)
    }

    async fn drain(&mut self) -> Result<()> {
        // Over a connection of its own: on the other one the answer waits behind a fetch that finds nothing.
        let ends = block_in_place(|| {
            let mut config = self.connection.client("millstream-look")?;
            config.set("isolation.level", "read_committed");
            prefer(&mut config, CHOICES);
            let what = format!("asking where topic {} ends", self.topic);
            let reached = Reached::open(&self.connection, &config, &self.topic, what.clone())?;
            let partitions = await_partitions(reached.consumer.client(), &self.topic)?;
            let committed =
                committed(&self.consumer, &self.topic, partitions).map_err(|e| self.failed(&what, &e))?;
            Ends::of(&self.connection, &reached, &self.topic, &self.group, &committed)
        })?;
        self.drain_to = Some(ends);
        Ok(())
    }
}

impl Drop for TopicSource {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.batches.close();
        // Dropped last, the consumer leaves the group and waits for it: a member that only vanishes
        // keeps the next one waiting until its session ends. A thread that panicked has no more of it.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;
    use crate::kafka::Awaited;
    use crate::kafka::admin::LOOK_AGAIN_AFTER;
    use crate::kafka::poller::BEFORE_PAUSE;

    fn step(partition: i32, next_offset: i64, read: u64) -> Checkpoint {
        let progress = Progress { next_offset, counts: Counts { read, ..Counts::default() } };
        Checkpoint { partitions: BTreeMap::from([(partition, progress)]) }
    }

    #[test]
    fn what_is_put_off_is_committed_once_and_only_by_who_read_it() {
        let mut due = Due::default().with(&step(0, 10, 10), &HashMap::from([(0, 1), (1, 1)]));
        due = due.with(&step(1, 3, 3), &HashMap::from([(0, 1), (1, 1)]));
        due = due.with(&step(0, 15, 5), &HashMap::from([(0, 1), (1, 1)]));
        let read =
            |due: &Due, partition| due.0.get(&partition).map(|(e, p)| (*e, p.next_offset, p.counts.read));
        assert_eq!((read(&due, 0), read(&due, 1)), (Some((1, 15, 15)), Some((1, 3, 3))));
        // Partition 0 has come back, from where it was committed last.
        due = due.with(&step(0, 12, 12), &HashMap::from([(0, 2), (1, 1)]));
        assert_eq!((read(&due, 0), read(&due, 1)), (Some((2, 12, 12)), Some((1, 3, 3))));
        // One that is not ours any more is nobody's business here.
        assert_eq!(due.with(&step(2, 9, 9), &HashMap::from([(0, 2)])), due);
    }

    /// A broker that answers what it is told to.
    fn broker(partitions: i32) -> (MockCluster<'static, DefaultProducerContext>, Connection) {
        let cluster = MockCluster::new(1).expect("a broker");
        cluster.create_topic("t", partitions, 1).expect("a topic");
        let connection = Connection::to(cluster.bootstrap_servers());
        (cluster, connection)
    }

    /// Sends a message for each value, to the partitions in turn.
    async fn send(connection: &Connection, partitions: i32, values: std::ops::Range<u8>) {
        let producer: FutureProducer =
            connection.client("test").expect("settings").create().expect("a producer");
        for value in values {
            let partition = i32::from(value) % partitions;
            let record =
                FutureRecord::<(), _>::to("t").partition(partition).payload(std::slice::from_ref(&value));
            producer.send(record, Duration::from_secs(20)).await.expect("is sent");
        }
    }

    fn open(connection: &Connection) -> TopicSource {
        TopicSource::open(connection, "t", "g", Arc::default()).expect("opens")
    }

    /// The offsets of the next records.
    async fn offsets(source: &mut TopicSource) -> Vec<i64> {
        let records = source.next().await.expect("reads").expect("there are more");
        records.iter().map(|record| record.offset).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_that_does_not_say_what_is_committed_is_asked_again() {
        let (cluster, connection) = broker(1);
        send(&connection, 1, 0..3).await;
        let mut source = open(&connection);
        let mut read = Vec::new();
        while read.len() < 3 {
            read.extend(offsets(&mut source).await);
        }
        assert_eq!(read, [0, 1, 2]);
        let counted = source.commit(&step(0, 3, 3), Commit::Now).await.expect("commits");
        assert_eq!(counted.read, 3);
        drop(source);
        send(&connection, 1, 3..4).await;
        let refused = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_REQUEST; 2];
        cluster.request_errors(RDKafkaApiKey::OffsetFetch, &refused);
        assert_eq!(offsets(&mut open(&connection)).await, [3]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_topic_that_not_every_broker_knows_yet_is_waited_for() {
        let cluster = MockCluster::new(2).expect("two brokers");
        let connection = Connection::to(cluster.bootstrap_servers());
        let opening = tokio::task::spawn_blocking({
            let (connection, runtime) = (connection.clone(), Handle::current());
            move || {
                runtime.block_on(async { TopicSource::open(&connection, "t", "g", Arc::default()).map(drop) })
            }
        });
        tokio::time::sleep(LOOK_AGAIN_AFTER * 3).await;
        cluster.create_topic("t", 1, 1).expect("a topic");
        opening.await.expect("ends").expect("opens");
        // Of one broker it is known at once that there is none.
        let cluster = MockCluster::new(1).expect("a broker");
        let connection = Connection::to(cluster.bootstrap_servers());
        let missing =
            TopicSource::open(&connection, "t", "g", Arc::default()).err().expect("there is no topic");
        assert!(missing.message.contains("there is no topic t"), "{missing}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_topic_that_ends_before_what_is_committed_is_not_drained_but_an_error() {
        let (_cluster, connection) = broker(1);
        send(&connection, 1, 0..3).await;
        let mut source = open(&connection);
        let mut read = 0;
        while read < 3 {
            read += offsets(&mut source).await.len();
        }
        source.commit(&step(0, 3, 3), Commit::Now).await.expect("commits");
        source.drain().await.expect("has read everything");
        // As it is where the broker has lost what it had acknowledged.
        source.commit(&step(0, 10, 0), Commit::Now).await.expect("commits");
        drop(source);
        let drained = open(&connection).drain().await;
        let awaited = block_in_place(|| Awaited::open(&connection, "t", "g").map(drop));
        for refused in [drained, awaited] {
            let refused = refused.expect_err("messages are lost");
            assert!(!refused.is_passing() && refused.message.contains("offset 10 "), "{refused}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_group_that_we_may_not_ask_for_is_an_error() {
        let (cluster, connection) = broker(1);
        let refused = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED];
        cluster.request_errors(RDKafkaApiKey::OffsetFetch, &refused);
        let error = open(&connection).next().await.expect_err("it is refused");
        assert!(!error.is_passing() && error.message.contains("does not allow"), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_given_away_while_it_is_paused_is_read_when_it_comes_back() {
        let (_cluster, connection) = broker(2);
        send(&connection, 2, 0..40).await;
        let mut first = open(&connection);
        let has = |source: &TopicSource, count: usize| source.shared.assigned.lock().len() == count;
        let wait = Duration::from_millis(50);
        while !has(&first, 2) {
            tokio::time::sleep(wait).await;
        }
        // Nobody takes what it has read, until it pauses.
        tokio::time::sleep(BEFORE_PAUSE + Duration::from_secs(1)).await;
        let second = open(&connection);
        while !has(&second, 1) || !has(&first, 1) {
            tokio::time::sleep(wait).await;
        }
        offsets(&mut first).await;
        drop(second);
        while !has(&first, 2) {
            tokio::time::sleep(wait).await;
        }
        send(&connection, 2, 40..60).await;
        let mut missing: std::collections::BTreeSet<u8> = (40..60).collect();
        while !missing.is_empty() {
            let read = tokio::time::timeout(Duration::from_secs(60), first.next()).await;
            let read = read.unwrap_or_else(|_| panic!("{missing:?} do not come"));
            for record in read.expect("reads").expect("there are more").iter() {
                missing.remove(&record.value.expect("a value")[0]);
            }
        }
    }
}
