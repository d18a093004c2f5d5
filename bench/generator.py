"""What calls: over connections that stay open, one call after the other or at a given rate."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from itertools import count

import msgspec

from bench.hosts import Host


class Caller:
    """One connection of a client; opened anew where the server has closed it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._socket: socket.socket | None = None

    def call(self, request: bytes) -> tuple[int, bytes]:
        """Send one request and return status and body of its answer."""
        if self._socket is not None:
            try:
                return self._once(self._socket, request)
            except ConnectionError:
                self._socket.close()
        self._socket = socket.create_connection(("127.0.0.1", self.host.port), 60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._once(self._socket, request)

    def _once(self, client: socket.socket, request: bytes) -> tuple[int, bytes]:
        client.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += _some(client)
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        while len(body) < length:
            body += _some(client)
        return int(lines[0].split()[1]), body

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()


def _some(client: socket.socket) -> bytes:
    some = client.recv(1024 * 1024)
    if not some:
        raise ConnectionResetError
    return some


class Load(msgspec.Struct):
    """What came of a load: how long each call took, in seconds, and which statuses there were besides 200."""

    seconds: list[float] = []
    odd: list[int] = []
    took: float = 0.0

    def at(self, share: float) -> float:
        """Return the time that this share of the calls stayed below, in ms."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0

    @property
    def rate(self) -> float:
        """Calls a second."""
        return len(self.seconds) / self.took if self.took else 0.0


def load(host: Host, bodies: Sequence[bytes], seconds: float, connections: int = 1, rate: float = 0.0) -> Load:
    """
    Call for so many seconds: as fast as answers come, or ``rate`` times a second.

    At a rate, the time of a call counts from when it was due: a server that stalls cannot hide it.
    """
    found, tickets, began = Load(), count(), time.perf_counter()
    until = began + seconds

    def run() -> None:
        caller = Caller(host)
        while True:
            number = next(tickets)
            due = began + number / rate if rate else time.perf_counter()
            if due >= until:
                break
            request = host.request(bodies[number % len(bodies)])
            time.sleep(max(0.0, due - time.perf_counter()))
            sent = due if rate else time.perf_counter()
            status, _ = caller.call(request)
            found.seconds.append(time.perf_counter() - sent)
            found.odd += [] if status == 200 else [status]
        caller.close()

    threads = [threading.Thread(target=run) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.took = time.perf_counter() - began
    return found
