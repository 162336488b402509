//! The embedded broker with clients of others: librdkafka, and kcat where it is installed.

#![allow(clippy::print_stdout, reason = "what was measured or skipped is said aloud")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use millstream_embedded::Broker;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// No more than a limit: what is waited for comes much sooner, unless the machine has too much to do.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start(dir: &Path) -> (Broker, String) {
    let broker = Broker::start(dir, 0).await.expect("the broker starts");
    let address = broker.address().to_string();
    (broker, address)
}

fn client(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    config
}

fn admin(address: &str) -> AdminClient<DefaultClientContext> {
    client(address).create().expect("a client")
}

async fn create(address: &str, topic: NewTopic<'_>) -> Result<String, (String, RDKafkaErrorCode)> {
    let results = admin(address).create_topics([&topic], &AdminOptions::new()).await.expect("an answer");
    results.into_iter().next().expect("one result")
}

fn topic(name: &str, partitions: i32) -> NewTopic<'_> {
    NewTopic::new(name, partitions, TopicReplication::Fixed(1))
}

async fn produce(producer: &FutureProducer, topic: &str, numbers: std::ops::Range<i64>) {
    let deliveries: Vec<_> = numbers
        .map(|number| {
            let (key, value) = (format!("k{}", number % 10), number.to_string());
            let headers = OwnedHeaders::new().insert(Header { key: "n", value: Some(&value) });
            let record =
                FutureRecord::to(topic).key(&key).payload(&value).timestamp(1_000 + number).headers(headers);
            producer.send_result(record).map_err(|(error, _)| error).expect("queued")
        })
        .collect();
    for delivery in deliveries {
        delivery.await.expect("not cancelled").expect("delivered");
    }
}

fn producer(address: &str, codec: &str) -> FutureProducer {
    let mut config = client(address);
    config.set("enable.idempotence", "true").set("compression.type", codec);
    config.create().expect("a producer")
}

fn consumer(address: &str, group: &str, strategy: &str) -> BaseConsumer {
    let mut config = client(address);
    config
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("partition.assignment.strategy", strategy)
        .set("heartbeat.interval.ms", "100");
    config.create().expect("a consumer")
}

/// Polls until `count` messages have come.
fn read(consumer: &BaseConsumer, count: usize) -> Vec<(i32, i64, String)> {
    let began = Instant::now();
    let mut found = Vec::new();
    while found.len() < count && began.elapsed() < PATIENCE {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message.expect("a message");
            let value = String::from_utf8(message.payload().expect("a value").to_vec()).expect("UTF-8");
            assert_eq!(message.headers().expect("headers").get(0).value, Some(value.as_bytes()));
            found.push((message.partition(), message.offset(), value));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_produced_with_any_codec_is_consumed_and_survives_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let (broker, address) = start(dir.path()).await;
    assert_eq!(create(&address, topic("t", 3)).await, Ok("t".to_owned()));
    let again = create(&address, topic("t", 3)).await;
    assert_eq!(again.expect_err("there already").1, RDKafkaErrorCode::TopicAlreadyExists);
    for (at, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let first = at as i64 * 1_000;
        produce(&producer(&address, codec), "t", first..first + 1_000).await;
    }
    broker.stop().await.expect("stops");
    let (broker, address) = start(dir.path()).await;
    let values: BTreeSet<i64> = tokio::task::block_in_place(|| {
        let consumer = consumer(&address, "g", "range");
        consumer.subscribe(&["t"]).expect("subscribes");
        read(&consumer, 5_000).into_iter().map(|(_, _, value)| value.parse().expect("a number")).collect()
    });
    assert_eq!(values, (0..5_000).collect());
    // By time: the first message of a partition that is not older.
    tokio::task::block_in_place(|| {
        let consumer = consumer(&address, "times", "range");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("t", 0, Offset::Offset(1_000 + 2_500)).expect("a time");
        let found = consumer.offsets_for_times(list, PATIENCE).expect("offsets");
        let Offset::Offset(offset) = found.elements()[0].offset() else { panic!("no offset") };
        let mut at = TopicPartitionList::new();
        at.add_partition_offset("t", 0, Offset::Offset(offset)).expect("an offset");
        consumer.assign(&at).expect("assigns");
        let number: i64 = read(&consumer, 1)[0].2.parse().expect("a number");
        assert!((2_500..2_520).contains(&number), "{number}");
    });
    broker.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_share_partitions_and_go_on_where_they_were() {
    for strategy in ["range", "cooperative-sticky"] {
        let dir = tempfile::tempdir().expect("a folder");
        let (broker, address) = start(dir.path()).await;
        create(&address, topic("t", 4)).await.expect("made");
        produce(&producer(&address, "none"), "t", 0..1_000).await;
        tokio::task::block_in_place(|| {
            let first = consumer(&address, "g", strategy);
            first.subscribe(&["t"]).expect("subscribes");
            let read_first = read(&first, 1_000);
            assert_eq!(read_first.len(), 1_000, "{strategy}");
            first.commit_consumer_state(CommitMode::Sync).expect("commits");
            // A second member joins and takes half.
            let second = consumer(&address, "g", strategy);
            second.subscribe(&["t"]).expect("subscribes");
            let began = Instant::now();
            let shared = || {
                let count = |consumer: &BaseConsumer| consumer.assignment().map_or(0, |list| list.count());
                (count(&first), count(&second))
            };
            while shared() != (2, 2) && began.elapsed() < PATIENCE {
                for consumer in [&first, &second] {
                    assert!(consumer.poll(Duration::from_millis(20)).is_none(), "nothing is read twice");
                }
            }
            assert_eq!(shared(), (2, 2), "{strategy}");
            second.unsubscribe();
            drop(second);
            let began = Instant::now();
            while shared_by(&first) != 4 && began.elapsed() < PATIENCE {
                assert!(first.poll(Duration::from_millis(20)).is_none(), "nothing is read twice");
            }
            assert_eq!(shared_by(&first), 4, "{strategy}");
            let groups = first.fetch_group_list(Some("g"), PATIENCE).expect("groups");
            assert_eq!(groups.groups()[0].state(), "Stable");
        });
        broker.stop().await.expect("stops");
    }
}

/// Where the batches of a partition's only file begin.
fn batches(content: &[u8]) -> Vec<usize> {
    let mut begin = 0;
    let mut found = Vec::new();
    while begin < content.len() {
        found.push(begin);
        let length = content[begin + 8..begin + 12].try_into().expect("four bytes");
        begin += 12 + u32::from_be_bytes(length) as usize;
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_step_over_what_is_damaged() {
    let dir = tempfile::tempdir().expect("a folder");
    let (broker, address) = start(dir.path()).await;
    create(&address, topic("t", 1)).await.expect("made");
    for number in 0..5 {
        produce(&producer(&address, "none"), "t", number..number + 1).await;
    }
    broker.stop().await.expect("stops");
    let path = dir.path().join("topics/t/0").join(format!("{:020}.log", 0));
    let mut content = std::fs::read(&path).expect("reads");
    let begins = batches(&content);
    assert_eq!(begins.len(), 5);
    for behind in [begins[1], begins[3]] {
        content[behind - 1] ^= 1;
    }
    std::fs::write(&path, content).expect("writes");
    let (broker, address) = start(dir.path()).await;
    // Everything in one answer, and each batch in one of its own.
    for bytes in ["1000000", "1"] {
        let found = tokio::task::block_in_place(|| {
            let mut config = client(&address);
            config.set("group.id", "g").set("auto.offset.reset", "earliest");
            config.set("enable.auto.commit", "false").set("max.partition.fetch.bytes", bytes);
            let consumer: BaseConsumer = config.create().expect("a consumer");
            let mut all = TopicPartitionList::new();
            all.add_partition_offset("t", 0, Offset::Beginning).expect("an offset");
            consumer.assign(&all).expect("assigns");
            read(&consumer, 3)
        });
        let expected = [1, 3, 4].map(|number: i64| (0, number, number.to_string()));
        assert_eq!(found, expected, "{bytes}");
    }
    broker.stop().await.expect("stops");
}

fn shared_by(consumer: &BaseConsumer) -> usize {
    consumer.assignment().map_or(0, |list| list.count())
}

/// A folder as it is now.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let (path, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("an entry");
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(std::fs::copy(path, target).expect("copies")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_went_back_stays_there_after_a_power_loss() {
    let (before, after) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (broker, address) = start(before.path()).await;
    create(&address, topic("t", 1)).await.expect("made");
    produce(&producer(&address, "none"), "t", 0..10).await;
    let commit = |address: &str, offset: i64| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("t", 0, Offset::Offset(offset)).expect("an offset");
        tokio::task::block_in_place(|| consumer(address, "g", "range").commit(&list, CommitMode::Sync))
            .expect("commits");
    };
    commit(&address, 10);
    broker.stop().await.expect("stops");
    let (broker, address) = start(before.path()).await;
    commit(&address, 3);
    copy(before.path(), after.path());
    // As after a start of the machine: what is not known to have reached the disk counts for nothing.
    std::fs::write(after.path().join("boot-id"), "another").expect("writes");
    broker.stop().await.expect("stops");
    let (broker, address) = start(after.path()).await;
    let offset = tokio::task::block_in_place(|| {
        let mut list = TopicPartitionList::new();
        list.add_partition("t", 0);
        let committed = consumer(&address, "g", "range").committed_offsets(list, PATIENCE).expect("offsets");
        committed.elements()[0].offset()
    });
    assert_eq!(offset, Offset::Offset(3));
    broker.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_consumers_of_one_instance_the_older_one_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let (broker, address) = start(dir.path()).await;
    create(&address, topic("t", 1)).await.expect("made");
    produce(&producer(&address, "none"), "t", 0..10).await;
    tokio::task::block_in_place(|| {
        let of_instance = || -> BaseConsumer {
            let mut config = client(&address);
            config.set("group.id", "g").set("group.instance.id", "one").set("auto.offset.reset", "earliest");
            config.set("heartbeat.interval.ms", "100");
            let consumer: BaseConsumer = config.create().expect("a consumer");
            consumer.subscribe(&["t"]).expect("subscribes");
            consumer
        };
        let older = of_instance();
        assert_eq!(read(&older, 10).len(), 10);
        let newer = of_instance();
        let began = Instant::now();
        let told = || older.client().fatal_error().map(|(code, _)| code);
        while (told().is_none() || shared_by(&newer) != 1) && began.elapsed() < PATIENCE {
            for consumer in [&older, &newer] {
                consumer.poll(Duration::from_millis(20));
            }
        }
        assert_eq!(told(), Some(RDKafkaErrorCode::FencedInstanceId));
        assert_eq!(shared_by(&newer), 1);
    });
    broker.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_supported_is_refused_by_kafkas_own_errors() {
    let dir = tempfile::tempdir().expect("a folder");
    let (broker, address) = start(dir.path()).await;
    for (name, new, expected) in [
        ("bad/name", topic("bad/name", 1), RDKafkaErrorCode::InvalidTopic),
        ("none", topic("none", 0), RDKafkaErrorCode::InvalidPartitions),
        ("odd", topic("odd", 1).set("odd.setting", "1"), RDKafkaErrorCode::InvalidConfig),
    ] {
        assert_eq!(create(&address, new).await.expect_err(name).1, expected, "{name}");
    }
    create(&address, topic("small", 1).set("max.message.bytes", "1000").set("retention.ms", "5000"))
        .await
        .expect("made");
    let large = "x".repeat(5_000);
    let mut config = client(&address);
    config.set("message.timeout.ms", "60000");
    let plain: FutureProducer = config.create().expect("a producer");
    let sent = plain.send(FutureRecord::<(), _>::to("small").payload(&large), PATIENCE).await;
    assert_eq!(
        sent.expect_err("too large").0.rdkafka_error_code(),
        Some(RDKafkaErrorCode::MessageSizeTooLarge)
    );

    let described =
        admin(&address).describe_configs([&ResourceSpecifier::Topic("small")], &AdminOptions::new()).await;
    let described = described.expect("an answer").into_iter().next().expect("one").expect("a topic");
    let value = |name: &str| described.get(name).and_then(|entry| entry.value.clone());
    assert_eq!(value("max.message.bytes").as_deref(), Some("1000"));
    assert_eq!(value("retention.ms").as_deref(), Some("5000"));

    let mut config = client(&address);
    config.set("transactional.id", "t").set("transaction.timeout.ms", "3000");
    let transactional: FutureProducer = config.create().expect("a producer");
    let refused = tokio::task::block_in_place(|| {
        rdkafka::producer::Producer::init_transactions(&transactional, Duration::from_secs(3))
    });
    assert!(refused.is_err());

    let deleted = admin(&address).delete_topics(&["small"], &AdminOptions::new()).await.expect("an answer");
    assert!(deleted[0].is_ok());
    broker.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn kcat_reads_and_writes() {
    if Command::new("kcat").arg("-V").output().is_err() {
        println!("SKIPPED: kcat is not installed, so the broker was not tried with it");
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let (broker, address) = start(dir.path()).await;
    create(&address, topic("t", 1)).await.expect("made");
    let (written, read) = tokio::task::block_in_place(|| {
        let input = dir.path().join("input");
        std::fs::write(&input, "k1:eins\nk2:zwei\n").expect("writes");
        let written = Command::new("kcat")
            .args(["-P", "-b", &address, "-t", "t", "-K:", "-l"])
            .arg(&input)
            .output()
            .expect("kcat runs");
        let read = Command::new("kcat")
            .args(["-C", "-b", &address, "-t", "t", "-e", "-q", "-f", "%k=%s@%o\n"])
            .output();
        (written, read.expect("kcat runs"))
    });
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    assert_eq!(String::from_utf8_lossy(&read.stdout), "k1=eins@0\nk2=zwei@1\n");
    broker.stop().await.expect("stops");
}
