"""What a FHIR server says it can do (its CapabilityStatement), held against what our prefetch templates ask of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from cds_service.linting.problems import ERROR, NOTE, WARNING, Problem, pointer

Json = dict[str, Any]
READ, SEARCH = "read", "search-type"
# How results are handed out, not which: servers support these without always saying so.
_RESULTS = {
    "_sort": "Unsorted pages that are cut off prove nothing about how far back they reach.",
    "_count": "Pages may be shorter than asked for: more of them are read, which takes longer.",
}


class Need(msgspec.Struct, frozen=True):
    """What is asked of one type of resource: to be read, to be searched, and by which parameters."""

    interactions: frozenset[str]
    parameters: frozenset[str]


def needs(templates: Iterable[str]) -> dict[str, Need]:
    """Return what prefetch templates ask of a server, by type of resource."""
    found: dict[str, Need] = {}
    for template in templates:
        path, mark, query = template.partition("?")
        kind = path.partition("/")[0]
        before = found.get(kind, Need(frozenset(), frozenset()))
        names = {name for name, _ in parse_qsl(query, keep_blank_values=True)}
        found[kind] = Need(before.interactions | {SEARCH if mark else READ}, before.parameters | names)
    return found


def judge(statement: Json, wanted: Mapping[str, Need]) -> list[Problem]:
    """Return where a server falls short of what is needed; empty where it says that it can do everything."""
    if statement.get("resourceType") != "CapabilityStatement":
        what = "What stands at /metadata is no CapabilityStatement."
        return [Problem(ERROR, "", what, todo="Is this the base URL of the FHIR server?", slug="no-statement")]
    return [*_version(statement), *_format(statement), *_resources(statement, wanted)]


def _version(statement: Json) -> Iterator[Problem]:
    said = str(statement.get("fhirVersion") or "")
    if not said.startswith("4."):
        what = f"The server speaks FHIR {said or 'of an unknown version'}; the service reads R4 (4.0.1)."
        yield Problem(ERROR, "/fhirVersion", what, todo="Name the R4 base URL of the EHR.", slug="fhir-version")


def _format(statement: Json) -> Iterator[Problem]:
    formats = [str(one) for one in statement.get("format") or ()]
    if formats and not any("json" in one for one in formats):
        yield Problem(ERROR, "/format", "The server does not speak JSON.", slug="format")


def _resources(statement: Json, wanted: Mapping[str, Need]) -> Iterator[Problem]:
    servers = [
        (number, one)
        for number, one in enumerate(statement.get("rest") or ())
        if isinstance(one, dict) and one.get("mode", "server") == "server"
    ]
    if not servers:
        what = "The server does not say what can be read and searched (rest is missing), so it cannot be checked."
        yield Problem(WARNING, "/rest", what, todo="Try a call without prefetch: cds-service fire.", slug="no-rest")
        return
    number, rest = servers[0]
    known = {
        str(one.get("type")): (place, one)
        for place, one in enumerate(rest.get("resource") or ())
        if isinstance(one, dict)
    }
    for kind, need in wanted.items():
        where = pointer("rest", number, "resource")
        if kind in known:
            place, entry = known[kind]
            yield from _resource(kind, need, entry, rest, f"{where}/{place}")
        else:
            what = f"The server has no {kind}."
            yield Problem(ERROR, where, what, _cost(kind), "Have the EHR send it as prefetch.", "no-resource")


def _resource(kind: str, need: Need, entry: Json, rest: Json, where: str) -> Iterator[Problem]:
    able = {str(one.get("code")) for one in entry.get("interaction") or ()}
    for missing in sorted(need.interactions - able) if able else ():
        done = "read by its id" if missing == READ else "searched"
        what = f"{kind} cannot be {done} ({missing})."
        yield Problem(ERROR, f"{where}/interaction", what, _cost(kind), slug="no-interaction")
    listed = {str(one.get("name")) for one in [*(entry.get("searchParam") or ()), *(rest.get("searchParam") or ())]}
    for name in sorted(need.parameters - listed):
        if name in _RESULTS:
            what = f"{kind}: the server does not say whether it supports {name}; many do without saying so."
            yield Problem(NOTE, f"{where}/searchParam", what, _RESULTS[name], slug="result-parameter")
        else:
            what = f"{kind} cannot be searched by {name}."
            why = "The server will ignore it and send more, or refuse the search; then rules do not know."
            yield Problem(ERROR, f"{where}/searchParam", what, why, "Have the EHR send it as prefetch.", "no-parameter")


def _cost(kind: str) -> str:
    return f"What rules read of {kind} can then come by prefetch only."
