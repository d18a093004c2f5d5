"""What many tests need: the terminology, a reader of records, and facts taken in as the service takes them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from cds_service import terminology
from cds_service.facts import Facts, Policy, take_in
from cds_service.facts.intake import Reader
from cds_service.facts.records import Prefetch
from cds_service.protocol import HookRequest
from cds_service.rules.book import RuleBook, load_book
from cds_service.terminology import Terminology
from cds_service.web import Settings, create_app
from tests.build import NOW, ROOT, SERVICE, Resource, body, call, to_json

STRICT = Policy()


class TakeIn(Protocol):
    """Builds a hook call from resources, and reads it."""

    def __call__(
        self,
        *resources: Resource,
        values: Mapping[str, Any] | None = None,
        policy: Policy = ...,
        **members: Any,
    ) -> Facts:
        """Return the facts of a call that holds these resources."""


@pytest.fixture(scope="session")
def words() -> Terminology:
    return terminology.load(ROOT / "hooks" / "concepts")


@pytest.fixture(scope="session")
def reader(words: Terminology) -> Reader:
    return Reader(words)


@pytest.fixture(scope="session", params=["small", "large"])
def size(request: pytest.FixtureRequest) -> Resource:
    """
    Give members that make a call small or large.

    A small body is checked whole and read value by value, a large one is decoded together with its prefetch: two
    ways through the reader, which must say the same.
    """
    return {"extension": {"org.example": "x" * 33_000}} if request.param == "large" else {}


def parsed(raw: bytes) -> HookRequest:
    """Parse a call as the service does."""
    return HookRequest.parse(raw, "patient-view", Prefetch)


@pytest.fixture(scope="session")
def facts(reader: Reader, size: Resource) -> TakeIn:
    """
    Take in resources as the service does.

    ``values`` replaces prefetch values by key, other members stand in the request itself.
    """

    def take(
        *resources: Resource, values: Mapping[str, Any] | None = None, policy: Policy = STRICT, **members: Any
    ) -> Facts:
        request = parsed(body(*resources, values=values, **{**size, **members}))
        return take_in(request, reader, NOW.timestamp(), policy)

    return take


@pytest.fixture(scope="session")
def sent(reader: Reader, size: Resource) -> Callable[..., Facts]:
    """Take in exactly these prefetch values, and no others."""

    def take(**values: Any) -> Facts:
        return take_in(parsed(to_json(call(values, **size))), reader, NOW.timestamp())

    return take


# --- the service -----------------------------------------------------------------------------------------------------


class Ask(Protocol):
    """Asks the service about some resources, as an EHR would."""

    def __call__(self, *resources: Resource, values: Mapping[str, Any] | None = None, **members: Any) -> TestResponse:
        """Return the response."""


@pytest.fixture(scope="session")
def book() -> RuleBook:
    return load_book(ROOT / "hooks")


@pytest.fixture(scope="session")
def make_app(book: RuleBook) -> Callable[..., Flask]:
    """Build an application whose clock stands at NOW; settings may be given by name."""

    def make(**settings: Any) -> Flask:
        chosen = Settings(**{"auth": "none", **settings})
        return create_app(chosen, book=book, clock=NOW.timestamp)

    return make


@pytest.fixture(scope="session")
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app()


@pytest.fixture(scope="session")
def post(app: Flask) -> Callable[..., TestResponse]:
    """Post a body to the patient-view service as it stands; what made a 5xx is raised, so that a report shows it."""

    def send(raw: bytes, **options: Any) -> TestResponse:
        response = app.test_client().post(SERVICE, data=raw, **{"content_type": "application/json", **options})
        if response.status_code >= 500:
            app.extensions["cds"].answer(SERVICE.rpartition("/")[2], raw)
        return response

    return send


@pytest.fixture(scope="session")
def ask(post: Callable[..., TestResponse]) -> Ask:
    def send(*resources: Resource, values: Mapping[str, Any] | None = None, **members: Any) -> TestResponse:
        return post(body(*resources, values=values, **members))

    return send
