"""The pages about figures: what they show, to whom, and what they must never keep."""

from __future__ import annotations

import base64
import csv
import io
import json
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from html import unescape
from typing import Any

import msgspec
import pytest
from fhir.resources.R4B.bundle import Bundle

from cds_service.insight import Figures
from cds_service.insight.intervals import Share
from cds_service.publishing.attributes import NAMES
from cds_service.web.admin.explain import examples
from cds_service.web.admin.exports import _masked
from tests.admin.conftest import PEOPLE, Admin
from tests.build import body, condition, observation, patient
from tests.insight import recompute
from tests.insight.life import BREAKS, CHANGED, LAST, Life
from tests.insight.recompute import Raw

Enter = Callable[[str], Admin]
PAGES = ("explain", "drift", "near", "feedback", "activity", "exports")
# Stands in a call wherever a record can hold words: it must be found nowhere afterwards.
MARKER = "Zyxwvut-Marker-4711"


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", PEOPLE)
def test_everybody_who_is_signed_in_may_read_the_figures(enter: Enter, page: str, name: str) -> None:
    answer = enter(name).get(f"/admin/{page}")

    assert 200 == answer.status_code
    assert 1 == answer.text.count("<h1")


def text_of(html: str) -> str:
    """Return what a reader reads, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def rows_of(html: str, heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, row by row."""
    table = re.search(rf'<table[^>]*aria-labelledby="{heading}".*?</table>', html, re.DOTALL)
    assert table, heading
    rows = re.findall(r"<tr>(.*?)</tr>", table[0], re.DOTALL)[1:]
    return [[text_of(cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in rows]


# --- figures on pages are those of the raw tables --------------------------------------------------------------------


@pytest.mark.parametrize("days", [0, 7])
def test_the_feedback_page_shows_the_figures_of_the_raw_tables(enter: Enter, life: Life, days: int) -> None:
    page, raw = enter("vera").get(f"/admin/feedback?days={days}").text, Raw(life.path, LAST, days)
    shown = {row[0].split()[0]: row for row in rows_of(page, "by-rule")}
    rules = {rule.number: rule.id for rule in life.book.rules.values()}
    for number, row in shown.items():
        expected = recompute.of_rule(raw, rules[number])
        answered = expected["accepted"] + expected["overridden"]

        assert str(expected["shown"]) == row[1]
        assert f"{expected['shown']} in {expected['encounters']}" in row[2]
        assert said(expected["accepted"], expected["shown"]) == row[3]
        assert said(expected["overridden"], answered) == row[4]
        assert said(expected["overridden"], expected["shown"]) == row[5]
        assert f"{expected['accepted']} of {expected['shown']}" in row[6]
        assert f"{expected['repeats']} of {expected['shown']}" == row[7]
    assert {number for number, rule in rules.items() if raw.cards(rule)} == set(shown)


def said(part: int, whole: int) -> str:
    """Say a share as a page has to: a percentage never stands alone, and not at all beside a small number."""
    if whole < 20:
        return f"{part} of {whole}" if whole else "none"
    low, high = recompute.wilson(part, whole)
    shares = [f"{100 * one:.1f}" if 0 < one < 0.0995 else f"{100 * one:.0f}" for one in (part / whole, low, high)]
    return f"{shares[0]} % ({part} of {whole}; {shares[1]} to {shares[2]} %)"


def test_no_percentage_stands_alone(enter: Enter) -> None:
    for page in PAGES:
        text = text_of(enter("vera").get(f"/admin/{page}").text)
        for found in re.finditer(r"[\d.]+ %(?! \(\d+ of \d+)", text):
            before, after = text[: found.start()], text[found.end() :]
            # Of an interval, of a definition, or of the distance to a limit: not a share of something counted.
            assert (
                re.search(r"to $", before[-4:])
                or "interval" in after[:12]
                or "higher" in after[:12]
                or "of a limit" in after[:12]
            ), text[found.start() - 60 : found.end() + 30]


def test_caveats_are_printed(enter: Enter) -> None:
    text = text_of(enter("vera").get("/admin/feedback").text)

    for caveat in ("Silence is not an override", "the EHR sends no feedback", "below 11 are left out", "95 %"):
        assert caveat in text


def test_the_activity_page_shows_the_figures_of_the_raw_tables(enter: Enter, life: Life) -> None:
    page, raw = enter("vera").get("/admin/activity?days=0").text, Raw(life.path, LAST, 0)
    shown = {row[0]: row for row in rows_of(page, "hooks")}

    for hook, expected in recompute.hooks(raw).items():
        row = shown[hook]
        numbers = "{median:.1f} / {p95:.1f} / {p99:.1f}".format(**expected)
        assert [str(expected["calls"]), str(expected["encounters"])] == row[1:3]
        assert str(sum(expected["cards"].values())) == row[3].split()[0]
        assert numbers == row[5]
        assert f"{expected['misses']} of {expected['calls']}" == row[6]
    assert f"{len(raw.decisions)} calls on record" in text_of(page)


def test_the_drift_page_lists_what_the_raw_tables_hold(enter: Enter, life: Life) -> None:
    page, raw = enter("vera").get("/admin/drift").text, Raw(life.path, LAST, 0)
    expected = recompute.drift(raw)
    shown = {(row[0], row[2]): row for row in rows_of(page, "unmatched")}
    times, calls, *_ = expected["observations", "http://lab.example/codes", "PHOS-7"]

    assert [str(calls), str(times)] == shown["PHOS-7", "laboratory test"][3:5]
    assert "unit of Phosphate" == shown["spoons", "unit"][1]
    assert len(expected) == len(shown)


def test_near_misses_are_those_of_the_raw_tables(enter: Enter, life: Life) -> None:
    """
    Counted from recorded values alone, for the rule that asks for nothing but kidney failure and phosphate.
    """
    raw, limit = Raw(life.path, LAST, 56), 6.5
    newest: dict[tuple[str, str], dict[str, Any]] = {(one["patient"], one["hook"]): one for one in raw.recent}
    nearly, barely = set(), set()
    for (person, _), one in newest.items():
        results = one["kept"].get("measurements", {}).get("phosphate", {}).get("results", [])
        value = float(results[0]["value"]) if results else 0.0
        day = results[0]["when"][:10] if results else ""
        recent = (LAST - LAST.fromisoformat(day)).days <= 90 + 60 if day else False
        fired = recompute.fired(one, "eskd-hyperphosphatemia") and value > limit
        if fired and value <= limit * 1.05:
            barely.add(person)
        # Above the old limit it was seen to fire before the number was changed; below, kidney failure is not certain.
        if recent and not fired and limit * 0.95 < value <= limit and _in_failure(one):
            nearly.add(person)
    rows = rows_of(enter("vera").get("/admin/near").text, "limits")
    [row] = [row for row in rows if row[1] == "Kidney failure with high phosphate"]
    patients = len({person for person, _ in newest})

    assert [f"{len(nearly)} of {patients}", f"{len(barely)} of {patients}"] == row[3:5]


def _in_failure(one: dict[str, Any]) -> bool:
    """Say whether kidney failure is certain by what is recorded: its diagnosis, and no transplant."""
    concepts = {item["concept"] for item in one["kept"].get("diagnoses", ())}
    return "met-eskd" in concepts and not concepts & {"ktx", "ktx-fail"}


# --- explain ---------------------------------------------------------------------------------------------------------


def pasted(**extra: Any) -> str:
    """Return a call with the marker wherever a record can hold words."""
    person = patient(name=[{"family": MARKER, "text": MARKER}], identifier=[{"value": MARKER}])
    sick = condition(note=[{"text": MARKER}], id=f"c-{MARKER}")
    call = json.loads(body(person, sick, observation(value=7.1, note=[{"text": MARKER}])))
    call["hookInstance"] = MARKER
    call["context"]["userId"] = f"Practitioner/{MARKER}"
    return json.dumps({**call, **extra})


def test_a_pasted_call_is_answered_with_cards_trails_and_flips(enter: Enter) -> None:
    text = text_of(enter("vera").post("/admin/explain", call=pasted(), day="2026-03-01").text)

    assert "Kidney failure with phosphate 7.1 mg/dL" in text
    assert "Would not fire if phosphate were 5.5 mg/dL or less" in text or "6.5 mg/dL or less" in text
    assert "YES End-stage kidney disease" in text
    assert "0 cannot tell" not in text or "did not fire" in text


def test_nothing_of_a_pasted_call_is_kept(
    enter: Enter, life: Life, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    someone = enter("vera")
    life.ledger.flush()
    before = life.ledger.database.path.stat().st_size if life.ledger.database.path else 0
    rows = len(Raw(life.path, LAST, 0).decisions)
    with caplog.at_level(logging.DEBUG):
        for call in (pasted(), pasted(hook="no-such-hook"), pasted(prefetch={"patient": {"x": MARKER}}), MARKER):
            assert someone.post("/admin/explain", call=call, day="2026-03-01").status_code in (200, 400, 412)
    life.ledger.flush()

    assert rows == len(Raw(life.path, LAST, 0).decisions)
    assert MARKER not in caplog.text
    assert all(MARKER not in str(vars(record)) for record in caplog.records)
    assert MARKER not in "".join(capfd.readouterr())
    for path in life.path.parent.rglob("*"):
        assert not path.is_file() or MARKER.encode() not in path.read_bytes(), path
    assert before
    for page in PAGES:
        assert MARKER not in someone.get(f"/admin/{page}").text
    assert MARKER not in someone.get("/metrics").text


@pytest.mark.parametrize("key", [*examples()])
def test_every_invented_call_can_be_explained(enter: Enter, key: str) -> None:
    answer = enter("vera").get(f"/admin/explain?example={key}")

    assert 200 == answer.status_code
    assert "What an EHR would show" in answer.text


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("", "Paste a hook call first"),
        ("{", "be refused"),
        ("[]", "be refused"),
        ("null", "be refused"),
    ],
)
def test_what_is_no_call_is_said_to_be_none(enter: Enter, call: str, says: str) -> None:
    assert says in text_of(enter("vera").post("/admin/explain", call=call).text)


def test_a_day_that_is_none_is_said_so(enter: Enter) -> None:
    assert "is not a day" in enter("vera").post("/admin/explain", call="{}", day="tomorrow").text


def test_a_call_as_long_as_an_ehr_may_send_can_be_pasted(enter: Enter) -> None:
    long = pasted(extension={"org.example": "x" * 2_000_000})

    assert "phosphate 7.1 mg/dL" in enter("vera").post("/admin/explain", call=long, day="2026-03-01").text


def test_a_hostile_call_stays_text(enter: Enter) -> None:
    hostile = pasted().replace(MARKER, "<script>alert(1)</script>")
    answer = enter("vera").post("/admin/explain", call=hostile, day="2026-03-01")

    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text


# --- activity: then and now ------------------------------------------------------------------------------------------


def test_a_call_is_told_again_with_the_rules_of_its_day_and_of_today(enter: Enter, life: Life) -> None:
    """Before the change phosphate above 5.5 fired; today it has to be above 6.5."""
    raw = Raw(life.path, LAST, 0)
    rule = "eskd-hyperphosphatemia"
    change = datetime(CHANGED.year, CHANGED.month, CHANGED.day, tzinfo=UTC).timestamp()
    before = [one for one in raw.decisions if recompute.fired(one, rule) and one["at"] < change]
    values = {one["id"]: float(one["kept"]["measurements"]["phosphate"]["results"][0]["value"]) for one in before}
    low = next(number for number, value in values.items() if value <= 6.5)
    text = text_of(enter("vera").get(f"/admin/activity/{low}").text)

    assert "could be made again exactly" in text
    assert "above 5.5 mg/dL" in text
    assert "above 6.5 mg/dL" in text
    assert "today: did not fire" in text


def test_what_was_recorded_is_what_the_book_of_that_day_says(enter: Enter, life: Life) -> None:
    raw = Raw(life.path, LAST, 0)
    broken = datetime(BREAKS.year, BREAKS.month, BREAKS.day, tzinfo=UTC).timestamp()
    sound = [one for one in raw.decisions if one["at"] < broken]
    for one in sound[:: len(sound) // 12]:
        text = text_of(enter("vera").get(f"/admin/activity/{one['id']}").text)

        assert "could be made again exactly" in text
        assert "Told again it says" not in text


def test_a_call_that_is_not_on_record_is_not_found(enter: Enter) -> None:
    assert 404 == enter("vera").get("/admin/activity/no-such-decision").status_code


def test_calls_are_listed_page_by_page(enter: Enter, life: Life) -> None:
    someone, path, seen = enter("vera"), "/admin/activity", list[str]()
    while path:
        page = someone.get(path).text
        seen += re.findall(r'href="/admin/activity/([^"]+)"', page)
        older = re.search(r'href="(/admin/activity\?before=[^"]+)"', page)
        path = unescape(older[1]) if older else ""

    assert [one["id"] for one in reversed(Raw(life.path, LAST, 0).decisions)] == seen


def test_calls_can_be_filtered(enter: Enter, life: Life) -> None:
    page = enter("vera").get("/admin/activity?rule=vka-calciphylaxis-risk&hook=patient-view&shown=1").text
    expected = [
        one["id"]
        for one in reversed(Raw(life.path, LAST, 0).decisions)
        if recompute.fired(one, "vka-calciphylaxis-risk") and one.get("cards")
    ]

    assert expected == re.findall(r'href="/admin/activity/([^"]+)"', page)


# --- exports ---------------------------------------------------------------------------------------------------------


def feedback_rows(one: Admin, **form: Any) -> list[dict[str, str]]:
    answer = one.post("/admin/exports/feedback", form="csv", **form)
    assert 200 == answer.status_code
    assert "attachment" in answer.headers["Content-Disposition"]
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_exported_feedback_is_all_that_was_received_and_safe_in_a_spreadsheet(enter: Enter, life: Life) -> None:
    rows = feedback_rows(enter("audrey"))
    [expected] = Raw(life.path, LAST, 0).database.execute("SELECT count(*) FROM feedback").fetchone()

    assert expected == len(rows)
    assert any(row["comment"].startswith("'=cmd") for row in rows)
    assert not any(cell.lstrip(" ").startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    # One answer is to a card that is not on record: nobody knows who got it.
    users = [row["user"] for row in rows if row["user"]]
    assert len(rows) - 1 == len(users)
    assert all(re.fullmatch(r"[0-9a-f]{16,}", one) for one in users)
    assert "Practitioner/p-" not in json.dumps(rows)


@pytest.mark.parametrize(
    ("name", "value"),
    [("outcome", "accepted"), ("hook", "encounter-start"), ("rule", "eskd-missing-labs"), ("since", "2026-05-01")],
)
def test_exported_feedback_can_be_filtered(enter: Enter, name: str, value: str) -> None:
    someone = enter("eddie")
    every, some = feedback_rows(someone), feedback_rows(someone, **{name: value})
    fits: dict[str, Callable[[dict[str, str]], bool]] = {
        "outcome": lambda row: row["outcome"] == value,
        "hook": lambda row: row["hook"] == value,
        "rule": lambda row: value in json.loads(row["rules"]),
        "since": lambda row: row["answered"] >= value,
    }

    assert [row for row in every if fits[name](row)] == some
    assert 0 < len(some) < len(every)


def test_exported_feedback_is_the_same_as_json(enter: Enter) -> None:
    someone = enter("anna")
    lines, found = feedback_rows(someone), someone.post("/admin/exports/feedback", form="json").json

    assert found is not None
    assert [row["card"] for row in lines] == [row["card"] for row in found]
    assert set(lines[0]) == set(found[0])


def test_a_last_day_before_the_first_is_refused(enter: Enter) -> None:
    answer = enter("audrey").post("/admin/exports/feedback", since="2026-03-02", until="2026-03-01")

    assert "lies before the first" in answer.text


@pytest.mark.parametrize("name", ["vera", "otto"])
def test_comments_are_not_handed_over_to_everybody(enter: Enter, name: str) -> None:
    assert 403 == enter(name).post("/admin/exports/feedback", form="csv").status_code


@pytest.mark.parametrize("name", sorted(set(PEOPLE) - {"audrey"}))
def test_the_audit_is_handed_over_to_auditors_only(enter: Enter, name: str) -> None:
    assert 403 == enter(name).post("/admin/exports/audit", form="csv").status_code


def test_source_attributes_of_every_rule_are_handed_over(enter: Enter, life: Life) -> None:
    someone = enter("vera")
    found = someone.post("/admin/exports/source-attributes", form="json").json
    lines = list(csv.DictReader(io.StringIO(someone.post("/admin/exports/source-attributes", form="csv").text)))

    assert found is not None
    assert set(life.book.rules) == {one["id"] for one in found}
    assert all(len(NAMES) == len(one["source_attributes"]) for one in found)
    assert len(NAMES) * len(found) == len(lines)


def test_the_audit_as_fhir_is_valid_and_names_nobody(enter: Enter, life: Life) -> None:
    answer = enter("audrey").post("/admin/exports/audit", form="fhir")
    entries = Bundle.model_validate_json(answer.data).entry or []

    assert "application/fhir+json; charset=utf-8" == answer.headers["Content-Type"]
    assert len(list(life.ledger.governance.audit.all())) == len(entries)
    assert all("AuditEvent" == entry.resource.get_resource_type() for entry in entries if entry.resource)
    decoded = answer.text + "".join(
        base64.b64decode(one["valueBase64Binary"]).decode()
        for entry in json.loads(answer.text)["entry"]
        for entity in entry["resource"]["entity"]
        for one in entity.get("detail", ())
    )
    assert not [name for name in PEOPLE if re.search(rf"\b{name}\b", decoded)]


def test_the_audit_as_fhir_names_people_where_that_is_asked_for(enter: Enter) -> None:
    answer = enter("audrey").post("/admin/exports/audit", form="fhir", names="1")
    who = {entry["resource"]["agent"][0]["altId"] for entry in json.loads(answer.text)["entry"]}

    assert {"eddie", "audrey"} <= who


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_the_audit_is_handed_over_whole(enter: Enter, life: Life, form: str) -> None:
    text = enter("audrey").post("/admin/exports/audit", form=form).text
    lines = list(csv.DictReader(io.StringIO(text))) if form == "csv" else [json.loads(one) for one in text.splitlines()]
    entries = list(life.ledger.governance.audit.all())

    assert [str(one.number) for one in entries] == [str(line["number"]) for line in lines]
    assert [one.hash for one in entries] == [line["hash"] for line in lines]
    found = [line for line in text.splitlines() if any(re.search(rf"\b{name}\b", line) for name in PEOPLE)]
    assert [] == found


def test_somebody_who_has_done_nothing_yet_is_not_named_either(life: Life) -> None:
    """Whoever made the account is in the audit, and the account is what it was done to."""
    [one, *_] = life.ledger.governance.audit.all()
    made = msgspec.structs.replace(one, who="root", subject="account nora", old="", new="nora: viewer")
    [masked] = _masked([made], lambda who: f"person-{len(who)}")

    assert ("person-4", "account person-4", "person-4: viewer") == (masked.who, masked.subject, masked.new)


def test_every_export_is_written_to_the_audit(enter: Enter, life: Life) -> None:
    someone, audit = enter("audrey"), life.ledger.governance.audit
    before = audit.count()
    for what in ("feedback", "source-attributes", "audit"):
        someone.post(f"/admin/exports/{what}", form="csv", rule="eskd-missing-labs")
    told = audit.page(limit=audit.count() - before)

    assert [] == audit.verify()
    assert ["exported the audit", "exported source attributes", "exported feedback"] == [one.action for one in told]
    assert {"audrey"} == {one.who for one in told}
    assert "eskd-missing-labs" in told[0].new
    assert "csrf" not in told[0].new


def test_a_share_says_its_counts(figures: Figures) -> None:
    assert "3 of 7" == Share(3, 7).words
    assert "0 of 3" == Share(0, 3).words
    assert Share(76, 200).words.startswith("38 % (76 of 200; ")
    assert figures.rows
