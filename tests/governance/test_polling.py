"""Every process asks every 1.5 seconds what admins decided: that has to cost next to nothing while nothing is new."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event

from cds_service.adapters.governance import Governance
from tests.governance.conftest import Make, decision


def asked(governance: Governance) -> list[str]:
    """Return what was asked of the database from here on."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().startswith("SELECT") and "advisory" not in statement:
            statements.append(statement)

    event.listen(governance.database.engine, "before_cursor_execute", note)
    return statements


def test_while_nothing_is_new_only_the_newest_numbers_are_asked_for(make: Make) -> None:
    governance, other = make(), make()
    made = other.propose(decision(), base=0, role="editor", origin="192.0.2.1")
    assert [made.tuning] == list(governance.decided())
    statements = asked(governance)
    for _ in range(3):
        governance.decided()

    assert 6 == len(statements)
    assert all("max(" in one for one in statements)


def test_an_approval_alone_is_news(make: Make) -> None:
    governance, other = make(), make()
    made = other.propose(decision(), base=0, asks="kill", role="editor", origin="192.0.2.1")
    assert [] == list(governance.decided())
    other.rule_on(made.number, "approved", "anna", "Agreed at the meeting", "approver", "192.0.2.1")

    assert [made.tuning] == list(governance.decided())


def test_what_was_turned_down_makes_way_for_what_waited_before(make: Make) -> None:
    governance = make()
    first = governance.propose(decision(), base=0, asks="kill", role="editor", origin="192.0.2.1")
    second = governance.propose(decision("7.0"), base=1, asks="kill", role="editor", origin="192.0.2.1")
    assert ["waiting", "superseded"] == [one.state for one in governance.history()]
    governance.rule_on(second.number, "rejected", "anna", "Too high for our unit", "approver", "192.0.2.1")

    assert ["rejected", "waiting"] == [one.state for one in governance.history()]
    assert "in force" == governance.rule_on(first.number, "approved", "anna", "Agreed then", "approver", "shell").state
