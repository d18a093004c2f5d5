"""Before and after, side by side: two bars for each kind of card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import msgspec

from cds_service.drawing.marks import rectangle, text
from cds_service.drawing.svg import Drawn

# On a phone the picture shrinks and its letters do not: bars are as thick, and names have as much room, as they need.
WIDTH, LEFT, RIGHT = 520, 92, 60
_THICK, _GAP, _SPACE = 17, 4, 16


class Pair(msgspec.Struct, frozen=True):
    """One kind of card: how many per 100 patients before, and after."""

    name: str
    before: float
    after: float


def draw_pairs(pairs: Sequence[Pair], key: str, title: str) -> Drawn:
    """Return the SVG of pairs of bars. ``key`` begins its ids. The bar of before is hollow, that of after is filled."""
    most = max([1e-9, *(max(one.before, one.after) for one in pairs)])
    row = 2 * _THICK + _GAP + _SPACE
    body = [piece for number, one in enumerate(pairs) for piece in _pair(one, number * row, most)]
    height = len(pairs) * row
    told = "; ".join(f"{one.name}: {one.before:.1f} before, {one.after:.1f} after" for one in pairs)
    return Drawn(
        f'<svg class="pairs" xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {WIDTH} {height}" '
        f'aria-labelledby="{key}-pairs"><title id="{key}-pairs">{escape(title)}. {escape(told)}.</title>'
        f"{''.join(body)}</svg>"
    )


def _pair(one: Pair, top: float, most: float) -> Iterator[str]:
    room = WIDTH - LEFT - RIGHT
    yield text("name", LEFT - 10, top + _THICK + 7, one.name)
    for which, value, y in (("before", one.before, top), ("after", one.after, top + _THICK + _GAP)):
        width = value / most * room
        yield rectangle(f"{which} {one.name}", LEFT + 0.5, y + 0.5, max(width, 1.0), _THICK - 1)
        yield text(f"value {which}", LEFT + max(width, 1.0) + 7, y + _THICK - 3, f"{value:.1f}")
