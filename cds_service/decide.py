"""One decision: every rule of a service asked about one patient, and the cards that follow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import msgspec

from cds_service.cards import write_cards
from cds_service.cards.fixed import EXTENSION
from cds_service.errors import NoData
from cds_service.facts.evidence import UNKNOWN, YES, Judgement
from cds_service.facts.model import KINDS, Facts
from cds_service.protocol.cards import Response
from cds_service.protocol.request import HookRequest
from cds_service.rules.book import RuleBook, ServiceRules
from cds_service.rules.evaluation import evaluate
from cds_service.rules.model import Outcome, Rule, Values

Asked = tuple[tuple[Rule, Values], ...]
_EPOCH = date(1970, 1, 1).toordinal()
DECEASED = "the patient is recorded as deceased"


class Decision(msgspec.Struct, frozen=True):
    """What every rule said: ``outcomes`` of active rules, ``silent`` those of rules in pilot (counted, not shown)."""

    facts: Facts
    outcomes: tuple[Outcome, ...]
    silent: tuple[Outcome, ...] = ()

    @property
    def fired(self) -> list[Outcome]:
        """The active rules that fired."""
        return [outcome for outcome in self.outcomes if outcome.verdict is YES]

    @property
    def not_evaluated(self) -> list[Outcome]:
        """The active rules that could not be evaluated, or that broke."""
        return [outcome for outcome in self.outcomes if outcome.verdict is UNKNOWN]


def decide(facts: Facts, book: RuleBook, service: ServiceRules) -> Decision:
    """Ask every rule of a service. One rule that fails never silences another."""
    if facts.person.deceased:
        return Decision(facts, tuple(_not_for_the_dead(book, service, facts)))
    _, active, pilot = _in_force(book, service, day_of(facts))
    return Decision(
        facts,
        tuple([evaluate(rule, facts, values) for rule, values in active]),
        tuple([evaluate(rule, facts, values) for rule, values in pilot]),
    )


def _in_force(book: RuleBook, service: ServiceRules, day: date) -> tuple[ServiceRules, Asked, Asked]:
    """Return the active rules and those in pilot, with their thresholds of the day; made once a day."""

    def make() -> tuple[ServiceRules, Asked, Asked]:
        asked = [(rule, book.values(rule, day)) for rule in service.rules]
        active, pilot = (tuple(one for one in asked if one[0].status == status) for status in ("active", "pilot"))
        return service, active, pilot

    # A service is known by its identity, so it has to live as long as what is remembered of it.
    return book.once(("in force", id(service), day), make)


def day_of(facts: Facts) -> date:
    """Return the calendar day (UTC) that thresholds are looked up on."""
    return date.fromordinal(_EPOCH + facts.today)


def _not_for_the_dead(book: RuleBook, service: ServiceRules, facts: Facts) -> list[Outcome]:
    judgement = Judgement(UNKNOWN, DECEASED, missing=(DECEASED,))
    return [
        Outcome(rule, judgement, book.values(rule, day_of(facts))) for rule in service.rules if rule.status == "active"
    ]


def respond(
    decision: Decision, book: RuleBook, service: ServiceRules, request: HookRequest, new_id: Callable[[], str]
) -> Response:
    """
    Turn a decision into the answer to the hook call.

    Raises NoData where no rule at all could be evaluated: an empty answer would look like safety.
    """
    if (
        decision.outcomes
        and not decision.facts.person.deceased
        and len(decision.not_evaluated) == len(decision.outcomes)
    ):
        raise _no_data(decision)
    cards, held = write_cards(decision.fired, service.card_limit, decision.facts, book, request, new_id)
    said: dict[str, Any] = {}
    if decision.not_evaluated:
        said["not_evaluated"] = [
            {"rule": one.rule.id, "missing": list(_missing(one))} for one in decision.not_evaluated
        ]
    if held:
        said["held_back"] = [{"rule": one.rule.id, "indicator": one.indicator} for one in held]
    return Response(cards, {EXTENSION: said} if said else {})


def _missing(outcome: Outcome) -> tuple[str, ...]:
    return ("this rule failed and was skipped",) if outcome.failed else outcome.judgement.missing


def _no_data(decision: Decision) -> NoData:
    states = decision.facts.states
    gaps = [f"{kind}: {states[kind].value if kind in states else 'not sent'}" for kind in _kinds(decision)]
    return NoData(
        "None of the rules could be evaluated with the data that were sent.",
        where="/prefetch",
        why="What is known of each prefetch key: " + "; ".join(gaps) + ".",
        remedy="Send the prefetch that discovery announces, or check why the EHR could not load it.",
    )


def _kinds(decision: Decision) -> list[str]:
    return [kind for kind in KINDS if not decision.facts.state(kind).conclusive]
