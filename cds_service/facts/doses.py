"""How much of a medicine is taken a day, as far as the dosage of an order says it in numbers."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

import msgspec

from cds_service import decoding
from cds_service.facts.records import Quantity, Raw, present
from cds_service.protocol.wire import no_twins

_WRONG = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError, ValueError)
# UCUM periods of Timing.repeat.periodUnit, in days; months and years are no dosing of a daily medicine.
_DAYS = {"h": Fraction(1, 24), "d": Fraction(1), "wk": Fraction(7)}
# HL7 GTSAbbreviation, times a day.
_TIMES = {
    **dict.fromkeys(("QD", "AM", "PM", "BED"), Fraction(1)),
    "BID": Fraction(2),
    "TID": Fraction(3),
    "QID": Fraction(4),
    "QOD": Fraction(1, 2),
}


class _Repeat(msgspec.Struct):
    frequency: int | None = None
    frequencyMax: int | None = None
    period: Decimal | None = None
    periodMax: Decimal | None = None
    periodUnit: str | None = None
    dayOfWeek: list[str] = []
    count: int | None = None


class _Code(msgspec.Struct):
    code: str = ""


class _TimingCode(msgspec.Struct):
    coding: list[_Code] = []


class _Timing(msgspec.Struct):
    repeat: _Repeat | None = None
    code: _TimingCode | None = None


class _Range(msgspec.Struct):
    high: Quantity | None = None


class _Rate(msgspec.Struct):
    doseQuantity: Quantity | None = None
    doseRange: _Range | None = None


class _Dosage(msgspec.Struct):
    sequence: int | None = None
    timing: _Timing | None = None
    doseAndRate: list[_Rate] = []
    modifierExtension: Raw = Raw()


_dosages = decoding.decoder(list[_Dosage])
_number = decoding.decoder(Decimal)


@lru_cache(maxsize=512)
def daily(dosage: bytes) -> tuple[Decimal, str] | None:
    """
    Return the daily dose and its unit, from the JSON of a list of FHIR Dosages; None where it is not said in numbers.

    Doses that follow each other (a taper) have no one daily dose. Raises MalformedJson where a member stands twice.
    """
    no_twins(dosage)
    with suppress(*_WRONG):
        entries = _dosages.decode(dosage)
        if len({entry.sequence for entry in entries}) > 1:
            return None
        doses = [_one(entry) for entry in entries]
        known = [dose for dose in doses if dose is not None]
        if known and len(known) == len(doses) and len({unit for _, unit in known}) == 1:
            total = sum((amount for amount, _ in known), Fraction(0))
            return Decimal(total.numerator) / total.denominator, known[0][1]
    return None


def _one(entry: _Dosage) -> tuple[Fraction, str] | None:
    times = _times_a_day(entry.timing)
    if times is None or len(entry.doseAndRate) != 1 or present(entry.modifierExtension):
        return None
    rate = entry.doseAndRate[0]
    quantity = rate.doseQuantity or (rate.doseRange.high if rate.doseRange else None)
    if quantity is None or not present(quantity.value) or quantity.comparator:
        return None
    return Fraction(_number.decode(quantity.value)) * times, (quantity.code or quantity.unit or "").strip().casefold()


def _times_a_day(timing: _Timing | None) -> Fraction | None:
    """Return how often a day the dose is given; of a range the most."""
    repeat = timing.repeat if timing else None
    if timing is None or (repeat is not None and repeat.count):
        return None
    if repeat is None or not (repeat.frequency or repeat.period or repeat.dayOfWeek):
        codes = [one.code for one in timing.code.coding if one.code in _TIMES] if timing.code else []
        return _TIMES[codes[0]] if codes else None
    often = Fraction(repeat.frequencyMax or repeat.frequency or 1)
    if repeat.dayOfWeek:
        return often * len(repeat.dayOfWeek) / 7
    if not repeat.period or repeat.periodUnit not in _DAYS:
        return None
    return often / (Fraction(repeat.period) * _DAYS[repeat.periodUnit])
