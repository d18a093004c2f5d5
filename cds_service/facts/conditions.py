"""Conditions and family history: what counts as a diagnosis of this patient today (KNOWLEDGE 2.3)."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from cds_service.facts import model
from cds_service.facts.dates import DAY, When, parse, span
from cds_service.facts.model import Diagnosis, SetAside
from cds_service.facts.records import Raw, Record, present
from cds_service.facts.shared import Desk, codings_of, display_of

ACTIVE = frozenset({"active", "recurrence", "relapse"})
NOT_A_DIAGNOSIS = frozenset({"unconfirmed", "provisional", "differential", "refuted", "entered-in-error"})
_codes: dict[bytes, str] = {}
_list = msgspec.json.Decoder(list[Raw])


def read(record: Record, desk: Desk) -> Iterator[Diagnosis | SetAside]:
    """Yield the diagnoses that a Condition means, or the reason why it counts for none."""
    meaning = desk.reader.diagnoses(bytes(record.code))
    if not meaning.matches:
        if meaning.reason == "family-history":
            yield SetAside(model.CONDITIONS, meaning.reason)
        else:
            desk.unmatched(model.CONDITIONS, meaning)
        return
    when = _when(record)
    reason = _unusable(record, desk, when)
    for match in meaning.matches:
        if reason:
            yield SetAside(model.CONDITIONS, reason, match.concept, when)
        else:
            yield Diagnosis(
                match.concept,
                match.system,
                match.code,
                match.how,
                display_of(bytes(record.code)) or desk.reader.terminology.label(match.concept),
                active=_is_active(record, desk),
                when=when,
                encounter=_of_encounter(record),
                began=_onset(record),
            )


def read_family(record: Record, desk: Desk) -> Iterator[SetAside]:
    """A FamilyMemberHistory is never the patient's own disease."""
    del record, desk
    yield SetAside("familyHistory", "family-history")


def _when(record: Record) -> When | None:
    onset = _onset(record)
    recorded = parse(record.recordedDate)
    if onset and recorded:
        return recorded if recorded.end >= onset.end else onset
    return onset or recorded


def _onset(record: Record) -> When | None:
    return parse(record.onsetDateTime) or (parse(record.onsetPeriod.start) if record.onsetPeriod else None)


def _unusable(record: Record, desk: Desk, when: When | None) -> str:
    verification = code_of(record.verificationStatus)
    if verification in NOT_A_DIAGNOSIS:
        return verification
    clinical = code_of(record.clinicalStatus)
    if verification not in ("", "confirmed") or clinical == "?":
        return "status-unknown"
    return "future-date" if when and when.start > desk.now + DAY else ""


def _is_active(record: Record, desk: Desk) -> bool:
    if _abated(record, desk):
        return False
    clinical = code_of(record.clinicalStatus)
    # MIMIC and older records leave the clinical status out: KNOWLEDGE 2.3 reads that as active.
    return not clinical or clinical in ACTIVE


def _abated(record: Record, desk: Desk) -> bool:
    """Say whether the condition is over: FHIR allows no abatement of a condition that is active (con-4)."""
    if any(map(present, (record.abatementAge, record.abatementRange, record.abatementString))):
        return True
    period = record.abatementPeriod
    when = parse(record.abatementDateTime) or (span(period.start, period.end) if period else None)
    return when is not None and when.start <= desk.now


def _of_encounter(record: Record) -> bool:
    """Say whether this is a diagnosis of one encounter. Epic sends ``category`` as an object, others as a list."""
    return present(record.category) and b"encounter-diagnosis" in bytes(record.category)


def code_of(raw: Raw) -> str:
    """
    Return the code of a status element: "" where it was not sent, "?" where it cannot be read.

    A bare string, as STU3 wrote it, is of another FHIR version and cannot be trusted to mean the same: "?".
    """
    if not len(raw):
        return ""
    key = bytes(raw)
    if key not in _codes:
        if len(_codes) > 2_000:
            _codes.clear()
        _codes[key] = "" if key == b"null" else _read_code(key)
    return _codes[key]


def _read_code(raw: bytes) -> str:
    codings, text = codings_of(raw)
    found = {coding.code for coding in codings if coding.code}
    if len(found) == 1:
        return found.pop()
    return text.strip().casefold() if not found and text else "?"
