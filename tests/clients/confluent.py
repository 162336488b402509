"""confluent-kafka against the embedded broker: `write`, then, after a kill, `read`; `follow` reads
what somebody else is writing."""

import sys
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic, OffsetSpec

TOPIC = "confluent"
COUNT = 10_000


def settled(futures):
    return {key: future.result(timeout=60) for key, future in futures.items()}


def consumer(broker, group, **more):
    return Consumer({
        "bootstrap.servers": broker,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "partition.assignment.strategy": "cooperative-sticky",
        **more,
    })


def take(consumers, count):
    """Polls until so many messages have come; each exactly once, in order in its partition."""
    last, found, until = {}, [], time.monotonic() + 60
    while len(found) < count and time.monotonic() < until:
        for one in consumers:
            for message in one.consume(500, timeout=0.2):
                assert message.error() is None, message.error()
                partition = message.partition()
                before = last.get(partition)
                assert before is None or message.offset() == before + 1, (partition, before, message.offset())
                last[partition] = message.offset()
                found.append(message)
    assert len(found) == count, f"{len(found)} of {count}"
    return found


def write(broker):
    admin = AdminClient({"bootstrap.servers": broker})
    settled(admin.create_topics([NewTopic(TOPIC, num_partitions=3)]))
    # Two members share the partitions, each with some before there is a message: of a partition that moves later,
    # messages would come twice.
    members = [consumer(broker, "confluent-group") for _ in range(2)]
    for member in members:
        member.subscribe([TOPIC])
    until = time.monotonic() + 60
    while not all(member.assignment() for member in members):
        assert time.monotonic() < until, [member.assignment() for member in members]
        for member in members:
            assert member.poll(0.1) is None
    producer = Producer({
        "bootstrap.servers": broker,
        "enable.idempotence": True,
        "compression.type": "zstd",
        "linger.ms": 5,
    })
    failed = []
    for number in range(COUNT):
        producer.produce(
            TOPIC,
            key=f"k{number % 100}",
            value=str(number),
            headers=[("n", str(number).encode()), ("empty", None)],
            timestamp=1_700_000_000_000 + number,
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
        producer.poll(0)
    assert producer.flush(60) == 0 and not failed, failed
    # Part of it is committed.
    found = take(members, COUNT)
    assert sorted(int(message.value()) for message in found) == list(range(COUNT))
    assert all(dict(message.headers())["n"] == message.value() for message in found)
    for partition in range(3):
        members[0].commit(offsets=[TopicPartition(TOPIC, partition, 1_000)], asynchronous=False)
    for member in members:
        member.close()


def read(broker):
    admin = AdminClient({"bootstrap.servers": broker})
    ends = settled(admin.list_offsets({TopicPartition(TOPIC, p): OffsetSpec.latest() for p in range(3)}))
    assert sum(end.offset for end in ends.values()) == COUNT
    member = consumer(broker, "confluent-group")
    member.subscribe([TOPIC])
    take([member], COUNT - 3_000)
    member.commit(asynchronous=False)
    member.close()

    settled(admin.create_partitions([NewPartitions(TOPIC, 5)]))
    assert len(admin.list_topics(TOPIC, timeout=60).topics[TOPIC].partitions) == 5
    low = settled(admin.delete_records([TopicPartition(TOPIC, 0, 500), TopicPartition(TOPIC, 1, -1)]))
    marks = {partition.partition: deleted.low_watermark for partition, deleted in low.items()}
    end = next(end.offset for partition, end in ends.items() if partition.partition == 1)
    assert marks == {0: 500, 1: end}, marks
    assert consumer(broker, "marks").get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=60)[0] == 500

    wanted = ConsumerGroupTopicPartitions("confluent-group", [TopicPartition(TOPIC, 0, 700)])
    settled(admin.alter_consumer_group_offsets([wanted]))
    asked = ConsumerGroupTopicPartitions("confluent-group", [TopicPartition(TOPIC, 0)])
    (answer,) = settled(admin.list_consumer_group_offsets([asked])).values()
    assert answer.topic_partitions[0].offset == 700
    groups = admin.list_consumer_groups(request_timeout=60).result()
    assert "confluent-group" in [group.group_id for group in groups.valid], groups
    settled(admin.describe_consumer_groups(["confluent-group"]))
    settled(admin.delete_consumer_groups(["confluent-group"]))
    settled(admin.delete_topics([TOPIC]))


def follow(broker):
    member = consumer(broker, "confluent-follow")
    member.subscribe(["users_created"])
    take([member], 40)
    member.close()


if __name__ == "__main__":
    {"write": write, "read": read, "follow": follow}[sys.argv[1]](sys.argv[2])
    print("confluent-kafka", sys.argv[1], "ok")
