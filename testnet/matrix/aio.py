"""The adaptor of aiokafka."""

import asyncio
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from adaptor import BOOT, Consumers, parse, serve, show


def in_loop(work):
    return lambda *words: asyncio.run(work(*words))


@in_loop
async def write(stream, partition, codec, how, *events):
    writer = AIOKafkaProducer(
        bootstrap_servers=BOOT, acks="all", linger_ms=5, compression_type=None if codec == "none" else codec,
        max_request_size=8_000_000, enable_idempotence=how == "idempotent")
    await writer.start()
    try:
        sent = []
        for key, value, time_ms, headers in map(parse, events):
            sent.append(await writer.send(stream, value, key, int(partition), time_ms, headers))
        return [(await future).offset for future in sent]
    finally:
        await writer.stop()


OPEN = {}
# A producer lives in the loop that made it.
LOOP = asyncio.new_event_loop()


def in_one_loop(work):
    return lambda *words: LOOP.run_until_complete(work(*words))


async def begun(name, timeout_ms):
    writer = AIOKafkaProducer(bootstrap_servers=BOOT, transactional_id=name, transaction_timeout_ms=timeout_ms)
    await writer.start()
    await writer.begin_transaction()
    return writer


@in_one_loop
async def transact(name, how, stream, partition, *events):
    writer = await begun(name, 3_000 if how == "open" else 30_000)
    for key, value, time_ms, headers in map(parse, events):
        await writer.send_and_wait(stream, value, key, int(partition), time_ms, headers)
    if how == "open":
        OPEN[name] = writer
        return
    await (writer.commit_transaction() if how == "commit" else writer.abort_transaction())
    await writer.stop()


@in_one_loop
async def finish(name):
    await OPEN.pop(name).commit_transaction()


@in_one_loop
async def transfer(name, group, stream, partition, offset, text):
    writer = await begun(name, 30_000)
    key, value, time_ms, headers = parse(text)
    await writer.send_and_wait(stream, value, key, int(partition), time_ms, headers)
    await writer.send_offsets_to_transaction({TopicPartition(stream, int(partition)): int(offset)}, group)
    await writer.commit_transaction()
    await writer.stop()


@in_loop
async def read(stream, partition, offset, count, how):
    settings = {"fetch_max_bytes": 1000, "max_partition_fetch_bytes": 1000} if how == "small" else {}
    if how == "committed":
        settings["isolation_level"] = "read_committed"
    reader = AIOKafkaConsumer(bootstrap_servers=BOOT, enable_auto_commit=False, **settings)
    await reader.start()
    try:
        place = TopicPartition(stream, int(partition))
        reader.assign([place])
        reader.seek(place, int(offset))
        found, end = [], time.monotonic() + 30
        while len(found) < int(count) and time.monotonic() < end:
            for records in (await reader.getmany(timeout_ms=200)).values():
                found.extend(show(r.offset, r.key, r.value, r.timestamp, r.headers) for r in records)
        return found[:int(count)]
    finally:
        await reader.stop()


@in_loop
async def consume(name, stream, group, stopped, got):
    reader = AIOKafkaConsumer(
        stream, bootstrap_servers=BOOT, group_id=group, client_id=name, auto_offset_reset="earliest",
        heartbeat_interval_ms=500, session_timeout_ms=10_000, auto_commit_interval_ms=200)
    await reader.start()
    try:
        while not stopped():
            for records in (await reader.getmany(timeout_ms=100)).values():
                for record in records:
                    got(record.value)
    finally:
        await reader.stop()


def asking(ask):
    async def work(*words):
        reader = AIOKafkaConsumer(bootstrap_servers=BOOT)
        await reader.start()
        try:
            return await ask(reader, *words)
        finally:
            await reader.stop()
    return in_loop(work)


async def ends(reader, stream, partition):
    place = TopicPartition(stream, int(partition))
    return [(await reader.beginning_offsets([place]))[place], (await reader.end_offsets([place]))[place]]


async def by_time(reader, stream, partition, time_ms):
    place = TopicPartition(stream, int(partition))
    found = (await reader.offsets_for_times({place: int(time_ms)}))[place]
    return found.offset if found else "-"


async def streams(reader):
    return sorted(await reader.topics())


def told(answer):
    """An answer's errors are not raised by this client's tool."""
    for one in getattr(answer, "topic_errors", None) or getattr(answer, "topic_error_codes", None) or []:
        if one[1]:
            raise RuntimeError(f"error {one[1]} for {one[0]}")


def by_tool(ask):
    async def work(*words):
        tool = AIOKafkaAdminClient(bootstrap_servers=BOOT)
        await tool.start()
        try:
            return await ask(tool, *words)
        finally:
            await tool.close()
    return in_loop(work)


async def create(tool, stream, partitions, *settings):
    pairs = dict(it.split("=") for it in settings)
    told(await tool.create_topics([NewTopic(stream, int(partitions), 3, topic_configs=pairs)]))


async def grow(tool, stream, count):
    told(await tool.create_partitions({stream: NewPartitions(int(count))}))


async def parts(tool, stream):
    return len((await tool.describe_topics([stream]))[0]["partitions"])


async def settings_of(tool, stream):
    found = await tool.describe_configs([ConfigResource(ConfigResourceType.TOPIC, stream)])
    return [f"{it[0]}={it[1]}" for answer in found for one in answer.resources for it in one[4]]


async def state(tool, group):
    found = await tool.describe_consumer_groups([group])
    return found[0].groups[0][2]


async def groups(tool):
    return [it[0] for it in await tool.list_consumer_groups()]


async def committed(tool, group, stream, partition):
    place = TopicPartition(stream, int(partition))
    return (await tool.list_consumer_group_offsets(group))[place].offset


async def delete(tool, stream):
    told(await tool.delete_topics([stream]))


consumers = Consumers(consume)
serve({
    "write": write, "read": read, "ends": asking(ends), "time": asking(by_time), "parts": by_tool(parts),
    "streams": asking(streams), "create": by_tool(create), "grow": by_tool(grow), "settings": by_tool(settings_of),
    "transact": transact, "finish": finish, "transfer": transfer,
    "state": by_tool(state), "groups": by_tool(groups), "committed": by_tool(committed), "delete": by_tool(delete),
    "join": consumers.join, "leave": consumers.leave,
})
