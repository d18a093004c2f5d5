"""Governance on each of the two databases, with a clock that can be moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

import pytest

from cds_service.adapters.governance import Cost, Governance
from cds_service.adapters.ledger import Database
from cds_service.adapters.ledger.migrating import migrate
from cds_service.rules.tuning_model import Tuning
from tests.build import NOW
from tests.ledger.conftest import SECRET, cluster, url

__all__ = ["CHEAP", "PASSWORD", "Clock", "Make", "cluster", "decision", "url"]
CHEAP = Cost(2, 8, 1)
PASSWORD = "correct horse battery"
RULE, NAME = "eskd-hyperphosphatemia", "phosphate_high"


class Clock:
    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


Make = Callable[[], Governance]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(url: str, clock: Clock) -> Iterator[Make]:
    """Open the same database again and again, as several processes do."""
    migrate(Database(url))
    opened: list[Governance] = []

    def open_one() -> Governance:
        opened.append(Governance(Database(url), SECRET, clock, CHEAP))
        return opened[-1]

    yield open_one
    for one in opened:
        one.database.close()


@pytest.fixture
def governance(make: Make) -> Governance:
    return make()


def decision(value: str = "6.5", who: str = "eddie", why: str = "Our unit aims at this", **more: object) -> Tuning:
    plain = {
        "rule": RULE,
        "name": NAME,
        "value": value,
        "since": NOW.date().isoformat(),
        "who": who,
        "why": why,
        **more,
    }
    plain = {key: one.isoformat() if isinstance(one, date) else one for key, one in plain.items()}
    return Tuning.of_plain(plain)
