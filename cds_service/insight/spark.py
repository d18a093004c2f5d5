"""A sparkline: one bar for each day, so small that it stands in a table; drawn by the server, coloured by the page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from html import escape

from cds_service.drawing.svg import Drawn

# In pixels of the drawing: a bar, what lies between two, how high the tallest may be, and the line below them.
BAR, GAP, HEIGHT, GROUND = 2, 1, 24, 1
_LEAST = 2.0


def spark(per_day: Sequence[int], until: date, key: str, what: str = "findings") -> Drawn:
    """
    Return the sparkline of daily counts that end on a day, as SVG.

    ``key`` is part of its ids: another for each sparkline of a page. Its title and description say in words what it
    shows. Bars take the colour of the text around them; those of the last week are full, so that print and dark pages
    need nothing of their own.
    """
    most, width = max(per_day, default=0), max(1, len(per_day) * (BAR + GAP) - GAP)
    bars = "".join(_bar(place, count, most, len(per_day)) for place, count in enumerate(per_day) if count)
    title, told = f"{what.capitalize()} per day", describe(per_day, until, what)
    name = escape(f"spark-{key}", quote=True)
    return Drawn(
        f'<svg class="spark" viewBox="0 0 {width} {HEIGHT + GROUND}" width="{width}" height="{HEIGHT + GROUND}" '
        f'role="img" aria-labelledby="{name}-title {name}-told" focusable="false">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-told">{escape(told)}</desc>'
        f'<rect class="ground" x="0" y="{HEIGHT}" width="{width}" height="{GROUND}" fill="currentColor" '
        f'fill-opacity="0.35"/>{bars}</svg>'
    )


def _bar(place: int, count: int, most: int, days: int) -> str:
    height = max(_LEAST, HEIGHT * count / most)
    opacity = "" if place >= days - 7 else ' fill-opacity="0.6"'
    x, y = place * (BAR + GAP), HEIGHT - height
    return f'<rect x="{x}" y="{y:.1f}" width="{BAR}" height="{height:.1f}" fill="currentColor"{opacity}/>'


def describe(per_day: Sequence[int], until: date, what: str = "findings") -> str:
    """Say in words what a sparkline shows."""
    since = until - timedelta(days=max(0, len(per_day) - 1))
    span = f"from {since} to {until}"
    total = sum(per_day)
    if not total:
        return f"No {what} {span}."
    last = next(place for place in range(len(per_day) - 1, -1, -1) if per_day[place])
    newest = since + timedelta(days=last)
    return f"{total} {what} {span}, at most {max(per_day)} on a day, the last on {newest}."
