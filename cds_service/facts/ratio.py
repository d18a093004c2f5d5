"""PTH as a multiple of the upper limit of normal: assays differ, so the laboratory's own limit comes first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

import msgspec

from cds_service.facts.model import Facts, Measurement
from cds_service.facts.series import Lazy

PTH_RATIO, UNIT = "pth-ratio", "x ULN"


def pth_ratio(facts: Facts, upper_limit: Decimal | None = None) -> Sequence[Measurement]:
    """
    Return PTH in multiples of the upper limit of normal, newest first.

    The limit is the one that came with the result, else ``upper_limit`` (pg/mL); without either there is no ratio.
    """
    return facts.once((PTH_RATIO, upper_limit), lambda: Lazy(_ratios(facts.measurements.get("pth", ()), upper_limit)))


def _ratios(results: Sequence[Measurement], default: Decimal | None) -> Iterator[Measurement]:
    for result in results:
        limit = result.upper or default
        if limit:
            yield _over(result, limit, "of the laboratory" if result.upper else "assumed, the laboratory gave none")


def _over(result: Measurement, limit: Decimal, whose: str) -> Measurement:
    ratio = result.value / limit
    note = f"upper limit of normal {limit.normalize():f} pg/mL, {whose}"
    return msgspec.structs.replace(
        result,
        analyte=PTH_RATIO,
        value=ratio,
        reported=ratio,
        unit=UNIT,
        notes=(*result.notes, note),
        parts=(result,),
        upper=None,
    )
