//! Reads a topic outside any group, for looking at it: from its beginning to where it ends now, or
//! from there on.

use std::time::Duration;

use millstream_core::{Records, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::Connection;
use super::admin::{ANSWER_TIMEOUT, find_partition_count};
use super::errors::explain;
use super::source::{is_transient, push};

/// Records that are shown at once.
const RECORDS_MAX: usize = 1_000;
/// How often somebody who follows is asked whether to go on.
const FOLLOW_POLL: Duration = Duration::from_millis(100);

fn open(connection: &Connection) -> KafkaResult<BaseConsumer> {
    let mut config = connection.client("millstream-look");
    config
        .set("group.id", "millstream-look")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "2");
    config.create()
}

/// Calls `see` with what comes from now on, and with nothing while nothing comes, until it wants
/// no more. False where there is no such topic. Blocks.
pub fn follow(
    connection: &Connection,
    topic: &str,
    mut see: impl FnMut(Records) -> Result<bool>,
) -> Result<bool> {
    let what = format!("reading topic {topic} on {}", connection.brokers);
    let consumer = open(connection).map_err(|e| explain(&what, &e))?;
    let Some(partitions) = find_partition_count(consumer.client(), topic)? else { return Ok(false) };
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        let (_, end) =
            consumer.fetch_watermarks(topic, partition, ANSWER_TIMEOUT).map_err(|e| explain(&what, &e))?;
        list.add_partition_offset(topic, partition, Offset::Offset(end)).map_err(|e| explain(&what, &e))?;
    }
    consumer.assign(&list).map_err(|e| explain(&what, &e))?;
    let mut records = Records::default();
    loop {
        let wait = if records.is_empty() { FOLLOW_POLL } else { Duration::ZERO };
        match consumer.poll(wait) {
            Some(Ok(message)) => {
                push(&mut records, &message);
                if records.len() < RECORDS_MAX {
                    continue;
                }
            }
            Some(Err(error)) if is_transient(&error) => {}
            Some(Err(error)) => return Err(explain(&what, &error)),
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
    let what = format!("reading topic {topic} on {}", connection.brokers);
    let consumer = open(connection).map_err(|e| explain(&what, &e))?;
    let Some(partitions) = find_partition_count(consumer.client(), topic)? else { return Ok(false) };
    let mut list = TopicPartitionList::new();
    let mut left = 0;
    let mut ends = Vec::new();
    for partition in 0..partitions {
        let (start, end) =
            consumer.fetch_watermarks(topic, partition, ANSWER_TIMEOUT).map_err(|e| explain(&what, &e))?;
        ends.push(end);
        if start < end {
            left += 1;
            list.add_partition_offset(topic, partition, Offset::Beginning).map_err(|e| explain(&what, &e))?;
        }
    }
    consumer.assign(&list).map_err(|e| explain(&what, &e))?;
    let mut records = Records::default();
    while left > 0 {
        match consumer.poll(Duration::from_secs(10)) {
            Some(Ok(message)) => {
                let end = ends[rdkafka::Message::partition(&message) as usize];
                match rdkafka::Message::offset(&message) + 1 {
                    next if next > end => continue,
                    next if next == end => left -= 1,
                    _ => {}
                }
                push(&mut records, &message);
                if records.len() >= RECORDS_MAX && !see(std::mem::take(&mut records))? {
                    return Ok(true);
                }
            }
            Some(Err(error)) => return Err(explain(&what, &error)),
            None => {
                return Err(millstream_core::Error::passing(format!("{what}: the broker does not answer")));
            }
        }
    }
    if !records.is_empty() {
        see(records)?;
    }
    Ok(true)
}
