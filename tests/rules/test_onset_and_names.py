"""
What is new and what is old, what a record calls it, and what is known by its name because no code was verified.
"""

from __future__ import annotations

import pytest

from cds_service.cards.wording import Voice
from cds_service.rules import needs
from cds_service.rules.book import RuleBook
from cds_service.rules.evaluation import evaluate
from cds_service.rules.model import Outcome
from tests.rules.bedside import TODAY, facts, judge, words

NEW = "has: calcinosis\nbegan_within: days"


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        ("onset: 90 days ago", "yes"),
        ("onset: 91 days ago", "no"),
        ("onset: 5 years ago, recorded: 7 days ago", "no"),
        ("recorded: 7 days ago", "yes"),
        ("recorded: 91 days ago", "no"),
        ("onset: 2025", "unknown"),
        ("clinical: active", "unknown"),
    ],
)
def test_what_is_recorded_again_is_not_new(dates: str, expected: str) -> None:
    """A diagnosis is as old as its onset; only without an onset as old as its record."""
    judged = judge(NEW, f"diagnoses: [{{concept: calcinosis-cutis, {dates}}}]")

    assert expected == judged.verdict.value


def outcome(book: RuleBook, rule: str, scene: str) -> Voice:
    """Return the voice of a rule that was asked about a patient."""
    patient, one = facts(scene), book.rules[rule]
    found: Outcome = evaluate(one, patient, book.values(one, TODAY))

    return Voice(found, patient, book.terminology)


@pytest.mark.parametrize(
    ("rule", "scene", "wording", "expected"),
    [
        ("ctd-calcinosis-workup", "[calcinosis-cutis, {concept: ctd-sle, text: Lupus}]", "{ctd}", "Lupus"),
        ("ctd-calcinosis-workup", "[calcinosis-cutis, ctd-sle]", "{ctd}", "Systemic lupus erythematosus"),
        ("ctd-calcinosis-workup", "[calcinosis-cutis, ctd-sle, dys-acne]", "{dys-acne}", None),
        ("inherited-calcinosis", "[idi-scn, {concept: inh-eds, text: '<b>EDS</b>'}]", "{inherited}", "EDS"),
    ],
    ids=["as the record says", "without words of the record", "not part of the finding", "made harmless"],
)
def test_a_concept_in_braces_is_what_the_finding_rests_on(
    book: RuleBook, rule: str, scene: str, wording: str, expected: str | None
) -> None:
    said = outcome(book, rule, f"diagnoses: {scene}").fill(wording)

    assert said == expected if expected is None else expected in (said or "")
    assert "<" not in (said or "")


def test_a_test_without_a_verified_code_is_asked_for_by_its_short_names(book: RuleBook) -> None:
    """A local code often is the name of the test; names with spaces are no codes."""
    asked = needs.loinc_codes([book.rules["dm-nxp2-risk"]], words())

    assert {"NXP2", "NXP-2"} <= set(asked)
    assert not [code for code in asked if " " in code]


def test_a_procedure_without_a_verified_code_is_asked_for_by_its_short_names(book: RuleBook) -> None:
    asked = needs.templates([book.rules["iatrogenic-calcinosis"]], words())["procedures"]

    assert ",EEG," in asked
    assert "brainstem" not in asked


def test_names_of_coded_tests_are_not_asked_for(book: RuleBook) -> None:
    asked = needs.loinc_codes([book.rules["eskd-hyperphosphatemia"]], words())

    assert all("-" in code for code in asked)


@pytest.mark.parametrize(
    ("medication", "expected"),
    [
        ("{concept: ca-iv, status: completed, started: 25 days ago}", "yes"),
        ("{concept: ca-iv, route: oral}", "no"),
        ("{concept: phosphate-salts}", "unknown"),
    ],
    ids=["calcium gluconate", "calcium gluconate by mouth", "phosphate may be given by mouth"],
)
def test_calcium_salts_for_the_vein_need_no_route(medication: str, expected: str) -> None:
    judged = judge("is: recent-parenteral-exposure\nwithin: days", f"medications: [{medication}]")

    assert expected == judged.verdict.value
