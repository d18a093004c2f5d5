"""The upper limit of normal that a laboratory sends with a result."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from cds_service import decoding
from cds_service.facts.loosely import decoded
from cds_service.facts.numbers import decimal
from cds_service.facts.records import Quantity, Raw, present
from cds_service.facts.shared import Desk, codings_of
from cds_service.terminology import Analyte

# HL7 referencerange-meaning: all others are of a stage of life, of therapy, or of a recommendation.
NORMAL = "normal"
MOST_RANGES = 2_000


class _Range(msgspec.Struct):
    high: Quantity | None = None
    type: Raw = Raw()
    appliesTo: Raw = Raw()
    age: Raw = Raw()
    modifierExtension: Raw = Raw()


_ranges = decoding.decoder(list[_Range])


def upper_limit(ranges: Raw, quantity: Quantity, desk: Desk, analyte: Analyte) -> Decimal | None:
    """
    Return the one upper limit of normal that came with a result; None where there is none, or several differ.

    Laboratories send the same few ranges all day, so what they say is remembered, like the meaning of codes.
    """
    key = (analyte.id, quantity.unit, quantity.code, quantity.system, bytes(ranges))
    known = desk.reader.ranges
    if key not in known:
        if len(known) > MOST_RANGES:
            known.clear()
        limits = set(upper_limits(ranges, quantity, desk, analyte))
        known[key] = limits.pop() if len(limits) == 1 else None
    return known[key]


def upper_limits(ranges: Raw, quantity: Quantity, desk: Desk, analyte: Analyte) -> Iterator[Decimal]:
    """
    Yield the upper limits of normal that hold for everybody, in the analyte's unit (if it has one).

    A limit without a unit has that of the result. Where analytes have no unit, limit and result must have the same.
    """
    for one in decoded(ranges, _ranges) or ():
        high, value = one.high, decimal(one.high.value) if one.high else None
        if high is None or value is None or high.comparator or not _for_everybody(one):
            continue
        named = high if (high.unit or high.code) else quantity
        if not analyte.factors:
            if _unit(named) == _unit(quantity):
                yield value
            continue
        unit, problem = desk.unit(named.code, named.unit, named.system, analyte)
        if not problem:
            above, below = analyte.factors[unit]
            converted = value * above / below
            if converted > 0 and analyte.plausible(converted):
                yield converted


def _for_everybody(one: _Range) -> bool:
    if present(one.appliesTo) or present(one.age) or present(one.modifierExtension):
        return False
    codings, text = codings_of(bytes(one.type)) if present(one.type) else ([], None)
    said = {coding.code for coding in codings if coding.code} or ({text.strip().casefold()} if text else set())
    return said <= {NORMAL}


def _unit(quantity: Quantity) -> str:
    return (quantity.code or quantity.unit or "").strip().casefold()
