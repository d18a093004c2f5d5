"""Decisions of admins: kept for ever, approved by another where asked, and never lost to somebody who was faster."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from cds_service.adapters.governance import Change, Conflict, Governance, Refused
from tests.build import NOW
from tests.governance.conftest import NAME, PASSWORD, RULE, Clock, Make, decision

TODAY = NOW.date()
ASKS = "the card becomes more urgent"


def propose(governance: Governance, *, base: int = 0, asks: str = "", **more: Any) -> Change:
    return governance.propose(decision(**more), base=base, asks=asks, role="editor", origin="192.0.2.1")


def approve(governance: Governance, number: int, who: str = "anna", outcome: str = "approved") -> Change:
    return governance.rule_on(number, outcome, who, "Agreed at the meeting", "approver", "192.0.2.2")


def test_what_nobody_has_to_approve_is_in_force_at_once(governance: Governance) -> None:
    made = propose(governance)

    assert ("in force", Decimal("6.5"), "eddie") == (made.state, made.tuning.value, made.tuning.who)
    assert [made.tuning] == list(governance.decided())


def test_what_needs_approval_waits_for_it(governance: Governance) -> None:
    made = propose(governance, asks=ASKS)
    assert ("waiting", []) == (made.state, list(governance.decided()))

    ruled = approve(governance, made.number)

    assert ("in force", "approved", "anna") == (ruled.state, ruled.ruling, ruled.ruled_by)
    assert [made.tuning] == list(governance.decided())


@pytest.mark.parametrize("outcome", ["rejected", "withdrawn"])
def test_what_was_turned_down_never_counts(governance: Governance, outcome: str) -> None:
    made = propose(governance, asks=ASKS)
    ruled = approve(governance, made.number, "eddie" if outcome == "withdrawn" else "anna", outcome)

    assert (outcome, []) == (ruled.state, list(governance.decided()))


@pytest.mark.parametrize("who", ["eddie", "Eddie", "EDDIE"])
def test_nobody_approves_what_they_proposed(governance: Governance, who: str) -> None:
    made = propose(governance, asks=ASKS)

    with pytest.raises(Refused) as refused:
        approve(governance, made.number, who)
    assert "own-change" == refused.value.slug
    assert [] == list(governance.decided())


@pytest.fixture
def staffed(governance: Governance) -> Governance:
    """Give two people a password here, and both the hospital's sign-in besides."""
    for name in ("erin", "anna"):
        governance.accounts.create(name, PASSWORD, ["editor", "approver"])
        governance.accounts.admit(f"{name}@idp.example", ["editor", "approver"], "192.0.2.3")
    return governance


@pytest.mark.parametrize(("author", "approver"), [("erin", "erin@idp.example"), ("erin@idp.example", "ERIN ")])
def test_one_person_with_two_kinds_of_account_approves_nothing_of_their_own(
    staffed: Governance, author: str, approver: str
) -> None:
    """Nobody knows that both are erin's. So nobody who signs in in another way than the author approves."""
    made = propose(staffed, who=author, asks=ASKS)

    for other in (approver, f"anna{'' if '@' in author else '@idp.example'}"):
        with pytest.raises(Refused, match="signs in in another way") as refused:
            approve(staffed, made.number, other)
        assert "other-kind" == refused.value.slug
    assert ("waiting", []) == (staffed.history()[0].state, list(staffed.decided()))


@pytest.mark.parametrize("kind", ["", "@idp.example"])
def test_two_people_with_accounts_of_one_kind_agree(staffed: Governance, kind: str) -> None:
    made = propose(staffed, who=f"erin{kind}", asks=ASKS)

    assert "in force" == approve(staffed, made.number, f"anna{kind}").state


def test_whoever_signs_in_in_another_way_may_still_turn_it_down(staffed: Governance) -> None:
    made = propose(staffed, who="erin", asks=ASKS)

    assert "rejected" == approve(staffed, made.number, "anna@idp.example", "rejected").state


def test_an_account_of_the_hospital_never_becomes_one_with_a_password(staffed: Governance) -> None:
    """Else one person could have two accounts of one kind."""
    with pytest.raises(Refused, match="signs in through the hospital"):
        staffed.accounts.set_password("erin@idp.example", PASSWORD)
    assert staffed.accounts.authenticate("erin@idp.example", PASSWORD, "192.0.2.3") is None


def test_only_its_author_withdraws_a_change(governance: Governance) -> None:
    made = propose(governance, asks=ASKS)

    with pytest.raises(Refused):
        approve(governance, made.number, "anna", "withdrawn")


@pytest.mark.parametrize("outcome", ["approved", "rejected", "withdrawn"])
def test_what_was_ruled_on_is_ruled_on_once(governance: Governance, outcome: str) -> None:
    made = propose(governance, asks=ASKS)
    approve(governance, made.number)

    with pytest.raises(Refused):
        approve(governance, made.number, "eddie" if outcome == "withdrawn" else "otto", outcome)


def test_what_waits_for_nobody_cannot_be_ruled_on(governance: Governance) -> None:
    with pytest.raises(Refused):
        approve(governance, propose(governance).number)


@pytest.mark.parametrize(
    ("who", "why"),
    [("", "Our unit aims at this"), ("  ", "Our unit aims at this"), ("eddie", "short"), ("eddie", " " * 40)],
)
def test_a_decision_has_a_person_and_a_reason(governance: Governance, who: str, why: str) -> None:
    with pytest.raises(Refused):
        propose(governance, who=who, why=why)
    assert [] == governance.history()


def test_who_was_slower_is_told_what_the_other_decided(governance: Governance) -> None:
    first = propose(governance)

    with pytest.raises(Conflict) as conflict:
        propose(governance, value="7.0", who="erin")
    assert first.number == conflict.value.current.number
    assert "in force" == propose(governance, value="7.0", who="erin", base=first.number).state
    assert ["in force", "superseded"] == [one.state for one in governance.history(RULE, NAME)]


def test_of_many_at_once_one_is_saved_and_the_others_are_told(make: Make) -> None:
    many = [make() for _ in range(6)]

    def save(one: Governance) -> str:
        try:
            return propose(one).state
        except Conflict:
            return "conflict"

    with ThreadPoolExecutor(6) as pool:
        ended = list(pool.map(save, many))

    assert ["conflict"] * 5 + ["in force"] == sorted(ended)
    assert 1 == len(many[0].history())


def test_an_overtaken_change_cannot_be_approved(governance: Governance) -> None:
    waiting = propose(governance, asks=ASKS)
    propose(governance, value="7.0", base=waiting.number)

    with pytest.raises(Conflict):
        approve(governance, waiting.number)


def test_of_two_that_wait_for_different_days_both_can_be_approved(governance: Governance) -> None:
    """As an imported file has them: one number now, another from a later day on."""
    now = propose(governance, asks=ASKS)
    later = TODAY + timedelta(9)
    then = propose(governance, value="7.0", base=now.number, asks=ASKS, since=later)

    assert ["waiting", "waiting"] == [one.state for one in governance.history()]
    approve(governance, now.number)
    approve(governance, then.number)
    assert ["planned", "in force"] == [one.state for one in governance.history()]


def test_another_process_sees_it_at_its_next_look(make: Make) -> None:
    one, other = make(), make()
    assert [] == list(other.decided())
    made = propose(one)

    assert [made.tuning] == list(other.decided())


def test_a_later_day_is_planned_and_its_end_ends_it(governance: Governance, clock: Clock) -> None:
    tomorrow = TODAY + timedelta(days=1)
    made = propose(governance, since=tomorrow, until=TODAY + timedelta(days=3))
    states = [made.state]
    for _ in range(3):
        clock.now += 86_400
        states += [one.state for one in governance.history()]

    assert ["planned", "in force", "in force", "ended"] == states


def test_a_trial_and_what_is_restored_stay_with_the_change(governance: Governance) -> None:
    first = propose(governance)
    found = governance.propose(
        decision("5.5"), base=first.number, restores=first.number, trial={"losing": 3}, role="editor", origin="shell"
    )

    assert (first.number, {"losing": 3}) == (found.restores, found.trial)
    assert found == governance.change(found.number)
    assert governance.change(999) is None


@pytest.mark.parametrize("table", ["changes", "rulings", "audit"])
@pytest.mark.parametrize("deed", ["UPDATE {} SET who='nobody'", "DELETE FROM {}"])
def test_the_database_itself_refuses_to_rewrite_history(governance: Governance, table: str, deed: str) -> None:
    made = propose(governance, asks=ASKS)
    approve(governance, made.number)

    with pytest.raises(Exception, match="append-only"), governance.database.writing() as connection:
        connection.execute(text(deed.format(table)))
    assert [made.tuning] == list(governance.decided())


def test_each_deed_stands_in_the_audit_with_old_and_new(governance: Governance) -> None:
    first = propose(governance)
    second = propose(governance, value="7.0", base=first.number, asks=ASKS)
    approve(governance, second.number)
    told = governance.audit.page()

    assert ["approve change", "propose change", "change"] == [one.action for one in told]
    assert ["anna", "eddie", "eddie"] == [one.who for one in told]
    assert "6.5" in told[1].old
    assert "7.0" in told[1].new
    assert [f"{RULE}.{NAME} change {second.number}"] * 2 == [one.subject for one in told[:2]]


def test_what_is_refused_leaves_no_trace(governance: Governance) -> None:
    propose(governance)
    before = governance.audit.count()
    with pytest.raises(Conflict):
        propose(governance)

    assert (before, 1) == (governance.audit.count(), len(governance.history()))
