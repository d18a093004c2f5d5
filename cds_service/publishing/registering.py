"""
Prefetch templates as each EHR wants them, for those that do not read discovery: somebody pastes them in.

What is changed for an EHR is what its own documentation says; docs/ names the pages and what was run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

STANDARD, EPIC, ORACLE, HAPI = "standard", "epic", "oracle-health", "hapi"
# Oracle Health, Millennium FHIR R4 APIs, "Get a list of observations": the most that one page holds.
_ORACLE_COUNT = 200
_SORT = re.compile(r"&_sort=[^&]*")
_COUNT = re.compile(r"&_count=(\d+)")


class Ehr(msgspec.Struct, frozen=True):
    """One EHR: where templates are typed in, which hooks it fires, and what to know before."""

    name: str
    title: str
    where: str
    hooks: tuple[str, ...] | None
    notes: tuple[str, ...] = ()


class Query(msgspec.Struct, frozen=True):
    """One template to paste: its key, the query, and what was changed for this EHR ("" where nothing was)."""

    key: str
    query: str
    remark: str = ""


EHRS = {
    STANDARD: Ehr(STANDARD, "CDS Hooks", "Nowhere: the EHR reads them from /cds-services.", None),
    EPIC: Ehr(
        EPIC,
        "Epic",
        "The OPA (LGL) record of the service, prefetch section: one row for each key.",
        ("patient-view", "order-select", "order-sign"),
        (
            "Epic never reads discovery. Keys may be renamed: what they hold is recognised by its search and its kind.",
            "Register the exact service URL on the client id, or the hook fires without data (answered with 412).",
            "Whether Epic's server sorts by _sort was not tried; a page that is cut off and unsorted is noticed.",
        ),
    ),
    ORACLE: Ehr(
        ORACLE,
        "Oracle Health (Millennium)",
        "The registration form that Oracle Health fills in by hand.",
        ("patient-view",),
        (
            "patient-view of CDS Hooks 1.0 is the only hook. Links must be on the list of allowed links.",
            "Its R4 API has no MedicationStatement: rules that ask whether something is not taken do not know.",
        ),
    ),
    HAPI: Ehr(HAPI, "HAPI FHIR", "Nowhere: a HAPI server is asked by the service itself (CDS_FHIR_ALLOW).", None),
}


def templates(ehr: str, prefetch: Mapping[str, str]) -> tuple[list[Query], list[Query]]:
    """Return what to register at an EHR, and what it cannot answer (with the reason)."""
    if ehr != ORACLE:
        return [Query(key, query) for key, query in prefetch.items()], []
    found = [_for_oracle(key, query) for key, query in prefetch.items()]
    return [one for one in found if one.query], [one for one in found if not one.query]


def _for_oracle(key: str, query: str) -> Query:
    """Leave out what the documentation of the Millennium R4 API does not have."""
    kind = query.partition("?")[0]
    if kind == "MedicationStatement":
        return Query(key, "", "the R4 API of Millennium has no MedicationStatement")
    if kind == "Procedure":
        patient = query.partition("&")[0]
        return Query(key, patient, "documented search parameters: _id, patient, date; the service filters")
    plain, sorted_ = _SORT.subn("", query)
    smaller = _COUNT.sub(lambda found: f"&_count={min(int(found[1]), _ORACLE_COUNT)}", plain)
    by_itself = "; results come newest first by themselves" if kind == "Observation" else ""
    remarks = [f"_sort is not documented{by_itself}"] if sorted_ else []
    remarks += [f"_count at most {_ORACLE_COUNT}"] if smaller != plain else []
    return Query(key, smaller, "; ".join(remarks))


def answers(ehr: str, hooks: Iterable[str]) -> list[str]:
    """Return the hooks that an EHR fires, of those that services answer."""
    fired = EHRS[ehr].hooks
    return [hook for hook in hooks if fired is None or hook in fired]
