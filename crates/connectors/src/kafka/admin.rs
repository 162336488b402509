//! Making topics, and asking for what is there.

use std::time::{Duration, Instant};

use millstream_core::{Error, Result};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::task::block_in_place;

use super::connection::Reached;
use super::errors::explain;
use super::{Connection, TopicSinkSettings};

/// How long a question to the broker may take before it counts as not answered.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it may take until all brokers know a topic that was made.
const KNOWN_AFTER_MAX: Duration = Duration::from_secs(5);
pub(super) const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Makes the topic where it is missing; where it is there, what differs from the file is said.
pub(super) async fn ensure_topic(connection: &Connection, settings: &TopicSinkSettings) -> Result<()> {
    let what = format!("making topic {} on {}", settings.topic, connection.brokers);
    let mut config = connection.client("millstream-admin")?;
    let admin: AdminClient<_> = config.create().map_err(|e| explain(&what, &e, Some(connection), None))?;
    config.set("group.id", "millstream-admin");
    let reached = block_in_place(|| Reached::open(connection, &config, &settings.topic, what.clone()))?;
    let failed = |e: &KafkaError| reached.failed(e);
    let options =
        AdminOptions::new().operation_timeout(Some(ANSWER_TIMEOUT)).request_timeout(Some(ANSWER_TIMEOUT));
    let mut topic = bare_topic(settings);
    for (name, value) in &settings.config {
        topic = topic.set(name, value);
    }
    let results = admin.create_topics([&topic], &options).await.map_err(|e| failed(&e))?;
    match results.into_iter().next() {
        None | Some(Ok(_)) => Ok(()),
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {
            for difference in differences(&admin, settings, &options).await {
                tracing::warn!("topic {}: {difference}", settings.topic);
            }
            Ok(())
        }
        // Who may not make topics may still write one that is there.
        Some(Err((
            _,
            RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed,
        ))) if block_in_place(|| find_partition_count(admin.inner(), &settings.topic))?.is_some() => Ok(()),
        Some(Err((_, code @ RDKafkaErrorCode::InvalidConfig))) => {
            let refused = refused_settings(&admin, settings).await.join("` and `");
            if refused.is_empty() {
                // Each alone is fine.
                return Err(failed(&KafkaError::AdminOp(code)));
            }
            Err(Error::user(format!("{what}: the broker refuses `{refused}`"))
                .help("is it a setting of Kafka's topics, and a value that it may have?"))
        }
        Some(Err((_, code))) => Err(failed(&KafkaError::AdminOp(code))),
    }
}

/// The settings that the broker refuses, each with its value. It says so in words that the client does not hand on:
/// each is asked for alone.
async fn refused_settings<C: ClientContext>(
    admin: &AdminClient<C>,
    settings: &TopicSinkSettings,
) -> Vec<String> {
    let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT)).validate_only(true);
    let mut refused = Vec::new();
    for (name, value) in &settings.config {
        let topic = bare_topic(settings).set(name, value);
        let answer = admin.create_topics([&topic], &options).await;
        if let Ok([Err((_, RDKafkaErrorCode::InvalidConfig))]) = answer.as_deref() {
            refused.push(format!("{name}: {value}"));
        }
    }
    refused
}

/// The topic, without its configuration.
fn bare_topic(settings: &TopicSinkSettings) -> NewTopic<'_> {
    let partitions = settings.partitions.map_or(-1, i32::from);
    let replication = settings.replication.map_or(-1, i32::from);
    NewTopic::new(&settings.topic, partitions, TopicReplication::Fixed(replication))
}

/// What a topic is that the file says otherwise, for people. What cannot be asked for is not said.
pub(super) async fn differences<C: ClientContext>(
    admin: &AdminClient<C>,
    settings: &TopicSinkSettings,
    options: &AdminOptions,
) -> Vec<String> {
    let mut found = Vec::new();
    let metadata = block_in_place(|| admin.inner().fetch_metadata(Some(&settings.topic), ANSWER_TIMEOUT));
    if let Ok(metadata) = metadata
        && let Some(topic) = metadata.topics().first()
    {
        let partitions = topic.partitions().len();
        if settings.partitions.is_some_and(|wanted| usize::from(wanted) != partitions) {
            let wanted = settings.partitions.unwrap_or_default();
            found.push(format!("it has {partitions} partitions, the file says {wanted}"));
        }
        let copies = topic.partitions().first().map_or(0, |partition| partition.replicas().len());
        if settings.replication.is_some_and(|wanted| usize::from(wanted) != copies) {
            let wanted = settings.replication.unwrap_or_default();
            found.push(format!("it keeps {copies} copies, the file says {wanted}"));
        }
    }
    if settings.config.is_empty() {
        return found;
    }
    let resource = ResourceSpecifier::Topic(&settings.topic);
    if let Ok(described) = admin.describe_configs([&resource], options).await
        && let Some(Ok(resource)) = described.into_iter().next()
    {
        let there = resource.entry_map();
        for (name, wanted) in &settings.config {
            let value = there.get(name.as_str()).and_then(|entry| entry.value.as_deref());
            if value != Some(wanted) {
                let value = value.unwrap_or("not set");
                found.push(format!("its {name} is {value}, the file says {wanted}"));
            }
        }
    }
    found
}

/// How many partitions the topic has; `None` where there is no such topic.
pub(super) fn find_partition_count<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<Option<i32>> {
    find(client, topic).map(|(partitions, _)| partitions)
}

/// How many partitions the topic has, and how many brokers there are.
fn find<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<(Option<i32>, usize)> {
    let what = format!("asking for topic {topic}");
    let metadata =
        client.fetch_metadata(Some(topic), ANSWER_TIMEOUT).map_err(|e| explain(&what, &e, None, None))?;
    let found = metadata.topics().iter().find(|known| known.name() == topic);
    // To whom may not see a topic, a broker says so where it says that there is none to others.
    let refused = found.and_then(|known| known.error()).map(RDKafkaErrorCode::from);
    if refused == Some(RDKafkaErrorCode::TopicAuthorizationFailed) {
        let error = KafkaError::MetadataFetch(RDKafkaErrorCode::TopicAuthorizationFailed);
        return Err(explain(&what, &error, None, None));
    }
    let partitions = found.map(|known| known.partitions().len() as i32).filter(|count| *count > 0);
    Ok((partitions, metadata.brokers().len()))
}

/// How many partitions a topic has that may just have been made: of several brokers not all know it at once. Blocks.
pub(super) fn await_partitions<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<i32> {
    let began = Instant::now();
    while let (None, brokers) = find(client, topic)?
        && brokers > 1
        && began.elapsed() < KNOWN_AFTER_MAX
    {
        std::thread::sleep(LOOK_AGAIN_AFTER);
    }
    partition_count(client, topic)
}

/// How many partitions the topic has.
pub(super) fn partition_count<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<i32> {
    find_partition_count(client, topic)?.ok_or_else(|| {
        Error::lasting(format!("there is no topic {topic}"))
            .help("a flow that writes it makes it; for a topic of others check its name")
    })
}
