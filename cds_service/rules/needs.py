"""What the rules read, as prefetch templates: nothing is asked for that no rule or card uses, nothing is left out."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cds_service.errors import ContentError
from cds_service.facts import model
from cds_service.facts.observed import LESIONS
from cds_service.rules.model import Rule
from cds_service.terminology import Terminology

MAX_URL = 2_000
# Real lists are longer than this rarely; a second page is noticed and said.
_OF_PATIENT = "patient={{context.patientId}}"
_QUERIES = {
    model.CONDITIONS: f"Condition?{_OF_PATIENT}&clinical-status=active,recurrence,relapse"
    "&_sort=-recorded-date&_count=200",
    model.MEDICATIONS: f"MedicationRequest?{_OF_PATIENT}&status=active&_sort=-authoredon&_count=100",
    model.PAST_MEDICATIONS: f"MedicationRequest?{_OF_PATIENT}&status=completed,stopped&_sort=-authoredon&_count=100",
    model.STATEMENTS: f"MedicationStatement?{_OF_PATIENT}&status=active&_sort=-effective&_count=100",
}
_KIND = {
    "measurement": model.LABS,
    "diagnosis": model.CONDITIONS,
    "medication": model.MEDICATIONS,
    "procedure": model.PROCEDURES,
}


def concepts(rules: Iterable[Rule]) -> set[str]:
    """Return every concept that the rules or their cards read."""
    return {name for rule in rules for name in rule.reads | rule.helps}


def loinc_codes(rules: Iterable[Rule], words: Terminology) -> list[str]:
    """Return the LOINC codes of every laboratory test that the rules or their cards read."""
    return _codes(rules, words, "measurement", "LOINC")


def seen_codes(rules: Iterable[Rule], words: Terminology) -> list[str]:
    """Return the codes under which Observations tell of lesions (SNOMED CT) and of notes and images (LOINC)."""
    names = concepts(rules)
    lesions = {code for name in names if name in LESIONS for code in words.queried(name, "SNOMED CT")}
    noted = [
        name
        for name in names
        if words.kind(name) == "procedure"
        for of, _ in words.codes.get(name, ())
        if of == "LOINC"
    ]
    return sorted(lesions | {code for name in noted for code in words.queried(name, "LOINC")})


def _codes(rules: Iterable[Rule], words: Terminology, kind: str, system: str) -> list[str]:
    names = [name for name in concepts(rules) if words.kind(name) == kind]
    return sorted({code for name in names for code in (*words.queried(name, system), *_short_names(name, kind, words))})


def _short_names(name: str, kind: str, words: Terminology) -> list[str]:
    """
    Return the names of a test or procedure that has no verified code, as far as they can be codes of a site.

    KNOWLEDGE 2: such a test (anti-NXP2, QTc) is known by its name or local code; a local code often is its name.
    """
    if name not in words.indexes[kind].named:
        return []
    known = words.analytes.get(name) or words.concepts[name]
    return [one for one in known.text if re.fullmatch(r"[A-Za-z0-9-]+", one)]


def templates(rules: Iterable[Rule], words: Terminology) -> dict[str, str]:
    """
    Return the prefetch templates, one key per kind of resource, each URL below 2,000 characters.

    Codes stand without their system, which every server understands and which keeps the URL short; intake checks
    the system of what comes back.
    """
    asked = tuple(rules)
    kinds = {_KIND[kind] for name in concepts(asked) if (kind := words.kind(name))}
    found = {model.PATIENT: "Patient/{{context.patientId}}"}
    codes = [*loinc_codes(asked, words), *seen_codes(asked, words)]
    if codes:
        found[model.LABS] = f"Observation?{_OF_PATIENT}&code={','.join(codes)}&_sort=-date&_count=500"
    done = _codes(asked, words, "procedure", "SNOMED CT")
    if done:
        found[model.PROCEDURES] = (
            f"Procedure?{_OF_PATIENT}&code={','.join(done)}&status=completed,in-progress&_sort=-date&_count=100"
        )
    for kind in (model.CONDITIONS, model.MEDICATIONS):
        if kind in kinds:
            found[kind] = _QUERIES[kind]
    if model.MEDICATIONS in found:
        found[model.STATEMENTS] = _QUERIES[model.STATEMENTS]
    if model.MEDICATIONS in found and model.PAST_MEDICATIONS in concepts(asked):
        found[model.PAST_MEDICATIONS] = _QUERIES[model.PAST_MEDICATIONS]
    keys = (*model.KINDS, model.PAST_MEDICATIONS)
    return {key: _short_enough(key, found[key]) for key in keys if key in found}


def _short_enough(key: str, template: str) -> str:
    """Refuse a query that servers and proxies would cut: prefetch is worth nothing if it silently fails."""
    if len(template) >= MAX_URL:
        raise ContentError(
            f'The prefetch query "{key}" has {len(template)} characters, and {MAX_URL} is the most.',
            where="services",
            slug="url-too-long",
            remedy="Let the service ask fewer rules, or give the rules fewer tests to show.",
        )
    return template
