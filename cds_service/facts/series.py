"""
Results in order of time, read only as far back as somebody looks.

A chart may hold thousands of results of which rules read the newest few: the rest stay as they were decoded until
they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import gt, itemgetter
from typing import Any, overload

from cds_service.facts.dates import When, parse, span
from cds_service.facts.model import Measurement, SetAside
from cds_service.facts.records import Component, Lab, meta_of_bytes, present

Waiting = tuple[Lab, Component | None]
Read = Callable[[Lab, Component | None], Measurement | SetAside]


class Lazy(Sequence[Measurement]):
    """Measurements newest first, taken from an iterator when they are first asked for."""

    def __init__(self, source: Iterable[Measurement]) -> None:
        self._source = iter(source)
        self._taken: list[Measurement] = []

    def _take(self, wanted: int) -> bool:
        """Take so many, and say whether there are so many."""
        taken = self._taken
        while len(taken) < wanted:
            following = next(self._source, None)
            if following is None:
                return False
            taken.append(following)
        return True

    @property
    def looked_at(self) -> int:
        """How many measurements somebody has looked at."""
        return len(self._taken)

    def __iter__(self) -> Iterator[Measurement]:
        """Yield the measurements, newest first."""
        taken, place = self._taken, 0
        while place < len(taken) or self._take(place + 1):
            yield taken[place]
            place += 1

    def __bool__(self) -> bool:
        """Say whether there is any measurement."""
        return True if self._taken else self._take(1)

    def __len__(self) -> int:
        """Count the measurements (reads all of them)."""
        self._take(1_000_000)
        return len(self._taken)

    @overload
    def __getitem__(self, place: int) -> Measurement: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Measurement]: ...
    def __getitem__(self, place: int | slice) -> Measurement | Sequence[Measurement]:
        """Return a measurement, or some of them."""
        if place == 0 and self._taken:
            return self._taken[0]  # as nearly always
        last = place.stop if isinstance(place, slice) else place + 1
        self._take(1_000_000 if last is None or last <= 0 else last)
        return self._taken[place]


class Series(Lazy):
    """
    The results of one laboratory test, newest first, and those that had to be set aside.

    Sorted by time, then corrected before amended before final, then by when it was issued and last updated; of
    results that are still equal the higher value comes first (the safer reading). The same result counts once.
    """

    def __init__(self, waiting: list[Waiting], read: Read) -> None:
        # The generator must not hold the series: such a cycle would keep the whole request until the next collection.
        self.asides: list[SetAside] = []
        super().__init__(_measurements(waiting, read, self.asides))


def _measurements(waiting: list[Waiting], read: Read, asides: list[SetAside]) -> Iterator[Measurement]:
    for together in _by_time(waiting):
        if len(together) == 1:
            one = read(*together[0])
            if isinstance(one, Measurement):
                yield one
            else:
                asides.append(one)
            continue
        all_read = [read(lab, part) for lab, part in together]
        asides += [one for one in all_read if isinstance(one, SetAside)]
        usable = [one for one in all_read if isinstance(one, Measurement)]
        yield from usable if len(usable) < 2 else _settled(usable)


def _settled(results: list[Measurement]) -> Iterator[Measurement]:
    """Order results of the same moment, each distinct one once."""
    seen: set[tuple[Any, ...]] = set()
    for result in sorted(results, key=_full_rank, reverse=True):
        same = (result.when.start, result.rank[0], result.value, result.comparator)
        if same not in seen:
            seen.add(same)
            yield result


def _full_rank(result: Measurement) -> tuple[Any, ...]:
    issued, updated = parse(result.recorded[0]), parse(meta_of_bytes(result.recorded[1]).lastUpdated)
    return (
        *result.rank,
        issued.end if issued else 0.0,
        updated.end if updated else 0.0,
        result.value,
        result.comparator,
        result.unit,
    )


def _by_time(waiting: list[Waiting]) -> Iterator[Sequence[Waiting]]:
    """Yield results newest first, those of the same moment together."""
    keys: Sequence[Any] = [lab.effectiveDateTime or "" for lab, _ in waiting]
    if not _comparable(keys):
        keys = [_end(lab) for lab, _ in waiting]
    if all(map(gt, keys, islice(keys, 1, None))):
        # Newest first already, each at its own time: servers sort so when they are asked to, and ours are.
        for one in waiting:
            yield (one,)
        return
    order = sorted(range(len(keys)), key=keys.__getitem__, reverse=True)
    for _, places in groupby(order, key=keys.__getitem__):
        yield [waiting[place] for place in places]


_ENDING = itemgetter(slice(19, None))


def _comparable(texts: Sequence[str]) -> bool:
    """Say whether the texts sort as the moments they mean: all end in the same way after the second, with a zone."""
    endings = set(map(_ENDING, texts))
    return len(endings) == 1 and "" not in endings


def _end(lab: Lab) -> float:
    when = moment_of(lab)
    return when.end if when else float("inf")


def moment_of(lab: Lab) -> When | None:
    """Return when a result was taken: effective time, else the end of its period, else when it was issued."""
    if lab.effectiveDateTime or lab.effectiveInstant:
        return parse(lab.effectiveDateTime or lab.effectiveInstant)
    if lab.effectivePeriod:
        return span(lab.effectivePeriod.start, lab.effectivePeriod.end)
    return None if present(lab.effectiveTiming) else parse(lab.issued)


def recent(results: Iterable[Measurement], today: int, days: int | None) -> list[Measurement]:
    """Return the results of the last so many days, newest first; one whose date is too vague is not among them."""
    found: list[Measurement] = []
    for result in results:
        if days is None or today - result.when.first <= days:
            found.append(result)
        elif today - result.when.last > days:
            break
    return found
