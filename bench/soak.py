"""Mixed good and hostile load on a running service, for as long as is wanted; memory, files and threads over time."""

from __future__ import annotations

import argparse
import json
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path

from tests.build import body, condition, observation, patient
from tests.faults import servers as fake
from tests.operations.load import PATH, Hostile, Load, address_of, hook_call, post
from tests.operations.running import Service, running

FEEDBACK = f"{PATH}/feedback"
ACCESS = {"access_token": "soak", "token_type": "Bearer", "expires_in": 300, "scope": "x", "subject": "x"}
# What no memory may grow by in ten minutes, in MB, once it is warm (RELIABILITY.md, "Soak").
SLOPE = 1.0
# Calls after which it is: 10,000 findings shown and 20,000 overridden are remembered, and old ones lie among new ones
# as they will for ever. One process by itself stood still from its 18,000th call on; these are for two.
WARM = 40_000
# Cards that are overridden together while it warms up.
TOGETHER = 100
# Then it runs at its usual pace for so many minutes that are not counted: 10,000 findings shown at 25 calls a second
# and worker, until those that were remembered in haste have made room for those remembered among other things.
SETTLES = 7.0
# Seconds in which a worker has given back at least once what it does not use (web/tuning.py).
SPAN = 120.0
# Seconds between two looks at the memory. Of looks every 15 s few fell into the moments after a worker had given back:
# the same service was told to grow by 0.4 and by 3.9 MB.
LOOK = 0.5
# Calls a second that are asked for until it is warm: more than there can be.
RUSH = 1_000.0
# By how much more than in the first half of the time there may be of threads and open files in the second, which go up
# and down with the clients.
MORE = 1.1
_numbers = count()


def hostile_bodies() -> list[bytes]:
    """Return bodies that are refused, or cost much."""
    many = body(patient(), *[observation(value=4.1, days=number / 100) for number in range(4_000)])
    return [
        b"{",
        b"[" * 5_000,
        b'{"a":' * 70 + b"1" + b"}" * 70,
        b"\x00\xff" * 500,
        body(observation(subject={"reference": "Patient/somebody-else"})),
        hook_call()[:-1] + b',"hook":"patient-view"}',
        body(condition(text="x" * 100_000)),
        b'{"hook":"patient-view","prefetch":' + b"9" * 10_000 + b"}",
        many,
    ]


def good_call() -> bytes:
    """Return a call about another patient, in another encounter, than all before: as many as can be remembered are."""
    number = next(_numbers)
    told = {"patientId": f"soak-{number}", "userId": f"Practitioner/{number % 200}", "encounterId": f"stay-{number}"}
    return hook_call(context=told).replace(b"pat-1", told["patientId"].encode())


class Ward(Load):
    """Good calls, each about another patient."""

    def next_call(self) -> bytes:
        """Return the body of the next call."""
        return good_call()


class Rush(Ward):
    """Good calls as fast as answers come; each card is overridden, many in one feedback."""

    def __init__(self, url: str) -> None:
        super().__init__(url, RUSH, clients=5)
        self.url, self._shown, self._lock = url, list[str](), threading.Lock()
        self.overridden = Counter[object]()

    def answered(self, read: bytes) -> None:
        """Override the cards of some calls together."""
        with self._lock:
            self._shown += [card["uuid"] for card in json.loads(read).get("cards", ())]
            cards, self._shown = (self._shown, []) if len(self._shown) >= TOGETHER else ([], self._shown)
        if cards:
            self.overridden[post(self.url, feedback(*cards), FEEDBACK)[0]] += len(cards)


def feedback(*cards: str) -> bytes:
    """Return overrides of cards; unless told of which, of one of five hundred that nobody has shown."""
    said = {"outcome": "overridden", "outcomeTimestamp": "2026-11-21T12:00:00Z"}
    chosen = cards or (f"soak-{random.randrange(500)}",)
    return json.dumps({"feedback": [{"card": card, **said} for card in chosen]}).encode()


class Trouble:
    """Hostile clients, over and over, in threads of their own."""

    def __init__(self, service: Service) -> None:
        self.service, self.ended = service, Counter[object]()
        self._over = threading.Event()
        deeds = (self._bodies, self._bodies, self._holders, self._resets, self._feedback, self._overrides, self._odd)
        self._threads = [threading.Thread(target=self._run, args=(deed,), daemon=True) for deed in deeds]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End."""
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, deed: Callable[[], None]) -> None:
        while not self._over.is_set():
            with suppress(OSError):
                deed()

    def _bodies(self) -> None:
        for raw in hostile_bodies():
            self.ended[f"hostile {post(self.service.url, raw)[0]}"] += 1
            self._over.wait(0.1)

    def _holders(self) -> None:
        kinds = dict.fromkeys(("idle", "headers", "body", "unread", "metrics", "half", "chunks"), 10)
        with Hostile(self.service.url, kinds):
            self.ended["held connections"] += sum(kinds.values())
            self._over.wait(5)

    def _resets(self) -> None:
        with socket.create_connection(address_of(self.service.url), 5) as one:
            one.send(b"POST / HTTP/1.1\r\nContent-Length: 50\r\n\r\n{"[: random.randrange(40)])
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.ended["resets"] += 1
        self._over.wait(0.1)

    def _feedback(self) -> None:
        self.ended[f"feedback {post(self.service.url, feedback(), FEEDBACK)[0]}"] += 1
        self._over.wait(0.1)

    def _overrides(self) -> None:
        for card in json.loads(post(self.service.url, good_call())[1])["cards"]:
            self.ended[f"override {post(self.service.url, feedback(card['uuid']), FEEDBACK)[0]}"] += 1
        self._over.wait(1)

    def _odd(self) -> None:
        for path in ("/nowhere", f"{PATH}-not", "/metrics", "/readyz", "/rules/", "/cds-services?patient=1"):
            self.ended[f"get {self.service.get(path).status_code}"] += 1
            self._over.wait(0.2)


class Absent:
    """Calls without prefetch, that have to ask FHIR servers which hang or drip."""

    def __init__(self, service: Service, servers: list[str]) -> None:
        self.service, self.servers, self.ended = service, servers, Counter[object]()
        self.slowest, self._over = 0.0, threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(3)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End."""
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, number: int) -> None:
        while not self._over.is_set():
            with suppress(OSError):
                server = self.servers[number % len(self.servers)]
                raw = body(fhirServer=server, fhirAuthorization=ACCESS, prefetch={})
                status, _, seconds = post(self.service.url, raw)
                self.ended[f"fhir {status}"] += 1
                self.slowest = max(self.slowest, seconds)
            self._over.wait(0.2)


# Seconds since the beginning, MB of each worker, files, threads.
Row = tuple[float, tuple[float, ...], int, int]


def measure(service: Service, began: float, seconds: float = 0.0) -> Row:
    """Watch the workers for so many seconds; print how they are then, and the least memory that each had meanwhile."""
    least, until = service.memory(), time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(LOOK, left))
        least = {worker: min(size, least.get(worker, size)) for worker, size in service.memory().items()}
    memory = tuple(size / 1e6 for _, size in sorted(least.items()))
    found = (time.monotonic() - began, memory, service.open_files(), service.threads())
    print(
        f"{found[0]:6.0f} s  RSS {' '.join(f'{one:6.1f}' for one in memory)} MB  files {found[2]}  threads {found[3]}"
    )
    sys.stdout.flush()
    return found


def slopes(rows: list[Row]) -> list[float]:
    """
    Return by how many MB in ten minutes the memory of each worker grows.

    Of every two minutes the least counts: once a minute a worker gives back what it keeps and does not use, and within
    seconds it has taken some MB again.
    """
    spans = [[row for row in rows if int(row[0] // SPAN) == span] for span in range(int(rows[-1][0] // SPAN))]
    grew = []
    for worker in range(min(len(row[1]) for row in rows)):
        least = [min(span, key=lambda row: row[1][worker]) for span in spans]
        grew.append(statistics.linear_regression([one[0] for one in least], [one[1][worker] for one in least]))
    return [one.slope * 600 for one in grew]


def more(numbers: Sequence[float]) -> float:
    """Return how many times as many there were in the second half of the time, by the median."""
    middle = len(numbers) // 2
    return statistics.median(numbers[middle:]) / statistics.median(numbers[1:middle])


def watched(service: Service, every: float, goes_on: Callable[[float], bool]) -> list[Row]:
    """Measure the workers as long as that goes on, which is asked with the seconds since the beginning."""
    began, rows = time.monotonic(), []
    while goes_on(time.monotonic() - began):
        rows.append(measure(service, began, every))
    return rows


def warm_up(service: Service, calls: int, every: float) -> None:
    """Call as fast as answers come, until nothing new is remembered but for something old."""
    with Rush(service.url) as rush:
        rows = watched(service, every, lambda _: rush.ended.total() < calls)
    spent = rows[-1][0] if rows else 0.0
    print(f"warm after {spent:.0f} s, {dict(rush.ended)}, overridden {dict(rush.overridden)}")
    if (set(rush.ended) | set(rush.overridden)) - {200}:
        raise SystemExit("Not every call was answered.")


def soak(minutes: float, every: float, rate: float, warm: int, settles: float) -> int:
    """Run the load and judge; return the exit code."""
    folder = Path(tempfile.mkdtemp())
    empty = fake.Reply({"resourceType": "Bundle", "type": "searchset", "entry": []})
    with ExitStack() as stack:
        behaviours = (fake.answering(lambda _: empty), fake.hang, fake.once_asked(fake.drip_body))
        servers = [stack.enter_context(fake.running(one)).base for one in behaviours]
        service = stack.enter_context(running(folder, CDS_FHIR_ALLOW=",".join(servers)))
        trouble, absent = Trouble(service), Absent(service, servers)
        workers = service.workers()
        trouble.start()
        absent.start()
        warm_up(service, warm, every)
        with Ward(service.url, rate, clients=5) as load:
            watched(service, every, lambda spent: spent < settles * 60)
            print("counted from here on")
            began = time.monotonic()
            rows = watched(service, every, lambda spent: spent < minutes * 60)
            trouble.stop()
            absent.stop()
        time.sleep(25)  # until every held connection has had its time
        calm, same = measure(service, began), workers == service.workers()
    return judge(rows, calm, load, trouble, absent, same=same)


def judge(
    rows: list[Row],
    calm: Row,
    load: Load,
    trouble: Trouble,
    absent: Absent,
    *,
    same: bool,
) -> int:
    """Print the figures, and say whether all stayed flat."""
    times = sorted(load.seconds)
    middle, late, longest = times[len(times) // 2], times[int(len(times) * 0.99)], times[-1]
    print(
        f"good calls {dict(load.ended)}: median {middle * 1e3:.1f} ms, p99 {late * 1e3:.0f} ms, longest {longest:.2f} s"
    )
    print(f"hostile: {dict(sorted(trouble.ended.items(), key=str))}")
    print(f"calls that had to ask FHIR servers: {dict(absent.ended)}, longest {absent.slowest:.2f} s")
    grew, files, threads = slopes(rows), more([one[2] for one in rows]), more([one[3] for one in rows])
    held = [one[2] for one in rows[1:]]
    print(f"RSS in 10 minutes, the least of every two: {', '.join(f'{one:+.2f}' for one in grew)} MB")
    print(f"files {min(held)} to {max(held)}, then {calm[2]}")
    print(f"threads {sorted({one[3] for one in rows[1:]})}; the same workers at the end: {same}")
    print(f"second half to first, by the median: files {files:.2f}, threads {threads:.2f}")
    flat = max(grew) < SLOPE and max(files, threads) < MORE and set(load.ended) == {200} and same
    print("flat" if flat else "NOT FLAT")
    return 0 if flat else 1


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="that are counted; 4 at least")
    parser.add_argument("--warm", type=int, default=WARM, help="calls to warm up with, as fast as answers come")
    parser.add_argument("--settles", type=float, default=SETTLES, help="minutes at the usual pace before it counts")
    parser.add_argument("--rate", type=float, default=50, help="good calls in a second")
    parser.add_argument("--every", type=float, default=15, help="seconds between two lines")
    arguments = parser.parse_args()
    if arguments.minutes * 60 < 2 * SPAN:
        parser.error("Memory is told by the least of every two minutes: it takes 4 at least.")
    return soak(arguments.minutes, arguments.every, arguments.rate, arguments.warm, arguments.settles)


if __name__ == "__main__":
    sys.exit(main())
