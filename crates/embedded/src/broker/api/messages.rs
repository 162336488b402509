//! Messages in and out: Produce, Fetch, InitProducerId.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    BrokerId, FetchRequest, FetchResponse, InitProducerIdRequest, InitProducerIdResponse, ProduceRequest,
    ProduceResponse, ProducerId,
};
use tokio::task::block_in_place;
use tokio::time::Instant;

use super::text;
use crate::broker::State;
use crate::broker::log::Refusal;

/// Appends what was sent; no answer where the client wants none (`acks` 0).
pub(in crate::broker) fn produce(
    state: &State,
    request: ProduceRequest,
) -> io::Result<Option<ProduceResponse>> {
    let in_transaction = request.transactional_id.is_some();
    let mut responses = Vec::new();
    for topic in request.topic_data {
        let mut partitions = Vec::new();
        for data in topic.partition_data {
            let mut answer = PartitionProduceResponse::default().with_index(data.index).with_base_offset(-1);
            match append(state, &topic.name, data, in_transaction)? {
                Ok((offset, log_start)) => {
                    answer.base_offset = offset;
                    answer.log_start_offset = log_start;
                }
                Err(error) => {
                    answer.error_code = error.code();
                    answer.error_message = Some(text(error.to_string()));
                }
            }
            partitions.push(answer.with_log_append_time_ms(-1));
        }
        responses
            .push(TopicProduceResponse::default().with_name(topic.name).with_partition_responses(partitions));
    }
    state.appended.notify_waiters();
    Ok((request.acks != 0).then(|| ProduceResponse::default().with_responses(responses)))
}

/// The offset of the first record and where the log starts.
fn append(
    state: &State,
    topic: &str,
    data: PartitionProduceData,
    in_transaction: bool,
) -> io::Result<Result<(i64, i64), ResponseError>> {
    if in_transaction {
        return Ok(Err(ResponseError::TransactionalIdAuthorizationFailed));
    }
    let Some(topic) = state.topics.get(topic) else { return Ok(Err(ResponseError::UnknownTopicOrPartition)) };
    let Some(log) = usize::try_from(data.index).ok().and_then(|at| topic.partitions.get(at)) else {
        return Ok(Err(ResponseError::UnknownTopicOrPartition));
    };
    let records = data.records.unwrap_or_default();
    let (appended, start) = block_in_place(|| {
        let mut log = log.lock();
        (log.append(&records, &topic.config), log.start)
    });
    let appended = match appended {
        Ok(appended) => appended,
        // The client tries again, and goes on when there is room.
        Err(error) => {
            state.say_disk_failed(&error);
            return Ok(Err(ResponseError::KafkaStorageError));
        }
    };
    Ok(appended.map(|offset| (offset, start)).map_err(|refusal| match refusal {
        Refusal::Corrupt => ResponseError::CorruptMessage,
        Refusal::Invalid => ResponseError::InvalidRecord,
        Refusal::TooLarge => ResponseError::MessageTooLarge,
        Refusal::OutOfOrder => ResponseError::OutOfOrderSequenceNumber,
        Refusal::Fenced => ResponseError::InvalidProducerEpoch,
        Refusal::Deleted => ResponseError::UnknownTopicOrPartition,
    }))
}

/// What one look at the logs found.
struct Found {
    responses: Vec<FetchableTopicResponse>,
    bytes: usize,
    failed: bool,
}

/// A client is answered at the latest after so long, with nothing where nothing came.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Reads from where the client is; waits for more where there is too little.
pub(in crate::broker) async fn fetch(state: &Arc<State>, request: FetchRequest) -> FetchResponse {
    let wait = Duration::from_millis(request.max_wait_ms.max(0) as u64).min(WAIT_MAX);
    let until = Instant::now() + wait;
    loop {
        // Registered before looking, so that an append in between is not missed.
        let appended = state.appended.notified();
        tokio::pin!(appended);
        appended.as_mut().enable();
        let found = block_in_place(|| read_all(state, &request));
        let enough = found.failed || found.bytes >= request.min_bytes.max(0) as usize;
        if enough || tokio::time::timeout_at(until, appended).await.is_err() {
            return FetchResponse::default().with_responses(found.responses);
        }
    }
}

fn read_all(state: &State, request: &FetchRequest) -> Found {
    let mut found = Found { responses: Vec::new(), bytes: 0, failed: false };
    let mut left = request.max_bytes.max(1) as usize;
    for topic in &request.topics {
        let mut partitions = Vec::new();
        for wanted in &topic.partitions {
            let (data, error) = read(state, &topic.topic, wanted, left, found.bytes == 0);
            let bytes = data.records.as_ref().map_or(0, Bytes::len);
            found.bytes += bytes;
            found.failed |= error;
            left = left.saturating_sub(bytes);
            partitions.push(data);
        }
        let response = FetchableTopicResponse::default().with_topic(topic.topic.clone());
        found.responses.push(response.with_partitions(partitions));
    }
    found
}

/// What there is for one partition, and whether that is an error. The first one with data gives a batch
/// even where it is larger than asked for, or a client could never get past it; no other does.
fn read(
    state: &State,
    topic: &str,
    wanted: &FetchPartition,
    left: usize,
    is_first: bool,
) -> (PartitionData, bool) {
    let mut data = PartitionData::default()
        .with_partition_index(wanted.partition)
        .with_preferred_read_replica(BrokerId(-1))
        .with_records(Some(Bytes::new()))
        .with_high_watermark(-1);
    let topic = state.topics.get(topic);
    let index = usize::try_from(wanted.partition).ok();
    let log = topic.as_ref().and_then(|topic| topic.partitions.get(index?));
    let Some(log) = log else {
        return (data.with_error_code(ResponseError::UnknownTopicOrPartition.code()), true);
    };
    let log = log.lock();
    data.high_watermark = log.end;
    data.last_stable_offset = log.end;
    data.log_start_offset = log.start;
    if !(log.start..=log.end).contains(&wanted.fetch_offset) {
        return (data.with_error_code(ResponseError::OffsetOutOfRange.code()), true);
    }
    let max = left.min(wanted.partition_max_bytes.max(1) as usize);
    if max == 0 {
        return (data, false);
    }
    match log.read(wanted.fetch_offset, max, is_first) {
        Ok(records) => (data.with_records(Some(records)), false),
        Err(error) => {
            state.say_disk_failed(&error);
            (data.with_error_code(ResponseError::KafkaStorageError.code()), true)
        }
    }
}

/// A new producer id. Transactions are refused.
pub(in crate::broker) fn init_producer_id(
    state: &State,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    if request.transactional_id.is_some() {
        let refused = ResponseError::TransactionalIdAuthorizationFailed;
        return InitProducerIdResponse::default().with_error_code(refused.code());
    }
    // An idempotent producer that asks again for its id gets a new one: it starts anew.
    match state.take_producer_id() {
        Ok(id) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0),
        Err(error) => {
            state.say_disk_failed(&error);
            InitProducerIdResponse::default().with_error_code(ResponseError::KafkaStorageError.code())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kafka_protocol::messages::TopicName;
    use kafka_protocol::messages::fetch_request::FetchTopic;

    use super::*;
    use crate::broker::Broker;
    use crate::broker::log::tests::batch;

    #[tokio::test(flavor = "multi_thread")]
    async fn only_the_first_partition_gives_more_than_asked_for() {
        let dir = tempfile::tempdir().expect("a folder");
        let broker = Broker::start(dir.path(), 0).await.expect("starts");
        let topic = broker.state.topics.create("t", 3, BTreeMap::new()).expect("makes").expect("is made");
        let records = batch(-1, -1, &[1]);
        for log in &topic.partitions {
            log.lock().append(&records, &topic.config).expect("writes").expect("is taken");
        }
        let size = records.len() as i32;
        // The batches of each partition, with so many bytes for each and for all of them.
        let ask = |each: i32, all: i32| {
            let wanted =
                |index| FetchPartition::default().with_partition(index).with_partition_max_bytes(each);
            let wanted = FetchTopic::default()
                .with_topic(TopicName(text("t")))
                .with_partitions((0..3).map(wanted).collect());
            let request = FetchRequest::default().with_max_bytes(all).with_topics(vec![wanted]);
            let found = read_all(&broker.state, &request);
            let partitions = found.responses[0].partitions.iter();
            partitions
                .map(|data| data.records.as_ref().map_or(0, Bytes::len) / records.len())
                .collect::<Vec<_>>()
        };
        assert_eq!(ask(size, 10 * size), [1, 1, 1]);
        assert_eq!(ask(1, 10 * size), [1, 0, 0]);
        assert_eq!(ask(size, 1), [1, 0, 0]);
        assert_eq!(ask(size, 2 * size - 1), [1, 0, 0]);
        assert_eq!(ask(size, 2 * size), [1, 1, 0]);
        broker.stop().await.expect("stops");
    }
}
