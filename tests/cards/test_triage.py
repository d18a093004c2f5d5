"""
Which findings share a card, which card comes first, and which are held back (KNOWLEDGE.md 5.0).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from cds_service.cards import triage
from cds_service.facts.evidence import YES, Judgement
from cds_service.rules.book import RuleBook
from cds_service.rules.model import Outcome

GROUPS = (("a", "b", "c"), ("x", "y"))


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
