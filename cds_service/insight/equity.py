"""Who gets cards, and whose are overridden: by sex and age band. What would tell of a few people is left out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cds_service.insight.counting import OVERRIDDEN, CardSeen, Cell, Counts
from cds_service.insight.events import BANDS, NOT_RECORDED
from cds_service.insight.of_rule import Within

# Counts below this are not shown (ADMIN.md 4): they could tell of a person.
SMALLEST = 11
_BANDS = [name for _, name in BANDS] + [NOT_RECORDED]


class Group(msgspec.Struct, frozen=True):
    """
    One sex or age band: patients of whom we were called, those with a card, cards answered, cards overridden.

    None stands for fewer than 11, or for a number from which a small one could be worked out.
    """

    kind: str
    name: str
    patients: int | None
    with_card: int | None
    answered: int | None
    overridden: int | None


def groups(counts: Counts, within: Within, rule: str = "") -> list[Group]:
    """Return the groups by sex, then by age band; of one rule, or of all cards."""
    source = counts.tracks[rule].cards if rule in counts.tracks else [] if rule else list(counts.cards.values())
    cards = [card for card in source if within(card.day)]
    sexes = sorted({cell[0] for cell, day in counts.people if within(day)})
    return [
        *_hidden([_group(counts, within, cards, "sex", 0, name) for name in sexes]),
        *_hidden([_group(counts, within, cards, "age", 1, name) for name in _BANDS]),
    ]


def _group(counts: Counts, within: Within, cards: Sequence[CardSeen], kind: str, place: int, name: str) -> Group:
    def here(cell: Cell) -> bool:
        return cell[place] == name

    people: set[int] = set().union(
        *(found for (cell, day), found in counts.people.items() if here(cell) and within(day))
    )
    shown = [card for card in cards if here(card.cell)]
    answered = [card for card in shown if card.outcome]
    overridden = sum(card.outcome == OVERRIDDEN for card in answered)
    return Group(kind, name, len(people), len({card.patient for card in shown}), len(answered), overridden)


def _hidden(found: list[Group]) -> list[Group]:
    """Leave small counts out; where only one of a column is left out, the next smallest too, or sums would tell it."""
    for column in ("patients", "with_card", "answered", "overridden"):
        numbers = [getattr(one, column) for one in found]
        small = {place for place, number in enumerate(numbers) if number < SMALLEST}
        # What is 0 hides nobody, and does not keep a single small number from being worked out.
        if sum(bool(numbers[place]) for place in small) == 1:
            rest = [place for place in range(len(numbers)) if place not in small]
            small |= {min(rest, key=lambda place: numbers[place])} if rest else set()
        found = [
            msgspec.structs.replace(one, **{column: None}) if place in small else one for place, one in enumerate(found)
        ]
    return found
