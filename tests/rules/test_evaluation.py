"""
One rule, one patient: the indicator after escalation, and a rule that breaks alone.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import msgspec
import pytest

from cds_service.facts.evidence import NO, UNKNOWN, YES, Judgement
from cds_service.facts.model import Facts
from cds_service.rules.evaluation import evaluate
from cds_service.rules.model import CardText, Citation, Escalation, Rule, Values
from tests.rules.bedside import clause, facts

RULE = Rule(
    id="of-a-test",
    number="CC-99",
    title="A rule of a test",
    chapter="monitoring",
    status="active",
    version=1,
    owner="A test",
    reviewed=date(2026, 11, 21),
    why="There must be a reason.",
    evidence=(Citation("A paper", "verified"),),
    unhelpful_when="Nobody needs it.",
    thresholds={},
    when=clause("taking: vka"),
    card=CardText("warning", ("Something was found",), "Detail."),
    reads=frozenset({"vka"}),
    helps=frozenset(),
    place="rules/monitoring/of-a-test.yaml",
)
NOTHING: Values = {}
BY_NAME, BY_CODE = "medications: [{text: warfarin 5 mg}]", "medications: [vka]"


def with_escalations(indicator: str, *steps: tuple[str, str]) -> Rule:
    escalate = tuple(Escalation(to, clause(when)) for to, when in steps)
    return msgspec.structs.replace(RULE, card=CardText(indicator, ("Found",), "Detail.", escalate))


@pytest.mark.parametrize(
    ("usual", "steps", "scene", "expected"),
    [
        ("info", (), "", "info"),
        ("info", (("warning", "has: vte"),), "", "info"),
        ("info", (("warning", "has: vte"),), "diagnoses: [vte]", "warning"),
        ("info", (("warning", "has: vte"), ("critical", "has: af")), "diagnoses: [vte, af]", "critical"),
        ("info", (("critical", "has: af"), ("warning", "has: vte")), "diagnoses: [vte, af]", "critical"),
        ("info", (("warning", "has: vte"), ("critical", "has: af")), "diagnoses: [af]", "critical"),
        ("critical", (("warning", "has: vte"),), "diagnoses: [vte]", "critical"),
        ("info", (("warning", "has: vte"),), "not_loaded: [conditions]", "info"),
    ],
)
def test_the_indicator_is_raised_by_what_is_true_and_higher(
    usual: str, steps: tuple[tuple[str, str], ...], scene: str, expected: str
) -> None:
    outcome = evaluate(with_escalations(usual, *steps), facts(f"{BY_CODE}\n{scene}"), NOTHING)

    assert expected == outcome.indicator


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        ("", ("info", "Found")),
        ("diagnoses: [vte]", ("info", "Found, with a clot")),
        ("diagnoses: [vte, af]", ("warning", "Found, with fibrillation")),
        ("diagnoses: [af]", ("warning", "Found, with fibrillation")),
        ("diagnoses: [dm]", ("warning", "Found")),
        ("diagnoses: [dm, vte]", ("warning", "Found, with a clot")),
        ("not_loaded: [conditions]", ("info", "Found")),
    ],
)
def test_an_escalation_to_nothing_changes_the_words_and_never_the_urgency(
    scene: str, expected: tuple[str, str]
) -> None:
    steps = (
        Escalation("", clause("has: vte"), ("Found, with a clot",)),
        Escalation("warning", clause("has: af"), ("Found, with fibrillation",)),
        Escalation("warning", clause("has: dm")),
    )
    rule = msgspec.structs.replace(RULE, card=CardText("info", ("Found",), "Detail.", steps))
    outcome = evaluate(rule, facts(f"{BY_CODE}\n{scene}"), NOTHING)

    assert expected == (outcome.indicator, outcome.wordings[0])


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        (BY_CODE, "critical"),
        (BY_NAME, "warning"),
        ("medications: [{text: warfarin 5 mg}, vka]", "critical"),
    ],
)
def test_a_medication_known_by_name_only_never_makes_a_card_critical(scene: str, expected: str) -> None:
    assert expected == evaluate(with_escalations("critical"), facts(scene), NOTHING).indicator


def test_a_name_leaves_a_warning_a_warning() -> None:
    assert "warning" == evaluate(RULE, facts(BY_NAME), NOTHING).indicator


def test_a_rule_that_does_not_fire_has_no_indicator() -> None:
    assert "" == evaluate(RULE, facts(), NOTHING).indicator


@pytest.mark.parametrize("where", ["when", "escalate"])
def test_a_rule_that_breaks_is_unknown_and_says_so(where: str) -> None:
    """
    Its neighbours are asked all the same; no value of the patient is in the message.
    """

    def broken(_facts: Facts, _values: Values) -> Judgement:
        raise ValueError("phosphate 7.1")

    step = (Escalation("critical", broken),)
    rule = (
        msgspec.structs.replace(RULE, when=broken)
        if where == "when"
        else msgspec.structs.replace(RULE, card=CardText("info", ("Found",), "Detail.", step))
    )

    outcome = evaluate(rule, facts(BY_CODE), NOTHING)

    assert UNKNOWN is outcome.verdict
    assert "ValueError" == outcome.failed
    assert "7.1" not in outcome.judgement.label


def test_an_outcome_keeps_the_values_it_was_judged_by() -> None:
    values: Values = {"limit": Decimal("5.5")}

    outcome = evaluate(RULE, facts(BY_CODE), values)

    assert YES is outcome.verdict
    assert values is outcome.values


@pytest.mark.parametrize("nested", [False, True], ids=["at the top", "below"])
def test_a_wording_that_breaks_is_the_failure_of_its_rule(nested: bool) -> None:
    """
    A trail is worded late: what breaks then must not reach the card, or the other rules.
    """

    def worded() -> str:
        raise KeyError("phosphate 7.1")

    broken = Judgement(YES, worded)
    judgement = Judgement(YES, "all of", (broken,)) if nested else broken
    rule = msgspec.structs.replace(RULE, when=lambda _facts, _values: judgement)

    outcome = evaluate(rule, facts(BY_CODE), NOTHING)

    assert (UNKNOWN, "KeyError") == (outcome.verdict, outcome.failed)


def test_what_does_not_hold_need_not_be_worded() -> None:
    def worded() -> str:
        raise KeyError("phosphate 7.1")

    judgement = Judgement(YES, "any of", (Judgement(NO, worded),))
    rule = msgspec.structs.replace(RULE, when=lambda _facts, _values: judgement)

    assert "" == evaluate(rule, facts(BY_CODE), NOTHING).failed
