"""
A call that was refused leaves nothing behind: its body goes with it, not when the garbage collector comes.

That collects after 50,000 objects (web/tuning.py); refused calls that wait for it kept 5 MB of bodies in a process.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder, run_wsgi_app

from cds_service.errors import Unavailable
from tests.build import SERVICE, body, condition, observation

CALLS = 5
DEEP = b'{"hook":"patient-view","extension":' + b"[" * 70 + b"]" * 70 + b"}"
JSON = {"Content-Type": "application/json"}
ENDS: dict[str, tuple[int, str, str, bytes, dict[str, str]]] = {
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


@pytest.fixture
def left(make_app: Callable[..., Flask]) -> Callable[..., tuple[list[int], Counter[str]]]:
    """Return what makes calls, and says what only the garbage collector finds after them, by type."""

    def ask(method: str, path: str, raw: bytes, headers: dict[str, str]) -> tuple[list[int], Counter[str]]:
        app, ended = make_app(), list[int]()

        def call() -> None:
            environ = EnvironBuilder(path=path, method=method, data=raw, headers=[*headers.items()]).get_environ()
            environ["wsgi.input"] = BytesIO(raw)
            answer, status, _ = run_wsgi_app(app, environ)
            b"".join(answer)
            ended.append(int(status.split()[0]))

        call()
        gc.collect()
        was = gc.isenabled()
        gc.disable()
        try:
            for _ in range(CALLS):
                call()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            return ended, Counter(type(one).__name__ for one in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            if was:
                gc.enable()

    return ask


@pytest.mark.parametrize("name", ENDS)
def test_a_call_leaves_no_garbage(left: Callable[..., Any], name: str) -> None:
    status, *request = ENDS[name]

    ended, found = left(*request)

    assert {status} == set(ended)
    held = {"frame", "traceback", "BytesIO", "Request", "dict", "bytes"}
    assert {} == {kind: many for kind, many in found.items() if kind in held}
    assert 10 * CALLS >= found.total()


def test_a_call_for_which_there_is_no_room_leaves_none(
    left: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: Any) -> None:
        raise Unavailable("The service is busy.", slug="busy")

    monkeypatch.setattr("cds_service.web.cds.Engine.answer", busy)
    ended, found = left("POST", SERVICE, body(), JSON)

    assert {503} == set(ended)
    assert not found.keys() & {"frame", "traceback", "BytesIO"}
