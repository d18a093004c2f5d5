"""Laboratory results: read, converted, checked; or set aside with a reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

import msgspec

from cds_service.facts import model
from cds_service.facts.dates import DAY, When, parse, span
from cds_service.facts.model import Measurement, SetAside
from cds_service.facts.records import Component, Quantity, Raw, Record, present
from cds_service.facts.shared import Desk
from cds_service.terminology import Analyte

USABLE = {"final": 0, "amended": 1, "corrected": 2}
COMPARATORS = ("<", "<=", ">", ">=")
# Reasons that make a newer result ask for a repeat (CC-04): the sample was measured, the number cannot be used.
UNUSABLE_NUMBER = frozenset({"unit-missing", "unit-unknown", "unit-conflict", "implausible"})
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")
_HEMOLYSED = re.compile(rb"h(a)?emoly[sz]", re.IGNORECASE)
_NOT_HEMOLYSED = re.compile(rb"\b(no|not|non|without|negative for)\b[^.;,]{0,20}h(a)?emoly[sz]", re.IGNORECASE)
_OTHER_VALUES = ("valueString", "valueCodeableConcept", "valueInteger", "valueBoolean", "valueRange", "valueRatio")
_quantity = msgspec.json.Decoder(Quantity)


def read(record: Record, desk: Desk) -> Iterator[Measurement | SetAside]:
    """Yield what an Observation says: one result, one per component of a panel, or the reason why none."""
    meaning = desk.labs(bytes(record.code))
    if not meaning.matches and not record.component:
        desk.unmatched(model.LABS, meaning)
        return
    for match in meaning.matches:
        yield _result(record, desk, desk.analyte(match.concept), record)
    for part in record.component:
        for match in desk.labs(bytes(part.code)).matches:
            yield _result(record, desk, desk.analyte(match.concept), part)


def _result(record: Record, desk: Desk, analyte: Analyte, holder: Record | Component) -> Measurement | SetAside:
    when = _when(record)
    reason = _unusable(record, desk, analyte, when) or _no_number(holder, analyte)
    if reason or when is None:
        return _aside(record, analyte, reason or "undated", when)
    return _number(record, desk, analyte, holder, when)


def _when(record: Record) -> When | None:
    if record.effectiveDateTime or record.effectiveInstant:
        return parse(record.effectiveDateTime or record.effectiveInstant)
    if record.effectivePeriod:
        return span(parse(record.effectivePeriod.start), parse(record.effectivePeriod.end))
    return parse(record.issued)


def _unusable(record: Record, desk: Desk, analyte: Analyte, when: When | None) -> str:
    """Name the first reason why the resource as a whole cannot be used; "" where there is none."""
    status = record.status or "unknown"
    if status not in USABLE and not (status == "preliminary" and desk.policy.allow_preliminary):
        return f"status-{status}" if status in KNOWN_STATUS else "status-unknown"
    if when is None:
        return "bad-date" if record.effectiveDateTime or record.effectivePeriod or record.issued else "undated"
    if when.start > desk.now + DAY:
        return "future-date"
    if analyte.hemolysis_sensitive and (len(record.specimen) or len(record.note)) and _hemolysed(record):
        return "hemolysed"
    return ""


KNOWN_STATUS = frozenset({"registered", "preliminary", "cancelled", "entered-in-error", "unknown"})


def _hemolysed(record: Record) -> bool:
    return any(
        _HEMOLYSED.search(raw) and not _NOT_HEMOLYSED.search(raw) for raw in map(bytes, (record.specimen, record.note))
    )


def _no_number(holder: Record | Component, analyte: Analyte) -> str:
    quantity = len(holder.valueQuantity) and present(holder.valueQuantity)
    if isinstance(holder, Component):
        return "" if quantity else "no-value"
    others = [name for name in _OTHER_VALUES if len(getattr(holder, name)) and present(getattr(holder, name))]
    if quantity and others:
        return "ambiguous"
    if quantity:
        return "data-absent" if len(holder.dataAbsentReason) and present(holder.dataAbsentReason) else ""
    if others:
        return "not-numeric"
    return "data-absent" if present(holder.dataAbsentReason) else "no-value"


def _number(
    record: Record, desk: Desk, analyte: Analyte, holder: Record | Component, when: When
) -> Measurement | SetAside:
    try:
        quantity = _quantity.decode(holder.valueQuantity)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _aside(record, analyte, "not-numeric", when)
    if not desk.checked and quantity is not None:
        desk.check_members(holder.valueQuantity)
    reported = _decimal(quantity.value)
    if reported is None:
        return _aside(record, analyte, "not-numeric", when)
    if quantity.comparator and quantity.comparator not in COMPARATORS:
        return _aside(record, analyte, "comparator-unknown", when)
    unit, problem = desk.unit(quantity.code, quantity.unit, quantity.system, analyte)
    if problem:
        return _aside(record, analyte, problem, when)
    value = analyte.convert(reported, unit)
    if value is None or not analyte.plausible(value):
        return _aside(record, analyte, "implausible" if value is not None else "unit-unknown", when)
    return Measurement(
        analyte=analyte.id,
        value=value,
        reported=reported,
        unit=quantity.unit or quantity.code or unit,
        when=when,
        comparator=quantity.comparator or "",
        status=record.status or "final",
        rank=_rank(record, when),
        notes=_notes(record, when),
    )


def _decimal(raw: Raw) -> Decimal | None:
    if not 0 < len(raw) <= 48:
        return None
    text = bytes(raw).decode("ascii", "replace")
    if not _NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _rank(record: Record, when: When) -> tuple[float, int, float, float]:
    """Order results: time, then corrected before amended before final, then issued, then last updated (KNOWLEDGE 2.2)."""
    issued = parse(record.issued)
    updated = parse(record.meta.lastUpdated) if record.meta else None
    return (
        when.end,
        USABLE.get(record.status or "", -1),
        issued.end if issued else 0.0,
        updated.end if updated else 0.0,
    )


def _notes(record: Record, when: When) -> tuple[str, ...]:
    notes = ["time zone not recorded, read as UTC"] if when.zoneless else []
    if record.status == "preliminary":
        notes.append("preliminary")
    if not (record.effectiveDateTime or record.effectivePeriod or record.effectiveInstant):
        notes.append("dated by when it was issued")
    return tuple(notes)


def _aside(record: Record, analyte: Analyte, reason: str, when: When | None) -> SetAside:
    rank = _rank(record, when) if when else (0.0, 0, 0.0, 0.0)
    return SetAside(kind=model.LABS, reason=reason, concept=analyte.id, when=when, rank=rank)
