"""Changing a number as admins do it: tried, saved, in force at once, undone; and everything that is refused."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from flask import Flask

from cds_service.adapters.governance import Governance
from cds_service.rules.tuning import Tuning, current
from tests.admin.conftest import Admin
from tests.build import NOW

RULE = "eskd-hyperphosphatemia"
PAGE = f"/admin/rules/{RULE}"
FORM = f"{PAGE}/change/phosphate_high"
REASON = "the target of our dialysis unit"
TODAY = NOW.date()
SignIn = Callable[[str], Admin]
# A back-test of 200 invented patients takes a second; a busy machine may need many.
PATIENCE = 60.0


def governance(app: Flask) -> Governance:
    found: Governance = app.extensions["admin"].governance
    return found


def in_force(app: Flask, name: str = "phosphate_high") -> Any:
    return current(app.extensions["cds"].shelf.book, RULE, name, TODAY)


def tried(admin: Admin, form: str = FORM, **fields: Any) -> str:
    """Ask what it would do; return the address of the answer when it is there."""
    sent: dict[str, Any] = {"cohort": "population", **fields}
    answer = admin.post(form, **sent)
    assert 303 == answer.status_code, answer.text
    address = answer.headers["Location"]
    ends = time.monotonic() + PATIENCE
    while "<progress" in admin.get(address).text and time.monotonic() < ends:
        time.sleep(0.05)
    return str(address)


def seen(admin: Admin, address: str) -> dict[str, Any]:
    """Return the field that says that the examples which change were seen, if any does."""
    found = re.search(r'name="seen" value="(\d+)"', admin.get(address).text)
    return {"seen": found[1]} if found else {}


def saved(admin: Admin, form: str = FORM, *, why: str = REASON, **fields: Any) -> str:
    """Try and save; return the address of the change."""
    address = tried(admin, form, **fields)
    days: dict[str, Any] = {name: fields[name] for name in ("since", "until") if name in fields}
    answer = admin.post(f"{address}/save", why=why, **days, **seen(admin, address))
    assert 303 == answer.status_code, answer.text
    return str(answer.headers["Location"])


def agreed(sign_in: SignIn, *addresses: str) -> None:
    """Let anna, the second person, approve changes."""
    other = sign_in("anna")
    for address in addresses:
        answer = other.post(f"{address}/ruling", outcome="approved", why="agreed in the meeting")
        assert 303 == answer.status_code, answer.text


# --- the way through -------------------------------------------------------------------------------------------------


def test_the_form_shows_unit_value_in_force_guideline_band_and_source(sign_in: SignIn) -> None:
    shown = sign_in("eddie").get(FORM).text

    for said in ("New value in mg/dL", "5.5 mg/dL", "4.5 to 7 mg/dL", "KDOQI 2003", '<svg class="scale"'):
        assert said in shown


def test_what_it_would_do_is_what_the_back_test_of_the_command_line_says(sign_in: SignIn) -> None:
    """The nine patients stand in docs and CLI tests too: their phosphate lies between 5.5 and 6.5 mg/dL."""
    admin = sign_in("eddie")
    shown = admin.get(tried(admin, value="6.5")).text

    assert "9 patients lose a card, 0 gain one" in shown
    assert sorted(re.findall(r"<code>(population-\d+)</code>", shown)) == [
        f"population-{number}" for number in (127, 132, 136, 140, 141, 148, 149, 150, 157)
    ]
    assert "1 of 12 examples change" in shown
    assert "All 12 patients who must never get a card stay without one." in shown
    assert "11.5" in shown
    assert "7.5" in shown


def test_nothing_is_changed_by_looking(admin_app: Flask, sign_in: SignIn) -> None:
    tried(sign_in("eddie"), value="6.5")

    assert Decimal("5.5") == in_force(admin_app)
    assert [] == governance(admin_app).history()


def test_each_patient_has_a_trail_of_both_books_and_reading_it_is_written_down(
    admin_app: Flask, sign_in: SignIn
) -> None:
    admin = sign_in("eddie")
    address = tried(admin, value="6.5")
    shown = admin.get(f"{address}/patients/0").text

    assert "above 5.5 mg/dL: 5.9 mg/dL" in shown
    assert "above 6.5 mg/dL: 5.9 mg/dL" in shown
    assert "read trail" in [entry.action for entry in governance(admin_app).audit.page()]
    assert 404 == admin.get(f"{address}/patients/9").status_code


def test_a_number_that_leaves_the_guideline_value_waits_for_a_second_person(admin_app: Flask, sign_in: SignIn) -> None:
    admin = sign_in("eddie")
    said = "because 6.5 mg/dL is not the guideline value of the rule file, 5.5 mg/dL"
    assert said in admin.get(tried(admin, value="6.5")).text  # before anything is saved
    address = saved(admin, value="6.5")
    [change] = governance(admin_app).history()

    assert "/admin/changes/1" == address
    assert Decimal("5.5") == in_force(admin_app)
    assert ("eddie", REASON, TODAY) == (change.tuning.who, change.tuning.why, change.tuning.since)
    assert change.asks in said
    assert change.trial is not None
    assert (9, 0) == (change.trial["losing"], change.trial["gaining"])
    newest = governance(admin_app).audit.page()[0]
    assert ("propose change", "eddie") == (newest.action, newest.who)
    assert "6.5" in newest.new


def test_it_is_in_force_at_once_when_the_other_has_agreed_and_not_the_one_who_proposed_it(
    admin_app: Flask, sign_in: SignIn
) -> None:
    erin = sign_in("erin")  # an editor and approver
    address = saved(erin, value="6.5")
    assert 403 == erin.post(f"{address}/ruling", outcome="approved", why="I like my own work").status_code
    assert Decimal("5.5") == in_force(admin_app)
    agreed(sign_in, address)

    assert Decimal("6.5") == in_force(admin_app)
    assert "approve change" in [one.action for one in governance(admin_app).audit.page()]


def test_the_guideline_value_is_put_back_by_one_person_and_at_once(admin_app: Flask, sign_in: SignIn) -> None:
    admin = sign_in("eddie")
    agreed(sign_in, saved(admin, value="6.5"))
    shown = admin.get(tried(admin, value="5.5", base="1")).text
    assert "second person, because" not in shown
    saved(admin, value="5.5", base="1")

    assert Decimal("5.5") == in_force(admin_app)


def test_what_was_there_is_restored_by_a_further_change(admin_app: Flask, sign_in: SignIn) -> None:
    admin = sign_in("eddie")
    agreed(sign_in, saved(admin, value="6.5"))
    agreed(sign_in, saved(admin, value="6", base="1"))
    shown = admin.get(PAGE).text
    assert "Restore this version" in shown
    assert "second person, because 6.5 mg/dL" in admin.get(f"{PAGE}/restore/phosphate_high?to=1").text
    answer = admin.post(f"{PAGE}/restore/phosphate_high", to="1", base="2", why="six was a mistake")

    assert 303 == answer.status_code, answer.text
    assert Decimal(6) == in_force(admin_app)
    agreed(sign_in, "/admin/changes/3")
    assert Decimal("6.5") == in_force(admin_app)
    newest = governance(admin_app).history()[0]
    assert (3, 1) == (newest.number, newest.restores)


def test_what_the_files_say_is_restored_too(admin_app: Flask, sign_in: SignIn) -> None:
    admin = sign_in("eddie")
    before = admin_app.extensions["cds"].shelf.book.fingerprint
    agreed(sign_in, saved(admin, value="6.5"))
    assert before != admin_app.extensions["cds"].shelf.book.fingerprint
    shown = admin.get(f"{PAGE}/restore/phosphate_high?to=0").text
    assert "6.5 mg/dL" in shown
    assert "second person, because" not in shown
    answer = admin.post(f"{PAGE}/restore/phosphate_high", to="0", base="1", why="too many stay silent")

    assert 303 == answer.status_code, answer.text
    assert Decimal("5.5") == in_force(admin_app)
    assert before == admin_app.extensions["cds"].shelf.book.fingerprint


def test_a_change_may_begin_on_a_later_day(admin_app: Flask, sign_in: SignIn) -> None:
    later = TODAY + timedelta(10)
    admin = sign_in("eddie")
    agreed(sign_in, saved(admin, value="6.5", since=later.isoformat()))

    assert Decimal("5.5") == in_force(admin_app)
    assert Decimal("6.5") == current(admin_app.extensions["cds"].shelf.book, RULE, "phosphate_high", later)
    assert "planned" == governance(admin_app).history()[0].state
    assert f"begins {later}" in admin.get(PAGE).text


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["5,5", " 5", "NaN", "7.1", "4.4", ""])
def test_a_number_that_cannot_be_is_refused_at_its_field(admin_app: Flask, sign_in: SignIn, value: str) -> None:
    answer = sign_in("eddie").post(FORM, value=value, cohort="population")

    assert 422 == answer.status_code
    assert 'aria-invalid="true"' in answer.text
    assert re.search(r'aria-describedby="[^"]*value-wrong', answer.text)
    assert 'id="value-wrong"' in answer.text
    assert not governance(admin_app).trials.recent()


def test_what_is_in_force_already_is_no_change(sign_in: SignIn) -> None:
    assert 422 == sign_in("eddie").post(FORM, value="5.5", cohort="population").status_code


@pytest.mark.parametrize("cohort", ["", "../../etc", "nobody"])
def test_a_cohort_that_is_not_offered_is_refused(sign_in: SignIn, cohort: str) -> None:
    assert 422 == sign_in("eddie").post(FORM, value="6.5", cohort=cohort).status_code


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"why": "short"}, "why-wrong"),
    ({"why": REASON, "since": (TODAY - timedelta(1)).isoformat()}, "since-wrong"),
    ({"why": REASON, "since": "soon"}, "since-wrong"),
    ({"why": REASON, "until": TODAY.isoformat()}, "until-wrong"),
    ({"why": REASON, "seen": ""}, "seen-wrong"),
    ({"why": REASON, "seen": "2"}, "seen-wrong"),
)


def test_saving_needs_a_reason_days_to_come_and_examples_that_were_seen(admin_app: Flask, sign_in: SignIn) -> None:
    admin = sign_in("eddie")
    address = tried(admin, value="6.5")
    ticked = seen(admin, address)
    for fields, said in REFUSED:
        answer = admin.post(f"{address}/save", **{**ticked, **fields})

        assert 422 == answer.status_code, fields
        assert f'id="{said}"' in answer.text, fields
    assert [] == governance(admin_app).history()


def test_a_change_that_wakes_a_healthy_patient_cannot_be_saved(admin_app: Flask, sign_in: SignIn) -> None:
    admin = sign_in("eddie")
    address = tried(admin, "/admin/rules/hypercalcemia-workup/change/ca_high", value="10.2")
    shown = admin.get(address).text

    assert "every result at the upper end of its range" in shown
    assert "It cannot be saved" in shown
    assert 422 == admin.post(f"{address}/save", why=REASON, seen="12").status_code
    assert [] == governance(admin_app).history()


def test_of_two_people_the_second_is_shown_what_the_first_did(admin_app: Flask, sign_in: SignIn) -> None:
    one, other = sign_in("eddie"), sign_in("erin")
    first, second = tried(one, value="6.5"), tried(other, value="6")
    assert 303 == one.post(f"{first}/save", why=REASON, **seen(one, first)).status_code
    answer = other.post(f"{second}/save", why="we want six instead", **seen(other, second))

    assert 409 == answer.status_code
    assert "Phosphate that calls for review: 5.5 mg/dL" in answer.text.replace("\n", " ")
    assert "6.5 mg/dL" in answer.text
    assert "6 mg/dL" in answer.text
    assert 'name="base" value="1"' in answer.text
    agreed(sign_in, "/admin/changes/1")
    assert Decimal("6.5") == in_force(admin_app)
    agreed(sign_in, saved(other, value="6", base="1", why="we want six instead"))
    assert Decimal(6) == in_force(admin_app)


def test_restoring_meets_the_same_conflict(sign_in: SignIn) -> None:
    admin = sign_in("eddie")
    agreed(sign_in, saved(admin, value="6.5"))
    answer = admin.post(f"{PAGE}/restore/phosphate_high", to="0", base="0", why="too many stay silent")

    assert 409 == answer.status_code


@pytest.mark.parametrize("name", ["nonsense", "pair_window_hours", "quiet_rise", "reason.nobodys"])
def test_there_is_no_form_for_what_cannot_be_changed(sign_in: SignIn, name: str) -> None:
    admin = sign_in("eddie")

    assert 404 == admin.get(f"{PAGE}/change/{name}").status_code
    assert 404 == admin.post(f"{PAGE}/change/{name}", value="1").status_code


def test_a_back_test_nobody_made_is_not_there(sign_in: SignIn) -> None:
    admin = sign_in("eddie")
    for address in ("/admin/trials/none", "/admin/trials/none/progress", "/admin/trials/none/patients/0"):
        assert 404 == admin.get(address).status_code
    assert 404 == admin.post("/admin/trials/none/save", why=REASON).status_code


def test_only_editors_change_anything(admin_app: Flask, sign_in: SignIn) -> None:
    address = tried(sign_in("eddie"), value="6.5")
    for who in ("vera", "anna", "otto", "audrey"):
        other = sign_in(who)

        assert 403 == other.get(FORM).status_code, who
        assert 403 == other.post(FORM, value="6.5", cohort="population").status_code, who
        assert 403 == other.post(f"{address}/save", why=REASON, seen="1").status_code, who
        assert 403 == other.post(f"{PAGE}/restore/phosphate_high", to="0", base="0", why=REASON).status_code, who
    assert [] == governance(admin_app).history()


# --- other things than numbers ---------------------------------------------------------------------------------------


def test_wording_quiet_time_and_rollout_are_not_tried_on_patients(admin_app: Flask, sign_in: SignIn) -> None:
    admin = sign_in("eddie")
    shown = admin.get(f"{PAGE}/change/quiet_hours").text
    assert 'name="cohort"' not in shown
    saved(admin, f"{PAGE}/change/quiet_hours", value="48")
    agreed(sign_in, saved(admin, f"{PAGE}/change/rollout", value="25"))
    saved(admin, f"{PAGE}/change/reason.not-applicable", value="Not for this patient")
    book = admin_app.extensions["cds"].shelf.book

    assert (48, 25) == (in_force(admin_app, "quiet_hours"), in_force(admin_app, "rollout"))
    assert {"not-applicable": "Not for this patient"} == book.rules[RULE].reasons


def test_an_exception_waits_for_a_second_person_and_ends_before_its_time(admin_app: Flask, sign_in: SignIn) -> None:
    admin, until = sign_in("eddie"), (TODAY + timedelta(30)).isoformat()
    fields = {"key": "wounds", "kind": "diagnosis", "of": "calciphylaxis", "until": until}
    saved(admin, f"{PAGE}/change/exception", **fields)
    assert () == admin_app.extensions["cds"].shelf.book.rules[RULE].exemptions
    other = sign_in("anna")
    answer = other.post("/admin/changes/1/ruling", outcome="approved", why="agreed in the meeting")
    assert 303 == answer.status_code, answer.text
    [exemption] = admin_app.extensions["cds"].shelf.book.rules[RULE].exemptions
    assert ("wounds", "diagnosis") == (exemption.key, exemption.kind)
    assert "no card for patients with a diagnosis of" in admin.get(PAGE).text
    saved(admin, f"{PAGE}/change/exception.wounds", kind="none", base="1")

    assert () == admin_app.extensions["cds"].shelf.book.rules[RULE].exemptions


# --- the second person -----------------------------------------------------------------------------------------------


@pytest.fixture
def waiting(sign_in: SignIn) -> str:
    """Propose a higher urgency, which asks for a second person."""
    return saved(sign_in("erin"), f"{PAGE}/change/indicator", value="critical")


def test_a_higher_urgency_waits_and_nothing_changes_meanwhile(admin_app: Flask, sign_in: SignIn, waiting: str) -> None:
    assert "warning" == in_force(admin_app, "indicator")
    assert "Waiting for a second person: 1" in sign_in("anna").get("/admin/changes").text
    assert "waits for approval" in sign_in("vera").get(PAGE).text


def test_another_person_approves(admin_app: Flask, sign_in: SignIn, waiting: str) -> None:
    answer = sign_in("anna").post(f"{waiting}/ruling", outcome="approved", why="agreed in the meeting")

    assert 303 == answer.status_code, answer.text
    assert "critical" == in_force(admin_app, "indicator")
    assert "approve change" == governance(admin_app).audit.page()[0].action


def test_nobody_approves_what_they_proposed_themselves(admin_app: Flask, sign_in: SignIn, waiting: str) -> None:
    admin = sign_in("erin")
    assert 'value="approved"' not in admin.get(waiting).text
    answer = admin.post(f"{waiting}/ruling", outcome="approved", why="I like my own work")

    assert 403 == answer.status_code
    assert "warning" == in_force(admin_app, "indicator")


@pytest.mark.parametrize(("who", "outcome"), [("anna", "rejected"), ("erin", "withdrawn")])
def test_it_is_rejected_or_withdrawn(admin_app: Flask, sign_in: SignIn, waiting: str, who: str, outcome: str) -> None:
    answer = sign_in(who).post(f"{waiting}/ruling", outcome=outcome, why="not before the audit")

    assert 303 == answer.status_code, answer.text
    assert outcome == governance(admin_app).history()[0].state
    assert "warning" == in_force(admin_app, "indicator")


@pytest.mark.parametrize(
    ("who", "outcome", "why", "status"),
    [
        ("anna", "approved", "yes", 422),
        ("eddie", "approved", "agreed in the meeting", 403),
        ("eddie", "withdrawn", "not mine to withdraw", 422),
        ("vera", "rejected", "I do not like it", 403),
        ("anna", "celebrated", "agreed in the meeting", 403),
    ],
)
def test_a_ruling_that_may_not_be_is_refused(
    admin_app: Flask, sign_in: SignIn, waiting: str, who: str, outcome: str, why: str, status: int
) -> None:
    assert status == sign_in(who).post(f"{waiting}/ruling", outcome=outcome, why=why).status_code
    assert "waiting" == governance(admin_app).history()[0].state


def test_what_the_files_refuse_by_now_cannot_be_approved(admin_app: Flask, sign_in: SignIn, waiting: str) -> None:
    shelf = admin_app.extensions["cds"].shelf
    others = {name: rule for name, rule in shelf.base.rules.items() if name != RULE}
    shelf.base = msgspec.structs.replace(shelf.base, rules=others, memo={})
    answer = sign_in("anna").post(f"{waiting}/ruling", outcome="approved", why="agreed in the meeting")

    assert 422 == answer.status_code
    assert "It cannot be approved." in answer.text


# --- back-tests of other processes -----------------------------------------------------------------------------------


def test_a_back_test_whose_process_died_is_shown_as_stopped(admin_app: Flask, sign_in: SignIn) -> None:
    trials = governance(admin_app).trials
    plain = Tuning(RULE, "phosphate_high", Decimal("6.5"), TODAY, "eddie").plain()
    number = trials.start("eddie", {"tuning": plain, "base": 0, "cohort": "population", "restores": 0})
    trials.progress(number, 7, 200)
    admin = sign_in("eddie")
    running = admin.get(f"/admin/trials/{number}").text
    assert "7 of 200 patients" in running
    assert '<noscript><meta http-equiv="refresh"' in running
    trials._clock = lambda: NOW.timestamp() + 3600
    stopped = admin.get(f"/admin/trials/{number}").text

    assert "was stopped" in stopped
    assert "Try again" in stopped
    assert "true" == admin.get(f"/admin/trials/{number}/progress").headers["HX-Refresh"]


def test_a_back_test_that_failed_says_why_and_can_be_tried_again(admin_app: Flask, sign_in: SignIn) -> None:
    trials = governance(admin_app).trials
    plain = Tuning(RULE, "phosphate_high", Decimal("6.5"), TODAY, "eddie").plain()
    number = trials.start("eddie", {"tuning": plain, "base": 0, "cohort": "population", "restores": 0})
    trials.fail(number, "The folder is gone.")
    admin = sign_in("eddie")

    assert "The folder is gone." in admin.get(f"/admin/trials/{number}").text
    assert 303 == admin.post(f"/admin/trials/{number}/again").status_code


def test_the_recorded_calls_can_be_the_cohort(sign_in: SignIn) -> None:
    """Nothing is recorded yet: that is said, not failed."""
    admin = sign_in("eddie")

    assert "No patient gains or loses a card" in admin.get(tried(admin, value="6.5", cohort="ledger")).text


def test_days_are_those_of_utc() -> None:
    assert date(2026, 3, 1) == datetime.fromtimestamp(NOW.timestamp(), UTC).date() == TODAY


def test_whoever_signs_in_in_another_way_than_the_author_cannot_approve(admin_app: Flask, sign_in: SignIn) -> None:
    """Both accounts may be those of one person, and nobody can see that."""
    kept = governance(admin_app)
    kept.accounts.admit("eva@idp.example", ("editor", "approver"), "192.0.2.3")
    made = kept.propose(
        Tuning(RULE, "phosphate_high", Decimal("6.5"), TODAY, "eva@idp.example", REASON),
        base=0,
        asks="it is not the guideline value",
        role="editor",
        origin="192.0.2.3",
    )
    answer = sign_in("anna").post(f"/admin/changes/{made.number}/ruling", outcome="approved", why="agreed with her")

    assert 403 == answer.status_code
    assert "the two accounts may be those of one person. Sign in as its author does" in answer.text
    assert Decimal("5.5") == in_force(admin_app)
