"""What an admin was told is saved is saved: after kill -9, with a full disk, with a database that others hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cds_service.adapters.governance import Governance
from cds_service.adapters.ledger import Database
from cds_service.errors import Unavailable
from tests.governance import kill_loop
from tests.governance.conftest import PASSWORD, Clock, Make, decision
from tests.ledger.cluster import Cluster
from tests.ledger.conftest import new_database


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_by_kill_9(kind: str, request: pytest.FixtureRequest, tmp_path: str) -> None:
    """Ten kills of two processes that decide the same thing; longer: python -m tests.governance.kill_loop."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    if kind == "postgresql":
        server: Cluster = request.getfixturevalue("cluster")
        url = new_database(server)
    found = kill_loop.run(url, kills=10)

    assert (10, 0, 0, []) == (found.kills, found.lost, found.twice, found.problems)
    assert found.saved > 10


@contextmanager
def held(database: Database) -> Iterator[None]:
    """Hold the lock of all who write, as a process does that hangs in the middle of it."""
    with database.writing():
        yield


def test_while_others_hold_the_database_nothing_is_half_done(make: Make) -> None:
    governance, other = make(), make()
    governance.accounts.create("eddie", PASSWORD, ["editor"])
    made = governance.propose(decision(), base=0, role="editor", origin="192.0.2.1")
    before = governance.audit.count()
    with held(other.database):
        for deed in (
            lambda: governance.propose(decision("7.0"), base=made.number, role="editor", origin="192.0.2.1"),
            lambda: governance.switch("rule", "a-rule", True, "otto", "It shouts", "operator", "192.0.2.1"),
            lambda: governance.accounts.set_roles("eddie", ["viewer"]),
        ):
            with pytest.raises(Unavailable) as refused:
                deed()
            assert "ledger-locked" == refused.value.slug
        assert [made.tuning] == list(governance.decided()), "what is in force can be read all the while"

    assert (before, [made.number]) == (governance.audit.count(), [one.number for one in governance.history()])
    assert [] == governance.audit.verify()
    assert 2 == governance.propose(decision("7.0"), base=made.number, role="editor", origin="192.0.2.1").number


def test_a_full_disk_refuses_a_decision_together_with_its_entry(make: Make, clock: Clock) -> None:
    governance: Governance = make()
    if governance.database.path is None:
        return  # PostgreSQL reports the same in its own words; tests/ledger holds that they are understood
    governance.propose(decision(), base=0, role="editor", origin="192.0.2.1")
    with governance.database.writing() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    saved = 1

    def fill() -> None:
        nonlocal saved
        while saved < 400:
            why = f"A reason of its own, {saved} " + "and so on " * 20
            saved = governance.propose(decision(why=why), base=saved, role="editor", origin="192.0.2.1").number

    with pytest.raises(Unavailable) as refused:
        fill()
    assert "ledger-full" == refused.value.slug
    with governance.database.writing() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")

    assert saved == governance.audit.count() == len(governance.history())
    assert [] == governance.audit.verify()
    assert saved + 1 == governance.propose(decision(), base=saved, role="editor", origin="192.0.2.1").number
