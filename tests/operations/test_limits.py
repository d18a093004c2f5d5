"""Limits are numbers that hold: of a call, of a process, of a client, and those that the machine sets."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from cds_service.adapters.fhir.searching import PAGES
from cds_service.adapters.fhir.transport import PAGE_LIMIT
from cds_service.errors import TooManyRequests, Unavailable
from cds_service.facts.bundles import MAX_RESOURCES
from cds_service.protocol.wire import MAX_DEPTH
from cds_service.web import requests
from cds_service.web.requests import ROOM, SMALL, TURN, Guard, Pace, id_of
from cds_service.web.settings import MAX_BODY
from tests.build import ROOT, SERVICE, body, bundle, call, condition, observation, patient, to_json
from tests.moments import quickest, spent
from tests.operations.load import Hostile, address_of, hook_call, post
from tests.operations.running import eventually, running

JSON: dict[str, Any] = {"content_type": "application/json"}


def test_the_limits_are_those_that_the_documentation_says() -> None:
    said = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    for number in ("8 MB", "64", "20,000", "4 MB", "10 pages"):
        assert number in said

    assert (8 << 20, 64, 20_000, 4 << 20, 10) == (MAX_BODY, MAX_DEPTH, MAX_RESOURCES, PAGE_LIMIT, PAGES)


def test_more_resources_than_a_call_may_hold_are_refused_with_a_text(app: Flask) -> None:
    small = {"resourceType": "Observation"}
    raw = to_json(call({"observations": bundle(*[small] * (MAX_RESOURCES + 1))}))
    answer = app.test_client().post(SERVICE, data=raw, **JSON)

    assert 413 == answer.status_code
    assert "20,000 resources" in (answer.json or {})["issue"][0]["details"]["text"]


def test_as_many_resources_as_a_call_may_hold_are_answered(app: Flask) -> None:
    """
    RELIABILITY 3.40: the same cards as from the few that matter, in less than 3 s.
    """
    dull = [observation("potassium", value=4.1, days=number / 100) for number in range(MAX_RESOURCES - 10)]
    for one in dull:
        one.pop("category", None)
    matter = [condition(), observation(value=8.1)]
    raw = body(*matter, *dull)
    assert MAX_BODY > len(raw)
    answer = app.test_client().post(SERVICE, data=raw, **JSON)
    few = app.test_client().post(SERVICE, data=body(*matter, dull[0]), **JSON)

    assert [one["summary"] for one in (few.json or {})["cards"]] == [
        one["summary"] for one in (answer.json or {})["cards"]
    ]
    assert quickest(lambda: spent(lambda: app.test_client().post(SERVICE, data=raw, **JSON)), 3.0) < 3


# --- ids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", ["a", "call-1", "a.B_c-9", "x" * 64])
def test_an_id_that_is_a_plain_word_is_taken_and_given_back(app: Flask, sent: str) -> None:
    for path in ("/cds-services", "/healthz", "/nowhere"):
        assert sent == app.test_client().get(path, headers={"X-Request-Id": sent}).headers["X-Request-Id"]
    for more in ({}, {"Origin": "https://sandbox.example"}):
        headers = {"X-Request-Id": sent, **more}
        assert sent == app.test_client().post(SERVICE, data=body(), headers=headers, **JSON).headers["X-Request-Id"]


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "a\tb", "é", "a;b", "Rossi, Anna", "<b>", "a/b"])
def test_any_other_id_is_replaced(sent: str) -> None:
    environ: dict[str, Any] = {"HTTP_X_REQUEST_ID": sent}
    ours = id_of(environ)

    assert 16 == len(ours)
    assert ours == id_of(environ), "one request, one id"
    assert ours != id_of({"HTTP_X_REQUEST_ID": sent})


# --- how much at once ------------------------------------------------------------------------------------------------


def test_no_more_calls_than_places() -> None:
    guard = Guard(calls=2)
    with guard.place(), guard.place(), pytest.raises(Unavailable, match="busy"), guard.place():
        pass
    with guard.place():
        assert 1 == guard.running
    assert 0 == guard.running


def test_one_client_never_takes_all_places() -> None:
    guard = Guard(calls=3, share=2)
    with guard.place("a"), guard.place("a"):
        with pytest.raises(Unavailable), guard.place("a"):
            pass
        with guard.place("b"):
            assert 3 == guard.running


def test_large_bodies_share_a_room_and_small_ones_need_none() -> None:
    guard = Guard()
    with guard.room_for(ROOM - SMALL), guard.room_for(SMALL), guard.room_for(SMALL):
        refused = pytest.raises(Unavailable)
        with refused, guard.room_for(SMALL * 2):
            pass
    with guard.room_for(MAX_BODY), guard.room_for(MAX_BODY), guard.room_for(MAX_BODY), guard.room_for(MAX_BODY):
        assert ROOM == guard.taken
    assert 0 == guard.taken


def test_a_small_body_in_chunks_needs_no_room_either(app: Flask) -> None:
    """Its length is not announced: it counts for what it is, not for the most that it might be."""
    guard, raw = app.extensions["cds"].guard, body(condition(), observation(value=8.1))
    with guard.room_for(ROOM - SMALL):
        answer = app.test_client().post(
            SERVICE,
            input_stream=BytesIO(raw),
            headers={"Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
            **JSON,
        )

    assert 200 == answer.status_code


def test_large_bodies_take_turns_and_small_ones_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "TURN", 30.0)
    guard, order, begun, goes_on = Guard(), list[str](), threading.Event(), threading.Event()

    def first() -> None:
        with guard.room_for(SMALL + 1):
            begun.set()
            goes_on.wait(30)
            order.append("first")

    def second() -> None:
        with guard.room_for(SMALL + 1):
            order.append("second")

    with ThreadPoolExecutor(2) as pool:
        pool.submit(first)
        begun.wait(30)
        pool.submit(second)
        eventually(lambda: guard.taken == 2 * (SMALL + 1), 30)
        with guard.room_for(SMALL):
            order.append("small")
        goes_on.set()

    assert ["small", "first", "second"] == order


def test_a_large_body_does_not_wait_for_one_that_waits_itself() -> None:
    guard, since = Guard(), time.monotonic()
    with guard.room_for(SMALL + 1):
        with guard.room_for(SMALL + 1):
            waited = time.monotonic() - since
        assert guard._turn.locked(), "who did not get its turn does not end that of another"

    assert waited >= TURN
    assert not guard._turn.locked()


def test_a_busy_service_says_503_and_when_to_come_back(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    engine = app.extensions["cds"]
    engine.guard.limit(1)
    with engine.guard.place():
        refused = app.test_client().post(SERVICE, data=body(), **JSON)
    answered = app.test_client().post(SERVICE, data=body(), **JSON)

    assert (503, "5") == (refused.status_code, refused.headers["Retry-After"])
    assert "OperationOutcome" == (refused.json or {})["resourceType"]
    assert answered.status_code in {200, 412}


# --- how often -------------------------------------------------------------------------------------------------------


def test_a_client_may_call_so_often_and_no_other_suffers() -> None:
    now = [0.0]
    pace = Pace(10, lambda: now[0])
    for _ in range(20):
        pace.check("a")
    with pytest.raises(TooManyRequests) as refused:
        pace.check("a")
    pace.check("b")
    now[0] += 0.5
    for _ in range(5):
        pace.check("a")
    with pytest.raises(TooManyRequests):
        pace.check("a")

    assert 0.1 == pytest.approx(refused.value.wait)


def test_without_a_rate_all_may_call() -> None:
    pace = Pace()
    for _ in range(1_000):
        pace.check("a")


def test_many_clients_take_little_memory() -> None:
    pace = Pace(10)
    for number in range(30_000):
        pace.check(str(number))

    assert 10_000 == len(pace._left)


def test_who_calls_too_often_is_told_when_to_come_back(make_app: Callable[..., Flask]) -> None:
    app = make_app(rate=2)
    answers = [app.test_client().post(SERVICE, data=body(), **JSON) for _ in range(5)]
    other = app.test_client().post(SERVICE, data=body(), environ_base={"REMOTE_ADDR": "10.0.0.2"}, **JSON)

    assert [429] == [one.status_code for one in answers[4:]]
    assert 429 not in [one.status_code for one in answers[:4]]
    assert "1" == answers[4].headers["Retry-After"]
    assert "OperationOutcome" == (answers[4].json or {})["resourceType"]
    assert 429 != other.status_code


def test_discovery_is_paced_more_strictly(make_app: Callable[..., Flask]) -> None:
    app = make_app(rate=10)
    ended = [app.test_client().get("/cds-services").status_code for _ in range(5)]

    assert [200] * 4 + [429] == ended
    assert 429 != app.test_client().post(SERVICE, data=body(), **JSON).status_code


# --- what the machine allows -----------------------------------------------------------------------------------------


def test_with_64_file_descriptors_the_service_recovers_from_more_clients_than_it_can_hold(tmp_path: Path) -> None:
    """
    RELIABILITY 3.36: prlimit --nofile=64.
    """
    with running(
        tmp_path, "--workers", "1", preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    ) as one:
        worker = one.workers()
        with Hostile(one.url, {"idle": 50, "body": 50}):
            time.sleep(1)
            ended = {attempt(one.url) for _ in range(5)}
        eventually(lambda: attempt(one.url) == 200, 15)

        assert worker == one.workers(), "nothing died of it"
    assert ended <= {200, 503, "nothing"}


def attempt(url: str) -> int | str:
    try:
        return post(url, hook_call(), seconds=3)[0]
    except OSError:
        return "nothing"


def test_with_little_memory_a_large_request_is_refused_and_the_process_lives(tmp_path: Path) -> None:
    """
    RELIABILITY 3.35: RLIMIT_AS of 512 MB beyond what an idle worker has mapped.
    """
    with running(tmp_path, "--workers", "1", "--threads", "8") as service:
        assert 200 == post(service.url, hook_call())[0]
        worker = service.workers()
        status = Path(f"/proc/{worker[0]}/status").read_text()
        mapped = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmSize"))
        resource.prlimit(worker[0], resource.RLIMIT_AS, (mapped + (64 << 20),) * 2)
        huge = body(patient(), *[observation(value=4.1, days=number / 100) for number in range(16_000)])
        with ThreadPoolExecutor(8) as clients:
            ended = Counter(clients.map(lambda _: attempt_with(service.url, huge), range(16)))

        assert set(ended) <= {200, 413, 503}, ended
        assert 200 == post(service.url, hook_call())[0]
        assert worker == service.workers()


def attempt_with(url: str, raw: bytes) -> int | str:
    try:
        return post(url, raw, seconds=60)[0]
    except OSError as problem:
        return type(problem).__name__


def test_with_the_processors_saturated_what_is_accepted_is_answered_soon(tmp_path: Path) -> None:
    """
    RELIABILITY 3.37: 16 clients with some 8 MB each, all the time, and good calls beside them.
    """
    huge = body(patient(), *[observation(value=4.1, days=number / 100) for number in range(16_000)])
    over, heavy, good = threading.Event(), Counter[int](), list[float]()

    def load(url: str) -> None:
        while not over.is_set():
            heavy[post(url, huge, seconds=60)[0]] += 1

    with running(tmp_path) as service:
        threads = [threading.Thread(target=load, args=(service.url,), daemon=True) for _ in range(16)]
        for thread in threads:
            thread.start()
        until = time.monotonic() + 8
        while time.monotonic() < until:
            status, _, seconds = post(service.url, hook_call())
            assert 200 == status
            good.append(seconds)
        over.set()
        for thread in threads:
            thread.join(60)

    assert set(heavy) <= {200, 503}
    # 1 s on a machine of its own; the clients, who make up the load, share these two processors with the service.
    assert 5 > sorted(good)[int(len(good) * 0.99)]


def test_the_door_answers_clients_without_a_thread_to_spare(tmp_path: Path) -> None:
    with (
        running(tmp_path, "--workers", "1", "--threads", "1") as service,
        socket.create_connection(address_of(service.url), 5),
        Hostile(service.url, {"body": 5, "unread": 5}),
    ):
        assert 200 == post(service.url, hook_call())[0]
