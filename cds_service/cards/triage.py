"""Which findings share a card, which card comes first, and which are held back."""

from __future__ import annotations

from collections.abc import Sequence

from cds_service.facts.model import Draft
from cds_service.rules.merging import Merging
from cds_service.rules.model import INDICATORS, Outcome


def merge(fired: Sequence[Outcome], merging: Merging) -> list[list[Outcome]]:
    """
    Return the findings card by card, each card led by its most urgent finding (KNOWLEDGE 5.0).

    Cards come in order of urgency; of equally urgent ones the rule that the service names first leads.
    """
    if len(fired) == 1:
        return [list(fired)]
    speaking = {outcome.rule.id: outcome for outcome in fired}
    cards: dict[tuple[str, ...], list[tuple[int, int, Outcome]]] = {}
    for outcome in fired:
        card, place = _seat(outcome, speaking, merging)
        cards.setdefault(card, []).append((-INDICATORS.index(outcome.indicator), place, outcome))
    merged = [[one for *_, one in sorted(together, key=lambda row: row[:2])] for together in cards.values()]
    return sorted(merged, key=lambda together: -INDICATORS.index(together[0].indicator))


def _seat(outcome: Outcome, speaking: dict[str, Outcome], merging: Merging) -> tuple[tuple[str, ...], int]:
    """Return the card a finding belongs to, known by its rules, and its place among equally urgent findings there."""
    rule = outcome.rule.id
    absorbing = merging.absorber(rule)
    taker = speaking.get(absorbing.rule) if absorbing else None
    if absorbing and taker and (not absorbing.same_draft or _same_draft(outcome, taker)):
        return merging.group(taker.rule.id), len(merging.group(taker.rule.id)) + absorbing.absorbs.index(rule)
    group = merging.group(rule)
    return group, group.index(rule)


def _same_draft(outcome: Outcome, taker: Outcome) -> bool:
    about = drafts(outcome)
    return bool(about) and about <= drafts(taker)


def drafts(outcome: Outcome) -> frozenset[str]:
    """Return the draft orders that a finding rests on, as the call refers to them."""
    return frozenset(item.reference for item in outcome.judgement.supporting() if isinstance(item, Draft))


def cap(cards: Sequence[list[Outcome]], limit: int) -> tuple[list[list[Outcome]], list[Outcome]]:
    """Keep the most urgent cards up to the limit, and every critical one; return what is held back too."""
    shown = [card for place, card in enumerate(cards) if place < limit or card[0].indicator == "critical"]
    held = [outcome for card in cards if card not in shown for outcome in card]
    return shown, held
