"""What was counted over a population: cards, findings, gaps; nothing that identifies anybody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from cds_service.rules.book import ServiceRules
from cds_service.rules.model import INDICATORS, Rule
from cds_service.screening.one import BETWEEN

URGENT_FIRST = tuple(reversed(INDICATORS))
Row = dict[str, str | int]


class Totals:
    """The counts of all patients, by the names that ``one`` gives them."""

    def __init__(self, parts: Iterable[Mapping[str, int]] = ()) -> None:
        self._counts: Counter[str] = Counter()
        for one in parts:
            self._counts.update(one)

    def __getitem__(self, name: str) -> int:
        """Return one count."""
        return self._counts[name]

    def of(self, *names: str) -> int:
        """Return the count of something that has a name of several parts."""
        return self._counts[BETWEEN.join(names)]

    def named(self, kind: str) -> dict[str, int]:
        """Return all counts of one kind, the most frequent first."""
        start = kind + BETWEEN
        found = {name.removeprefix(start): number for name, number in self._counts.items() if name.startswith(start)}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    @property
    def patients(self) -> int:
        """How many patients were looked at."""
        return self["patients"]

    @property
    def sound(self) -> bool:
        """Say whether every patient could be looked at."""
        return not self.named("refused") and not self.named("failed")

    def rules(self, service: ServiceRules) -> list[Row]:
        """Return a row for each rule that was asked: findings by urgency, cards it stood on, and how often unknown."""
        asked = sorted((rule for rule in service.rules if rule.status == "active"), key=lambda rule: rule.number)
        return [self._rule(rule) for rule in asked]

    def _rule(self, rule: Rule) -> Row:
        said: Row = {"number": rule.number, "rule": rule.id, "title": rule.title, "version": rule.version}
        said |= {name: self.of("finding", rule.id, name) for name in URGENT_FIRST}
        said |= {"cards": self.of("on card", rule.id), "held_back": self.of("held back", rule.id)}
        return said | {"not_evaluated": self.of("unknown", rule.id)}

    def set_aside(self) -> list[Row]:
        """Return why resources were set aside: kind, reason, how many."""
        named = [(name.split(BETWEEN), number) for name, number in self.named("set aside").items()]
        return [{"kind": kind, "reason": reason, "count": number} for (kind, reason), number in named]

    def as_json(self, service: ServiceRules) -> dict[str, Any]:
        """Return everything that was counted."""
        return {
            "patients": self.patients,
            "deceased": self["deceased"],
            "with_findings": self["with findings"],
            "cards": {name: self.of("card", name) for name in URGENT_FIRST},
            "rules": self.rules(service),
            "set_aside": self.set_aside(),
            "refused": self.named("refused"),
            "failed": self.named("failed"),
        }
