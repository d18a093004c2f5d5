"""
Pages, redirects, sizes: a FHIR server never leads us elsewhere, and never fills our memory (RELIABILITY.md 3, 8-12).
"""

from __future__ import annotations

import json
import resource
from collections.abc import Callable

import pytest

from cds_service.adapters.ehr import LocalRecord
from tests.build import (
    PATIENT,
    bundle,
    condition,
    observation,
    patient,
)
from tests.faults import servers
from tests.faults.asking import Make, always, asking, post, reasons
from tests.faults.servers import Asked, Behaviour, Reply, Server, answering, fhir, once_asked, running

# --- rows 8, 9, 10: pages and redirects ------------------------------------------------------------------------------


def many(count: int) -> LocalRecord:
    return LocalRecord(PATIENT, [patient(), condition(), *(observation(value=8.1, days=1 + n) for n in range(count))])


def test_all_pages_are_read_and_count_as_one_answer(app_for: Make) -> None:
    record = many(60)
    with running(answering(fhir(record, page=7))) as server:
        response, _ = post(app_for(server, fhir_budget_ms=5000), asking(server))

    assert 9 == sum("/Observation?" in path for path in server.paths)
    assert (200, set()) == (response.status_code, reasons(response))


def test_after_ten_pages_it_is_enough_and_the_rest_is_unknown(app_for: Make) -> None:
    with running(answering(fhir(many(200), page=7))) as server:
        app = app_for(server, fhir_budget_ms=5000)
        response, _ = post(app, asking(server))

    assert 10 == sum("/Observation?" in path for path in server.paths)
    assert 200 == response.status_code


def linking(next_: Callable[[Asked], str]) -> Behaviour:
    """Answer every search with a page that is followed by another."""

    def answer(asked: Asked) -> Reply:
        if "?" not in asked.target:
            return Reply(patient())
        links = [{"relation": "self", "url": "x"}, {"relation": "next", "url": next_(asked)}]
        return Reply(bundle(link=links))

    return answering(answer)


LOOPS: dict[str, Callable[[Asked], str]] = {
    "itself": lambda asked: f"http://{asked.headers['host']}{asked.target}",
    "itself, relative": lambda asked: asked.target,
    "endless": lambda asked: f"{asked.target}&more=1",
    "endless, relative": lambda asked: f"?{asked.target.partition('?')[2]}1",
}


@pytest.mark.parametrize("name", LOOPS)
def test_pages_that_never_end_are_left(app_for: Make, name: str) -> None:
    with running(linking(LOOPS[name])) as server:
        response, _ = post(app_for(server, fhir_budget_ms=3000), asking(server))

        assert len(server.asked) <= 80
        answer = response.json or {}
        assert (200, []) == (response.status_code, answer["cards"])
        unknown = {one["rule"] for one in answer["extension"]["org.calcinosis-cds"]["not_evaluated"]}
        assert {"eskd-hyperphosphatemia", "eskd-missing-labs", "vka-calciphylaxis-risk"} <= unknown


ELSEWHERE: dict[str, Callable[[Server, Server], str]] = {
    "another host": lambda _, canary: f"{canary.base}/fhir/Observation?page=2",
    "another host without a scheme": lambda _, canary: f"//127.0.0.1:{canary.port}/fhir/Observation?page=2",
    "another port that begins alike": lambda server, _: f"{server.base}0/fhir/Observation?page=2",
    "another path": lambda server, _: f"{server.base}/other/Observation?page=2",
    "a path that begins alike": lambda server, _: f"{server.base}/fhirx/Observation?page=2",
    "a climbing path": lambda server, _: f"{server.base}/fhir/../other?page=2",
    "a climbing relative path": lambda *_: "../../other?page=2",
    "a user": lambda server, canary: f"http://127.0.0.1:{server.port}@127.0.0.1:{canary.port}/fhir/x?page=2",
    "a user of ours": lambda server, _: f"http://user@127.0.0.1:{server.port}/fhir/x?page=2",
    "another scheme": lambda *_: "file:///etc/passwd?page=2",
    "gopher": lambda _, canary: f"gopher://127.0.0.1:{canary.port}/x?page=2",
    "a backslash": lambda server, canary: f"{server.base}\\@127.0.0.1:{canary.port}/fhir/x?page=2",
    "a fragment": lambda server, _: f"{server.base}/fhir/x?page=2#y",
    "a line break": lambda server, _: f"{server.base}/fhir/x?page=2\r\nX-Y: 1",
    "a broken address": lambda *_: "http://[::1/fhir?page=2",
    "no text": lambda *_: "",
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_next_link_to_another_place_is_not_followed(app_for: Make, name: str) -> None:
    with running(always(Reply({}))) as canary, running(linking(lambda _: link)) as server:
        link = ELSEWHERE[name](server, canary)
        response, _ = post(app_for(server, fhir_budget_ms=3000), asking(server))

        assert 0 == canary.connections
        assert not any("page=2" in path for path in server.paths)
        assert response.status_code in {200, 412}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "target", ["{canary}/fhir/x", "//127.0.0.1:{port}/x", "file:///etc/passwd", "/fhir/Patient/pat-1"]
)
def test_redirects_are_not_followed(app_for: Make, status: int, target: str) -> None:
    with running(always(Reply(patient()))) as canary:
        place = target.format(canary=canary.base, port=canary.port)
        with running(always(Reply({}, status, {"Location": place}))) as server:
            response, _ = post(app_for(server), asking(server))

            assert (412, {"redirect"}) == (response.status_code, reasons(response))
            assert 0 == canary.connections
            assert len(server.asked) == len(set(server.paths))


def test_a_cookie_is_neither_kept_nor_sent(app_for: Make) -> None:
    with running(always(Reply({}, headers={"Set-Cookie": "session=MARKED; Path=/"}))) as server:
        app = app_for(server)
        for _ in range(2):
            post(app, asking(server))

        assert not any("cookie" in one.headers for one in server.asked)


# --- row 12: size ----------------------------------------------------------------------------------------------------


HUGE: dict[str, Callable[[], Behaviour]] = {
    "endless body": lambda: once_asked(servers.endless_body),
    "gzip bomb": lambda: always(servers.bomb()),
    "very many objects": lambda: always(Reply(b'{"entry":[' + b"{}," * 1_000_000 + b"{}]}")),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_huge_answer_is_cut_and_takes_little_memory(app_for: Make, name: str) -> None:
    with running(HUGE[name]()) as server:
        app = app_for(server, fhir_budget_ms=2000)
        post(app, asking(server))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(3):
            post(app, asking(server))

        assert 50 * 1024 > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def test_all_pages_of_a_call_together_have_a_limit(app_for: Make) -> None:
    """
    Each page may be 4 MB; what is fetched for one call may be as large as what a client may send.
    """
    page = json.dumps(bundle(link=[{"relation": "next", "url": "?x"}], note="x" * 3_000_000)).encode()

    def large(asked: Asked) -> Reply:
        more = asked.target.partition("?")[2]
        return Reply(page.replace(b'"?x"', f'"?{more}x"'.encode())) if more else Reply(patient())

    with running(answering(large)) as server:
        response, _ = post(app_for(server, fhir_budget_ms=5000), asking(server))

        assert response.status_code in {200, 412}
        assert "too-large" in reasons(response)
        assert len(server.asked) < 20
