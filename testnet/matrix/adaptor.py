"""What the adaptors in Python share: lines in, lines out."""

import sys
import threading
import traceback

BOOT = sys.argv[1]
LOCK = threading.Lock()


class NotApplicable(Exception):
    """The client has no such thing; the text says so."""


def say(*words):
    with LOCK:
        print(*words, flush=True)


def word(value):
    if value is None:
        return "-"
    return bytes(value).hex() or "."


def unword(text):
    return None if text == "-" else b"" if text == "." else bytes.fromhex(text)


def parse(text):
    """Key, value, time, headers of an event to be written."""
    key, value, time_ms, headers = text.split(":")
    pairs = [] if headers == "." else [pair.split("=") for pair in headers.split(",")]
    headers = [(unword(name).decode(), unword(content)) for name, content in pairs]
    return unword(key), unword(value), None if time_ms == "-" else int(time_ms), headers


def show(offset, key, value, time_ms, headers):
    said = ",".join(f"{word(name.encode())}={word(content)}" for name, content in headers or [])
    return f"{offset}:{word(key)}:{word(value)}:{time_ms}:{said or '.'}"


class Consumers:
    """Consumers of groups, each on a thread: `consume(name, stream, group, stopped, got)` until `stopped()`.

    Those that can be dealt to by the coordinator are asked with `dealt=True` then.
    """

    def __init__(self, consume):
        self.consume, self.threads = consume, {}

    def join(self, name, stream, group, **how):
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(name, stream, group, stop.is_set), kwargs=how, daemon=True)
        self.threads[name] = (thread, stop)
        thread.start()

    def deal(self, name, stream, group):
        self.join(name, stream, group, dealt=True)

    def _run(self, name, stream, group, stopped, **how):
        try:
            self.consume(name, stream, group, stopped, lambda value: say("got", name, word(value)), **how)
        except Exception as error:  # noqa: BLE001: the driver judges
            traceback.print_exc()
            say("bad", name, f"{type(error).__name__}: {error}".replace("\n", " "))

    def leave(self, name):
        thread, stop = self.threads.pop(name)
        stop.set()
        thread.join(30)
        if thread.is_alive():
            raise TimeoutError(f"consumer {name} does not leave")


def serve(verbs):
    for line in sys.stdin:
        verb, *words = line.split()
        try:
            if verb not in verbs:
                raise NotApplicable(f"no {verb}")
            found = verbs[verb](*words)
            say("ok", *(found if isinstance(found, (list, tuple)) else [found] if isinstance(found, (int, str)) else []))
        except NotApplicable as why:
            say("none", why)
        except Exception as error:  # noqa: BLE001: the driver judges
            traceback.print_exc()
            say("failed", f"{type(error).__name__}: {error}".replace("\n", " ")[:400])
