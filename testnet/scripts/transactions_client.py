"""Transactions by librdkafka (confluent-kafka), while peers die: each writes events to all partitions, or to none.

  transactions_client.py write BOOTSTRAP STREAM PARTITIONS HISTORY CLIENT SEED   until its input ends
  transactions_client.py read  BOOTSTRAP STREAM PARTITIONS HISTORY CLIENT SEED   until its input ends, then to the end

A writer keeps what became of each transaction; a reader (read_committed) keeps each event it was shown.
"""
import json
import random
import sys
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

EVENTS = 3
# How long one transaction is ended, again and again, until its fate counts as unknown.
END_S = 60


def fresh(bootstrap, client):
    """The producer of a transactional id, made anew until there is one."""
    while True:
        producer = Producer({
            "bootstrap.servers": bootstrap, "log_level": 2, "transactional.id": f"writer-{client}", "transaction.timeout.ms": 20_000,
            "linger.ms": 2, "reconnect.backoff.max.ms": 1000,
        })
        try:
            producer.init_transactions(20)
            return producer
        except KafkaException as error:
            print("begins anew:", error, file=sys.stderr)


def end(producer, commit):
    """Ends a transaction, as its documentation says: repeated while that may help, given up where it must be."""
    until = time.monotonic() + END_S
    while time.monotonic() < until:
        try:
            producer.commit_transaction(5) if commit else producer.abort_transaction(5)
            return "committed" if commit else "aborted"
        except KafkaException as failed:
            error = failed.args[0]
            if error.txn_requires_abort():
                commit = False
            elif not error.retriable():
                raise
    raise TimeoutError("it does not end")


def write(bootstrap, stream, partitions, history, client, dice, stop):
    producer, number = fresh(bootstrap, client), 0
    while not stop.is_set():
        began, commit, outcome = time.monotonic(), dice.random() < 0.8, "unknown"
        try:
            producer.begin_transaction()
            for partition in range(partitions):
                for event in range(EVENTS):
                    producer.produce(stream, json.dumps({"c": client, "n": number, "e": event}), partition=partition)
            outcome = end(producer, commit)
        except (KafkaException, TimeoutError) as error:
            print("lost sight:", number, error, file=sys.stderr)
            producer = fresh(bootstrap, client)
        line = {"c": client, "n": number, "outcome": outcome, "took": time.monotonic() - began}
        history.write(json.dumps(line) + "\n")
        number += 1


def read(bootstrap, stream, partitions, history, stop):
    reader = Consumer({
        "bootstrap.servers": bootstrap, "log_level": 2, "group.id": "nobody", "enable.auto.commit": False,
        "isolation.level": "read_committed", "auto.offset.reset": "error", "enable.partition.eof": True,
        "reconnect.backoff.max.ms": 1000,
    })
    everywhere = [TopicPartition(stream, number) for number in range(partitions)]
    reader.assign([TopicPartition(stream, number, OFFSET_BEGINNING) for number in range(partitions)])
    ended, last = set(), False
    while len(ended) < partitions:
        for event in reader.consume(1000, 0.2):
            if event.error() is None:
                value = json.loads(event.value())
                history.write(json.dumps(dict(value, p=event.partition(), o=event.offset())) + "\n")
            elif event.error().code() != KafkaError._PARTITION_EOF:
                sys.exit(f"the reader cannot go on: {event.error()}")
            elif last:
                ended.add(event.partition())
        if stop.is_set() and not last:
            # The end is told once, when it is reached: from here on it is asked for again.
            last = True
            for place in reader.position(everywhere):
                offset = place.offset if place.offset >= 0 else OFFSET_BEGINNING
                reader.seek(TopicPartition(stream, place.partition, offset))


def main():
    role, bootstrap, stream, partitions, path, client, seed = sys.argv[1:]
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    with open(path, "w") as history:
        if role == "write":
            write(bootstrap, stream, int(partitions), history, int(client), random.Random(int(seed)), stop)
        else:
            read(bootstrap, stream, int(partitions), history, stop)


main()
