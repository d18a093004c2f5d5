"""
Prefetch keys that an EHR calls otherwise than discovery does: Epic's analysts copy templates under names of their own.

What such a key holds shows by the resources in it, unless there are none. A Bundle also says at which address it was
found: if that search would have found everything that one of ours finds, it is the answer to ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

import msgspec

from cds_service import decoding
from cds_service.protocol.wire import Members

# What orders, pages or dresses up the results, and does not choose among them (FHIR R4, "Search", 3.1.1.6).
_NO_FILTER = frozenset(
    {"_count", "_sort", "_total", "_format", "_pretty", "_offset", "_page", "_include", "_revinclude", "_maxresults"}
)
_PATIENT = ("patient", "subject")
_HOLE = "{{context.patientId}}"
Query = tuple[str, dict[str, set[str]]]


class _Link(msgspec.Struct):
    relation: str = ""
    url: str = ""


class _Bundle(msgspec.Struct):
    resourceType: str = ""
    link: list[_Link] = []


_bundle = decoding.decoder(_Bundle)


def renamed(sent: Members, templates: Mapping[str, str], patient_id: str) -> dict[str, str]:
    """Return for keys that we did not ask for by which of our keys their Bundles answer; each of ours once."""
    found: dict[str, str] = {}
    lacking = {key: template for key, template in templates.items() if key not in sent}
    for key in sent.keys() - templates.keys() if lacking else ():
        searched = _searched(sent[key], patient_id)
        ours = next((name for name, template in lacking.items() if searched and _covers(searched, template)), None)
        if ours:
            found[key] = ours
            del lacking[ours]
    return found


def _searched(raw: msgspec.Raw, patient_id: str) -> Query | None:
    """Return the search that a Bundle says it is the result of, if it is about this patient; else None."""
    try:
        links = _bundle.decode(raw).link
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    address = next((link.url for link in links if link.relation == "self"), "")
    query = _query(address)
    patients = {one.rpartition("/")[2] for name in _PATIENT for one in query[1].get(name, ())} if query else set()
    return query if patients == {patient_id} else None


def _query(address: str) -> Query | None:
    """Return what is searched, and by which values; None for an address that is no search."""
    path, mark, rest = address.partition("?")
    kind = path.removesuffix("/_search").rpartition("/")[2]
    try:
        pairs = parse_qsl(rest, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        return None
    filters: dict[str, set[str]] = {}
    for name, value in pairs:
        if name in filters:
            return None  # "and" of two lists: seldom, and not worth a mistake
        if name not in _NO_FILTER:
            filters[name] = {one.rpartition("|")[2] for one in value.split(",")}
    return (kind, filters) if mark and kind else None


def _covers(searched: Query, template: str) -> bool:
    """Say whether a search finds everything that a template finds: the same kind, and no filter that is narrower."""
    ours = _query(template)
    if ours is None or ours[0] != searched[0] or {_HOLE} not in (ours[1].get(name) for name in _PATIENT):
        return False
    asked = {name: values for name, values in searched[1].items() if name not in _PATIENT}
    return all(ours[1].get(name, set()) and ours[1][name] <= values for name, values in asked.items())
