"""A FHIR terminology server: asked for the expansion of a value set when somebody says so, never while serving."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import requests

from cds_service.adapters.ehr.client import CallFailed, checked_url, get_json, new_session

PAGE = 1_000
MOST = 100_000
Json = dict[str, Any]
_KEPT = ("url", "version", "name", "title", "status")


def expand(server: str, url: str, *, session: requests.Session | None = None) -> Json:
    """
    Return a ValueSet with its whole expansion, page after page.

    Raises CallFailed where the server does not answer, answers with something else, or leaves codes out.
    """
    base, chosen = checked_url(server), session or new_session()
    first = _page(base, url, 0, chosen)
    found, total = _contains(first), first["expansion"].get("total")
    while isinstance(total, int) and len(found) < total <= MOST:
        more = _contains(_page(base, url, len(found), chosen))
        if not more:
            break
        found += more
    if isinstance(total, int) and _count(found) < total:
        raise CallFailed(f"The server sent {_count(found)} of {total} codes.", where=base)
    kept = {name: first[name] for name in _KEPT if name in first}
    expansion = {
        **{name: first["expansion"][name] for name in ("identifier", "timestamp") if name in first["expansion"]},
        "total": _count(found),
        "contains": found,
    }
    return {
        "resourceType": "ValueSet",
        "meta": {"source": base},
        "status": "active",
        **kept,
        "url": url.partition("|")[0],
        "expansion": expansion,
    }


def _page(base: str, url: str, offset: int, session: requests.Session) -> Json:
    canonical, _, version = url.partition("|")
    asked = {"url": canonical, "count": PAGE, "offset": offset}
    if version:
        asked["valueSetVersion"] = version
    answer = get_json(f"{base}/ValueSet/$expand?{urlencode(asked)}", session=session)
    if answer.get("resourceType") != "ValueSet" or not isinstance(answer.get("expansion"), dict):
        raise CallFailed("The server did not answer with the expansion of a ValueSet.", where=base)
    return answer


def _contains(answer: Json) -> list[Json]:
    rows = answer["expansion"].get("contains") or []
    return [row for row in rows if isinstance(row, dict)]


def _count(rows: list[Json]) -> int:
    return sum(1 + _count([one for one in row.get("contains") or () if isinstance(one, dict)]) for row in rows)
