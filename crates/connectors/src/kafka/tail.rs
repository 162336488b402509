//! Reads a topic outside any group, for looking at it: from its beginning to where it ends now, or
//! from there on.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use millstream_core::{Error, Records, Result};
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::Connection;
use super::admin::{ANSWER_TIMEOUT, find_partition_count};
use super::client::prefer;
use super::connection::{Complaints, Reached};
use super::poller::{self, push};

/// Records that are shown at once.
const RECORDS_MAX: usize = 1_000;
/// What they may take in memory; one message more may be there.
const BYTES_MAX: usize = 4 << 20;
/// What is read at most of the messages at a topic's ends.
const ENDS_BYTES_MAX: usize = 64 << 20;
/// How often somebody who follows is asked whether to go on.
const FOLLOW_POLL: Duration = Duration::from_millis(100);

/// A topic that is looked at.
struct Look<'a> {
    topic: &'a str,
    reached: Reached<'a>,
}

impl<'a> Look<'a> {
    fn open(connection: &'a Connection, topic: &'a str) -> Result<Self> {
        let mut config = connection.client("millstream-look")?;
        config
            .set("group.id", "millstream-look")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed");
        prefer(&mut config, &[("fetch.queue.backoff.ms", "2")]);
        let what = format!("reading topic {topic} on {}", connection.brokers);
        Ok(Self { topic, reached: Reached::open(connection, &config, topic, what)? })
    }

    fn consumer(&self) -> &BaseConsumer<Complaints> {
        &self.reached.consumer
    }

    fn failed(&self, error: &KafkaError) -> Error {
        self.reached.failed(error)
    }

    /// Something must be there, and nothing comes.
    fn timed_out(&self) -> Error {
        self.failed(&KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut))
    }

    /// Where each partition begins and ends, as far as transactions have been decided; `None` where
    /// there is no such topic.
    fn ranges(&self) -> Result<Option<Vec<(i64, i64)>>> {
        let partitions = find_partition_count(self.consumer().client(), self.topic)?.unwrap_or(0);
        let range = |partition| self.consumer().fetch_watermarks(self.topic, partition, ANSWER_TIMEOUT);
        let ranges: KafkaResult<Vec<_>> = (0..partitions).map(range).collect();
        let ranges = ranges.map_err(|e| self.failed(&e))?;
        Ok((!ranges.is_empty()).then_some(ranges))
    }

    fn assign(&self, places: impl Iterator<Item = (i32, i64)>) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in places {
            let added = list.add_partition_offset(self.topic, partition, Offset::Offset(offset));
            added.map_err(|e| self.failed(&e))?;
        }
        self.consumer().assign(&list).map_err(|e| self.failed(&e))
    }

    /// Adds what a partition has in a range of offsets, as long as it is not too much.
    fn read(&self, partition: i32, range: Range<i64>, found: &mut Records) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        self.assign(std::iter::once((partition, range.start)))?;
        loop {
            match self.consumer().poll(ANSWER_TIMEOUT) {
                Some(Ok(message)) if range.contains(&message.offset()) => {
                    push(found, &message);
                    if message.offset() + 1 == range.end || found.size_bytes() >= ENDS_BYTES_MAX {
                        return Ok(());
                    }
                }
                Some(Err(error)) if is_passed_over(&error) => {}
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) | None => return Ok(()),
                Some(Err(error)) => return Err(self.failed(&error)),
            }
        }
    }

    /// Calls `see` with each run of what a partition has in a range of offsets.
    fn read_range(&self, partition: i32, range: Range<i64>, see: &mut impl FnMut(Records)) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        self.assign(std::iter::once((partition, range.start)))?;
        let mut records = Records::default();
        loop {
            match self.consumer().poll(ANSWER_TIMEOUT) {
                Some(Ok(message)) => {
                    if range.contains(&message.offset()) {
                        push(&mut records, &message);
                    }
                    if message.offset() + 1 >= range.end {
                        break;
                    }
                    if is_full(&records) {
                        see(std::mem::take(&mut records));
                    }
                }
                // What is left of it are a transaction's marks.
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) if is_passed_over(&error) => {}
                Some(Err(error)) => return Err(self.failed(&error)),
                None => return Err(self.timed_out()),
            }
        }
        see(records);
        Ok(())
    }
}

/// Whether reading goes on. Every consumer asks who coordinates its group, and is told if it may not read as that; but
/// who says itself where to read needs no coordinator.
fn is_passed_over(error: &KafkaError) -> bool {
    poller::is_transient(error)
        || error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed)
}

/// Whether so much was read that it is shown before there is more.
fn is_full(records: &Records) -> bool {
    records.len() >= RECORDS_MAX || records.size_bytes() >= BYTES_MAX
}

/// Calls `see` with what comes from now on, and with nothing while nothing comes, until it wants
/// no more. False where there is no such topic. Blocks.
pub fn follow(
    connection: &Connection,
    topic: &str,
    mut see: impl FnMut(Records) -> Result<bool>,
) -> Result<bool> {
    let look = Look::open(connection, topic)?;
    let Some(ranges) = look.ranges()? else { return Ok(false) };
    look.assign((0..).zip(ranges.iter().map(|(_, end)| *end)))?;
    let mut records = Records::default();
    loop {
        let wait = if records.is_empty() { FOLLOW_POLL } else { Duration::ZERO };
        match look.consumer().poll(wait) {
            Some(Ok(message)) => {
                push(&mut records, &message);
                if !is_full(&records) {
                    continue;
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) if is_passed_over(&error) => {}
            Some(Err(error)) => return Err(look.failed(&error)),
            None => {}
        }
        if !see(std::mem::take(&mut records))? {
            return Ok(true);
        }
    }
}

/// Calls `see` with each run of records; `see` says whether it wants more. False where there is
/// no such topic. Blocks.
pub fn read_all(
    connection: &Connection,
    topic: &str,
    mut see: impl FnMut(Records) -> Result<bool>,
) -> Result<bool> {
    let look = Look::open(connection, topic)?;
    let Some(ranges) = look.ranges()? else { return Ok(false) };
    let mut left: BTreeSet<i32> = (0..).zip(&ranges).filter(|(_, (s, e))| s < e).map(|(p, _)| p).collect();
    look.assign(left.iter().map(|partition| (*partition, ranges[*partition as usize].0)))?;
    let mut records = Records::default();
    while !left.is_empty() {
        match look.consumer().poll(ANSWER_TIMEOUT) {
            Some(Ok(message)) => {
                let (_, end) = ranges[message.partition() as usize];
                match message.offset() + 1 {
                    next if next > end => {
                        // It has grown since; behind what was decided when we began.
                        left.remove(&message.partition());
                        continue;
                    }
                    next if next == end => drop(left.remove(&message.partition())),
                    _ => {}
                }
                push(&mut records, &message);
                if is_full(&records) && !see(std::mem::take(&mut records))? {
                    return Ok(true);
                }
            }
            // What is left of it are a transaction's marks.
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(left.remove(&partition)),
            Some(Err(error)) if is_passed_over(&error) => {}
            Some(Err(error)) => return Err(look.failed(&error)),
            None => return Err(look.timed_out()),
        }
    }
    if !records.is_empty() {
        see(records)?;
    }
    Ok(true)
}

/// Calls `see` with each run of the records in `wanted`, ranges of offsets with their partitions, as far as they are
/// there. Blocks.
pub fn read_ranges(
    connection: &Connection,
    topic: &str,
    wanted: &[(i32, Range<i64>)],
    mut see: impl FnMut(Records),
) -> Result<()> {
    let look = Look::open(connection, topic)?;
    let ranges = look.ranges()?.unwrap_or_default();
    for (partition, range) in wanted {
        if let Some((start, end)) = ranges.get(*partition as usize) {
            look.read_range(*partition, range.start.max(*start)..range.end.min(*end), &mut see)?;
        }
    }
    Ok(())
}

/// The first and the last messages of each partition, up to `count` of each; none where there is no
/// such topic. Blocks.
pub(super) fn read_some(connection: &Connection, topic: &str, count: i64) -> Result<Records> {
    let look = Look::open(connection, topic)?;
    let mut found = Records::default();
    for (partition, (start, end)) in (0..).zip(look.ranges()?.unwrap_or_default()) {
        let newest = (start + count).max(end - count);
        look.read(partition, start..end.min(start + count), &mut found)?;
        look.read(partition, newest..end, &mut found)?;
    }
    Ok(found)
}

/// The last messages of each partition, up to `count` of each; none where there is no such topic. Blocks.
pub fn newest(connection: &Connection, topic: &str, count: i64) -> Result<Records> {
    let look = Look::open(connection, topic)?;
    let mut found = Records::default();
    for (partition, (start, end)) in (0..).zip(look.ranges()?.unwrap_or_default()) {
        look.read(partition, start.max(end - count)..end, &mut found)?;
    }
    Ok(found)
}

/// Whether there is no message from `start` to `end`, but only what transactions leave behind. Blocks.
pub(super) fn is_empty(
    connection: &Connection,
    topic: &str,
    partition: i32,
    start: i64,
    end: i64,
) -> Result<bool> {
    let look = Look::open(connection, topic)?;
    look.assign(std::iter::once((partition, start)))?;
    loop {
        match look.consumer().poll(ANSWER_TIMEOUT) {
            Some(Ok(message)) => return Ok(message.offset() >= end),
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(true),
            // What was there has expired: whoever reads the partition is told.
            Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => {
                return Ok(false);
            }
            Some(Err(error)) if is_passed_over(&error) => {}
            Some(Err(error)) => return Err(look.failed(&error)),
            None => return Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{FutureProducer, FutureRecord};
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    use tokio::task::block_in_place;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn who_may_not_read_as_a_group_may_look() {
        let cluster = MockCluster::new(1).expect("a broker");
        cluster.create_topic("t", 1, 1).expect("a topic");
        let connection = Connection::to(cluster.bootstrap_servers());
        let producer: FutureProducer =
            connection.client("test").expect("settings").create().expect("a producer");
        let record = FutureRecord::<(), _>::to("t").payload("a");
        producer.send(record, Duration::from_secs(20)).await.expect("is sent");
        let refused = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; 100];
        cluster.request_errors(RDKafkaApiKey::FindCoordinator, &refused);
        let mut read = 0;
        let there = block_in_place(|| {
            read_all(&connection, "t", |records| {
                read += records.len();
                Ok(true)
            })
        });
        assert!(there.expect("reads"));
        assert_eq!(read, 1);
        // Long enough for the coordinator to be asked for.
        let mut looks = 0;
        let followed = block_in_place(|| {
            follow(&connection, "t", |_| {
                looks += 1;
                Ok(looks < 20)
            })
        });
        assert!(followed.expect("follows"));
    }
}
