"""Other people's software, as these tests need it: a FHIR server that holds the cast, and the service beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from cds_service.adapters.deadline import Deadline
from cds_service.adapters.ledger import Ledger
from cds_service.adapters.sandbox_server import NAME, SandboxServer, installed
from cds_service.facts import Facts, take_in
from cds_service.protocol import HookRequest
from cds_service.web import Settings, create_app
from cds_service.web.completion import completed
from tests.fixtures import calls

# A loaded machine answers late; how long an EHR would wait is not what these tests are about.
PATIENT_ENOUGH_MS = 20_000


def need(*, there: bool, what: str) -> None:
    """Skip a test whose partner is not installed, saying so; in CI (CDS_CI) that is a failure."""
    if not there:
        missing = f"{what} is not installed: `make venv` installs it"
        (pytest.fail if os.environ.get("CDS_CI") == "1" else pytest.skip)(missing)


def need_package(module: str) -> None:
    """Skip where a Python package is missing."""
    need(there=find_spec(module) is not None, what=module)


@pytest.fixture(scope="session")
def fhir() -> Iterator[SandboxServer]:
    """Start the sandbox FHIR server with the cast, on the day of the cast."""
    need(there=installed(), what=NAME)
    with SandboxServer() as server:
        cast = calls.cast()
        server.load([one for member in cast.members for one in cast.record(member).resources])
        yield server


def application(base: str, now: float, ledger: Ledger | None = None) -> Flask:
    """Return a service that lives at one moment and may read from one FHIR server."""
    settings = Settings(
        auth="none",
        fhir_allow=f"{base} private",
        fhir_budget_ms=PATIENT_ENOUGH_MS,
        public_url="http://localhost",
    )
    return create_app(settings, book=calls.book(), clock=lambda: now, ledger=ledger)


@pytest.fixture(scope="session")
def application_with() -> Callable[[str, Ledger], FlaskClient]:
    """Give a service on the day of the cast, with a ledger."""
    return lambda base, ledger: application(base, calls.cast().noon, ledger).test_client()


@pytest.fixture(scope="session")
def fetching() -> Callable[[str], FlaskClient]:
    """Give a service on the day of the cast."""
    return lambda base: application(base, calls.cast().noon).test_client()


@pytest.fixture(scope="session")
def fetching_at() -> Callable[[str, float], FlaskClient]:
    """Give a service at another moment."""
    return lambda base, now: application(base, now).test_client()


@pytest.fixture(scope="session")
def facts_of() -> Callable[[str, dict[str, Any], float], Facts]:
    """Read a call as the service does, fetching what it lacks, and give the facts that the rules would see."""

    def read(base: str, call: dict[str, Any], now: float) -> Facts:
        engine = application(base, now).extensions["cds"]
        service = engine.shelf.book.services[f"calcinosis-{call['hook']}"]
        request = HookRequest.parse(json.dumps(call).encode(), call["hook"])

        def take(whole: HookRequest) -> Facts:
            return take_in(whole, engine.reader(engine.shelf.book), now, engine.policy)

        deadline = Deadline(engine.completing.budget)
        return completed(request, take(request), service.service, engine.completing, deadline, take)[1]

    return read


# The public sandbox is 1,455 npm packages: it is built by hand (docs/interop.md), and then tried.
collect_ignore = [] if os.environ.get("CDS_PUBLIC_SANDBOX") else ["test_public_sandbox.py"]
