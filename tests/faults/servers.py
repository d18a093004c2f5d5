"""
Servers that misbehave, on real sockets of this machine.

A ``Server`` gives each connection a thread of its own and a function that says what to do with it. ``answering`` makes
such a function from another that turns requests into replies; the others hang, drip, break off or talk nonsense.
"""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from cds_service.adapters.ehr import LocalRecord

FHIR_JSON = "application/fhir+json"


class Asked(msgspec.Struct, frozen=True):
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]


class Reply(msgspec.Struct):
    """One answer: ``body`` is sent as JSON unless it is bytes."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = {}
    kind: str = FHIR_JSON
    after: float = 0.0

    def written(self) -> bytes:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        lines = {"Content-Type": self.kind, "Content-Length": str(len(body)), **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"HTTP/1.1 {self.status} Whatever\r\n{head}\r\n".encode() + body


class Talk:
    """One connection of a server."""

    def __init__(self, server: Server, connection: socket.socket) -> None:
        self.server, self.socket = server, connection
        self._read = b""

    def asked(self) -> Asked | None:
        """Return the next request, None where the client went away."""
        while b"\r\n\r\n" not in self._read:
            piece = self.socket.recv(65_536)
            if not piece:
                return None
            self._read += piece
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        asked = Asked(method, target, headers)
        self.server.asked.append(asked)
        return asked

    def send(self, raw: bytes) -> None:
        self.socket.sendall(raw)

    def wait(self, seconds: float = 60.0) -> bool:
        """Wait, but not longer than the server lives; say whether it still lives."""
        return not self.server.over.wait(seconds)


Behaviour = Callable[[Talk], None]


class Server:
    """A TCP server on a free port. ``asked`` are the requests that came, ``connections`` how many connections did."""

    def __init__(self, behaviour: Behaviour, host: str = "127.0.0.1", wrap: Any = None) -> None:
        self.behaviour, self.asked, self.connections = behaviour, list[Asked](), 0
        self.over, self._wrap = threading.Event(), wrap
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.socket(family, socket.SOCK_STREAM)
        self._listening.bind((host, 0))
        self._listening.listen(256)
        self.port = self._listening.getsockname()[1]
        self.base = f"http{'s' if wrap else ''}://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            self._start(partial(self._serve, connection))

    def _serve(self, connection: socket.socket) -> None:
        used = connection
        with suppress(OSError, ValueError):
            if self._wrap:
                used = self._wrap(connection)
                self._open.add(used)
            self.behaviour(Talk(self, used))
        self._open -= {connection, used}
        used.close()
        connection.close()

    @property
    def paths(self) -> list[str]:
        return [one.target for one in self.asked]

    def stop(self) -> None:
        self.over.set()
        for one in (self._listening, *tuple(self._open)):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(5)


@contextmanager
def running(behaviour: Behaviour, host: str = "127.0.0.1", wrap: Any = None) -> Iterator[Server]:
    server = Server(behaviour, host, wrap)
    try:
        yield server
    finally:
        server.stop()


# --- behaviours ------------------------------------------------------------------------------------------------------


def answering(route: Callable[[Asked], Reply | Behaviour]) -> Behaviour:
    """Answer requests, several on one connection; a route may also hand over to another behaviour."""

    def talk(talk: Talk) -> None:
        while (asked := talk.asked()) is not None:
            reply = route(asked)
            if not isinstance(reply, Reply):
                return reply(talk)
            if reply.after:
                talk.wait(reply.after)
            talk.send(reply.written())
        return None

    return talk


def once_asked(then: Behaviour) -> Behaviour:
    """Read a request, and then misbehave."""

    def talk(talk: Talk) -> None:
        if talk.asked() is not None:
            then(talk)

    return talk


def hang(talk: Talk) -> None:
    talk.wait()


def headers_then_silence(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: 100\r\n\r\n{")
    talk.wait()


def _drip(talk: Talk, raw: bytes, every: float) -> None:
    for byte in raw:
        if not talk.wait(every):
            return
        talk.send(bytes([byte]))


def drip_headers(talk: Talk) -> None:
    _drip(talk, b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1000, 0.1)


def drip_status_line(talk: Talk) -> None:
    _drip(talk, b"HTTP/1.1 200 " + b"x" * 1000, 0.1)


def drip_body(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: 5000\r\n\r\n")
    _drip(talk, b'{"resourceType":"Bundle"' + b" " * 1000, 0.1)


def drip_chunks(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nTransfer-Encoding: chunked\r\n\r\n")
    _drip(talk, b"1\r\n{\r\n" + b"1\r\n \r\n" * 200, 0.05)


def endless_continue(talk: Talk) -> None:
    while not talk.server.over.is_set():
        talk.send(b"HTTP/1.1 100 Continue\r\n\r\n")


def endless_headers(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\n")
    while not talk.server.over.is_set():
        talk.send(b"X-More: " + b"y" * 4000 + b"\r\n")


def endless_body(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nConnection: close\r\n\r\n")
    talk.send(b'{"resourceType":"Bundle","entry":[')
    while not talk.server.over.is_set():
        talk.send(b'{"resource":{"resourceType":"Basic"}},' * 1000)


def reset(talk: Talk) -> None:
    talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    talk.socket.close()


def reset_in_the_body(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: 5000\r\n\r\n{")
    reset(talk)


def says(raw: bytes) -> Behaviour:
    """Say something that need not be HTTP, and close."""
    return lambda talk: talk.send(raw)


def bomb(size: int = 200 * 1024 * 1024) -> Reply:
    """Return a small answer that unfolds into a large one."""
    packed = gzip.compress(b'{"resourceType":"Bundle","x":"' + b"a" * size + b'"}', 1)
    return Reply(packed, headers={"Content-Encoding": "gzip"})


# --- an ordinary FHIR server -----------------------------------------------------------------------------------------


def fhir(*records: LocalRecord, path: str = "/fhir", page: int | None = None) -> Callable[[Asked], Reply]:
    """
    Answer as a FHIR server would, from records in memory; ``page`` is how many resources it puts on a page.

    It reads the patient from the query, as FHIR servers do, so that whoever mixes patients up is found out.
    """
    by_id = {record.patient_id: record for record in records}

    def answer(asked: Asked) -> Reply:
        target = urlsplit(asked.target)
        if not target.path.startswith(f"{path}/"):
            return not_found()
        kind, _, identifier = target.path.removeprefix(f"{path}/").partition("/")
        query = dict(parse_qsl(target.query))
        start = int(query.pop("_offset", 0))
        record = by_id.get(identifier or query.get("patient", ""))
        if record is None:
            return not_found()
        if identifier:
            found = record.answer(f"{kind}/{identifier}", {})
            return Reply(found) if found else not_found()
        searched = "&".join(f"{name}={value}" for name, value in query.items())
        return Reply(_paged(record, f"{kind}?{searched}", asked, start, page))

    return answer


def _paged(record: LocalRecord, url: str, asked: Asked, start: int, page: int | None) -> dict[str, Any]:
    bundle = record.answer(url, {}) or {}
    if page is None:
        return bundle
    matched = [one for one in bundle.get("entry", ()) if one["search"]["mode"] == "match"]
    included = [one for one in bundle.get("entry", ()) if one["search"]["mode"] != "match"]
    shown = matched[start : start + page]
    base = f"http://{asked.headers['host']}"
    links = [{"relation": "self", "url": f"{base}{asked.target}"}]
    if start + page < len(matched):
        rest = asked.target.partition("&_offset=")[0]
        links.append({"relation": "next", "url": f"{base}{rest}&_offset={start + page}"})
    made = bundle | {"total": len(matched), "link": links, "entry": shown + included}
    return made if made["entry"] else {name: value for name, value in made.items() if name != "entry"}


def not_found() -> Reply:
    return Reply(issue("not-found"), 404)


def issue(code: str = "exception") -> Mapping[str, Any]:
    return {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code}]}
