"""Sends one line to a peer. `pip install kafka-python==3.0.12`; any peer's Kafka address will do.

The value must be bytes: kafka-python refuses text unless it is told how to encode it. The flush is for its older
versions, which forget what is unsent when a short program ends.
"""

import sys

from kafka import KafkaProducer

address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
stream = sys.argv[2] if len(sys.argv) > 2 else "lines"
text = sys.argv[3] if len(sys.argv) > 3 else "Hello, world!"

producer = KafkaProducer(bootstrap_servers=address)
placed = producer.send(stream, value=text.encode()).get(timeout=10)
producer.flush()
print(f"{stream}/{placed.partition}@{placed.offset}")
