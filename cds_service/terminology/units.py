"""
Quantities and units: every value in a rule has been converted to the one unit of its analyte.

Conversion is by unit, never by LOINC, and exact (Decimal): a factor belongs to an analyte, since UCUM alone
cannot turn mass into substance (KNOWLEDGE 2.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal

import msgspec

# How units are written here and in records, and how a clinician reads them.
_READ = (
    ("mg2/dL2", "mg²/dL²"),
    ("mmol2/L2", "mmol²/L²"),
    ("{1.73_m2}", "1.73 m²"),
    ("1.73m2", "1.73 m²"),
    ("1.73 m2", "1.73 m²"),
)
_ANNOTATION = re.compile(r"\{[^{}]*\}")


class Quantity(msgspec.Struct, frozen=True, gc=False):
    """A number with its unit and, where the laboratory gave one, its comparator (``<``, ``<=``, ``>=``, ``>``)."""

    value: Decimal
    unit: str
    comparator: str = ""

    def rounded(self, digits: int) -> str:
        """Show the value rounded half up, as clinicians round; comparisons never use this."""
        return f"{self.comparator}{self.value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)}"


class Analyte(msgspec.Struct, frozen=True):
    """
    A measurement that rules know: its unit, the factors to it, and what value a living patient can have.

    ``fresh_days`` is for how long a result makes a repeat needless (None: for ever), also where a medicine is ordered.
    ``text`` are the names of a test that has no verified code.
    """

    id: str
    name: str
    unit: str
    factors: dict[str, tuple[Decimal, Decimal]]
    low: Decimal | None
    high: Decimal | None
    decimals: int
    hemolysis_sensitive: bool = False
    qualitative: bool = False
    fresh_days: int | None = None
    fresh_days_on_orders: int | None = None
    text: tuple[str, ...] = ()

    def fresh_for(self, *, ordering: bool) -> int | None:
        """Return for how many days a result makes a repeat needless; None for ever."""
        return self.fresh_days_on_orders or self.fresh_days if ordering else self.fresh_days

    def convert(self, value: Decimal, unit: str) -> Decimal | None:
        """Return the value in the analyte's own unit, or None where no factor is known (never guessed)."""
        factor = self.factors.get(unit)
        return None if factor is None else value * factor[0] / factor[1]

    def plausible(self, value: Decimal) -> bool:
        """Say whether a living patient can have this value (in the analyte's own unit)."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


def spelled(text: str) -> str:
    """Write the units of a text as clinicians read them: mg²/dL² for mg2/dL2, mL/min/1.73 m² for what UCUM writes."""
    for written, read in _READ:
        text = text.replace(written, read)
    return text


class UnitTable:
    """How records spell units. Case, spaces, micro signs and annotations in braces make no difference."""

    def __init__(self, spellings: Mapping[str, Iterable[str]]) -> None:
        self._table: dict[str, str] = {}
        self._met: dict[str, str | None] = {}
        for unit, others in spellings.items():
            self._table.update((_folded(spelling), unit) for spelling in (unit, *others))

    def canonical(self, spelling: str | None) -> str | None:
        """Return the unit that a spelling means, or None where it means none that we know."""
        if not spelling or len(spelling) > 40:
            return None
        if spelling not in self._met:
            if len(self._met) > 5_000:
                self._met.clear()
            key = _folded(spelling)
            self._met[spelling] = self._table.get(key) or self._table.get(_ANNOTATION.sub("", key))
        return self._met[spelling]


def _folded(spelling: str) -> str:
    plain = "".join(spelling.split()).casefold()
    return plain.replace("\u03bc", "u").replace("\u00b5", "u").replace("mcg", "ug")


def factor(text: str) -> tuple[Decimal, Decimal]:
    """Read a factor as content writes it: ``"4.008"`` or ``"1/4.008"``; the second number divides."""
    above, _, below = text.partition("/")
    return Decimal(above), Decimal(below or "1")
