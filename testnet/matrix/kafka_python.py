"""kafka-python, 2.0 and 3.0."""

import kafka
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic

from cells import BOOT, NotApplicable, check, fresh, run, same, share, until

MODERN = int(kafka.__version__.split(".")[0]) >= 3


def producer(**settings):
    return KafkaProducer(bootstrap_servers=BOOT, acks="all", **settings)


def consumer(*streams, **settings):
    settings.setdefault("auto_offset_reset", "earliest")
    return KafkaConsumer(*streams, bootstrap_servers=BOOT, **settings)


def read(stream, count, partition=0, **settings):
    """The first events of a partition."""
    reader = consumer(enable_auto_commit=False, **settings)
    reader.assign([TopicPartition(stream, partition)])
    reader.seek_to_beginning()
    found = []

    def enough():
        for records in reader.poll(200).values():
            found.extend(records)
        return len(found) >= count

    until(f"{count} events", 30, enough)
    reader.close()
    return found


def plain():
    stream = fresh("plain")
    writer = producer(linger_ms=5)
    headers = [("h", b"x"), ("h", b""), ("n", b"\x00\xff")]
    base = 1_700_000_000_000
    sent = [
        writer.send(stream, key=b"k%d" % (i % 3), value=b"%d" % i, partition=0, headers=headers, timestamp_ms=base + i)
        for i in range(100)
    ]
    sent.append(writer.send(stream, key=None, value=b"", partition=0, timestamp_ms=base))
    sent.append(writer.send(stream, key=b"gone", value=None, partition=0, timestamp_ms=base))
    same([future.get(30).offset for future in sent], list(range(102)), "offsets")
    writer.close()
    found = read(stream, 102)
    same([(r.offset, r.key, r.value, r.timestamp) for r in found[:100]],
         [(i, b"k%d" % (i % 3), b"%d" % i, base + i) for i in range(100)], "events")
    same(list(found[0].headers), headers, "headers")
    same([(r.key, r.value) for r in found[100:]], [(None, b""), (b"gone", None)], "nulls")


def codecs():
    stream = fresh("codecs")
    value = b"the same words again and again " * 100
    names = [None, "gzip", "snappy", "lz4", "zstd"]
    for at, name in enumerate(names):
        writer = producer(compression_type=name, linger_ms=50)
        for _ in range(10):
            writer.send(stream, key=str(name).encode(), value=value, partition=0)
        writer.flush()
        writer.close()
        found = read(stream, 10 * (at + 1))[10 * at:]
        same([(r.key, r.value) for r in found], [(str(name).encode(), value)] * 10, f"{name}")


def sizes():
    stream = fresh("sizes")
    writer = producer(max_request_size=8_000_000)
    value = b"x" * 1_000_000
    writer.send(stream, value, partition=0).get(30)
    try:
        writer.send(stream, b"x" * 2_000_000, partition=0).get(30)
        raise AssertionError("2 MB were taken")
    except kafka.errors.MessageSizeTooLargeError:
        pass
    writer.send(stream, b"after", partition=0).get(30)
    writer.close()
    found = read(stream, 2, fetch_max_bytes=1000, max_partition_fetch_bytes=1000)
    same([len(r.value) for r in found], [1_000_000, 5], "sizes")


def produce(stream, values):
    writer = producer()
    for value in values:
        writer.send(stream, key=value.encode(), value=value.encode())
    writer.flush()
    writer.close()


def consume(stream, group, name, stopped, got):
    reader = consumer(stream, group_id=group, client_id=name, heartbeat_interval_ms=500,
                      session_timeout_ms=10_000, auto_commit_interval_ms=200)
    while not stopped():
        for records in reader.poll(100).values():
            for record in records:
                got(record.value.decode())
    reader.close()


def group():
    return share(produce, consume)


def seek():
    stream = fresh("seek")
    writer = producer()
    for i in range(50):
        writer.send(stream, b"%d" % i, partition=0, timestamp_ms=1_700_000_000_000 + 1000 * i)
    writer.flush()
    writer.close()
    partition = TopicPartition(stream, 0)
    reader = consumer(enable_auto_commit=False)
    reader.assign([partition])
    reader.seek(partition, 30)
    first = []
    until("an event", 20, lambda: first.extend(r for rs in reader.poll(200).values() for r in rs) or first)
    same(first[0].value, b"30", "after a seek")
    times = {partition: 1_700_000_020_500}
    found = reader.offsets_for_times(times)[partition]
    same((found.offset, found.timestamp), (21, 1_700_000_021_000), "by time")
    same(reader.offsets_for_times({partition: 1_900_000_000_000})[partition], None, "a time to come")
    same((reader.beginning_offsets([partition])[partition], reader.end_offsets([partition])[partition]), (0, 50), "ends")
    reader.close()


def admin():
    stream, group = fresh("admin"), fresh("group")
    tool = KafkaAdminClient(bootstrap_servers=BOOT)
    tool.create_topics([NewTopic(stream, 2, 3, topic_configs={"retention.ms": "3600000"})])
    reader = consumer()
    until("two partitions", 10, lambda: reader.partitions_for_topic(stream) == {0, 1} or reader.topics() is None)
    reader.close()
    tool.create_partitions({stream: NewPartitions(4)})
    resource = ConfigResource(ConfigResourceType.TOPIC, stream)
    shown = str(tool.describe_configs([resource]))
    check("retention.ms" in shown and "3600000" in shown, shown)
    produce(stream, [str(i) for i in range(20)])
    reader = consumer(stream, group_id=group)
    seen = []
    until("twenty events", 30, lambda: seen.extend(r for rs in reader.poll(200).values() for r in rs) or len(seen) == 20)
    reader.commit()
    described = str(tool.describe_consumer_groups([group]) if not MODERN else tool.describe_groups([group]))
    check("Stable" in described, described)
    offsets = tool.list_consumer_group_offsets(group) if not MODERN else tool.list_group_offsets([group])
    check(str(offsets).count("offset=") >= 4, str(offsets))
    reader.close()
    listed = str(tool.list_consumer_groups() if not MODERN else tool.list_groups())
    check(group in listed, listed)
    (tool.delete_consumer_groups if not MODERN else tool.delete_groups)([group])
    tool.delete_topics([stream])
    reader = consumer()
    until("it is gone", 10, lambda: stream not in reader.topics())
    reader.close()
    tool.close()


def idempotent():
    if not MODERN:
        raise NotApplicable("2.0 has no idempotent producer")
    stream = fresh("idempotent")
    writer = producer(enable_idempotence=True)
    sent = [writer.send(stream, b"%d" % i, partition=0) for i in range(500)]
    same([future.get(30).offset for future in sent], list(range(500)), "offsets")
    writer.close()
    same([r.value for r in read(stream, 500)], [b"%d" % i for i in range(500)], "order")


run({"plain": plain, "codecs": codecs, "sizes": sizes, "group": group, "seek": seek, "admin": admin,
     "idempotent": idempotent})
