"""
gunicorn's threads, made to last: nobody who is slow, silent or gone keeps a thread, or the door.

A request is collected in the thread of the door, which waits for all clients at once, and gets a thread of its own when
it is there as a whole: what a buffering proxy does, inside. Measured (docs/operate.md): with gunicorn's own thread
worker 60 clients that do not hang up, or 400 that say nothing, stop the service for 10 s and more, whatever the number
of threads.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.http import wsgi  # type: ignore[import-untyped]
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from cds_service.cli.connection import MOST, PIECE, TAKE, Answer, Connection, say_busy, say_refused, status_of
from cds_service.cli.pool import Pool

_log = logging.getLogger("cds_service")
# Seconds. A client that has connected says something within SPEAK; its request is there as a whole within WHOLE of
# its first byte; it takes an answer within TAKE, and after it hangs up within LINGER.
SPEAK, WHOLE, LINGER = 10.0, 20.0, 5.0
# A client that has come within so many seconds may not have had the time to say anything.
NEW = 1.0
# Bytes: requests on their way take up to ROOM of one process, then the oldest has to go.
ROOM = 64 * 1024 * 1024
# How often the master hears that a worker lives, in seconds; it waits for 30.
TELL = 1.0
# With no more file descriptors, the door is shut for so long; connections wait in the kernel's queue.
REST = 0.2
# For so long a thread that has answered waits for the next request of a client that has been as quick before, and
# takes it in up to so many parts, each of which may take as long.
BRISK, PARTS = 0.002, 8
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# How gunicorn is told that a connection stays open.
_STAYS: Future[bool] = Future()
_STAYS.set_result(True)
_NOBODY = (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK, errno.EINVAL)


class Worker(ThreadWorker):  # type: ignore[misc]
    """
    gunicorn's thread worker for a service that stands in the open.

    ``pending_conns`` are clients that have said nothing yet, ``keepalived_conns`` those that may say more,
    ``arriving`` those of whose request a part is there, and ``leaving`` those that were answered and have not hung up:
    each in the order in which their time will be up.
    """

    def get_thread_pool(self) -> Pool[Connection]:
        """Return the threads for requests. Without room for them the worker ends, and at its start the service."""
        try:
            return Pool(self.cfg.threads, self._answer)
        except RuntimeError:
            if self.age <= self.cfg.workers:
                raise
            _log.critical("server", extra={"fields": {"event": "server", "what": "no room for threads"}})
            # Not gunicorn's code for "cannot begin", by which those that do answer would be ended too.
            raise SystemExit(1) from None

    def enqueue_req(self, conn: Connection) -> None:
        """Give a request that is there as a whole a thread."""
        self.tpool.submit(conn)

    def init_process(self) -> None:
        """Keep one file descriptor back, to be able to say that there are no more."""
        self._spare, self._rests_until = os.open(os.devnull, os.O_RDONLY), 0.0
        self.arriving: dict[Connection, None] = {}
        self.leaving: dict[Connection, None] = {}
        self._held, self._told = 0, 0.0
        wsgi.Response = Answer
        # As plain attributes: gunicorn looks for a setting 22 times in a request, and by __getattr__ that takes 1 us.
        self.cfg.__dict__.update({name: setting.get() for name, setting in self.cfg.settings.items()})
        super().init_process()

    def notify(self) -> None:
        """Tell the master that this process lives: once a second is enough, gunicorn would after every event."""
        now = time.monotonic()
        if now - self._told >= TELL:
            self._told = now
            super().notify()

    # --- the door ---------------------------------------------------------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        """Let a client in."""
        try:
            client, address = listener.accept()
        except OSError as problem:
            if problem.errno in _FULL:
                self._turn_away(listener)
            elif problem.errno not in _NOBODY:
                raise
            return
        if self._spare < 0:
            self._keep_spare()
        self.nr_conns += 1
        conn = Connection(self.cfg, client, address, listener.getsockname())
        conn.timeout = time.monotonic() + SPEAK
        self.pending_conns.append(conn)
        self.poller.register(client, EVENT_READ, partial(self._first_bytes, conn, self.pending_conns))

    def _turn_away(self, listener: socket.socket) -> None:
        """Answer one client with 503 by means of the spare descriptor, and shut the door for a moment."""
        spare, self._spare = self._spare, -1
        if spare >= 0:
            os.close(spare)
        with suppress(OSError):
            client, _ = listener.accept()
            with client:
                say_busy(client)
        self._keep_spare()
        self._rests_until = time.monotonic() + REST

    def _keep_spare(self) -> None:
        with suppress(OSError):  # another thread may have been quicker: then later
            self._spare = os.open(os.devnull, os.O_RDONLY)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Open or shut the door; where all places are taken, the client that matters least makes room."""
        if not enabled and self.alive and self._rests_until < time.monotonic():
            enabled = self._make_room()
        super().set_accept_enabled(enabled and self._rests_until < time.monotonic())

    def _make_room(self) -> bool:
        """Let one client go: one that says nothing, else who has its answer, else whose request takes longest."""
        known = time.monotonic() + SPEAK - NEW
        if self.keepalived_conns and self.keepalived_conns[0].is_silent:
            self._drop(self.keepalived_conns.popleft())
        elif self.pending_conns and self.pending_conns[0].timeout < known and self.pending_conns[0].is_silent:
            self._drop(self.pending_conns.popleft())
        elif self.leaving:
            self._close(next(iter(self.leaving)))
        elif self.arriving:
            oldest = next(iter(self.arriving))
            self._refuse(oldest)
            self._last_bytes(oldest, oldest.sock)  # unread, they would cut off the refusal
            self._close(oldest)
        else:
            return False
        return True

    def _drop(self, conn: Connection) -> None:
        if conn.is_gone:
            return
        conn.is_gone = True
        self._held -= conn.held
        with suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def _close(self, conn: Connection) -> None:
        self.leaving.pop(conn, None)
        self._drop(conn)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for something to do; not long where the door is shut for a moment only."""
        if self.alive and not self._accepting:
            if self.nr_conns >= self.worker_connections:
                self.set_accept_enabled(False)  # gunicorn tries once only, and nobody may have been silent then
            timeout = REST
        super().wait_for_and_dispatch_events(timeout)

    def _cap_keepalive(self, deadline: float) -> None:
        """Stop: whoever stands at the door is let in before it is shut for good."""
        if self.app.stopping():
            for listener in self.sockets:
                self._let_in_all(listener)
        super()._cap_keepalive(deadline)
        for conn in (*self.pending_conns, *self.leaving):
            conn.timeout = min(conn.timeout, deadline)

    def _let_in_all(self, listener: socket.socket) -> None:
        while True:
            before = self.nr_conns
            self.accept(listener)
            if self.nr_conns == before:
                break
        # For all workers, in this moment: a client that comes later is refused, and knows that it was not heard.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RD)

    # --- a request arrives ------------------------------------------------------------------------------------------

    def _first_bytes(self, conn: Connection, silent: Any, client: socket.socket) -> None:
        """Take the first bytes of a request from a client that was silent until now."""
        try:
            silent.remove(conn)
        except ValueError:
            return  # it made room in this very moment
        if silent is self.keepalived_conns:
            conn.is_brisk = conn.timeout - time.monotonic() > self.cfg.keepalive - BRISK
        self._begins(conn)
        self.poller.modify(client, EVENT_READ, partial(self._more_bytes, conn))
        self._more_bytes(conn, client)

    def on_client_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """Take the first bytes of a further request (gunicorn's finish_request registers this)."""
        self._first_bytes(conn, self.keepalived_conns, client)

    def _begins(self, conn: Connection) -> None:
        conn.timeout = time.monotonic() + WHOLE
        self.arriving[conn] = None

    def _goes_on(self, conn: Connection, have: bytes = b"") -> None:
        """Begin with a request of which a part is there: in ``have`` with the one before it, or held already."""
        conn.sock.setblocking(False)
        self._begins(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self._more_bytes, conn))
        self._held += conn.held
        if have:
            self._take(conn, have)
        elif conn.odd:
            self._refuse(conn)

    def _more_bytes(self, conn: Connection, client: socket.socket) -> None:
        """Take what has arrived, without waiting; but from who had to go since the news of it came, nothing."""
        if conn not in self.arriving:
            return
        try:
            self._take(conn, client.recv(conn.wants))
        except (BlockingIOError, InterruptedError):
            pass
        except MemoryError:
            self._refuse(conn)
        except OSError:
            self._forget(conn)

    def _take(self, conn: Connection, more: bytes) -> None:
        before = conn.held
        whole = conn.receive(more)
        self._held += conn.held - before
        if conn.odd:
            self._refuse(conn)
        elif whole or (conn.body and not more):
            self._whole(conn)  # also where it ends early: the client may have half hung up, and is told
        elif not more:
            self._forget(conn)
        elif self._held > ROOM:
            self._refuse(next(iter(self.arriving)))

    def _whole(self, conn: Connection) -> None:
        """Give a request its thread."""
        del self.arriving[conn]
        self._held -= conn.held
        self.poller.unregister(conn.sock)
        self.enqueue_req(conn)

    def _forget(self, conn: Connection) -> None:
        self.arriving.pop(conn, None)
        self._drop(conn)

    def _refuse(self, conn: Connection) -> None:
        """Tell a client that there is no room for its request, or that it is none."""
        odd = conn.odd
        self.arriving.pop(conn, None)
        self._held -= conn.held
        conn.drop()
        with suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        if odd:
            _say_odd(conn.sock, odd)
        else:
            say_busy(conn.sock)
        self._part(conn)

    def murder_pending(self) -> None:
        """Close what has been silent for too long, and what is too slow."""
        super().murder_pending()
        now = time.monotonic()
        while self.arriving and (slowest := next(iter(self.arriving))).timeout <= now:
            self._forget(slowest)
        while self.leaving and (slowest := next(iter(self.leaving))).timeout <= now:
            self._close(slowest)

    # --- a request is answered --------------------------------------------------------------------------------------

    def _answer(self, conn: Connection) -> None:
        """
        Answer a request, and those that follow at once, in a thread of the pool; then the door goes on with it.

        To hand a connection to the door and back takes 0.07 ms of CPU, a third of what reading a body does.
        """
        stays = self._answer_one(conn)
        while stays and self._next_is_there(conn):
            stays = self._answer_one(conn)
        self.method_queue.defer(self._answered, conn, stays)

    def _answer_one(self, conn: Connection) -> bool:
        try:
            return bool(self.handle(conn))
        except BaseException as problem:  # noqa: BLE001 - the thread has to live on, whatever ends a call
            _log.error("server", extra={"fields": {"event": "server", "kind": type(problem).__name__}})
            return False

    def _next_is_there(self, conn: Connection) -> bool:
        """Wait a moment for the next request of a client that is quick; a part of one is for the door to complete."""
        if not (conn.is_brisk and self.alive and self.tpool.idle) or conn.parser.unreader.buf.getvalue():
            return False
        try:
            conn.sock.settimeout(BRISK)
            for _ in range(PARTS):
                more = conn.sock.recv(conn.wants)
                if not more:
                    break
                if conn.receive(more):
                    conn.timeout = time.monotonic() + WHOLE
                    return not conn.odd
        except (OSError, MemoryError):
            conn.is_brisk = False
        return False

    def handle(self, conn: Connection) -> Any:
        """Answer one request of a connection."""
        try:
            conn.begin()
            return super().handle(conn)
        except MemoryError:
            say_busy(conn.sock)
            return False

    def handle_request(self, req: Any, conn: Connection) -> Any:
        """Bound how long an answer may take to be taken, then answer."""
        conn.sock.settimeout(TAKE)
        conn.hand_over(req)
        return super().handle_request(req, conn)

    def _keepalive_after(self, conn: Connection, keepalive: Any) -> bool:
        """Say whether the connection goes on; if so, of this request nothing is to come (``Answer.should_close``)."""
        if keepalive:
            conn.given = conn.parser.mesg = None
        return bool(keepalive)

    def _answered(self, conn: Connection, stays: bool) -> None:
        """Keep the connection, or let it go; what came with the last request is the beginning of the next."""
        if not stays:
            self._part(conn)
        elif conn.held:
            self._goes_on(conn)
        elif rest := conn.parser.unreader.take_buffered():
            self._goes_on(conn, rest)
        else:
            self.finish_request(conn, _STAYS)

    def _part(self, conn: Connection) -> None:
        """Hang up, and wait for the client to (RFC 9112, 9.6): else what it still sends would cut off the answer."""
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, EVENT_READ, partial(self._last_bytes, conn))
        except (OSError, ValueError):
            self._drop(conn)
            return
        conn.timeout = time.monotonic() + LINGER
        self.leaving[conn] = None

    def _last_bytes(self, conn: Connection, client: socket.socket) -> None:
        """Read past what nobody wants to know; at the end, or where that is too much, close."""
        if conn not in self.leaving:
            return
        try:
            more = len(client.recv(PIECE))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            more = 0
        conn.length += more
        if not more or conn.length > MOST:
            self._close(conn)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """
        Answer what is not HTTP, or failed outside the application: in one shape, and without repeating anything.

        gunicorn's own answer quotes the request line, and its log the address with its query.
        """
        del req, addr
        if not isinstance(exc, ParseException):
            _log.error("server", extra={"fields": {"event": "server", "kind": type(exc).__name__, "status": 503}})
            say_busy(client)
            return
        _say_odd(client, type(exc))


def _say_odd(client: socket.socket, problem: type[ParseException]) -> None:
    status = status_of(problem)
    _log.info("refused", extra={"fields": {"event": "refused", "kind": problem.__name__, "status": status}})
    say_refused(client, status)
