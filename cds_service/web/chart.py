"""
A record as an EHR's chart shows it: who, problems, laboratory results with their trend, medications.

For people to look at, not for rules: what a rule may not use is shown too, with the reason in words. All text
comes from the record, and passes through the one function that makes foreign text harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from typing import Any, TypeVar

import msgspec

from cds_service.cards.plain import plain
from cds_service.facts.dates import parse
from cds_service.terminology import Terminology
from cds_service.web.trend import Trend, trend

Resource = Mapping[str, Any]
Q = TypeVar("Q")
T = TypeVar("T")
_SYSTEMS = {
    "http://snomed.info/sct": "SNOMED CT",
    "http://hl7.org/fhir/sid/icd-10-cm": "ICD-10-CM",
    "http://hl7.org/fhir/sid/icd-10": "ICD-10",
}
_FLAGS = {"H": "High", "HH": "High", "L": "Low", "LL": "Low", "A": "Abnormal", "AA": "Abnormal"}
_USUAL = {"", "final", "active", "completed", "confirmed", "order"}
# What reading a resource meets that is not built as FHIR says: it is counted, and the rest is shown.
_MISBUILT = (AttributeError, IndexError, KeyError, TypeError, ValueError)


class Line(msgspec.Struct, frozen=True):
    """
    One line of a chart.

    ``note`` says what is unusual about it ("draft"), ``struck`` that it does not count; ``id`` is that of its resource,
    or of a result the code of its test.
    """

    text: str
    day: str
    detail: str = ""
    flag: str = ""
    note: str = ""
    struck: bool = False
    id: str = ""


class Series(msgspec.Struct, frozen=True):
    """The results of one laboratory test, newest first, its reference range in words, and their trend."""

    name: str
    reference: str
    results: tuple[Line, ...]
    trend: Trend | None = None


class Chart(msgspec.Struct, frozen=True):
    """What the chart of one patient shows; ``unreadable`` resources are not built as FHIR says, and left out."""

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
    orders: tuple[Line, ...] = ()
    unreadable: int = 0


class _Reading:
    """Reads the resources of one kind after the other, and counts those that cannot be read."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.kinds: dict[str, list[Resource]] = {}
        self.unreadable = 0
        for one in resources:
            self.kinds.setdefault(one["resourceType"], []).append(one)

    def lines(self, kind: str, read: Callable[[Resource], Iterable[Line]]) -> tuple[Line, ...]:
        """Return the lines of a kind, those that count first, the newest first."""
        found = [line for one in self.kinds.get(kind, ()) for line in self._read(one, read)]
        return tuple(sorted(found, key=lambda line: (line.struck, _later(line.day))))

    def results(self, today: date) -> Iterator[tuple[str, Resource, Line]]:
        """Yield the laboratory results, each after the code of its test."""
        for one in self.kinds.get("Observation", ()):
            for line in self._read(one, lambda result: [_result(result, today)]):
                yield line.id, one, line

    def _read(self, one: Resource, read: Callable[[Resource], Iterable[Line]]) -> list[Line]:
        try:
            return list(read(one))
        except _MISBUILT:
            self.unreadable += 1
            return []


def read_chart(resources: Iterable[Resource], today: date, words: Terminology) -> Chart:
    """Read a record for showing it."""
    reading = _Reading(resources)
    person = reading.kinds["Patient"][0]
    shown = Chart(
        name=_kindly(_name, person, "name not recorded"),
        number=plain(_kindly(lambda one: str(_first(one, "identifier").get("value", "")), person, "")),
        sex=plain(str(person.get("gender", "sex not recorded"))),
        age=_age(person, today),
        born=plain(str(person.get("birthDate", "not recorded"))),
        problems=reading.lines("Condition", _problem),
        labs=_series(reading, today, words),
        medications=reading.lines("MedicationRequest", _medication),
        procedures=reading.lines("Procedure", _procedure),
        family=reading.lines("FamilyMemberHistory", _relatives),
        orders=reading.lines("ServiceRequest", _service),
    )
    return msgspec.structs.replace(shown, unreadable=reading.unreadable)


def said_of(one: Resource) -> str:
    """Return what an order, a problem or an appointment is, in words."""
    return _kindly(_said, one, "not named")


def order_line(one: Resource) -> Line:
    """Show an order that is not signed."""
    read = _medication if one["resourceType"] == "MedicationRequest" else _service
    found = _kindly(lambda order: list(read(order)), one, list[Line]())
    return found[0] if found else Line("not named", "", id=str(one.get("id", "")))


def named(person: Resource) -> str:
    """Return a patient's name."""
    return _kindly(_name, person, "name not recorded")


def _kindly(read: Callable[[Q], T], one: Q, otherwise: T) -> T:
    """Read what may not be built as FHIR says; then, say otherwise."""
    try:
        return read(one)
    except _MISBUILT:
        return otherwise


def _said(one: Resource) -> str:
    if one["resourceType"] == "MedicationRequest":
        return _drug(one)
    return _words(_first(one, "serviceType") if one["resourceType"] == "Appointment" else one.get("code"))


def _drug(one: Resource) -> str:
    """Return the medication of an order; of one that is referred to, what the reference says."""
    display = one.get("medicationReference", {}).get("display")
    return plain(str(display), 90) if display else _words(one.get("medicationCodeableConcept"))


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


def _later(day: str) -> float:
    when = parse(day)
    return -when.end if when else 0.0


def _problem(one: Resource) -> Iterator[Line]:
    verification, clinical = _code(one, "verificationStatus"), _code(one, "clinicalStatus")
    note = ", ".join(status.replace("-", " ") for status in (verification, clinical) if status not in _USUAL)
    codes = [
        f"{_SYSTEMS.get(coding.get('system', ''), 'other code')} {plain(str(coding.get('code', '')), 24)}"
        for coding in one.get("code", {}).get("coding", ())
    ]
    yield Line(
        _words(one.get("code")),
        plain(str(one.get("onsetDateTime", one.get("recordedDate", "")))[:10]),
        ", ".join(codes) or "no code",
        note=note,
        struck=bool(note),
    )


def _medication(one: Resource) -> Iterator[Line]:
    notes = [status for status in (str(one.get("status", "")), str(one.get("intent", ""))) if status not in _USUAL]
    notes += ["do not give"] if one.get("doNotPerform") else []
    struck = bool(notes) and one.get("status") != "draft"
    sig = plain(str(_first(one, "dosageInstruction").get("text", "")), 120)
    day = plain(str(one.get("authoredOn", ""))[:10])
    yield Line(_drug(one), day, sig, note=", ".join(notes), struck=struck, id=str(one.get("id", "")))


def _service(one: Resource) -> Iterator[Line]:
    status = str(one.get("status", ""))
    note = "" if status in _USUAL else plain(status.replace("-", " "))
    day = plain(str(one.get("authoredOn", ""))[:10])
    struck = bool(note) and status != "draft"
    yield Line(_words(one.get("code")), day, note=note, struck=struck, id=str(one.get("id", "")))


def _procedure(one: Resource) -> Iterator[Line]:
    status = str(one.get("status", ""))
    note = "" if status in _USUAL else plain(status.replace("-", " "))
    day = one.get("performedDateTime") or one.get("performedPeriod", {}).get("start", "")
    yield Line(_words(one.get("code")), plain(str(day)[:10]), note=note, struck=bool(note))


def _relatives(one: Resource) -> Iterator[Line]:
    who = _words(one.get("relationship"))
    for condition in one.get("condition", ()):
        yield Line(_words(condition.get("code")), plain(str(one.get("date", ""))[:10]), who)


def _series(reading: _Reading, today: date, words: Terminology) -> tuple[Series, ...]:
    """Gather results test by test: first the tests that rules know, in the order of the catalogue."""
    place = {code: number for number, name in enumerate(words.analytes) for _, code in words.codes[name]}
    found: dict[str, list[tuple[Resource, Line]]] = {}
    for code, one, line in reading.results(today):
        found.setdefault(code, []).append((one, line))
    ordered = sorted(found.items(), key=lambda item: place.get(item[0], len(place)))
    return tuple(_one_series(series) for _, series in ordered)


def _one_series(series: list[tuple[Resource, Line]]) -> Series:
    newest_first = sorted(series, key=lambda pair: str(pair[0].get("effectiveDateTime", "")), reverse=True)
    reference = next((text for one, _ in newest_first if (text := _kindly(_reference, one, ""))), "")
    counting = [one for one, line in newest_first if not line.note]
    name = _words(series[0][0].get("code"))
    return Series(name, reference, tuple(line for _, line in newest_first), _kindly(trend, counting, None))


def _result(one: Resource, today: date) -> Line:
    day = str(one.get("effectiveDateTime", ""))[:10]
    status = str(one.get("status", ""))
    notes = [
        "" if status in _USUAL else status.replace("-", " "),
        "dated in the future" if day > today.isoformat() else "",
    ]
    struck = status in ("entered-in-error", "cancelled")
    test = str(_first(one["code"], "coding").get("code", "")) or _words(one["code"])
    return Line(_value(one), plain(day), flag=_flag(one), note=", ".join(filter(None, notes)), struck=struck, id=test)


def _value(one: Resource) -> str:
    if "valueString" in one:
        return f"\u201c{plain(str(one['valueString']))}\u201d"
    if "valueCodeableConcept" in one:
        return _words(one["valueCodeableConcept"])
    quantity = one.get("valueQuantity", {})
    comparator = quantity.get("comparator", "")
    bound = comparator if comparator in ("<", "<=", ">", ">=") else plain(comparator)
    unit = plain(str(quantity.get("unit", quantity.get("code", "(no unit)"))))
    return f"{bound}{plain(str(quantity.get('value', 'no value')))} {unit}"


def _flag(one: Resource) -> str:
    return _FLAGS.get(_code(_first(one, "interpretation"), ""), "")


def _reference(one: Resource) -> str:
    low, high = limits_of(one)
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"from {low}" if low is not None else f"up to {high}" if high is not None else ""


def limits_of(one: Resource) -> tuple[Any, Any]:
    """Return the lower and upper limit of a result's reference range; None where there is none."""
    limits = _first(one, "referenceRange")
    low, high = (limits.get(end, {}).get("value") for end in ("low", "high"))
    return low, high


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
