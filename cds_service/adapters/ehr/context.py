"""The context that an EHR sends with a hook: who, where, and the orders or problems that the hook is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cds_service.adapters.ehr.search import Resource, reference_in
from cds_service.protocol.context import PATIENT_VIEW, SHAPES

# What CDS Hooks calls an order in R4 (HOOKS.md).
ORDERS = ("MedicationRequest", "ServiceRequest", "DeviceRequest", "NutritionOrder", "VisionPrescription")
# What the Bundle of a hook's context holds, where it is not orders.
_HELD = {"appointment-book": ("Appointment",), "problem-list-item-create": ("Condition",)}
# An EHR that calls a hook of an encounter is in one; a record that names none gets this.
NO_ENCOUNTER, PERFORMER = "example", "Practitioner/performer"


def context_of(
    hook: str, patient_id: str, resources: Sequence[Resource], *, user_id: str, encounter_id: str = ""
) -> dict[str, Any]:
    """
    Return the context of a hook call.

    ``resources`` are what the hook is about: unsigned orders (all of them chosen), appointments or new problems,
    with the Medications that orders refer to.
    """
    shape = SHAPES.get(hook, PATIENT_VIEW)
    context: dict[str, Any] = {} if shape.user == "no" else {"userId": user_id}
    context["patientId"] = patient_id
    if encounter_id or shape.encounter:
        context["encounterId"] = encounter_id or NO_ENCOUNTER
    held = [one for one in resources if one.get("resourceType") in _HELD.get(hook, ORDERS)]
    names = [f"{one.get('resourceType')}/{one.get('id')}" for one in held]
    if shape.bundle:
        context[shape.bundle] = _bundle([*held, *_medications(held, resources)])
    if shape.selections:
        context["selections"] = names
    if shape.dispatched:
        context |= {"dispatchedOrders": names, "performer": PERFORMER}
    return context


def drafts_among(resources: Iterable[Resource]) -> list[Resource]:
    """Return the orders of a record that are not signed, and the Medications: what an order hook is about."""
    return [
        one
        for one in resources
        if one.get("resourceType") == "Medication"
        or (one.get("resourceType") in ORDERS and one.get("status") == "draft")
    ]


def newest_encounter(resources: Iterable[Resource]) -> str:
    """Return the id of the encounter that began last, or ""."""
    found = [one for one in resources if one.get("resourceType") == "Encounter" and one.get("id")]
    newest = max(found, key=_began, default=None)
    return str(newest["id"]) if newest else ""


def _began(encounter: Mapping[str, Any]) -> str:
    period = encounter.get("period")
    return str(period.get("start") or "") if isinstance(period, dict) else ""


def _medications(orders: Iterable[Resource], resources: Iterable[Resource]) -> list[Resource]:
    wanted = {reference_in(one.get("medicationReference")).rpartition("/")[2] for one in orders}
    return [one for one in resources if one.get("resourceType") == "Medication" and one.get("id") in wanted]


def _bundle(resources: list[Resource]) -> Resource:
    """Return a collection. FHIR JSON knows no empty array."""
    bundle: Resource = {"resourceType": "Bundle", "type": "collection"}
    return bundle | ({"entry": [{"resource": one} for one in resources]} if resources else {})
