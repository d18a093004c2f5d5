"""Conditions and family history: what counts as a diagnosis of this patient today (KNOWLEDGE 2.3)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import msgspec

from cds_service import decoding
from cds_service.facts import model
from cds_service.facts.dates import DAY, When, parse, span
from cds_service.facts.model import Diagnosis, SetAside
from cds_service.facts.records import Raw, Record, present
from cds_service.facts.shared import Desk, codings_of
from cds_service.terminology.codes import icd_key
from cds_service.terminology.concepts import Match
from cds_service.terminology.meaning import ICD, Meaning, read_meaning

ACTIVE = frozenset({"active", "recurrence", "relapse"})
NOT_A_DIAGNOSIS = frozenset({"unconfirmed", "provisional", "differential", "refuted", "entered-in-error"})
_codes: dict[bytes, str] = {}
_sites = decoding.decoder(list[Raw])
_WRONG = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read(record: Record, desk: Desk) -> list[Diagnosis | SetAside]:
    """Return the diagnoses that a Condition means, or the reason why it counts for none."""
    meaning = _meaning(record, desk)
    if not meaning.matches:
        if meaning.reason == "family-history":
            return [SetAside(model.CONDITIONS, meaning.reason)]
        desk.unmatched(model.CONDITIONS, meaning)
        return []
    onset, clinical = _onset(record), code_of(record.clinicalStatus)
    when = _later(onset, parse(record.recordedDate))
    reason = _unusable(record, clinical, desk, when)
    if reason:
        return [SetAside(model.CONDITIONS, reason, match.concept, when) for match in meaning.matches]
    # MIMIC and older records leave the clinical status out: KNOWLEDGE 2.3 reads that as active.
    active = (not clinical or clinical in ACTIVE) and not _abated(record, desk)
    # Epic sends ``category`` as an object, others as a list.
    encounter, label = b"encounter-diagnosis" in bytes(record.category), desk.reader.terminology.label
    return [
        Diagnosis(
            match.concept,
            match.system,
            _recorded(match, meaning),
            match.how,
            meaning.display or label(match.concept),
            active,
            when,
            encounter,
            onset,
        )
        for match in meaning.matches
    ]


def _recorded(match: Match, meaning: Meaning) -> str:
    """Return the code as it was recorded: a block of ICD-10-CM is known by its first characters only."""
    if match.system not in ICD:
        return match.code
    key = icd_key(match.code)
    return next((code for of, code in meaning.seen if of == match.system and icd_key(code).startswith(key)), match.code)


def _meaning(record: Record, desk: Desk) -> Meaning:
    """
    Say what a Condition means; the words of its body site count like those of its code.

    KNOWLEDGE 1.11: genital calcinosis has no code of its own, it is calcinosis cutis at a genital body site.
    """
    meaning = desk.reader.diagnoses(bytes(record.code))
    site = _words_of_sites(record.bodySite) if present(record.bodySite) else ""
    if not site:
        return meaning
    codings, text = codings_of(bytes(record.code))
    words = desk.reader.terminology
    found = read_meaning(words.indexes["diagnosis"], words.systems, codings, f"{text or ''} ; {site}")
    return msgspec.structs.replace(found, display=meaning.display)


def _words_of_sites(raw: Raw) -> str:
    sites: list[Raw] = []
    with suppress(*_WRONG):
        sites = _sites.decode(raw)
    read = [codings_of(bytes(site)) for site in sites]
    words = [word for codings, text in read for word in (text, *(coding.display for coding in codings)) if word]
    return " ; ".join(words)


def read_family(record: Record, desk: Desk) -> Iterator[SetAside]:
    """A FamilyMemberHistory is never the patient's own disease."""
    del record, desk
    yield SetAside("familyHistory", "family-history")


def _later(onset: When | None, recorded: When | None) -> When | None:
    if onset and recorded:
        return recorded if recorded.end >= onset.end else onset
    return onset or recorded


def _onset(record: Record) -> When | None:
    return parse(record.onsetDateTime) or (parse(record.onsetPeriod.start) if record.onsetPeriod else None)


def _unusable(record: Record, clinical: str, desk: Desk, when: When | None) -> str:
    verification = code_of(record.verificationStatus)
    if verification in NOT_A_DIAGNOSIS:
        return verification
    if verification not in ("", "confirmed") or clinical == "?":
        return "status-unknown"
    return "future-date" if when and when.start > desk.now + DAY else ""


def _abated(record: Record, desk: Desk) -> bool:
    """Say whether the condition is over: FHIR allows no abatement of a condition that is active (con-4)."""
    other = (record.abatementAge, record.abatementRange, record.abatementString)
    if any(other) and any(map(present, other)):
        return True
    period = record.abatementPeriod
    if record.abatementDateTime is None and period is None:
        return False
    when = parse(record.abatementDateTime) or (span(period.start, period.end) if period else None)
    return when is not None and when.start <= desk.now


def code_of(raw: Raw) -> str:
    """
    Return the code of a status element: "" where it was not sent, "?" where it cannot be read.

    A bare string, as STU3 wrote it, is of another FHIR version and cannot be trusted to mean the same: "?".
    """
    key = bytes(raw)
    code = _codes.get(key)
    if code is None:
        if len(_codes) > 2_000:
            _codes.clear()
        code = _codes[key] = _read_code(key) if key not in (b"", b"null") else ""
    return code


def _read_code(raw: bytes) -> str:
    codings, text = codings_of(raw)
    found = {coding.code for coding in codings if coding.code}
    if len(found) == 1:
        return found.pop()
    return text.strip().casefold() if not found and text else "?"
