//! Topics: Metadata, CreateTopics, CreatePartitions, DeleteTopics, DeleteRecords, DescribeConfigs.

use std::collections::{BTreeMap, HashSet};
use std::io;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, MetadataRequest, MetadataResponse, TopicName,
};
use tokio::task::block_in_place;

use super::{NODE, code, text};
use crate::broker::State;
use crate::broker::topic::{Refused, Topic};

/// Kafka's number for a topic among the things that have a configuration.
const RESOURCE_TOPIC: i8 = 2;
/// Where a configuration comes from: set on the topic, or a default.
const SOURCE_TOPIC: i8 = 1;
const SOURCE_DEFAULT: i8 = 5;

pub(in crate::broker) fn metadata(state: &State, request: MetadataRequest, version: i16) -> MetadataResponse {
    let named = request.topics.filter(|topics| version > 0 || !topics.is_empty());
    let topics = match named {
        None => state.topics.all().iter().map(|(name, topic)| describe(name, topic)).collect(),
        Some(mut topics) => {
            // Asked for ten thousand times, a topic is described once.
            let mut seen = HashSet::new();
            topics.retain(|wanted| seen.insert((wanted.name.clone(), wanted.topic_id)));
            let described = topics.into_iter().map(|wanted| match wanted.name {
                Some(name) => match state.topics.get(&name) {
                    Some(topic) => describe(&name, &topic),
                    None => MetadataResponseTopic::default()
                        .with_error_code(ResponseError::UnknownTopicOrPartition.code())
                        .with_name(Some(name)),
                },
                None => by_id(state, wanted.topic_id),
            });
            described.collect()
        }
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(NODE)
        .with_host(text("127.0.0.1"))
        .with_port(state.port.into());
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text("millstream-embedded")))
        .with_controller_id(NODE)
        .with_topics(topics)
}

fn by_id(state: &State, id: uuid::Uuid) -> MetadataResponseTopic {
    match state.topics.all().iter().find(|(_, topic)| topic.id == id) {
        Some((name, topic)) => describe(name, topic),
        None => MetadataResponseTopic::default()
            .with_error_code(ResponseError::UnknownTopicId.code())
            .with_topic_id(id),
    }
}

fn describe(name: &str, topic: &Topic) -> MetadataResponseTopic {
    let partitions = (0..topic.partitions.len()).map(|index| {
        MetadataResponsePartition::default()
            .with_partition_index(index as i32)
            .with_leader_id(NODE)
            .with_leader_epoch(0)
            .with_replica_nodes(vec![NODE])
            .with_isr_nodes(vec![NODE])
    });
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(name))))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect())
}

pub(in crate::broker) fn create_topics(
    state: &State,
    request: CreateTopicsRequest,
) -> io::Result<CreateTopicsResponse> {
    let mut results = Vec::new();
    for topic in request.topics {
        results.push(block_in_place(|| create_topic(state, topic, request.validate_only))?);
    }
    Ok(CreateTopicsResponse::default().with_topics(results))
}

fn create_topic(
    state: &State,
    topic: CreatableTopic,
    validate_only: bool,
) -> io::Result<CreatableTopicResult> {
    // −1 asks for the broker's default, and an assignment names its partitions one by one.
    let partitions = match topic.num_partitions {
        -1 => topic.assignments.len().max(1),
        count => usize::try_from(count).unwrap_or(0),
    };
    let set: BTreeMap<String, String> = topic
        .configs
        .into_iter()
        .filter_map(|config| Some((config.name.to_string(), config.value?.to_string())))
        .collect();
    let result = CreatableTopicResult::default()
        .with_num_partitions(partitions as i32)
        .with_replication_factor(1)
        .with_configs(Some(Vec::new()));
    let refused = |result: CreatableTopicResult, refused: Refused| {
        result.with_error_code(refused.error.code()).with_error_message(Some(text(refused.message)))
    };
    let result = if topic.replication_factor > 1 {
        refused(result, ResponseError::InvalidReplicationFactor.into())
    } else if validate_only {
        match state.topics.check(&topic.name, partitions, &set) {
            Ok(()) => result,
            Err(why) => refused(result, why),
        }
    } else {
        match state.topics.create(&topic.name, partitions, set)? {
            Ok(created) => result.with_topic_id(created.id),
            Err(why) => refused(result, why),
        }
    };
    Ok(result.with_name(topic.name))
}

pub(in crate::broker) fn delete_topics(
    state: &State,
    request: DeleteTopicsRequest,
) -> io::Result<DeleteTopicsResponse> {
    let mut responses = Vec::new();
    for name in request.topic_names {
        let deleted = block_in_place(|| {
            let deleted = state.topics.delete(&name)?;
            state.offsets().forget(|place| place.topic == name.as_str())?;
            state.flush_what_went_back()?;
            io::Result::Ok(deleted)
        })?;
        let error_code = if deleted { 0 } else { ResponseError::UnknownTopicOrPartition.code() };
        responses.push(DeletableTopicResult::default().with_name(Some(name)).with_error_code(error_code));
    }
    state.appended.notify_waiters();
    Ok(DeleteTopicsResponse::default().with_responses(responses))
}

pub(in crate::broker) fn create_partitions(
    state: &State,
    request: CreatePartitionsRequest,
) -> io::Result<CreatePartitionsResponse> {
    let mut results = Vec::new();
    for topic in request.topics {
        let count = usize::try_from(topic.count).unwrap_or(0);
        let grown = match request.validate_only {
            true => state.topics.check_growth(&topic.name, count).map(drop),
            false => block_in_place(|| state.topics.grow(&topic.name, count))?,
        };
        let result = CreatePartitionsTopicResult::default().with_error_code(code(&grown));
        results
            .push(result.with_name(topic.name).with_error_message(grown.err().map(|e| text(e.to_string()))));
    }
    Ok(CreatePartitionsResponse::default().with_results(results))
}

/// In a request: everything that is there.
const TO_THE_END: i64 = -1;

pub(in crate::broker) fn delete_records(
    state: &State,
    request: DeleteRecordsRequest,
) -> io::Result<DeleteRecordsResponse> {
    let log_of = |topic: &str, partition: i32| {
        let partition = usize::try_from(partition).ok()?;
        state.topics.get(topic)?.partitions.get(partition).cloned()
    };
    // What comes from here on is not meant. Of the rest, the rows that it became are brought to the disk first.
    let mut wanted_topics = request.topics;
    for topic in &mut wanted_topics {
        for wanted in topic.partitions.iter_mut().filter(|wanted| wanted.offset == TO_THE_END) {
            if let Some(log) = log_of(&topic.name, wanted.partition_index) {
                wanted.offset = block_in_place(|| log.lock().end);
            }
        }
    }
    block_in_place(|| state.flush())?;
    let mut topics = Vec::new();
    for topic in wanted_topics {
        let mut partitions = Vec::new();
        for wanted in topic.partitions {
            let result = DeleteRecordsPartitionResult::default().with_partition_index(wanted.partition_index);
            let deleted = match log_of(&topic.name, wanted.partition_index) {
                None => Err(ResponseError::UnknownTopicOrPartition),
                Some(log) => block_in_place(|| {
                    let mut log = log.lock();
                    if !(0..=log.end).contains(&wanted.offset) {
                        return io::Result::Ok(Err(ResponseError::OffsetOutOfRange));
                    }
                    log.delete_before(wanted.offset)?;
                    Ok(Ok(log.start))
                })?,
            };
            partitions.push(
                result.with_error_code(code(&deleted)).with_low_watermark(deleted.unwrap_or(TO_THE_END)),
            );
        }
        topics.push(DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions));
    }
    Ok(DeleteRecordsResponse::default().with_topics(topics))
}

pub(in crate::broker) fn describe_configs(
    state: &State,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let results = request.resources.into_iter().map(|resource| {
        let result = DescribeConfigsResult::default().with_resource_type(resource.resource_type);
        let topic = (resource.resource_type == RESOURCE_TOPIC)
            .then(|| state.topics.get(&resource.resource_name))
            .flatten();
        let result = match topic {
            None if resource.resource_type == RESOURCE_TOPIC => {
                result.with_error_code(ResponseError::UnknownTopicOrPartition.code())
            }
            None => result,
            Some(topic) => {
                let wanted = |name: &str| {
                    let keys = resource.configuration_keys.as_ref();
                    keys.is_none_or(|keys| keys.iter().any(|key| key.as_str() == name))
                };
                let configs = topic.configs().filter(|(name, ..)| wanted(name)).map(|(name, value, set)| {
                    DescribeConfigsResourceResult::default()
                        .with_name(text(name))
                        .with_value(Some(text(value)))
                        .with_config_source(if set { SOURCE_TOPIC } else { SOURCE_DEFAULT })
                });
                result.with_configs(configs.collect())
            }
        };
        result.with_resource_name(resource.resource_name)
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}
