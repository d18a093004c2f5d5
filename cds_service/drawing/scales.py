"""A threshold on its scale: the allowed band, the value of the guideline, the value in force, the value to be tried."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from html import escape

import msgspec

from cds_service.drawing.marks import at, line, rectangle, text
from cds_service.drawing.svg import Drawn
from cds_service.publishing import phrases

WIDTH, HEIGHT, MARGIN = 320, 58, 10
_TRACK, _THICK = 26, 8
# How wide a letter is, on average, at the size of these labels.
_LETTER = 6.4


class Ruler(msgspec.Struct, frozen=True):
    """A threshold to be drawn; ``guideline`` is what the rule file says, ``tried`` a number that is not saved yet."""

    means: str
    unit: str
    low: Decimal
    high: Decimal
    guideline: Decimal
    now: Decimal
    tried: Decimal | None = None

    @property
    def told(self) -> str:
        """The scale in words."""
        said = [
            f"Allowed {phrases.number(self.low)} to {self._amount(self.high)}",
            f"the rule file says {self._amount(self.guideline)}",
            f"in force {self._amount(self.now)}",
        ]
        if self.tried is not None:
            said.append(f"tried {self._amount(self.tried)}")
        return "; ".join(said) + "."

    def _amount(self, value: Decimal) -> str:
        return phrases.quantity(value, self.unit)

    def x(self, value: Decimal) -> float:
        """Return where a value stands; what lies outside the band stands on its edge."""
        span = self.high - self.low
        part = float((min(max(value, self.low), self.high) - self.low) / span) if span else 0.5
        return MARGIN + part * (WIDTH - 2 * MARGIN)


def draw_scale(ruler: Ruler, key: str) -> Drawn:
    """
    Return the SVG of a threshold on its scale.

    ``key`` begins its ids. Shapes differ before colours do: the guideline is a line, the value in force a filled
    diamond, the tried one a hollow one.
    """
    body = [
        rectangle("band", MARGIN, _TRACK, WIDTH - 2 * MARGIN, _THICK),
        *_moved(ruler),
        line("guideline", ruler.x(ruler.guideline), _TRACK - 5, ruler.x(ruler.guideline), _TRACK + _THICK + 5),
        _diamond("now", ruler.x(ruler.now)),
        *([_diamond("tried", ruler.x(ruler.tried))] if ruler.tried is not None else []),
        *_ends(ruler),
        *_labels(ruler),
    ]
    return Drawn(
        f'<svg class="scale" xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'aria-labelledby="{key}-scale"><title id="{key}-scale">{escape(ruler.told)}</title>{"".join(body)}</svg>'
    )


def _moved(ruler: Ruler) -> Iterator[str]:
    """Show the way from the value in force to the one that is tried."""
    if ruler.tried is not None and ruler.tried != ruler.now:
        left, right = sorted((ruler.x(ruler.now), ruler.x(ruler.tried)))
        yield rectangle("moved", left, _TRACK, right - left, _THICK)


def _diamond(classes: str, x: float) -> str:
    y, half = _TRACK + _THICK / 2, 7
    points = f"M{at(x)} {at(y - half)}L{at(x + half)} {at(y)}L{at(x)} {at(y + half)}L{at(x - half)} {at(y)}Z"
    return f'<path class="{classes}" d="{points}"/>'


def _ends(ruler: Ruler) -> Iterator[str]:
    yield text("end", MARGIN, HEIGHT - 6, phrases.number(ruler.low))
    yield text("end right", WIDTH - MARGIN, HEIGHT - 6, phrases.number(ruler.high))
    if ruler.low < ruler.guideline < ruler.high:
        said = f"rule file {phrases.number(ruler.guideline)}"
        room = len(said) * _LETTER / 2
        low = MARGIN + len(phrases.number(ruler.low)) * _LETTER + 8 + room
        high = WIDTH - MARGIN - len(phrases.number(ruler.high)) * _LETTER - 8 - room
        yield text("end middle", min(max(ruler.x(ruler.guideline), low), high), HEIGHT - 6, said)


def _labels(ruler: Ruler) -> Iterator[str]:
    """Write the values above their marks, pushed apart where they would touch."""
    said = [("now", ruler.now)]
    if ruler.tried is not None and ruler.tried != ruler.now:
        said.append(("tried", ruler.tried))
    said.sort(key=lambda one: one[1])
    places = [_inside(ruler.x(value), _width(value)) for _, value in said]
    if len(places) == 2:
        least = (_width(said[0][1]) + _width(said[1][1])) / 2 + 8
        lacking = max(0.0, least - (places[1] - places[0]))
        places = [places[0] - lacking / 2, places[1] + lacking / 2]
        shift = max(0.0, _inside(places[0], _width(said[0][1])) - places[0])
        shift -= max(0.0, places[1] - _inside(places[1], _width(said[1][1])))
        places = [place + shift for place in places]
    for (name, value), place in zip(said, places, strict=True):
        yield text(f"value {name}", place, 13, phrases.number(value))


def _width(value: Decimal) -> float:
    return len(phrases.number(value)) * (_LETTER + 1)


def _inside(place: float, width: float) -> float:
    return min(max(place, width / 2 + 2), WIDTH - width / 2 - 2)
