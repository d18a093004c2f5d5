"""Drift: codes, units and values that were sent and mean nothing here; counts and codes only, never whose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from cds_service.facts.model import CONDITIONS, LABS, MEDICATIONS, PROCEDURES, STATEMENTS
from cds_service.insight.events import Glance

K = TypeVar("K")
KINDS = {
    LABS: "laboratory test",
    CONDITIONS: "diagnosis",
    MEDICATIONS: "medication order",
    STATEMENTS: "medication statement",
    PROCEDURES: "procedure",
    "units": "unit",
    "orders": "order",
}
# So many different ones are kept: a record system that invents codes must not fill the memory.
MOST = 20_000


class Sighting(msgspec.Struct, gc=False):
    """How often something was seen, in how many calls, and on which days first and last (counted from 1970-01-01)."""

    first: int
    last: int
    times: int = 0
    calls: int = 0

    def add(self, day: int, times: int) -> None:
        """Count it once more."""
        self.first, self.last = min(self.first, day), max(self.last, day)
        self.times += times
        self.calls += 1


class Unmatched(msgspec.Struct, frozen=True):
    """A code or unit that was seen and not matched; ``what`` says what kind of thing carried it."""

    kind: str
    what: str
    system: str
    code: str
    first: int
    last: int
    times: int
    calls: int


class Unusable(msgspec.Struct, frozen=True):
    """Things of one kind that no rule could use, for one reason."""

    what: str
    reason: str
    first: int
    last: int
    times: int
    calls: int


class Sightings:
    """What was seen and not matched, and what was set aside, over all calls."""

    def __init__(self) -> None:
        self.codes: dict[tuple[str, str, str], Sighting] = {}
        self.asides: dict[tuple[str, str], Sighting] = {}
        self.left_out = 0

    def take(self, glance: Glance, day: int) -> None:
        """Count what one call carried."""
        for kind, system, code, times in glance.seen:
            self._add(self.codes, (kind, system, code), day, times)
        here: dict[tuple[str, str], int] = {}
        for what, reason in _asides(glance):
            here[what, reason] = here.get((what, reason), 0) + 1
        for key, times in here.items():
            self._add(self.asides, key, day, times)

    def _add(self, known: dict[K, Sighting], key: K, day: int, times: int) -> None:
        one = known.get(key)
        if one is None:
            if len(known) >= MOST:
                self.left_out += 1
                return
            one = known[key] = Sighting(day, day)
        one.add(day, times)

    def unmatched(self) -> list[Unmatched]:
        """Return codes and units that mean nothing here, those of most calls first."""
        found = [
            Unmatched(kind, KINDS.get(kind, kind), system, code, one.first, one.last, one.times, one.calls)
            for (kind, system, code), one in self.codes.items()
        ]
        return sorted(found, key=lambda one: (-one.calls, -one.times, one.kind, one.system, one.code))

    def unusable(self) -> list[Unusable]:
        """Return what was set aside and why, the most frequent first."""
        found = [
            Unusable(what, reason, one.first, one.last, one.times, one.calls)
            for (what, reason), one in self.asides.items()
        ]
        return sorted(found, key=lambda one: (-one.calls, -one.times, one.what, one.reason))


def _asides(glance: Glance) -> Iterator[tuple[str, str]]:
    for aside in glance.unusable:
        yield aside.concept or aside.kind, aside.reason
    for tests in (glance.measurements, glance.answers):
        for name, found in tests.items():
            for aside in found.asides:
                yield aside.concept or name, aside.reason
