"""What a clinician of the sandbox can choose: orders, problems, appointments, as the resources an EHR makes of them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from cds_service import decoding
from cds_service.schemas import strict_yaml
from cds_service.terminology import Terminology

Resource = dict[str, Any]
FILE = "sandbox.yaml"
USER = "Practitioner/invented-nephrologist"
_CONDITION = "http://terminology.hl7.org/CodeSystem/condition"
_GROUPS = {
    "laboratory": "Laboratory",
    "imaging": "Imaging",
    "procedure": "Procedures and care",
    "referral": "Referrals",
    "medication": "Medications",
}


class Choice(msgspec.Struct, frozen=True):
    """One thing that can be chosen: its name on the screen, and its code."""

    id: str
    name: str
    system: str
    code: str
    display: str


class Choices(msgspec.Struct, frozen=True):
    """Everything that can be chosen; orders by the group they stand in."""

    orders: dict[str, tuple[Choice, ...]]
    problems: tuple[Choice, ...]
    appointments: tuple[Choice, ...]

    def order(self, identifier: str) -> tuple[str, Choice] | None:
        """Return the group and the order with this id."""
        return next(((group, one) for group, all_ in self.orders.items() for one in all_ if one.id == identifier), None)


class _File(msgspec.Struct, frozen=True):
    medications: tuple[Choice, ...]
    orders: tuple[str, ...]
    problems: tuple[Choice, ...]
    appointments: tuple[Choice, ...]


def read_choices(fixtures: Path, words: Terminology) -> Choices:
    """Read what can be chosen; code systems are written as FHIR writes them."""
    document = strict_yaml.read(fixtures / FILE, shown_as=f"fixtures/{FILE}")
    file = decoding.convert(document, _File)

    def written(choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
        return tuple(msgspec.structs.replace(one, system=words.systems.uri(one.system)) for one in choices)

    groups: dict[str, list[Choice]] = {_GROUPS["medication"]: list(written(file.medications))}
    for order in (words.orders[name] for name in file.orders if name in words.orders):
        choice = Choice(f"order-{order.id}", order.name, words.systems.uri(order.system), order.code, order.display)
        groups.setdefault(_GROUPS[order.category], []).append(choice)
    orders = {group: tuple(choices) for group, choices in groups.items()}
    return Choices(orders, written(file.problems), written(file.appointments))


def order(group: str, choice: Choice, number: int, patient: str, encounter: str, now: float) -> Resource:
    """Return an unsigned order."""
    medication = group == _GROUPS["medication"]
    what = "medicationCodeableConcept" if medication else "code"
    resource: Resource = {
        "resourceType": "MedicationRequest" if medication else "ServiceRequest",
        "id": f"draft-{number}",
        "status": "draft",
        "intent": "order",
        what: _coded(choice),
        "subject": {"reference": f"Patient/{patient}"},
        "authoredOn": moment(now),
        "requester": {"reference": USER},
    }
    return resource | ({"encounter": {"reference": f"Encounter/{encounter}"}} if encounter else {})


def problem(choice: Choice, number: int, patient: str, now: float) -> Resource:
    """Return a problem that was just added."""
    day = moment(now)[:10]
    return {
        "resourceType": "Condition",
        "id": f"problem-{number}",
        "clinicalStatus": {"coding": [{"system": f"{_CONDITION}-clinical", "code": "active"}]},
        "verificationStatus": {"coding": [{"system": f"{_CONDITION}-ver-status", "code": "confirmed"}]},
        "category": [{"coding": [{"system": f"{_CONDITION}-category", "code": "problem-list-item"}]}],
        "code": _coded(choice),
        "subject": {"reference": f"Patient/{patient}"},
        "onsetDateTime": day,
        "recordedDate": day,
    }


def appointment(choice: Choice, number: int, patient: str) -> Resource:
    """Return a proposed appointment."""
    return {
        "resourceType": "Appointment",
        "id": f"appointment-{number}",
        "status": "proposed",
        "serviceType": [_coded(choice)],
        "participant": [{"actor": {"reference": f"Patient/{patient}"}, "status": "needs-action"}],
    }


def refill(medication: Resource, number: int, now: float) -> Resource:
    """Return the unsigned order that renews a medication: the same, written now."""
    kept = {name: value for name, value in medication.items() if name not in ("meta", "text", "identifier")}
    new = {"id": f"draft-{number}", "status": "draft", "intent": "order", "authoredOn": moment(now)}
    prior = {"priorPrescription": {"reference": f"MedicationRequest/{medication.get('id')}"}}
    return kept | new | prior


def signed(draft: Resource, now: float) -> Resource:
    """Return an order as it stands in the record once it was signed."""
    return draft | {"status": "active", "intent": "order", "authoredOn": moment(now)}


def moment(now: float) -> str:
    """Write a moment as FHIR does."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _coded(choice: Choice) -> Resource:
    coding = {"system": choice.system, "code": choice.code, "display": choice.display}
    return {"coding": [coding], "text": choice.name}
