"""
A rule that a record rules out is not judged; it would have said NO.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cds_service.decide import decide
from cds_service.errors import CdsError
from cds_service.facts import take_in
from cds_service.facts.dates import parse
from cds_service.facts.evidence import NO
from cds_service.facts.intake import Reader
from cds_service.facts.model import KINDS, Diagnosis, Facts, Measurement, Medication, Person, Procedure
from cds_service.facts.records import Prefetch
from cds_service.protocol import HookRequest
from cds_service.protocol.prefetch import State
from cds_service.rules.book import RuleBook
from cds_service.rules.ruling_out import NEVER, RULED_OUT, Need, Sieve, needs
from cds_service.schemas import strict_yaml
from cds_service.terminology import Terminology
from tests.build import NOW, ROOT

SERVICE = "calcinosis-patient-view"
LOADED = dict.fromkeys(KINDS, State.COMPLETE)
RECENT = parse("2026-02-20T08:00:00Z")


def verdicts(facts: Facts, book: RuleBook, service: str, *, trails: bool) -> dict[str, str]:
    decision = decide(facts, book, book.services[service], trails=trails)
    return {one.rule.id: one.verdict.value for one in (*decision.outcomes, *decision.silent)}


# --- the verdicts are the same ---------------------------------------------------------------------------------------


def calls() -> Iterator[tuple[str, bytes]]:
    """Yield every call of the fixtures, whole and without each of its prefetch values in turn."""
    for path in sorted((ROOT / "fixtures" / "requests").glob("*/*.json")):
        call = json.loads(path.read_bytes())
        yield call["hook"], json.dumps(call).encode()
        for key in call.get("prefetch", {}):
            less = {name: value for name, value in call["prefetch"].items() if name != key}
            yield call["hook"], json.dumps({**call, "prefetch": less}).encode()


def test_every_call_of_the_fixtures_has_the_same_verdicts_either_way(book: RuleBook) -> None:
    by_hook = {one.service.hook: name for name, one in book.services.items()}
    reader, compared = Reader(book.terminology), 0
    for hook, raw in calls():
        try:
            facts = take_in(HookRequest.parse(raw, hook, Prefetch), reader, NOW.timestamp())
        except CdsError:
            continue
        expected = verdicts(facts, book, by_hook[hook], trails=True)

        assert expected == verdicts(facts, book, by_hook[hook], trails=False), hook
        compared += 1

    assert compared > 50


def records(words: Terminology) -> st.SearchStrategy[Facts]:
    """Return records with some of the concepts that rules name, as far as each kind of data was loaded."""
    kinds = {kind: [one.id for one in words.concepts.values() if one.kind == kind] for kind in
             ("diagnosis", "medication", "procedure")}  # fmt: skip
    tests = [name for name, analyte in words.analytes.items() if not analyte.qualitative]
    lesions = [name for name in kinds["diagnosis"] if name.startswith("les-")]

    def some(names: list[str]) -> st.SearchStrategy[list[str]]:
        return st.lists(st.sampled_from(names), max_size=4, unique=True)

    def build(chosen: tuple[Any, ...]) -> Facts:
        diagnoses, medications, procedures, measured, seen, states, on_orders = chosen
        found: dict[str, tuple[Diagnosis | Procedure, ...]] = {name: (lesion(name),) for name in seen}
        return Facts(
            NOW.timestamp(),
            Person(parse("1960-01-01"), "female"),
            dict(zip(KINDS, states, strict=True)),
            measurements={name: (result(name),) for name in measured},
            diagnoses={name: (Diagnosis(name, "SNOMED", "1", "code", name, when=RECENT),) for name in diagnoses},
            medications={name: (Medication(name, "RxNorm", "1", "code", name, when=RECENT),) for name in medications},
            procedures={name: (Procedure(name, "CPT", "1", "code", name, RECENT),) for name in procedures},
            memo={},
            today=int(NOW.timestamp() // 86_400),
            observed=(lambda: found) if seen else None,
            about_orders=on_orders,
        )

    states = st.tuples(*(st.sampled_from([State.COMPLETE, State.COMPLETE, State.EMPTY, *State]) for _ in KINDS))
    parts = (*map(some, kinds.values()), some(tests), some(lesions), states, st.booleans())
    return st.tuples(*parts).map(build)


def lesion(name: str) -> Diagnosis:
    return Diagnosis(name, "SNOMED", "1", "code", name, when=RECENT, encounter=True)


def result(name: str) -> Measurement:
    assert RECENT is not None
    return Measurement(name, Decimal(9), Decimal(9), "mg/dL", RECENT, rank=(RECENT.end, 0))


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_record_has_the_same_verdicts_either_way(data: st.DataObject, book: RuleBook) -> None:
    facts = data.draw(records(book.terminology))
    for service in book.services:
        expected = verdicts(facts, book, service, trails=True)

        assert expected == verdicts(facts, book, service, trails=False), service


# --- and most rules are ruled out ------------------------------------------------------------------------------------


def healthy(**members: Any) -> Facts:
    person = Person(parse("1960-01-01"), "female")
    return Facts(**{"now": NOW.timestamp(), "person": person, "states": LOADED, "memo": {}, "today": 20_500, **members})


def ruled_out(facts: Facts, book: RuleBook) -> set[str]:
    decision = decide(facts, book, book.services[SERVICE], trails=False)
    return {one.rule.id for one in decision.outcomes if one.judgement is RULED_OUT}


def test_of_a_healthy_patient_hardly_a_rule_is_judged(book: RuleBook) -> None:
    asked = {rule.id for rule in book.services[SERVICE].rules}

    assert 6 >= len(asked - ruled_out(healthy(), book))


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, True),
        ({"states": {**LOADED, "conditions": State.TRUNCATED}}, False),
        ({"states": {}}, False),
        ({"diagnoses": {"calcinosis-cutis": (Diagnosis("calcinosis-cutis", "SNOMED", "1", "code", ""),)}}, False),
        ({"about_orders": True}, False),
    ],
    ids=["nothing on record", "a page is missing", "nothing was sent", "it is on record", "about orders"],
)
def test_a_rule_about_calcinosis_is_ruled_out_where_it_cannot_be(
    book: RuleBook, members: dict[str, Any], expected: bool
) -> None:
    assert expected == ("calcinosis-missing-labs" in Sieve(asked(book)).ruled_out(healthy(**members)))


def asked(book: RuleBook) -> list[tuple[Any, Any]]:
    return [(rule, {}) for rule in book.services[SERVICE].rules]


def test_a_lesion_that_an_observation_may_tell_of_is_not_ruled_out(book: RuleBook) -> None:
    unread = healthy(observed=lambda: pytest.fail("it is not read for this"))

    assert "nonuremic-calciphylaxis" in ruled_out(healthy(), book)
    assert "nonuremic-calciphylaxis" not in Sieve(asked(book)).ruled_out(unread)


def test_with_trails_every_rule_says_why(book: RuleBook) -> None:
    decision = decide(healthy(), book, book.services[SERVICE])

    assert RULED_OUT not in [one.judgement for one in decision.outcomes]
    assert all(one.verdict is NO for one in decision.outcomes if one.rule.id in ruled_out(healthy(), book))


# --- what a clause cannot hold without -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ("has: af", [Need(frozenset({"af"}), frozenset({"conditions"}))]),
        ("taking: vka", [Need(frozenset({"vka"}), frozenset({"medications", "statements"}))]),
        ("{latest: pth, within: days}", [Need(frozenset({"pth"}), frozenset({"observations"}))]),
        ("ordering: vka", [NEVER]),
        ("not: {has: af}", []),
        ("{not_done: pth, within: days}", []),
        ("{done: capillary, times: n}", []),
        ("any: [{has: af}, {not: {has: obesity}}]", []),
        (
            "any: [{has: af}, {taking: vka}]",
            [Need(frozenset({"af", "vka"}), frozenset({"conditions", "medications", "statements"}))],
        ),
        (
            "all: [{has: af}, {taking: vka}]",
            [
                Need(frozenset({"af"}), frozenset({"conditions"})),
                Need(frozenset({"vka"}), frozenset({"medications", "statements"})),
            ],
        ),
        ("has: les-strong", [Need(frozenset({"les-strong"}), frozenset({"conditions"}), observable=True)]),
    ],
)
def test_what_a_clause_cannot_hold_without(words: Terminology, clause: str, expected: list[Need]) -> None:
    assert expected == list(needs(strict_yaml.parse(clause.encode(), "clause"), words))
