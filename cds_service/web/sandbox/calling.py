"""How the sandbox calls the service: through its own addresses, as the bytes of an HTTP request, and only so."""

from __future__ import annotations

import zlib
from io import BytesIO
from time import perf_counter
from typing import Any

import msgspec
from flask import current_app, request
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from cds_service import decoding
from cds_service.protocol.caller import Caller
from cds_service.web.door import DECIDED

JSON = "application/json"
# Who the sandbox is to a door that asks for tokens: it holds no key, and needs none, being part of the service.
SANDBOX = Caller(issuer="sandbox")


class Call(msgspec.Struct, frozen=True):
    """
    One call of the service: what the clinician did, the address, what was sent, what came back, how long it took.

    Bodies are kept compressed.
    """

    number: int
    hook: str
    path: str
    about: str
    status: int
    milliseconds: float
    packed_request: bytes
    packed_answer: bytes

    @property
    def service(self) -> str:
        """The id of the service that was called."""
        return self.path.split("/")[2]

    @property
    def request(self) -> bytes:
        """The body that was sent."""
        return zlib.decompress(self.packed_request)

    @property
    def answer(self) -> bytes:
        """The body that came back."""
        return zlib.decompress(self.packed_answer)


def get(path: str) -> Any:
    """Read a JSON document of the service; None where there is none."""
    status, body, _ = _send("GET", path, b"")
    return decoded(body) if status == 200 else None


def post(number: int, hook: str, path: str, about: str, document: Any) -> Call:
    """Send a JSON document to the service."""
    raw = msgspec.json.encode(document)
    status, body, milliseconds = _send("POST", path, raw)
    return Call(number, hook, path, about, status, milliseconds, zlib.compress(raw, 1), zlib.compress(body, 1))


def decoded(body: bytes) -> Any:
    """Return what a JSON body says; None where it is none."""
    try:
        return decoding.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _send(method: str, path: str, raw: bytes) -> tuple[int, bytes, float]:
    """Send one request through the whole application, as a server would hand it over."""
    builder = EnvironBuilder(path, base_url=request.host_url, method=method, headers=Headers({"Accept": JSON}))
    if raw:
        builder.input_stream, builder.content_type, builder.content_length = BytesIO(raw), JSON, len(raw)
    environ = builder.get_environ()
    environ["REMOTE_ADDR"] = request.remote_addr or ""
    environ[DECIDED] = SANDBOX
    started = perf_counter()
    pieces, status, _ = run_wsgi_app(current_app.wsgi_app, environ, buffered=True)
    answer = b"".join(pieces)
    return int(status.split()[0]), answer, (perf_counter() - started) * 1000
