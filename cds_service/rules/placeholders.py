"""What may stand in braces in a card's text, checked at load: a hole that nobody can fill is never shipped."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cds_service.facts.derived import COMPUTED
from cds_service.rules.scope import Scope, meant
from cds_service.schemas.strict_yaml import Mapping, Sequence

# What a finding says as a whole. {finding}, {abnormality}: its first measurement with its value. {disease}: its first
# diagnosis that is neither lesion nor calcinosis. {drugs}, {exposure}: medicines; {n}, {points}: what was counted.
WHOLE = ("finding", "abnormality", "disease", "drugs", "exposure", "n", "points")
# {missing}: what not_done clauses found absent. {lesion}, {drug}: how the record names what was found.
# {calcium}: the calcium that the finding rests on, with its name: "calcium 11.2 mg/dL", "ionized calcium 1.40 mmol/L".
FOUND = ("missing", "lesion", "drug", "calcium", "calcium.date", *WHOLE)
# A concept or group of these kinds, in braces, becomes how the record names what was found of it: {ctd}, {tpn}.
NAMED = ("diagnosis", "medication", "procedure")
HOLE = re.compile(r"\{([^{}]*)\}")


def holes(text: str) -> list[str]:
    """Return the placeholders of a text, in their order."""
    return HOLE.findall(text)


def check(card: Mapping, scope: Scope) -> set[str]:
    """Return the measurements that a card's placeholders name. Raises ContentError for one that means nothing."""
    return {name for text, line in _texts(card) for hole in holes(text) for name in _measured(hole, line, scope)}


def _texts(card: Mapping) -> Iterator[tuple[str, int]]:
    for place in (card, *(card.get("escalate") or ())):
        summary = place.get("summary") or Sequence()
        if isinstance(summary, Sequence):
            yield from zip(summary, getattr(summary, "lines", ()), strict=True)
        else:
            yield summary, place.lines["summary"]
    yield card["detail"], card.lines["detail"]
    if card.get("medication_advice"):
        yield card["medication_advice"], card.lines["medication_advice"]


def _measured(hole: str, line: int, scope: Scope) -> Iterator[str]:
    if hole in FOUND or hole in scope.thresholds or scope.terminology.kind(hole) in NAMED:
        return
    name = hole.removesuffix(".date")
    if name not in COMPUTED and name not in scope.terminology.analytes:
        known = [*FOUND, *scope.thresholds, *COMPUTED, *scope.terminology.analytes]
        scope.fail(
            f'There is no placeholder "{{{hole}}}".{meant(name, known)}',
            line,
            slug="unknown-placeholder",
            remedy="In braces may stand a test (also with .date), a threshold, a concept, missing, lesion or drug.",
        )
    yield name
