"""A client of a run under faults, by kafka-python: writes events with names of their own, or reads all there are.

    kafka_python_client.py write|read BOOTSTRAP STREAM HISTORY CLIENT RATE SEED

Keeps its history, a JSON object a line, until its input is closed; then it waits for what is under way and ends.
An event whose outcome it does not know is kept as unknown.
"""
import json
import random
import sys
import threading
import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

KEYS = 400
# After the end of its input it waits so long for what is under way.
LAST_WAIT_S = 60


def until_told(stop):
    sys.stdin.read()
    stop.set()


class History:
    def __init__(self, path):
        self.file = open(path, "w", buffering=1 << 16)
        self.lock = threading.Lock()

    def write(self, kind, line):
        text = json.dumps({kind: line}, separators=(",", ":"))
        with self.lock:
            self.file.write(text + "\n")


def write(bootstrap, stream, history, client, rate, dice, stop):
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=5,
        delivery_timeout_ms=300_000, request_timeout_ms=15_000, max_block_ms=120_000,
    )
    lock, under_way, number = threading.Lock(), {}, 0

    def ended(number, outcome, place=None):
        with lock:
            line = under_way.pop(number, None)
        if line is None:
            return
        line.update(returned=time.monotonic_ns(), outcome=outcome)
        if place:
            line["place"] = place
        history.write("append", line)

    begun = time.monotonic()
    try:
        while not stop.is_set():
            if number >= (time.monotonic() - begun) * rate or len(under_way) > 5000:
                time.sleep(0.005)
                continue
            key = dice.randrange(KEYS)
            value = {"c": client, "n": number, "k": key, "t": time.time_ns() // 1_000_000}
            line = {"c": client, "n": number, "k": key, "called": time.monotonic_ns()}
            with lock:
                under_way[number] = line
            sent = producer.send(
                stream, key=f"k{key}".encode(), value=json.dumps(value).encode(), timestamp_ms=value["t"]
            )
            sent.add_callback(lambda found, n=number: ended(n, "acked", [found.partition, found.offset]))
            sent.add_errback(lambda error, n=number: (print("lost sight:", error, file=sys.stderr), ended(n, "unknown")))
            number += 1
        producer.flush(timeout=LAST_WAIT_S)
    finally:
        # However it ended: what is under way may have happened, or happen yet.
        for number in list(under_way):
            ended(number, "unknown")
        history.file.flush()


def read(bootstrap, stream, history, client, stop):
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="none", enable_auto_commit=False,
        request_timeout_ms=15_000,
    )
    partitions = None
    while not partitions:
        partitions = consumer.partitions_for_topic(stream)
    consumer.assign([TopicPartition(stream, partition) for partition in sorted(partitions)])
    consumer.seek_to_beginning()
    while not stop.is_set():
        for batch in consumer.poll(timeout_ms=200, max_records=2000).values():
            for event in batch:
                value = json.loads(event.value)
                if (event.key.decode(), event.timestamp) != (f"k{value['k']}", value["t"]):
                    sys.exit(f"stored under the key {event.key} and the time {event.timestamp}: {value}")
                line = {"reader": client, "p": event.partition, "o": event.offset}
                history.write("seen", dict(line, **{name: value[name] for name in "cnkt"}))


def main():
    role, bootstrap, stream, path, client, rate, seed = sys.argv[1:]
    stop, history = threading.Event(), History(path)
    threading.Thread(target=until_told, args=[stop], daemon=True).start()
    bootstrap, client = bootstrap.split(","), int(client)
    if role == "write":
        write(bootstrap, stream, history, client, float(rate), random.Random(int(seed)), stop)
    else:
        read(bootstrap, stream, history, client, stop)
    history.file.close()


main()
