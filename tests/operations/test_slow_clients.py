"""
Clients that are slow, silent or gone (RELIABILITY 3.33, SECURITY 7): a good call is answered at once all the same.

With gunicorn's own thread worker these tests fail, whatever the number of threads (docs/operate.md).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.moments import quickest
from tests.operations.load import PATH, Hostile, address_of, hook_call, post
from tests.operations.running import Service, eventually, running

EACH = dict.fromkeys(("idle", "headers", "body", "unread", "metrics", "half", "chunks"), 60)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("slow"), "--workers", "1", "--threads", "8") as one:
        yield one


def slowest(service: Service, calls: int = 8) -> float:
    """Return how long the slowest of some good calls took."""
    found = []
    for _ in range(calls):
        status, _, seconds = post(service.url, hook_call())
        assert 200 == status
        found.append(seconds)
        time.sleep(0.15)
    return max(found)


@pytest.mark.parametrize("kinds", [*({kind: 60} for kind in EACH), EACH, {"idle": 400}], ids=str)
def test_a_good_call_is_answered_beside_hostile_clients(service: Service, kinds: dict[str, int]) -> None:
    with Hostile(service.url, kinds):
        assert 2 > quickest(lambda: slowest(service), 2.0)


def test_more_clients_than_places_push_out_the_silent_ones(service: Service) -> None:
    with Hostile(service.url, {"idle": 1_100}):
        assert 2 > quickest(lambda: slowest(service, 3), 2.0)


def test_nothing_is_left_of_them(service: Service) -> None:
    eventually(lambda: service.open_files() < 40, 30)
    before = service.open_files(), service.threads()
    for _ in range(3):
        with Hostile(service.url, dict.fromkeys(EACH, 20)):
            slowest(service, 2)
    eventually(lambda: service.open_files() <= before[0], 30)

    assert service.threads() <= 8 + 8


def test_clients_that_hang_up_in_the_middle_leave_no_trace_in_the_log(service: Service) -> None:
    for end in (0, 20, 200, 2_000):
        one = socket.create_connection(address_of(service.url), 5)
        raw = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{{"
        one.send((raw + " " * 5_000).encode()[:end])
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not a farewell
        one.close()
    assert 2 > quickest(lambda: slowest(service, 2), 2.0)

    assert "Traceback" not in service.log()
    assert '"level":"error"' not in service.log()


def talk(service: Service, raw: bytes, pause: float = 0.0) -> bytes:
    """Send bytes, in two halves, and return all that comes back until the service hangs up."""
    with socket.create_connection(address_of(service.url), 10) as one:
        one.sendall(raw[: len(raw) // 2])
        time.sleep(pause)
        one.sendall(raw[len(raw) // 2 :])
        found = b""
        while piece := one.recv(65_536):
            found += piece
    return found


def head(*lines: str) -> bytes:
    return "\r\n".join([f"POST {PATH} HTTP/1.1", "Host: x", "Content-Type: application/json", *lines, "", ""]).encode()


def chunked(raw: bytes, size: int) -> bytes:
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [7, 100, 100_000])
def test_a_body_in_chunks_is_read(service: Service, size: int) -> None:
    raw = head("Transfer-Encoding: chunked", "Connection: close") + chunked(hook_call(), size)

    answer = talk(service, raw, 0.1)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"indicator":"warning"' in answer


def test_several_requests_sent_at_once_are_answered_one_after_the_other(service: Service) -> None:
    raw = hook_call()
    one = head(f"Content-Length: {len(raw)}") + raw
    last = head(f"Content-Length: {len(raw)}", "Connection: close") + raw

    assert 3 == talk(service, one + one + last, 0.1).count(b"HTTP/1.1 200 ")


def test_a_client_that_asks_whether_it_may_send_is_told_so_once(service: Service) -> None:
    raw = hook_call()
    with socket.create_connection(address_of(service.url), 10) as one:
        one.sendall(head(f"Content-Length: {len(raw)}", "Expect: 100-continue", "Connection: close"))
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == one.recv(1_000)
        one.sendall(raw)
        found = b""
        while piece := one.recv(65_536):
            found += piece

    assert found.startswith(b"HTTP/1.1 200 ")


NOT_HTTP = {
    "no HTTP at all": b"\x16\x03\x01 MARKED\r\n\r\n",
    "an odd header name": b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer MARKED\r\n\r\n",
    "two lengths": head("Content-Length: 3", "Content-Length: 4") + b"{}MARKED",
    "a length and chunks": head("Content-Length: 3", "Transfer-Encoding: chunked") + b"0\r\n\r\nMARKED",
    "a chunk that is none": head("Transfer-Encoding: chunked", "Connection: close") + b"zz\r\nMARKED\r\n0\r\n\r\n",
    "a long address": b"GET /" + b"MARKED" * 2_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "long headers": b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"MARKED" * 20_000 + b"\r\n\r\n",
    "a query": b"GET /cds-services?patient=MARKED HTTP/9.9\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("raw", NOT_HTTP.values(), ids=NOT_HTTP)
def test_what_is_not_http_gets_one_refusal_that_repeats_nothing(service: Service, raw: bytes) -> None:
    answer = talk(service, raw)
    status = int(answer[9:12])

    assert 400 <= status < 500
    assert b"OperationOutcome" in answer
    assert 1 == answer.count(b"HTTP/1.1 ")
    assert b"MARKED" not in answer
    assert "MARKED" not in service.log()
