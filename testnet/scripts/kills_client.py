"""Clients while peers die, as a program would use them: what it hears goes to its history, a JSON object a line.

  kills_client.py python|idempotent|plain BOOTSTRAP STREAM HISTORY NAME RATE   writes at a rate until its input ends
  kills_client.py group|python-group      BOOTSTRAP STREAM HISTORY NAME RATE   reads in group NAME until its input ends
  kills_client.py dealt|dealt-pattern     BOOTSTRAP STREAM HISTORY NAME RATE   reads in a group whose coordinator deals
  kills_client.py describe                BOOTSTRAP STREAM HISTORY NAME RATE   who shares group NAME, and who coordinates it
  kills_client.py aio|aio-group|aio-begin BOOTSTRAP STREAM HISTORY NAME RATE   the same by aiokafka; one fresh reader a second,
    which asks where RATE partitions end

`python` and `python-group` are kafka-python at its defaults, `plain` is librdkafka at its defaults, `idempotent` the same
with enable.idempotence, `group` a consumer of librdkafka, `dealt` one with group.protocol=consumer,
`dealt-pattern` one that wants all streams that begin as STREAM does. `aio` and `aio-group` are aiokafka
at its defaults.
"""
import asyncio
import json
import sys
import threading
import time

DEALT = {"group.protocol": "consumer", "auto.commit.interval.ms": 500}
# After the end of its input a writer waits so long for what is under way.
LAST_WAIT_S = 90


def value(name, number):
    return json.dumps({"w": name, "n": number}).encode()


def paced(rate, stop):
    """Numbers from 0 on, each when it is due."""
    begun, number = time.monotonic(), 0
    while not stop.is_set():
        if number >= (time.monotonic() - begun) * rate:
            time.sleep(0.002)
            yield None
        else:
            yield number
            number += 1


def write_python(bootstrap, stream, keep, name, rate, stop):
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=bootstrap.split(","))
    for number in paced(rate, stop):
        if number is None:
            continue
        try:
            sent = producer.send(stream, key=b"k%d" % (number % 97), value=value(name, number))
        except Exception as error:
            keep(w=name, n=number, error=repr(error))
            continue
        sent.add_callback(lambda found, n=number: keep(w=name, n=n, p=found.partition, o=found.offset))
        sent.add_errback(lambda error, n=number: keep(w=name, n=n, error=repr(error)))
    producer.flush(timeout=LAST_WAIT_S)
    producer.close()


def write_librdkafka(bootstrap, stream, keep, name, rate, stop, idempotent):
    from confluent_kafka import Producer

    settings = {"enable.idempotence": True} if idempotent else {}
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 2, **settings})

    def told(number, error, event):
        if error is None:
            keep(w=name, n=number, p=event.partition(), o=event.offset())
        else:
            keep(w=name, n=number, error=str(error))

    for number in paced(rate, stop):
        producer.poll(0)
        if number is None:
            continue
        producer.produce(
            stream, key=b"k%d" % (number % 97), value=value(name, number),
            on_delivery=lambda error, event, n=number: told(n, error, event),
        )
    left = producer.flush(LAST_WAIT_S)
    if left:
        keep(w=name, n=-1, error=f"{left} are under way still")


def read_librdkafka(bootstrap, stream, keep, name, stop, more):
    from confluent_kafka import Consumer

    reader = Consumer({"bootstrap.servers": bootstrap, "log_level": 2, "group.id": name, "auto.offset.reset": "earliest",
                       **more})
    reader.subscribe([stream])
    while not stop.is_set():
        event = reader.poll(0.1)
        if event is not None and event.error() is None:
            keep(p=event.partition(), o=event.offset(), at=time.monotonic_ns(), **json.loads(event.value()))
    reader.close()


def describe(bootstrap, keep, name):
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": bootstrap})
    try:
        found = admin.describe_consumer_groups([name])[name].result(20)
    except Exception as error:  # noqa: BLE001: who waits for the group asks again
        print(f"{name} is not described: {error}", file=sys.stderr)
        return
    shares = {it.client_id + str(n): [place.partition for place in it.assignment.topic_partitions]
              for n, it in enumerate(found.members)}
    keep(state=found.state.name, way=found.type.name, port=found.coordinator.port, shares=shares)


def read_python(bootstrap, stream, keep, name, stop):
    from kafka import KafkaConsumer

    reader = KafkaConsumer(
        stream, bootstrap_servers=bootstrap.split(","), group_id=name, auto_offset_reset="earliest")
    while not stop.is_set():
        for batch in reader.poll(timeout_ms=100).values():
            for event in batch:
                keep(p=event.partition, o=event.offset, at=time.monotonic_ns(), **json.loads(event.value))
    reader.close()


async def write_aio(bootstrap, stream, keep, name, rate, stop):
    from aiokafka import AIOKafkaProducer

    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    under_way = set()

    async def one(number):
        try:
            found = await (await producer.send(stream, key=b"k%d" % (number % 97), value=value(name, number)))
            keep(w=name, n=number, p=found.partition, o=found.offset)
        except Exception as error:
            keep(w=name, n=number, error=repr(error))

    begun, number = time.monotonic(), 0
    while not stop.is_set():
        while number < (time.monotonic() - begun) * rate:
            task = asyncio.create_task(one(number))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            number += 1
        await asyncio.sleep(0.005)
    await asyncio.wait_for(asyncio.gather(*under_way), LAST_WAIT_S)
    await producer.stop()


async def read_aio(bootstrap, stream, keep, name, stop):
    from aiokafka import AIOKafkaConsumer

    reader = AIOKafkaConsumer(stream, bootstrap_servers=bootstrap, group_id=name, auto_offset_reset="earliest")
    await reader.start()
    while not stop.is_set():
        for batch in (await reader.getmany(timeout_ms=100)).values():
            for event in batch:
                keep(p=event.partition, o=event.offset, at=time.monotonic_ns(), **json.loads(event.value))
    await reader.stop()


async def begin_aio(bootstrap, stream, keep, partitions, stop):
    """A fresh reader each second; what it knows of leaders is some seconds old when it asks where partitions end."""
    from aiokafka import AIOKafkaConsumer, TopicPartition

    async def one():
        reader = AIOKafkaConsumer(bootstrap_servers=bootstrap)
        await reader.start()
        try:
            # It fetches nothing: nobody else tells it of new leaders.
            places = [TopicPartition(stream, at) for at in range(partitions)]
            await reader.end_offsets(places)
            await asyncio.sleep(3)
            began = time.monotonic()
            ends = await reader.end_offsets(places)
            keep(after_s=time.monotonic() - began, partitions=len(ends))
        finally:
            await reader.stop()

    under_way = []
    while not stop.is_set():
        under_way.append(asyncio.create_task(one()))
        await asyncio.sleep(1)
    await asyncio.wait_for(asyncio.gather(*under_way), LAST_WAIT_S)


def main():
    role, bootstrap, stream, path, name, rate = sys.argv[1:]
    stop, lock = threading.Event(), threading.Lock()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    # One that may be killed loses no line it has written.
    with open(path, "w", buffering=1 if role.startswith("dealt") else 1 << 16) as history:
        def keep(**line):
            with lock:
                history.write(json.dumps(line, separators=(",", ":")) + "\n")

        if role == "python":
            write_python(bootstrap, stream, keep, name, float(rate), stop)
        elif role in ("idempotent", "plain"):
            write_librdkafka(bootstrap, stream, keep, name, float(rate), stop, role == "idempotent")
        elif role == "aio":
            asyncio.run(write_aio(bootstrap, stream, keep, name, float(rate), stop))
        elif role == "aio-group":
            asyncio.run(read_aio(bootstrap, stream, keep, name, stop))
        elif role == "aio-begin":
            asyncio.run(begin_aio(bootstrap, stream, keep, int(rate), stop))
        elif role == "group":
            read_librdkafka(bootstrap, stream, keep, name, stop, {})
        elif role == "dealt":
            read_librdkafka(bootstrap, stream, keep, name, stop, DEALT)
        elif role == "dealt-pattern":
            read_librdkafka(bootstrap, f"^{stream}.*", keep, name, stop, DEALT)
        elif role == "describe":
            describe(bootstrap, keep, name)
        else:
            read_python(bootstrap, stream, keep, name, stop)


main()
