"""A client of a run under faults, by librdkafka (confluent-kafka): writes events with names of their own, or reads
all there are. Arguments and history are those of kafka_python_client.py.
"""
import json
import random
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, OFFSET_BEGINNING, Producer, TopicPartition

KEYS = 400
# After the end of its input it waits so long for what is under way.
LAST_WAIT_S = 60


def until_told(stop):
    sys.stdin.read()
    stop.set()


def keep(history, kind, line):
    history.write(json.dumps({kind: line}, separators=(",", ":")) + "\n")


def write(bootstrap, stream, history, client, rate, dice, stop):
    fatal = []

    def complain(error):
        if error.fatal():
            fatal.append(error)

    producer = Producer({
        "bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5,
        "message.timeout.ms": 300_000, "partitioner": "consistent_random", "error_cb": complain,
        "reconnect.backoff.max.ms": 1000,
    })
    under_way, number = {}, 0

    def ended(number, outcome, place=None):
        line = under_way.pop(number)
        line.update(returned=time.monotonic_ns(), outcome=outcome)
        if place:
            line["place"] = place
        keep(history, "append", line)

    def delivered(number, error, event):
        if error is None:
            # A repeated batch whose first answer was lost may be acknowledged without its place.
            place = None if event.offset() is None or event.offset() < 0 else [event.partition(), event.offset()]
            ended(number, "acked", place)
        else:
            print("lost sight:", error, file=sys.stderr)
            ended(number, "unknown")

    begun = time.monotonic()
    while not stop.is_set() and not fatal:
        producer.poll(0)
        if number >= (time.monotonic() - begun) * rate or len(under_way) > 20_000:
            producer.poll(0.005)
            continue
        key = dice.randrange(KEYS)
        value = {"c": client, "n": number, "k": key, "t": time.time_ns() // 1_000_000}
        under_way[number] = {"c": client, "n": number, "k": key, "called": time.monotonic_ns()}
        producer.produce(
            stream, key=f"k{key}", value=json.dumps(value), timestamp=value["t"],
            on_delivery=lambda error, event, n=number: delivered(n, error, event),
        )
        number += 1
    if not fatal:
        producer.flush(LAST_WAIT_S)
    for number in list(under_way):
        ended(number, "unknown")
    if fatal:
        sys.exit(f"the producer cannot go on: {fatal[0].str()}")


def read(bootstrap, stream, history, client, stop):
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": f"reader-{client}", "enable.auto.commit": False,
        "auto.offset.reset": "error", "reconnect.backoff.max.ms": 1000,
    })
    partitions = None
    while not partitions and not stop.is_set():
        try:
            partitions = consumer.list_topics(stream, timeout=5).topics[stream].partitions
        except KafkaException as error:
            print("asking again:", error, file=sys.stderr)
    consumer.assign([TopicPartition(stream, number, OFFSET_BEGINNING) for number in sorted(partitions)])
    while not stop.is_set():
        for event in consumer.consume(num_messages=1000, timeout=0.2):
            if event.error():
                # Offsets outside of a partition are never right here: nothing is trimmed.
                if event.error().name() in ("_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE"):
                    sys.exit(f"the reader cannot go on: {event.error()}")
                continue
            value = json.loads(event.value())
            if (event.key().decode(), event.timestamp()[1]) != (f"k{value['k']}", value["t"]):
                sys.exit(f"stored under the key {event.key()} and the time {event.timestamp()}: {value}")
            line = {"reader": client, "p": event.partition(), "o": event.offset()}
            keep(history, "seen", dict(line, **{name: value[name] for name in "cnkt"}))


def main():
    role, bootstrap, stream, path, client, rate, seed = sys.argv[1:]
    stop = threading.Event()
    threading.Thread(target=until_told, args=[stop], daemon=True).start()
    with open(path, "w", buffering=1 << 16) as history:
        if role == "write":
            write(bootstrap, stream, history, int(client), float(rate), random.Random(int(seed)), stop)
        else:
            read(bootstrap, stream, history, int(client), stop)


main()
