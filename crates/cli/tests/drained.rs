//! A topic is drained when its messages have been committed, and not when there only seem to be none.

use std::time::Duration;

use millstream_connectors::kafka::{Awaited, Connection};
use millstream_embedded::Broker;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_whose_beginning_is_gone_is_not_drained_before_it_is_read() {
    const MESSAGES: i64 = 3_000;
    const GONE: i64 = 1_000;
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Broker::start(folder.path(), 0).await.expect("a broker");
    let connection = Connection::to(broker.address().to_string());
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &connection.brokers);
    let admin: AdminClient<DefaultClientContext> = client.create().expect("a client");
    let topic = NewTopic::new("t", 1, TopicReplication::Fixed(1));
    admin.create_topics([&topic], &AdminOptions::new()).await.expect("makes the topic");
    let producer: ThreadedProducer<DefaultProducerContext> = client.create().expect("a producer");
    for _ in 0..MESSAGES {
        producer.send(BaseRecord::<(), _>::to("t").payload("{}")).expect("has room");
    }
    producer.flush(Duration::from_secs(60)).expect("is sent");
    let mut gone = TopicPartitionList::new();
    gone.add_partition_offset("t", 0, Offset::Offset(GONE)).expect("an offset");
    admin.delete_records(&gone, &AdminOptions::new()).await.expect("deletes");

    let mut awaited = Awaited::open(&connection, "t", "nobody").expect("a topic");
    for _ in 0..3 {
        assert_eq!(awaited.look().expect("looks").behind, MESSAGES - GONE);
        tokio::time::sleep(Duration::from_millis(1_200)).await;
    }
    broker.stop().await.expect("the broker stops");
}
