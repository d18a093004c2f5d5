"""
Every figure on every admin page is what the raw tables give; docs/figures.md lists which test holds which figure.

What is compared is the page as it is sent. Feedback, activity and drift stand partly in test_pages.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from html import unescape
from typing import Any

import pytest

from cds_service.insight.alarms import Alarm
from tests.admin.conftest import Admin
from tests.build import ROOT
from tests.insight import recompute, recount
from tests.insight.life import BROKEN, LAST, LEFT_OFF, PILOT, Life
from tests.insight.reading import below, drawn, pairs_of, rows_of, text_of
from tests.insight.recompute import DAY, Raw
from tests.insight.recount import Files, iso

Enter = Callable[[str], Admin]
TODAY = (LAST - date(1970, 1, 1)).days
RULE = "eskd-hyperphosphatemia"


@pytest.fixture(scope="module")
def raw(life: Life) -> Raw:
    """Give eight weeks, as most pages show them."""
    return Raw(life.path, LAST, 56)


@pytest.fixture(scope="module")
def ever(life: Life) -> Raw:
    return Raw(life.path, LAST, 0)


@pytest.fixture(scope="module")
def files() -> Files:
    return Files(ROOT / "hooks")


def test_the_made_up_life_is_as_rich_as_a_real_one(raw: Raw, ever: Raw) -> None:
    """Else the comparisons below would compare nothing with nothing."""
    chains = raw.database.execute("SELECT count(DISTINCT chain) FROM decisions").fetchone()[0]
    failed = [one for one in raw.decisions if "failed" in str(one.get("not_evaluated", {}).get(BROKEN))]
    outcomes = {row["outcome"] for row in raw.database.execute("SELECT outcome FROM feedback")}

    assert 3 == chains  # three workers wrote
    assert len(failed) > 10
    assert {"accepted", "overridden"} == outcomes
    assert {"waiting", "planned", "rejected", "in force"} == set(recount.states(ever, LAST).values())
    assert 2 == len({one["hook"] for one in raw.decisions})
    assert len({int(one["at"] // DAY) for one in raw.decisions}) > 80


# --- rules -----------------------------------------------------------------------------------------------------------


def spark_words(per_day: list[int], what: str = "findings") -> str:
    """Say what a small drawing says, from its counts."""
    span = f"from {LAST - timedelta(len(per_day) - 1)} to {LAST}"
    if not sum(per_day):
        return f"No {what} {span}."
    last = LAST - timedelta(next(place for place, count in enumerate(reversed(per_day)) if count))
    return f"{sum(per_day)} {what} {span}, at most {max(per_day)} on a day, the last on {last}."


def test_the_list_of_rules_shows_the_figures_of_the_raw_tables(enter: Enter, raw: Raw, files: Files) -> None:
    page = enter("vera").get("/admin/rules").text
    states, status = recount.states(raw, LAST), recount.statuses(raw, files, LAST)
    rows = {row[0].split()[0]: row for one in re.findall(r'id="(chapter-\d+)"', page) for row in rows_of(page, one)}
    numbers = {document["number"]: name for name, document in files.rules.items()}

    assert set(numbers) == set(rows)
    for number, row in rows.items():
        rule, document = numbers[number], files.rules[numbers[number]]
        counted = recompute.of_rule(raw, rule)
        answered = counted["accepted"] + counted["overridden"]
        mine = [one for one in recount.changes(raw) if one["rule"] == rule]
        open_ = [one for one in mine if states[one["number"]] in ("waiting", "planned")]
        in_force = [one for one in mine if states[one["number"]] == "in force"]

        assert (f"{len(open_)} waiting" in row[0]) == bool(open_), rule
        assert (f"{len(in_force)} changed" in row[0]) == bool(in_force), rule
        switched = " switched off" if rule in off(raw) else ""
        assert f"{status[rule]}{switched} version {document['version']}" == row[1].lower()
        assert row[2].startswith(f"{document['owner']} reviewed {document['reviewed']}")
        assert findings(counted) == row[3], rule
        assert str(counted["shown"]) == row[4]
        assert (f"{counted['overridden']} of {answered} answered" if answered else "no answers") == row[5]
        assert row[6].endswith(spark_words(counted["per_day"]))


def findings(counted: dict[str, Any]) -> str:
    """Say findings of evaluations as the list does."""
    silently = sum(counted[f"pilot_{name}"] for name in ("fired", "not_fired", "unknown"))
    many = sum(counted[name] for name in ("fired", "not_fired", "unknown"))
    if silently:
        return f"{counted['pilot_fired']} silent, of {silently}"
    return f"{counted['fired']} of {many}" if many else "not asked"


def test_the_page_of_each_rule_shows_the_figures_of_the_raw_tables(
    enter: Enter, raw: Raw, ever: Raw, files: Files
) -> None:
    someone = enter("vera")
    for rule in files.rules:
        page = someone.get(f"/admin/rules/{rule}").text
        counted, section = recompute.of_rule(raw, rule), below(page, "figures")
        tiles = pairs_of(section)
        asked = sum(counted[name] for name in ("fired", "not_fired", "unknown"))
        expected = {
            "Asked": asked,
            "Findings": counted["fired"],
            "Could not tell": counted["unknown"],
            "Cards shown": counted["shown"],
            "Accepted": counted["accepted"],
            "Overridden": counted["overridden"],
        }

        assert {name: str(number) for name, number in expected.items()}.items() <= tiles.items(), rule
        assert spark_words(counted["per_day"]) in drawn(section), rule
        assert held(raw, rule) == {why: int(many) for many, why in re.findall(r"(\d+) \(([^)]+)\)", section)}, rule
        assert len([one for one in recount.changes(ever) if one["rule"] == rule]) == below(page, "history").count(
            "<li>"
        )
        examples(below(page, "examples"), files.examples[rule], rule)


def held(raw: Raw, rule: str) -> Counter[str]:
    """Count why findings of a rule were held back."""
    reasons = (one["reason"] for call in raw.recent for one in call.get("held", ()) if one["rule"] == rule)
    return Counter(re.sub(r" on \d.*", "", one) for one in reasons)


def examples(section: str, file: dict[str, Any], rule: str) -> None:
    """Hold the numbers of examples against their file."""
    known = [len(some) for some in file.values() if isinstance(some, list)]
    told = [int(one) for one in re.findall(r"<summary>[^<:]+: (\d+)", section)]

    assert sorted(known) == sorted(told), rule


def test_evaluations_in_pilot_are_those_of_the_raw_tables(enter: Enter, raw: Raw) -> None:
    counted = recompute.of_rule(raw, PILOT)
    many = sum(counted[f"pilot_{name}"] for name in ("fired", "not_fired", "unknown"))
    text = text_of(enter("vera").get(f"/admin/rules/{PILOT}").text)

    assert counted["pilot_fired"]
    assert f"asked silently {many} times; {counted['pilot_fired']} findings would have shown a card, " in text
    assert f"{counted['pilot_unknown']} times it could not tell" in text


# --- drift and near misses -------------------------------------------------------------------------------------------


def test_alarms_are_those_that_the_raw_tables_give(enter: Enter, ever: Raw, files: Files) -> None:
    running = [name for name, one in recount.statuses(ever, files, LAST).items() if one in ("active", "pilot")]
    page = enter("vera").get("/admin/drift").text
    shown = {(row[0].split()[0], row[1], row[2]): row[3] for row in rows_of(page, "alarms")}
    expected = {
        (files.rules[rule]["number"], f"{kind} {told}", iso(day)): chance(p)
        for (rule, kind, day, told), p in recount.alarms(ever, running, TODAY).items()
    }

    assert expected == shown
    assert {"jumped", "silent"} <= {key[1].split()[0] for key in shown}  # the rule that broke


def chance(p: Any) -> str:
    """Say how likely something is, as the page does."""
    if p is None:
        return "not computed"
    return "p < 0.0001" if p < 0.0001 else f"p = {float(p):.4f}"


def test_everything_that_was_not_matched_is_listed_with_its_counts(enter: Enter, ever: Raw) -> None:
    page = enter("vera").get("/admin/drift").text
    expected = recompute.drift(ever)
    shown = {row[0].removesuffix(" new"): row for row in rows_of(page, "unmatched")}

    assert 0 < len(expected) < 100
    assert len(expected) == len(shown)
    for (_, system, code), (times, calls, first, last) in expected.items():
        if "other" in (system, code):  # not kept, since it may be words
            continue
        assert [str(calls), str(times), iso(first), iso(last)] == shown[code][3:], code
        assert (TODAY - first < 14) == (f"<code>{code}</code> <span" in page), code


def test_everything_that_could_not_be_used_is_listed_with_its_counts(enter: Enter, ever: Raw) -> None:
    page = enter("vera").get("/admin/drift").text
    expected = recompute.unusable(ever)

    assert expected
    assert sorted((calls, times) for times, calls in expected.values()) == sorted(
        (int(row[2]), int(row[3])) for row in rows_of(page, "unusable")
    )


def test_near_misses_of_every_limit_are_those_of_the_recorded_facts(
    enter: Enter, life: Life, raw: Raw, files: Files
) -> None:
    expected, patients = recount.near(raw, files, life.book, LAST)
    page = enter("vera").get("/admin/near").text
    ids = re.findall(r'href="/admin/rules/([a-z0-9-]+)">', below(page, "limits"))
    names = re.findall(r"<small><code>([a-z0-9_]+)</code>", below(page, "limits"))
    shown = dict(zip(zip(ids, names, strict=True), rows_of(page, "limits"), strict=True))

    assert f"{patients} patients of the last 56 days" in text_of(page)
    assert set(expected) == set(shown)
    assert len({rule for rule, _ in shown}) > 3
    for (rule, name), (nearly, barely) in expected.items():
        row, value = shown[rule, name], recount.numbers(rule, raw, files, LAST)[name]
        assert [f"{nearly} of {patients}", f"{barely} of {patients}"] == row[3:5], (rule, name)
        assert (f"{files.means(rule, name)} {name}", files.rules[rule]["title"]) == (row[0], row[1])
        assert value == type(value)(row[2].split()[0])


# --- settings, changes, switches, audit ------------------------------------------------------------------------------


def test_settings_count_what_the_files_and_the_tables_hold(enter: Enter, ever: Raw, files: Files) -> None:
    page = enter("vera").get("/admin/settings").text
    shown, status = pairs_of(page), Counter(recount.statuses(ever, files, LAST).values())
    decided = [one for one in recount.changes(ever) if one["outcome"] == "approved" or not one["asks"]]
    settings = rows_of(page, "said")
    changed = [row for row in settings if row[1].endswith(" set") and row[1] != "not set"]

    assert ", ".join(f"{status[one]} {one}" for one in ("active", "pilot", "draft", "retired")) == shown["Rules"]
    assert str(len(files.services)) == shown["Services"]
    assert f"{len(decided)}, of which these rules refuse none" == shown["Decisions of admins"]
    assert str(len(off(ever))) == shown["Switched off"]
    assert f"{len(changed)} of {len(settings)} are not as usual" in text_of(page)


def off(raw: Raw) -> set[str]:
    """Return what is switched off: the last word on each."""
    query = "SELECT name, off FROM switches s WHERE number = (SELECT max(number) FROM switches WHERE name = s.name)"
    return {row["name"] for row in raw.database.execute(query) if row["off"]}


def test_switches_are_listed_as_they_stand_in_the_table(enter: Enter, ever: Raw, files: Files) -> None:
    page = enter("vera").get("/admin/switches").text
    rows = [dict(row) for row in ever.database.execute("SELECT * FROM switches ORDER BY number DESC")]

    assert {LEFT_OFF} == off(ever)
    assert f"Rule {files.rules[LEFT_OFF]['number']} {files.rules[LEFT_OFF]['title']} off" in text_of(below(page, "now"))
    assert [(one["who"], one["why"], "off" if one["off"] else "on") for one in rows] == [
        (row[3], row[4], row[2]) for row in rows_of(page, "history")
    ]


def test_changes_are_grouped_and_counted_as_the_tables_hold_them(enter: Enter, ever: Raw) -> None:
    text, states = text_of(enter("vera").get("/admin/changes").text), Counter(recount.states(ever, LAST).values())
    others = states.total() - states["waiting"] - states["planned"]

    assert f"Waiting for a second person: {states['waiting']}" in text
    assert f"Begins later: {states['planned']}" in text
    assert f"Decided: {others}" in text


def test_the_audit_shows_and_counts_what_the_table_holds(enter: Enter, ever: Raw) -> None:
    page = enter("audrey").get("/admin/audit").text
    rows = [dict(row) for row in ever.database.execute("SELECT * FROM audit ORDER BY number DESC")]
    shown = rows_of(page, "entries")

    assert f"Check all {len(rows)} entries" in text_of(page)
    assert [str(one["number"]) for one in rows[:100]] == [row[0] for row in shown]
    for one, row in zip(rows, shown, strict=False):
        when = datetime.fromtimestamp(one["at"], UTC).strftime("%Y-%m-%d %H:%M:%S")
        assert (when, one["action"], one["origin"] or "not known") == (row[1], row[3], row[5])
        assert row[2].startswith(one["who"] or "nobody")
        assert row[4].startswith(one["subject"])


def test_accounts_are_those_of_the_table(enter: Enter, ever: Raw) -> None:
    page = enter("audrey").get("/admin/accounts").text
    rows = ever.database.execute("SELECT * FROM accounts ORDER BY name").fetchall()
    shown = re.findall(r'<td data-label="Made" class="number">([^<]+)</td>', page)

    assert len(rows) == len(shown)
    assert [datetime.fromtimestamp(one["made"], UTC).strftime("%Y-%m-%d %H:%M:%S") for one in rows] == shown


def test_alarms_are_told_in_the_words_that_the_recount_uses() -> None:
    """Else a changed wording would look like a changed figure."""
    alarm = Alarm(RULE, "jumped", "findings", TODAY, 3, 9, 1.25, 0.0001)

    assert "3 findings in 9 evaluations on 2026-05-24" in unescape(alarm.words)
