//! What each request means: one function each, from a decoded request to its answer.

mod groups;
mod messages;
mod offsets;
mod topics;

pub(super) use groups::{
    delete_groups, describe_groups, find_coordinator, heartbeat, join_group, leave_group, list_groups,
    sync_group,
};
pub(super) use messages::{fetch, init_producer_id, produce};
pub(super) use offsets::{list_offsets, offset_commit, offset_delete, offset_fetch};
pub(super) use topics::{
    create_partitions, create_topics, delete_records, delete_topics, describe_configs, metadata,
};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::protocol::StrBytes;

/// The id of the only node.
const NODE: BrokerId = BrokerId(1);

fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

/// Kafka's code for a result: 0 is success.
fn code<T>(result: &Result<T, ResponseError>) -> i16 {
    result.as_ref().err().map_or(0, ResponseError::code)
}
