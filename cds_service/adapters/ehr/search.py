"""FHIR search over one patient's resources: the parameters that prefetch templates may use, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from cds_service.facts.dates import parse

Resource = dict[str, Any]
Interval = tuple[float, float]

# http://hl7.org/fhir/R4/searchparameter-registry.html: what each type can be searched by (a part of it).
_SEARCHABLE = {
    "AllergyIntolerance": "patient code category clinical-status verification-status date",
    "Condition": "patient subject encounter code category clinical-status verification-status recorded-date onset-date",
    "DiagnosticReport": "patient subject encounter code category status date",
    "Encounter": "patient subject status date",
    "FamilyMemberHistory": "patient code status date",
    "MedicationRequest": "patient subject encounter code category status intent authoredon",
    "MedicationStatement": "patient subject code category status effective",
    "Observation": "patient subject encounter code category status date",
    "Patient": "birthdate gender",
    "Procedure": "patient subject encounter code category status date",
    "ServiceRequest": "patient subject encounter code category status intent authored",
}
_REFERENCES = {"patient": ("patient", "subject"), "subject": ("subject",), "encounter": ("encounter", "context")}
_TOKENS = {
    "_id": ("id",),
    "category": ("category",),
    "clinical-status": ("clinicalStatus",),
    "code": ("code", "medicationCodeableConcept"),
    "gender": ("gender",),
    "intent": ("intent",),
    "status": ("status",),
    "verification-status": ("verificationStatus",),
}
_DATES = {
    "authored": ("authoredOn",),
    "authoredon": ("authoredOn",),
    "birthdate": ("birthDate",),
    "date": ("effective", "performed", "period", "date", "recordedDate"),
    "effective": ("effective",),
    "onset-date": ("onset",),
    "recorded-date": ("recordedDate",),
}
_FAR = 1e12
# http://hl7.org/fhir/R4/search.html#prefix: what a resource's time must be to what was asked.
_PREFIXES: dict[str, Callable[[Interval, Interval], bool]] = {
    "eq": lambda time, asked: asked[0] <= time[0] and time[1] <= asked[1],
    "lt": lambda time, asked: time[0] < asked[0],
    "gt": lambda time, asked: time[1] > asked[1],
    "ge": lambda time, asked: time[1] >= asked[0],
    "le": lambda time, asked: time[0] <= asked[1],
}


class Query(msgspec.Struct, frozen=True):
    """One read (``id`` given) or search, as a prefetch template asks for it once its tokens are filled in."""

    type: str
    id: str = ""
    filters: tuple[tuple[str, str], ...] = ()
    sort: tuple[str, ...] = ()
    count: int | None = None


def read_query(url: str) -> Query:
    """Read a relative FHIR URL. Raises ValueError, naming it, for a type or parameter that is not supported."""
    path, _, query = url.partition("?")
    kind, _, identifier = path.partition("/")
    if identifier:
        return Query(kind, identifier)
    if kind not in _SEARCHABLE:
        raise ValueError(f'searching "{kind}" is not supported')
    pairs = parse_qsl(query, keep_blank_values=True)
    # A record brings the Medications of its orders along by itself.
    shown = {("_include", f"{kind}:medication")}
    asked = [pair for pair in pairs if pair[0] not in ("_sort", "_count") and pair not in shown]
    sort = tuple(part for name, value in pairs if name == "_sort" for part in value.split(","))
    known = {"_id", *_SEARCHABLE[kind].split()}
    for name in [*(name for name, _ in asked), *(part.removeprefix("-") for part in sort)]:
        if name not in known:
            raise ValueError(f'"{name}" is not a supported search parameter of {kind}')
    counts = [int(value) for name, value in pairs if name == "_count"]
    return Query(kind, "", tuple(asked), sort, counts[-1] if counts else None)


def matches(query: Query, resources: Iterable[Resource], base: str, *, lenient_status: bool) -> list[Resource]:
    """
    Return the resources that a search finds, in the order it asks for.

    A Condition without a clinicalStatus is not found by ``clinical-status=``, as on real servers, unless
    ``lenient_status`` lets it count.
    """

    def fits(resource: Resource) -> bool:
        return all(
            _fits(resource, name, value, base)
            or (lenient_status and name == "clinical-status" and not resource.get("clinicalStatus"))
            for name, value in query.filters
        )

    found = [resource for resource in resources if resource.get("resourceType") == query.type and fits(resource)]
    for part in reversed(query.sort):
        _sort(found, part.removeprefix("-"), newest_first=part.startswith("-"))
    return found


def _fits(resource: Resource, name: str, value: str, base: str) -> bool:
    """Say whether one parameter holds; commas mean "or", repeated parameters "and"."""
    wanted = value.split(",")
    if name in _REFERENCES:
        return any(_refers(resource, name, one, base) for one in wanted)
    if name in _DATES:
        times = list(_times(resource, name))
        return any(_in_time(time, one) for time in times for one in wanted)
    return any(_is_token(coding, one) for coding in _tokens(resource, name) for one in wanted)


def reference_in(element: Any) -> str:
    """Return the reference that a Reference element holds, or ""."""
    reference = element.get("reference") if isinstance(element, dict) else None
    return reference if isinstance(reference, str) else ""


def _refers(resource: Resource, name: str, identifier: str, base: str) -> bool:
    wanted = identifier if "/" in identifier else f"{name.replace('subject', 'patient').capitalize()}/{identifier}"
    references = (reference_in(resource.get(element)) for element in _REFERENCES[name])
    return any(reference in (wanted, f"{base}/{wanted}") for reference in references)


def _tokens(resource: Resource, name: str) -> Iterator[tuple[str, str]]:
    for element in _TOKENS[name]:
        yield from _codings(resource.get(element))
    components = resource.get("component")
    if name == "code" and isinstance(components, list):
        yield from _codings([one.get("code") for one in components if isinstance(one, dict)])


def _codings(element: Any) -> Iterator[tuple[str, str]]:
    """Yield (system, code) of a code, a Coding, a CodeableConcept, or a list of them."""
    if isinstance(element, str):
        yield "", element
    elif isinstance(element, list):
        for one in element:
            yield from _codings(one)
    elif isinstance(element, dict):
        if element.get("code"):
            yield element.get("system") or "", element["code"]
        yield from _codings(element.get("coding"))


def _is_token(coding: tuple[str, str], wanted: str) -> bool:
    system, bar, code = wanted.rpartition("|")
    return (not bar or coding[0] == system) and (not code or coding[1] == code)


def _times(resource: Resource, name: str) -> Iterator[Interval]:
    for stem in _DATES[name]:
        for element in (stem, f"{stem}DateTime", f"{stem}Period", f"{stem}Instant"):
            time = _interval(resource.get(element))
            if time:
                yield time


def _interval(element: Any) -> Interval | None:
    if isinstance(element, str):
        when = parse(element)
        return (when.start, when.end) if when else None
    if isinstance(element, dict):
        start, end = (
            parse(one) if isinstance(one, str) else None for one in (element.get("start"), element.get("end"))
        )
        return (start.start if start else -_FAR, end.end if end else _FAR) if start or end else None
    return None


def _in_time(time: Interval, wanted: str) -> bool:
    prefix = wanted[:2] if wanted[:2] in _PREFIXES else ""
    asked = _interval(wanted.removeprefix(prefix))
    if asked is None:
        raise ValueError(f'"{wanted[:2]}..." is not a date or date prefix that is supported')
    return _PREFIXES[prefix or "eq"](time, asked)


def _sort(found: list[Resource], name: str, *, newest_first: bool) -> None:
    """Sort by a date; what has none comes last in either direction."""
    if name not in _DATES:
        raise ValueError(f'sorting by "{name}" is not supported')
    sign = -1 if newest_first else 1

    def place(resource: Resource) -> tuple[bool, float]:
        starts = [time[0] for time in _times(resource, name)]
        return (not starts, sign * starts[0] if starts else 0.0)

    found.sort(key=place)
