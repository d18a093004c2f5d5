"""What was recorded of a call gives every rule the same answer, with today's thresholds and with any others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service import decide, decoding
from cds_service.facts import Facts, age, take_in
from cds_service.facts.dates import DAY, parse
from cds_service.facts.doses import daily
from cds_service.facts.intake import Reader
from cds_service.facts.model import Person
from cds_service.facts.records import Prefetch
from cds_service.protocol import HookRequest
from cds_service.protocol.cards import Response
from cds_service.recording import Answered, DecisionRow, decision_row, facts_from
from cds_service.recording.reach import reach_of
from cds_service.recording.restoring import restored
from cds_service.recording.snapshot import MOST, moment, snapshot
from cds_service.recording.writing import units_of
from cds_service.rules import vignettes
from cds_service.rules.book import RuleBook, ServiceRules
from cds_service.rules.evaluation import evaluate
from cds_service.rules.model import Outcome, Rule, Value
from tests.build import NOW, ROOT, Resource, ago, body, observation, prescription
from tests.conftest import TakeIn
from tests.fixtures import calls

FILES = vignettes.vignette_paths(ROOT / "hooks")
MARKER = "Zaphod Beeblebrox"


def pseudonym(*parts: str) -> str:
    return f"pseudonym of {parts[0]}"


def again(facts: Facts, book: RuleBook) -> Facts:
    """Return facts as they come back from the ledger."""
    kept = msgspec.json.encode(snapshot(facts, units_of(book), reach_of(book)))
    return restored(decoding.decode(kept, type(snapshot(facts, {}))))


def said(outcome: Outcome) -> tuple[Any, ...]:
    return outcome.verdict, outcome.indicator, outcome.judgement.missing, outcome.failed


def recorded(raw: bytes, book: RuleBook, service: ServiceRules, now: float) -> tuple[decide.Decision, DecisionRow]:
    """Decide on a call, and take it down."""
    call = HookRequest.parse(raw, service.service.hook, Prefetch)
    decision = decide.decide(take_in(call, Reader(book.terminology), now), book, service)
    handed = Answered.of(call, (book, service, decision, Response([])), id="x", ms=1.0)
    return decision, decision_row(handed, pseudonym)


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", list(calls.book().services))
def test_every_fixture_gets_the_same_verdicts(service: str) -> None:
    book = calls.book()
    asked = book.services[service]
    for member in calls.cast().members:
        raw = json.dumps({**calls.call(member.patient), "hook": asked.service.hook}).encode()
        try:
            decision, row = recorded(raw, book, asked, calls.cast().noon)
        except Exception as refused:  # noqa: BLE001 - a hook that needs another context than this one
            assert "context" in str(refused)  # noqa: PT017
            continue
        replayed = decide.decide(facts_from(row), book, asked)

        assert [said(one) for one in decision.outcomes] == [said(one) for one in replayed.outcomes], member.patient
        assert [said(one) for one in decision.silent] == [said(one) for one in replayed.silent]


def facts_of_vignettes(path_of: str, book: RuleBook) -> Iterator[tuple[vignettes.Vignette, Facts]]:
    reader = Reader(book.terminology)
    for one in vignettes.read_file(FILES[path_of]):
        request = vignettes._request(one, book.rules[one.rule], book)
        yield one, take_in(request, reader, vignettes._noon(one.today))


def extremes(rule: Rule) -> Iterator[dict[str, Value]]:
    """Yield thresholds at both ends of what is allowed."""
    yield {}
    for name, threshold in rule.thresholds.items():
        yield {name: threshold.low}
        yield {name: threshold.high}


@pytest.mark.parametrize("name", list(FILES))
def test_every_vignette_gets_the_same_verdict_with_any_threshold(name: str, book: RuleBook) -> None:
    for vignette, facts in facts_of_vignettes(name, book):
        kept, rule = again(facts, book), book.rules[vignette.rule]
        for tried in extremes(rule):
            values = book.values(rule, vignette.today, tried)

            assert said(evaluate(rule, facts, values)) == said(evaluate(rule, kept, values)), (vignette.name, tried)


def test_every_fact_is_recorded(facts: TakeIn) -> None:
    """A new member of Facts has to be recorded too, or a back-test would be wrong without a word."""
    kept = {"now", "person", "states", "horizons", "measurements", "diagnoses", "medications", "procedures"}
    kept |= {"unusable", "seen", "today", "past_medications", "answers", "observed", "orders", "about_orders"}

    assert {*kept, "memo"} == set(Facts.__struct_fields__)


def test_what_is_kept_can_be_kept_again(facts: TakeIn, book: RuleBook) -> None:
    first = again(facts(observation(), prescription(), observation("calcium-total", 9.1)), book)

    assert snapshot(first, units_of(book)) == snapshot(again(first, book), units_of(book))


# --- how much ---------------------------------------------------------------------------------------------------------


def test_of_a_test_with_many_results_the_newest_are_kept(facts: TakeIn, book: RuleBook) -> None:
    many = facts(*(observation(days=number / 10) for number in range(MOST + 50)))
    kept = snapshot(many, units_of(book)).measurements["phosphate"]

    assert (MOST, True, "mg/dL") == (len(kept.results), kept.cut, kept.unit)
    assert kept.results[0].when > kept.results[-1].when


def test_what_a_rule_has_read_is_kept_however_much_it_is(facts: TakeIn, book: RuleBook) -> None:
    many = facts(*(observation(days=number / 10) for number in range(MOST + 50)))
    _ = many.measurements["phosphate"][MOST + 20]

    assert MOST + 21 == len(snapshot(many, units_of(book)).measurements["phosphate"].results)


# --- whom and what it does not name -----------------------------------------------------------------------------------


def worded(value: Any) -> Any:
    """Put a name into every text that somebody may have typed."""
    if isinstance(value, list):
        return [worded(one) for one in value]
    if not isinstance(value, dict):
        return value
    typed = ("text", "display", "div", "comment", "patientInstruction", "valueString", "conclusion")
    return {
        name: f"{one} {MARKER}" if name in typed and isinstance(one, str) else worded(one)
        for name, one in value.items()
    }


@pytest.mark.parametrize("member", [one.patient for one in calls.cast().members])
def test_no_word_and_no_id_of_the_record_is_kept(member: str) -> None:
    book, call = calls.book(), worded(calls.call(member))
    _, row = recorded(json.dumps(call).encode(), book, book.services["calcinosis-patient-view"], calls.cast().noon)
    text = f"{row.content} {snapshot(facts_from(row), {})} {row.patient} {row.cards}"

    assert MARKER not in text
    context = call["context"]
    ids = {str(context[name]).rpartition("/")[2] for name in ("patientId", "userId", "encounterId") if name in context}
    ids |= {call["hookInstance"], *ids_of(call["prefetch"])}
    assert not [one for one in ids if len(one) > 5 and one in text]


def ids_of(value: Any) -> set[str]:
    if isinstance(value, list):
        return {one for part in value for one in ids_of(part)}
    if not isinstance(value, dict):
        return set()
    own = {value["id"]} if isinstance(value.get("id"), str) else set()
    return own | {one for part in value.values() for one in ids_of(part)}


ODD: dict[str, Resource] = {
    "unit in words": observation(valueQuantity={"value": 7, "unit": MARKER, "code": "mg/dL", "system": "http://unitsofmeasure.org"}),
    "unit not known": observation(valueQuantity={"value": 7, "unit": MARKER}),
    "code in words": observation(code={"coding": [{"system": "http://local", "code": MARKER}]}),
    "code that is a name": observation(code={"coding": [{"system": f"http://{MARKER}", "code": "Beeblebrox"}]}),
    "text only": observation(code={"text": MARKER}),
    "dose unit": prescription(dosageInstruction=[{
        "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
        "doseAndRate": [{"doseQuantity": {"value": 5, "unit": MARKER}}],
    }]),
    "medication in words": prescription(medicationCodeableConcept={"text": f"warfarin for {MARKER}"}),
    "status": observation(status=MARKER),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_text_where_codes_belong_is_not_kept(what: str, facts: TakeIn, book: RuleBook) -> None:
    taken = facts(ODD[what])
    decided = decide.decide(taken, book, book.services["calcinosis-patient-view"])
    kept = msgspec.json.encode(snapshot(taken, units_of(book)))

    assert decided.outcomes
    assert MARKER.split()[1].encode() not in kept


def test_gender_is_one_of_four_or_none(facts: TakeIn, book: RuleBook) -> None:
    taken = msgspec.structs.replace(facts(), person=Person(sex=MARKER))

    assert "" == snapshot(taken, units_of(book)).person.sex


def test_of_the_old_only_an_age_is_kept(facts: TakeIn, book: RuleBook) -> None:
    kept = {}
    for born in ("1920-05-05", "1967-11-20", "2004-02-29", "1960"):
        taken = msgspec.structs.replace(facts(), person=Person(parse(born)))
        kept[born] = snapshot(taken, units_of(book)).person

    assert ((90, 90), (58, 58), None, (65, 66)) == tuple(one.ages for one in kept.values())
    assert ("", "", "2004-02-29", "") == tuple(one.born for one in kept.values())


# --- dates, ages, doses -----------------------------------------------------------------------------------------------

MOMENTS = st.one_of(
    st.dates().map(str),
    st.dates().map(lambda one: str(one)[:7]),
    st.dates().map(lambda one: str(one)[:4]),
    st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29)).map(  # noqa: DTZ001
        lambda one: one.isoformat(timespec="milliseconds") + "+05:30"
    ),
    st.datetimes().map(lambda one: one.isoformat(timespec="seconds")),
    st.datetimes(timezones=st.just(UTC)).map(lambda one: one.isoformat().replace("+00:00", "Z")),
)


@given(MOMENTS)
def test_a_moment_comes_back_as_it_was(text: str) -> None:
    before, after = parse(text), parse(moment(parse(text)))

    assert before == after
    assert (before and before.day) == (after and after.day)


@given(st.dates(datetime(1905, 1, 1).date(), datetime(2026, 2, 1).date()), st.integers(-3_000, 0))  # noqa: DTZ001
def test_an_age_comes_back_as_it_was(born: Any, shift: int) -> None:
    now = NOW.timestamp() + shift * DAY
    when = parse(str(born))
    assert when is not None
    if when.first > now // DAY:
        return
    facts = Facts(now=now, person=Person(when, "female"), states={}, today=int(now // DAY))
    kept = restored(snapshot(facts, {})).person.born

    assert kept is not None
    before, after = age.years(when, facts.today), age.years(kept, facts.today)
    assert tuple(min(one, 90) for one in before) == after
    if before[1] < 30:
        assert when == kept


def test_a_daily_dose_comes_back_as_it_was(facts: TakeIn, book: RuleBook) -> None:
    week = {"repeat": {"dayOfWeek": ["mon", "wed", "fri"]}}
    dosage = [{"timing": week, "doseAndRate": [{"doseQuantity": {"value": 5, "code": "mg"}}]}]
    taken = facts(prescription(dosageInstruction=dosage, authoredOn=ago(3)))
    concept = next(iter(taken.medications))
    before, after = (daily(one.medications[concept][0].dosage) for one in (taken, again(taken, book)))

    assert before is not None
    assert before == after


# --- the row ----------------------------------------------------------------------------------------------------------


def test_a_row_says_what_every_rule_said(book: RuleBook) -> None:
    service = book.services["calcinosis-patient-view"]
    decision, row = recorded(body(observation()), book, service, NOW.timestamp())
    content = row.content
    told = [one["rule"] for one in content.get("fired", [])]
    told += [*content.get("not_evaluated", {}), *content.get("not_fired", [])]

    assert sorted(one.rule.id for one in decision.outcomes) == sorted(told)
    assert (book.fingerprint, "patient-view") == (content["book"], content["hook"])
    assert "pseudonym of patient" == row.patient


def test_what_is_handed_over_shows_nobody(book: RuleBook) -> None:
    call = HookRequest.parse(body(observation()), "patient-view")
    service = book.services["calcinosis-patient-view"]
    decision = decide.decide(take_in(call, Reader(book.terminology), NOW.timestamp()), book, service)
    handed = Answered.of(call, (book, service, decision, Response([])), id="an-id", ms=1.0)

    assert "Answered(an-id)" == repr(handed)
