"""
Which findings share a card, which card comes first, and which are held back (KNOWLEDGE.md 5.0).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from cds_service.cards import triage
from cds_service.facts.evidence import YES, Judgement
from cds_service.facts.model import Draft
from cds_service.rules.book import RuleBook
from cds_service.rules.merging import Absorbing, Merging
from cds_service.rules.model import Outcome

GROUPS = Merging((("a", "b", "c"), ("x", "y")))
ABSORBING = Merging((("a", "b"),), (Absorbing("x", ("y", "z")),))


@pytest.fixture
def finding(book: RuleBook) -> Sequence[Outcome]:
    """Return findings named a, b, c, x, y and z."""
    rule = next(iter(book.rules.values()))
    return [Outcome(msgspec.structs.replace(rule, id=name), Judgement(YES, ""), {}, "info") for name in "abcxyz"]


def named(findings: Sequence[Outcome], *wanted: str) -> list[Outcome]:
    """Return findings by name, each with its indicator: "a:warning"."""
    known = {one.rule.id: one for one in findings}
    pairs = [one.partition(":")[::2] for one in wanted]

    return [msgspec.structs.replace(known[name], indicator=indicator or "info") for name, indicator in pairs]


def ids(cards: Sequence[Sequence[Outcome]]) -> list[str]:
    """Show cards as the names of their findings."""
    return ["+".join(one.rule.id for one in card) for card in cards]


@pytest.mark.parametrize(
    ("fired", "cards"),
    [
        ((), []),
        (("z",), ["z"]),
        (("a", "b"), ["a+b"]),
        (("b", "a"), ["a+b"]),
        (("a", "b:warning"), ["b+a"]),
        (("c:critical", "a", "b:warning"), ["c+b+a"]),
        (("a", "x"), ["a", "x"]),
        (("a", "x:warning"), ["x", "a"]),
        (("z", "y", "a:critical", "x", "b"), ["a+b", "z", "x+y"]),
        (("z:warning", "a:warning"), ["z", "a"]),
    ],
    ids=str,
)
def test_related_rules_share_a_card_led_by_the_most_urgent(
    finding: Sequence[Outcome], fired: tuple[str, ...], cards: list[str]
) -> None:
    assert cards == ids(triage.merge(named(finding, *fired), GROUPS))


@pytest.mark.parametrize(
    ("fired", "cards"),
    [
        (("y", "z"), ["y", "z"]),
        (("y", "x"), ["x+y"]),
        (("z", "y", "x"), ["x+y+z"]),
        (("x", "y:critical"), ["y+x"]),
        (("x", "a", "z", "b"), ["x+z", "a+b"]),
    ],
    ids=str,
)
def test_a_rule_takes_others_onto_its_card_only_when_it_fires(
    finding: Sequence[Outcome], fired: tuple[str, ...], cards: list[str]
) -> None:
    assert cards == ids(triage.merge(named(finding, *fired), ABSORBING))


def about(outcome: Outcome, *references: str) -> Outcome:
    """Return a finding that rests on these draft orders."""
    items = tuple(Draft("ca-iv", "", "", "code", "", reference=one) for one in references)

    return msgspec.structs.replace(outcome, judgement=Judgement(YES, "", items=items))


@pytest.mark.parametrize(
    ("taken", "taker", "cards"),
    [
        (("one",), ("one",), ["x+y"]),
        (("one",), ("one", "two"), ["x+y"]),
        (("one", "two"), ("one",), ["x", "y"]),
        (("one",), ("two",), ["x", "y"]),
        ((), ("two",), ["x", "y"]),
    ],
    ids=str,
)
def test_an_order_that_is_not_the_same_keeps_a_card_of_its_own(
    finding: Sequence[Outcome], taken: tuple[str, ...], taker: tuple[str, ...], cards: list[str]
) -> None:
    [x, y] = named(finding, "x", "y")
    table = Merging((), (Absorbing("x", ("y",), same_draft=True),))

    assert cards == ids(triage.merge([about(x, *taker), about(y, *taken)], table))


def test_at_most_so_many_cards_are_shown_and_the_rest_is_named(finding: Sequence[Outcome]) -> None:
    cards = triage.merge(named(finding, "a", "b", "x", "z"), GROUPS)
    shown, held = triage.cap(cards, 2)

    assert (["a+b", "x"], ["z"]) == (ids(shown), [one.rule.id for one in held])


def test_a_critical_card_is_never_held_back(finding: Sequence[Outcome]) -> None:
    cards = triage.merge(named(finding, "a:critical", "x:critical", "z:critical"), GROUPS)

    assert 3 == len(triage.cap(cards, 1)[0])


def test_a_limit_of_none_holds_everything_back(finding: Sequence[Outcome]) -> None:
    shown, held = triage.cap(triage.merge(named(finding, "a", "b"), GROUPS), 0)

    assert ([], 2) == (shown, len(held))
