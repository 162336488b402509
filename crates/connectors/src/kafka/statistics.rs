//! What librdkafka says of itself every second, as gauges. What it says of the topic's end is the lag.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_core::{ClientValues, Gauges};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::statistics::{Partition, Statistics};

use super::connection::Complaints;

/// How often it is asked.
pub(super) const EVERY_MS: &str = "1000";

/// A producer that is looked at.
pub(super) struct Producing {
    pub(super) complaints: Complaints,
    pub(super) gauges: Arc<Gauges>,
}

impl ClientContext for Producing {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        self.complaints.log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.gauges.set_client("producer", client(&statistics));
    }
}

/// Notes what a consumer says, and how far it is behind in `topic`.
pub(super) fn consuming(gauges: &Gauges, topic: &str, statistics: &Statistics) {
    gauges.set_client("consumer", client(statistics));
    let partitions = statistics.topics.get(topic).map(|topic| &topic.partitions);
    let behind: BTreeMap<i32, u64> = partitions
        .into_iter()
        .flatten()
        .filter(|(_, partition)| partition.fetch_state != "none")
        .filter_map(|(number, partition)| Some((*number, lag(partition)?)))
        .collect();
    gauges.set_lag(behind);
}

/// Messages behind the committed one: up to the last stable one, for that is as far as anybody reads.
fn lag(partition: &Partition) -> Option<u64> {
    let end = u64::try_from(partition.ls_offset).ok()?;
    // Without a commit it begins with the oldest.
    let next = u64::try_from(partition.committed_offset).or(u64::try_from(partition.lo_offset)).ok()?;
    Some(end.saturating_sub(next))
}

fn client(statistics: &Statistics) -> ClientValues {
    let count = |count: i64| u64::try_from(count).unwrap_or(0);
    let brokers = || statistics.brokers.values();
    let slowest_us = brokers().filter_map(|broker| Some(broker.rtt.as_ref()?.p99)).max().unwrap_or(0);
    ClientValues {
        received_bytes: count(statistics.rx_bytes),
        sent_bytes: count(statistics.tx_bytes),
        requests: count(statistics.tx),
        retries: brokers().map(|broker| broker.txretries).sum(),
        timeouts: brokers().map(|broker| broker.req_timeouts).sum(),
        waiting_messages: match statistics.client_type.as_str() {
            "producer" => statistics.msg_cnt,
            _ => statistics
                .topics
                .values()
                .flat_map(|topic| topic.partitions.values())
                .map(|partition| count(partition.fetchq_cnt))
                .sum(),
        },
        round_trip_p99_seconds: slowest_us.max(0) as f64 / 1e6,
    }
}
