"""The adaptor of kcat, an old librdkafka, which is run anew for each verb."""

import json
import shutil
import subprocess
import threading

from adaptor import BOOT, Consumers, NotApplicable, parse, serve, show

KCAT = shutil.which("kcat") or "kcat"


def kcat(*words, told=b"", seconds=40):
    done = subprocess.run([KCAT, "-b", BOOT, *words], input=told, capture_output=True, timeout=seconds)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace").strip().replace("\n", " ")[-300:])
    return done.stdout.decode()


def write(stream, partition, codec, how, *events):
    """One run for all: kcat tells no offsets, so those are counted from the end as it was before."""
    first = ends(stream, partition)[1] if stream in streams() else 0
    settings = ["-X", "message.max.bytes=8000000", "-X", "linger.ms=5"]
    settings += ["-z", codec] if codec != "none" else []
    settings += ["-X", "enable.idempotence=true"] if how == "idempotent" else []
    parsed = [parse(it) for it in events]
    if any(b"" in (key, value) for key, value, _, _ in parsed):
        raise NotApplicable("kcat takes empty for null")
    # Headers are the same for a whole run.
    heads = [word for name, content in parsed[0][3] for word in ("-H", f"{name}={content.decode()}")]
    lines = []
    for key, value, _, _ in parsed:
        lines.append((b"" if key is None else key) + b"\x01" + (b"" if value is None else value))
    kcat("-P", "-t", stream, "-p", partition, "-K", "\x01", "-Z", "-D", "\x02", *heads, *settings,
         told=b"\x02".join(lines))
    return list(range(first, first + len(events)))


def shown(text):
    found = json.loads(text)
    value = found["payload"]
    pairs = found.get("headers") or []
    heads = [(name, content.encode()) for name, content in zip(pairs[::2], pairs[1::2])]
    key = found["key"]
    return show(found["offset"], key.encode() if key is not None else None,
                value.encode() if value is not None else None, found["ts"], heads)


def read(stream, partition, offset, count, how):
    settings = ["-X", "fetch.message.max.bytes=1000", "-X", "message.max.bytes=1000"] if how == "small" else []
    text = kcat("-C", "-J", "-e", "-q", "-t", stream, "-p", partition, "-o", offset, "-c", count, *settings)
    return [shown(line) for line in text.splitlines()]


def consume(name, stream, group, stopped, got):
    running = subprocess.Popen(
        [KCAT, "-b", BOOT, "-G", group, "-J", "-q", "-u", "-X", "auto.offset.reset=earliest", "-X", f"client.id={name}",
         "-X", "heartbeat.interval.ms=500", "-X", "session.timeout.ms=10000", "-X", "auto.commit.interval.ms=200",
         stream], stdout=subprocess.PIPE, text=True)

    def listen():
        for line in running.stdout:
            got(json.loads(line)["payload"].encode())

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    while not stopped():
        if running.poll() is not None:
            raise RuntimeError(f"kcat ended with {running.returncode}")
        listener.join(0.05)
    running.terminate()
    running.wait(20)
    listener.join(5)


def query(stream, partition, what):
    text = kcat("-Q", "-t", f"{stream}:{partition}:{what}")
    return int(text.split("offset")[1].split()[0])


def ends(stream, partition):
    return [query(stream, partition, -2), query(stream, partition, -1)]


def by_time(_stream, _partition, _time_ms):
    raise NotApplicable("kcat sets no times")


def listed(*words):
    return json.loads(kcat("-L", "-J", *words))["topics"]


def streams():
    return sorted(it["topic"] for it in listed())


def create(stream, partitions, *_settings):
    raise NotApplicable("kcat makes no topics but by use")


def parts(stream):
    return len(listed("-t", stream)[0]["partitions"])


consumers = Consumers(consume)
serve({"write": write, "read": read, "ends": ends, "time": by_time, "streams": streams, "parts": parts,
       "create": create, "join": consumers.join, "leave": consumers.leave})
