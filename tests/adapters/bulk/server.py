"""A hospital's servers for an export, on sockets of this machine: FHIR, authorization and files; each may misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import msgspec

CLIENT = "screening-client"
Reply = tuple[int, dict[str, str], bytes]


class Hospital:
    """
    What the servers hold, and how they behave; tests change both.

    ``script`` holds replies that are given before the usual ones, by path.
    """

    def __init__(self, public: Any, algorithm: str) -> None:
        self.base = self.files_at = ""
        self.public, self.algorithm = public, algorithm
        self.files: dict[str, bytes] = {}
        self.errors: dict[str, bytes] = {}
        self.script: dict[str, list[Reply]] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.tokens: list[str] = []
        self.assertions: list[dict[str, Any]] = []
        self.valid: set[str] = set()
        self.needs_token = self.files_need_token = True
        self.expires_in = 300
        self.token_endpoint = self.status = ""

    def paths(self, method: str = "GET") -> list[str]:
        """Return the paths that were asked for, in their order."""
        return [urlsplit(target).path for asked, target, _ in self.asked if asked == method]

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        self.asked.append((method, target, headers))
        path = urlsplit(target).path
        if self.script.get(path):
            return self.script[path].pop(0)
        if path.endswith("/.well-known/smart-configuration"):
            return as_json({"token_endpoint": self.token_endpoint, "capabilities": ["permission-v2"]})
        if path == "/token":
            return self._token(parse_qs(body.decode()))
        is_file = path.startswith("/files/")
        needed = self.files_need_token if is_file else self.needs_token
        if needed and headers.get("authorization", "").removeprefix("Bearer ") not in self.valid:
            return 401, {}, b""
        if is_file:
            found = {**self.files, **self.errors}.get(path.removeprefix("/files/"))
            return (200, {"Content-Type": "application/fhir+ndjson"}, found) if found is not None else (404, {}, b"")
        return self._exporting(method, path)

    def _exporting(self, method: str, path: str) -> Reply:
        if path.endswith("/$export"):
            return 202, {"Content-Location": self.status}, b""
        if path == "/status" and method == "DELETE":
            return 202, {}, b""
        if path == "/status":
            return as_json(
                {
                    "transactionTime": "2026-03-01T00:00:00Z",
                    "requiresAccessToken": self.files_need_token,
                    "output": [self._listed(name) for name in self.files],
                    "error": [self._listed(name) | {"type": "OperationOutcome"} for name in self.errors],
                }
            )
        return 404, {}, b""

    def _listed(self, name: str) -> dict[str, str]:
        return {"type": name.partition(".")[0], "url": f"{self.files_at}/files/{name}?sig=a%2Fb&x=1"}

    def _token(self, form: dict[str, list[str]]) -> Reply:
        try:
            claims = jwt.decode(
                form["client_assertion"][0],
                self.public,
                [self.algorithm],
                audience=self.token_endpoint,
                issuer=CLIENT,
                options={"require": ["exp", "jti", "sub"]},
            )
        except (jwt.PyJWTError, KeyError):
            return 400, {}, b"{}"
        kept = {"scope": form["scope"][0], "type": form["client_assertion_type"][0], "grant": form["grant_type"][0]}
        self.assertions.append(claims | kept | jwt.get_unverified_header(form["client_assertion"][0]))
        token = f"token-{len(self.tokens)}"
        self.tokens.append(token)
        self.valid.add(token)
        return as_json({"access_token": token, "token_type": "bearer", "expires_in": self.expires_in})


def as_json(value: Any, status: int = 200, **headers: str) -> Reply:
    """Return a reply that is JSON."""
    return status, {"Content-Type": "application/json", **headers}, msgspec.json.encode(value)


def ndjson(*resources: Any) -> bytes:
    """Return resources as the lines of a file."""
    return "".join(json.dumps(one) + "\n" for one in resources).encode()


@contextmanager
def serving(answer: Callable[[str, str, dict[str, str], bytes], Reply]) -> Iterator[str]:
    """Serve on a free port; give the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            sent = {name.lower(): value for name, value in self.headers.items()}
            status, headers, raw = answer(self.command, self.path, sent, body)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(raw)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_DELETE = _do

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
