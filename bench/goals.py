"""The limit and the goals for one call, and whether they are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from bench.hosts import ALL, FEW, STORED

if TYPE_CHECKING:
    from bench.bench import Row
    from bench.operating import Operated

# Issue 2: times a bare Flask at 100 Observations, for the eight rules that there were.
LIMIT = 2.5
# Issue 7, all rules and the ledger: times a bare Flask by Observations; p99 by p50 at half load; seconds; MB.
TIMES, LATE, START, MEMORY = {100: 2.0, 2000: 2.5}, 5.0, 1.5, 100.0


class Goal(msgspec.Struct):
    """Something that was asked for: the most it may be, what was measured; a limit decides the exit code."""

    what: str
    most: float
    measured: float
    unit: str
    is_limit: bool = False

    @property
    def is_kept(self) -> bool:
        """Say whether it was measured at most what it may be."""
        return self.measured <= self.most


def of(rows: Sequence[Row], operated: Operated | None) -> list[Goal]:
    """Return what was asked for, as far as it was measured."""
    return [*_of_calls(rows), *(_of_operation(operated) if operated else ())]


def _of_calls(rows: Sequence[Row]) -> Iterator[Goal]:
    times = {(row.host, row.size): row.ratio[0] for row in rows}
    if (FEW, 100) in times:
        yield Goal("**limit** (issue 2): the eight rules, 100 Observations", LIMIT, times[FEW, 100], "times", True)
        yield Goal("the same limit, all rules: it was not set for them", LIMIT, times[ALL, 100], "times")
    for size, most in TIMES.items():
        if (ALL, size) in times:
            yield Goal(f"all rules, {size:,} Observations", most, times[ALL, size], "times")
            yield Goal(f"all rules and the ledger, {size:,} Observations", most, times[STORED, size], "times")


def _of_operation(operated: Operated) -> Iterator[Goal]:
    yield Goal("p99 by p50 at half load", LATE, operated.half.at(0.99) / operated.half.at(0.5), "times")
    yield Goal("start to first card", START, operated.first, "s")
    yield Goal("a worker after these loads, RSS", MEMORY, operated.memory[0], "MB")
    yield Goal("a worker after these loads, PSS", MEMORY, operated.memory[1], "MB")
    yield Goal("slow calls while rules are loaded anew", 0, operated.slow, "")
