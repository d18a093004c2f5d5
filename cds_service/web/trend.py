"""
The trend of one laboratory test as a line that stands in a table: no axes, only where it goes, and the usual range.

In words too: a picture says nothing to who cannot see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cds_service.facts.dates import DAY, parse

WIDTH, HEIGHT, EDGE = 96.0, 28.0, 4.0
MOST = 12


class Trend(msgspec.Struct, frozen=True):
    """A line in a box of WIDTH by HEIGHT: its points, its last point, the usual range (top, height), and the words."""

    points: str
    last: tuple[float, float]
    band: tuple[float, float] | None
    words: str


class _Point(msgspec.Struct, frozen=True):
    day: float
    value: float


def trend(results: Sequence[Mapping[str, Any]]) -> Trend | None:
    """Return the trend of results, given newest first; None where fewer than two can be compared."""
    if not results:
        return None
    unit = _unit(results[0])
    found = [point for one in results[:MOST] if _unit(one) == unit and (point := _point(one))]
    points = sorted(found, key=lambda one: one.day)
    if len(points) < 2 or points[0].day == points[-1].day:
        return None
    return _drawn(points, _limits(results[0]), unit)


def _drawn(points: Sequence[_Point], limits: tuple[float | None, float | None], unit: str) -> Trend:
    known = [limit for limit in limits if limit is not None]
    values = [one.value for one in points]
    least, most = min([*values, *known]), max([*values, *known])
    spread, days = (most - least) or 1.0, points[-1].day - points[0].day

    def down(value: float) -> float:
        return round(HEIGHT - EDGE - (value - least) / spread * (HEIGHT - 2 * EDGE), 1)

    places = [
        (round(EDGE + (one.day - points[0].day) / days * (WIDTH - 2 * EDGE), 1), down(one.value)) for one in points
    ]
    low, high = limits
    top = down(high) if high is not None else 0.0
    band = (top, round((down(low) if low is not None else HEIGHT) - top, 1)) if known else None
    return Trend(" ".join(f"{x},{y}" for x, y in places), places[-1], band, _told(points, unit))


def _told(points: Sequence[_Point], unit: str) -> str:
    first, last = points[0].value, points[-1].value
    moved = "rose" if last > first else "fell" if last < first else "stayed"
    days = round((points[-1].day - points[0].day) / DAY)
    way = f"at {last:g}" if moved == "stayed" else f"from {first:g} to {last:g}"
    return f"{moved} {way} {unit}, {len(points)} results in {days} days".replace("  ", " ")


def _point(one: Mapping[str, Any]) -> _Point | None:
    quantity, when = one.get("valueQuantity"), parse(str(one.get("effectiveDateTime", "")))
    value = quantity.get("value") if isinstance(quantity, Mapping) else None
    if when is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(quantity, Mapping) and quantity.get("comparator"):
        return None  # a bound is no value
    return _Point(when.start, float(value))


def _unit(one: Mapping[str, Any]) -> str:
    quantity = one.get("valueQuantity")
    return str(quantity.get("unit", "")) if isinstance(quantity, Mapping) else ""


def _limits(one: Mapping[str, Any]) -> tuple[float | None, float | None]:
    ranges = one.get("referenceRange") or [{}]
    ends = [(ranges[0].get(end) or {}).get("value") for end in ("low", "high")]
    low, high = (float(end) if isinstance(end, int | float) else None for end in ends)
    return low, high
