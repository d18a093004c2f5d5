"""
What Observations say besides measurements: lesions seen at the bedside, consult notes, and images.

They are read when a rule asks, and only those Observations whose code means no test of ours: most calls have none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from cds_service import decoding
from cds_service.facts.dates import DAY
from cds_service.facts.evidence import UNKNOWN, YES, Judgement, within_days
from cds_service.facts.kidney import presence
from cds_service.facts.loosely import decoded, elements
from cds_service.facts.model import LABS, PROCEDURES, Diagnosis, Facts, Procedure
from cds_service.facts.numbers import decimal
from cds_service.facts.observations import USABLE
from cds_service.facts.qualitative import NEGATIVE, meaning_of
from cds_service.facts.records import Lab, present
from cds_service.facts.series import Waiting, moment_of
from cds_service.facts.shared import Desk, codings_of
from cds_service.terminology.meaning import Meaning

IMAGING = "calcinosis-imaging"
LESIONS = ("les-strong", "les-ulcer", "les-pain", "les-nodule", "les-purpura", "les-explained")
Seen = dict[str, tuple[Diagnosis | Procedure, ...]]
# The finding was looked for and is not there, or no longer.
_GONE = re.compile(
    r"^\s*(no(?! (change|improvement))|none|nil|without|normal|n/a|not applicable|denie[sd])\b|"
    r"(?<!not )\b(resolved|healed|ruled out)\b",
    re.IGNORECASE,
)
# What is asked about is another time or another person.
_ELSEWHERE = re.compile(
    r"\b(family|maternal|paternal|history|previous|prior|risk|differential|suspected)\b", re.IGNORECASE
)
_text = decoding.decoder(str)
_flag = decoding.decoder(bool)


def seen(facts: Facts, concept: str) -> tuple[Diagnosis | Procedure, ...]:
    """Return what Observations say of a lesion, a note or an image, newest first."""
    if facts.observed is None:
        return ()
    return facts.once("observed", facts.observed).get(concept, ())


def lesions(facts: Facts, *concepts: str) -> list[Diagnosis]:
    """Return the lesions of these classes that stand in Observations."""
    return [one for concept in concepts for one in seen(facts, concept) if isinstance(one, Diagnosis)]


def notes(facts: Facts, *concepts: str) -> list[Procedure]:
    """Return the consult notes and images of these kinds that stand in Observations."""
    return [one for concept in concepts for one in seen(facts, concept) if isinstance(one, Procedure)]


def reader(desk: Desk) -> Callable[[], Seen] | None:
    """Return the function that reads the Observations that are no tests of ours; None where there are none."""
    waiting = desk.others
    return (lambda: _read(waiting, desk)) if waiting else None


def _read(waiting: list[list[Waiting]], desk: Desk) -> Seen:
    found: dict[str, list[Diagnosis | Procedure]] = {}
    for together in waiting:
        for lab, _ in together:
            for one in _facts(lab, desk):
                found.setdefault(one.concept, []).append(one)
    return {name: tuple(sorted(items, key=_newest, reverse=True)) for name, items in found.items()}


def assessed(facts: Facts, *, within: int) -> Judgement:
    """Judge whether there is an image of the skin and soft tissue of the last so many days (CC-20)."""
    label = f"imaging within {within} days"
    found = [*facts.procedures.get(IMAGING, ()), *notes(facts, IMAGING)]
    dated = [(one, within_days(one.when, facts.today, within)) for one in found]
    sure = [one for one, verdict in dated if verdict is YES]
    if not sure and any(verdict is UNKNOWN for _, verdict in dated):
        return Judgement(UNKNOWN, f"{label}: on record, but without a date that decides", missing=("date of imaging",))
    return presence(facts, label, sure, LABS, PROCEDURES, days=within)


def _newest(one: Diagnosis | Procedure) -> tuple[float, str]:
    return (one.when.end if one.when else 0.0, one.code)


def _facts(lab: Lab, desk: Desk) -> Iterator[Diagnosis | Procedure]:
    when = moment_of(lab)
    # "focus" says that the finding is of somebody or something else: a foetus, a donor, a device.
    if when is None or when.start > desk.now + DAY or lab.status not in USABLE or present(lab.focus):
        return
    code = bytes(lab.code)
    finding = desk.reader.diagnoses(code)
    if not _is_absent(lab) and not _ELSEWHERE.search(finding.display):
        value = desk.reader.diagnoses(bytes(lab.valueCodeableConcept)) if present(lab.valueCodeableConcept) else None
        for meaning in (finding, value):
            yield from _lesions(meaning, lab, desk) if meaning else ()
    if not present(lab.dataAbsentReason):
        for concept, system, number, words in desk.reader.documents(code):
            yield Procedure(concept, system, number, "code", words, when)


def _lesions(meaning: Meaning, lab: Lab, desk: Desk) -> Iterator[Diagnosis]:
    """An Observation tells what was seen on one day, like the diagnosis of an encounter."""
    for match in meaning.matches:
        if match.concept in LESIONS:
            words = meaning.display or desk.reader.terminology.label(match.concept)
            when = moment_of(lab)
            yield Diagnosis(match.concept, match.system, match.code, match.how, words, when=when, encounter=True)


def _is_absent(lab: Lab) -> bool:
    """Say whether an Observation says that what it names is not there, or was not looked at."""
    if present(lab.dataAbsentReason):
        return True
    if present(lab.valueBoolean):
        return decoded(lab.valueBoolean, _flag) is not True
    number = decimal(lab.valueInteger) if present(lab.valueInteger) else None
    if lab.valueQuantity is not None:
        number = decimal(lab.valueQuantity.value)
    if number is not None and number <= 0:
        return True
    words = [decoded(lab.valueString, _text) or ""] if present(lab.valueString) else []
    for raw in (lab.valueCodeableConcept, *elements(lab.interpretation)):
        codings, text = codings_of(bytes(raw)) if present(raw) else ([], None)
        words += [text or "", *(one.display or "" for one in codings)]
        if any(one.code in ("NEG", "N", "ND") for one in codings):
            return True
    return any(meaning_of(one) == NEGATIVE or _GONE.search(one) for one in words)
