"""Puts one client through every cell of the matrix: `cells.py BOOTSTRAP COMMAND...`.

COMMAND starts the client's adaptor (the others of this folder), which does one thing a line:

    VERB WORD...  ->  ok WORD... | none REASON (the client has no such thing) | failed TEXT

and says `got NAME VALUE` and `bad NAME TEXT` of its own accord while consumers of a group run. Bytes are in hex,
`-` is null, `.` is empty; an event is KEY:VALUE:TIME:HEADERS, with HEADERS as NAME=VALUE,NAME=VALUE; what is read has OFFSET:
before it. Prints one line a cell: `CELL <name> ok|n/a|FAILED <detail>`.
"""

import queue
import subprocess
import sys
import threading
import time
import traceback
import uuid

BASE_MS = 1_700_000_000_000
ANSWER_S = 45


class NotApplicable(Exception):
    """The client has no such thing; the text says so."""


class Failed(Exception):
    """What the client said went wrong."""


def fresh(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def check(truth, what):
    if not truth:
        raise AssertionError(what)


def same(found, expected, what):
    check(found == expected, f"{what}: {found!r} instead of {expected!r}"[:600])


def until(what, seconds, done):
    """Waits for something that must come to pass."""
    end = time.monotonic() + seconds
    while not done():
        check(time.monotonic() < end, f"{what} not within {seconds} s")
        time.sleep(0.02)


def word(value):
    if value is None:
        return "-"
    return value.hex() or "."


def unword(text):
    return None if text == "-" else b"" if text == "." else bytes.fromhex(text)


def event(key, value, time_ms=None, headers=()):
    said = ",".join(f"{word(name)}={word(content)}" for name, content in headers)
    return f"{word(key)}:{word(value)}:{'-' if time_ms is None else time_ms}:{said or '.'}"


class Event:
    def __init__(self, text):
        offset, key, value, time_ms, headers = text.split(":")
        self.offset, self.key, self.value, self.time_ms = int(offset), unword(key), unword(value), int(time_ms)
        pairs = [] if headers == "." else [pair.split("=") for pair in headers.split(",")]
        self.headers = [(unword(name), unword(content)) for name, content in pairs]


class Client:
    """An adaptor at work."""

    def __init__(self, boot, command):
        self.adaptor = subprocess.Popen([*command, boot], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answers = queue.Queue()
        self.lock = threading.Lock()
        self.got, self.bad = {}, []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.adaptor.stdout:
            verb, _, rest = line.rstrip("\n").partition(" ")
            if verb == "got":
                name, value = rest.split(" ")
                with self.lock:
                    self.got.setdefault(name, []).append(unword(value).decode())
            elif verb == "bad":
                self.bad.append(rest)
            elif verb in ("ok", "none", "failed"):
                self.answers.put((verb, rest))
            else:
                print(line, end="", file=sys.stderr)
        self.answers.put(("failed", "the adaptor has ended"))

    def ask(self, *words, seconds=ANSWER_S):
        self.adaptor.stdin.write(" ".join(str(it) for it in words) + "\n")
        self.adaptor.stdin.flush()
        try:
            verb, rest = self.answers.get(timeout=seconds)
        except queue.Empty:
            self.adaptor.kill()
            raise Failed(f"no answer to `{words[0]}` within {seconds} s") from None
        if verb == "none":
            raise NotApplicable(rest)
        if verb == "failed":
            raise Failed(f"{words[0]}: {rest}")
        return rest.split(" ") if rest else []

    def write(self, stream, events, partition=0, codec="none", how="plain"):
        return [int(it) for it in self.ask("write", stream, partition, codec, how, *events)]

    def read(self, stream, count, partition=0, offset=0, how="plain"):
        return [Event(it) for it in self.ask("read", stream, partition, offset, count, how)]

    def seen(self):
        """All values that consumers of groups got, by consumer."""
        check(not self.bad, "; ".join(self.bad))
        with self.lock:
            return {name: list(values) for name, values in self.got.items()}


def plain(client):
    """Keys, order, headers, nulls, times."""
    stream = fresh("plain")
    headers = [(b"h", b"x"), (b"e", b""), (b"n", "\u00fc".encode())]
    keyed = [event(b"k%d" % (i % 3), b"%d" % i, BASE_MS + i) for i in range(100)]
    same(client.write(stream, keyed), list(range(100)), "offsets")
    lacking = []
    same(client.write(stream, [event(b"gone", None)]), [100], "offsets")
    nulls = [(b"gone", None)]
    try:
        same(client.write(stream, [event(None, b"")]), [101], "offsets")
        nulls.append((None, b""))
    except NotApplicable as why:
        lacking.append(f"empty: {why}")
    found = client.read(stream, 100 + len(nulls))
    same([(it.offset, it.key, it.value) for it in found[:100]],
         [(i, b"k%d" % (i % 3), b"%d" % i) for i in range(100)], "events")
    same([(it.key, it.value) for it in found[100:]], nulls, "nulls")
    times = {it.time_ms - BASE_MS - i for i, it in enumerate(found[:100])}
    if times != {0}:
        check(min(times) > 0, f"times: {times}")
        lacking.append("times: the client sets none")
    try:
        offset = client.write(stream, [event(b"h", b"v", None, headers)])[0]
        same(client.read(stream, 1, offset=offset)[0].headers, headers, "headers")
    except NotApplicable as why:
        lacking.append(f"headers: {why}")
    return f"({'; '.join(lacking)})" if lacking else ""


def codecs(client):
    stream = fresh("codecs")
    value = b"the same words again and again " * 100
    done, lacking = [], []
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        try:
            offsets = client.write(stream, [event(codec.encode(), value)] * 10, codec=codec)
        except NotApplicable as why:
            lacking.append(f"{codec}: {why}")
            continue
        found = client.read(stream, 10, offset=offsets[0])
        same([(it.key, it.value) for it in found], [(codec.encode(), value)] * 10, codec)
        done.append(codec)
    check(len(done) >= 2, f"only {done}")
    return " ".join(done) + (f" ({'; '.join(lacking)})" if lacking else "")


def sizes(client):
    """A megabyte goes, two are refused in plain words, and the connection goes on."""
    stream = fresh("sizes")
    client.write(stream, [event(None, b"x" * 1_000_000)])
    try:
        client.write(stream, [event(None, b"x" * 2_000_000)])
        raise AssertionError("2 MB were taken")
    except Failed as error:
        text = str(error).lower()
        check("large" in text or "size" in text, f"2 MB: {error}")
    client.write(stream, [event(None, b"after")])
    found = client.read(stream, 2, how="small")
    same([len(it.value) for it in found], [1_000_000, 5], "sizes")


def group(client):
    return share(client, "join", "Classic")


def dealt(client):
    """The same in groups whose coordinator deals the partitions out."""
    return share(client, "deal", "Consumer")


def share(client, join, way):
    """Three share a stream, one leaves, one comes: nothing is missed, and a later one goes on where they were."""
    stream, name = fresh("share"), fresh("group")
    values = [str(i) for i in range(300)]
    count = 6
    try:
        client.ask("create", stream, count)
    except NotApplicable:
        client.write(stream, [event(b"0", b"0")])
        count = int(client.ask("parts", stream)[0])

    def put(some):
        for partition in range(count):
            client.write(stream, [event(it.encode(), it.encode()) for it in some[partition::count]], partition)

    def all_of(some):
        return lambda: set(some) <= {value for got in client.seen().values() for value in got}

    for consumer in ("a", "b", "c"):
        client.ask(join, consumer, stream, name)
    put(values[:100])
    until("the first hundred", 40, all_of(values[:100]))
    check_way(client, name, way)
    client.ask("leave", "b")
    put(values[100:200])
    until("the second hundred, by two", 40, all_of(values[:200]))
    client.ask(join, "d", stream, name)
    for consumer in ("a", "c", "d"):
        client.ask("leave", consumer)
    put(values[200:])
    client.ask(join, "e", stream, name)
    until("the rest, by a later one", 40, all_of(values))
    client.ask("leave", "e")
    got = client.seen()
    late = sorted(got.get("e", []), key=int)
    same(late, values[200:], "what a later one got")
    total = sum(len(values) for values in got.values())
    return f"{total - 300} came twice, consumers got " + "/".join(str(len(got.get(it, []))) for it in "abcde")


def check_way(client, name, way):
    """A group is what its clients made it, for those who can ask."""
    try:
        same(client.ask("way", name), [way], "the way they share")
        until("a stable group", 20, lambda: client.ask("state", name) == ["Stable"])
    except NotApplicable:
        pass


def seek(client):
    stream = fresh("seek")
    client.write(stream, [event(None, b"%d" % i, BASE_MS + 1000 * i) for i in range(50)])
    same(client.read(stream, 1, offset=30)[0].value, b"30", "after a seek")
    same([int(it) for it in client.ask("ends", stream, 0)], [0, 50], "ends")
    try:
        same(client.ask("time", stream, 0, BASE_MS + 20_500), ["21"], "by time")
        same(client.ask("time", stream, 0, BASE_MS + 10_000_000), ["-"], "a time to come")
    except NotApplicable as why:
        return f"(by time: {why})"
    return ""


def admin(client):
    stream, name = fresh("admin"), fresh("group")
    client.ask("create", stream, 2, "retention.ms=3600000")
    until("two partitions", 10, lambda: client.ask("parts", stream) == ["2"])
    did = ["create"]

    def tries(*words):
        try:
            found = client.ask(*words)
            did.append(words[0])
            return found
        except NotApplicable:
            return None

    if tries("grow", stream, 4) is not None:
        until("four partitions", 10, lambda: client.ask("parts", stream) == ["4"])
    settings = tries("settings", stream)
    check(settings is None or "retention.ms=3600000" in settings, f"settings: {settings}")
    if tries("set", stream, "retention.ms=7200000") is not None and settings is not None:
        found = client.ask("settings", stream)
        check("retention.ms=7200000" in found, f"after a change: {found}")
    client.write(stream, [event(None, b"%d" % i) for i in range(20)])
    if tries("trim", stream, 0, 5) is not None:
        same([int(it) for it in client.ask("ends", stream, 0)], [5, 20], "ends after a trim")
    try:
        client.ask("join", "z", stream, name)
        until("the events", 30, lambda: len(client.seen().get("z", [])) >= 15)
        states = tries("state", name)
        check(states in (None, ["Stable"]), f"state: {states}")
        groups = tries("groups")
        check(groups is None or name in groups, f"groups: {groups}")
        client.ask("leave", "z")
        committed = tries("committed", name, stream, 0)
        check(committed in (None, ["20"]), f"committed: {committed}")
        if tries("ungroup", name) is not None and groups is not None:
            check(name not in client.ask("groups"), "a deleted group is listed")
    except NotApplicable:
        did.append("(no groups)")
    if tries("delete", stream) is not None:
        until("it is gone", 10, lambda: stream not in client.ask("streams"))
    return " ".join(did)


def idempotent(client):
    stream = fresh("idempotent")
    values = [b"%d" % i for i in range(500)]
    offsets = client.write(stream, [event(None, it) for it in values], how="idempotent")
    same(offsets, list(range(500)), "offsets")
    same([it.value for it in client.read(stream, 500)], values, "order")


def transactions(client):
    """All or nothing; a later producer fences an earlier one; an abandoned one wedges nobody; offsets move along."""
    stream, name = fresh("transactions"), fresh("producer")

    def transact(name, how, *values):
        client.ask("transact", name, how, stream, 0, *[event(None, it) for it in values])

    def values(count, how):
        return [it.value for it in client.read(stream, count, how=how)]

    transact(name, "commit", b"a", b"b")
    transact(name, "abort", b"no", b"no")
    transact(name, "commit", b"c")
    same(values(3, "committed"), [b"a", b"b", b"c"], "committed events")
    same(values(5, "plain"), [b"a", b"b", b"no", b"no", b"c"], "all events")
    transact(name, "open", b"fenced")
    transact(name, "commit", b"d")
    try:
        client.ask("finish", name)
        raise AssertionError("a fenced producer has committed")
    except Failed:
        pass
    transact(fresh("producer"), "open", b"abandoned")
    client.write(stream, [event(None, b"e")])
    same(values(5, "committed"), [b"a", b"b", b"c", b"d", b"e"], "after one that was abandoned")
    reader = fresh("group")
    client.ask("transfer", name, reader, stream, 0, 7, event(None, b"f"))
    same(values(6, "committed")[5], b"f", "beside offsets")
    try:
        same(client.ask("committed", reader, stream, 0), ["7"], "offsets of a transaction")
    except NotApplicable as why:
        return f"(offsets: {why})"
    return ""


CELLS = {"plain": plain, "codecs": codecs, "sizes": sizes, "group": group, "dealt": dealt, "seek": seek, "admin": admin,
         "idempotent": idempotent, "transactions": transactions}


def main():
    client = Client(sys.argv[1], sys.argv[2:])
    for name, cell in CELLS.items():
        start = time.monotonic()
        try:
            line = f"ok {cell(client) or ''}"
        except NotApplicable as why:
            line = f"n/a {why}"
        except Exception as error:  # noqa: BLE001: whatever went wrong is the cell's answer
            traceback.print_exc()
            line = f"FAILED {type(error).__name__}: {error}"
        took = time.monotonic() - start
        print(f"CELL {name} {line.strip()} ({took:.1f} s)".replace("\n", " "), flush=True)
        client.got.clear()
        client.bad.clear()
    client.adaptor.stdin.close()
    try:
        client.adaptor.wait(20)
    except subprocess.TimeoutExpired:
        client.adaptor.kill()
        print("the adaptor did not end", file=sys.stderr)


main()
