"""
Metrics for Prometheus: counted in each process, shared once a second, read from all processes at once.

The processes share a piece of memory that was made before they were forked. prometheus_client's own way, files that
are mapped into memory, would end a worker where the disk is full (SIGBUS), and leaves a file for each worker that ever
lived. No label is ever taken from what a client sends.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from mmap import mmap
from pathlib import Path

import msgspec
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from cds_service import decoding

COUNTER, GAUGE, MOST, HISTOGRAM = "counter", "gauge", "gauge, the highest of all processes", "histogram"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZE, _HEAD = 256 * 1024, struct.Struct("<B7xII")
# Gauges of a process that has not said anything for so long (seconds) do not count: it is gone.
_FRESH = 5.0
_APART = "\x1f"


class Metric(msgspec.Struct, frozen=True):
    """One metric: its name, what kind it is, its labels, and what it means."""

    name: str
    kind: str
    means: str
    labels: tuple[str, ...] = ()


METRICS = (
    Metric("cds_calls", COUNTER, "Hook calls, by how they ended", ("service", "status")),
    Metric("cds_call_seconds", HISTOGRAM, "How long hook calls took, once their headers were read", ("service",)),
    Metric("cds_refusals", COUNTER, "Calls that got no cards, by reason", ("reason",)),
    Metric("cds_cards", COUNTER, "Cards shown", ("service", "indicator")),
    Metric("cds_held_back", COUNTER, "Findings that were true and not shown, by reason", ("reason",)),
    Metric("cds_verdicts", COUNTER, "What the rules said", ("rule", "verdict")),
    Metric("cds_pilot_verdicts", COUNTER, "What rules in pilot said, which nobody was shown", ("rule", "verdict")),
    Metric("cds_rule_failures", COUNTER, "Rules that broke, by kind of error", ("rule", "kind")),
    Metric("cds_events", COUNTER, "Other things that happened", ("event",)),
    Metric("cds_fhir_failures", COUNTER, "Queries to FHIR servers that brought nothing, by reason", ("reason",)),
    Metric("cds_ledger_events", COUNTER, "What went wrong with the ledger", ("event",)),
    Metric("cds_log_lines_lost", COUNTER, "Log lines that could not be written"),
    Metric("cds_calls_running", GAUGE, "Hook calls being answered now"),
    Metric("cds_fhir_places_taken", GAUGE, "Calls that wait for a FHIR server now"),
    Metric("cds_fhir_places", GAUGE, "How many calls may wait for FHIR servers at once"),
    Metric("cds_fhir_breakers_open", MOST, "FHIR servers that are not asked at the moment"),
    Metric("cds_ledger_waiting", GAUGE, "Decisions that are not on disk yet"),
    Metric("cds_ledger_trouble", MOST, "1 while the ledger cannot be used"),
    Metric("cds_rules_stale", MOST, "1 while the newest rules could not be loaded, and the last good ones answer"),
    Metric("cds_tunings_unfit", MOST, "Decisions of admins that the rules refuse, and that are not in force"),
    Metric("cds_workers", GAUGE, "Processes that answer"),
    Metric("cds_threads", GAUGE, "Their threads"),
    Metric("cds_open_files", GAUGE, "Their open file descriptors"),
    Metric("cds_resident_bytes", GAUGE, "Their memory; what they share counts for each"),
)  # fmt: skip


class Told(msgspec.Struct, frozen=True, gc=False):
    """One hook call that ended."""

    service: str
    status: int
    reason: str
    seconds: float
    cards: tuple[str, ...] = ()
    held: tuple[str, ...] = ()


class Snapshot(msgspec.Struct):
    """What one process has counted; ``at`` in seconds of the machine's steady clock."""

    at: float = float("-inf")
    counts: dict[str, float] = {}
    gauges: dict[str, float] = {}


_snapshot = decoding.unpacker(Snapshot)


def key(name: str, *labels: str) -> str:
    """Name one series."""
    return _APART.join((name, *labels))


class Board:
    """
    Memory that all processes see: a place for each to write to, and a flag that says that the service is stopping.

    Each place has two halves: one is read while the other is written, and one byte says which.
    """

    def __init__(self, places: int = 1) -> None:
        self.places = places
        self._memory = mmap(-1, 64 + places * _SIZE)

    @property
    def stopping(self) -> bool:
        """Say whether the service is about to stop."""
        return self._memory[0] == 1

    @stopping.setter
    def stopping(self, is_so: bool) -> None:
        self._memory[0] = int(is_so)

    def write(self, place: int, snapshot: Snapshot) -> bool:
        """Put down what one process has counted; False where it does not fit."""
        raw, start = msgspec.msgpack.encode(snapshot), 64 + place * _SIZE
        half = (_SIZE - _HEAD.size) // 2
        if len(raw) > half:
            return False
        valid, *lengths = _HEAD.unpack_from(self._memory, start)
        other = 0 if valid == 2 else 1
        lengths[other] = len(raw)
        begin = start + _HEAD.size + other * half
        self._memory[begin : begin + len(raw)] = raw
        _HEAD.pack_into(self._memory, start, other + 1, *lengths)
        return True

    def read(self, place: int) -> Snapshot:
        """Return what a process has put down last."""
        start, half = 64 + place * _SIZE, (_SIZE - _HEAD.size) // 2
        for _ in range(3):  # torn only if the process wrote twice meanwhile
            valid, *lengths = _HEAD.unpack_from(self._memory, start)
            if not valid:
                break
            begin = start + _HEAD.size + (valid - 1) * half
            with suppress(msgspec.DecodeError):
                return _snapshot.decode(self._memory[begin : begin + lengths[valid - 1]])
        return Snapshot()


class Tally:
    """
    What this process counts.

    Calls are told to it one by one (a tenth of a microsecond each) and added up when somebody looks. ``counts`` and
    ``gauges`` give what is counted elsewhere: they are asked then.
    """

    def __init__(
        self,
        board: Board,
        counts: Callable[[], Mapping[str, float]] = dict,
        gauges: Callable[[], Mapping[str, float]] = dict,
        told: deque[Told] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.board, self.told = board, deque[Told]() if told is None else told
        self._counts, self._gauges, self._clock = counts, gauges, clock
        self._place: int | None = 0
        self._before: Mapping[str, float] = {}
        self._added: Counter[str] = Counter()
        self._lock = threading.Lock()

    def begin(self, place: int | None) -> None:
        """Count for a process at a place of the board, from where the one before it there left off."""
        self._place, self._added = place, Counter()
        self.told.clear()
        self._before = {} if place is None else self.board.read(place).counts

    def flush(self) -> None:
        """Add up, and let the other processes see it."""
        with self._lock:
            while self.told:
                _add(self._added, self.told.popleft())
            if self._place is not None:
                counts = Counter(self._before)
                counts.update(self._added)
                counts.update(self._counts())
                self.board.write(self._place, Snapshot(self._clock(), dict(counts), dict(self._gauges())))

    def text(self) -> bytes:
        """Return the metrics of all processes in the format of Prometheus."""
        self.flush()
        return generate_latest(self)

    def collect(self) -> Iterator[Family]:
        """Give the metrics of all processes (the interface of prometheus_client)."""
        snapshots = [self.board.read(place) for place in range(self.board.places)]
        counts: Counter[str] = Counter()
        for one in snapshots:
            counts.update(one.counts)
        fresh = [one.gauges for one in snapshots if self._clock() - one.at < _FRESH]
        for metric in METRICS:
            series = _series(metric, counts, fresh)
            yield _histogram(metric, series) if metric.kind == HISTOGRAM else _plain(metric, series)


def _add(counts: Counter[str], told: Told) -> None:
    counts[key("cds_calls", told.service, str(told.status))] += 1
    if told.reason:
        counts[key("cds_refusals", told.reason)] += 1
    place = bisect_left(BUCKETS, told.seconds)
    counts[key("cds_call_seconds", told.service, str(place))] += 1
    counts[key("cds_call_seconds", told.service, "sum")] += told.seconds  # type: ignore[assignment]
    for indicator in told.cards:
        counts[key("cds_cards", told.service, indicator)] += 1
    for reason in told.held:
        counts[key("cds_held_back", reason)] += 1


def _series(
    metric: Metric, counts: Mapping[str, float], gauges: Iterable[Mapping[str, float]]
) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    for source in (counts,) if metric.kind in (COUNTER, HISTOGRAM) else gauges:
        for name, value in source.items():
            first, *labels = name.split(_APART)
            if first == metric.name:
                held = found.get(tuple(labels), 0.0)
                found[tuple(labels)] = max(held, value) if metric.kind == MOST else held + value
    return found


def _plain(metric: Metric, series: Mapping[tuple[str, ...], float]) -> Family:
    kind = CounterMetricFamily if metric.kind == COUNTER else GaugeMetricFamily
    family = kind(metric.name, metric.means, labels=metric.labels)
    for labels, value in sorted(series.items()):
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, series: Mapping[tuple[str, ...], float]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.means, labels=metric.labels)
    for service in sorted({labels[0] for labels in series}):
        running, buckets = 0.0, []
        for place, limit in enumerate((*map(str, BUCKETS), "+Inf")):
            running += series.get((service, str(place)), 0.0)
            buckets.append((limit, running))
        family.add_metric((service,), buckets, series.get((service, "sum"), 0.0))
    return family


def of_process() -> dict[str, float]:
    """Return threads, open files and memory of this process, as Linux counts them."""
    found: dict[str, float] = {"cds_workers": 1, "cds_threads": threading.active_count()}
    with suppress(OSError, ValueError, IndexError):
        found["cds_threads"] = sum(1 for _ in Path("/proc/self/task").iterdir())
        found["cds_open_files"] = sum(1 for _ in Path("/proc/self/fd").iterdir())
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        found["cds_resident_bytes"] = pages * os.sysconf("SC_PAGE_SIZE")
    return found
