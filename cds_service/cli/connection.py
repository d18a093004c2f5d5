"""One connection of a client: what of its request has arrived, when it is there as a whole, and short answers."""

from __future__ import annotations

import errno
import re
import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.http.unreader import SocketUnreader  # type: ignore[import-untyped]
from gunicorn.workers.gthread import TConn  # type: ignore[import-untyped]

# How long an answer may take to be taken, in seconds.
TAKE = 10.0
# Bytes: headers; the line before a chunk; a request.
HEAD, LINE, MOST = 64 * 1024, 1024, 9 * 1024 * 1024
_END, _CONTINUE = b"\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)
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


def say_refused(client: socket.socket, status: int) -> None:
    """Answer what is not HTTP in the shape of all refusals."""
    reason, code, text = _REFUSALS[status]
    said = _OUTCOME % (code, text)
    with suppress(OSError):
        client.sendall(
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


class Connection(TConn):  # type: ignore[misc]
    """A connection, and what of its next request is there already."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.arrived, self.body, self.length, self.chunk = bytearray(), 0, 0, 0
        self.data_ready = True

    def receive(self, more: bytes) -> bool:
        """
        Take some bytes of a request; say whether it is there as a whole, or so odd that the parser shall refuse it.

        This only decides when a thread looks at it: what a request is, the parser decides.
        """
        searched = max(0, len(self.arrived) - 3)
        self.arrived += more
        if not self.body:
            end = self.arrived.find(_END, searched)
            if end < 0:
                return len(self.arrived) > HEAD
            self._read_head(end)
        if len(self.arrived) > MOST:
            return True
        return self._chunks_end() if self.chunk else len(self.arrived) >= self.body + self.length

    def _read_head(self, end: int) -> None:
        head = bytes(self.arrived[: end + 2])
        if _EXPECT.search(head):
            plain = _EXPECT.sub(b"", head)
            self.arrived[: end + 2] = plain
            end -= len(head) - len(plain)
            with suppress(OSError):
                self.sock.send(_CONTINUE)
        self.body, length = end + 4, _LENGTH.search(head)
        self.chunk = self.body if _CHUNKED.search(head) else 0
        self.length = int(length[1]) if length else 0
        if self.length > MOST:
            self.length = 0  # it will be refused for its size, unread

    def _chunks_end(self) -> bool:
        """Go from chunk to chunk (RFC 9112, 7.1) as far as they are there; ``chunk`` is where the next one begins."""
        while self.chunk < len(self.arrived):
            end = self.arrived.find(b"\r\n", self.chunk)
            if end < 0:
                return len(self.arrived) - self.chunk > LINE
            try:
                size = int(self.arrived[self.chunk : end].partition(b";")[0], 16)
            except ValueError:
                return True
            if size <= 0:
                return self.arrived.find(_END, end) >= 0 or len(self.arrived) - end > HEAD
            self.chunk = end + 2 + size + 2
        return False

    def begin(self) -> None:
        """Hand what has arrived to the parser, in the thread of the request."""
        if not self.initialized:
            self.init()
            self.parser.unreader = Unhurried(self.sock)
        self.parser.unreader.unread(bytes(self.arrived))
        self.parser.unreader.until = self.timeout
        self.arrived, self.body, self.length, self.chunk = bytearray(), 0, 0, 0

    def close(self, graceful: bool = False) -> None:
        """Close at once: gunicorn would wait for the client, in the thread of the door."""
        del graceful
        util.close(self.sock)
