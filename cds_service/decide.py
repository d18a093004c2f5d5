"""One decision: every rule of a service asked about one patient, and the cards that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from types import MappingProxyType
from typing import Any

import msgspec

from cds_service.cards import write_cards
from cds_service.cards.fixed import EXTENSION
from cds_service.cards.plan import possible
from cds_service.errors import NoData
from cds_service.facts.evidence import UNKNOWN, YES, Judgement
from cds_service.facts.model import KINDS, PATIENT, Facts
from cds_service.protocol.cards import Card, Response
from cds_service.protocol.request import HookRequest
from cds_service.rules import exempting
from cds_service.rules.book import RuleBook, ServiceRules
from cds_service.rules.evaluation import evaluate
from cds_service.rules.exempting import Occasion
from cds_service.rules.model import Outcome, Rule, Values
from cds_service.rules.quiet import Held, Hush, QuietState, Viewer
from cds_service.rules.ruling_out import Sieve

Asked = tuple[tuple[Rule, Values], ...]
_EPOCH = date(1970, 1, 1).toordinal()
DECEASED = "the patient is recorded as deceased"
OFF = "switched off by the hospital"
NOTHING_OFF: Mapping[str, str] = MappingProxyType({})


class Decision(msgspec.Struct, frozen=True):
    """What every rule said: ``outcomes`` of active rules, ``silent`` those of rules in pilot (counted, not shown)."""

    facts: Facts
    outcomes: tuple[Outcome, ...]
    silent: tuple[Outcome, ...] = ()

    @property
    def fired(self) -> list[Outcome]:
        """The active rules that fired."""
        return [outcome for outcome in self.outcomes if outcome.judgement.verdict is YES]

    @property
    def not_evaluated(self) -> list[Outcome]:
        """The active rules that could not be evaluated, or that broke."""
        return [outcome for outcome in self.outcomes if outcome.judgement.verdict is UNKNOWN]


def decide(
    facts: Facts,
    book: RuleBook,
    service: ServiceRules,
    off: Mapping[str, str] = NOTHING_OFF,
    day: date | None = None,
    *,
    trails: bool = True,
) -> Decision:
    """
    Ask every rule of a service. One rule that fails never silences another.

    Rules that are ``off`` are not asked, and named as not evaluated, with the reason that ``off`` gives: their silence
    must not look like safety. Thresholds are those of the call's own day, unless another ``day`` is given. Without
    ``trails`` rules that cannot fire do not say why, and the answer is there sooner.
    """
    if facts.person.deceased:
        return Decision(facts, tuple(_not_for_the_dead(book, service, facts)))
    _, active, pilot, sieve = _in_force(book, service, day or day_of(facts))
    known: Mapping[str, Outcome] = {} if trails else sieve.ruled_out(facts)
    if off:
        known = {**known, **{rule.id: _off(rule, values, off[rule.id]) for rule, values in active if rule.id in off}}
    return Decision(
        facts,
        tuple([known.get(rule.id) or evaluate(rule, facts, values) for rule, values in active]),
        tuple([known.get(rule.id) or evaluate(rule, facts, values) for rule, values in pilot if rule.id not in off]),
    )


def _off(rule: Rule, values: Values, why: str) -> Outcome:
    return Outcome(rule, Judgement(UNKNOWN, why, missing=(why,)), values)


def stopped(service: ServiceRules) -> Response:
    """Return the answer of a service that is switched off: no cards, and every rule named as not evaluated."""
    active = [rule.id for rule in service.rules if rule.status == "active"]
    return Response([], {EXTENSION: {"not_evaluated": [{"rule": rule, "missing": [OFF]} for rule in active]}})


def _in_force(book: RuleBook, service: ServiceRules, day: date) -> tuple[ServiceRules, Asked, Asked, Sieve]:
    """Return the active rules and those in pilot, with their thresholds of the day; made once a day."""

    def make() -> tuple[ServiceRules, Asked, Asked, Sieve]:
        asked = [(rule, book.values(rule, day)) for rule in service.rules]
        active, pilot = (tuple(one for one in asked if one[0].status == status) for status in ("active", "pilot"))
        return service, active, pilot, Sieve(asked)

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
    decision: Decision,
    book: RuleBook,
    service: ServiceRules,
    request: HookRequest,
    new_id: Callable[[], str],
    state: QuietState | None = None,
    gaps: Mapping[str, str] = MappingProxyType({}),
    issuer: str = "",
) -> Response:
    """
    Turn a decision into the answer to the hook call; without a state nothing is ever quiet, and nobody excepted.

    ``gaps`` says for prefetch keys that were asked of the FHIR server, and did not come, why not. ``issuer`` is the
    client that calls, where it has proved who it is.

    Raises NoData where no rule at all could be evaluated: an empty answer would look like safety.
    """
    if _nothing_known(decision):
        raise _no_data(decision, gaps)
    cards, held = _speak(decision, book, service, request, new_id, state, issuer)
    said: dict[str, Any] = {}
    if decision.not_evaluated:
        said["not_evaluated"] = [
            {"rule": one.rule.id, "missing": list(_missing(one))} for one in decision.not_evaluated
        ]
    if gaps:
        said["not_fetched"] = dict(gaps)
    if held:
        said["held_back"] = [
            {"rule": one.outcome.rule.id, "indicator": one.outcome.indicator, "reason": one.reason} for one in held
        ]
    return Response(cards, {EXTENSION: said} if said else {})


def _nothing_known(decision: Decision) -> bool:
    """
    Say whether there is something to say, and no rule that has to say it could be evaluated.

    Rules that are switched off, or about other orders than those of the call, are no evidence of safety; nor is a rule
    that age or sex alone rules out, while nothing but the patient is known (CHECKLIST D15). An order that does not say
    yet what is ordered concerns no rule: while it is being chosen that is no fault, and the answer names it.
    """
    asked, evidence = False, _more_than_a_patient(decision.facts)
    for one in decision.outcomes:
        if one.rule.concerns(decision.facts) and not _is_off(one):
            if one.verdict is YES or (evidence and one.verdict is not UNKNOWN):
                return False
            asked = True
    return asked and not decision.facts.person.deceased


def _more_than_a_patient(facts: Facts) -> bool:
    """Say whether any kind of data was loaded besides the patient, be it empty, or an order of this call was read."""
    return any(state.loaded for kind, state in facts.states.items() if kind != PATIENT) or any(
        order.selected and order.concept for order in facts.orders
    )


def _is_off(outcome: Outcome) -> bool:
    by_rule = bool(outcome.rule.switch) and not outcome.values[outcome.rule.switch]
    return by_rule or outcome.judgement.missing == (OFF,)


def _speak(
    decision: Decision,
    book: RuleBook,
    service: ServiceRules,
    request: HookRequest,
    new_id: Callable[[], str],
    state: QuietState | None,
    issuer: str,
) -> tuple[list[Card], list[Held]]:
    """Return the cards, and the findings that stay quiet: held back is never forgotten, the answer names them."""
    fired = decision.fired
    if not fired:
        return [], []
    facts, speaking, withheld = decision.facts, fired, list[Held]()
    if state:
        speaking, withheld = exempting.sorted_out(
            fired, facts, day_of(facts), lambda: _occasion(request, state, issuer)
        )
    hush = _hush(facts, service, request, state) if state else None
    speaking, quiet = hush.sort(speaking) if hush else (speaking, [])
    cards, beyond = write_cards(
        speaking, service.card_limit, facts, book, request, new_id, calciphylaxis=possible(fired)
    )
    if hush:
        for card in cards:
            hush.remember(card.uuid, [rule["id"] for rule in card.extension[EXTENSION]["rules"]])
    return cards, [*withheld, *quiet, *(Held(one, f"beyond the limit of {service.card_limit} cards") for one in beyond)]


def _occasion(request: HookRequest, state: QuietState, issuer: str) -> Occasion:
    server, encounter = request.fhir_server, request.encounter_id
    return Occasion(
        patient=state.pseudonym("patient", server, request.patient_id),
        encounter=state.pseudonym("encounter", server, encounter) if encounter else "",
        user=request.user_id.partition("/")[0],
        client=issuer,
    )


def _hush(facts: Facts, service: ServiceRules, request: HookRequest, state: QuietState) -> Hush:
    viewer = Viewer(
        patient=state.pseudonym("patient", request.fhir_server, request.patient_id),
        user=state.pseudonym("user", request.fhir_server, request.user_id),
        encounter=state.pseudonym("encounter", request.fhir_server, request.encounter_id)
        if request.encounter_id
        else "",
        hook=request.hook,
    )
    return Hush(state, viewer, facts, service.repeat)


def _missing(outcome: Outcome) -> tuple[str, ...]:
    return ("this rule failed and was skipped",) if outcome.failed else outcome.judgement.missing


def _no_data(decision: Decision, fetched: Mapping[str, str]) -> NoData:
    states = decision.facts.states
    gaps = [f"{kind}: {states[kind].value if kind in states else 'not sent'}" for kind in _kinds(decision)]
    return NoData(
        "None of the rules could be evaluated with the data that were sent.",
        where="/prefetch",
        why="What is known of each prefetch key: " + "; ".join(gaps) + "." + _asked(fetched),
        remedy="Send the prefetch that discovery announces, or check why the EHR could not load it.",
    )


def _asked(fetched: Mapping[str, str]) -> str:
    """Say how the FHIR server answered, by reason codes."""
    reasons = ", ".join(f"{key} {why}" for key, why in sorted(fetched.items()))
    return f" Asked of fhirServer: {reasons}." if reasons else ""


def _kinds(decision: Decision) -> list[str]:
    return [kind for kind in KINDS if not decision.facts.state(kind).conclusive]
