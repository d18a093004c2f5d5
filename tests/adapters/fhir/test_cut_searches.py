"""
A search that was not read to its end is never taken for whole, however its last page says that there is more.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from cds_service.adapters.addresses import parse
from cds_service.adapters.deadline import Deadline
from cds_service.adapters.fhir.searching import joined, read_all
from cds_service.facts.bundles import open_value
from cds_service.protocol.prefetch import State
from tests.build import LEFT_OUT, bundle, fired, observation, prefetch
from tests.faults.asking import SICK, Make, asking, post
from tests.faults.servers import Reply, answering, running

BASE = "https://ehr.example/fhir"
ORIGIN = parse(BASE)
FIRST, SECOND = f"{BASE}/Observation?patient=1", f"{BASE}/Observation?page=2"
# Links that say that there is another page, and not where.
NOWHERE: dict[str, Any] = {
    "no address": [{"relation": "next"}],
    "null": [{"relation": "next", "url": None}],
    "empty": [{"relation": "next", "url": ""}],
    "the first of two": [{"relation": "next"}, {"relation": "self", "url": "x"}],
    "no text": [{"relation": "next", "url": 5}],
    "no list": "next",
}
LAST: dict[str, Any] = {
    "no links": None,
    "none": [],
    "only itself": [{"relation": "self", "url": SECOND}],
    "back": [{"relation": "previous", "url": FIRST}],
}


def page(link: Any) -> bytes:
    found = bundle(observation(value=8.1), total=2, link=link)
    return json.dumps({name: value for name, value in found.items() if name != "link" or value is not None}).encode()


def read(second: bytes) -> bytes:
    assert ORIGIN is not None
    pages = {FIRST: page([{"relation": "next", "url": SECOND}]), SECOND: second}
    return read_all(pages.__getitem__, FIRST, ORIGIN, Deadline(60))


def state(raw: bytes) -> State:
    return open_value(msgspec.Raw(raw)).state


@pytest.mark.parametrize("name", NOWHERE)
def test_a_later_page_that_leads_nowhere_is_not_the_last(name: str) -> None:
    assert State.TRUNCATED == state(read(page(NOWHERE[name])))


@pytest.mark.parametrize("name", NOWHERE)
def test_so_where_the_client_sent_the_first_page(name: str) -> None:
    sent = page([{"relation": "next", "url": SECOND}])

    assert State.TRUNCATED == state(joined(sent, page(NOWHERE[name])))


@pytest.mark.parametrize("name", LAST)
def test_a_page_without_such_a_link_is_the_last(name: str) -> None:
    sent = page([{"relation": "next", "url": SECOND}])

    assert State.COMPLETE == state(read(page(LAST[name])))
    assert State.COMPLETE == state(joined(sent, page(LAST[name])))


@pytest.mark.parametrize("name", NOWHERE)
def test_what_stands_on_a_page_that_nobody_can_reach_is_not_said_to_be_missing(app_for: Make, name: str) -> None:
    last = bundle(total=LEFT_OUT, link=NOWHERE[name])
    with running(answering(lambda _: Reply(last))) as server:
        link = [{"relation": "next", "url": f"{server.base}/fhir/Observation?page=2"}]
        labs = bundle(observation("potassium", 4.0, "mmol/L"), total=LEFT_OUT, link=link)
        sent = prefetch(*SICK, pastMedications=bundle(), observations=labs)
        response, _ = post(app_for(server), asking(server, sent))

        assert ["/fhir/Observation?page=2"] == server.paths
    assert 200 == response.status_code
    answer = response.json or {}
    assert "eskd-missing-labs" not in fired(answer)
    assert "eskd-missing-labs" in {one["rule"] for one in answer["extension"]["org.calcinosis-cds"]["not_evaluated"]}
