"""Which findings share a card, which card comes first, and which are held back."""

from __future__ import annotations

from collections.abc import Sequence

from cds_service.rules.model import INDICATORS, Outcome


def merge(fired: Sequence[Outcome], groups: Sequence[Sequence[str]]) -> list[list[Outcome]]:
    """
    Return the findings card by card: rules of one group share a card, led by the most urgent (KNOWLEDGE 5.0).

    Cards come in order of urgency; of equally urgent ones the rule that the service names first leads.
    """
    if len(fired) == 1:
        return [list(fired)]
    cards: dict[object, list[Outcome]] = {}
    for outcome in fired:
        group = next((number for number, rules in enumerate(groups) if outcome.rule.id in rules), None)
        cards.setdefault(outcome.rule.id if group is None else group, []).append(outcome)
    merged = [sorted(together, key=lambda outcome: _place(outcome, groups)) for together in cards.values()]
    return sorted(merged, key=lambda together: -INDICATORS.index(together[0].indicator))


def _place(outcome: Outcome, groups: Sequence[Sequence[str]]) -> tuple[int, int]:
    group = next((rules for rules in groups if outcome.rule.id in rules), ())
    return -INDICATORS.index(outcome.indicator), list(group).index(outcome.rule.id) if group else 0


def cap(cards: Sequence[list[Outcome]], limit: int) -> tuple[list[list[Outcome]], list[Outcome]]:
    """Keep the most urgent cards up to the limit, and every critical one; return what is held back too."""
    shown = [card for place, card in enumerate(cards) if place < limit or card[0].indicator == "critical"]
    held = [outcome for card in cards if card not in shown for outcome in card]
    return shown, held
