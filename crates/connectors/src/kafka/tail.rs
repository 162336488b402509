//! Reads a topic from its beginning to where it ends now, outside any group: for looking at it.

use std::time::Duration;

use millstream_core::{Records, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::Connection;
use super::admin::{ANSWER_TIMEOUT, find_partition_count};
use super::errors::explain;
use super::source::push;

/// Calls `see` with each run of records; `see` says whether it wants more. False where there is
/// no such topic. Blocks.
pub fn read_all(
    connection: &Connection,
    topic: &str,
    mut see: impl FnMut(Records) -> Result<bool>,
) -> Result<bool> {
    const RECORDS_MAX: usize = 1_000;
    let what = format!("reading topic {topic} on {}", connection.brokers);
    let mut config = connection.client("millstream-look");
    config
        .set("group.id", "millstream-look")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "2");
    let consumer: BaseConsumer = config.create().map_err(|e| explain(&what, &e))?;
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
