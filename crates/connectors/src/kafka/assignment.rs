//! Which partitions are ours: what the group hands out and takes back, and from where each is read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use millstream_core::Gauges;
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use rdkafka::types::RDKafkaRespErr;

use super::admin::ANSWER_TIMEOUT;
use super::connection::Complaints;
use super::statistics::consuming;
use super::totals::Totals;

/// How long a broker is left alone that did not say what is committed.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// A partition that is ours for now.
#[derive(Debug, Clone)]
pub(super) struct Assigned {
    /// Which of our assignments this is: a batch from an earlier one is not committed.
    pub(super) epoch: u64,
    /// What the committed offset says of everything before it.
    pub(super) totals: Totals,
}

/// What the polling thread, librdkafka's callbacks and the source share.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) assigned: Mutex<HashMap<i32, Assigned>>,
    /// How often that has changed.
    pub(super) epoch: AtomicU64,
    pub(super) stopping: AtomicBool,
    /// The topic as it was when it was opened.
    pub(super) topic_id: Option<String>,
    /// It has been found to be another one since.
    pub(super) is_another: AtomicBool,
    /// Why the broker will never say where we are to read.
    pub(super) refused: Mutex<Option<KafkaError>>,
}

impl Shared {
    /// Which partitions are ours, and which of our assignments that is.
    pub(super) fn epochs(&self) -> HashMap<i32, u64> {
        self.assigned.lock().iter().map(|(partition, now)| (*partition, now.epoch)).collect()
    }

    fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::Relaxed) + 1
    }
}

pub(super) struct Context {
    pub(super) topic: String,
    pub(super) shared: Arc<Shared>,
    pub(super) complaints: Complaints,
    pub(super) gauges: Arc<Gauges>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        self.complaints.log(level, fac, message);
    }

    fn error(&self, _: KafkaError, reason: &str) {
        self.complaints.note(reason);
    }

    fn stats(&self, statistics: Statistics) {
        consuming(&self.gauges, &self.topic, &statistics);
    }
}

impl ConsumerContext for Context {
    /// Gives each new partition its place: the committed one, or the beginning where the group
    /// has none. What lies outside the topic is librdkafka's error, never a silent jump.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.take(consumer, list);
            if cooperative { consumer.incremental_assign(list) } else { consumer.assign(list) }
        } else {
            self.give_up(list);
            if cooperative { consumer.incremental_unassign(list) } else { consumer.unassign() }
        };
        if let Err(error) = done {
            tracing::warn!("topic {}: rebalance failed: {error}", self.topic);
        }
    }
}

impl Context {
    fn take(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) {
        let Some(committed) = self.committed(consumer, list) else { return };
        let epoch = self.shared.next_epoch();
        let mut assigned = self.shared.assigned.lock();
        for element in committed.elements() {
            let mut totals = Totals::read(element.metadata());
            if totals.is_of_another(self.shared.topic_id.as_deref()) {
                self.shared.is_another.store(true, Ordering::Relaxed);
            }
            // What is not known now may be known of before.
            totals.topic_id = self.shared.topic_id.clone().or(totals.topic_id);
            assigned.insert(element.partition(), Assigned { epoch, totals });
            let start = match element.offset() {
                Offset::Offset(next) => Offset::Offset(next),
                _ => Offset::Beginning,
            };
            if let Some(mut wanted) = list.find_partition(&self.topic, element.partition())
                && let Err(error) = wanted.set_offset(start)
            {
                tracing::warn!("topic {}: cannot set an offset: {error}", self.topic);
            }
        }
    }

    /// What the group has committed, asked for until the broker says it: only an answer without an offset means that
    /// there is none. `None` where we are to stop, or the broker does not let us know.
    fn committed(
        &self,
        consumer: &BaseConsumer<Self>,
        list: &TopicPartitionList,
    ) -> Option<TopicPartitionList> {
        let mut is_said = false;
        while !self.shared.stopping.load(Ordering::Relaxed) {
            let answer = consumer.committed_offsets(list.clone(), ANSWER_TIMEOUT);
            let whole = answer.and_then(|list| {
                list.elements().iter().try_for_each(TopicPartitionListElem::error)?;
                Ok(list)
            });
            match whole {
                Ok(committed) => return Some(committed),
                Err(error) if is_forbidden(&error) => {
                    *self.shared.refused.lock() = Some(error);
                    return None;
                }
                Err(error) if is_said => tracing::debug!("topic {}: still not: {error}", self.topic),
                Err(error) => {
                    tracing::warn!("topic {}: cannot ask for committed offsets: {error}", self.topic);
                    is_said = true;
                }
            }
            std::thread::sleep(ASK_AGAIN_AFTER);
        }
        None
    }

    fn give_up(&self, list: &TopicPartitionList) {
        self.shared.next_epoch();
        let mut assigned = self.shared.assigned.lock();
        for element in list.elements() {
            assigned.remove(&element.partition());
        }
    }
}

/// Whether asking again does not help.
fn is_forbidden(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    matches!(code, Some(Code::GroupAuthorizationFailed | Code::TopicAuthorizationFailed))
}
