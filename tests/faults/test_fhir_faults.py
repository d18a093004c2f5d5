"""
A FHIR server that is slow, broken or lying: every call is answered in time, never with a 5xx (RELIABILITY.md 3).

The hook is called as an EHR calls it; the FHIR server is a real one, on a socket of this machine, that misbehaves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from cds_service.adapters.ehr import LocalRecord
from tests.build import (
    LEFT_OUT,
    PATIENT,
    bundle,
    condition,
    fired,
    observation,
    patient,
    prefetch,
)
from tests.faults import servers
from tests.faults.asking import BUDGET, GRACE, SICK, TIGHT, TOKEN, Make, always, asking, post, reasons
from tests.faults.servers import Asked, Behaviour, Reply, Server, answering, fhir, once_asked, running
from tests.moments import quickest

# --- rows 1 to 6, 11, 12, 16: nothing can be had ---------------------------------------------------------------------


BROKEN: dict[str, tuple[Behaviour, set[str]]] = {
    "slow": (always(Reply({}, after=2.0)), {"too-late"}),
    "accepts and says nothing": (servers.hang, {"too-late"}),
    "hangs once asked": (once_asked(servers.hang), {"too-late"}),
    "headers, then silence": (once_asked(servers.headers_then_silence), {"too-late"}),
    "drips the status line": (once_asked(servers.drip_status_line), {"too-late"}),
    "drips headers": (once_asked(servers.drip_headers), {"too-late"}),
    "drips the body": (once_asked(servers.drip_body), {"too-late"}),
    "drips chunks": (once_asked(servers.drip_chunks), {"too-late"}),
    "continues for ever": (once_asked(servers.endless_continue), {"too-late"}),
    "endless headers": (once_asked(servers.endless_headers), {"unreachable"}),
    "endless body": (once_asked(servers.endless_body), {"too-large"}),
    "reset": (servers.reset, {"unreachable"}),
    "reset once asked": (once_asked(servers.reset), {"unreachable"}),
    "reset in the body": (once_asked(servers.reset_in_the_body), {"broken-off", "unreachable"}),
    "closes without a word": (once_asked(lambda _: None), {"unreachable"}),
    "garbage": (once_asked(servers.says(b"\x00\xffSSH-2.0-OpenSSH\r\n\r\n")), {"unreachable"}),
    "status line of nonsense": (once_asked(servers.says(b"HTTP/1.1 abc OK\r\n\r\n")), {"unreachable"}),
    "HTTP/0.9": (once_asked(servers.says(b'{"resourceType":"Bundle"}')), {"unreachable"}),
    "gzip bomb": (always(servers.bomb(4 * 1024 * 1024)), {"compressed"}),
    "deflate": (always(Reply({}, headers={"Content-Encoding": "deflate"})), {"compressed"}),
    "invalid JSON": (always(Reply(b'{"resourceType": Bundle}')), {"not-json"}),
    "truncated": (once_asked(servers.says(Reply(b"{", headers={"Content-Length": "50"}).written())), {"broken-off"}),
    "truncated JSON": (always(Reply(b'{"resourceType":"Bundle"')), {"not-json"}),
    "login page": (always(Reply(b"<html><form>Log in</form></html>", kind="text/html")), {"not-fhir-json"}),
    "login page that says JSON": (always(Reply(b"<html><form>Log in</form></html>")), {"not-fhir-json"}),
    "XML": (always(Reply(b"<Bundle/>", kind="application/fhir+xml")), {"not-fhir-json"}),
    "JSON sequence": (always(Reply({}, kind="application/json-seq")), {"not-fhir-json"}),
    "empty": (always(Reply(b"")), {"not-fhir-json"}),
    "null": (always(Reply(b"null")), {"not-fhir-json"}),
    "array": (always(Reply([])), {"not-fhir-json"}),
    "text": (always(Reply(b'"Bundle"')), {"not-fhir-json"}),
    "NaN": (always(Reply(b'{"resourceType":"Bundle","total":NaN}')), {"not-json"}),
    "deep": (always(Reply(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)), {"not-json"}),
    "65 deep": (always(Reply(b'{"a":' * 65 + b"1" + b"}" * 65)), {"not-json"}),
    "a member twice": (always(Reply(b'{"resourceType":"Bundle","resourceType":"Patient"}')), {"not-json"}),
    "not UTF-8": (always(Reply(b'{"resourceType":"B\xff"}')), {"not-json"}),
    "UTF-16": (always(Reply('{"resourceType":"Bundle"}'.encode("utf-16"))), {"not-fhir-json"}),
    "two documents": (always(Reply(b"{}{}")), {"not-json"}),
    "very many objects": (always(Reply(b'{"entry":[' + b"{}," * 300_000 + b"{}]}")), {"too-large"}),
    **{f"status {one}": (always(Reply({}, one)), {f"status-{one}"}) for one in (400, 401, 403, 404, 429)},
    **{f"status {one}": (always(Reply({}, one)), {f"status-{one}"}) for one in (500, 502, 503, 504)},
    **{f"status {one}": (always(Reply({}, one)), {"redirect"}) for one in (301, 302, 303, 304, 307, 308)},
    **{f"status {one}": (always(Reply({}, one)), {"status-odd"}) for one in (201, 204, 206, 299, 600, 999)},
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_where_nothing_can_be_had_the_answer_is_412_within_the_budget(app_for: Make, name: str) -> None:
    behaviour, expected = BROKEN[name]
    slow = expected == {"too-late"}
    with running(behaviour) as server:

        def attempt() -> float:
            response, taken = post(app_for(server, **(TIGHT if slow else {})), asking(server))
            assert 412 == response.status_code
            assert TOKEN not in response.text
            assert reasons(response) <= expected | {"no-such-patient"}
            return taken

        limit = BUDGET + GRACE if slow else 8
        assert quickest(attempt, limit) <= limit


@pytest.mark.parametrize("name", ["drips the body", "hangs once asked", "status 500", "endless body", "gzip bomb"])
def test_what_was_prefetched_is_answered_all_the_same(app_for: Make, name: str) -> None:
    """
    What failed is a gap that the answer names (RELIABILITY.md 2).
    """
    behaviour, expected = BROKEN[name]
    sent = prefetch(*SICK, pastMedications=bundle(), statements=LEFT_OUT, procedures=LEFT_OUT)
    with running(behaviour) as server:

        def attempt() -> float:
            response, taken = post(app_for(server, **(TIGHT if expected == {"too-late"} else {})), asking(server, sent))
            assert 200 == response.status_code
            assert {"eskd-hyperphosphatemia"} <= fired(response.json or {}).keys()
            assert expected >= reasons(response) > set()
            return taken

        assert quickest(attempt, BUDGET + GRACE) <= BUDGET + GRACE
        assert {"statements", "procedures"} == {kind_of(one) for one in server.asked} or not server.asked


def kind_of(asked: Asked) -> str:
    kinds = {"MedicationStatement": "statements", "Procedure": "procedures"}
    return kinds.get(asked.target.removeprefix("/fhir/").partition("?")[0], asked.target)


def test_a_server_that_is_not_there_is_a_gap(app_for: Make) -> None:
    with running(servers.hang) as server:
        pass  # it was there, and stopped
    response, _ = post(app_for(server), asking(server))

    assert (412, {"unreachable"}) == (response.status_code, reasons(response))


# --- rows 4 and 5: what is asked again, and what is not --------------------------------------------------------------


def how_often(app: Flask, server: Server, raw: bytes | None = None) -> dict[str, int]:
    post(app, raw or asking(server))
    paths = [path.partition("?")[0] for path in server.paths]
    return {path: paths.count(path) for path in paths}


@pytest.mark.parametrize(
    ("reply", "most"),
    [
        (Reply({}, 503), 2),
        (Reply({}, 503, {"Retry-After": "3600"}), 1),
        (Reply({}, 429, {"Retry-After": "1"}), 1),
        (Reply({}, 500), 1),
        (Reply({}, 401), 1),
        (Reply({}, 403), 1),
        (Reply({}, 404), 1),
        (Reply(b"{", 200), 1),
    ],
    ids=lambda one: str(getattr(one, "status", one)),
)
def test_a_query_is_asked_again_only_where_that_may_help(app_for: Make, reply: Reply, most: int) -> None:
    with running(always(reply)) as server:
        asked = how_often(app_for(server, fhir_budget_ms=2000), server)

    statements = {path: times for path, times in asked.items() if "MedicationRequest" not in path}  # two queries
    assert {most} == set(statements.values())


def test_a_retry_that_works_is_an_answer(app_for: Make) -> None:
    record = fhir(LocalRecord(PATIENT, SICK))
    seen: set[str] = set()

    def first_busy(asked: Asked) -> Reply:
        known = asked.target in seen
        seen.add(asked.target)
        return record(asked) if known else Reply({}, 503)

    with running(answering(first_busy)) as server:
        response, _ = post(app_for(server, fhir_budget_ms=3000), asking(server))

    assert (200, set()) == (response.status_code, reasons(response))
    assert "eskd-hyperphosphatemia" in fired(response.json or {})


def test_the_breaker_stops_asking_after_five_failed_calls_and_one_tries_again(app_for: Make) -> None:
    ill = True
    record = fhir(LocalRecord(PATIENT, SICK))
    with running(answering(lambda asked: Reply({}, 500) if ill else record(asked))) as server:
        app = app_for(server)
        moment = [0.0]
        completing = app.extensions["cds"].completing
        completing._new_breaker = lambda: servers_breaker(lambda: moment[0])

        for _ in range(5):
            assert {"status-500"} == reasons(post(app, asking(server))[0])
        asked = len(server.asked)
        for _ in range(20):
            assert {"breaker-open"} == reasons(post(app, asking(server))[0])
        assert asked == len(server.asked)

        moment[0] = 15.1
        assert {"status-500"} == reasons(post(app, asking(server))[0])
        assert {"breaker-open"} == reasons(post(app, asking(server))[0])

        moment[0], ill = 31.0, False
        assert 200 == post(app, asking(server))[0].status_code
        assert 200 == post(app, asking(server))[0].status_code


def servers_breaker(clock: Callable[[], float]) -> Any:
    from cds_service.adapters.fhir.guards import Breaker

    return Breaker(clock)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_one_patients_or_tokens_refusal_does_not_stop_the_others(app_for: Make, status: int) -> None:
    with running(always(Reply({}, status))) as server:
        app = app_for(server)
        for _ in range(10):
            post(app, asking(server))

        assert not any(breaker.is_open for breaker in app.extensions["cds"].completing.breakers.values())


@pytest.mark.parametrize("seconds", [0, -1, -1e9])
def test_a_token_that_has_expired_is_not_tried(app_for: Make, seconds: float) -> None:
    with running(always(Reply({}))) as server:
        raw = asking(server, fhirAuthorization={"access_token": TOKEN, "expires_in": seconds})
        response, _ = post(app_for(server), raw)

        assert (412, {"token-expired"}) == (response.status_code, reasons(response))
        assert 0 == server.connections


def test_without_a_token_an_open_server_is_read(app_for: Make) -> None:
    with running(answering(fhir(LocalRecord(PATIENT, SICK)))) as server:
        response, _ = post(app_for(server), asking(server, fhirAuthorization=None))

    assert 200 == response.status_code
    assert not any("authorization" in one.headers for one in server.asked)


# --- rows 7, 13, 14: half of it, nobody, somebody else ---------------------------------------------------------------


def test_where_the_server_does_not_know_the_patient_its_empty_lists_are_not_believed(app_for: Make) -> None:
    """
    A wrong id finds nothing in every search: nothing would look like safety.
    """

    def empty(asked: Asked) -> Reply:
        return Reply(bundle()) if "?" in asked.target else servers.not_found()

    with running(answering(empty)) as server:
        response, _ = post(app_for(server), asking(server))

    assert 412 == response.status_code
    assert {"status-404", "no-such-patient"} == reasons(response)


@pytest.mark.parametrize("failing", ["Observation", "Condition", "MedicationStatement", "Procedure"])
def test_where_some_queries_fail_the_rules_with_data_speak(app_for: Make, failing: str) -> None:
    record = fhir(LocalRecord(PATIENT, SICK))

    def some(asked: Asked) -> Reply:
        return Reply({}, 500) if f"/{failing}?" in asked.target else record(asked)

    with running(answering(some)) as server:
        response, _ = post(app_for(server, fhir_budget_ms=3000), asking(server))

    answer = response.json or {}
    assert (200, {"status-500"}) == (response.status_code, reasons(response))
    assert (failing in {"MedicationStatement", "Procedure"}) == ("eskd-hyperphosphatemia" in fired(answer))
    assert failing == "Procedure" or answer["extension"]["org.calcinosis-cds"]["not_evaluated"]


def test_where_half_of_the_queries_hang_the_other_half_is_used(app_for: Make) -> None:
    record = fhir(LocalRecord(PATIENT, SICK))

    def half(asked: Asked) -> Reply | Behaviour:
        return servers.hang if "Procedure" in asked.target or "Statement" in asked.target else record(asked)

    with running(answering(half)) as server:

        def attempt() -> float:
            response, taken = post(app_for(server, **TIGHT), asking(server))
            assert 200 == response.status_code
            assert {"too-late"} == reasons(response)
            return taken

        assert quickest(attempt, BUDGET + GRACE) <= BUDGET + GRACE


STRANGER = "somebody-else"


@pytest.mark.parametrize(
    "resources",
    [
        (patient(id=STRANGER), condition(), observation(value=8.1)),
        (patient(), condition(subject={"reference": f"Patient/{STRANGER}"}), observation(value=8.1)),
        (patient(), condition(), observation(value=8.1, subject={"reference": f"Patient/{STRANGER}"})),
    ],
    ids=["patient", "condition", "observation"],
)
def test_data_of_another_patient_are_412_without_a_card(app_for: Make, resources: tuple[Any, ...]) -> None:
    def lies(asked: Asked) -> Reply:
        kind = asked.target.removeprefix("/fhir/").partition("?")[0].partition("/")[0]
        found = [one for one in resources if one["resourceType"] == kind]
        return Reply(bundle(*found) if "?" in asked.target else found[0])

    with running(answering(lies)) as server:
        response, _ = post(app_for(server, fhir_budget_ms=3000), asking(server))

    assert 412 == response.status_code
    assert "wrong-patient" == (response.json or {})["issue"][0]["details"]["coding"][0]["code"]
    assert STRANGER not in response.text
