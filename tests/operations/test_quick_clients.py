"""
Clients whose next request comes as soon as the last one is answered: the thread that answered takes it at once.

Whatever is not there as a whole in that moment, the door collects, as it does for everybody else.
"""

from __future__ import annotations

import email.utils
import json
import socket
import time
from collections.abc import Iterator
from selectors import DefaultSelector
from types import SimpleNamespace

import pytest
from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.http.unreader import IterUnreader  # type: ignore[import-untyped]

from cds_service.cli.connection import Asked, Connection
from cds_service.cli.worker import BRISK, PARTS, Worker
from tests.operations.load import PATH, address_of, hook_call, post
from tests.operations.running import Service, running

PATIENTS = ("pat-1", "somebody", "x" * 60)


def http(raw: bytes, more: str = "") -> bytes:
    """Return a call as bytes of HTTP."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n{more}"
    return head.encode() + b"\r\n" + raw


def about(patient: str) -> bytes:
    """Return a call about a patient."""
    return http(
        hook_call(context={"patientId": patient, "userId": "Practitioner/1"}).replace(b"pat-1", patient.encode())
    )


class Client:
    """A connection that stays open."""

    def __init__(self, service: Service) -> None:
        self.socket = socket.create_connection(address_of(service.url), 10)
        self.left = b""

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer, and keep what came with it."""
        while b"\r\n\r\n" not in self.left:
            self.left += self._some()
        head, _, self.left = self.left.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        while len(self.left) < (length := int(headers["content-length"])):
            self.left += self._some()
        read, self.left = self.left[:length], self.left[length:]
        return int(first.split()[1]), headers, read

    def _some(self) -> bytes:
        some = self.socket.recv(65_536)
        assert some, "the service hung up"
        return some

    def call(self, *pieces: bytes, pause: float = 0.0) -> bytes:
        """Send a request in pieces and return the body of its answer."""
        for piece in pieces:
            self.socket.sendall(piece)
            time.sleep(pause)
        status, _, read = self.answer()
        assert 200 == status
        return read


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("quick"), "--workers", "1", "--threads", "2") as one:
        yield one


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    one = Client(service)
    with one.socket:
        yield one


def patient_of(read: bytes) -> set[str]:
    """Return whom the orders of an answer are for."""
    suggestions = [one for card in json.loads(read)["cards"] for one in card["suggestions"]]
    return {action["resource"]["subject"]["reference"] for one in suggestions for action in one["actions"]}


def test_every_call_of_many_on_one_connection_gets_its_own_answer(client: Client) -> None:
    for number in range(60):
        patient = PATIENTS[number % len(PATIENTS)]

        assert {f"Patient/{patient}"} == patient_of(client.call(about(patient)))


@pytest.mark.parametrize("pause", [0.0, BRISK * 3, 0.1], ids=str)
@pytest.mark.parametrize("cuts", [(1,), (20,), (-1,), (120, 121), (30, 400), (-2, -1)], ids=str)
def test_a_next_request_that_comes_in_parts_is_answered(client: Client, cuts: tuple[int, ...], pause: float) -> None:
    client.call(about("pat-1"))
    raw = about("somebody")
    ends = [cut % len(raw) for cut in cuts]
    pieces = [raw[begin:end] for begin, end in zip([0, *ends], [*ends, len(raw)], strict=True)]

    assert {"Patient/somebody"} == patient_of(client.call(*pieces, pause=pause))
    assert {"Patient/pat-1"} == patient_of(client.call(about("pat-1")))


def test_more_parts_than_a_thread_waits_for_are_answered(client: Client) -> None:
    client.call(about("pat-1"))
    raw = about("somebody")
    step = len(raw) // (PARTS * 3)
    pieces = [raw[place : place + step] for place in range(0, len(raw), step)]

    assert {"Patient/somebody"} == patient_of(client.call(*pieces, pause=BRISK / 2))


def test_two_requests_at_once_after_one_are_both_answered(client: Client) -> None:
    client.call(about("pat-1"))
    client.socket.sendall(about("somebody") + about("pat-1"))

    assert [{"Patient/somebody"}, {"Patient/pat-1"}] == [patient_of(client.answer()[2]) for _ in range(2)]


def test_a_client_that_drips_after_its_answer_keeps_no_thread(service: Service) -> None:
    """There are two threads, and three clients of which each sends a byte after every call."""
    drippers = [Client(service) for _ in range(3)]
    for one in drippers:
        one.call(about("pat-1"))
    raw, until, found = about("pat-1"), time.monotonic() + 1, list[float]()
    while time.monotonic() < until or len(found) < 30:
        for one in drippers:
            one.socket.sendall(raw[:1])
            raw = raw[1:] + raw[:1]
        found.append(post(service.url, hook_call())[2])

    for one in drippers:
        one.socket.close()
    assert sorted(found)[len(found) * 9 // 10] < 0.5  # of ten one may be late by itself, on a busy machine


def test_a_body_that_nobody_reads_is_not_taken_for_the_next_request(client: Client) -> None:
    client.call(about("pat-1"))
    raw = b'{"hook":' * 100
    client.socket.sendall(http(raw).replace(PATH.encode(), b"/nowhere"))

    assert 404 == client.answer()[0]
    assert {"Patient/somebody"} == patient_of(client.call(about("somebody")))


@pytest.mark.parametrize("size", [100, 100_000, 7 << 20], ids=str)
def test_a_connection_goes_on_though_nobody_read_a_body_of_any_size(client: Client, size: int) -> None:
    client.socket.sendall(http(b"x" * size).replace(PATH.encode(), b"/nowhere"))
    status, headers, _ = client.answer()

    assert (404, "keep-alive") == (status, headers["connection"])
    assert {"Patient/somebody"} == patient_of(client.call(about("somebody")))


CHUNKS = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTAKEN = {
    "too large": http(b"").replace(b"Length: 0", b"Length: 99999999"),
    "in chunks": CHUNKS.replace(PATH, "/nowhere").encode() + b"186a0\r\n" + b"x" * 100_000 + b"\r\n0\r\n\r\n",
}


def test_a_connection_goes_on_though_nobody_read_a_small_body_in_chunks(client: Client) -> None:
    client.socket.sendall(CHUNKS.replace(PATH, "/nowhere").encode() + b"5\r\nhello\r\n0\r\n\r\n")
    status, headers, _ = client.answer()

    assert (404, "keep-alive") == (status, headers["connection"])
    assert {"Patient/somebody"} == patient_of(client.call(about("somebody")))


@pytest.mark.parametrize("raw", UNTAKEN.values(), ids=UNTAKEN)
def test_where_a_body_was_not_taken_the_answer_says_that_the_connection_ends(client: Client, raw: bytes) -> None:
    client.socket.sendall(raw)
    status, headers, _ = client.answer()

    assert status in {404, 413}
    assert "close" == headers["connection"]
    assert b"" == client.socket.recv(1)


def test_a_connection_goes_on_after_a_body_in_chunks(client: Client) -> None:
    raw = hook_call()
    read = client.call(CHUNKS.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(raw), raw))

    assert {"Patient/pat-1"} == patient_of(read)
    assert {"Patient/somebody"} == patient_of(client.call(about("somebody")))


def test_headers_of_an_answer(client: Client) -> None:
    client.socket.sendall(about("pat-1"))
    _, stays, _ = client.answer()
    client.socket.sendall(http(hook_call(), "Connection: close\r\n"))
    _, closes, _ = client.answer()
    said = email.utils.parsedate_to_datetime(stays["date"]).timestamp()

    assert "keep-alive" == stays["connection"]
    assert "close" == closes["connection"]
    assert b"" == client.socket.recv(1)
    assert abs(time.time() - said) < 30


# --- one thread ------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[Worker, Connection, socket.socket]]:
    """Return a worker with an idle thread, a connection that was answered just now, and its client."""
    here, there = socket.socketpair()
    worker = Worker.__new__(Worker)
    worker.alive, worker.tpool = True, SimpleNamespace(idle=1)
    worker.poller, worker.arriving, worker._held = DefaultSelector(), {}, 0
    conn = Connection(Config(), there, ("127.0.0.1", 1), ("127.0.0.1", 2))
    conn.init()
    with here, there, worker.poller:
        yield worker, conn, here


def test_the_thread_takes_what_is_there_as_a_whole(pair: tuple[Worker, Connection, socket.socket]) -> None:
    worker, conn, client = pair
    client.sendall(about("pat-1"))

    assert worker._next_is_there(conn)
    assert conn.is_brisk


def test_it_leaves_a_part_to_the_door(pair: tuple[Worker, Connection, socket.socket]) -> None:
    worker, conn, client = pair
    client.sendall(about("pat-1")[:300])

    assert not worker._next_is_there(conn)
    worker._answered(conn, stays=True)
    assert {conn: None} == worker.arriving
    assert 300 == conn.held == worker._held


def test_it_waits_for_a_client_that_was_slow_once_no_more(pair: tuple[Worker, Connection, socket.socket]) -> None:
    worker, conn, client = pair

    assert not worker._next_is_there(conn)
    client.sendall(about("pat-1"))
    assert not worker._next_is_there(conn)
    assert 0 == conn.held


@pytest.mark.parametrize("why", ["stopping", "all threads are busy"])
def test_it_does_not_wait_where_others_do(pair: tuple[Worker, Connection, socket.socket], why: str) -> None:
    worker, conn, client = pair
    worker.alive, worker.tpool.idle = why != "stopping", int(why == "stopping")
    client.sendall(about("pat-1"))

    assert not worker._next_is_there(conn)
    assert 0 == conn.held


def test_a_client_that_has_hung_up_is_none(pair: tuple[Worker, Connection, socket.socket]) -> None:
    worker, conn, client = pair
    client.close()

    assert not worker._next_is_there(conn)


# --- whose word about the way it came counts -------------------------------------------------------------------------


def asked_by(address: str) -> Asked:
    """Return a request that says it came by TLS."""
    raw = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\n\r\n"
    return Asked(Config(), IterUnreader([raw]), (address, 1), 1)


def test_only_a_trusted_proxy_says_that_a_request_came_by_tls() -> None:
    for _ in range(2):
        assert "https" == asked_by("127.0.0.1").scheme
        assert "http" == asked_by("10.0.0.7").scheme


def test_addresses_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cds_service.cli.connection.ADDRESSES", 3)
    for number in range(10):
        assert "http" == asked_by(f"10.0.0.{number}").scheme
    assert "https" == asked_by("127.0.0.1").scheme

    assert 3 >= len(Asked._trusted)
