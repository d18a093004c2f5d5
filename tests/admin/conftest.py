"""The admin pages on a ledger of their own, and people who sign in to them with a browser that runs no script."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from cds_service.adapters.governance import Cost, Governance
from cds_service.adapters.ledger import Key, Ledger
from cds_service.rules.book import RuleBook
from cds_service.web import Settings, create_app
from tests.build import NOW

SECRET = Key(b"a key for tests, of which nobody need be afraid")
# What one try of a password costs: as little as scrypt allows, for tests only.
CHEAP = Cost(2, 8, 1)
PASSWORD = "correct horse battery"
PEOPLE = {
    "vera": ("viewer",),
    "eddie": ("editor", "viewer"),
    "anna": ("approver", "viewer"),
    "otto": ("operator",),
    "audrey": ("auditor",),
    "erin": ("viewer", "editor", "approver"),
}
ORIGIN = "http://localhost"


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


class Admin:
    """Somebody at the admin pages."""

    def __init__(self, app: Flask) -> None:
        self.app, self.client = app, app.test_client()

    def get(self, path: str, **options: Any) -> TestResponse:
        """Open a page."""
        return self.client.get(path, **options)

    def post(self, path: str, headers: dict[str, str] | None = None, **form: Any) -> TestResponse:
        """Send a form of our own pages, with the token that stands in them."""
        form.setdefault("csrf", self.csrf())
        return self.client.post(path, data=form, headers={"Origin": ORIGIN} if headers is None else headers)

    def csrf(self) -> str:
        """Return the token of the session; "" for nobody."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.get("/admin/password").text)
        return found[1] if found else ""

    def sign_in(self, name: str, password: str = PASSWORD, **form: str) -> TestResponse:
        """Sign in."""
        sent = {"name": name, "password": password, **form}
        return self.client.post("/admin/login", data=sent, headers={"Origin": ORIGIN})


SignIn = Callable[[str], Admin]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{tmp_path}/ledger/ledger.db", SECRET, clock)
    opened.governance = Governance(opened.database, SECRET, clock, CHEAP)
    for name, roles in PEOPLE.items():
        opened.governance.accounts.create(name, PASSWORD, roles)
    yield opened
    opened.close(5)


@pytest.fixture
def admin_app(book: RuleBook, ledger: Ledger, clock: Clock) -> Flask:
    settings = Settings(auth="none", sandbox=True, admin=True)
    return create_app(settings, book=book, clock=clock, ledger=ledger)


@pytest.fixture
def sign_in(admin_app: Flask) -> SignIn:
    """Sign somebody in, and return them at the pages."""

    def enter(name: str) -> Admin:
        one = Admin(admin_app)
        assert 303 == one.sign_in(name).status_code
        return one

    return enter


@pytest.fixture
def nobody(admin_app: Flask) -> Admin:
    return Admin(admin_app)
