"""Every figure on the pages about feedback and activity, and of a back-test, once more from rows or from real calls."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from cds_service.adapters.ehr import hook_request
from cds_service.adapters.ehr.cases import moment_of
from cds_service.rules.tuning import Tuning, tuned
from cds_service.web import Settings, create_app
from tests.admin.conftest import Admin
from tests.build import ROOT
from tests.insight import recompute, recount
from tests.insight.life import LAST, PILOT, Life, population
from tests.insight.reading import below, drawn, pairs_of, rows_of, text_of
from tests.insight.recompute import DAY, Raw
from tests.insight.recount import Files
from tests.insight.test_every_figure import TODAY, spark_words

Enter = Callable[[str], Admin]
RULE, SMALLEST = "eskd-hyperphosphatemia", 11
SPANS = pytest.mark.parametrize("days", [0, 56, 7])


@pytest.fixture(scope="module")
def files() -> Files:
    return Files(ROOT / "hooks")


def said(part: int, whole: int) -> str:
    """Say a share as a page has to: a percentage never stands alone, and not at all beside a small number."""
    if whole < 20:
        return f"{part} of {whole}" if whole else "none"
    low, high = recompute.wilson(part, whole)
    shares = [f"{100 * one:.1f}" if 0 < one < 0.0995 else f"{100 * one:.0f}" for one in (part / whole, low, high)]
    return f"{shares[0]} % ({part} of {whole}; {shares[1]} to {shares[2]} %)"


def lasting(seconds: float | None) -> str:
    """Say how long something took."""
    if seconds is None:
        return "no answers"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else "hours"


# --- feedback --------------------------------------------------------------------------------------------------------


@SPANS
def test_all_cards_are_those_of_the_raw_tables(enter: Enter, life: Life, days: int) -> None:
    raw, page = Raw(life.path, LAST, days), enter("vera").get(f"/admin/feedback?days={days}").text
    cards, answers, tiles = raw.cards(), raw.answers(), pairs_of(below(page, "all"))
    outcomes = Counter(answers[card["id"]]["outcome"] for card in cards if card["id"] in answers)
    burden = recompute.burden(raw)
    unknown = len(set(answers) - {card["id"] for card in raw.cards(ever=True)})
    per_day = f"{len(cards) / burden['clinician_days']:.1f} {len(cards)} in {burden['clinician_days']} days"

    assert {
        "Cards shown": str(len(cards)),
        "Accepted": f"{outcomes['accepted']} of {len(cards)}",
        "Overridden": f"{outcomes['overridden']} of {outcomes.total()} answered",
        "Answered": f"{outcomes.total()} of {len(cards)}",
        "Cards for a clinician's day": per_day,
        "Time for a clinician's day": lasting(burden["seconds"]),
    } == tiles
    assert 1 == unknown
    assert f"{unknown} answered cards are not on record" in text_of(page)


@SPANS
def test_every_column_by_rule_is_that_of_the_raw_tables(enter: Enter, life: Life, files: Files, days: int) -> None:
    raw, page = Raw(life.path, LAST, days), enter("vera").get(f"/admin/feedback?days={days}").text
    shown = {row[0].split()[0]: row[1:] for row in rows_of(page, "by-rule")}
    for rule, document in files.rules.items():
        counted = recompute.of_rule(raw, rule)
        if not counted["shown"]:
            assert document["number"] not in shown
            continue
        many, taken, declined = (counted[name] for name in ("shown", "accepted", "overridden"))
        assert [
            str(many),
            f"{100 * many / counted['encounters']:.1f} {many} in {counted['encounters']}",
            said(taken, many),
            said(declined, taken + declined),
            said(declined, many),
            alerting(taken, many),
            f"{counted['repeats']} of {many}",
            lasting(counted["seconds_to_answer"]),
        ] == shown[document["number"]], rule


def alerting(taken: int, many: int) -> str:
    """Say the number needed to alert with its interval: the inverse of Wilson's."""
    if not taken:
        return f"none accepted (0 of {many})"
    low, high = recompute.wilson(taken, many)
    return f"{many / taken:.1f} ({1 / high:.1f} to {1 / low:.1f}; {taken} of {many} accepted)"


def test_before_and_after_a_change_is_as_the_raw_tables_have_it(enter: Enter, life: Life) -> None:
    """The number was changed once, and both forms showed cards."""
    page = enter("vera").get("/admin/feedback?days=0").text
    rows = rows_of(page, f"forms-{RULE}")
    forms = recompute.by_thresholds(Raw(life.path, LAST, 0), RULE)
    expected = {
        f"version 1{''.join(f', {name} {value}' for name, value in json.loads(form).items())}": (
            str(many),
            said(taken, many),
            said(declined, taken + declined),
        )
        for form, (many, taken, declined) in forms.items()
    }

    assert 2 == len(expected)
    assert expected == {row[0]: tuple(row[3:]) for row in rows}
    [before, after] = [forms[form] for form in sorted(forms, key=len)]
    p = recompute.fisher(((after[2], after[1]), (before[2], before[1])))
    noted = "overrides from" in text_of(page.split(f'id="forms-{RULE}"')[1].split("<h3")[0])
    assert noted == (p < 0.05)


@SPANS
def test_reasons_are_those_of_the_raw_tables(enter: Enter, life: Life, files: Files, days: int) -> None:
    raw, page = Raw(life.path, LAST, days), enter("vera").get(f"/admin/feedback?days={days}").text
    shown = {row[0].split()[0]: sorted(map(int, re.findall(r": (\d+)", row[1]))) for row in rows_of(page, "reasons")}
    given = {document["number"]: recompute.of_rule(raw, rule)["reasons"] for rule, document in files.rules.items()}

    assert {number: sorted(reasons.values()) for number, reasons in given.items() if reasons} == shown


def test_comments_stand_in_the_order_that_the_raw_tables_give(enter: Enter, life: Life) -> None:
    section = below(enter("vera").get("/admin/feedback").text, "comments")
    lines = (ROOT / "hooks" / "comment-words.txt").read_text("utf-8").splitlines()
    words = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    shown = [
        (text_of(text), day, bool(hit))
        for hit, text, day in re.findall(
            r'<li( class="hit")?><blockquote>(.*?)</blockquote>\s*<p class="muted">(\d{4}-\d\d-\d\d)',
            section,
            re.DOTALL,
        )
    ]
    expected = recount.comments(Raw(life.path, LAST, 0), words)

    assert [(flat(text), day, told) for text, day, told in expected[:100]] == [
        (flat(text), day, told) for text, day, told in shown
    ]
    assert f"The list of words ({len(words)})" in text_of(section)
    assert {True, False} == {told for *_, told in expected}


def flat(text: str) -> str:
    """Return a text without spaces: marked words stand apart."""
    return "".join(text.split())


@SPANS
def test_groups_show_what_the_raw_tables_give_and_no_small_number(enter: Enter, life: Life, days: int) -> None:
    raw, page = Raw(life.path, LAST, days), enter("vera").get(f"/admin/feedback?days={days}").text
    left_out = 0
    for kind, label in (("sex", "Recorded sex"), ("age", "Age in years")):
        expected = recompute.groups(raw, kind)
        for row in rows_of(page, label, "aria-label"):
            for number, shown in zip(expected.get(row[0], (0, 0, 0, 0)), row[1:], strict=True):
                assert shown in (str(number), "left out"), (kind, row)
                assert shown == "left out" or number >= SMALLEST
                left_out += shown == "left out"
    assert left_out


# --- activity --------------------------------------------------------------------------------------------------------


@SPANS
def test_every_column_by_hook_is_that_of_the_raw_tables(enter: Enter, life: Life, days: int) -> None:
    raw, page = Raw(life.path, LAST, days), enter("vera").get(f"/admin/activity?days={days}").text
    shown = {row[0]: row[1:] for row in rows_of(page, "hooks")}
    for hook, counted in recompute.hooks(raw).items():
        many = sum(counted["cards"].values())
        cells = shown[hook]

        assert [str(counted["calls"]), str(counted["encounters"])] == cells[:2]
        assert str(many) == cells[2].split()[0]
        assert counted["cards"] == {name: int(times) for times, name in re.findall(r"(\d+) ([a-z]+)", cells[2])}
        assert f"{100 * many / counted['encounters']:.1f}" == cells[3]
        assert "{median:.1f} / {p95:.1f} / {p99:.1f}".format(**counted) == cells[4]
        assert f"{counted['misses']} of {counted['calls']}" == cells[5]
        by_day = Counter(int(one["at"] // DAY) for one in raw.decisions if one["hook"] == hook)
        span = [by_day[day] for day in range(TODAY - (days or 56) + 1, TODAY + 1)]
        assert spark_words(span, "calls") in drawn(page)


@pytest.mark.parametrize("wanted", ["", "hook=encounter-start", f"rule={RULE}", "shown=1", f"rule={PILOT}"])
def test_calls_are_listed_as_they_were_recorded(enter: Enter, life: Life, wanted: str) -> None:
    page = enter("vera").get(f"/admin/activity?{wanted}").text
    rows = [one for one in reversed(Raw(life.path, LAST, 0).decisions) if fits(one, wanted)]
    expected = [
        [
            datetime.fromtimestamp(one["at"], UTC).strftime("%Y-%m-%d %H:%M"),
            one["hook"],
            fired(one),
            str(len(one.get("not_evaluated", {}))),
            str(len(one.get("cards", ()))),
            str(len(one.get("held", ()))),
            f"{one['ms']:.1f}",
        ]
        for one in rows[:50]
    ]

    assert expected == rows_of(page, "calls")
    assert rows
    assert (len(rows) > 50) == ("Older calls" in page)


def fits(one: dict[str, Any], wanted: str) -> bool:
    name, _, value = wanted.partition("=")
    if name == "rule":
        return recompute.fired(one, value)
    return not name or (one["hook"] == value if name == "hook" else bool(one.get("cards")))


def fired(one: dict[str, Any]) -> str:
    names = ", ".join(found["rule"] for found in one.get("fired", ())) or "none"
    silent = ", ".join(found["rule"] for found in one.get("pilot", {}).get("fired", ()))
    return f"{names} silent: {silent}" if silent else names


# --- what a change would do ------------------------------------------------------------------------------------------


def fire(life: Life, value: str) -> tuple[Counter[str], dict[str, set[str]]]:
    """
    Fire the hook for every invented patient, on the day of their newest result, at a service with this number.

    Return how many cards of each urgency the service shows, and of each patient the rules of the cards.
    """
    decided = [
        *life.ledger.governance.decided(),
        Tuning(RULE, "phosphate_high", Decimal(value), date(2020, 1, 1), "eddie", "tried"),
    ]
    now = [0.0]
    book = tuned(life.book, decided, LAST)
    # A service that holds its book and nothing else: no ledger, no cards that were shown before.
    client = create_app(Settings(auth="none"), book=book, clock=lambda: now[0]).test_client()
    urgencies, rules = Counter[str](), dict[str, set[str]]()
    for record in population():
        now[0] = moment_of(record, "newest", life.clock)
        service = book.services["calcinosis-patient-view"].service
        who: dict[str, Any] = {
            "user_id": "Practitioner/one",
            "encounter_id": "",
            "hook_instance": f"i-{record.patient_id}",
        }
        call = hook_request("patient-view", record, service.prefetch, **who)
        answer = client.post(f"/cds-services/{service.id}", data=json.dumps(call), content_type="application/json")
        cards = (answer.json or {}).get("cards", [])
        urgencies.update(card["indicator"] for card in cards)
        told = (one["id"] for card in cards for one in card["extension"]["org.calcinosis-cds"]["rules"])
        rules[record.patient_id] = set(told)
    return urgencies, rules


def test_a_back_test_says_what_the_service_would_answer(enter: Enter, life: Life) -> None:
    someone = enter("eddie")
    form = f"/admin/rules/{RULE}/change/phosphate_high"
    address = someone.post(form, value="4.5", cohort="population", since=LAST.isoformat()).headers["Location"]
    ends = time.monotonic() + 120
    while "<progress" in (page := someone.get(address).text) and time.monotonic() < ends:
        time.sleep(0.05)
    (before, rules_before), (after, rules_after) = fire(life, "6.5"), fire(life, "4.5")
    many = len(rules_before)
    shown = {row[0]: row[1:] for row in rows_of(page, "cards")}
    gaining = {one for one in rules_before if rules_after[one] - rules_before[one]}
    losing = {one for one in rules_before if rules_before[one] - rules_after[one]}

    assert before != after
    for name in ("critical", "warning", "info"):
        assert [f"{100 * one[name] / many:.1f} {one[name]} cards" for one in (before, after)] == shown[name]
    assert f"{many} calls of {many} patients" in text_of(page)
    assert len(gaining) > 5
    assert {(one, "gains" in said_of) for one, said_of, *_ in rows_of(page, "patients")} >= {
        (one, True) for one in gaining
    }
    assert f"{len(losing)} patients lose a card, {len(gaining)} gain one" in text_of(page)


def test_a_recorded_call_is_told_with_what_stands_in_its_row(enter: Enter, life: Life, files: Files) -> None:
    someone, decisions = enter("vera"), Raw(life.path, LAST, 0).decisions
    chosen = [one for one in decisions if one.get("held") or one.get("pilot", {}).get("fired")][::3]
    titles = {rule: document["title"] for rule, document in files.rules.items()}
    for one in chosen:
        page = someone.get(f"/admin/activity/{one['id']}").text
        told = re.findall(r'<span class="title">(.*?)</span> <b class="verdict \w+">(.*?)</b>', page)
        expected = {titles[rule]: said for rule, said in verdicts(one).items()}

        assert expected.items() <= {text_of(title): said for title, said in told}.items()
        assert f"answered in {one['ms']:.1f} ms" in text_of(page)
        assert len(one.get("cards", ())) == below(page, "shown").split("<h3>")[0].count("<li>")
        for held in one.get("held", ()):
            assert f"{titles[held['rule']]} ({held['indicator']}): {held['reason']}" in text_of(page)
    assert len(chosen) > 5


def verdicts(one: dict[str, Any]) -> dict[str, str]:
    """Return what each rule said in a call, by its row."""
    found: dict[str, str] = {}
    for said_ in (one, one.get("pilot", {})):
        found |= dict.fromkeys(said_.get("not_fired", ()), "did not fire")
        found |= dict.fromkeys(said_.get("not_evaluated", {}), "cannot tell")
        found |= {fired_["rule"]: "fired" for fired_ in said_.get("fired", ())}
    return found
