"""What every client of the matrix is put through, and how it says what came of it.

A program prints one line a cell: `CELL <name> ok|n/a|FAILED <detail>`. A cell that the client cannot do is
`n/a` with the reason; anything else that goes wrong is FAILED.
"""

import sys
import threading
import time
import traceback
import uuid

BOOT = sys.argv[1].split(",") if len(sys.argv) > 1 else []
EVENTS = 300


class NotApplicable(Exception):
    """The client has no such thing; the text says so."""


def fresh(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def check(truth, what):
    if not truth:
        raise AssertionError(what)


def same(found, expected, what):
    check(found == expected, f"{what}: {found!r} instead of {expected!r}")


def until(what, seconds, done):
    """Waits for something that must come to pass."""
    end = time.monotonic() + seconds
    while not done():
        check(time.monotonic() < end, f"{what} not within {seconds} s")
        time.sleep(0.02)


def run(cells):
    """Runs each cell; every one prints its line, whatever happens to the others."""
    for name, cell in cells.items():
        start = time.monotonic()
        try:
            detail = cell() or ""
            line = f"ok {detail}"
        except NotApplicable as why:
            line = f"n/a {why}"
        except Exception as error:  # noqa: BLE001: whatever a client throws is its answer
            traceback.print_exc()
            line = f"FAILED {type(error).__name__}: {error}"
        took = time.monotonic() - start
        print(f"CELL {name} {line.strip()} ({took:.1f} s)".replace("\n", " "), flush=True)


class Crew:
    """Consumers of one group, each on a thread of its own, and what they got together.

    `consume(name, stopped, got)` reads until `stopped()`, calling `got(value)` for each event.
    """

    def __init__(self, consume):
        self.consume = consume
        self.lock = threading.Lock()
        self.values = []
        self.errors = []
        self.threads = {}

    def start(self, name):
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(name, stop), daemon=True)
        self.threads[name] = (thread, stop)
        thread.start()

    def _run(self, name, stop):
        try:
            self.consume(name, stop.is_set, self._got)
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            self.errors.append(f"{name}: {type(error).__name__}: {error}")

    def _got(self, value):
        with self.lock:
            self.values.append(value)

    def count(self):
        check(not self.errors, "; ".join(self.errors))
        with self.lock:
            return len(set(self.values))

    def stop(self, *names):
        for name in names or list(self.threads):
            self.threads[name][1].set()
        for name in names or list(self.threads):
            self.threads.pop(name)[0].join(30)
        check(not self.errors, "; ".join(self.errors))


def share(produce, consume):
    """Three consumers share a stream; one leaves, one comes; nothing is missed, and a later one goes on.

    `produce(stream, values)`; `consume(stream, group, name, stopped, got)` commits what it has got.
    """
    stream, group = fresh("share"), fresh("group")
    values = [str(i) for i in range(EVENTS)]
    produce(stream, values[:100])
    crew = Crew(lambda name, stopped, got: consume(stream, group, name, stopped, got))
    for name in ("a", "b", "c"):
        crew.start(name)
    until("the first hundred", 40, lambda: crew.count() == 100)
    crew.stop("b")
    produce(stream, values[100:200])
    until("the second hundred, by two", 40, lambda: crew.count() == 200)
    crew.start("d")
    crew.stop()
    produce(stream, values[200:])
    crew.start("e")
    until("the rest, by a later one", 40, lambda: crew.count() == EVENTS)
    crew.stop()
    late = [value for value in crew.values if int(value) >= 200]
    same(len(late), 100, "what was committed came again")
    return f"{len(crew.values) - EVENTS} came twice"
