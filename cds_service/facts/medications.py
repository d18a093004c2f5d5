"""Medications the patient takes now: by ingredient, by product with its route, or, weaker, by name (KNOWLEDGE 3.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

import msgspec

from cds_service import decoding
from cds_service.facts import model
from cds_service.facts.dates import DAY, When, parse
from cds_service.facts.identity import unversioned
from cds_service.facts.model import Medication, PastMedication, SetAside
from cds_service.facts.reasons import reasons_of
from cds_service.facts.records import Period, Raw, Record, present
from cds_service.facts.shared import Desk, display_of
from cds_service.protocol.wire import no_twins
from cds_service.terminology.concepts import Match
from cds_service.terminology.meaning import AMBIGUOUS, Meaning

ORDERED = frozenset({"", "order", "original-order", "reflex-order", "filler-order", "instance-order"})
SYSTEMIC = ("oral", "injection", "rectal")
_ROUTES = (
    (
        "local",
        re.compile(
            r"topical|ophthalm|cutaneous|transdermal|inhal|nasal|otic|vaginal|irrigat|intraperitoneal|eye|ear\b",
            re.IGNORECASE,
        ),
    ),
    (
        "injection",
        re.compile(r"inject|intraven|subcut|intramusc|parenteral|infusion|\biv\b|\bim\b|\bsc\b", re.IGNORECASE),
    ),
    ("rectal", re.compile(r"rectal|enema|suppository", re.IGNORECASE)),
    ("oral", re.compile(r"oral|by mouth|enteral|nasogastric|\bpo\b", re.IGNORECASE)),
)
_WRONG = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Route(msgspec.Struct):
    route: Raw = Raw()


class _Repeat(msgspec.Struct):
    boundsPeriod: Period | None = None


class _Timing(msgspec.Struct):
    repeat: _Repeat | None = None


class _Dosage(_Route):
    timing: _Timing | None = None


class _Dispense(msgspec.Struct):
    validityPeriod: Period | None = None


class _Bounds(msgspec.Struct):
    dosages: list[_Dosage] = []
    dispense: _Dispense | None = None


_dosages = decoding.decoder(list[_Dosage])
_dosage_given = decoding.decoder(_Dosage)
_dispense = decoding.decoder(_Dispense)
_contained = decoding.decoder(list[Raw])
_medication = decoding.decoder(Record)


def read(record: Record, desk: Desk) -> Iterator[Medication | SetAside]:
    """Yield the medications that a MedicationRequest or MedicationStatement means, or why it counts for none."""
    kind = model.MEDICATIONS if record.resourceType == "MedicationRequest" else model.STATEMENTS
    # R5 has "medication"; STU3 has "taken", which may say that what a statement names is not taken.
    if present(record.medication) or present(record.taken):
        yield SetAside(kind, "other-fhir-version")
        return
    code = _code(record, desk)
    if code is None:
        yield SetAside(kind, "unresolved")
        return
    meaning = desk.reader.medications(bytes(code))
    if not meaning.matches:
        desk.unmatched(kind, meaning)
        return
    bounds = _bounds(record)
    reason = _unusable(record, desk, bounds)
    for match in meaning.matches:
        route = match.route or _route(bounds)
        why = reason or _not_systemic(match, route, desk)
        name = meaning.display or desk.reader.terminology.label(match.concept)
        known = (match.concept, match.system, match.code, match.how, name, route, _when(record))
        if why:
            yield SetAside(kind, why, match.concept, _when(record))
            if reason in _OVER and _was_taken(record) and not _not_systemic(match, route, desk):
                yield PastMedication(*known, until=_until(record, bounds))
        else:
            yield Medication(*known, bytes(_dosage(record)), reasons_of(record, desk))


def read_given(record: Record, desk: Desk) -> Iterator[Medication | SetAside]:
    """
    Yield the medications that were given in the last 72 hours, and those given before as past (KNOWLEDGE 2.3).

    MedicationAdministration is read where it is sent; the prefetch does not ask for it.
    """
    code = _code(record, desk)
    if code is None or present(record.medication):
        yield SetAside(model.MEDICATIONS, "unresolved" if code is None else "other-fhir-version")
        return
    meaning = desk.reader.medications(bytes(code))
    if not meaning.matches:
        desk.unmatched(model.MEDICATIONS, meaning)
        return
    when = _given(record)
    reason = _not_given(record, when, desk)
    for match in meaning.matches:
        route = match.route or _route_given(record)
        name = meaning.display or desk.reader.terminology.label(match.concept)
        known = (match.concept, match.system, match.code, match.how, name, route, when)
        why = _not_systemic(match, route, desk) or reason
        if not why:
            yield Medication(*known, b"", reasons_of(record, desk))
            continue
        yield SetAside(model.MEDICATIONS, why, match.concept, when)
        if why == "ended":
            yield PastMedication(*known, until=when)


# KNOWLEDGE 2.3: what was given counts as taken for so long.
GIVEN_WITHIN = 3 * DAY
_GIVEN = ("in-progress", "completed")


def _given(record: Record) -> When | None:
    """Return when a medication was given: at that time, or until the end of the period."""
    period = record.effectivePeriod
    return parse(record.effectiveDateTime) or (parse(period.end) or parse(period.start) if period else None)


def _not_given(record: Record, when: When | None, desk: Desk) -> str:
    """Say why an administration does not count as taken now; "" where it does."""
    if record.status not in _GIVEN:
        return f"status-{record.status}" if record.status in (*_KNOWN, "not-done") else "status-unknown"
    if when is None:
        return "undated"
    if when.start > desk.now + DAY:
        return "future-date"
    return "ended" if when.end < desk.now - GIVEN_WITHIN else ""


def _route_given(record: Record) -> str:
    with suppress(*_WRONG):
        return _route(_Bounds([_dosage_given.decode(record.dosage)])) if present(record.dosage) else ""
    return ""


def ordered(record: Record, desk: Desk) -> tuple[list[Medication], str]:
    """
    Return the medications that an order not yet signed means, and "", or why it cannot be read.

    Route and ingredients decide as they do for what the patient takes; status and dates are not asked here.
    """
    if present(record.medication):
        return [], "other-fhir-version"
    code = _code(record, desk)
    if code is None:
        return [], "unresolved"
    meaning = desk.reader.medications(bytes(code))
    if not meaning.matches:
        desk.unmatched("orders", meaning)
        return [], "" if _says_what(meaning) else "unreadable-code"
    bounds, found = _bounds(record), []
    for match in meaning.matches:
        route = match.route or _route(bounds)
        if not _not_systemic(match, route, desk):
            name = meaning.display or desk.reader.terminology.label(match.concept)
            known = (match.concept, match.system, match.code, match.how, name, route, _when(record))
            found.append(Medication(*known, bytes(_dosage(record)), reasons_of(record, desk)))
    return found, ""


def _says_what(meaning: Meaning) -> bool:
    """Say whether an order that is none of ours tells what it is: in words, or by a code of a system that we know."""
    if meaning.reason == AMBIGUOUS:
        return False
    return bool(meaning.display) or any(system in ("RxNorm", "ATC") for system, _ in meaning.seen)


# The order was carried out and has ended. What was entered in error, cancelled or not taken never was.
_OVER = frozenset({"status-completed", "status-stopped", "ended"})


def _was_taken(record: Record) -> bool:
    return not record.doNotPerform and (record.intent or "") in ORDERED


def _until(record: Record, bounds: _Bounds) -> When | None:
    """Return when a medication ended, at the latest: the last end that is recorded."""
    dispense = bounds.dispense.validityPeriod if bounds.dispense else None
    periods = [record.effectivePeriod, dispense, *(_limit(dosage) for dosage in bounds.dosages)]
    ends = [end for period in periods if period and (end := parse(period.end))]
    single = parse(record.effectiveDateTime)
    return max(ends, key=_end) if ends else single


def _end(when: When) -> float:
    return when.end


def _code(record: Record, desk: Desk) -> Raw | None:
    """Return the code of the medication, wherever it was sent, or the name by which it is shown; never fetched."""
    if present(record.medicationCodeableConcept):
        return record.medicationCodeableConcept
    named = record.medicationReference
    if named is None:
        return None
    reference = named.reference or ""
    if reference.startswith("#"):
        return _contained_code(record, reference[1:])
    known = desk.medication_texts.get(unversioned(reference)) if reference else None
    if known is not None:
        return known if present(known) else None
    # KNOWLEDGE 3.1: what is nowhere in the record may be known by the name that the order shows; Epic sends that.
    display = bytes(named.display)
    return Raw(b'{"text":' + display + b"}") if display[:1] == b'"' else None


def _contained_code(record: Record, identifier: str) -> Raw | None:
    no_twins(bytes(record.contained))
    resources: list[Raw] = []
    with suppress(*_WRONG):
        resources = _contained.decode(record.contained)
    for raw in resources:
        with suppress(*_WRONG):
            inner = _medication.decode(raw)
            if inner.id == identifier and names_a_medication(inner):
                return inner.code
    return None


def names_a_medication(record: Record) -> bool:
    """Say whether a Medication says which it is, and may be believed."""
    modified = present(record.modifierExtension) or present(record.implicitRules)
    return present(record.code) and not modified and record.status != "entered-in-error"


def _when(record: Record) -> When | None:
    return (
        parse(record.authoredOn)
        or parse(record.effectiveDateTime)
        or (parse(record.effectivePeriod.start) if record.effectivePeriod else None)
    )


def _dosage(record: Record) -> Raw:
    return record.dosageInstruction if present(record.dosageInstruction) else record.dosage


def _bounds(record: Record) -> _Bounds:
    no_twins(bytes(record.dosageInstruction) or bytes(record.dosage))
    no_twins(bytes(record.dispenseRequest))
    bounds = _Bounds()
    raw = _dosage(record)
    # A dosage or dispense we cannot read says nothing about whether the medication is taken.
    with suppress(*_WRONG):
        bounds.dosages = _dosages.decode(raw) if present(raw) else []
    with suppress(*_WRONG):
        bounds.dispense = _dispense.decode(record.dispenseRequest) if present(record.dispenseRequest) else None
    return bounds


def _unusable(record: Record, desk: Desk, bounds: _Bounds) -> str:
    if record.status != "active":
        return f"status-{record.status}" if record.status in _KNOWN else "status-unknown"
    if record.doNotPerform:
        return "do-not-perform"
    if (record.intent or "") not in ORDERED:
        return "not-an-order"
    if _lies_ahead(record, desk, bounds):
        return "future-date"
    return "ended" if _ended(record, desk, bounds) else ""


def _lies_ahead(record: Record, desk: Desk, bounds: _Bounds) -> bool:
    """Say whether the medication begins more than a day from now."""
    limits = [period for dosage in bounds.dosages if (period := _limit(dosage))]
    starts = [_when(record)]
    if limits and len(limits) == len(bounds.dosages):
        starts.append(min((start for period in limits if (start := parse(period.start))), key=_start, default=None))
    return any(when.start > desk.now + DAY for when in starts if when)


def _start(when: When) -> float:
    return when.start


def _limit(dosage: _Dosage) -> Period | None:
    return dosage.timing.repeat.boundsPeriod if dosage.timing and dosage.timing.repeat else None


_KNOWN = frozenset(
    {"on-hold", "cancelled", "completed", "entered-in-error", "stopped", "draft", "unknown", "intended", "not-taken"}
)


def _ended(record: Record, desk: Desk, bounds: _Bounds) -> bool:
    """Say whether every period that limits the medication lies in the past (a day is not over before its end)."""
    periods = [record.effectivePeriod] if record.effectivePeriod else []
    if bounds.dispense and bounds.dispense.validityPeriod:
        periods.append(bounds.dispense.validityPeriod)
    limited = [period for dosage in bounds.dosages if (period := _limit(dosage))]
    over = [end.end < desk.now for period in limited if (end := parse(period.end))]
    if over and len(over) == len(bounds.dosages) and all(over):
        return True
    return any(end.end < desk.now for period in periods if (end := parse(period.end)))


def _route(bounds: _Bounds) -> str:
    """Return the route that the dosage names in words; "" where it names none."""
    for dosage in bounds.dosages:
        words = _route_words(bytes(dosage.route))
        for route, pattern in _ROUTES:
            if words and pattern.search(words):
                return route
    return ""


def _route_words(raw: bytes) -> str:
    return display_of(raw) if raw else ""


def _not_systemic(match: Match, route: str, desk: Desk) -> str:
    """An ointment, an eye drop, dialysis fluid or a multivitamin is no systemic exposure (KNOWLEDGE 3.1)."""
    concept = desk.reader.terminology.concepts[match.concept]
    if route and route not in (concept.routes or SYSTEMIC):
        return "not-systemic"
    return "many-ingredients" if match.ingredients > concept.max_ingredients else ""
