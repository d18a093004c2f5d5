"""
A record as an EHR's chart shows it: who, problems, laboratory results, medications.

For people to look at, not for rules: what a rule may not use is shown too, with the reason in words. All text
comes from the record, and passes through the one function that makes foreign text harmless.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import msgspec

from cds_service.cards.plain import plain
from cds_service.facts.dates import parse
from cds_service.terminology import Terminology

Resource = Mapping[str, Any]
_SYSTEMS = {
    "http://snomed.info/sct": "SNOMED CT",
    "http://hl7.org/fhir/sid/icd-10-cm": "ICD-10-CM",
    "http://hl7.org/fhir/sid/icd-10": "ICD-10",
}
_FLAGS = {"H": "High", "HH": "High", "L": "Low", "LL": "Low", "A": "Abnormal", "AA": "Abnormal"}
_USUAL = {"", "final", "active", "completed", "confirmed", "order"}


class Line(msgspec.Struct, frozen=True):
    """One line of a chart. ``note`` says what is unusual about it ("draft"), ``struck`` that it does not count."""

    text: str
    day: str
    detail: str = ""
    flag: str = ""
    note: str = ""
    struck: bool = False


class Series(msgspec.Struct, frozen=True):
    """The results of one laboratory test, newest first, and its reference range in words."""

    name: str
    reference: str
    results: tuple[Line, ...]


class Chart(msgspec.Struct, frozen=True):
    """What the chart of one patient shows."""

    name: str
    number: str
    sex: str
    age: str
    born: str
    problems: tuple[Line, ...]
    labs: tuple[Series, ...]
    medications: tuple[Line, ...]
    procedures: tuple[Line, ...]
    family: tuple[Line, ...]


def read_chart(resources: Iterable[Resource], today: date, words: Terminology) -> Chart:
    """Read a record for showing it."""
    kinds: dict[str, list[Resource]] = {}
    for one in resources:
        kinds.setdefault(one["resourceType"], []).append(one)
    person = kinds["Patient"][0]
    return Chart(
        name=_name(person),
        number=plain(str(_first(person, "identifier").get("value", ""))),
        sex=plain(str(person.get("gender", "sex not recorded"))),
        age=_age(person, today),
        born=plain(str(person.get("birthDate", "not recorded"))),
        problems=_lines(kinds, "Condition", _problem),
        labs=_series(kinds.get("Observation", ()), today, words),
        medications=_lines(kinds, "MedicationRequest", _medication),
        procedures=_lines(kinds, "Procedure", _procedure),
        family=tuple(line for one in kinds.get("FamilyMemberHistory", ()) for line in _relative(one)),
    )


def _name(person: Resource) -> str:
    name = _first(person, "name")
    given = " ".join(name.get("given", ()))
    return plain(f"{given} {name.get('family', '')}") or "name not recorded"


def _age(person: Resource, today: date) -> str:
    """Return the age in completed years; of a year of birth alone both ages are possible."""
    born = str(person.get("birthDate", ""))
    year, known = born[:4], born[5:]
    if not year.isdigit():
        return "age not recorded"
    years = today.year - int(year)
    if not known:
        return f"{years - 1} or {years} years"
    return f"{years - (today.isoformat()[5:] < known)} years"


def _lines(kinds: Mapping[str, list[Resource]], kind: str, read: Any) -> tuple[Line, ...]:
    return tuple(sorted((read(one) for one in kinds.get(kind, ())), key=lambda line: (line.struck, _later(line.day))))


def _later(day: str) -> float:
    when = parse(day)
    return -when.end if when else 0.0


def _problem(one: Resource) -> Line:
    verification, clinical = _code(one, "verificationStatus"), _code(one, "clinicalStatus")
    note = ", ".join(status.replace("-", " ") for status in (verification, clinical) if status not in _USUAL)
    codes = [
        f"{_SYSTEMS.get(coding.get('system', ''), 'other code')} {plain(str(coding.get('code', '')), 24)}"
        for coding in one.get("code", {}).get("coding", ())
    ]
    return Line(
        _words(one.get("code")),
        plain(str(one.get("onsetDateTime", one.get("recordedDate", "")))[:10]),
        ", ".join(codes) or "no code",
        note=note,
        struck=bool(note),
    )


def _medication(one: Resource) -> Line:
    notes = [status for status in (str(one.get("status", "")), str(one.get("intent", ""))) if status not in _USUAL]
    notes += ["do not give"] if one.get("doNotPerform") else []
    struck = bool(notes) and one.get("status") != "draft"
    sig = plain(str(_first(one, "dosageInstruction").get("text", "")), 120)
    day = plain(str(one.get("authoredOn", ""))[:10])
    return Line(_words(one.get("medicationCodeableConcept")), day, sig, note=", ".join(notes), struck=struck)


def _procedure(one: Resource) -> Line:
    status = str(one.get("status", ""))
    note = "" if status in _USUAL else plain(status.replace("-", " "))
    return Line(
        _words(one.get("code")), plain(str(one.get("performedDateTime", ""))[:10]), note=note, struck=bool(note)
    )


def _relative(one: Resource) -> Iterable[Line]:
    who = _words(one.get("relationship"))
    for condition in one.get("condition", ()):
        yield Line(_words(condition.get("code")), plain(str(one.get("date", ""))[:10]), who)


def _series(results: Iterable[Resource], today: date, words: Terminology) -> tuple[Series, ...]:
    """Gather results test by test: first the tests that rules know, in the order of the catalogue."""
    place = {code: number for number, name in enumerate(words.analytes) for _, code in words.codes[name]}
    found: dict[str, list[Resource]] = {}
    for one in results:
        found.setdefault(str(_first(one["code"], "coding").get("code", "")), []).append(one)
    ordered = sorted(found.items(), key=lambda item: place.get(item[0], len(place)))
    return tuple(_one_series(series, today) for _, series in ordered)


def _one_series(series: list[Resource], today: date) -> Series:
    newest_first = sorted(series, key=lambda one: str(one.get("effectiveDateTime", "")), reverse=True)
    reference = next((text for one in newest_first if (text := _reference(one))), "")
    return Series(_words(series[0].get("code")), reference, tuple(_result(one, today) for one in newest_first))


def _result(one: Resource, today: date) -> Line:
    day = str(one.get("effectiveDateTime", ""))[:10]
    status = str(one.get("status", ""))
    notes = [
        "" if status in _USUAL else status.replace("-", " "),
        "dated in the future" if day > today.isoformat() else "",
    ]
    struck = status in ("entered-in-error", "cancelled")
    return Line(_value(one), plain(day), flag=_flag(one), note=", ".join(filter(None, notes)), struck=struck)


def _value(one: Resource) -> str:
    if "valueString" in one:
        return f"\u201c{plain(str(one['valueString']))}\u201d"
    quantity = one.get("valueQuantity", {})
    comparator = quantity.get("comparator", "")
    bound = comparator if comparator in ("<", "<=", ">", ">=") else plain(comparator)
    unit = plain(str(quantity.get("unit", quantity.get("code", "(no unit)"))))
    return f"{bound}{plain(str(quantity.get('value', 'no value')))} {unit}"


def _flag(one: Resource) -> str:
    return _FLAGS.get(_code(_first(one, "interpretation"), ""), "")


def _reference(one: Resource) -> str:
    limits = _first(one, "referenceRange")
    low, high = (limits.get(end, {}).get("value") for end in ("low", "high"))
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"from {low}" if low is not None else f"up to {high}" if high is not None else ""


def _words(element: Any) -> str:
    """Return what a CodeableConcept says in words."""
    element = element or {}
    spoken = element.get("text") or _first(element, "coding").get("display") or "not named"
    return plain(str(spoken), 90)


def _code(one: Resource, member: str) -> str:
    element = one.get(member, {}) if member else one
    return str(_first(element, "coding").get("code", ""))


def _first(one: Resource, member: str) -> Resource:
    listed = one.get(member) or [{}]
    first: Resource = listed[0]
    return first
