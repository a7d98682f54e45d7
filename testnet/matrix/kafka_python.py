"""The adaptor of kafka-python, 2.0 and 3.0."""

import time

import kafka
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic

from adaptor import BOOT, Consumers, NotApplicable, parse, serve, show

MODERN = int(kafka.__version__.split(".")[0]) >= 3
BOOTS = BOOT.split(",")
ADMIN = []


def tool():
    if not ADMIN:
        ADMIN.append(KafkaAdminClient(bootstrap_servers=BOOTS))
    return ADMIN[0]


def write(stream, partition, codec, how, *events):
    settings = {"acks": "all", "linger_ms": 5, "max_request_size": 8_000_000}
    if codec != "none":
        settings["compression_type"] = codec
    if how == "idempotent":
        if not MODERN:
            raise NotApplicable("2.0 has no idempotent producer")
        settings["enable_idempotence"] = True
    writer = KafkaProducer(bootstrap_servers=BOOTS, **settings)
    sent = []
    for key, value, time_ms, headers in map(parse, events):
        sent.append(writer.send(stream, value, key, headers, int(partition), time_ms))
    try:
        return [future.get(30).offset for future in sent]
    finally:
        writer.close()


OPEN = {}


def begun(name, timeout_ms):
    if not MODERN:
        raise NotApplicable("2.0 has no transactions")
    writer = KafkaProducer(bootstrap_servers=BOOTS, transactional_id=name, transaction_timeout_ms=timeout_ms)
    writer.init_transactions()
    writer.begin_transaction()
    return writer


def transact(name, how, stream, partition, *events):
    writer = begun(name, 3_000 if how == "open" else 30_000)
    for key, value, time_ms, headers in map(parse, events):
        writer.send(stream, value, key, headers, int(partition), time_ms).get(20)
    if how == "open":
        OPEN[name] = writer
        return
    writer.commit_transaction() if how == "commit" else writer.abort_transaction()
    writer.close()


def transfer(name, group, stream, partition, offset, text):
    writer = begun(name, 30_000)
    key, value, time_ms, headers = parse(text)
    writer.send(stream, value, key, headers, int(partition), time_ms)
    place = OffsetAndMetadata(int(offset), "", -1)
    writer.send_offsets_to_transaction({TopicPartition(stream, int(partition)): place}, group)
    writer.commit_transaction()
    writer.close()


def read(stream, partition, offset, count, how):
    settings = {"fetch_max_bytes": 1000, "max_partition_fetch_bytes": 1000} if how == "small" else {}
    if how == "committed":
        settings["isolation_level"] = "read_committed"
    reader = KafkaConsumer(bootstrap_servers=BOOTS, enable_auto_commit=False, **settings)
    place = TopicPartition(stream, int(partition))
    reader.assign([place])
    reader.seek(place, int(offset))
    found, end = [], time.monotonic() + 30
    while len(found) < int(count) and time.monotonic() < end:
        for records in reader.poll(200).values():
            found.extend(show(r.offset, r.key, r.value, r.timestamp, r.headers) for r in records)
    reader.close()
    return found[:int(count)]


def consume(name, stream, group, stopped, got):
    reader = KafkaConsumer(stream, bootstrap_servers=BOOTS, group_id=group, client_id=name, auto_offset_reset="earliest",
                           heartbeat_interval_ms=500, session_timeout_ms=10_000, auto_commit_interval_ms=200)
    while not stopped():
        for records in reader.poll(100).values():
            for record in records:
                got(record.value)
    reader.close()


def asking(ask):
    reader = KafkaConsumer(bootstrap_servers=BOOTS)
    try:
        return ask(reader)
    finally:
        reader.close()


def ends(stream, partition):
    place = TopicPartition(stream, int(partition))
    return asking(lambda it: [it.beginning_offsets([place])[place], it.end_offsets([place])[place]])


def by_time(stream, partition, time_ms):
    place = TopicPartition(stream, int(partition))
    found = asking(lambda it: it.offsets_for_times({place: int(time_ms)})[place])
    return found.offset if found else "-"


def create(stream, partitions, *settings):
    pairs = dict(it.split("=") for it in settings)
    tool().create_topics([NewTopic(stream, int(partitions), 3, topic_configs=pairs)])


def resource(stream, settings=None):
    return ConfigResource(ConfigResourceType.TOPIC, stream, settings)


def settings_of(stream):
    found = tool().describe_configs([resource(stream)])
    if MODERN:
        return [f"{name}={it['value']}" for name, it in found["topic"][stream].items()]
    return [f"{it[0]}={it[1]}" for answer in found for one in answer.resources for it in one[4]]


def change(stream, setting):
    if not MODERN:
        raise NotApplicable("2.0 alters all settings or none")
    tool().alter_configs([resource(stream, dict([setting.split("=")]))])


def trim(stream, partition, offset):
    if not MODERN:
        raise NotApplicable("2.0 cannot trim")
    tool().delete_records({TopicPartition(stream, int(partition)): int(offset)})


def state(group):
    found = tool().describe_groups([group]) if MODERN else tool().describe_consumer_groups([group])
    return found[group]["group_state"] if MODERN else found[0].state


def groups():
    found = tool().list_groups() if MODERN else tool().list_consumer_groups()
    return [it["group_id"] for it in found] if MODERN else [it[0] for it in found]


def committed(group, stream, partition):
    place = TopicPartition(stream, int(partition))
    if MODERN:
        return tool().list_group_offsets([group])[group][place].offset
    return tool().list_consumer_group_offsets(group)[place].offset


serve({
    "write": write, "read": read, "ends": ends, "time": by_time, "create": create, "settings": settings_of,
    "transact": transact, "transfer": transfer, "finish": lambda name: OPEN.pop(name).commit_transaction(),
    "set": change, "trim": trim, "state": state, "groups": groups, "committed": committed,
    "grow": lambda stream, count: tool().create_partitions({stream: NewPartitions(int(count))}),
    "parts": lambda stream: asking(lambda it: len(it.partitions_for_topic(stream) or [])),
    "ungroup": lambda group: (tool().delete_groups if MODERN else tool().delete_consumer_groups)([group]),
    "delete": lambda stream: tool().delete_topics([stream]),
    "streams": lambda: sorted(asking(lambda it: it.topics())),
    "join": (consumers := Consumers(consume)).join, "leave": consumers.leave,
})
