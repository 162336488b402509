//! Making topics, and asking for what is there.

use std::time::Duration;

use millstream_core::{Error, Result};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;

use super::errors::explain;
use super::{Connection, TopicSinkSettings};

/// How long a question to the broker may take before it counts as not answered.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes the topic where it is missing.
pub(super) async fn ensure_topic(connection: &Connection, settings: &TopicSinkSettings) -> Result<()> {
    let what = format!("making topic {} on {}", settings.topic, connection.brokers);
    let config = connection.client("millstream-admin");
    let admin: AdminClient<_> = config.create().map_err(|e| explain(&what, &e))?;
    let partitions = settings.partitions.map_or(-1, i32::from);
    let replication = settings.replication.map_or(-1, i32::from);
    let mut topic = NewTopic::new(&settings.topic, partitions, TopicReplication::Fixed(replication));
    for (name, value) in &settings.config {
        topic = topic.set(name, value);
    }
    let options =
        AdminOptions::new().operation_timeout(Some(ANSWER_TIMEOUT)).request_timeout(Some(ANSWER_TIMEOUT));
    let results = admin.create_topics([&topic], &options).await.map_err(|e| explain(&what, &e))?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(explain(&what, &rdkafka::error::KafkaError::AdminOp(code))),
        }
    }
    Ok(())
}

/// How many partitions the topic has; `None` where there is no such topic.
pub(super) fn find_partition_count<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<Option<i32>> {
    let what = format!("asking for topic {topic}");
    let metadata = client.fetch_metadata(Some(topic), ANSWER_TIMEOUT).map_err(|e| explain(&what, &e))?;
    let found = metadata.topics().iter().find(|known| known.name() == topic);
    Ok(found.map(|known| known.partitions().len() as i32).filter(|count| *count > 0))
}

/// How many partitions the topic has.
pub(super) fn partition_count<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<i32> {
    find_partition_count(client, topic)?.ok_or_else(|| {
        Error::lasting(format!("there is no topic {topic}"))
            .help("a flow that writes it makes it; for a topic of others check its name")
    })
}
