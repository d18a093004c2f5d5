"""One connection of a client: what of its request has arrived, when it is there as a whole, and short answers."""

from __future__ import annotations

import errno
import re
import socket
import time
from contextlib import suppress
from functools import lru_cache
from io import BytesIO
from typing import Any, ClassVar

from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.http.body import ChunkedReader  # type: ignore[import-untyped]
from gunicorn.http.errors import (  # type: ignore[import-untyped]
    InvalidChunkSize,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
)
from gunicorn.http.message import Request  # type: ignore[import-untyped]
from gunicorn.http.unreader import IterUnreader, SocketUnreader  # type: ignore[import-untyped]
from gunicorn.http.wsgi import Response  # type: ignore[import-untyped]
from gunicorn.workers.gthread import TConn  # type: ignore[import-untyped]

# How long an answer may take to be taken, in seconds.
TAKE = 10.0
# Bytes: headers; the line before a chunk; a request; what is taken at once.
HEAD, LINE, MOST, PIECE = 64 * 1024, 1024, 9 * 1024 * 1024, 1024 * 1024
# So much of a body in chunks is read past for the next request, in bytes.
SKIPPED = 64 * 1024
# Of so many clients it is known whether they are trusted proxies.
ADDRESSES = 1_000
_END, _CONTINUE = b"\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*0*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Type: application/json\r\n"
    b"Cache-Control: no-store\r\nContent-Length: %d\r\n\r\n%b"
)
_OUTCOME = b'{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"%b","details":{"text":"%b"}}]}'
_REFUSALS = {
    400: (b"Bad Request", b"structure", b"This is not HTTP as the service understands it."),
    414: (b"URI Too Long", b"too-long", b"The address is too long."),
    431: (b"Request Header Fields Too Large", b"too-long", b"The headers are too long."),
}


def say_busy(client: socket.socket) -> None:
    """Answer 503 without waiting, for a client that gets no thread."""
    said = _OUTCOME % (b"transient", b"The service has no room for this request now.")
    with suppress(OSError):
        client.setblocking(False)
        client.send(_BUSY % (len(said), said))


def status_of(problem: type[ParseException]) -> int:
    """Return the status of an answer to what is not HTTP."""
    return 414 if issubclass(problem, LimitRequestLine) else 431 if issubclass(problem, LimitRequestHeaders) else 400


def say_refused(client: socket.socket, status: int) -> None:
    """Answer what is not HTTP in the shape of all refusals, without waiting for who takes no answers."""
    reason, code, text = _REFUSALS[status]
    said = _OUTCOME % (code, text)
    with suppress(OSError):
        client.setblocking(False)
        client.send(
            b"HTTP/1.1 %d %b\r\nConnection: close\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
            b"X-Content-Type-Options: nosniff\r\nContent-Length: %d\r\n\r\n%b" % (status, reason, len(said), said)
        )


class Unhurried(SocketUnreader):  # type: ignore[misc] # gunicorn has no types
    """What a client sends, read up to a moment: then the client counts as gone, however it drips."""

    until = 0.0

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next bytes. Raises ConnectionResetError where they come too late."""
        left = self.until - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError  # noqa: TRY301 - the same end as a time-out of the socket
            self.sock.settimeout(left)
            found: bytes = super().chunk(size_hint)
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "too slow") from None
        finally:
            self.sock.settimeout(TAKE)
        return found


class Asked(Request):  # type: ignore[misc] # gunicorn has no types
    """A request; whether its sender is a proxy that is trusted is found out once for each address."""

    _trusted: ClassVar[dict[str, bool]] = {}

    def _peer_is_trusted_proxy(self) -> bool:
        address = self.peer_addr[0]
        known = self._trusted.get(address)
        if known is None:
            if len(self._trusted) >= ADDRESSES:
                self._trusted.clear()
            known = self._trusted[address] = bool(super()._peer_is_trusted_proxy())
        return known


def is_taken(body: Any) -> bool:
    """
    Say whether a body has left its connection, whether or not somebody has read it.

    One that came in chunks has where its reader meets the end: what is there of it is read, up to SKIPPED bytes. One
    of known length has where nothing is lacking.
    """
    if type(body) is BytesIO:
        return True
    if isinstance(body.reader, ChunkedReader):
        with suppress(OSError, ParseException):
            body.read(SKIPPED)
        return body.reader.parser is None
    return getattr(body.reader, "length", 1) == 0 and not body.failed


class Answer(Response):  # type: ignore[misc] # gunicorn has no types
    """
    An answer that leaves in one piece: one system call for us, and the client wakes up once.

    It says truly whether the connection goes on: not where some of the request is still to come, which is not waited
    for.
    """

    def should_close(self) -> bool:
        """Say whether the connection ends with this answer; once it does that stays so."""
        if not self.must_close and not is_taken(self.req.body):
            self.force_close()
        return bool(super().should_close())

    def write(self, arg: bytes) -> None:
        """Send headers and body together where this is all of the body; else one after the other."""
        if self.headers_sent or self.response_length != len(arg) or self._omits_body or self.upgrade:
            super().write(arg)
            return
        (major, minor), stays = self.req.version, "close" if self.should_close() else "keep-alive"
        head = (
            f"HTTP/{major}.{minor} {self.status}\r\nServer: {self.version}\r\n"
            f"Date: {_date(int(time.time()))}\r\nConnection: {stays}\r\n"
        )
        head += "".join([f"{name}: {value}\r\n" for name, value in self.headers])
        self.headers_sent: bool = True
        self.sent = len(arg)
        util.write(self.sock, f"{head}\r\n".encode("latin-1") + arg)


@lru_cache(maxsize=2)
def _date(moment: int) -> str:
    """Word a moment as HTTP does, once a second."""
    said: str = util.http_date(moment)
    return said


class Connection(TConn):  # type: ignore[misc]
    """
    A connection, and what of its next request is there already: so many bytes are ``held``.

    ``arrived`` is the head of a request, with its body where that comes in chunks or not at all; ``pieces`` are those
    of a body whose length is known. ``odd`` says why no request will ever come of it.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._clear()
        self.data_ready = True
        # What the application reads; whether the last request came as soon as the one before it was answered.
        self.given: BytesIO | None = None
        self.is_brisk, self.is_gone = True, False

    def _clear(self) -> None:
        self.arrived, self.pieces = bytearray(), list[bytes | memoryview]()
        self.held, self.body, self.length, self.chunk = 0, 0, 0, 0
        self.odd: type[ParseException] | None = None

    def drop(self) -> None:
        """Let go of what has arrived."""
        self._clear()

    @property
    def is_silent(self) -> bool:
        """Whether nothing of a request is there, though nobody may have looked yet."""
        try:
            return not self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:
            return True  # it would have to wait, or the client is gone

    @property
    def wants(self) -> int:
        """How many bytes to take at once: of a body of known length no more than is lacking."""
        return min(PIECE, self.body + self.length - self.held) if self.pieces else PIECE

    def receive(self, more: bytes) -> bool:
        """
        Take some bytes of a request; say whether it is there as a whole, or so odd that no more of it is waited for.

        This only decides when a thread looks at it: what a request is, the parser decides. A thread would wait for
        the rest of what is odd.
        """
        self.held += len(more)
        if self.pieces:
            self.pieces.append(more)
        elif self.body:
            self.arrived += more
        elif not self._reads_head(more):
            return self.held > HEAD and self._is_odd(LimitRequestHeaders)
        if self.held > MOST:
            return True
        return self._chunks_end() if self.chunk else self.held >= self.body + self.length

    def _is_odd(self, problem: type[ParseException]) -> bool:
        """Find what the parser has against the head, if anything, before what was found here."""
        try:
            Asked(self.cfg, IterUnreader([bytes(self.arrived[: self.body or None])]), self.client)
        except ParseException as earlier:
            problem = type(earlier)
        except (OSError, StopIteration):
            pass  # it would wait for more
        self.odd = problem
        return True

    def _reads_head(self, more: bytes) -> bool:
        """Look for the end of the head; say whether it is there."""
        searched, found = max(0, len(self.arrived) - 3), more
        if self.arrived:
            self.arrived += more
            found = bytes(self.arrived)
        end = found.find(_END, searched)
        if end < 0:
            self.arrived = self.arrived or bytearray(more)
            return False
        head = found[: end + 2]
        if _EXPECT.search(head):
            head = _EXPECT.sub(b"", head)
            with suppress(OSError):
                self.sock.send(_CONTINUE)
        self._read_head(head + b"\r\n", memoryview(found)[end + 4 :])
        return True

    def _read_head(self, head: bytes, rest: memoryview) -> None:
        self.body, length = len(head), _LENGTH.search(head)
        self.held = self.body + len(rest)
        self.chunk = self.body if _CHUNKED.search(head) else 0
        self.length = int(length[1]) if length else 0
        if self.length > MOST:
            self.length = 0  # it will be refused for its size, unread
        self.arrived = bytearray(head)
        if self.length and not self.chunk:
            self.pieces = [rest]
        else:
            self.arrived += rest

    def _chunks_end(self) -> bool:
        """Go from chunk to chunk (RFC 9112, 7.1) as far as they are there; ``chunk`` is where the next one begins."""
        while self.chunk < len(self.arrived):
            end = self.arrived.find(b"\r\n", self.chunk)
            if end < 0:
                return len(self.arrived) - self.chunk > LINE and self._is_odd(InvalidChunkSize)
            try:
                size = int(self.arrived[self.chunk : end].partition(b";")[0], 16)
            except ValueError:
                return self._is_odd(InvalidChunkSize)
            if size <= 0:
                ended = self.arrived.find(_END, end) >= 0
                return ended or (len(self.arrived) - end > HEAD and self._is_odd(LimitRequestHeaders))
            self.chunk = end + 2 + size + 2
        return False

    def begin(self) -> None:
        """Hand what has arrived to the parser, in the thread of the request; a whole body follows (``hand_over``)."""
        if not self.initialized:
            self.init()
            self.parser.unreader, self.parser.mesg_class = Unhurried(self.sock), Asked
        self.whole, rest = b"", b""
        if self.pieces:
            sent = b"".join(self.pieces)
            if len(sent) >= self.length:
                self.whole, rest = sent[: self.length], sent[self.length :]
            else:
                self.arrived += sent
        self.parser.unreader.unread(bytes(self.arrived))
        # The rest of more than any request may hold is not waited for.
        self.parser.unreader.until, self.rest = 0.0 if self.held > MOST else self.timeout, rest
        self._clear()

    def hand_over(self, request: Any) -> None:
        """Give a request that was parsed its body; one of which the parser knows another length is left to it."""
        self.given = None
        if not self.whole:
            return
        if getattr(request.body.reader, "length", None) == len(self.whole):
            self.given, self.whole = BytesIO(self.whole), b""
            request.body = self.given
        if self.whole or self.rest:
            self.parser.unreader.unread(self.whole + self.rest)

    def close(self, graceful: bool = False) -> None:
        """Close at once: gunicorn would wait for the client, in the thread of the door."""
        del graceful
        util.close(self.sock)
