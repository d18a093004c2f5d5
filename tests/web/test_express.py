"""The short road for hook calls: the same answers as the ordinary one, and nothing but answers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import Client, TestResponse

from cds_service.rules.book import RuleBook
from cds_service.web import Settings, create_app
from cds_service.web.express import Express
from tests.build import NOW, SERVICE, body, condition, observation

Make = Callable[..., Flask]
USUAL: dict[str, Any] = {"content_type": "application/json"}
ID = {"X-Request-Id": "call-1"}


@pytest.fixture
def fresh(book: RuleBook) -> Callable[[], Flask]:
    """Make applications that number their cards from the beginning."""

    def make() -> Flask:
        numbers = count()
        return create_app(Settings(auth="none"), book=book, clock=NOW.timestamp, new_id=lambda: f"id-{next(numbers)}")

    return make


@pytest.fixture
def flask_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count the calls that take the ordinary road."""
    taken: list[str] = []
    usual = Flask.full_dispatch_request

    def counted(self: Flask, *args: Any) -> Any:
        taken.append("flask")
        return usual(self, *args)

    monkeypatch.setattr(Flask, "full_dispatch_request", counted)
    return taken


def post(app: Flask, raw: bytes, path: str = SERVICE, **more: Any) -> TestResponse:
    return Client(app).post(path, data=raw, **(USUAL | more))


@pytest.mark.parametrize("resources", [[], [condition(), observation(value=8.1)]], ids=["no card", "a card"])
def test_both_roads_give_the_same_answer(fresh: Callable[[], Flask], resources: list[Any]) -> None:
    raw = body(*resources)
    short = post(fresh(), raw, headers=ID)
    ordinary = post(fresh(), raw, headers={**ID, "Origin": "https://sandbox.example"})

    assert 200 == short.status_code == ordinary.status_code
    assert short.data == ordinary.data
    kept = {name: value for name, value in ordinary.headers if not name.startswith("Access-Control") and name != "Vary"}
    assert kept == dict(short.headers)


def test_a_usual_call_takes_the_short_road(fresh: Callable[[], Flask], flask_calls: list[str]) -> None:
    assert 200 == post(fresh(), body(condition(), observation())).status_code
    assert [] == flask_calls


@pytest.mark.parametrize(
    ("raw", "more", "status"),
    [
        (b"{", {}, 400),
        (b"", {}, 400),
        (body(), {"path": "/cds-services/none"}, 404),
        (body(), {"path": f"{SERVICE}/x"}, 404),
        (body(), {"content_type": "text/plain"}, 415),
        (body(), {"headers": {"Content-Encoding": "gzip"}}, 415),
        (body(), {"content_type": "application/json; charset=utf-8"}, 200),
        (body(), {"headers": {"Origin": "https://sandbox.example"}}, 200),
    ],
)
def test_what_is_not_usual_takes_the_ordinary_road_once(
    fresh: Callable[[], Flask], flask_calls: list[str], raw: bytes, more: dict[str, Any], status: int
) -> None:
    response = post(fresh(), raw, **more)

    assert status == response.status_code
    assert ["flask"] == flask_calls


def test_a_body_that_ends_early_is_the_clients_mistake(fresh: Callable[[], Flask]) -> None:
    raw = body()

    assert 400 == post(fresh(), raw, environ_overrides={"CONTENT_LENGTH": str(len(raw) + 1)}).status_code


def test_a_client_that_goes_away_is_no_failure(fresh: Callable[[], Flask]) -> None:
    class Gone:
        def read(self, _size: int = -1) -> bytes:
            raise ConnectionResetError

    app = fresh()
    assert isinstance(app.wsgi_app, Express)
    environ = {"wsgi.input": Gone(), "CONTENT_LENGTH": "10", "CONTENT_TYPE": "application/json"}
    response = Client(app).post(SERVICE, environ_overrides=environ)

    assert 400 == response.status_code


def test_what_breaks_is_said_once_by_the_ordinary_road(
    fresh: Callable[[], Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = fresh()
    engine = app.extensions["cds"]
    monkeypatch.setattr(engine, "answer", lambda *_: 1 / 0)

    response = post(app, body())

    assert (503, "5") == (response.status_code, response.headers["Retry-After"])


def test_without_authentication_by_settings_the_short_road_is_closed(make_app: Make, flask_calls: list[str]) -> None:
    assert 401 == post(make_app(auth="jwt"), body()).status_code
    assert ["flask"] == flask_calls
