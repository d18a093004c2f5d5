"""
Suggestions: one action each, never signed by us, valid by construction.

A test or referral becomes a draft ServiceRequest, a safer medication a draft MedicationRequest without a dose, and a
draft order that the finding rests on can be taken away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from fhir.resources.R4B.medicationrequest import MedicationRequest
from fhir.resources.R4B.servicerequest import ServiceRequest

from cds_service.cards.plain import plain
from cds_service.facts.evidence import Judgement
from cds_service.facts.model import Draft, Facts
from cds_service.protocol.cards import Action, Suggestion
from cds_service.protocol.request import HookRequest
from cds_service.rules.model import Outcome
from cds_service.terminology import Order, Terminology

# What Epic shows of a suggestion, and what still fits on a button.
LONGEST_LABEL = 80
# At these hooks the orders are not signed yet, so that they can simply be taken away.
UNSIGNED = ("order-select", "order-sign", "medication-refill")
_LOCAL = re.compile(r"[A-Z][A-Za-z]{1,64}/[A-Za-z0-9._-]{1,256}")
NewId = Callable[[], str]


def suggest(
    orders: Iterable[tuple[str, Mapping[str, Any]]], patient_id: str, encounter_id: str, new_id: NewId
) -> list[Suggestion]:
    """
    Return one suggestion per order, each with one action (Epic allows only one) and a uuid.

    ``orders`` are what the suggestion says and its ServiceRequest or MedicationRequest.
    """
    whose = {"subject": {"reference": f"Patient/{patient_id}"}}
    if encounter_id:
        whose["encounter"] = {"reference": f"Encounter/{encounter_id}"}
    return [Suggestion(say, new_id(), [Action("create", say, {**request, **whose})]) for say, request in orders]


def about_orders(
    together: Sequence[Outcome], facts: Facts, words: Terminology, request: HookRequest, new_id: NewId
) -> list[Suggestion]:
    """Return what a card may do about the orders of the call: take harmful ones away, order a safer one instead."""
    if not facts.orders:
        return []
    offered = [
        (one.say, medication_request(one, words.systems.uri(one.system))) for one in _safer(together, facts, words)
    ]
    safer = suggest(offered, request.patient_id, request.encounter_id, new_id)
    removable = _removable(together, facts) if request.hook in UNSIGNED else []
    return [*(_removal(draft, new_id) for draft in removable), *safer]


def _removable(together: Sequence[Outcome], facts: Facts) -> list[Draft]:
    """
    Return the draft orders, each once, that a finding rests on whose rule asks to take them away.

    What one rule of the card wants kept, since it may be an emergency, no other one takes away.
    """
    asking = [outcome for outcome in together if outcome.rule.card.remove_draft]
    kept = {draft.reference for outcome in asking for draft in _kept(outcome, facts)}
    found = [draft for outcome in asking for draft in _drafts(outcome.judgement) if _LOCAL.fullmatch(draft.reference)]
    return list({one.reference: one for one in reversed(found) if one.reference not in kept}.values())[::-1]


def _kept(outcome: Outcome, facts: Facts) -> Iterator[Draft]:
    clause = outcome.rule.card.keep_draft_when
    return _drafts(clause(facts, outcome.values)) if clause else iter(())


def _drafts(judgement: Judgement) -> Iterator[Draft]:
    return (item for item in judgement.supporting() if isinstance(item, Draft))


def _removal(draft: Draft, new_id: NewId) -> Suggestion:
    start = "Remove the order: "
    say = start + plain(draft.display or draft.concept, LONGEST_LABEL - len(start))
    return Suggestion(say, new_id(), [Action("delete", say, resource_id=draft.reference)])


def _safer(together: Iterable[Outcome], facts: Facts, words: Terminology) -> Iterator[Order]:
    """
    Yield the medications that the rules of a card offer instead of an order that they fit.

    Not where the patient has one like it, or orders one.
    """
    known = facts.medications.keys() | {draft.concept for draft in facts.orders}
    offered = ((name, one) for one in together for name in one.rule.card.alternatives)
    fitting = (name for name, one in offered if _fits(words.orders[name], one, words))
    for name in dict.fromkeys(fitting):
        order = words.orders[name]
        rows = words.indexes["medication"].rows(order.system, order.code)
        if known.isdisjoint(row.match.concept for row in rows):
            yield order


def _fits(order: Order, outcome: Outcome, words: Terminology) -> bool:
    """Say whether a medication can replace one of the orders that a finding rests on."""
    replaced = {concept for name in order.instead_of for concept in words.members(name)}
    return any(not replaced or draft.concept in replaced for draft in _drafts(outcome.judgement))


@lru_cache(maxsize=1024)
def service_request(order: Order, system: str) -> dict[str, Any]:
    """
    Return the ServiceRequest for an order, checked once against FHIR by fhir.resources.

    Only the ids of patient and encounter change between calls, and those were checked when the request was read.
    """
    resource = _draft("ServiceRequest", {"code": _coded(order, system)})
    ServiceRequest.model_validate(resource)
    return {key: value for key, value in resource.items() if key != "encounter"}


@lru_cache(maxsize=256)
def medication_request(order: Order, system: str) -> dict[str, Any]:
    """Return the MedicationRequest for a safer medication: the ingredient, never a product, route or dose."""
    resource = _draft("MedicationRequest", {"medicationCodeableConcept": _coded(order, system)})
    MedicationRequest.model_validate(resource)
    return {key: value for key, value in resource.items() if key != "encounter"}


def _coded(order: Order, system: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": order.code, "display": order.display}], "text": order.name}


def _draft(kind: str, what: dict[str, Any]) -> dict[str, Any]:
    """Return a draft proposal with placeholders for patient and encounter."""
    return {
        "resourceType": kind, "status": "draft", "intent": "proposal", **what,
        "subject": {"reference": "Patient/checked"}, "encounter": {"reference": "Encounter/checked"},
    }  # fmt: skip
