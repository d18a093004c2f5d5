"""Codes and units of a call that mean nothing to the rules, and what they were perhaps meant to be."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping

from cds_service.facts import model
from cds_service.linting.problems import NOTE, WARNING, Problem
from cds_service.terminology import Terminology
from cds_service.terminology.codes import check_digit_holds, icd_key
from cds_service.terminology.explaining import of_text
from cds_service.terminology.meaning import AMBIGUOUS, NO_SYSTEM, NOT_OURS

# What a resource may be about (facts.seen counts by kind of data).
_KINDS = {
    model.LABS: "measurement",
    model.CONDITIONS: "diagnosis",
    model.MEDICATIONS: "medication",
    model.STATEMENTS: "medication",
    model.PROCEDURES: "procedure",
}
_UNITS = "units"
_NOT_A_WORD = re.compile(r"[^a-z0-9]+")
Seen = tuple[str, str, str]


def unmatched(words: Terminology, seen: Mapping[Seen, tuple[list[str], str]]) -> Iterator[Problem]:
    """
    Yield codes that nothing here is known by, each with what is near it.

    ``seen`` gives for (kind, system, code) the places it stands at and how the record words it. Codes that are near
    nothing are told together: most of a record is about other things.
    """
    other: list[str] = []
    for (kind, system, code), (places, wording) in seen.items():
        if kind == _UNITS:
            yield from _unit(words, system, code, places)
        elif said := "; ".join(_near(words, _KINDS.get(kind, ""), system, code, wording)):
            what = f"{_named(system, code)} nothing to the rules, but something is near: {said}."
            todo = "If it is meant, send the code of the catalogue too, or let the site file add yours."
            yield Problem(WARNING, places[0], what, "", todo, "near-miss", times=len(places), also=tuple(places[1:5]))
        else:
            other += places
    if other:
        what = "Codes that no rule reads. Most of a record is about other things."
        yield Problem(NOTE, other[0], what, slug="not-ours", times=len(other), also=tuple(other[1:5]))


def _named(system: str, code: str) -> str:
    """Name a code; words without any code are counted by the reason why they mean nothing."""
    if not system and code in (NOT_OURS, NO_SYSTEM, AMBIGUOUS):
        return "Words without a code mean"
    return f"The code {code} ({system or 'no system'}) means"


def _unit(words: Terminology, analyte: str, unit: str, places: list[str]) -> Iterator[Problem]:
    """Yield that a unit is none of its test; that there is none, or two, is said of the result itself."""
    known = words.analytes[analyte].factors if analyte in words.analytes else {}
    if known and unit not in known and unit != "unit-missing":
        what = f'The unit "{unit}" is none of {words.label(analyte)}.'
        why = f"It is read in: {', '.join(known)}."
        yield Problem(WARNING, places[0], what, why, slug="unit", times=len(places), also=tuple(places[1:5]))


def _near(words: Terminology, kind: str, system: str, code: str, wording: str) -> Iterator[str]:
    """Yield what a code may have been meant to be, the surest first."""
    elsewhere = [
        f"it is {words.label(concept)} in {of}"
        for of, one, concept in _codes(words, kind)
        if icd_key(one) == icd_key(code) and of != system
    ]
    yield from dict.fromkeys(elsewhere)
    if elsewhere:
        return
    if system in words.systems.names():
        alike = {icd_key(one): (one, concept) for of, one, concept in _codes(words, kind) if of == system}
        close = [] if _is_sound(system, code) else difflib.get_close_matches(icd_key(code), alike, 3, 0.8)
        said = [f"{one} is {words.label(concept)}" for one, concept in (alike[key] for key in close)]
        if said:
            yield f"its check digit is wrong, and {', '.join(said)}"
    if wording and kind and (named := _worded(words, kind, wording)):
        yield f"it is worded like {', '.join(named)}"


def _worded(words: Terminology, kind: str, wording: str) -> list[str]:
    """Return what a wording names: by the words of the concepts, or else the longest name that stands in it."""
    named = [words.label(one.concept) for one in of_text(words, wording, kind)]
    if not named:
        spoken = _plain(wording)
        names = (words.label(name) for name in words.codes if words.kind(name) == kind)
        named = sorted((name for name in names if _plain(name) in spoken), key=len, reverse=True)[:1]
    return list(dict.fromkeys(named))


def _plain(text: str) -> str:
    """Return the words of a text between blanks, so that whole words can be found in it."""
    return f" {_NOT_A_WORD.sub(' ', text.casefold()).strip()} "


def _is_sound(system: str, code: str) -> bool:
    """Say whether a code cannot be a slip of the pen: it has a check digit, and that is right."""
    return system not in ("LOINC", "SNOMED CT") or check_digit_holds(system, code)


def _codes(words: Terminology, kind: str) -> Iterator[tuple[str, str, str]]:
    """Yield system, code and concept of every code of a kind."""
    for concept, codes in words.codes.items():
        if words.kind(concept) == kind:
            yield from ((system, code, concept) for system, code in codes)
