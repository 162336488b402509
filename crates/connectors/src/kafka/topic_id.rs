//! Which of several topics that had one name it is: a topic that was deleted and made anew has
//! another id. The client library's safe interface does not ask for it.
#![allow(unsafe_code, reason = "rdkafka has no safe interface to DescribeTopics")]

use std::ffi::CString;
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::client::{Client, ClientContext};
use uuid::Uuid;

/// The topic's id; `None` where the broker gives none, or does not answer in time. Blocks.
pub(super) fn topic_id<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Option<String> {
    ask(client, topic, timeout).ok().flatten()
}

/// Nobody has said in time which topic it is.
pub(super) struct Unanswered;

/// The topic's id; `None` where the broker answers and gives none. Blocks.
pub(super) fn ask<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<Option<String>, Unanswered> {
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let Ok(name) = CString::new(topic) else { return Ok(None) };
    let mut names = [name.as_ptr()];
    // SAFETY: the client lives as long as the borrow. Each object is made here, checked where it
    // may be null, used before it is destroyed, and destroyed once; what belongs to the event (the
    // result, its topics, their ids) is not used after it.
    unsafe {
        let client = client.native_ptr();
        let topics = c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let queue = c::rd_kafka_queue_new(client);
        let options =
            c::rd_kafka_AdminOptions_new(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        c::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, std::ptr::null_mut(), 0);
        c::rd_kafka_DescribeTopics(client, topics, options, queue);
        let event = c::rd_kafka_queue_poll(queue, timeout_ms);
        let found = if event.is_null() { Err(Unanswered) } else { first_id(event) };
        if !event.is_null() {
            c::rd_kafka_event_destroy(event);
        }
        c::rd_kafka_AdminOptions_destroy(options);
        c::rd_kafka_queue_destroy(queue);
        c::rd_kafka_TopicCollection_destroy(topics);
        found
    }
}

/// The id of the first topic in an answer.
///
/// # Safety
/// `event` must be a live event.
unsafe fn first_id(event: *mut c::rd_kafka_event_t) -> Result<Option<String>, Unanswered> {
    use c::rd_kafka_resp_err_t as Code;
    // SAFETY: the event is live; every pointer is checked, and belongs to the event.
    unsafe {
        let error = c::rd_kafka_event_error(event);
        if matches!(error, Code::RD_KAFKA_RESP_ERR__TIMED_OUT | Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT) {
            return Err(Unanswered);
        }
        let result = c::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Ok(None);
        }
        let mut count = 0;
        let topics = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() || count == 0 || (*topics).is_null() {
            return Ok(None);
        }
        let id = c::rd_kafka_TopicDescription_topic_id(*topics);
        if id.is_null() {
            return Ok(None);
        }
        let most = c::rd_kafka_Uuid_most_significant_bits(id) as u64;
        let least = c::rd_kafka_Uuid_least_significant_bits(id) as u64;
        let id = Uuid::from_u64_pair(most, least);
        Ok((!id.is_nil()).then(|| id.to_string()))
    }
}
