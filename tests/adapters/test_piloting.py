"""How often a rule was asked silently, as the ledger recorded it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cds_service.adapters.ledger import Ledger
from cds_service.adapters.piloting import evaluations
from cds_service.rules.book import RuleBook
from cds_service.rules.tuning import Tuning
from cds_service.web import Settings, create_app
from tests.build import NOW, SERVICE, Resource, body, condition, observation
from tests.ledger.conftest import SECRET

RULE, OTHER = "eskd-hyperphosphatemia", "eskd-missing-labs"
KIDNEY = [condition(), observation(value=6.0)]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    found = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", SECRET, NOW.timestamp)
    yield found
    found.close()


def test_each_silent_evaluation_counts_whatever_it_said_and_those_with_cards_do_not(
    book: RuleBook, ledger: Ledger
) -> None:
    app = create_app(Settings(auth="none"), book=book, clock=NOW.timestamp, ledger=ledger)

    def ask(*resources: Resource) -> None:
        app.test_client().post(SERVICE, data=body(*resources), content_type="application/json")

    ask(*KIDNEY)
    app.extensions["cds"].shelf.apply([Tuning(RULE, "status", "pilot", NOW.date())], NOW.date())
    ask(*KIDNEY)
    ask(condition(), observation(value=5.0))
    ask(condition(), observation(value=6.0, status="preliminary"))
    assert ledger.flush()

    assert (3, 2) == (evaluations(ledger.database, RULE, 200), evaluations(ledger.database, RULE, 2))
    assert 0 == evaluations(ledger.database, OTHER, 200)
