"""The nearest number of a test that makes a difference: found by trying thresholds first, then by halving."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import msgspec

from cds_service.facts.kidney import describe
from cds_service.facts.model import Facts
from cds_service.facts.numbers import short as _short
from cds_service.insight.changes import ALL_VALUES, COSTS, NEW, VALUE, Change
from cds_service.terminology import Analyte
from cds_service.terminology.units import spelled

Works = Callable[[Change], bool]
# Finer than any laboratory reports.
_FINEST = 3
# Where nothing says what a living patient can have: so many times the value, or the largest limit.
_FAR = 20
_RUNG, _RUNGS = Decimal("1.05"), 40


def short(value: Decimal) -> str:
    """Write a number without needless zeros, never in powers of ten."""
    return f"{value.normalize():f}"


def named(label: str) -> str:
    """Write the name of a test inside a sentence: phosphate, but PTH, eGFR and Ca x P product."""
    first = label.split(maxsplit=1)[0]
    return label[0].lower() + label[1:] if len(first) > 2 and first[1:].isalpha() and first[1:].islower() else label


def changes(facts: Facts, name: str, analyte: Analyte, limits: Sequence[Decimal], works: Works) -> Iterator[Change]:
    """Yield other values of a test: of the newest result, of a new one of today, of all results that lie beyond."""
    results = facts.measurements.get(name, ())
    finder = Finder(facts, name, analyte, limits, works, new=not results)
    found = [*filter(None, (finder.nearest(up=True), finder.nearest(up=False)))]
    if len(results) > 1:
        found += filter(None, (finder.all_beyond(above=True), finder.all_beyond(above=False)))
    if results and not found:  # the newest may be too old to count
        finder = Finder(facts, name, analyte, limits, works, new=True)
        found += filter(None, (finder.nearest(up=True), finder.nearest(up=False)))
    yield from found


def rough(facts: Facts, name: str, analyte: Analyte) -> Iterator[Change]:
    """Yield new results of today: the last one again, and those as high and as low as a living patient can have."""
    finder = Finder(facts, name, analyte, (), lambda _change: True, new=True)
    yield from filter(None, (finder.again(), finder.at_end(high=True), finder.at_end(high=False)))


def stepwise(facts: Facts, name: str, analyte: Analyte, works: Works) -> Iterator[Change]:
    """Yield the newest result with the first value that works, step by step away from what it is."""
    finder = Finder(facts, name, analyte, (), works, new=False)
    yield from filter(None, (finder.stepwise(up=True), finder.stepwise(up=False)))


class Finder:
    """Looks for values of one test: of its newest result, or of a ``new`` one of today."""

    def __init__(
        self, facts: Facts, name: str, analyte: Analyte, limits: Sequence[Decimal], works: Works, *, new: bool
    ) -> None:
        self._name, self._analyte, self._limits, self._works = name, analyte, limits, works
        results = facts.measurements.get(name, ())
        self._last = results[0] if results else None
        self._newest = None if new else self._last
        self._values = [one.value for one in results]
        known = [*limits, *([self._newest.value] if self._newest else [])]
        places = max([analyte.decimals, *(-_exponent(one) for one in known)])
        self._step = Decimal(1).scaleb(-min(max(places, 0), _FINEST))
        largest = max([Decimal(1), *known])
        self._low = analyte.low if analyte.low is not None else Decimal(0)
        self._high = analyte.high if analyte.high is not None else largest * _FAR

    def nearest(self, *, up: bool) -> Change | None:
        """Return the newest result with the nearest value, higher or lower, that works."""
        start = self._newest.value if self._newest else self._low if up else self._high
        if self._newest is None and self._works(self._with(_on_grid(start, self._step, up=up))):
            return self._any_value() if up else None
        before = start
        for point in self._points(start, up=up):
            if self._works(self._with(point)):
                return self._worded(self._halved(before, point, up=up), up=up)
            before = point
        return None

    def _points(self, start: Decimal, *, up: bool) -> list[Decimal]:
        """Return where verdicts are likely to change, the nearest first: around each limit, and at the far end."""
        around = [limit + shift for limit in self._limits for shift in (-self._step, Decimal(0), self._step)]
        end = _on_grid(self._high, self._step, up=False) if up else _on_grid(self._low, self._step, up=True)
        inside = {one for one in (*around, end) if self._low <= one <= self._high}
        if self._newest is not None:
            inside = {one for one in inside if (one > start if up else one < start)}
            # A result that is only a bound ("<5") may become that very number.
            inside |= {start} if self._newest.comparator else set()
        return sorted(inside, reverse=not up)

    def _halved(self, fails: Decimal, works: Decimal, *, up: bool) -> Decimal:
        """Return the working value nearest to one that does not work, on the grid of what laboratories report."""
        step = self._step
        low = _on_grid(fails, step, up=not up)
        while abs(works - low) > step:
            middle = _on_grid((low + works) / 2, step, up=not up)
            if middle in (low, works):
                break
            if self._works(self._with(middle)):
                works = middle
            else:
                low = middle
        return works

    def _with(self, value: Decimal) -> Change:
        return Change(NEW if self._newest is None else VALUE, self._name, self._analyte.unit, value)

    def stepwise(self, *, up: bool) -> Change | None:
        """Return the first value of a ladder that works, each rung 5 % from the last, brought as near as it gets."""
        if self._newest is None:
            return None
        before = self._newest.value
        for _ in range(_RUNGS):
            rung = _on_grid(before * (_RUNG if up else 1 / _RUNG), self._step, up=up)
            if rung == before or not self._low <= rung <= self._high:
                return None
            if self._works(self._with(rung)):
                return self._worded(self._halved(before, rung, up=up), up=up, only=True)
            before = rung
        return None

    def again(self) -> Change | None:
        """Return a new result with the value of the last one."""
        if self._last is None:
            return None
        words = f"{named(self._analyte.name)} were measured today with the same result ({self._now()})"
        return Change(NEW, self._name, self._analyte.unit, self._last.value, words, COSTS[NEW] / 2)

    def at_end(self, *, high: bool) -> Change:
        """Return a new result as high, or as low, as it can be."""
        value = _on_grid(self._high if high else self._low, self._step, up=not high)
        return self._worded(value, up=high)

    def _any_value(self) -> Change | None:
        """Return a result whose value makes no difference, if that works at both ends."""
        middle = _on_grid((self._low + self._high) / 2, self._step, up=True)
        if not all(self._works(self._with(one)) for one in (_on_grid(self._high, self._step, up=False), middle)):
            return None
        words = f"{named(self._analyte.name)} were measured today ({self._now()})"
        return Change(NEW, self._name, self._analyte.unit, middle, words, COSTS[NEW])

    def _now(self) -> str:
        if self._last is None:
            return "there is no usable result"
        return f"{'it' if self._newest else 'the newest result'} is {describe(self._last)}"

    def _worded(self, value: Decimal, *, up: bool, only: bool = False) -> Change:
        """Say what the value would have to be; ``only`` where what lies beyond it need not work."""
        unit = spelled(self._analyte.unit)
        beyond = value - self._step if up else value + self._step
        if beyond in self._limits and not self._works(self._with(beyond)):
            wanted = f"were {'above' if up else 'below'} {short(beyond)} {unit}"
        else:
            wanted = f"were {short(value)} {unit}" + ("" if only else " or more" if up else " or less")
        words = f"{named(self._analyte.name)} {wanted} ({self._now()})"
        return msgspec.structs.replace(self._with(value), words=words, cost=self._cost(value))

    def _cost(self, value: Decimal) -> float:
        if self._newest is None:
            return COSTS[NEW]
        old = self._newest.value
        return float(abs(value - old) / max(abs(old), self._step))

    def all_beyond(self, *, above: bool) -> Change | None:
        """Return the change of every result beyond a value to that value, where the newest alone is not enough."""
        points = {limit + shift for limit in self._limits for shift in (-self._step, Decimal(0), self._step)}
        for point in sorted(points, reverse=above):
            moved = [one for one in self._values if (one > point if above else one < point)]
            if not moved or not self._low <= point <= self._high:
                continue
            furthest = max(moved) if above else min(moved)
            label, unit = named(self._analyte.name), spelled(self._analyte.unit)
            words = (
                f"no {label} were {'above' if above else 'below'} {short(point)} {unit} "
                f"(the {'highest' if above else 'lowest'} is {_short(furthest)} {unit})"
            )
            cost = COSTS[ALL_VALUES] + float(abs(furthest - point) / max(abs(furthest), self._step))
            change = Change(ALL_VALUES, self._name, f"{'>' if above else '<'}{self._analyte.unit}", point, words, cost)
            if self._works(change):
                return change
        return None


def _exponent(value: Decimal) -> int:
    found = value.normalize().as_tuple().exponent
    return found if isinstance(found, int) else 0


def _on_grid(value: Decimal, step: Decimal, *, up: bool) -> Decimal:
    return (value / step).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * step
