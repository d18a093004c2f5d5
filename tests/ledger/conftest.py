"""A ledger on each of the two databases, and the calls and answers that are put into it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from cds_service.adapters.ledger import Database, Key, Ledger
from cds_service.adapters.ledger.migrating import migrate
from cds_service.protocol.feedback import Feedback
from cds_service.recording import CardRow, DecisionRow
from tests.build import NOW
from tests.ledger.cluster import Cluster, lacking

SECRET = Key(b"a key for tests, of which nobody need be afraid")
_numbers = count(1)
OpenLedger = Callable[..., Ledger]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Give a PostgreSQL server; without one the test is skipped, but fails where CI has to have it."""
    if missing := lacking():
        if os.environ.get("CDS_CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    server = Cluster()
    server.start()
    yield server
    server.remove()


def new_database(server: Cluster) -> str:
    """Return the address of an empty database of a server."""
    name = f"ledger_{next(_numbers)}"
    engine = create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return server.url.removesuffix("postgres") + name


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the address of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger/ledger.db"
    return new_database(request.getfixturevalue("cluster"))


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger/ledger.db"


@pytest.fixture
def opened() -> Iterator[OpenLedger]:
    """Open ledgers, as many as there are processes; they are closed afterwards."""
    made: list[Ledger] = []

    def make(url: str, *, start: bool = False, now: Callable[[], float] = NOW.timestamp, **more: int) -> Ledger:
        ledger = Ledger.open(url, SECRET, now, **more)
        made.append(ledger)
        if start:
            ledger.start()
        return ledger

    yield make
    for ledger in made:
        ledger.close(1.0)


@pytest.fixture
def ledger(url: str, opened: OpenLedger) -> Ledger:
    return opened(url)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """Give a database with its tables."""
    found = Database(url)
    migrate(found)
    yield found
    found.close()


def row(
    name: str = "", *, patient: str = "patient-1", at: float | None = None, cards: tuple[CardRow, ...] = ()
) -> DecisionRow:
    """Return the row of a call."""
    number = next(_numbers)
    content = {"form": 1, "hook": "patient-view", "fired": [{"rule": "r", "trail": {}}]}
    when = NOW.timestamp() if at is None else at
    return DecisionRow(name or f"decision-{number}", when, "calcinosis-patient-view", patient, content, b"x", cards)


def card(name: str = "") -> CardRow:
    """Return a card that was shown."""
    return CardRow(name or f"card-{next(_numbers)}", "warning", ["a-rule"], ["suggestion-1"])


def overridden(name: str = "card-1", at: float | None = None, comment: str = "") -> Feedback:
    """Return an override of a card."""
    return Feedback(name, "overridden", NOW.timestamp() if at is None else at, reason="not-relevant", comment=comment)


def accepted(name: str = "card-1", *suggestions: str) -> Feedback:
    """Return the acceptance of suggestions of a card."""
    return Feedback(name, "accepted", NOW.timestamp(), suggestions or ("suggestion-1",))


def many(database: Database, table: str, where: str = "1=1") -> int:
    """Count rows."""
    with database.reading() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE {where}").scalar() or 0)
