"""How far a run has come, how fast, and how long it will take, on one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

# On a terminal the line is written anew so often; where it is not a terminal, a line is added now and then (seconds).
_AGAIN, _NOW_AND_THEN = 0.2, 10.0
_BAR = 24


class Progress:
    """
    Says how a run goes. Without a file it says nothing.

    ``timer`` counts seconds and is never set back.
    """

    def __init__(self, file: TextIO | None, timer: Callable[[], float]) -> None:
        self._file, self._timer = file, timer
        self._tty = file is not None and file.isatty()
        self.begin("", 1, "")

    def begin(self, label: str, total: float, unit: str, *, done: float = 0) -> None:
        """Begin a stage of ``total`` steps, of which some were done before; ``unit`` is what its rate is told in."""
        self._label, self._total, self._unit = label, total, unit
        self._done = self._before = done
        self._amount, self._started = 0.0, self._timer()
        self._shown = self._started

    def step(self, steps: float, amount: float) -> None:
        """Go on so many steps, with so much of the unit."""
        self._done += steps
        self._amount += amount
        now = self._timer()
        if self._file is not None and now - self._shown >= (_AGAIN if self._tty else _NOW_AND_THEN):
            self._shown = now
            self._say()

    def end(self) -> None:
        """End a stage."""
        if self._file is not None:
            self._say()
            self._file.write("\n" if self._tty else "")
            self._file.flush()

    def _say(self) -> None:
        if self._file is not None:
            self._file.write(f"\r{self.line()}\x1b[K" if self._tty else f"{self.line()}\n")
            self._file.flush()

    def line(self) -> str:
        """Return the line: stage, bar, share, how much, rate, time left."""
        share = min(1.0, self._done / self._total) if self._total else 1.0
        filled = int(_BAR * share)
        spent = self._timer() - self._started
        rate = self._amount / spent if spent > 0 else 0.0
        gone = self._done - self._before
        left = spent / gone * (self._total - self._done) if gone else 0.0
        bar = "#" * filled + "-" * (_BAR - filled)
        told = f"{self._amount:,.0f} {self._unit}, {rate:,.0f}/s"
        return f"{self._label:<10} [{bar}] {share:4.0%}  {told}, {duration(left)} left"


def duration(seconds: float) -> str:
    """Show a time: 12 s, 3:05 min, 2:10 h."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
