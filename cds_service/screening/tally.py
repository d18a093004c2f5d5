"""The tally of a population: cards, gaps, what was set aside, and which codes were seen that mean nothing here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from statistics import median
from typing import Any

import msgspec

from cds_service.decide import Decision
from cds_service.facts.evidence import YES
from cds_service.facts.model import Facts
from cds_service.protocol import Response
from cds_service.rules.book import RuleBook
from cds_service.screening.local import Screened, differing
from cds_service.screening.wording import Likeness

Row = dict[str, str | int]


class Twice(msgspec.Struct):
    """Something counted in the calls as an EHR would have sent them, and in the whole records behind them."""

    sent: Counter[tuple[str, ...]]
    recorded: Counter[tuple[str, ...]]

    def listed(self) -> list[tuple[str, ...]]:
        """Return everything counted, the most frequent on record first."""
        return sorted(self.sent | self.recorded, key=lambda key: (-self.recorded[key], -self.sent[key], key))

    def rows(self, *names: str) -> list[Row]:
        """Return one row for each thing counted."""
        return [_row(names, key) | {"sent": self.sent[key], "on_record": self.recorded[key]} for key in self.listed()]


class Tally:
    """
    Counts over all patients; holds nothing that identifies one.

    The prefetch templates ask for a part of each record. What was set aside and which codes are not ours is
    therefore counted twice: as sent, and in the whole records.
    """

    def __init__(self, book: RuleBook) -> None:
        self._book, self._likeness = book, Likeness(book)
        self.patients = self.deceased = self.undated = 0
        self.verdicts: Counter[tuple[str, str]] = Counter()
        self.indicators: Counter[tuple[str, str]] = Counter()
        self.cards: Counter[str] = Counter()
        self.held_back: Counter[str] = Counter()
        self.missing: Counter[tuple[str, str]] = Counter()
        self.differing: Counter[tuple[str, str, str]] = Counter()
        self.aside = Twice(Counter(), Counter())
        self.unmatched = Twice(Counter(), Counter())
        self.wordings: dict[tuple[str, str], str] = {}
        self.refused: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.milliseconds: list[float] = []

    def add(self, screened: Screened) -> None:
        """Count one patient."""
        self.patients += 1
        if screened.failed:
            self.failed[screened.failed] += 1
            return
        replayed = screened.replayed
        self.milliseconds.append(screened.milliseconds)
        self.undated += screened.case.record.newest() is None
        self.differing.update(differing(screened))
        if replayed.refused is not None:
            self.refused[replayed.refused.slug] += 1
        if replayed.decision is not None:
            self._add_decision(replayed.decision)
        if replayed.response is not None:
            self._add_response(replayed.response)
        self._add_facts(screened.facts, self.aside.sent, self.unmatched.sent)
        self._add_facts(screened.whole_facts, self.aside.recorded, self.unmatched.recorded)
        self._add_wordings(screened)

    def _add_decision(self, decision: Decision) -> None:
        self.deceased += decision.facts.person.deceased
        for outcome in decision.outcomes:
            self.verdicts[outcome.rule.id, outcome.verdict.value] += 1
            if outcome.verdict is YES:
                self.indicators[outcome.rule.id, outcome.indicator] += 1
            if outcome.failed:
                self.failed[f"{outcome.rule.id}: {outcome.failed}"] += 1
        for outcome in decision.not_evaluated:
            self.missing.update((outcome.rule.id, missing) for missing in set(outcome.judgement.missing))

    def _add_response(self, response: Response) -> None:
        self.cards.update(card.indicator for card in response.cards)
        for said in response.extension.values():
            self.held_back.update(held["rule"] for held in said.get("held_back", ()))

    @staticmethod
    def _add_facts(facts: Facts | None, aside: Counter[tuple[str, ...]], unmatched: Counter[tuple[str, ...]]) -> None:
        if facts is not None:
            aside.update((one.kind, one.reason) for one in facts.set_aside)
            unmatched.update(facts.seen)

    def _add_wordings(self, screened: Screened) -> None:
        """Remember how records word their codes: a code alone tells nobody what was missed."""
        name = self._book.terminology.systems.name
        for system, code, display in screened.case.record.wordings():
            self.wordings.setdefault((name(system) or system, code), display)

    @property
    def sound(self) -> bool:
        """Say whether nothing went wrong: no failure, and no call that an EHR would have seen refused."""
        return not self.failed and not self.refused

    def times(self) -> dict[str, float]:
        """Return the milliseconds that one call took: median, slowest of twenty, slowest."""
        ordered = sorted(self.milliseconds) or [0.0]
        return {"median": median(ordered), "95 %": ordered[int(len(ordered) * 0.95)], "longest": ordered[-1]}

    def not_matched(self) -> list[Row]:
        """Return the codes and units that mean nothing to the rules, with their wording and what it resembles."""
        rows = self.unmatched.rows("kind", "system", "code")
        for row in rows:
            wording = self.wordings.get((str(row["system"]), str(row["code"])), "")
            row |= {"wording": wording, "like": self._likeness.of(str(row["kind"]), wording)}
        return rows

    def systems(self) -> list[Row]:
        """Return the code systems that no concept is written in, with how many codes of theirs were met."""
        known, found = set(self._book.terminology.systems.names()), Twice(Counter(), Counter())
        codes: Counter[tuple[str, ...]] = Counter()
        for kind, system, code in self.unmatched.listed():
            if system not in known and kind != "units":
                codes[kind, system] += 1
                found.sent[kind, system] += self.unmatched.sent[kind, system, code]
                found.recorded[kind, system] += self.unmatched.recorded[kind, system, code]
        return [row | {"codes": codes[str(row["kind"]), str(row["system"])]} for row in found.rows("kind", "system")]

    def as_json(self) -> dict[str, Any]:
        """Return the tally as plain JSON."""
        return {
            "patients": self.patients,
            "deceased": self.deceased,
            "undated": self.undated,
            "cards": dict(self.cards),
            "held_back": dict(self.held_back),
            "verdicts": counted(self.verdicts, "rule", "verdict"),
            "findings": counted(self.indicators, "rule", "indicator"),
            "not_evaluated": counted(self.missing, "rule", "missing"),
            "prefetch_changes": counted(self.differing, "rule", "as_sent", "whole_record"),
            "set_aside": self.aside.rows("kind", "reason"),
            "systems": self.systems(),
            "not_matched": self.not_matched(),
            "refused": dict(self.refused),
            "failed": dict(self.failed),
            "milliseconds": self.times(),
        }


def counted(counts: Counter[Any], *names: str) -> list[Row]:
    """Return one row for each thing counted, the most frequent first."""
    keys = {key: key if isinstance(key, tuple) else (key,) for key in counts}
    return [_row(names, keys[key]) | {"count": count} for key, count in counts.most_common()]


def _row(names: Iterable[str], key: Iterable[str]) -> Row:
    return dict(zip(names, key, strict=True))
