"""
The door: what one client does never ends a worker, takes the place of another, or keeps a thread.

One worker without a process of its own, whose clients are ends of socket pairs: what is handed over at once, and in
which order, is known here.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config  # type: ignore[import-untyped]

from cds_service.cli import worker as module
from cds_service.cli.connection import MOST, Connection
from cds_service.cli.worker import SPEAK, Worker
from tests.moments import quickest
from tests.operations.load import address_of, hook_call, post
from tests.operations.running import running

HEAD = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n"


class Door:
    """A worker, and what it gave its threads."""

    def __init__(self, opened: ExitStack) -> None:
        self.opened, self.given = opened, list[Connection]()
        self.worker = one = Worker.__new__(Worker)
        one.alive, one.cfg, one.sockets, one.nr_conns, one.worker_connections = True, Config(), [], 0, 3
        one.tpool = SimpleNamespace(idle=1, submit=self.given.append)
        one.pending_conns, one.keepalived_conns = deque(), deque()
        one.arriving, one.leaving, one._held, one._rests_until, one._spare = {}, {}, 0, 0.0, -1
        one._accepting = True
        one.poller = opened.enter_context(DefaultSelector())

    def client(self) -> tuple[socket.socket, Connection]:
        """Let a client in that says nothing yet; return its end, and ours."""
        theirs, ours = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024 * 1024)
        self.opened.enter_context(theirs)
        self.opened.enter_context(ours)
        theirs.settimeout(10)
        conn = Connection(self.worker.cfg, ours, ("127.0.0.1", 1), ("127.0.0.1", 2))
        self.worker.nr_conns += 1
        return theirs, conn

    def arriving(self, raw: bytes = HEAD) -> tuple[socket.socket, Connection]:
        """Let a client in of whose request a part is there."""
        theirs, conn = self.client()
        theirs.sendall(raw)
        self.worker._begins(conn)
        self.worker.poller.register(conn.sock, EVENT_READ, partial(self.worker._more_bytes, conn))
        self.worker._more_bytes(conn, conn.sock)
        return theirs, conn


@pytest.fixture
def door() -> Iterator[Door]:
    with ExitStack() as opened:
        yield Door(opened)


def everything(client: socket.socket) -> bytes:
    """Return all that comes until the service hangs up."""
    found = b""
    while piece := client.recv(65_536):
        found += piece
    return found


# --- one client has to go while there is news of it ------------------------------------------------------------------


def test_who_had_to_make_room_is_left_alone_though_more_of_its_request_is_there(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The door is told of both at once, of the newer first."""
    (oldest, first), (newest, second) = door.arriving(), door.arriving()
    monkeypatch.setattr(module, "ROOM", door.worker._held + 10)
    newest.sendall(b"x" * 100)
    oldest.sendall(b"x" * 100)
    for conn in (second, first):
        door.worker._more_bytes(conn, conn.sock)

    assert everything(oldest).startswith(b"HTTP/1.1 503 ")
    assert [second] == list(door.worker.arriving)
    assert second.held == door.worker._held


def test_a_silent_client_that_had_to_go_is_not_heard_any_more(door: Door) -> None:
    theirs, conn = door.client()
    theirs.sendall(HEAD)
    door.worker._drop(conn)
    door.worker._first_bytes(conn, door.worker.pending_conns, conn.sock)

    assert {} == door.worker.arriving


def test_a_client_gives_back_its_place_once(door: Door) -> None:
    door.client()
    _, conn = door.arriving()
    for _ in range(2):
        door.worker._drop(conn)
        door.worker._last_bytes(conn, conn.sock)

    assert 1 == door.worker.nr_conns
    assert 0 == door.worker._held


# --- one client takes no answers -------------------------------------------------------------------------------------


def test_a_refusal_that_nobody_takes_keeps_no_thread(door: Door) -> None:
    _, conn = door.client()
    with suppress(BlockingIOError):
        while conn.sock.send(b"x"):
            pass
    conn.timeout = time.monotonic() + 20
    assert conn.receive(b"garbage\r\n\r\n")
    thread = threading.Thread(target=door.worker.handle, args=(conn,), daemon=True)
    thread.start()
    thread.join(10)

    assert not thread.is_alive()


# --- no request will ever come of it ---------------------------------------------------------------------------------

CHUNKS = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LINES = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 4_000) for number in range(17))
ODD = {
    "headers without end": (b"GET /x HTTP/1.1\r\n" + LINES, 431),
    "an address without end": (b"GET /" + b"x" * 70_000, 414),
    "lines of another kind": (b"GET /x HTTP/1.1\n" + b"Host: x\n" * 9_000, 400),
    "a chunk whose size does not end": (CHUNKS + b"5;" + b"a" * 1_100, 400),
    "a chunk without a size": (CHUNKS + b"zz\r\n", 400),
    "trailers without end": (CHUNKS + b"0\r\n" + LINES, 431),
    "chunks after a long address": (CHUNKS.replace(b"/x", b"/" + b"x" * 5_000) + b"zz\r\n", 414),
}


@pytest.mark.parametrize(("raw", "status"), ODD.values(), ids=ODD)
def test_what_never_becomes_a_request_is_refused_without_a_thread(door: Door, raw: bytes, status: int) -> None:
    theirs, _ = door.arriving(raw)
    answer = everything(theirs)

    assert f"HTTP/1.1 {status} ".encode() == answer[:13]
    assert b"OperationOutcome" in answer
    assert [] == door.given
    assert 0 == door.worker._held


def test_a_thread_that_finds_such_a_thing_after_an_answer_leaves_it_to_the_door(door: Door) -> None:
    theirs, conn = door.client()
    conn.init()
    theirs.sendall(ODD["a chunk without a size"][0])

    assert not door.worker._next_is_there(conn)
    door.worker._answered(conn, stays=True)
    assert everything(theirs).startswith(b"HTTP/1.1 400 ")
    assert 0 == door.worker._held


def test_a_length_with_leading_zeros_is_waited_for_without_a_thread(door: Door) -> None:
    theirs, conn = door.arriving(HEAD.replace(b"5000", b"000000000000500"))
    assert [] == door.given
    theirs.sendall(b"x" * 500)
    door.worker._more_bytes(conn, conn.sock)

    assert [conn] == door.given


def test_a_thread_does_not_wait_for_the_rest_of_more_than_a_request_may_hold(door: Door) -> None:
    _, conn = door.client()
    conn.timeout = time.monotonic() + 600
    assert conn.receive(CHUNKS + b"1\r\nx\r\n" * (MOST // 6))
    conn.begin()
    conn.parser.unreader.take_buffered()

    with pytest.raises(ConnectionResetError):
        conn.parser.unreader.read()


# --- no more file descriptors ----------------------------------------------------------------------------------------


class Listener:
    """One at whose door nobody is any more, since there are no descriptors."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self._meanwhile = meanwhile

    def accept(self) -> tuple[socket.socket, str]:
        self._meanwhile()
        raise OSError(errno.EMFILE, "too many open files")


def test_a_descriptor_that_another_thread_took_meanwhile_is_not_closed(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.worker._spare = os.open(os.devnull, os.O_RDONLY)
    taken = list[int]()
    opens = os.open

    def none_left(*_: object) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(os, "open", none_left)
    first: Any = Listener(lambda: taken.append(opens(os.devnull, os.O_RDONLY)))
    second: Any = Listener(lambda: None)
    door.worker._turn_away(first)
    door.worker._turn_away(second)

    assert -1 == door.worker._spare
    assert stat.S_ISCHR(os.fstat(taken[0]).st_mode)
    os.close(taken[0])


def test_a_spare_descriptor_is_had_again_when_there_is_one(door: Door) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        door.worker.accept(listener)

    assert door.worker._spare >= 0
    os.close(door.worker._spare)
    door.worker._drop(door.worker.pending_conns.pop())


# --- no more places --------------------------------------------------------------------------------------------------


def came(door: Door, seconds_ago: float, raw: bytes = b"") -> tuple[socket.socket, Connection]:
    """Let a client in some time ago of whom nothing has been read."""
    theirs, conn = door.client()
    theirs.sendall(raw)
    conn.timeout = time.monotonic() - seconds_ago + SPEAK
    door.worker.pending_conns.append(conn)
    return theirs, conn


def keeps(door: Door, raw: bytes = b"") -> tuple[socket.socket, Connection]:
    """Keep a client that was answered."""
    theirs, conn = door.client()
    theirs.sendall(raw)
    conn.timeout = time.monotonic() + 30
    door.worker.keepalived_conns.append(conn)
    return theirs, conn


def leaves(door: Door) -> tuple[socket.socket, Connection]:
    """Have a client that was answered and has not hung up."""
    theirs, conn = door.client()
    door.worker._part(conn)
    return theirs, conn


def test_who_matters_least_makes_room_and_never_who_has_just_come(door: Door) -> None:
    comers = [came(door, 0)[1], door.arriving(b"P")[1], door.arriving()[1], leaves(door)[1]]
    comers += [keeps(door)[1], keeps(door)[1]]
    door.worker.pending_conns.appendleft(old := came(door, 5)[1])
    door.worker.pending_conns.pop()
    new, first_byte, part, gone, kept, kept_later = comers
    left = list[Connection]()
    while door.worker._make_room():
        left += [one for one in (*comers, old) if one.is_gone and one not in left]

    assert [kept, kept_later, old, gone, first_byte, part] == left
    assert [new] == list(door.worker.pending_conns)
    assert 1 == door.worker.nr_conns
    assert 0 == door.worker._held


def test_a_client_whose_bytes_nobody_has_looked_at_is_not_silent(door: Door) -> None:
    for _, conn in (keeps(door, b"P"), came(door, 5, b"P")):
        assert not door.worker._make_room()
        assert not conn.is_gone


def test_whose_request_makes_room_for_another_is_told_so(door: Door) -> None:
    theirs, _ = door.arriving()
    theirs.sendall(b"x" * 1_000)
    assert door.worker._make_room()

    assert everything(theirs).startswith(b"HTTP/1.1 503 ")


def test_a_door_that_was_shut_opens_when_one_has_been_silent_for_long_enough(door: Door) -> None:
    for _ in range(door.worker.worker_connections):
        came(door, 0)
    door.worker.set_accept_enabled(False)
    assert not door.worker._accepting
    door.worker.pending_conns[0].timeout -= 5
    door.worker.wait_for_and_dispatch_events(0)

    assert door.worker._accepting
    assert door.worker.worker_connections - 1 == door.worker.nr_conns


def test_clients_with_one_byte_each_never_take_all_places(tmp_path: Path) -> None:
    limited = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (80, 80))
    with running(tmp_path, "--workers", "1", "--threads", "4", preexec=limited) as service, ExitStack() as opened:
        for _ in range(60):
            opened.enter_context(socket.create_connection(address_of(service.url), 10)).sendall(b"P")

        assert 2 > quickest(lambda: post(service.url, hook_call())[2], 2.0)
        assert {200} == {post(service.url, hook_call())[0] for _ in range(5)}
