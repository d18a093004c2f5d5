"""
The same screening on a cluster: Dask or Spark deal the resources by patient and share out the work.

Nothing is scheduled here. A chunk of a file goes in, packages of resources for each part come out (``deal``); the
engine brings the packages of a part together; the part goes in, what was found comes out (``screen_part``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import msgspec

from cds_service import decoding
from cds_service.adapters.population import MEDICATION, Chunk, Flaw, Journal, Line, medication_id, read
from cds_service.adapters.population.journal import Row, Sheet, by_patient, part_of, place_of
from cds_service.errors import SettingsError
from cds_service.screening.one import Screener
from cds_service.screening.order import Order
from cds_service.screening.progress import Progress

LOCAL, DASK, SPARK = NAMES = ("local", "dask", "spark")
_NEEDS = {DASK: "distributed", SPARK: "pyspark"}
# How many bytes of a file one task reads.
CHUNK = 32 * 1024 * 1024
# The part that stands for lines that cannot be used.
FLAWS = -1

_encode = msgspec.msgpack.Encoder().encode
_rows = decoding.unpacker(list[Row])
_flaws = decoding.unpacker(list[tuple[int, int, str]])
_found = decoding.unpacker(tuple[list[Sheet], dict[str, int]])
_order = decoding.unpacker(Order)

Package = tuple[int, bytes]
Screen = Callable[[Order, Journal, int, "Cluster", Path, Progress], None]


class Cluster(msgspec.Struct, frozen=True):
    """Where the work is done: the engine, how many processes, and the address of a cluster that runs already."""

    engine: str = LOCAL
    workers: int = 1
    address: str = ""


def engine_of(cluster: Cluster) -> Screen:
    """Return what screens on an engine. Raises SettingsError where it is not installed."""
    if find_spec(_NEEDS[cluster.engine]) is None:
        raise SettingsError(
            f"The engine {cluster.engine} is not installed.",
            slug="no-engine",
            remedy=f'Install it with: pip install "calcinosis-cds[{cluster.engine}]"',
        )
    found: Screen = import_module(f"cds_service.screening.engines.{cluster.engine}_engine").screen
    return found


class Task(msgspec.Struct, frozen=True):
    """What every task of a run has to know; small enough to be sent along with each."""

    order: bytes
    parts: int
    done: frozenset[int]

    @classmethod
    def of(cls, order: Order, parts: int, done: Iterable[int]) -> Task:
        """Make the task of a run."""
        return cls(_encode(order), parts, frozenset(done))


def deal(task: Task, chunk: Chunk) -> list[Package]:
    """Read a chunk, and pack its resources by part."""
    dealt: dict[int, list[Row]] = {}
    flaws: list[tuple[int, int, str]] = []
    for found in read(chunk, _kinds(task.order)):
        if isinstance(found, Flaw):
            flaws.append((chunk.number, found.offset, found.reason))
        elif found.kind != MEDICATION:
            part = part_of(found.owner, task.parts)
            if part not in task.done:
                dealt.setdefault(part, []).append((found.owner, place_of(chunk.number, found.offset), found.body))
    return [*((part, _encode(rows)) for part, rows in dealt.items()), *([(FLAWS, _encode(flaws))] if flaws else [])]


def medications_in(chunk: Chunk) -> list[tuple[str, bytes]]:
    """Return the Medications of a chunk, which belong to no patient: every task needs them all."""
    found = read(chunk, frozenset({MEDICATION}))
    return [(one.owner, one.body) for one in found if isinstance(one, Line)]


def screen_part(task: Task, packages: Iterable[bytes], medications: Mapping[str, bytes]) -> bytes:
    """Screen the patients of one part, whose resources are in these packages."""
    rows = [row for package in packages for row in _rows.decode(package)]
    screener, counts, sheets = _screener(task.order), Counter[str](), []
    for patient, lines in by_patient(rows):
        sheet = screener.screen(patient, lines, lambda reference: medications.get(medication_id(reference)))
        counts.update(sheet.counts)
        if sheet.lines or sheet.trouble:
            sheets.append(sheet)
    return _encode((sheets, dict(counts)))


def answered(task: Task, part: int, packages: Iterable[bytes], medications: Mapping[str, bytes]) -> Iterator[Package]:
    """Yield what came of one part; lines that cannot be used are passed on."""
    if part == FLAWS:
        yield from ((FLAWS, package) for package in packages)
    else:
        yield part, screen_part(task, packages, medications)


def keep(journal: Journal, part: int, body: bytes) -> int:
    """Write down what came of one part; return how many patients that were."""
    if part == FLAWS:
        journal.note((number, Flaw(offset, offset, reason)) for number, offset, reason in _flaws.decode(body))
        return 0
    sheets, counts = _found.decode(body)
    journal.keep(part, sheets, counts)
    return counts.get("patients", 0)


@cache
def _screener(order: bytes) -> Screener:
    """Load the rules once in each process of the cluster."""
    return _order.decode(order).screener()


@cache
def _kinds(order: bytes) -> frozenset[str]:
    return _order.decode(order).kinds()
