"""Numbers as they were written: read exactly, without a float in between, and said in short."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal

from cds_service.facts.records import Raw

_HUNDREDTH = Decimal("0.01")
_NUMBER = re.compile(rb"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")


def decimal(raw: Raw) -> Decimal | None:
    """Return a JSON number as it was written; None where it is none, or absurdly long."""
    if not 0 < len(raw) <= 48:
        return None
    number = bytes(raw)
    return Decimal(number.decode("ascii")) if _NUMBER.fullmatch(number) else None


def short(number: Decimal) -> str:
    """Say a computed number with one or two decimals; comparisons never use them."""
    return f"{number.quantize(_HUNDREDTH, ROUND_HALF_UP):f}".removesuffix("0")
