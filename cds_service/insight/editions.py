"""A rule before and after a change: its cards and their answers by the form in which it was asked."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import msgspec

from cds_service.insight.counting import CardSeen, Counts, Tuned
from cds_service.insight.events import as_date
from cds_service.insight.intervals import Share, fisher
from cds_service.insight.of_rule import Answered, answered, by_edition

# Below this a difference is told: one in twenty would differ so much by chance.
TOLD = 0.05


class EditionFigures(msgspec.Struct, frozen=True):
    """
    One form of a rule: its version, the numbers that were not those of its file, from when to when it was asked.

    ``note`` tells where its share of overrides differs from that of the form before, ``p`` how likely that is by
    chance (Fisher's exact test, two-sided; None where nothing can be compared).
    """

    version: int
    tuned: Tuned
    first: date
    last: date
    answered: Answered
    p: float | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """Say which form it is: "version 1, phosphate_high 6.5"."""
        told = ", ".join(f"{name} {value}" for name, value in self.tuned)
        version = f"version {self.version}" if self.version else "version not on record"
        return f"{version}, {told}" if told else version


def compared(rule: str, counts: Counts, today: int, days: int) -> list[EditionFigures]:
    """Return each form of a rule, oldest first; books that leave the rule as it is are one form."""
    found: list[EditionFigures] = []
    for version, tuned, first, last, cards in _joined(rule, counts, today, days):
        told = answered(cards)
        found.append(_noted(EditionFigures(version, tuned, as_date(first), as_date(last), told), found))
    return found


def _joined(rule: str, counts: Counts, today: int, days: int) -> Iterable[tuple[int, Tuned, int, int, list[CardSeen]]]:
    """Join books in which a rule is the same. Where it never fired its version is not known: that of its neighbour."""
    forms: dict[tuple[int, Tuned], tuple[int, int, list[CardSeen]]] = {}
    rows = by_edition(rule, counts, today, days)
    known = [counts.versions.get((edition.book, rule), 0) for edition, *_ in rows]
    for place, (edition, first, last, cards) in enumerate(rows):
        version = known[place] or next((one for one in (*known[:place][::-1], *known[place:]) if one), 0)
        before = forms.get((version, edition.tuned))
        if before is not None:
            first, last, cards = min(first, before[0]), max(last, before[1]), [*before[2], *cards]  # noqa: PLW2901
        forms[version, edition.tuned] = (first, last, cards)
    return [(*form, *rest) for form, rest in sorted(forms.items(), key=lambda one: one[1][:2])]


def _noted(now: EditionFigures, before: list[EditionFigures]) -> EditionFigures:
    """Compare a form's overrides with those of the last one before it that was answered."""
    then = next((one for one in reversed(before) if one.answered.overriding.whole), None)
    share = now.answered.overriding
    if then is None or not share.whole:
        return now
    old = then.answered.overriding
    p = fisher((share.part, share.whole - share.part), (old.part, old.whole - old.part))
    note = _note(then, now, old, share, p) if p < TOLD else ""
    return msgspec.structs.replace(now, p=p, note=note)


def _note(then: EditionFigures, now: EditionFigures, old: Share, new: Share, p: float) -> str:
    verb = "raised" if (new.value or 0) > (old.value or 0) else "lowered"
    said = f"{now.name} {verb} overrides from {old.words} to {new.words} of answered cards, against {then.name}"
    return f"{said}; p {probability(p)}"


def probability(p: float) -> str:
    """Write how likely something is by chance."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"
