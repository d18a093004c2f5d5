"""Screening on one machine: case by case, as of the moment that was asked for."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from cds_service.adapters.ehr.cases import Case, moment_of
from cds_service.facts.model import Facts
from cds_service.replay import NEWEST, TODAY, Replayed, Replayer

__all__ = ["NEWEST", "TODAY", "Screened", "Screening", "differing", "moment_of"]


class Screened(msgspec.Struct, frozen=True):
    """
    What came of one case.

    ``whole`` is the answer where the EHR had sent the whole record, whatever the prefetch templates ask for.
    ``failed`` names an unexpected exception, which must never happen.
    """

    case: Case
    now: float
    replayed: Replayed = Replayed()
    whole: Replayed | None = None
    milliseconds: float = 0.0
    failed: str = ""

    @property
    def facts(self) -> Facts | None:
        """The facts that the rules were asked about."""
        return self.replayed.decision.facts if self.replayed.decision else None

    @property
    def whole_facts(self) -> Facts | None:
        """The facts of the whole record, or of the call where there is nothing more."""
        decision = (self.whole or self.replayed).decision
        return decision.facts if decision else None


class Screening:
    """One run over a population: with which rule book, as of when, and how time is told."""

    def __init__(self, replayer: Replayer, as_of: str, clock: Callable[[], float], timer: Callable[[], float]) -> None:
        self.replayer, self.as_of, self.clock, self.timer = replayer, as_of, clock, timer

    def screen(self, case: Case) -> Screened:
        """Evaluate one case. A case that fails never stops the others."""
        now = moment_of(case.record, self.as_of, self.clock)
        try:
            started = self.timer()
            replayed = self.replayer.replay(case.call, case.service, now)
            taken = (self.timer() - started) * 1000
            whole = self.replayer.replay(case.whole, case.service, now) if case.whole else None
        except Exception as failure:  # noqa: BLE001 - it is counted and shown; the other patients go on
            return Screened(case, now, failed=type(failure).__name__)
        return Screened(case, now, replayed, whole, taken)


def differing(screened: Screened) -> list[tuple[str, str, str]]:
    """List the rules that the whole record would have answered differently: rule, verdict as sent, verdict of all."""
    as_sent, whole = screened.replayed.decision, screened.whole.decision if screened.whole else None
    if as_sent is None or whole is None:
        return []
    pairs = zip(as_sent.outcomes, whole.outcomes, strict=True)
    return [
        (one.rule.id, one.verdict.value, other.verdict.value)
        for one, other in pairs
        if one.verdict is not other.verdict
    ]
