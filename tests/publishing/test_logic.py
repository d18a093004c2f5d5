"""
Logic in words: every word has its sentence, and the numbers are those in force.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from cds_service.facts.derived import DERIVED
from cds_service.publishing import phrases
from cds_service.publishing.logic import JOINERS, SAYINGS, Step, Teller, clauses
from cds_service.rules import compiler
from cds_service.rules.book import RuleBook
from cds_service.rules.words import WORDS
from tests.publishing.conftest import DAY, SAMPLE


def texts(step: Step) -> Iterator[str]:
    """Yield every line of a tree."""
    yield step.text
    for one in step.steps:
        yield from texts(one)


@pytest.fixture
def teller(book: RuleBook) -> Teller:
    rule = book.rules[SAMPLE]
    return Teller(rule, book.terminology, {**book.values(rule, DAY), "factor": Decimal("1.25")})


def test_every_word_has_its_sentence() -> None:
    assert set(WORDS) == set(SAYINGS)


def test_everything_that_joins_has_its_sentence() -> None:
    assert set(compiler.JOINERS) == set(JOINERS)


def test_every_derived_fact_has_its_name_and_its_meaning() -> None:
    assert set() == set(DERIVED) - set(phrases.FACTS)


def test_no_two_derived_facts_are_called_the_same() -> None:
    names = [name for name, _ in phrases.FACTS.values()]

    assert sorted(set(names)) == sorted(names)


def test_the_logic_of_every_rule_is_told_clause_by_clause(book: RuleBook) -> None:
    """
    As many lines as clauses: nothing is left out, nothing is told twice.
    """
    for rule in book.rules.values():
        teller = Teller(rule, book.terminology, book.values(rule, DAY))
        told = list(texts(teller.tell(rule.document["when"])))
        joined = [node for node in clauses(rule.document["when"]) if "not" in node]
        counted = [node for node in clauses(rule.document["when"]) if set(node) & {*WORDS, *compiler.JOINERS}]
        inner = [node for node in counted if {"at_least", "of"} == set(node) or {"n", "of"} == set(node)]

        assert len(told) == len(counted) - len(joined) - len(inner), rule.id
        assert not [line for line in told if "{" in line or "_" in line], rule.id


def test_a_rule_reads_as_a_clinician_would_say_it(teller: Teller) -> None:
    told = list(texts(teller.tell(teller.rule.document["when"])))

    assert [
        "all of these hold:",
        "kidney failure (ESKD)",
        "newest usable Phosphate, at most 90 days old: above 5.5 mg/dL",
    ] == told


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ({"has": "calciphylaxis"}, "active, confirmed diagnosis: Calciphylaxis"),
        ({"taking": "vka"}, "medication active today: Vitamin K antagonist"),
        ({"ordering": "vka"}, "the order being made: Vitamin K antagonist"),
        ({"sex": "female"}, "recorded sex is female"),
        ({"positive": "phosphate", "within": "lookback_days"}, "newest Phosphate, at most 90 days old: positive"),
        (
            {"not_done": "phosphate", "within": "lookback_days"},
            "no Phosphate that can be relied on in the last 90 days",
        ),
        (
            {"rise": "phosphate", "within": "lookback_days", "by_at_least": "phosphate_high"},
            "Phosphate rose by at least 5.5 mg/dL within 90 days",
        ),
        (
            {"rise": "phosphate", "within": "lookback_days", "by_factor": "factor"},
            "Phosphate rose to at least 1.25 times the earlier value within 90 days",
        ),
        (
            {"fall": "phosphate", "within": "lookback_days", "by_factor": "factor"},
            "Phosphate fell by at least 20 percent within 90 days",
        ),
        ({"not": {"is": "eskd"}}, "not so: kidney failure (ESKD)"),
        ({"unheard_of": "phosphate", "within": "lookback_days"}, "unheard of: Phosphate, within 90 days"),
    ],
)
def test_a_clause_is_a_sentence(teller: Teller, clause: dict[str, str], expected: str) -> None:
    assert expected == teller.tell(clause).text


def test_points_are_told_with_their_weights(teller: Teller) -> None:
    part = {"weight": "lookback_days", "when": {"has": "calciphylaxis"}}
    told = teller.tell({"points": {"at_least": "lookback_days", "of": [part]}})

    assert "these add up to at least 90 days:" == told.text
    assert ["90 days where active, confirmed diagnosis: Calciphylaxis"] == [one.text for one in told.steps]


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (Decimal(90), "days", "90 days"),
        (Decimal(1), "days", "1 day"),
        (Decimal("7.0"), "mg/dL", "7 mg/dL"),
        (Decimal(100), "n", "100"),
        (Decimal("0.5"), "h", "0.5 hours"),
        (True, "", "on"),
        (False, "", "off"),
    ],
)
def test_a_quantity_reads_naturally(value: Decimal | bool, unit: str, expected: str) -> None:
    assert expected == phrases.quantity(value, unit)
