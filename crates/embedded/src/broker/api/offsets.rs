//! Where things are: ListOffsets, OffsetCommit, OffsetFetch, OffsetDelete.

use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest,
    OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
};
use tokio::task::block_in_place;

use super::{code, text};
use crate::broker::State;
use crate::broker::group::Caller;
use crate::broker::offsets::{Committed, Place};

/// The largest metadata that Kafka keeps beside an offset.
const METADATA_BYTES_MAX: usize = 4096;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

pub(in crate::broker) fn list_offsets(
    state: &State,
    request: ListOffsetsRequest,
) -> io::Result<ListOffsetsResponse> {
    let mut topics = Vec::new();
    for topic in request.topics {
        let mut partitions = Vec::new();
        for wanted in &topic.partitions {
            partitions.push(block_in_place(|| list_offset(state, &topic.name, wanted))?);
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions));
    }
    Ok(ListOffsetsResponse::default().with_topics(topics))
}

fn list_offset(
    state: &State,
    topic: &str,
    wanted: &ListOffsetsPartition,
) -> io::Result<ListOffsetsPartitionResponse> {
    let answer = ListOffsetsPartitionResponse::default()
        .with_partition_index(wanted.partition_index)
        .with_timestamp(-1)
        .with_offset(-1);
    let topic = state.topics.get(topic);
    let index = usize::try_from(wanted.partition_index).ok();
    let Some(log) = topic.as_ref().and_then(|topic| topic.partitions.get(index?)) else {
        return Ok(answer.with_error_code(ResponseError::UnknownTopicOrPartition.code()));
    };
    let log = log.lock();
    Ok(match wanted.timestamp {
        LATEST => answer.with_offset(log.end),
        EARLIEST => answer.with_offset(log.start),
        timestamp => match log.first_since(timestamp)? {
            Some((offset, found)) => answer.with_offset(offset).with_timestamp(found),
            None => answer,
        },
    })
}

pub(in crate::broker) fn offset_commit(state: &State, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let group = request.group_id.to_string();
    let caller = Caller { member: &request.member_id, instance: request.group_instance_id.as_deref() };
    let generation = request.generation_id_or_member_epoch;
    let allowed = state.groups.lock().may_commit(&group, caller, generation, Instant::now());
    let mut commits = Vec::new();
    let mut topics: Vec<OffsetCommitResponseTopic> = Vec::new();
    for topic in request.topics {
        let known = state.topics.get(&topic.name).map_or(0, |found| found.partitions.len());
        let mut partitions = Vec::new();
        for wanted in topic.partitions {
            let metadata = wanted.committed_metadata.map(|text| text.to_string()).unwrap_or_default();
            let exists = usize::try_from(wanted.partition_index).is_ok_and(|index| index < known);
            let result = match allowed {
                Err(error) => Err(error),
                Ok(()) if !exists => Err(ResponseError::UnknownTopicOrPartition),
                Ok(()) if metadata.len() > METADATA_BYTES_MAX => Err(ResponseError::OffsetMetadataTooLarge),
                Ok(()) => Ok(()),
            };
            partitions.push(
                OffsetCommitResponsePartition::default()
                    .with_partition_index(wanted.partition_index)
                    .with_error_code(code(&result)),
            );
            if result.is_ok() {
                let (topic, partition) = (topic.name.to_string(), wanted.partition_index);
                let place = Place { group: group.clone(), topic, partition };
                commits.push((place, Committed { offset: wanted.committed_offset, metadata }));
            }
        }
        topics.push(OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions));
    }
    let committed = block_in_place(|| {
        state.offsets().commit(commits)?;
        state.flush_what_went_back()
    });
    if let Err(error) = committed {
        state.say_disk_failed(&error);
        for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.error_code = ResponseError::KafkaStorageError.code();
        }
    }
    OffsetCommitResponse::default().with_topics(topics)
}

pub(in crate::broker) fn offset_fetch(state: &State, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let group = request.group_id.to_string();
    let offsets = state.offsets();
    let mut wanted: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    match request.topics {
        Some(topics) => {
            wanted.extend(topics.into_iter().map(|mut topic| {
                topic.partition_indexes.sort_unstable();
                topic.partition_indexes.dedup();
                (topic.name.to_string(), topic.partition_indexes)
            }));
        }
        None => {
            for place in offsets.of_group(&group) {
                wanted.entry(place.topic.clone()).or_default().push(place.partition);
            }
        }
    }
    let topics = wanted.into_iter().map(|(topic, partitions)| {
        let answers = partitions.into_iter().map(|partition| {
            let found = offsets.get(&Place { group: group.clone(), topic: topic.clone(), partition });
            OffsetFetchResponsePartition::default()
                .with_partition_index(partition)
                .with_committed_offset(found.map_or(-1, |committed| committed.offset))
                .with_committed_leader_epoch(-1)
                .with_metadata(Some(text(found.map_or("", |committed| &committed.metadata))))
        });
        let partitions = answers.collect();
        OffsetFetchResponseTopic::default().with_name(TopicName(text(topic))).with_partitions(partitions)
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

pub(in crate::broker) fn offset_delete(
    state: &State,
    request: OffsetDeleteRequest,
) -> io::Result<OffsetDeleteResponse> {
    let group = request.group_id.to_string();
    let is_read = state.groups.lock().get(&group).is_some_and(|group| !group.members.is_empty());
    if !is_read && state.offsets().of_group(&group).next().is_none() {
        return Ok(OffsetDeleteResponse::default().with_error_code(ResponseError::GroupIdNotFound.code()));
    }
    let mut topics = Vec::new();
    for topic in request.topics {
        let mut partitions = Vec::new();
        for wanted in topic.partitions {
            let deleted = if is_read { Err(ResponseError::GroupSubscribedToTopic) } else { Ok(()) };
            if deleted.is_ok() {
                let (topic, partition) = (topic.name.to_string(), wanted.partition_index);
                let gone = Place { group: group.clone(), topic, partition };
                block_in_place(|| state.offsets().forget(|place| *place == gone))?;
            }
            partitions.push(
                OffsetDeleteResponsePartition::default()
                    .with_partition_index(wanted.partition_index)
                    .with_error_code(code(&deleted)),
            );
        }
        topics.push(OffsetDeleteResponseTopic::default().with_name(topic.name).with_partitions(partitions));
    }
    block_in_place(|| state.flush_what_went_back())?;
    Ok(OffsetDeleteResponse::default().with_topics(topics))
}
