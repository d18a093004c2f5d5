"""Draft orders, and calls of the hooks that are about them."""

from __future__ import annotations

from typing import Any

from cds_service.protocol.context import SHAPES
from tests.build import PATIENT, RXNORM, SNOMED, WARFARIN_TABLET, Resource, call, concept, prefetch, reference, without

PHOSPHATE_ORDER, NEPHROLOGIST = "2777-1", "306286007"
# Every hook that is about resources of its context, with the member that holds them.
ABOUT = {hook: shape.bundle for hook, shape in SHAPES.items() if shape.bundle}


def draft(code: Any = WARFARIN_TABLET, system: str = RXNORM, **members: Any) -> Resource:
    """Return an unsigned MedicationRequest, of a warfarin tablet unless told otherwise."""
    ordinary = {
        "resourceType": "MedicationRequest",
        "id": "draft-1",
        "status": "draft",
        "intent": "order",
        "medicationCodeableConcept": concept(code, system) if isinstance(code, str) else code,
        "subject": reference(),
    }
    return without(**{**ordinary, **members})


def service_draft(code: str = NEPHROLOGIST, system: str = SNOMED, **members: Any) -> Resource:
    """Return an unsigned ServiceRequest, a referral to a nephrologist unless told otherwise."""
    ordinary = {
        "resourceType": "ServiceRequest",
        "id": "service-1",
        "status": "draft",
        "intent": "order",
        "code": concept(code, system),
        "subject": reference(),
    }
    return without(**{**ordinary, **members})


def collection(*resources: Any, **members: Any) -> Resource:
    """Return a Bundle as it stands in a context; what already is an entry stays as it is."""
    entries = [one if isinstance(one, dict) and "resource" in one else {"resource": one} for one in resources]
    return without(**{"resourceType": "Bundle", "type": "collection", "entry": entries, **members})


def context(hook: str, *resources: Any, **members: Any) -> Resource:
    """Return the context of a hook with these resources in it, all of them selected."""
    shape = SHAPES[hook]
    found: Resource = {"userId": "Practitioner/dr-1", "patientId": PATIENT, "encounterId": "visit-1"}
    if shape.bundle:
        found[shape.bundle] = collection(*resources)
    names = [f"{one['resourceType']}/{one['id']}" for one in resources if isinstance(one, dict) and one.get("id")]
    if shape.selections:
        found["selections"] = names
    if shape.dispatched:
        found |= {"dispatchedOrders": names, "performer": "Practitioner/dr-2"}
    return without(**{**found, **members})


def order_call(hook: str, *resources: Any, record: tuple[Resource, ...] = (), **members: Any) -> Resource:
    """Return a call of a hook about these resources, for a patient with this record; members go into the context."""
    return call(prefetch(*record), hook=hook, context=context(hook, *resources, **members))
