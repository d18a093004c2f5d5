"""Shares with their uncertainty, and how likely a difference would be by chance alone; exact where that is possible."""

from __future__ import annotations

from math import exp, lgamma, log, sqrt

import msgspec

# The 97.5th percentile of the normal distribution: 95 % intervals.
Z = 1.959963984540054
# Below so many a percentage says more than is known: only the counts are shown.
ENOUGH = 20
# What ties with the observed table counts as just as unlikely: floats differ in their last digits.
_TIE = 1 + 1e-7


class Share(msgspec.Struct, frozen=True):
    """A part of a whole, as counts: 3 of 7."""

    part: int
    whole: int

    @property
    def value(self) -> float | None:
        """The share between 0 and 1; None of nothing."""
        return self.part / self.whole if self.whole else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its 95 % interval (Wilson); None of nothing."""
        return wilson(self.part, self.whole) if self.whole else None

    @property
    def counts(self) -> str:
        """Show the counts alone: "3 of 7"."""
        return f"{self.part} of {self.whole}"

    @property
    def words(self) -> str:
        """Show the counts, and from 20 on the percentage with its interval."""
        if self.whole < ENOUGH:
            return self.counts if self.whole else "none"
        low, high = wilson(self.part, self.whole)
        return f"{percent(self.part / self.whole)} % ({self.counts}; {percent(low)} to {percent(high)} %)"


class Needed(msgspec.Struct, frozen=True):
    """How many cards were shown for each that was accepted, with a 95 % interval; None is "beyond every number"."""

    cards: int
    accepted: int
    value: float | None
    low: float | None
    high: float | None

    @property
    def words(self) -> str:
        """Show the number with its interval, and what it was made of."""
        if self.value is None or self.low is None:
            return f"none accepted ({self.accepted} of {self.cards})" if self.cards else "none"
        high = "no limit" if self.high is None else f"{self.high:.1f}"
        return f"{self.value:.1f} ({self.low:.1f} to {high}; {self.accepted} of {self.cards} accepted)"


def percent(share: float) -> str:
    """Write a share as a percentage without its sign: whole numbers, one decimal below 10."""
    return f"{100 * share:.1f}" if 0 < share < 0.0995 else f"{100 * share:.0f}"


def wilson(successes: int, n: int) -> tuple[float, float]:
    """
    Return the 95 % interval of a share, also near 0 and 1 and for small numbers.

    Source: Wilson, J Am Stat Assoc 1927;22:209-12 (score interval without continuity correction).
    """
    if n <= 0:
        return 0.0, 1.0
    share, spread = successes / n, Z * Z / n
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * sqrt(share * (1 - share) / n + spread / n / 4)
    return (0.0 if successes == 0 else max(0.0, middle - half)), (1.0 if successes == n else min(1.0, middle + half))


def needed(accepted: int, cards: int) -> Needed:
    """Return the number needed to alert: cards for one that is accepted, and the inverse of Wilson's interval."""
    low, high = wilson(accepted, cards)
    return Needed(
        cards,
        accepted,
        cards / accepted if accepted else None,
        1 / high if high and cards else None,
        1 / low if low else None,
    )


def fisher(one: tuple[int, int], other: tuple[int, int]) -> float:
    """
    Return how likely two groups would differ at least so much by chance: Fisher's exact test, two-sided.

    Each group is (with, without). Two-sided: every table of the same margins that is no likelier than this one counts.
    """
    (a, b), (c, d) = one, other
    first, whole, with_it = a + b, a + b + c + d, a + c
    least, most = max(0, with_it - (c + d)), min(first, with_it)
    observed = _hypergeometric(a, first, with_it, whole)
    tables = (_hypergeometric(k, first, with_it, whole) for k in range(least, most + 1))
    return min(1.0, sum(one for one in tables if one <= observed * _TIE))


def _hypergeometric(k: int, first: int, with_it: int, whole: int) -> float:
    logs = _choose(first, k) + _choose(whole - first, with_it - k) - _choose(whole, with_it)
    return exp(logs)


def _choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def tail_at_most(k: int, n: int, share: float) -> float:
    """Return how likely at most ``k`` of ``n`` are, where each is one with this probability (binomial)."""
    return min(1.0, sum(_binomial(i, n, share) for i in range(k + 1)))


def tail_at_least(k: int, n: int, share: float) -> float:
    """Return how likely at least ``k`` of ``n`` are (binomial)."""
    return min(1.0, sum(_binomial(i, n, share) for i in range(k, n + 1)))


def _binomial(k: int, n: int, share: float) -> float:
    if share in (0.0, 1.0):
        return float(k == n * share)
    return exp(_choose(n, k) + k * log(share) + (n - k) * log(1 - share))
