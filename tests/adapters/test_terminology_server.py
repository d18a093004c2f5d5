"""
Asking a terminology server for an expansion: whole or not at all, and never led astray.
"""

from __future__ import annotations

from typing import Any

import pytest
import responses
from responses import matchers

from cds_service.adapters.ehr.client import CallFailed
from cds_service.adapters.terminology import expand

SERVER, URL = "https://tx.example/r4", "http://hospital.example/ValueSet/acne"
ASKED = f"{SERVER}/ValueSet/$expand"


def answer(*codes: str, total: int | None = None, **more: Any) -> dict[str, Any]:
    """Return an expansion as a server sends it."""
    contains = [{"system": "http://snomed.info/sct", "code": code} for code in codes]
    expansion = {"identifier": "urn:x", "timestamp": "2026-11-21", "contains": contains, "parameter": [{"name": "x"}]}
    return {
        "resourceType": "ValueSet",
        "url": URL,
        "status": "active",
        "text": {"div": "long"},
        "expansion": expansion | ({} if total is None else {"total": total}),
        **more,
    }


@responses.activate
def test_an_expansion_is_kept_with_its_source_and_without_what_we_do_not_need() -> None:
    responses.get(
        ASKED, json=answer("1", "2"), match=[matchers.query_param_matcher({"url": URL, "count": 1000, "offset": 0})]
    )

    found = expand(f"{SERVER}/", URL)

    assert (URL, {"source": SERVER}) == (found["url"], found["meta"])
    assert ["1", "2"] == [row["code"] for row in found["expansion"]["contains"]]
    assert 2 == found["expansion"]["total"]
    assert not {"text"} & found.keys()


@responses.activate
def test_a_long_expansion_is_read_page_by_page() -> None:
    def page(offset: int) -> list[Any]:
        return [matchers.query_param_matcher({"url": URL, "count": 1000, "offset": offset})]

    responses.get(ASKED, json=answer("1", "2", total=3), match=page(0))
    responses.get(ASKED, json=answer("3", total=3), match=page(2))

    assert ["1", "2", "3"] == [row["code"] for row in expand(SERVER, URL)["expansion"]["contains"]]


@responses.activate
def test_a_version_is_asked_for_by_its_own_parameter() -> None:
    asked = {"url": URL, "count": 1000, "offset": 0, "valueSetVersion": "2"}
    responses.get(ASKED, json=answer("1"), match=[matchers.query_param_matcher(asked)])

    assert URL == expand(SERVER, f"{URL}|2")["url"]


@responses.activate
@pytest.mark.parametrize(
    "said",
    [
        {"json": answer("1", total=2)},
        {"json": {"resourceType": "OperationOutcome"}},
        {"json": {"resourceType": "ValueSet"}},
        {"json": []},
        {"json": {"resourceType": "OperationOutcome"}, "status": 404},
        {"body": "<html>"},
        {"body": "", "status": 302, "headers": {"Location": "https://elsewhere.example"}},
        {"body": ConnectionError("no")},
    ],
    ids=["part of it", "outcome", "no expansion", "no object", "not found", "html", "redirect", "nobody there"],
)
def test_anything_but_a_whole_expansion_is_refused(said: dict[str, Any]) -> None:
    responses.get(ASKED, **said)
    if said.get("json") == answer("1", total=2):
        responses.get(ASKED, json=answer(total=2))

    with pytest.raises((CallFailed, ConnectionError)):
        expand(SERVER, URL)
    assert all(str(call.request.url).startswith(SERVER) for call in responses.calls)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(CallFailed):
        expand("file:///etc", URL)
