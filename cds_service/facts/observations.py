"""Laboratory results: read, converted, checked; or set aside with a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import msgspec

from cds_service import decoding
from cds_service.facts import model
from cds_service.facts.dates import DAY, When, parse
from cds_service.facts.hemolysis import hemolysed
from cds_service.facts.model import Measurement, SetAside
from cds_service.facts.ranges import upper_limit
from cds_service.facts.records import Component, Lab, Quantity, Raw, present
from cds_service.facts.series import Waiting, moment_of
from cds_service.facts.shared import Desk
from cds_service.protocol.wire import no_twins
from cds_service.terminology import Analyte
from cds_service.terminology.meaning import Meaning

# Tests whose assays differ so much that the laboratory's own upper limit counts (KNOWLEDGE 2).
RANGED = frozenset({"pth"})
USABLE = {"final": 0, "amended": 1, "corrected": 2}
UNUSABLE = frozenset({"registered", "preliminary", "cancelled", "entered-in-error", "unknown"})
# Reasons that make a newer result ask for a repeat (CC-04): the sample was measured, the number cannot be used.
UNUSABLE_NUMBER = frozenset({"unit-missing", "unit-unknown", "unit-conflict", "implausible"})
REASONS = {
    "unit-missing": "its unit is missing",
    "unit-unknown": "its unit is not known for this test",
    "unit-conflict": "its unit is given in two ways that disagree",
    "implausible": "no living patient has this value",
    "not-numeric": "it is not a number",
    "data-absent": "the laboratory says that there is no value",
    "no-value": "it has no value",
    "hemolysed": "the specimen was hemolysed",
    "future-date": "it is dated in the future",
    "bad-date": "its date does not exist",
    "undated": "it has no date",
}
_components = decoding.decoder(list[Raw])
_component = decoding.decoder(Component)
_WRONG = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def file(meaning: Meaning, found: list[Waiting], desk: Desk, waiting: dict[str, list[Waiting]]) -> None:
    """Put Observations of one code with the others of their test, unread."""
    for match in meaning.matches:
        waiting.setdefault(match.concept, []).extend(found)
    if not meaning.matches:
        desk.others.append(found)
        if not desk.reader.means_more(found[0][0].code):
            desk.unmatched(model.LABS, meaning, len(found))


def file_one(record: Lab, desk: Desk, waiting: dict[str, list[Waiting]]) -> None:
    """Put one Observation with the others of its test; a panel once for each of its parts."""
    meaning = desk.labs(bytes(record.code))
    if meaning.matches or not (len(record.component) and _file_panel(record, desk, waiting)):
        file(meaning, [(record, None)], desk, waiting)


def _file_panel(record: Lab, desk: Desk, waiting: dict[str, list[Waiting]]) -> int:
    """Take a panel apart: the value of each part comes from its component, never from the panel itself."""
    found = [(match.concept, part) for part in _parts(record) for match in desk.labs(bytes(part.code)).matches]
    for concept, part in found:
        waiting.setdefault(concept, []).append((record, part))
    return len(found)


def _parts(record: Lab) -> Iterator[Component]:
    """Yield the components that can be read; one that cannot hides no other."""
    no_twins(bytes(record.component))
    parts: list[Raw] = []
    with suppress(*_WRONG):
        parts = _components.decode(record.component)
    for part in parts:
        with suppress(*_WRONG):
            yield _component.decode(part)


def reader(desk: Desk, concept: str) -> Callable[[Lab, Component | None], Measurement | SetAside]:
    """Return the function that reads the results of one test at this desk."""
    analyte = desk.analytes[concept]
    if concept in RANGED:
        return lambda record, part: _with_limit(_result(record, desk, analyte, part), record, desk, analyte, part)
    return lambda record, part: _result(record, desk, analyte, part)


def _with_limit(
    result: Measurement | SetAside, record: Lab, desk: Desk, analyte: Analyte, part: Component | None
) -> Measurement | SetAside:
    """Give a result the upper limit of normal that came with it, if exactly one did."""
    one: Lab | Component = record if part is None else part
    if isinstance(result, SetAside) or one.valueQuantity is None or not present(one.referenceRange):
        return result
    limit = upper_limit(one.referenceRange, one.valueQuantity, desk, analyte)
    return result if limit is None else msgspec.structs.replace(result, upper=limit)


def _result(record: Lab, desk: Desk, analyte: Analyte, part: Component | None) -> Measurement | SetAside:
    when = parse(record.effectiveDateTime) if record.effectiveDateTime else moment_of(record)
    quantity = record.valueQuantity if part is None else part.valueQuantity
    reason = unusable(record, desk, analyte, when) or _no_number(record, part, quantity)
    if reason or when is None or quantity is None:
        return _aside(record, analyte, reason or "undated", when)
    amount = desk.reader.amount(quantity, analyte)
    if amount.problem:
        if amount.problem.startswith("unit-"):
            desk.odd_unit(analyte, quantity.unit or quantity.code or amount.problem)
        return _aside(record, analyte, amount.problem, when)
    status = record.status or "final"
    return Measurement(
        analyte.id,
        amount.value,
        amount.reported,
        amount.unit,
        when,
        quantity.comparator or "",
        status,
        (when.end, USABLE.get(status, -1)),
        (record.issued or "", bytes(record.meta)),
        _notes(record, when),
    )


def unusable(record: Lab, desk: Desk, analyte: Analyte, when: When | None) -> str:
    """Name the first reason why the resource as a whole cannot be used; "" where there is none."""
    status = record.status
    if status not in USABLE and not (status == "preliminary" and desk.policy.allow_preliminary):
        return f"status-{status}" if status in UNUSABLE else "status-unknown"
    if when is None:
        return "bad-date" if record.effectiveDateTime or record.effectivePeriod or record.issued else "undated"
    if when.start > desk.now + DAY:
        return "future-date"
    if analyte.hemolysis_sensitive and (record.specimen or record.note or record.contained) and hemolysed(record):
        return "hemolysed"
    return ""


def _no_number(record: Lab, part: Component | None, quantity: Quantity | None) -> str:
    absent = record.dataAbsentReason if part is None else part.dataAbsentReason
    if _has_other_value(part or record):
        return "ambiguous" if quantity is not None else "not-numeric"
    if len(absent) and present(absent):
        return "data-absent"
    if part is not None and present(part.modifierExtension):
        return "modifier-extension"
    return "no-value" if quantity is None else ""


def _has_other_value(record: Lab | Component) -> bool:
    """Say whether there is a value of another kind: text, a code, a whole number, yes or no, a range ..."""
    others = (
        record.valueString,
        record.valueCodeableConcept,
        record.valueInteger,
        record.valueBoolean,
        record.valueRange,
        record.valueRatio,
        record.valueSampledData,
        record.valueTime,
        record.valueDateTime,
        record.valuePeriod,
    )
    return any(others) and any(map(present, others))


def _notes(record: Lab, when: When) -> tuple[str, ...]:
    if not when.zoneless and record.status != "preliminary" and record.effectiveDateTime:
        return ()
    notes = ["time zone not recorded, read as UTC"] if when.zoneless else []
    if record.status == "preliminary":
        notes.append("preliminary")
    if not (record.effectiveDateTime or record.effectivePeriod or record.effectiveInstant):
        notes.append("dated by when it was issued")
    return tuple(notes)


def _aside(record: Lab, analyte: Analyte, reason: str, when: When | None) -> SetAside:
    rank = (when.end, USABLE.get(record.status or "", -1)) if when else (0.0, 0)
    return SetAside(kind=model.LABS, reason=reason, concept=analyte.id, when=when, rank=rank)


def words_for(reason: str) -> str:
    """Say a reason code in words a clinician reads: "status-preliminary" is "it is preliminary"."""
    return REASONS.get(reason) or f"it is {reason.removeprefix('status-').replace('-', ' ')}"
