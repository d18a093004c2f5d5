"""Each change that is named flips its rule when it is made: to the facts, and to the record itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from cds_service.adapters.ehr import LocalRecord, hook_request
from cds_service.decide import decide
from cds_service.facts import Facts, take_in
from cds_service.facts.evidence import NO, UNKNOWN, YES, Verdict
from cds_service.facts.intake import Reader
from cds_service.insight.changes import ADDED, NEW, OLDER, VALUE, Change, all_applied
from cds_service.insight.flipping import Flip, Node, flip, tree_of
from cds_service.protocol import HookRequest
from cds_service.rules.book import RuleBook
from cds_service.rules.evaluation import evaluate
from cds_service.rules.model import Outcome
from tests.build import NOW, UCUM, condition, observation, patient
from tests.conftest import TakeIn
from tests.insight.life import population

Json = dict[str, Any]
MOMENT = NOW.timestamp()
PHOSPHATE = "eskd-hyperphosphatemia"


@pytest.fixture(scope="module")
def trees(book: RuleBook) -> dict[str, Node]:
    return {rule.id: tree_of(rule, book.terminology) for rule in book.rules.values()}


def request_of(record: LocalRecord, book: RuleBook, hook: str, *, without: str = "") -> Json:
    """Return the call for a patient; ``without`` drops the prefetch values whose name holds it."""
    service = book.services[f"calcinosis-{hook}"].service
    call = hook_request(hook, record, service.prefetch, user_id="Practitioner/x", hook_instance="i")
    if without:
        call["prefetch"] = {name: value for name, value in call["prefetch"].items() if without not in name}
    return call


def facts_of(call: Json, book: RuleBook) -> Facts:
    parsed = HookRequest.parse(json.dumps(call).encode(), call["hook"])
    return take_in(parsed, Reader(book.terminology), MOMENT)


def flips(call: Json, book: RuleBook, trees: dict[str, Node]) -> Iterator[tuple[Outcome, Facts, Flip | None]]:
    facts = facts_of(call, book)
    service = book.services[f"calcinosis-{call['hook']}"]
    for outcome in decide(facts, book, service).outcomes:
        yield outcome, facts, flip(outcome, facts, book.terminology, trees[outcome.rule.id])


@pytest.fixture(scope="module")
def patients() -> list[LocalRecord]:
    return list(population())


class Flipped(NamedTuple):
    """One rule of one patient, and what would flip it."""

    call: Json
    outcome: Outcome
    facts: Facts
    told: Flip | None


@pytest.fixture(scope="module")
def flipped(patients: list[LocalRecord], book: RuleBook, trees: dict[str, Node]) -> list[Flipped]:
    """Ask of every rule of every patient. Every fourth patient's laboratory did not answer: then rules cannot tell."""
    found = []
    for place, record in enumerate(patients):
        call = request_of(record, book, "patient-view", without="observations" if place % 4 == 0 else "")
        found += [Flipped(call, *one) for one in flips(call, book, trees)]
    return found


@pytest.mark.timeout(240)
def test_every_change_named_flips_its_rule_on_every_invented_patient(flipped: list[Flipped]) -> None:
    found: Counter[Verdict] = Counter()
    for _, outcome, facts, told in flipped:
        assert told is not None, outcome.rule.id
        after = evaluate(outcome.rule, *all_applied(told.changes, facts, outcome.values)).verdict
        assert told.then is after, (outcome.rule.id, told.words)
        assert (NO if outcome.verdict is YES else YES) is after
        found[outcome.verdict] += 1

    assert 200 * 30 < len(flipped)
    assert all(found[verdict] > 50 for verdict in (YES, NO, UNKNOWN)), found


def test_no_change_named_could_be_left_out(flipped: list[Flipped]) -> None:
    several = 0
    for _, outcome, facts, told in flipped:
        changes = told.changes if told else ()
        for place in range(len(changes) if len(changes) > 1 else 0):
            fewer = changes[:place] + changes[place + 1 :]
            after = evaluate(outcome.rule, *all_applied(fewer, facts, outcome.values)).verdict
            several += 1
            assert told is not None
            assert told.then is not after, (outcome.rule.id, told.words)

    assert several > 1_000


@pytest.mark.timeout(240)
def test_numbers_and_diagnoses_named_flip_the_rule_in_the_record_itself(flipped: list[Flipped], book: RuleBook) -> None:
    """The change is made to the FHIR resources of the call, and the call read as if an EHR had sent it so."""
    made: Counter[str] = Counter()
    for call, outcome, _, told in flipped[::3]:
        if told is None or not all(one.kind in (NEW, ADDED) for one in told.changes):
            continue
        changed = json.loads(json.dumps(call))
        if not all(_made(changed, one, call["context"]["patientId"], book) for one in told.changes):
            continue
        after = evaluate(outcome.rule, facts_of(changed, book), outcome.values).verdict
        assert told.then is after, (outcome.rule.id, told.words)
        made[outcome.rule.id] += 1

    assert sum(made.values()) > 300
    assert len(made) > 10, made


def _made(call: Json, change: Change, patient_id: str, book: RuleBook) -> bool:
    """Make a change to a call, where this test knows how; by codes that the terminology has for a concept."""
    codes = [one for one in book.terminology.codes.get(change.about, ()) if one[0] in ("LOINC", "SNOMED CT")]
    if not codes or (change.kind == ADDED and change.sort != "diagnosis"):
        return False
    coding = {"system": book.terminology.systems.uri(codes[0][0]), "code": codes[0][1]}
    when = datetime.fromtimestamp(MOMENT, UTC).isoformat()
    subject = {"reference": f"Patient/{patient_id}"}
    common = {"id": f"new-{change.about}", "subject": subject, "code": {"coding": [coding]}}
    if change.kind == NEW:
        value = {"value": float(change.value), "unit": change.sort, "system": UCUM, "code": change.sort}
        new = {"resourceType": "Observation", "status": "final", "effectiveDateTime": when, "valueQuantity": value}
        _entries(call, "observations").append({"resource": {**new, **common}})
        return True
    status = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]}
    new = {"resourceType": "Condition", "clinicalStatus": status, "recordedDate": when[:10], "onsetDateTime": when[:10]}
    _entries(call, "conditions").append({"resource": {**new, **common}})
    meant = decide(facts_of(call, book), book, book.services["calcinosis-patient-view"]).facts
    return change.about in meant.diagnoses


def _entries(call: Json, key: str) -> list[Json]:
    bundle = call["prefetch"].get(key)
    if bundle is None:
        bundle = call["prefetch"][key] = {"resourceType": "Bundle", "type": "searchset", "entry": []}
    entries: list[Json] = bundle.setdefault("entry", [])
    return entries


# --- what it says ----------------------------------------------------------------------------------------------------


def told(facts: Facts, book: RuleBook, rule: str) -> Flip:
    outcome = evaluate(book.rules[rule], facts, book.values(book.rules[rule], NOW.date()))
    found = flip(outcome, facts, book.terminology)
    assert found is not None
    return found


def test_a_value_just_below_its_limit_is_named_with_the_limit(facts: TakeIn, book: RuleBook) -> None:
    found = told(facts(patient(), condition(), observation(value=5.2)), book, PHOSPHATE)

    assert "Would fire if phosphate were above 5.5 mg/dL (it is 5.2 mg/dL, 2026-02-19)." == found.words
    assert [(VALUE, "phosphate", Decimal("5.6"))] == [(one.kind, one.about, one.value) for one in found.changes]


def test_a_value_just_above_its_limit_is_named_with_the_limit(facts: TakeIn, book: RuleBook) -> None:
    found = told(facts(patient(), condition(), observation(value=5.7)), book, PHOSPHATE)

    assert "Would not fire if phosphate were 5.5 mg/dL or less (it is 5.7 mg/dL, 2026-02-19)." == found.words


def test_finer_results_get_finer_limits(facts: TakeIn, book: RuleBook) -> None:
    found = told(facts(patient(), condition(), observation(value=5.25)), book, PHOSPHATE)

    assert Decimal("5.51") == found.changes[0].value
    assert "above 5.5 mg/dL" in found.words


def test_an_old_result_need_only_be_newer(facts: TakeIn, book: RuleBook) -> None:
    found = told(facts(patient(), condition(), observation(value=7.1, days=100)), book, PHOSPHATE)

    assert "Would fire if the newest phosphate were at most 90 days old (it is 100 days)." == found.words


def test_what_holds_by_several_facts_is_undone_by_all_of_them(facts: TakeIn, book: RuleBook) -> None:
    """Two diagnoses of kidney failure: taking one away changes nothing."""
    both = facts(
        patient(), condition(), condition("N18.6", "http://hl7.org/fhir/sid/icd-10-cm"), observation(value=9.9)
    )
    found = told(both, book, PHOSPHATE)

    assert NO is found.then
    assert "phosphate" in found.words or "End-stage" in found.words


def test_a_date_that_makes_a_result_too_old_is_a_change_too(facts: TakeIn, book: RuleBook) -> None:
    """9.9 is far from 5.5, and 85 days nearly 90: the age of the result is the smaller change."""
    found = told(facts(patient(), condition(), observation(value=9.9, days=85)), book, PHOSPHATE)

    assert [OLDER] == [one.kind for one in found.changes]
    assert "more than 90 days ago" in found.words


def test_a_rule_that_failed_has_no_flip(facts: TakeIn, book: RuleBook) -> None:
    rule = book.rules[PHOSPHATE]
    outcome = Outcome(rule, evaluate(rule, facts(), {}).judgement, {}, failed="KeyError")

    assert flip(outcome, facts(), book.terminology) is None


def test_facts_stay_as_they_are(facts: TakeIn, book: RuleBook) -> None:
    here = facts(patient(), condition(), observation(value=5.2))
    before = evaluate(book.rules[PHOSPHATE], here, book.values(book.rules[PHOSPHATE], NOW.date())).verdict
    told(here, book, PHOSPHATE)

    assert before is evaluate(book.rules[PHOSPHATE], here, book.values(book.rules[PHOSPHATE], NOW.date())).verdict
    assert [Decimal("5.2")] == [one.value for one in here.measurements["phosphate"]]
    assert timedelta(0) < timedelta(seconds=here.now)
