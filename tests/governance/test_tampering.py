"""Whoever owns the database but not the key leaves a trace: what was decided is held against the audit."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from cds_service.adapters.governance import Governance
from cds_service.adapters.governance.tables import APPEND_ONLY
from cds_service.adapters.ledger import Key
from tests.governance.conftest import Make, decision
from tests.ledger.conftest import SECRET

OTHER = Key(b"another key, of which nobody need be afraid")


def behind(governance: Governance, *statements: str) -> None:
    """Do what only the owner of the database can: past the triggers."""
    with governance.database.writing() as connection:
        for table in APPEND_ONLY:
            if governance.database.path is None:
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
            else:
                connection.execute(text(f"DROP TRIGGER IF EXISTS {table}_no_update"))
                connection.execute(text(f"DROP TRIGGER IF EXISTS {table}_no_delete"))
        for statement in statements:
            connection.execute(text(statement))


@pytest.fixture
def decided(governance: Governance) -> Governance:
    """Give three changes: 1 in force, 2 approved, 3 waiting; five entries in the audit."""
    first = governance.propose(decision(), base=0, role="editor", origin="192.0.2.1")
    second = governance.propose(decision("7.0"), base=first.number, asks="kill", role="editor", origin="192.0.2.1")
    governance.rule_on(second.number, "approved", "anna", "Agreed at the meeting", "approver", "192.0.2.2")
    governance.propose(decision("6.0"), base=second.number, asks="kill", role="editor", origin="192.0.2.1")
    governance.switch("rule", "a-rule", True, "otto", "It shouts at everybody", "operator", "192.0.2.3")
    return governance


def test_what_nobody_touched_is_in_order(decided: Governance) -> None:
    assert ([], 5) == (decided.audit.verify(), decided.audit.count())


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE changes SET who='anna' WHERE number=1", "Change 1 is not what the audit tells of it."),
        ("UPDATE changes SET tuning='{}' WHERE number=1", "Change 1 is not what the audit tells of it."),
        ("UPDATE changes SET asks='' WHERE number=3", "Change 3 is not what the audit tells of it."),
        ("DELETE FROM changes WHERE number=3", "Change 3 is missing."),
        (
            "INSERT INTO changes SELECT 9, at, rule, name, tuning, who, 3, '', 0, trial FROM changes WHERE number=1",
            "Change 9 does not stand in the audit.",
        ),
        ("UPDATE rulings SET who='erin'", "The ruling on change 2 is not what the audit tells of it."),
        ("UPDATE rulings SET outcome='rejected'", "The ruling on change 2 is not what the audit tells of it."),
        ("DELETE FROM rulings", "The ruling on change 2 is missing."),
        (
            "INSERT INTO rulings SELECT 9, at, 3, who, outcome, why FROM rulings",
            "The ruling on change 3 is not what the audit tells of it.",
        ),
    ],
)
def test_what_was_decided_cannot_be_changed_unnoticed(decided: Governance, statement: str, said: str) -> None:
    behind(decided, statement)

    assert [said] == decided.audit.verify()


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["DELETE FROM audit WHERE number>3"], "Entries 4 to 5 are missing."),
        (["DELETE FROM audit"], "Entries 1 to 5 are missing."),
        (["DELETE FROM audit WHERE number>3", "DELETE FROM marks"], "Entry 4 does not follow the one before it."),
        (["DELETE FROM marks WHERE name='audit head'"], "Entry 6 does not follow the one before it."),
        (["UPDATE marks SET value='x' WHERE name='audit head'"], "Entry 6 does not follow the one before it."),
    ],
)
def test_a_cut_does_not_heal_by_what_is_written_later(decided: Governance, statements: list[str], said: str) -> None:
    behind(decided, *statements)
    decided.audit.append("look", "page 1", "audrey", "auditor", "192.0.2.1")

    assert said in decided.audit.verify()


def test_nobody_writes_behind_the_newest_entry_without_the_key(decided: Governance) -> None:
    forged = "SELECT 6, at, 'anna', role, action, subject, old, new, origin, hash, 'x' FROM audit WHERE number=5"
    behind(decided, f"INSERT INTO audit {forged}")
    decided.audit.append("look", "page 1", "audrey", "auditor", "192.0.2.1")

    assert ["Entry 6 was changed.", "Entry 7 does not follow the one before it."] == decided.audit.verify()


def test_with_a_new_key_the_older_entries_need_the_older_key(decided: Governance, make: Make) -> None:
    later = Governance(make().database, OTHER, lambda: 1.0)
    later.audit.adopt("root", "shell")
    later.audit.append("look", "page 1", "audrey", "auditor", "192.0.2.1")

    assert [] == later.audit.verify(SECRET.purpose("audit"))
    assert [f"Entry {number} was changed." for number in range(1, 6)] == later.audit.verify()
    assert ["look", "new key"] == [one.action for one in later.audit.page(limit=2)]


def test_taking_over_the_same_key_says_nothing(decided: Governance) -> None:
    decided.audit.adopt("root", "shell")

    assert ([], 5) == (decided.audit.verify(), decided.audit.count())


def test_an_audit_is_in_order_while_others_write_to_it(make: Make) -> None:
    writer, reader, stop = make(), make(), threading.Event()

    def decide() -> None:
        base = 0
        while not stop.is_set():
            base = writer.propose(decision(), base=base, asks="kill", role="editor", origin="192.0.2.1").number
            writer.rule_on(base, "approved", "anna", "Agreed at the meeting", "approver", "192.0.2.2")

    thread = threading.Thread(target=decide)
    found = list[str]()
    thread.start()
    try:
        while writer.audit.count() < 6:
            found += reader.audit.verify()
    finally:
        stop.set()
        thread.join()

    assert [] == found + reader.audit.verify()


def test_a_decision_that_this_version_cannot_read_keeps_nobody_from_the_others(decided: Governance) -> None:
    behind(decided, "UPDATE changes SET tuning='[1]' WHERE number=2")
    fresh = Governance(decided.database, SECRET, lambda: 0.0)
    readable, odd = fresh.decided()

    assert (decision(), "") == (readable, odd.value)
    assert 3 == len(fresh.history())


def test_the_triggers_are_there_again_in_a_new_ledger(tmp_path: Path, governance: Governance) -> None:
    """What ``behind`` does is not what anybody can do by accident: without it all three tables refuse."""
    governance.propose(decision(), base=0, asks="kill", role="editor", origin="192.0.2.1")
    governance.rule_on(1, "approved", "anna", "Agreed at the meeting", "approver", "192.0.2.2")
    for table in APPEND_ONLY:
        with pytest.raises(Exception, match="append-only"), governance.database.writing() as connection:
            connection.execute(text(f"DELETE FROM {table}"))
    assert ([], 2) == (governance.audit.verify(), governance.audit.count())
