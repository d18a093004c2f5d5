"""
The hooks about orders over the wire: what an EHR sends while something is being ordered, and what it gets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fhir.resources.R4B.medicationrequest import MedicationRequest
from flask import Flask

from cds_service.rules.book import RuleBook
from cds_service.rules.ordering import ORDER_HOOKS, UNREAD
from cds_service.schemas import validator
from tests.build import (
    LEFT_OUT,
    LOINC,
    RXNORM,
    STRANGER,
    Resource,
    concept,
    condition,
    fired,
    observation,
    prescription,
    reference,
    to_json,
)
from tests.orders import PHOSPHATE_ORDER, draft, order_call, service_draft

CALCITRIOL, SEVELAMER, CALCIUM_ACETATE = "1894", "214824", "214342"
# On dialysis with a Ca x P product of 72: no calcium, no vitamin D (CC-08).
HIGH = (condition(), observation(value=8.0, days=2), observation("calcium-total", 9.0, days=2),
        observation("albumin", 4.0, days=2))  # fmt: skip
VITAMIN_D = draft(concept(CALCITRIOL, RXNORM, display="Calcitriol"))
BINDER = draft(concept(CALCIUM_ACETATE, RXNORM, display="Calcium acetate"))
Fire = Callable[..., Any]
PRECIPITATION = "calcium-vitd-order-high-product"


@pytest.fixture(scope="module")
def fire(app: Flask) -> Fire:
    """Call the service of a hook; what made a 5xx is raised, so that a report shows it."""

    def send(hook: str, *resources: Any, status: int = 200, **members: Any) -> Any:
        raw = to_json(order_call(hook, *resources, **{"record": HIGH, **members}))
        response = app.test_client().post(f"/cds-services/calcinosis-{hook}", data=raw, content_type="application/json")
        assert status == response.status_code, response.text
        assert response.status_code != 200 or [] == list(validator("response").iter_errors(response.json))
        return response.json

    return send


def suggestions(answer: Any, kind: str) -> list[Any]:
    """Return the actions of one type that an answer suggests."""
    found = [one for card in answer["cards"] for one in card.get("suggestions", ())]

    return [action for one in found for action in one["actions"] if action["type"] == kind]


@pytest.mark.parametrize("hook", ["order-select", "order-sign"])
def test_an_order_that_harms_gets_a_card(fire: Fire, hook: str) -> None:
    assert PRECIPITATION in fired(fire(hook, VITAMIN_D))


def test_an_order_that_is_not_being_chosen_gets_none(fire: Fire) -> None:
    assert [] == fire("order-select", VITAMIN_D, service_draft(), selections=["ServiceRequest/service-1"])["cards"]


def test_the_harmful_order_can_be_taken_away(fire: Fire) -> None:
    """
    CDS Hooks 2.0: a delete names the order by resourceId (CHECKLIST F20).
    """
    deletes = suggestions(fire("order-sign", VITAMIN_D, service_draft()), "delete")

    assert ["MedicationRequest/draft-1"] == [one["resourceId"] for one in deletes]
    assert all("resource" not in one and one["description"] for one in deletes)
    assert "Calcitriol" in deletes[0]["description"]


def test_an_order_without_an_id_cannot_be_taken_away(fire: Fire) -> None:
    answer = fire("order-sign", draft(CALCITRIOL, id=LEFT_OUT))

    assert PRECIPITATION in fired(answer)
    assert [] == suggestions(answer, "delete")


def test_a_safer_medication_can_be_ordered_and_its_dose_is_nobodys_but_the_prescribers(fire: Fire) -> None:
    created = [one["resource"] for one in suggestions(fire("order-sign", BINDER), "create")]
    medications = [one for one in created if one["resourceType"] == "MedicationRequest"]

    assert SEVELAMER in {one["medicationCodeableConcept"]["coding"][0]["code"] for one in medications}
    for one in medications:
        assert ("draft", "proposal") == (one["status"], one["intent"])
        assert {"medicationCodeableConcept", "subject", "encounter"} >= one.keys() - {
            "resourceType", "status", "intent"}  # fmt: skip
        MedicationRequest.model_validate(one)


def test_what_the_patient_has_already_is_not_offered(fire: Fire) -> None:
    answer = fire("order-sign", BINDER, record=(*HIGH, prescription(SEVELAMER)))
    codes = {
        one["resource"]["medicationCodeableConcept"]["coding"][0]["code"]
        for one in suggestions(answer, "create")
        if one["resource"]["resourceType"] == "MedicationRequest"
    }

    assert PRECIPITATION in fired(answer)
    assert SEVELAMER not in codes


def test_what_is_being_ordered_already_is_not_suggested_again(fire: Fire) -> None:
    def tests(answer: Any) -> set[str]:
        created = [one["resource"] for one in suggestions(answer, "create")]
        return {one["code"]["coding"][0]["code"] for one in created if one["resourceType"] == "ServiceRequest"}

    asked = tests(fire("order-sign", VITAMIN_D))
    assert asked
    again = tests(fire("order-sign", VITAMIN_D, *(
        service_draft(code, LOINC, id=f"s{number}") for number, code in enumerate(sorted(asked)))))  # fmt: skip

    assert not {code for code in again & asked if "-" in code}
    assert PHOSPHATE_ORDER not in again


def test_every_suggestion_has_one_action_and_a_short_label(fire: Fire) -> None:
    long = "Calcitriol " + "in a very long product name " * 20
    answer = fire("order-sign", draft(concept(CALCITRIOL, RXNORM, display=long)))
    found = [one for card in answer["cards"] for one in card["suggestions"]]

    assert all(1 == len(one["actions"]) and len(one["label"]) <= 80 for one in found)
    assert len({one["uuid"] for one in found}) == len(found)


def test_hostile_names_do_no_harm_on_a_button(fire: Fire) -> None:
    name = "<img src=x onerror=alert(1)> [x](http://evil.example)"
    said = str(fire("order-sign", draft(concept(CALCITRIOL, RXNORM, display=name)))["cards"])

    assert "<img" not in said
    assert "http://evil" not in said


def test_an_order_known_by_its_name_only_never_makes_a_card_critical(fire: Fire) -> None:
    record = (*HIGH, observation("calcium-total", 12.5, days=1), observation("albumin", 4.0, days=1))
    coded = fired(fire("order-sign", VITAMIN_D, record=record))
    named = fired(fire("order-sign", draft(concept(text="Calcitriol 0.25 ug")), record=record))

    assert ("critical", "warning") == (coded[PRECIPITATION], named[PRECIPITATION])


@pytest.mark.parametrize(
    ("resources", "members"),
    [
        ([draft(medicationCodeableConcept=LEFT_OUT)], {}),
        ([VITAMIN_D], {"selections": ["MedicationRequest/other"]}),
    ],
)
def test_what_is_ordered_and_cannot_be_read_is_said(
    fire: Fire, resources: list[Resource], members: dict[str, Any]
) -> None:
    """
    The public sandbox calls as soon as a page opens, with an order that names no medication yet.
    """
    answer = fire("order-select", *resources, **members)
    missing = answer["extension"]["org.calcinosis-cds"]["not_evaluated"]

    assert [] == answer["cards"]
    assert all(UNREAD in one["missing"] for one in missing)
    assert PRECIPITATION in {one["rule"] for one in missing}


def test_an_order_for_another_patient_is_refused(fire: Fire) -> None:
    answer = fire("order-sign", VITAMIN_D, draft(id="2", subject=reference(STRANGER)), status=412)

    assert "OperationOutcome" == answer["resourceType"]
    assert "/context/draftOrders" in str(answer)


@pytest.mark.parametrize("member", ["draftOrders", "selections"])
def test_what_order_select_needs_is_asked_for(fire: Fire, member: str) -> None:
    answer = fire("order-select", VITAMIN_D, status=400, **{member: LEFT_OUT})

    assert f"/context/{member}" in str(answer)


WARFARIN = draft()


@pytest.mark.parametrize(("order", "status"), [(WARFARIN, 412), (draft(concept(text="Amoxicillin")), 200)])
def test_without_prefetch_an_order_of_ours_cannot_be_judged(app: Flask, order: Resource, status: int) -> None:
    """
    That the rules about other orders stay silent is no evidence of safety.
    """
    said = {**order_call("order-sign", order), "prefetch": {}}
    response = app.test_client().post("/cds-services/calcinosis-order-sign", json=said)

    assert status == response.status_code


def test_every_hook_that_is_announced_can_be_called(fire: Fire, book: RuleBook) -> None:
    hooks = {entry.service.hook for entry in book.services.values()}

    assert {"patient-view", "encounter-start", "encounter-discharge", "order-select", "order-sign"} <= hooks
    for hook in hooks:
        about = [condition(id="new")] if hook == "problem-list-item-create" else []
        assert "cards" in fire(hook, *([VITAMIN_D] if hook in ORDER_HOOKS else about))


def test_each_service_says_what_it_reads(book: RuleBook) -> None:
    for entry in book.services.values():
        assert "patient" in entry.service.prefetch
        assert all("{{context.patientId}}" in query for query in entry.service.prefetch.values())


def test_the_code_of_a_card_is_in_the_system_of_the_code(fire: Fire) -> None:
    created = [one["resource"] for one in suggestions(fire("order-sign", VITAMIN_D), "create")]
    systems = {
        one["medicationCodeableConcept"]["coding"][0]["system"] for one in created if "medicationCodeableConcept" in one
    }

    assert RXNORM in systems
