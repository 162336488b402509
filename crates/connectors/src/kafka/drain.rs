//! How far a group is from where a topic ended at one moment: asked by the flow that drains the topic,
//! and by whoever waits until others have drained it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use millstream_core::{Counts, Error, Result};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};

use super::Connection;
use super::admin::{ANSWER_TIMEOUT, partition_count};
use super::connection::Reached;
use super::tail::is_empty;
use super::topic_id::topic_id;
use super::totals::Totals;

/// So few offsets before a topic's end are looked at at once, whether they are messages; …
const MARKS_MAX: i64 = 1_000;
/// … more of them where nothing has been committed for so long.
const STANDSTILL: Duration = Duration::from_secs(2);

/// Where each partition of a topic ended when it was asked, as far as transactions were decided.
pub(super) struct Ends {
    topic: String,
    /// Where it begins, and where it ends.
    by_partition: BTreeMap<i32, (i64, i64)>,
    /// Partitions in which nothing but what transactions leave behind is before the end.
    marks_only: BTreeSet<i32>,
    /// What was committed in a partition when it was looked at, and since when it has been that.
    standing: BTreeMap<i32, (i64, Instant)>,
}

impl Ends {
    /// Asks the broker. Blocks.
    pub(super) fn of<C: ConsumerContext>(
        consumer: &BaseConsumer<C>,
        topic: &str,
        partitions: i32,
    ) -> KafkaResult<Self> {
        let mut by_partition = BTreeMap::new();
        for partition in 0..partitions {
            by_partition.insert(partition, consumer.fetch_watermarks(topic, partition, ANSWER_TIMEOUT)?);
        }
        let topic = topic.to_owned();
        Ok(Self { topic, by_partition, marks_only: BTreeSet::new(), standing: BTreeMap::new() })
    }

    /// What the consumer's group has committed in these partitions. Blocks.
    pub(super) fn committed<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
    ) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for partition in self.by_partition.keys() {
            list.add_partition(&self.topic, *partition);
        }
        let committed = consumer.committed_offsets(list, ANSWER_TIMEOUT)?;
        committed.elements().iter().try_for_each(TopicPartitionListElem::error)?;
        Ok(committed)
    }

    /// How many offsets lie between what is committed and the ends; 0 where all messages are. Blocks.
    pub(super) fn behind(&mut self, connection: &Connection, committed: &TopicPartitionList) -> Result<i64> {
        let mut behind = 0;
        for element in committed.elements() {
            let partition = element.partition();
            let (start, end) = self.by_partition.get(&partition).copied().unwrap_or_default();
            // Nothing to read is nothing to commit.
            let next = match element.offset() {
                Offset::Offset(next) => next.max(start),
                _ => start,
            };
            if next >= end || self.marks_only.contains(&partition) {
                continue;
            }
            // A transaction leaves marks behind that are no messages, so that nobody commits them; one that was aborted
            // leaves all of it.
            let is_due = end - next <= MARKS_MAX || self.stands_still(partition, next);
            if is_due && is_empty(connection, &self.topic, partition, next, end)? {
                self.marks_only.insert(partition);
                continue;
            }
            behind += end - next;
        }
        Ok(behind)
    }

    /// Whether nothing more of a partition has been committed for a while.
    fn stands_still(&mut self, partition: i32, next: i64) -> bool {
        let (before, since) = self.standing.entry(partition).or_insert((next, Instant::now()));
        let is_over = *before == next && since.elapsed() >= STANDSTILL;
        if *before != next || is_over {
            (*before, *since) = (next, Instant::now());
        }
        is_over
    }
}

/// A group that somebody waits for until it has drained what a topic held when it was opened. Only
/// looks: it is no member of the group.
pub struct Awaited<'a> {
    connection: &'a Connection,
    topic: &'a str,
    group: &'a str,
    reached: Reached<'a>,
    topic_id: Option<String>,
    ends: Ends,
}

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Offsets that it has still to commit.
    pub behind: i64,
    /// How many read as this group.
    pub members: usize,
    /// What became of all records that it has ever committed.
    pub counts: Counts,
}

impl<'a> Awaited<'a> {
    /// Asks where the topic ends now. Blocks.
    pub fn open(connection: &'a Connection, topic: &'a str, group: &'a str) -> Result<Self> {
        let mut config = connection.client("millstream-wait")?;
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed");
        let what = format!("asking for group {group} on {}", connection.brokers);
        let reached = Reached::open(connection, &config, topic, what)?;
        let partitions = partition_count(reached.consumer.client(), topic)?;
        let ends = Ends::of(&reached.consumer, topic, partitions).map_err(|e| reached.failed(&e))?;
        let topic_id = topic_id(reached.consumer.client(), topic, ANSWER_TIMEOUT);
        Ok(Self { connection, topic, group, reached, topic_id, ends })
    }

    /// Where the group stands now. Blocks.
    pub fn look(&mut self) -> Result<Standing> {
        let consumer = &self.reached.consumer;
        let committed = self.ends.committed(consumer).map_err(|e| self.reached.failed(&e))?;
        let mut counts = Counts::default();
        for element in committed.elements() {
            let totals = Totals::read(element.metadata());
            if totals.is_of_another(self.topic_id.as_deref()) {
                let what = format!("topic {} was made anew since group {} read it", self.topic, self.group);
                return Err(Error::lasting(what)
                    .help("`reset FILE --flow FLOW --to earliest` lets the flow read the new one"));
            }
            counts += totals.counts;
        }
        let groups = consumer.fetch_group_list(Some(self.group), ANSWER_TIMEOUT);
        let groups = groups.map_err(|e| self.reached.failed(&e))?;
        let members = groups.groups().iter().map(|group| group.members().len()).sum();
        Ok(Standing { behind: self.ends.behind(self.connection, &committed)?, members, counts })
    }
}
