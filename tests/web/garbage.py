"""Makes calls, and prints what only the garbage collector finds after them: in a process where nothing else goes on."""

from __future__ import annotations

import gc
import json
import sys
from collections import Counter
from io import BytesIO
from typing import Any

from flask import Flask
from werkzeug.test import EnvironBuilder, run_wsgi_app

from cds_service.errors import Unavailable
from cds_service.web import Settings, create_app
from tests.build import NOW, SERVICE, body, condition, observation

CALLS = 5
DEEP = b'{"hook":"patient-view","extension":' + b"[" * 70 + b"]" * 70 + b"}"
JSON = {"Content-Type": "application/json"}
End = tuple[int, str, str, bytes, dict[str, str]]
ENDS: dict[str, End] = {
    "a card": (200, "POST", SERVICE, body(condition(), observation(value=8.1)), JSON),
    "not JSON": (400, "POST", SERVICE, b"{", JSON),
    "too deep": (400, "POST", SERVICE, DEEP, JSON),
    "a wrong hook": (400, "POST", SERVICE, body().replace(b"patient-view", b"order-sign"), JSON),
    "somebody else": (412, "POST", SERVICE, body(observation(subject={"reference": "Patient/else"})), JSON),
    "not JSON, says the header": (415, "POST", SERVICE, b"{}", {"Content-Type": "text/plain"}),
    "no such service": (404, "POST", "/cds-services/none", body(), JSON),
    "no such address": (404, "GET", "/none", b"", {}),
    "no such method": (405, "GET", SERVICE, b"", {}),
    "feedback": (400, "POST", f"{SERVICE}/feedback", b"{", JSON),
    "discovery": (200, "GET", "/cds-services", b"", {}),
}
TELL = f"{SERVICE}/feedback"
BUSY, NO_TOKEN, NO_TOKEN_TOLD, TOO_OFTEN = "no room", "no token", "no token for feedback", "too often"


def left_by(
    app: Flask, method: str, path: str, raw: bytes, headers: dict[str, str]
) -> tuple[list[int], dict[str, int]]:
    """Return how the calls ended, and what they left, by type."""
    ended = list[int]()

    def call() -> None:
        environ = EnvironBuilder(path=path, method=method, data=raw, headers=[*headers.items()]).get_environ()
        environ["wsgi.input"] = BytesIO(raw)
        answer, status, _ = run_wsgi_app(app, environ)
        b"".join(answer)
        ended.append(int(status.split()[0]))

    call()
    gc.collect()
    for _ in range(CALLS):
        call()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    found = Counter(type(one).__name__ for one in gc.garbage)
    gc.garbage.clear()
    return ended, found


def main() -> None:
    """Print the calls by name."""
    gc.disable()
    app = create_app(Settings(auth="none"), clock=NOW.timestamp)
    found: dict[str, Any] = {name: left_by(app, *end[1:]) for name, end in ENDS.items()}

    def busy(*_: Any) -> None:
        raise Unavailable("The service is busy.", slug="busy")

    app.extensions["cds"].answer = busy
    found[BUSY] = left_by(app, "POST", SERVICE, body(), JSON)
    locked = create_app(Settings(auth="jwt"), clock=NOW.timestamp)
    paced = create_app(Settings(auth="none"), clock=NOW.timestamp)
    paced.extensions["cds"].pace.rate = 1e-6
    left_by(paced, "POST", SERVICE, body(), JSON)  # the first is let in
    for name, one, path in ((NO_TOKEN, locked, SERVICE), (NO_TOKEN_TOLD, locked, TELL), (TOO_OFTEN, paced, SERVICE)):
        found[name] = left_by(one, "POST", path, body(), JSON)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
