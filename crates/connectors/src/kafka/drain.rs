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
use super::totals::{Totals, made_anew};

/// So few offsets before a topic's end are looked at at once, whether they are messages; …
const MARKS_MAX: i64 = 1_000;
/// … more of them where nothing has been committed for so long.
const STANDSTILL: Duration = Duration::from_secs(2);

/// Where each partition of a topic ended when it was asked, as far as transactions were decided.
pub(super) struct Ends {
    topic: String,
    group: String,
    /// Which of several topics that had the name it is, where the broker says it.
    topic_id: Option<String>,
    /// Where it begins, and where it ends.
    by_partition: BTreeMap<i32, (i64, i64)>,
    /// Partitions in which nothing but what transactions leave behind is before the end.
    marks_only: BTreeSet<i32>,
    /// What was committed in a partition when it was looked at, and since when it has been that.
    standing: BTreeMap<i32, (i64, Instant)>,
}

impl Ends {
    /// Asks the broker, after it was asked what `group` has `committed`. Where that is of another topic of the name, or
    /// behind the end because the broker has lost messages, what is there would seem to be read: an error. Blocks.
    pub(super) fn of(
        connection: &Connection,
        reached: &Reached<'_>,
        topic: &str,
        group: &str,
        committed: &TopicPartitionList,
    ) -> Result<Self> {
        let consumer = &reached.consumer;
        let topic_id = topic_id(consumer.client(), topic, ANSWER_TIMEOUT);
        let mut by_partition = BTreeMap::new();
        for element in committed.elements() {
            let range = consumer.fetch_watermarks(topic, element.partition(), ANSWER_TIMEOUT);
            by_partition.insert(element.partition(), range.map_err(|e| reached.failed(&e))?);
        }
        for element in committed.elements() {
            if Totals::read(element.metadata()).is_of_another(topic_id.as_deref()) {
                return Err(made_anew(topic, group));
            }
            let (partition, Offset::Offset(next)) = (element.partition(), element.offset()) else { continue };
            let (_, end) = by_partition.get(&partition).copied().unwrap_or_default();
            if next > end && next > undecided_end(connection, topic, partition)? {
                return Err(Error::lasting(format!(
                    "group {group} has committed offset {next} of topic {topic}, partition {partition}, which ends at {end}"
                ))
                .help("the broker has lost messages that it had acknowledged; `reset FILE --flow FLOW --to earliest` reads what is there"));
            }
        }
        let (topic, group) = (topic.to_owned(), group.to_owned());
        let (marks_only, standing) = (BTreeSet::new(), BTreeMap::new());
        Ok(Self { topic, group, topic_id, by_partition, marks_only, standing })
    }

    /// What the consumer's group has committed in these partitions. Blocks.
    pub(super) fn committed<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
    ) -> KafkaResult<TopicPartitionList> {
        committed(consumer, &self.topic, self.by_partition.len() as i32)
    }

    /// How many offsets lie between what is committed and the ends; 0 where all messages are. An error where what is
    /// left was deleted before it was committed, and nobody commits it any more. Blocks.
    pub(super) fn behind(&mut self, connection: &Connection, committed: &TopicPartitionList) -> Result<i64> {
        let mut behind = 0;
        for element in committed.elements() {
            let partition = element.partition();
            let (start, end) = self.by_partition.get(&partition).copied().unwrap_or_default();
            // Nothing to read is nothing to commit.
            let next = match element.offset() {
                Offset::Offset(next) => next,
                _ => start,
            };
            let there = next.max(start);
            if !self.has_none(connection, partition, there, end)? {
                behind += end - there;
            } else if next < start {
                // Whoever has read it may still hold it.
                if self.stands_still(partition, next) {
                    return Err(self.deleted(partition, next, start));
                }
                behind += start - next;
            }
        }
        Ok(behind)
    }

    /// Whether there is no message in a partition from `next` to `end`, as far as that has been looked at. Blocks.
    fn has_none(&mut self, connection: &Connection, partition: i32, next: i64, end: i64) -> Result<bool> {
        if next >= end || self.marks_only.contains(&partition) {
            return Ok(true);
        }
        // A transaction leaves marks behind that are no messages, so that nobody commits them; one that was aborted
        // leaves all of it.
        let is_due = end - next <= MARKS_MAX || self.stands_still(partition, next);
        let has_none = is_due && is_empty(connection, &self.topic, partition, next, end)?;
        if has_none {
            self.marks_only.insert(partition);
        }
        Ok(has_none)
    }

    /// What the group has committed lies before the beginning of a partition that has nothing more.
    fn deleted(&self, partition: i32, next: i64, start: i64) -> Error {
        let Self { topic, group, .. } = self;
        Error::lasting(format!(
            "group {group} has committed offset {next} of topic {topic}, partition {partition}, which begins at {start}"
        ))
        .help("messages have expired unread; `reset FILE --flow FLOW --to earliest` reads what is there")
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

/// What the consumer's group has committed in each partition. Blocks.
pub(super) fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partitions: i32,
) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, partitions - 1);
    let committed = consumer.committed_offsets(list, ANSWER_TIMEOUT)?;
    committed.elements().iter().try_for_each(TopicPartitionListElem::error)?;
    Ok(committed)
}

/// Where a partition ends with the messages of transactions that are not decided yet: a group that was put to the end
/// by other means than ours stands behind those. Blocks.
fn undecided_end(connection: &Connection, topic: &str, partition: i32) -> Result<i64> {
    let mut config = connection.client("millstream-look")?;
    config.set("isolation.level", "read_uncommitted");
    let reached = Reached::open(connection, &config, topic, format!("asking where topic {topic} ends"))?;
    let range = reached.consumer.fetch_watermarks(topic, partition, ANSWER_TIMEOUT);
    range.map(|(_, end)| end).map_err(|e| reached.failed(&e))
}

/// A group that somebody waits for until it has drained what a topic held when it was opened. Only
/// looks: it is no member of the group.
pub struct Awaited<'a> {
    connection: &'a Connection,
    topic: &'a str,
    group: &'a str,
    reached: Reached<'a>,
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
        let committed = committed(&reached.consumer, topic, partitions).map_err(|e| reached.failed(&e))?;
        let ends = Ends::of(connection, &reached, topic, group, &committed)?;
        Ok(Self { connection, topic, group, reached, ends })
    }

    /// Where the group stands now. Blocks.
    pub fn look(&mut self) -> Result<Standing> {
        let consumer = &self.reached.consumer;
        let committed = self.ends.committed(consumer).map_err(|e| self.reached.failed(&e))?;
        let mut counts = Counts::default();
        for element in committed.elements() {
            let totals = Totals::read(element.metadata());
            if totals.is_of_another(self.ends.topic_id.as_deref()) {
                return Err(made_anew(self.topic, self.group));
            }
            counts += totals.counts;
        }
        let groups = consumer.fetch_group_list(Some(self.group), ANSWER_TIMEOUT);
        let groups = groups.map_err(|e| self.reached.failed(&e))?;
        let members = groups.groups().iter().map(|group| group.members().len()).sum();
        Ok(Standing { behind: self.ends.behind(self.connection, &committed)?, members, counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_deleted_before_it_was_committed_is_not_drained() {
        let connection = Connection::to("127.0.0.1:1");
        let mut ends = Ends {
            topic: "t".to_owned(),
            group: "g".to_owned(),
            topic_id: None,
            by_partition: BTreeMap::from([(0, (10, 10))]),
            marks_only: BTreeSet::new(),
            standing: BTreeMap::new(),
        };
        let committed = |offset| {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset("t", 0, offset).expect("an offset");
            list
        };
        for offset in [Offset::Invalid, Offset::Offset(10)] {
            let behind = ends.behind(&connection, &committed(offset)).expect("nothing is asked");
            assert_eq!(behind, 0, "{offset:?}");
        }
        let unread = committed(Offset::Offset(7));
        assert_eq!(ends.behind(&connection, &unread).expect("nothing is asked"), 3);
        let long_ago = Instant::now().checked_sub(STANDSTILL).expect("a moment");
        ends.standing.insert(0, (7, long_ago));
        let lost = ends.behind(&connection, &unread).expect_err("nobody commits it");
        assert!(!lost.is_passing() && lost.message.contains("offset 7 "), "{lost}");
    }
}
