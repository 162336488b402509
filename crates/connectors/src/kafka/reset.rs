//! Puts a group somewhere else in a topic. Its totals stay: what is read again counts again.

use millstream_core::{Error, Result};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};

use super::Connection;
use super::admin::{ANSWER_TIMEOUT, partition_count};
use super::connection::Complaints;
use super::topic_id::topic_id;
use super::totals::Totals;

/// Where in a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// At the first message that is there.
    Earliest,
    /// Behind the last one.
    Latest,
    /// At the first message of this moment or later, in milliseconds since 1970.
    Time(i64),
    /// At this offset, in every partition as far as it has it.
    Offset(i64),
}

/// Puts `group` to a position in `topic` and says where that is in each partition. The group must
/// have no member. Blocks.
pub fn reset(connection: &Connection, topic: &str, group: &str, to: Position) -> Result<Vec<(i32, i64)>> {
    let what = format!("resetting group {group} on {}", connection.brokers);
    let complaints = Complaints::default();
    let failed = |error: &KafkaError| match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::UnknownMemberId | RDKafkaErrorCode::IllegalGeneration) => {
            Error::user(format!("{what}: somebody is reading with it")).help("stop that flow first")
        }
        _ => complaints.explain(connection, &what, error),
    };
    let mut config = connection.client("millstream-reset")?;
    config.set("group.id", group).set("enable.auto.commit", "false");
    let consumer: BaseConsumer<Complaints> =
        config.create_with_context(complaints.clone()).map_err(|e| failed(&e))?;
    let mut places = TopicPartitionList::new();
    for partition in 0..partition_count(consumer.client(), topic)? {
        places.add_partition(topic, partition);
    }
    let committed = consumer.committed_offsets(places.clone(), ANSWER_TIMEOUT).map_err(|e| failed(&e))?;
    committed.elements().iter().try_for_each(TopicPartitionListElem::error).map_err(|e| failed(&e))?;
    let by_time = match to {
        Position::Time(ms) => {
            let mut asked = places;
            asked.set_all_offsets(Offset::Offset(ms)).map_err(|e| failed(&e))?;
            Some(consumer.offsets_for_times(asked, ANSWER_TIMEOUT).map_err(|e| failed(&e))?)
        }
        _ => None,
    };
    let topic_id = topic_id(consumer.client(), topic, ANSWER_TIMEOUT);
    let mut placed = Vec::new();
    let partitions: Vec<i32> = committed.elements().iter().map(|element| element.partition()).collect();
    for partition in partitions {
        let (start, end) =
            consumer.fetch_watermarks(topic, partition, ANSWER_TIMEOUT).map_err(|e| failed(&e))?;
        let found = by_time.as_ref().and_then(|found| found.find_partition(topic, partition));
        let next = match (to, found.map(|found| found.offset())) {
            (Position::Earliest, _) => start,
            (Position::Offset(offset), _) => offset.clamp(start, end),
            (Position::Time(_), Some(Offset::Offset(offset))) => offset,
            // Nothing is as late as that.
            (Position::Latest | Position::Time(_), _) => end,
        };
        if let Some(mut element) = committed.find_partition(topic, partition) {
            element.set_offset(Offset::Offset(next)).map_err(|e| failed(&e))?;
            // Whichever topic it was before, from now on it is this one.
            let totals = Totals::read(element.metadata());
            let topic_id = topic_id.clone().or(totals.topic_id);
            element.set_metadata(Totals { topic_id, ..totals }.text());
        }
        placed.push((partition, next));
    }
    consumer.commit(&committed, CommitMode::Sync).map_err(|e| failed(&e))?;
    Ok(placed)
}
