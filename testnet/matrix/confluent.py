"""The adaptor of confluent-kafka, which is librdkafka."""

import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, ResourceType,
)

from adaptor import BOOT, Consumers, parse, serve, show

ADMIN = AdminClient({"bootstrap.servers": BOOT})


def write(stream, partition, codec, how, *events):
    writer = Producer({"bootstrap.servers": BOOT, "linger.ms": 5, "compression.type": codec,
                       "message.max.bytes": 8_000_000, "enable.idempotence": how == "idempotent"})
    sent, errors = {}, []

    def told(number):
        def tell(error, message):
            if error:
                errors.append(error)
            else:
                sent[number] = message.offset()
        return tell

    for number, (key, value, time_ms, headers) in enumerate(map(parse, events)):
        more = {} if time_ms is None else {"timestamp": time_ms}
        writer.produce(stream, value, key, int(partition), told(number), headers=headers, **more)
    if writer.flush(30):
        raise TimeoutError("not all events were answered")
    if errors:
        raise KafkaException(errors[0])
    return [sent[number] for number in sorted(sent)]


OPEN = {}


def begun(name, timeout_ms):
    writer = Producer({"bootstrap.servers": BOOT, "transactional.id": name, "transaction.timeout.ms": timeout_ms})
    writer.init_transactions(20)
    writer.begin_transaction()
    return writer


def put(writer, stream, partition, events):
    for key, value, _, headers in map(parse, events):
        writer.produce(stream, value, key, int(partition), headers=headers)
    if writer.flush(20):
        raise TimeoutError("not all events were answered")


def transact(name, how, stream, partition, *events):
    writer = begun(name, 3_000 if how == "open" else 30_000)
    put(writer, stream, partition, events)
    if how == "open":
        OPEN[name] = writer
    elif how == "commit":
        writer.commit_transaction(20)
    else:
        writer.abort_transaction(20)
    return []


def transfer(name, group, stream, partition, offset, text):
    writer = begun(name, 30_000)
    put(writer, stream, partition, [text])
    reader = Consumer(settled({"group.id": group}))
    places = [TopicPartition(stream, int(partition), int(offset))]
    writer.send_offsets_to_transaction(places, reader.consumer_group_metadata(), 20)
    writer.commit_transaction(20)
    reader.close()
    return []


def settled(settings):
    return {"bootstrap.servers": BOOT, "auto.offset.reset": "earliest", **settings}


def read(stream, partition, offset, count, how):
    settings = {"group.id": "nobody", "enable.auto.commit": False, "fetch.wait.max.ms": 100}
    settings["isolation.level"] = "read_committed" if how == "committed" else "read_uncommitted"
    if how == "small":
        settings |= {"fetch.max.bytes": 1000, "fetch.message.max.bytes": 1000, "message.max.bytes": 1000}
    reader = Consumer(settled(settings))
    reader.assign([TopicPartition(stream, int(partition), int(offset))])
    found, end = [], time.monotonic() + 30
    while len(found) < int(count) and time.monotonic() < end:
        for r in reader.consume(int(count), 0.2):
            if r.error():
                raise KafkaException(r.error())
            found.append(show(r.offset(), r.key(), r.value(), r.timestamp()[1], r.headers()))
    reader.close()
    return found[:int(count)]


def consume(name, stream, group, stopped, got, dealt=False):
    sessions = {"group.protocol": "consumer"} if dealt else {"heartbeat.interval.ms": 500, "session.timeout.ms": 10_000}
    reader = Consumer(settled({"group.id": group, "client.id": name, "auto.commit.interval.ms": 200, **sessions}))
    reader.subscribe([stream])
    while not stopped():
        record = reader.poll(0.1)
        if record is not None:
            if record.error():
                raise KafkaException(record.error())
            got(record.value())
    reader.close()


def asking(ask):
    reader = Consumer(settled({"group.id": "nobody"}))
    try:
        return ask(reader)
    finally:
        reader.close()


def by_time(stream, partition, time_ms):
    place = TopicPartition(stream, int(partition), int(time_ms))
    found = asking(lambda it: it.offsets_for_times([place], 10))[0]
    return found.offset if found.offset >= 0 else "-"


def done(futures):
    return [future.result(20) for future in futures.values()]


def resource(stream, entries=None):
    return ConfigResource(ResourceType.TOPIC, stream, incremental_configs=entries)


def create(stream, partitions, *settings):
    pairs = dict(it.split("=") for it in settings)
    done(ADMIN.create_topics([NewTopic(stream, int(partitions), 3, config=pairs)]))
    return []


def settings_of(stream):
    return [f"{name}={it.value}" for name, it in done(ADMIN.describe_configs([resource(stream)]))[0].items()]


def change(stream, setting):
    name, value = setting.split("=")
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    done(ADMIN.incremental_alter_configs([resource(stream, [entry])]))
    return []


def trim(stream, partition, offset):
    done(ADMIN.delete_records([TopicPartition(stream, int(partition), int(offset))]))
    return []


def committed(group, stream, partition):
    wanted = [ConsumerGroupTopicPartitions(group, [TopicPartition(stream, int(partition))])]
    return done(ADMIN.list_consumer_group_offsets(wanted))[0].topic_partitions[0].offset


def parts(stream):
    found = ADMIN.list_topics(stream, 10).topics[stream]
    return len(found.partitions)


def grow(stream, count):
    done(ADMIN.create_partitions([NewPartitions(stream, int(count))]))
    return []


consumers = Consumers(consume)
serve({
    "write": write, "read": read, "time": by_time, "create": create, "settings": settings_of, "set": change,
    "trim": trim, "committed": committed, "parts": parts, "grow": grow,
    "transact": transact, "transfer": transfer,
    "finish": lambda name: OPEN.pop(name).commit_transaction(20) or [],
    "ends": lambda stream, partition: list(
        asking(lambda it: it.get_watermark_offsets(TopicPartition(stream, int(partition)), 10))),
    "state": lambda group: done(ADMIN.describe_consumer_groups([group]))[0].state.name.capitalize(),
    "groups": lambda: [it.group_id for it in ADMIN.list_consumer_groups().result(20).valid],
    "way": lambda group: next(
        it.type.name.capitalize() for it in ADMIN.list_consumer_groups().result(20).valid if it.group_id == group),
    "ungroup": lambda group: done(ADMIN.delete_consumer_groups([group])) and [],
    "delete": lambda stream: done(ADMIN.delete_topics([stream])) and [],
    "streams": lambda: sorted(ADMIN.list_topics(timeout=10).topics),
    "join": consumers.join, "deal": consumers.deal, "leave": consumers.leave,
})
