"""The audit finds whatever was changed, taken out, put in or cut off behind its back."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from cds_service.adapters.governance import Governance
from cds_service.adapters.governance.audit import Audit
from cds_service.adapters.ledger import Key
from tests.governance.conftest import Make


def tamper(governance: Governance, *statements: str) -> None:
    """Change rows as somebody would who owns the database: triggers out of the way first."""
    sqlite = governance.database.path is not None
    with governance.database.writing() as connection:
        for statement in (
            ("DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete")
            if sqlite
            else ("ALTER TABLE audit DISABLE TRIGGER USER",)
        ):
            connection.execute(text(statement))
        for statement in statements:
            connection.execute(text(statement))


@pytest.fixture
def written(governance: Governance) -> Governance:
    for number in range(6):
        governance.audit.append("look", f"page {number}", "audrey", "auditor", "192.0.2.1")
    return governance


def test_an_audit_that_nobody_touched_is_in_order(written: Governance) -> None:
    assert [] == written.audit.verify()
    assert 6 == written.audit.count()


def test_an_empty_audit_is_in_order(governance: Governance) -> None:
    assert [] == governance.audit.verify()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE audit SET who='nobody' WHERE number=3", "Entry 3 was changed."),
        ("UPDATE audit SET at=at+1 WHERE number=1", "Entry 1 was changed."),
        ("UPDATE audit SET new='x' WHERE number=6", "Entry 6 was changed."),
        ("DELETE FROM audit WHERE number=3", "Entries 3 to 3 are missing."),
        ("DELETE FROM audit WHERE number=1", "Entries 1 to 1 are missing."),
        ("DELETE FROM audit WHERE number=6", "The newest entries are missing."),
        ("DELETE FROM audit WHERE number>2", "The newest entries are missing."),
        ("DELETE FROM audit", "The newest entries are missing."),
        ("UPDATE audit SET previous=hash WHERE number=4", "Entry 4 does not follow the one before it."),
        (
            (
                "INSERT INTO audit SELECT 7, at, who, role, action, subject, old, new, origin, previous, hash "
                "FROM audit WHERE number=6"
            ),
            "Entry 7 was changed.",
        ),
    ],
)
def test_what_was_done_behind_its_back_is_found(written: Governance, statement: str, said: str) -> None:
    tamper(written, statement)

    assert said in written.audit.verify()


def test_exchanged_entries_are_found(written: Governance) -> None:
    tamper(written, "UPDATE audit SET number=-number WHERE number IN (2, 3)")
    with written.database.writing() as connection:
        connection.execute(text("UPDATE audit SET number=3 WHERE number=-2"))
        connection.execute(text("UPDATE audit SET number=2 WHERE number=-3"))

    assert {"Entry 2 was changed.", "Entry 3 was changed."} <= set(written.audit.verify())


def test_without_the_key_nobody_writes_an_entry_that_passes(written: Governance) -> None:
    """
    Somebody with the database but not the key writes on as the service would.
    """
    stranger = Audit(
        written.database, Key(b"another key, of which nobody need be afraid").purpose("audit"), lambda: 0.0
    )
    stranger.append("look", "page 7", "audrey", "auditor", "192.0.2.1")

    assert {"Entry 7 was changed.", "The note of the newest entry was changed."} <= set(written.audit.verify())


def test_two_processes_continue_one_chain(make: Make) -> None:
    one, other = make(), make()
    for number in range(10):
        (one if number % 2 else other).audit.append("look", f"page {number}", "audrey", "auditor", "192.0.2.1")

    assert ([], 10) == (one.audit.verify(), other.audit.count())


def test_a_page_is_newest_first_and_can_be_filtered(written: Governance) -> None:
    written.audit.append("export", "audit", "otto", "operator", "192.0.2.9")

    assert [7, 6] == [one.number for one in written.audit.page(limit=2)]
    assert [2, 1] == [one.number for one in written.audit.page(before=3)]
    assert [7] == [one.number for one in written.audit.page(who="otto")]
    assert [7] == [one.number for one in written.audit.page(action="export")]
    assert [4] == [one.number for one in written.audit.page(subject="page 3")]
    assert [] == written.audit.page(subject="%")
    assert ["export", "look"] == written.audit.actions()
