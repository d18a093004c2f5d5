"""Load for a running service: good calls at a steady pace, and clients that mean no good. Used by tests and soak."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Any, Self
from urllib.parse import urlsplit

from tests import said
from tests.build import body, condition, observation, patient

PATH = "/cds-services/calcinosis-patient-view"
JSON = {"Content-Type": "application/json"}


def hook_call(**members: Any) -> bytes:
    """Return a call for a patient on dialysis with a high phosphate, dated now."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return body(patient(), condition(recordedDate="2020-01-01"), observation(effectiveDateTime=now), **members)


def address_of(url: str) -> tuple[str, int]:
    """Return host and port of a base URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


def post(url: str, raw: bytes, path: str = PATH, seconds: float = 20, named: str = "") -> tuple[int, bytes, float]:
    """Post once over a new connection; return status, body and how long it took."""
    since = time.monotonic()
    connection = http.client.HTTPConnection(*address_of(url), timeout=seconds)
    try:
        connection.request("POST", path, raw, {**JSON, "X-Request-Id": named} if named else JSON)
        answer = connection.getresponse()
        read = answer.read()
        if answer.status >= 400:
            said.keep(read.decode(errors="replace"))
        return answer.status, read, time.monotonic() - since
    finally:
        connection.close()


class Load:
    """
    Good calls at a steady pace, over kept-alive connections, until it is stopped.

    ``ended`` counts how calls ended: a status, "refused" (nobody listens: the call never began) or "lost" (the call
    was sent, and no answer came).
    """

    def __init__(self, url: str, rate: float = 50, clients: int = 5, raw: bytes | None = None) -> None:
        self.address, self.raw = address_of(url), raw or hook_call()
        self.ended: Counter[Any] = Counter()
        self.seconds: list[float] = []
        self.lost: list[str] = []
        self._pause, self._over = clients / rate, threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the load, after the calls that are under way."""
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def next_call(self) -> bytes:
        """Return the body of the next call."""
        return self.raw

    def answered(self, read: bytes) -> None:
        """Do something with an answer."""

    def _run(self, number: int) -> None:
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        self._over.wait(self._pause * number / len(self._threads))
        while not self._over.is_set():
            since = time.monotonic()
            self._call(connection)
            self._over.wait(max(0.0, self._pause - (time.monotonic() - since)))
        connection.close()

    def _call(self, connection: http.client.HTTPConnection) -> None:
        since = time.monotonic()
        if connection.sock is None:
            try:
                connection.connect()
            except OSError:
                self.ended["refused"] += 1
                connection.close()
                return
        try:
            connection.request("POST", PATH, self.next_call(), JSON)
            answer = connection.getresponse()
            read = answer.read()
            self.ended[answer.status] += 1
            self.answered(read)
            self.seconds.append(time.monotonic() - since)
        except (OSError, http.client.HTTPException) as problem:
            self.ended["lost"] += 1
            self.lost.append(f"{type(problem).__name__} after {time.monotonic() - since:.3f} s")
            connection.close()


class Hostile:
    """
    Clients that hold connections: "idle" says nothing, "headers" and "body" come byte by byte, "unread" never reads
    its answers, nor "metrics" those about metrics, "half" stops in the middle of a body, "chunks" in that of a chunk.
    """

    def __init__(self, url: str, kinds: dict[str, int]) -> None:
        self.sockets: list[tuple[str, socket.socket]] = []
        self._over = threading.Event()
        for kind, number in kinds.items():
            self.sockets += [(kind, _begin(url, kind)) for _ in range(number)]
        self._thread = threading.Thread(target=self._drip, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)
        for __, one in self.sockets:
            one.close()

    def _drip(self) -> None:
        while not self._over.wait(0.5):
            for kind, one in self.sockets:
                if kind in ("headers", "body"):
                    with suppress(OSError):
                        one.send(b"x")


_POST = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def _begin(url: str, kind: str) -> socket.socket:
    one = socket.create_connection(address_of(url), 5)
    with suppress(OSError):
        if kind == "headers":
            one.send(b"GET /cds-services HTTP/1.1\r\nHost: x\r\nX-A: ")
        elif kind in ("body", "half"):
            one.send(f'{_POST}Content-Length: 5000\r\n\r\n{{"hook"'.encode())
        elif kind == "chunks":
            one.send(f"{_POST}Transfer-Encoding: chunked\r\n\r\nffff\r\nabc".encode())
        elif kind in ("unread", "metrics"):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            path = "/metrics" if kind == "metrics" else "/cds-services"
            one.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    one.setblocking(False)
    return one
