"""Suggestions: one draft FHIR R4 ServiceRequest each, never signed by us, valid by construction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from fhir.resources.R4B.servicerequest import ServiceRequest

from cds_service.protocol.cards import Action, Suggestion
from cds_service.terminology import Order

_WORDED = {"laboratory": "Order", "imaging": "Order", "procedure": "Order", "referral": "Refer"}


def suggest(
    orders: Iterable[tuple[str, Mapping[str, Any]]], patient_id: str, encounter_id: str, new_id: Callable[[], str]
) -> list[Suggestion]:
    """
    Return one suggestion per test or referral, each with one action (Epic allows only one) and a uuid.

    ``orders`` are what the suggestion says and its ServiceRequest.
    """
    whose = {"subject": {"reference": f"Patient/{patient_id}"}}
    if encounter_id:
        whose["encounter"] = {"reference": f"Encounter/{encounter_id}"}
    return [Suggestion(say, new_id(), [Action("create", say, {**request, **whose})]) for say, request in orders]


@lru_cache(maxsize=1024)
def service_request(order: Order, system: str) -> dict[str, Any]:
    """
    Return the ServiceRequest for an order, checked once against FHIR by fhir.resources.

    Only the ids of patient and encounter change between calls, and those were checked when the request was read.
    """
    resource = {
        "resourceType": "ServiceRequest", "status": "draft", "intent": "proposal",
        "code": {"coding": [{"system": system, "code": order.code, "display": order.display}], "text": order.name},
        "subject": {"reference": "Patient/checked"}, "encounter": {"reference": "Encounter/checked"},
    }  # fmt: skip
    ServiceRequest.model_validate(resource)
    return {key: value for key, value in resource.items() if key != "encounter"}
