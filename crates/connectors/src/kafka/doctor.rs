//! Asks a broker whether the topics and groups of a pipeline are what it needs. All of it blocks.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use millstream_core::settings;
use millstream_core::{Finding, Records, Result, STATE_TOPIC};
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;
use tokio::runtime::Handle;

use super::admin::{ANSWER_TIMEOUT, differences, find_partition_count};
use super::connection::Reached;
use super::tail::read_some;
use super::topic_id::topic_id;
use super::totals::Totals;
use super::{Connection, TopicSinkSettings};

/// How long a broker may take to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

fn reach<'a>(connection: &'a Connection, group: &str, topic: &str) -> Result<Reached<'a>> {
    let mut config = connection.client("millstream-doctor")?;
    config.set("group.id", group).set("enable.auto.commit", "false");
    Reached::open(connection, &config, topic, format!("asking {}", connection.brokers))
}

/// Whether the broker answers, and whether it is where it says that it is.
pub fn examine_broker(connection: &Connection) -> Vec<Finding> {
    let reached = match reach(connection, "millstream-doctor", STATE_TOPIC) {
        Ok(reached) => reached,
        Err(error) => return vec![error.into()],
    };
    let metadata = match reached.consumer.fetch_metadata(Some(STATE_TOPIC), ANSWER_TIMEOUT) {
        Ok(metadata) => metadata,
        Err(error) => return vec![reached.failed(&error).into()],
    };
    let mut found = vec![Finding::fine(format!("{} answers", connection.brokers))];
    for broker in metadata.brokers() {
        let address = format!("{}:{}", broker.host(), broker.port());
        let name = format!("broker {} calls itself {address}", broker.id());
        let places = address.to_socket_addrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
        let is_there = places.iter().any(|place| TcpStream::connect_timeout(place, CONNECT_TIMEOUT).is_ok());
        found.push(match is_there {
            true => Finding::fine(name),
            false => Finding::wrong(
                format!("{name}, and there nobody answers"),
                "the broker's advertised.listeners must be an address that can be reached from here",
            ),
        });
    }
    found
}

/// Whether a topic is there, and as it should be. `wanted` are the settings of the flow that writes it.
pub fn examine_topic(connection: &Connection, topic: &str, wanted: Option<&Value>) -> Result<Vec<Finding>> {
    let reached = reach(connection, "millstream-doctor", topic)?;
    let Some(partitions) = find_partition_count(reached.consumer.client(), topic)? else {
        return Ok(vec![match wanted {
            Some(_) => Finding::fine(format!("topic {topic} is not there yet: the first run makes it")),
            None => Finding::wrong(
                format!("there is no topic {topic}"),
                "no flow of this file writes it: is its name right, and is it on this broker?",
            ),
        }]);
    };
    let mut found = vec![Finding::fine(format!("topic {topic} has {partitions} partition(s)"))];
    let admin: AdminClient<DefaultClientContext> =
        connection.client("millstream-doctor")?.create().map_err(|e| reached.failed(&e))?;
    let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT));
    if let Some(wanted) = wanted {
        let wanted: TopicSinkSettings = settings::read(wanted)?;
        for difference in Handle::current().block_on(differences(&admin, &wanted, &options)) {
            let help = "the file's settings are for a topic that is made; alter this one, or change the file";
            found.push(Finding::doubtful(format!("topic {topic}: {difference}"), help));
        }
    }
    let resource = ResourceSpecifier::Topic(topic);
    let described = Handle::current().block_on(admin.describe_configs([&resource], &options));
    if let Ok(described) = described
        && let Some(Ok(resource)) = described.into_iter().next()
    {
        let timestamps = resource.get("message.timestamp.type").and_then(|entry| entry.value.as_deref());
        if timestamps == Some("LogAppendTime") {
            found.push(Finding::doubtful(
                format!("topic {topic} stamps messages with the time of their arrival (LogAppendTime)"),
                "which of two rows is newer is then decided by when they were sent, not by `timestamp:`",
            ));
        }
    }
    Ok(found)
}

/// How far a group has come in a topic, and whether it can go on.
pub fn examine_group(connection: &Connection, topic: &str, group: &str) -> Result<Vec<Finding>> {
    let reached = reach(connection, group, topic)?;
    let consumer = &reached.consumer;
    let Some(partitions) = find_partition_count(consumer.client(), topic)? else { return Ok(Vec::new()) };
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, partitions - 1);
    let committed = consumer.committed_offsets(list, ANSWER_TIMEOUT).map_err(|e| reached.failed(&e))?;
    let now = topic_id(consumer.client(), topic, ANSWER_TIMEOUT);
    let reset = "`reset FILE --flow FLOW --to earliest` reads what is there";
    let (mut lag, mut found) = (0, Vec::new());
    for element in committed.elements() {
        let partition = element.partition();
        let (start, end) =
            consumer.fetch_watermarks(topic, partition, ANSWER_TIMEOUT).map_err(|e| reached.failed(&e))?;
        let next = match element.offset() {
            Offset::Offset(next) => next,
            _ => start,
        };
        lag += (end - next).max(0);
        if Totals::read(element.metadata()).is_of_another(now.as_deref()) {
            let what = format!("topic {topic} was made anew since group {group} read it");
            return Ok(vec![Finding::wrong(what, reset)]);
        }
        if !(start..=end).contains(&next) {
            let what = format!(
                "group {group} has committed offset {next} in {topic}/{partition}, which has {start} to {end}"
            );
            found.push(Finding::wrong(what, reset));
        }
    }
    found.insert(0, Finding::fine(format!("group {group} is {lag} message(s) behind in {topic}")));
    Ok(found)
}

/// The oldest and the newest messages of a topic, up to `count` of each in each partition.
pub fn sample(connection: &Connection, topic: &str, count: i64) -> Result<Records> {
    read_some(connection, topic, count)
}
