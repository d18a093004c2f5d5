"""
A picture as SVG: no script, no style of its own, nothing from elsewhere; the page's style sheet gives the colours.

Shapes tell things apart before colours do: a filled mark is a value, a hollow one is not (a bound, or set aside).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import msgspec

from cds_service.drawing import axis, marks
from cds_service.drawing.marks import at, line, rectangle, text
from cds_service.drawing.model import Lane, Limit, Panel, Picture
from cds_service.facts.dates import DAY
from cds_service.terminology.units import spelled


class Drawn(str):
    """A drawing: every word in it was made harmless when it was drawn, so templates show it as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return the SVG, as templates ask for it."""
        return str(self)


class Sheet(msgspec.Struct, frozen=True):
    """How large things are, in pixels of the drawing. Without a margin to the ``right`` labels stand in the plot."""

    width: int
    left: int
    right: int
    plot: int
    ticks: int

    @property
    def narrow(self) -> bool:
        """Say whether labels have to stand inside the plot."""
        return self.right < 60


WIDE, NARROW = Sheet(880, 44, 100, 104, 9), Sheet(344, 38, 12, 96, 4)
TOP, HEADER, STRIP, GAP, AXIS, ROW, EMPTY = 24, 24, 16, 14, 26, 34, 10
# How wide a letter is, on average: of labels, and of bold ones.
LETTER, BOLD = 6.9, 7.2
# On a narrow sheet the day of a value stands without its year, if it can only be this one.
_RECENT = 300 * DAY
# How far apart marks of what was set aside stand at least: a mark with its letter.
_ASIDE = 21
# The margin for the labels of limits, at most; a longer label is cut.
_MOST_MARGIN = 210
# Room to the right of the card's moment, as a part of the whole.
_AFTER = 0.03


class Frame(msgspec.Struct, frozen=True):
    """Where moments stand on a sheet."""

    sheet: Sheet
    start: float
    now: float

    @property
    def end(self) -> float:
        """The moment at the right edge."""
        return self.now + (self.now - self.start) * _AFTER

    @property
    def edge(self) -> float:
        """The right edge of the plot."""
        return self.sheet.width - self.sheet.right

    def x(self, moment: float) -> float:
        """Return where a moment stands; what lies outside stands on the edge."""
        inside = min(max(moment, self.start), self.end)
        return self.sheet.left + (inside - self.start) / (self.end - self.start) * (self.edge - self.sheet.left)


class Scale(msgspec.Struct, frozen=True):
    """Where values stand in a plot that begins at ``top``."""

    ticks: tuple[float, ...]
    top: float
    height: float

    def y(self, value: float) -> float:
        """Return where a value stands; what lies outside stands on the edge."""
        low, high = self.ticks[0], self.ticks[-1]
        return self.top + (high - min(max(value, low), high)) / (high - low) * self.height

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.top + self.height


def draw(picture: Picture, sheet: Sheet, key: str, told: str) -> Drawn:
    """
    Return the SVG of a picture.

    ``key`` begins every id in it, so that two drawings fit on one page; ``told`` is its description for those who do
    not see it.
    """
    frame, body = Frame(_fitted(sheet, picture), picture.start, picture.now), list[str]()
    top: float = TOP
    for panel in picture.panels:
        body += _panel(panel, frame, top, key)
        top += panel_height(panel, sheet) + GAP
    axis_top = top
    top += AXIS
    for lane in picture.lanes:
        body += _lane(lane, frame, top)
        top += lane_height(lane)
    height = top + 6
    ground = [*_times(frame, TOP, axis_top, height), *_moment(frame, height), *body]
    return Drawn(
        f'<svg class="chart {"narrow" if sheet.narrow else "wide"}" xmlns="http://www.w3.org/2000/svg" role="img" '
        f'viewBox="0 0 {sheet.width} {height:.0f}" aria-labelledby="{key}-title" aria-describedby="{key}-desc">'
        f'<title id="{key}-title">Trend of what the card rests on</title><desc id="{key}-desc">{escape(told)}</desc>'
        f"{_patterns(key)}{''.join(ground)}</svg>"
    )


def _fitted(sheet: Sheet, picture: Picture) -> Sheet:
    """Return a sheet whose margin is as wide as its labels need it."""
    if sheet.narrow:
        return sheet
    longest = max((len(said) for panel in picture.panels for said in map("".join, _labels(panel))), default=0)
    return msgspec.structs.replace(sheet, right=min(max(sheet.right, int(longest * BOLD) + 20), _MOST_MARGIN))


def panel_height(panel: Panel, sheet: Sheet) -> float:
    """Return how high a panel is: without results it is one line."""
    header = HEADER + (HEADER - 6 if sheet.narrow and len(panel.traces) > 1 and panel.marks else 0)
    strip = STRIP if any(aside.when for aside in panel.asides) else 0
    return header + strip + (sheet.plot if panel.marks else EMPTY)


def lane_height(lane: Lane) -> float:
    """Return how high a lane is: words alone need less."""
    return ROW if lane.bars or lane.ticks else ROW - 10


def scale_of(panel: Panel, top: float, sheet: Sheet) -> Scale:
    """Return the scale that holds every value and every limit of a panel."""
    values = [float(mark.value) for mark in panel.marks] + [float(limit.value) for limit in panel.limits]
    return Scale(tuple(axis.scale(values)), top, sheet.plot)


def _patterns(key: str) -> str:
    """Define the hatching of what is not known."""
    return (
        f'<defs><pattern id="{key}-hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)"><path class="hatch" d="M0 0V6"/></pattern></defs>'
    )


def _times(frame: Frame, top: float, axis_top: float, bottom: float) -> Iterator[str]:
    """Draw the time axis: a line down the whole picture for each tick, its name between panels and lanes."""
    taken = 0.0
    for moment, name in axis.ticks(frame.start, frame.end, frame.sheet.ticks):
        x = frame.x(moment)
        yield line("grid", x, top, x, bottom)
        half = len(name) * 3.4
        middle = max(x, half + 2)
        if middle - half > taken and middle + half < frame.sheet.width:
            yield text("tick middle", middle, axis_top + 13, name)
            taken = middle + half + 6


def _moment(frame: Frame, bottom: float) -> Iterator[str]:
    """Mark the card's moment."""
    x = frame.x(frame.now)
    yield line("moment", x, TOP - 6, x, bottom)
    place = "moment-label end" if frame.sheet.narrow else "moment-label middle"
    yield text(place, x, 13, f"this card, {axis.day_of(frame.now)}")


def _panel(panel: Panel, frame: Frame, top: float, key: str) -> Iterator[str]:
    sheet = frame.sheet
    yield from _header(panel, frame, top + 14)
    if not panel.marks:
        lowest = top + panel_height(panel, sheet)
        yield text("remark", sheet.left, top + HEADER + 10, panel.remark)
        yield from _strip(panel, frame, lowest - STRIP)
        return
    legend = HEADER + (HEADER - 6 if sheet.narrow and len(panel.traces) > 1 else 0)
    scale = scale_of(panel, top + legend, sheet)
    yield from _unknown(panel, frame, scale, key)
    yield from _numbers(frame, scale)
    yield from _bands(panel, frame, scale)
    yield from _limits(panel, frame, scale)
    for trace in panel.traces:
        yield from marks.trace(trace, frame, scale, picture_start=frame.start)
    yield from _strip(panel, frame, scale.bottom)


def _header(panel: Panel, frame: Frame, y: float) -> Iterator[str]:
    """Write what is drawn, in which unit, and the newest value."""
    sheet, drawn = frame.sheet, [trace for trace in panel.traces if trace.marks]
    yield (
        f'<text class="name" x="{sheet.left}" y="{at(y)}">{escape(panel.label)}'
        f'<tspan class="unit" dx="5">{escape(panel.unit)}</tspan></text>'
    )
    if panel.newest is not None:
        trace, mark = panel.newest
        when = axis.day_of(mark.when.end + mark.when.offset) if mark.when.first == mark.when.last else mark.when.day
        when = when.removesuffix(f" {when[-4:]}") if sheet.narrow and frame.now - mark.when.end < _RECENT else when
        said = mark.short if sheet.narrow or len(mark.said) > 30 else mark.said
        which = f" {trace.label.split()[0]}" if len(panel.traces) > 1 and not sheet.narrow else ""
        yield text("newest end halo", frame.edge, y, f"{said}{which}, {when}")
    if len(panel.traces) > 1:
        x = sheet.left if sheet.narrow else sheet.left + 130
        yield from marks.legend(drawn, x, y + (HEADER - 6 if sheet.narrow else 0))


def _numbers(frame: Frame, scale: Scale) -> Iterator[str]:
    """Write the numbers beside a plot; every second one where they would stand too close."""
    step = 1 if scale.height / (len(scale.ticks) - 1) >= 15 else 2
    for value in scale.ticks[::step]:
        y = scale.y(value)
        yield line("grid", frame.sheet.left, y, frame.edge, y)
        yield text("tick end", frame.sheet.left - 6, y + 4, axis.number(value))


def _unknown(panel: Panel, frame: Frame, scale: Scale, key: str) -> Iterator[str]:
    """Hatch the time before the first day that is known."""
    if panel.known_from is not None and panel.known_from * DAY > frame.start:
        left, right = frame.sheet.left, frame.x(panel.known_from * DAY)
        yield rectangle("unknown", left, scale.top, right - left, scale.height, f"url(#{key}-hatch)")


def _bands(panel: Panel, frame: Frame, scale: Scale) -> Iterator[str]:
    """Shade the values of which a line of a rule says YES; where several do, the shade is deeper."""
    for limit in panel.limits:
        y = scale.y(float(limit.value))
        if limit.shaded:
            far = scale.y(float(limit.to)) if limit.to is not None else scale.top if limit.upward else scale.bottom
            yield rectangle("band", frame.sheet.left, min(y, far), frame.edge - frame.sheet.left, abs(far - y))
        yield (
            f'<path class="limit" d="M{at(frame.sheet.left)} {at(y)}H{at(frame.edge)}">'
            f"<title>{escape(_meaning(limit))}</title></path>"
        )


def _meaning(limit: Limit) -> str:
    return f"{limit.sign} {limit.said}: {limit.means} ({', '.join(limit.rules)})"


def _limits(panel: Panel, frame: Frame, scale: Scale) -> Iterator[str]:
    """Label each limit with its value: beside the plot, or, on a narrow sheet, on its line."""
    wanted = [scale.y(float(limit.value)) for limit in panel.limits]
    for (said, rules), y, place in zip(_labels(panel), wanted, spread(wanted, 14), strict=True):
        if frame.sheet.narrow:
            yield text("limit-label halo", frame.sheet.left + 4, place - 4, said)
            continue
        yield f'<path class="leader" d="M{at(frame.edge)} {at(y)}L{at(frame.edge + 8)} {at(place)}"/>'
        yield (
            f'<text class="limit-label" x="{at(frame.edge + 11)}" y="{at(place + 4)}">{escape(said)}'
            f'<tspan class="unit">{escape(rules)}</tspan></text>'
        )


def _labels(panel: Panel) -> list[tuple[str, str]]:
    """Return what stands beside each limit: value and unit, and the numbers of its rules where there are several."""
    several = len({rule for limit in panel.limits for rule in limit.rules}) > 1
    numbers = [", ".join((limit.rules[0], *(one[3:] for one in limit.rules[1:]))) for limit in panel.limits]
    return [
        (f"{limit.sign} {limit.said}", f" {rules}" if several else "")
        for limit, rules in zip(panel.limits, numbers, strict=True)
    ]


def spread(places: Sequence[float], apart: float) -> list[float]:
    """Move places as little as needed, from the lowest on the sheet up, so that labels do not cover each other."""
    moved: list[float] = []
    for place in places:  # limits come from the least to the greatest, so from below to above
        moved.append(min(place, moved[-1] - apart) if moved else place)
    return moved


def _strip(panel: Panel, frame: Frame, top: float) -> Iterator[str]:
    """Draw what was set aside: hollow, below the plot, since no value of it counts."""
    shown = [(one, one.when) for one in panel.asides if one.when is not None and one.when.end >= frame.start]
    place = frame.edge - 12 + _ASIDE
    for aside, when in reversed(shown):
        place = min(frame.x(when.end), place - _ASIDE)
        said = f"{aside.what}, {when.day}, not used: {aside.reason}"
        if place > frame.sheet.left:
            yield marks.hollow(place, top + 9, said, aside.letter)


def _lane(lane: Lane, frame: Frame, top: float) -> Iterator[str]:
    words = lane.label if lane.bars or lane.ticks else f"{lane.label}: {lane.remark}"
    room = int((frame.sheet.width - frame.sheet.left) / LETTER)
    short = words if len(words) <= room else f"{words[: room - 1].rstrip()}\u2026"
    yield (
        f'<text class="lane halo" x="{at(frame.sheet.left)}" y="{at(top + 12)}">{escape(spelled(short))}'
        f"<title>{escape(words)}</title></text>"
    )
    for bar in lane.bars:
        yield from marks.bar(bar, frame, top + 18)
    for tick in lane.ticks:
        yield marks.tick(tick, frame.x(tick.when.end), top + 17, outside=tick.when.end < frame.start)
