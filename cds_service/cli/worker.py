"""gunicorn's threads, made to last: nobody who is slow, silent or gone keeps a thread or the door."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine  # type: ignore[import-untyped]
from gunicorn.http.unreader import SocketUnreader  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker, TConn  # type: ignore[import-untyped]

# Seconds. A client that has connected says something within SPEAK; its headers are there within HEADERS and the whole
# request within WHOLE of its first byte; it takes an answer within TAKE, and after it hangs up within LINGER.
SPEAK, HEADERS, WHOLE, TAKE, LINGER = 10.0, 10.0, 20.0, 10.0, 1.0
# With no more file descriptors, the door is shut for so long; connections wait in the kernel's queue.
REST = 0.2
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Type: application/json\r\n"
    b"Cache-Control: no-store\r\nContent-Length: %d\r\n\r\n%b"
)
_OUTCOME = (
    b'{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"%b","details":{"text":"%b"}}]}'
)
_REFUSALS = {
    400: (b"Bad Request", b"structure", b"This is not HTTP as the service understands it."),
    414: (b"URI Too Long", b"too-long", b"The address is too long."),
    431: (b"Request Header Fields Too Large", b"too-long", b"The headers are too long."),
}


class Unhurried(SocketUnreader):  # type: ignore[misc] # gunicorn has no types
    """What a client sends, read up to a moment: then the client counts as gone, however it drips."""

    until = 0.0

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next bytes. Raises ConnectionResetError where they come too late."""
        left = self.until - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self.sock.settimeout(left)
            found: bytes = super().chunk(size_hint)
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "too slow") from None
        finally:
            # From here on, until more is read, this bounds how long an answer may take to be taken.
            self.sock.settimeout(TAKE)
        return found


class Connection(TConn):  # type: ignore[misc]
    """A connection with moments by which its client must have done its part."""

    def begin(self) -> None:
        """Start the time for one request."""
        self.parser.unreader.until = time.monotonic() + HEADERS

    def init(self) -> None:
        """Make the parser read with patience, but not without end."""
        if not self.initialized:
            super().init()
            self.parser.unreader = Unhurried(self.sock)
        self.begin()

    def linger(self) -> None:
        """Close in good order, in the thread of the request: gunicorn would do it in the thread of the door."""
        util.close_graceful(self.sock, timeout=LINGER)

    def close(self, graceful: bool = False) -> None:
        """Close at once; what had to linger has done so."""
        del graceful
        util.close(self.sock)


class Pool(ThreadPoolExecutor):
    """A pool that makes do with the threads it has where the system gives no more."""

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()  # type: ignore[misc] # the method is there, the stubs do not say so
        except RuntimeError:
            if not self._threads:
                raise


class Worker(ThreadWorker):  # type: ignore[misc]
    """
    gunicorn's thread worker for a service that stands in the open.

    Measured (docs/operate.md): 60 clients that do not read their answers stop gunicorn's own worker for 10 s and more,
    however many threads it has, and so do 400 that say nothing.
    """

    def get_thread_pool(self) -> Pool:
        """Return the threads for requests."""
        return Pool(max_workers=self.cfg.threads, thread_name_prefix="call")

    def init_process(self) -> None:
        """Keep one file descriptor back, to be able to say that there are no more."""
        self._spare, self._rests_until = os.open(os.devnull, os.O_RDONLY), 0.0
        super().init_process()

    # --- the door ---------------------------------------------------------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        """Let a client in; it gets a thread only when it has said something."""
        try:
            client, address = listener.accept()
        except OSError as problem:
            if problem.errno in _FULL:
                self._turn_away(listener)
            elif problem.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        connection = Connection(self.cfg, client, address, listener.getsockname())
        connection.timeout = time.monotonic() + SPEAK
        self.pending_conns.append(connection)
        self.poller.register(client, EVENT_READ, partial(self.on_pending_socket_readable, connection))

    def _turn_away(self, listener: socket.socket) -> None:
        """Answer one client with 503 by means of the spare descriptor, and shut the door for a moment."""
        os.close(self._spare)
        with suppress(OSError):
            client, _ = listener.accept()
            with client:
                client.setblocking(False)
                said = _OUTCOME % (b"transient", b"The service has no room for more connections now.")
                client.send(_BUSY % (len(said), said))
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)
        self._rests_until = time.monotonic() + REST

    def set_accept_enabled(self, enabled: bool) -> None:
        """Open or shut the door; where all places are taken, the client that has been silent longest makes room."""
        if not enabled and self.alive and self._rests_until < time.monotonic():
            enabled = self._make_room()
        super().set_accept_enabled(enabled and self._rests_until < time.monotonic())

    def _make_room(self) -> bool:
        for silent in (self.pending_conns, self.keepalived_conns):
            if silent:
                self._drop(silent)
                return True
        return False

    def _drop(self, silent: deque[Connection]) -> None:
        connection = silent.popleft()
        with suppress(OSError, KeyError, ValueError):
            self.poller.unregister(connection.sock)
        self.nr_conns -= 1
        connection.close()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for something to do; not long where the door is shut for a moment only."""
        resting = self._rests_until > time.monotonic()
        super().wait_for_and_dispatch_events(REST if resting else timeout)

    def _cap_keepalive(self, deadline: float) -> None:
        """Stop: whoever stands at the door is let in before it is shut for good."""
        if self.app.stopping():
            for listener in self.sockets:
                self._let_in_all(listener)
        super()._cap_keepalive(deadline)

    def _let_in_all(self, listener: socket.socket) -> None:
        while True:
            before = self.nr_conns
            self.accept(listener)
            if self.nr_conns == before:
                break
        # For all workers, in this moment: a client that comes later is refused, and knows that it was not heard.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RD)

    # --- a request --------------------------------------------------------------------------------------------------

    def handle(self, conn: Connection) -> Any:
        """Answer one request of a connection, in a thread of the pool."""
        going_on = super().handle(conn)
        if not going_on:
            conn.linger()
        return going_on

    def handle_request(self, req: Any, conn: Connection) -> Any:
        """Give the body its time, then answer."""
        conn.parser.unreader.until += WHOLE - HEADERS
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """
        Answer what is not HTTP, or failed outside the application: in one shape, and without repeating anything.

        gunicorn's own answer quotes the request line, and its log the address with its query.
        """
        del req, addr
        status = 414 if isinstance(exc, LimitRequestLine) else 431 if isinstance(exc, LimitRequestHeaders) else 400
        self.log.info("refused: %s", type(exc).__name__)
        reason, code, text = _REFUSALS[status]
        said = _OUTCOME % (code, text)
        with suppress(OSError):
            client.sendall(
                b"HTTP/1.1 %d %b\r\nConnection: close\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
                b"X-Content-Type-Options: nosniff\r\nContent-Length: %d\r\n\r\n%b" % (status, reason, len(said), said)
            )
