"""The marks of a picture, each a piece of SVG with its words inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Protocol

from cds_service.drawing.model import Bar, Mark, Tick, Trace


class Across(Protocol):
    """Where moments stand."""

    @property
    def start(self) -> float:
        """The moment at the left edge."""

    @property
    def now(self) -> float:
        """The card's moment."""

    @property
    def edge(self) -> float:
        """The right edge of the plot."""

    def x(self, moment: float) -> float:
        """Return where a moment stands."""


class Upwards(Protocol):
    """Where values stand."""

    @property
    def top(self) -> float:
        """The upper edge of the plot."""

    def y(self, value: float) -> float:
        """Return where a value stands."""


def at(number: float) -> str:
    """Write a coordinate: a tenth of a pixel is enough."""
    return f"{number:.1f}".removesuffix(".0")


def text(classes: str, x: float, y: float, said: str) -> str:
    """Return a line of text."""
    return f'<text class="{classes}" x="{at(x)}" y="{at(y)}">{escape(said)}</text>'


def line(classes: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """Return a straight line."""
    return f'<path class="{classes}" d="M{at(x1)} {at(y1)}L{at(x2)} {at(y2)}"/>'


def rectangle(classes: str, x: float, y: float, width: float, height: float, fill: str = "") -> str:
    """Return a rectangle."""
    paint = f' fill="{fill}"' if fill else ""
    return f'<rect class="{classes}" x="{at(x)}" y="{at(y)}" width="{at(width)}" height="{at(height)}"{paint}/>'


def trace(drawn: Trace, across: Across, upwards: Upwards, *, picture_start: float) -> Iterator[str]:
    """Draw the results of one kind; bounds are joined to nothing, since nobody knows where they belong."""
    inside = [mark for mark in drawn.marks if mark.when.end >= picture_start]
    for piece in _pieces(inside):
        points = " ".join(f"{at(across.x(_middle(one)))},{at(upwards.y(float(one.value)))}" for one in piece)
        if len(piece) > 1:
            yield f'<polyline class="trace{" second" if drawn.second else ""}" points="{points}"/>'
    for mark in inside:
        yield from _mark(mark, across.x(_middle(mark)), upwards.y(float(mark.value)), drawn, across)
    for mark in inside:
        if mark.rests and not drawn.second:
            yield _value(mark, across.x(_middle(mark)), upwards.y(float(mark.value)), across, upwards)


def _middle(mark: Mark) -> float:
    """Return where a result stands: a day at its noon, a month in its middle."""
    return (mark.when.start + mark.when.end) / 2


def _pieces(marks: Sequence[Mark]) -> Iterator[list[Mark]]:
    piece: list[Mark] = []
    for mark in marks:
        if mark.comparator:
            yield piece
            piece = []
        else:
            piece.append(mark)
    yield piece


def _mark(mark: Mark, x: float, y: float, drawn: Trace, across: Across) -> Iterator[str]:
    words = f"<title>{escape(_words(mark, drawn))}</title>"
    if mark.when.last > mark.when.first:  # known to the month or year only: anywhere on this line
        yield line("vague", across.x(mark.when.start), y, across.x(mark.when.end), y)
    if mark.rests:
        yield f'<circle class="rests" cx="{at(x)}" cy="{at(y)}" r="8"/>'
    if mark.comparator:
        yield f'<path class="bound" d="{_triangle(mark.comparator, x, y)}">{words}</path>'
    elif drawn.second:
        yield f'<rect class="dot second" x="{at(x - 3)}" y="{at(y - 3)}" width="6" height="6">{words}</rect>'
    else:
        yield f'<circle class="dot" cx="{at(x)}" cy="{at(y)}" r="3.8">{words}</circle>'


def _words(mark: Mark, drawn: Trace) -> str:
    label = f"{drawn.label}, " if drawn.label else ""
    return f"{label}{mark.said}, {mark.when.day}{''.join(f'; {note}' for note in mark.notes)}"


def _triangle(comparator: str, x: float, y: float) -> str:
    """Return a triangle that points to where the value must lie; a diamond where it may lie on both sides."""
    if comparator == "?":
        return f"M{at(x)} {at(y - 5)}l5 5l-5 5l-5 -5Z"
    tip = -1 if comparator.startswith(">") else 1
    return f"M{at(x)} {at(y + tip * 6)}l5 {at(tip * -10)}h-10Z"


def _value(mark: Mark, x: float, y: float, across: Across, upwards: Upwards) -> str:
    """Write the value beside a mark that the card rests on: above it, or below where there is no room."""
    anchor = "end" if x > across.edge - 24 else "middle"
    place = y - 12 if y - 22 > upwards.top else y + 20
    return text(f"value {anchor} halo", x + (8 if anchor == "end" else 0), place, mark.short)


def legend(traces: Sequence[Trace], x: float, y: float) -> Iterator[str]:
    """Name the traces of a panel, each after its mark."""
    for one in traces:
        shape = (
            f'<rect class="dot second" x="{at(x)}" y="{at(y - 7)}" width="6" height="6"/>'
            if one.second
            else f'<circle class="dot" cx="{at(x + 3)}" cy="{at(y - 4)}" r="3.8"/>'
        )
        yield shape + text("unit", x + 11, y, one.label)
        x += 26 + len(one.label) * 6.3


def hollow(x: float, y: float, said: str, letter: str) -> str:
    """Return the mark of a result that was set aside, with the letter under which its reason stands."""
    cross = f"M{at(x - 3)} {at(y - 3)}l6 6m0 -6l-6 6"
    name = f'<text class="letter" x="{at(x + 7)}" y="{at(y + 4)}">{escape(letter)}</text>' if letter else ""
    circle = f'<circle cx="{at(x)}" cy="{at(y)}" r="5"/>'
    return f'<g class="aside"><path d="{cross}"/>{circle}{name}<title>{escape(said)}</title></g>'


def bar(drawn: Bar, across: Across, top: float) -> Iterator[str]:
    """Draw a treatment: an arrow where it goes on, a dashed line where its beginning or end is not recorded."""
    start = across.start if drawn.start is None else drawn.start
    end = across.now if drawn.ongoing or drawn.end is None else drawn.end
    if end < across.start:
        return
    left, right = across.x(start), max(across.x(end), across.x(start) + 2)
    unsure = drawn.start is None or (drawn.end is None and not drawn.ongoing)
    place = f'x="{at(left)}" y="{at(top)}" width="{at(right - left)}" height="7"'
    words = f"<title>{escape(f'{drawn.said}, {drawn.times}')}</title>"
    yield f'<rect class="bar{" unsure" if unsure else ""}" {place}>{words}</rect>'
    if drawn.ongoing:
        yield f'<path class="bar-end" d="M{at(right)} {at(top - 2)}l6 5.5l-6 5.5Z"/>'
    if drawn.start is not None and drawn.start < across.start:
        yield f'<path class="bar-end" d="M{at(left)} {at(top - 2)}l-6 5.5l6 5.5Z"/>'


def tick(drawn: Tick, x: float, top: float, *, outside: bool) -> str:
    """Draw something that happened at one time; a draft order is hollow, since it has not happened."""
    words = f"<title>{escape(f'{drawn.said}, {drawn.when.day}')}</title>"
    if outside:
        return ""
    if drawn.draft:
        return f'<path class="draft" d="M{at(x)} {at(top - 2)}l6 6l-6 6l-6 -6Z">{words}</path>'
    return f'<path class="event" d="M{at(x)} {at(top - 1)}v11">{words}</path>'
