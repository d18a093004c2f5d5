"""What is drawn: panels of results with the limits in force, lanes of treatments, one time axis, one moment."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from cds_service.drawing.axis import day_of
from cds_service.facts.dates import When


class Mark(msgspec.Struct, frozen=True):
    """
    One result, in the unit of its panel.

    ``said`` is the value as it was reported, ``short`` the number alone, ``notes`` what the reader must know of it,
    ``rests`` says that the card rests on it. A ``comparator`` makes it a bound: it is drawn hollow, since nobody knows
    the value.
    """

    when: When
    value: Decimal
    said: str
    short: str
    comparator: str = ""
    notes: tuple[str, ...] = ()
    rests: bool = False


class Trace(msgspec.Struct, frozen=True):
    """The results of one kind, oldest first. ``second`` is drawn with other marks and another line, and less weight."""

    label: str
    marks: tuple[Mark, ...]
    second: bool = False


class Limit(msgspec.Struct, frozen=True):
    """
    A threshold in force: which side of it makes a line of a rule say YES, and of which rules.

    ``exclusive`` says that the value itself does not count ("above 5.5"). ``to`` is where the same line of the rule
    ends ("above 55, at most 70"). Without ``shaded`` only the line is drawn: the rule asks for the opposite.
    """

    value: Decimal
    upward: bool
    exclusive: bool
    said: str
    rules: tuple[str, ...]
    means: str
    shaded: bool = True
    to: Decimal | None = None

    @property
    def sign(self) -> str:
        """The comparison as a sign."""
        return (">" if self.exclusive else "\u2265") if self.upward else ("<" if self.exclusive else "\u2264")


class Aside(msgspec.Struct, frozen=True):
    """A result that no rule may use: what it is of, when, why; ``letter`` ties its mark to the list of reasons."""

    what: str
    when: When | None
    reason: str
    letter: str = ""


class Panel(msgspec.Struct, frozen=True):
    """The results of one test over time. ``remark`` says what is missing, ``known_from`` the first day known."""

    name: str
    label: str
    unit: str
    traces: tuple[Trace, ...]
    limits: tuple[Limit, ...] = ()
    asides: tuple[Aside, ...] = ()
    remark: str = ""
    known_from: int | None = None

    @property
    def marks(self) -> list[Mark]:
        """Every mark of every trace."""
        return [mark for trace in self.traces for mark in trace.marks]

    @property
    def newest(self) -> tuple[Trace, Mark] | None:
        """The newest mark with its trace; of the same moment that of the last trace, which is what rules compare."""
        newest = [(trace, trace.marks[-1]) for trace in self.traces if trace.marks]
        return max(reversed(newest), key=lambda one: one[1].when.end, default=None)


class Bar(msgspec.Struct, frozen=True):
    """
    A treatment from ``start`` to ``end``, in seconds; None where that is not recorded, or where it still goes on.

    ``ahead`` is how far the clocks that wrote these two were ahead of UTC, in seconds: days are shown as written.
    """

    said: str
    start: float | None
    end: float | None = None
    ongoing: bool = True
    ahead: tuple[int, int] = (0, 0)

    @property
    def times(self) -> str:
        """From when to when, in words."""
        begun = f"since {day_of(self.start + self.ahead[0])}" if self.start is not None else "start not recorded"
        if self.ongoing:
            return begun
        ended = f"until {day_of(self.end + self.ahead[1])}" if self.end is not None else "ended, day not recorded"
        return f"{begun}, {ended}"


class Tick(msgspec.Struct, frozen=True):
    """Something that happened at one time, or that is being ordered now (``draft``)."""

    said: str
    when: When
    draft: bool = False


class Lane(msgspec.Struct, frozen=True):
    """One treatment on the time axis. ``remark`` says what is missing."""

    label: str
    bars: tuple[Bar, ...] = ()
    ticks: tuple[Tick, ...] = ()
    remark: str = ""


class Picture(msgspec.Struct, frozen=True):
    """
    Everything that is drawn.

    ``now`` is the moment at which the rules were asked, in seconds since 1970 (UTC), ``start`` the left edge.
    """

    now: float
    start: float
    panels: tuple[Panel, ...]
    lanes: tuple[Lane, ...]
    notes: tuple[str, ...] = ()

    @property
    def asides(self) -> list[Aside]:
        """Everything that was set aside, in the order of its letters."""
        return [aside for panel in self.panels for aside in panel.asides]
