"""
Orders that are not yet signed, and problems that were just added: read as the record is, and never mixed up with it.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from cds_service.errors import MalformedJson, WrongPatient
from cds_service.facts import Facts, Policy, drafts, take_in
from cds_service.facts.doses import daily
from cds_service.facts.intake import Reader
from cds_service.facts.records import Prefetch
from cds_service.protocol import HookRequest
from tests.build import (
    ATC,
    CALCINOSIS,
    ESKD,
    LEFT_OUT,
    LOINC,
    NOW,
    PATIENT,
    RXNORM,
    SERVER,
    SNOMED,
    STRANGER,
    Resource,
    codings,
    concept,
    condition,
    day,
    medication,
    patient,
    prescription,
    reference,
    to_json,
    token,
    verification,
)
from tests.orders import ABOUT, NEPHROLOGIST, PHOSPHATE_ORDER, collection, draft, order_call, service_draft

Read = Callable[..., Facts]
ON_ORDERS = [hook for hook in ABOUT if hook not in ("problem-list-item-create", "appointment-book")]
OTHERS = ["NutritionOrder", "DeviceRequest", "VisionPrescription", "CommunicationRequest", "Binary", "Observation"]


@pytest.fixture
def read(reader: Reader, size: Resource) -> Read:
    """Take in a call about these resources as the service does."""

    def take(
        *resources: Any,
        hook: str = "order-sign",
        record: tuple[Resource, ...] = (),
        policy: Policy = Policy(),  # noqa: B008
        server: str = "",
        **members: Any,
    ) -> Facts:
        said = {**order_call(hook, *resources, record=record, **members), **size}
        said |= {"fhirServer": server} if server else {}
        return take_in(HookRequest.parse(to_json(said), hook, Prefetch), reader, NOW.timestamp(), policy)

    return take


def ordered(found: Facts) -> set[str]:
    """Return the concepts of the orders that are being chosen or signed."""
    return {one.concept for one in found.orders if one.selected and one.concept}


def unread(found: Facts) -> list[str]:
    """Return why orders cannot be read."""
    return [one.how for one in found.orders if not one.concept]


# --- what is ordered -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ON_ORDERS)
def test_an_order_is_read_at_every_hook_about_orders(read: Read, hook: str) -> None:
    found = read(draft(), hook=hook)
    order = next(one for one in found.orders if one.concept == "vka")

    assert found.about_orders
    assert ("product", "RxNorm", "MedicationRequest/draft-1", True) == (
        order.how,
        order.system,
        order.reference,
        order.selected,
    )


def test_an_order_is_not_taken_and_what_is_taken_is_not_ordered(read: Read) -> None:
    assert not read(draft()).medications.get("vka")
    assert not ordered(read(record=(prescription(),)))


def test_where_the_hook_is_not_about_orders_there_are_none(read: Read) -> None:
    found = read(hook="patient-view", record=(prescription(),))

    assert (False, ()) == (found.about_orders, found.orders)


@pytest.mark.parametrize(
    "said",
    [
        {"medicationCodeableConcept": concept("B01AA03", ATC)},
        {"medicationCodeableConcept": concept(text="Warfarin 5 mg tablet")},
        {
            "medicationCodeableConcept": LEFT_OUT,
            "medicationReference": {"reference": "#inside"},
            "contained": [{"resourceType": "Medication", "id": "inside", "code": concept("855332", RXNORM)}],
        },
    ],
    ids=["ATC", "name", "contained"],
)
def test_a_medication_is_known_however_it_is_written(read: Read, said: Resource) -> None:
    assert "vka" in ordered(read(draft(**said)))


def test_only_a_name_is_said_to_be_one(read: Read) -> None:
    found = read(draft(concept(text="Warfarin 5 mg tablet")))

    assert {"name"} == {one.how for one in found.orders}


@pytest.mark.parametrize(
    ("written", "where"),
    [
        ("Medication/drug", "orders"),
        ("Medication/drug", "record"),
        (f"{SERVER}/Medication/drug", "orders"),
        (f"{SERVER}/Medication/drug", "record"),
        ("urn:uuid:drug", "orders"),
    ],
)
def test_a_medication_may_stand_among_the_orders_or_in_the_record(read: Read, written: str, where: str) -> None:
    drug = medication(id="drug")
    order = draft(medicationCodeableConcept=LEFT_OUT, medicationReference={"reference": written})
    entry = {"resource": drug, "fullUrl": written if written.startswith("urn:") else f"{SERVER}/Medication/drug"}
    among = [entry] if where == "orders" else []
    record = (drug,) if where == "record" else ()

    found = read(draftOrders=collection(order, *among), server=SERVER, record=record)

    assert "vka" in ordered(found)


@pytest.mark.parametrize("status", ["draft", "active", "on-hold", "unknown", "new", LEFT_OUT])
def test_an_order_on_its_way_counts(read: Read, status: Any) -> None:
    assert "vka" in ordered(read(draft(status=status)))


@pytest.mark.parametrize("status", sorted(drafts.WITHDRAWN))
def test_an_order_that_was_withdrawn_does_not_count(read: Read, status: str) -> None:
    found = read(draft(status=status), service_draft(status=status))

    assert () == found.orders


def test_an_order_not_to_do_something_is_none(read: Read) -> None:
    assert () == read(draft(doNotPerform=True), service_draft(doNotPerform=True)).orders


def test_what_does_not_reach_the_blood_does_not_count(read: Read) -> None:
    """
    The route decides as it does for what the patient takes (KNOWLEDGE 3.1).
    """
    topical = [{"route": {"text": "Topical"}}]

    assert not ordered(read(draft("11289", dosageInstruction=topical)))


def test_a_test_and_a_referral_are_known_by_their_codes(read: Read) -> None:
    found = read(service_draft(), service_draft(PHOSPHATE_ORDER, LOINC, id="service-2"))

    assert {"nephrology", "phosphate"} <= ordered(found)


def test_a_test_is_the_same_by_another_code_of_it(read: Read) -> None:
    """
    14879-1 is phosphate in mmol/L: a card that suggests 2777-1 would suggest the same test again.
    """
    assert {"phosphate"} == ordered(read(service_draft("14879-1", LOINC)))


def test_an_order_that_is_none_of_ours_is_read_all_the_same(read: Read) -> None:
    found = read(draft("723", display="amoxicillin"), draft(concept(text="Amoxicillin 500 mg")), service_draft("1"))

    assert ([], set()) == (unread(found), ordered(found))


@pytest.mark.parametrize("kind", OTHERS)
def test_other_orders_are_tolerated(read: Read, kind: str) -> None:
    other = {"resourceType": kind, "id": "1", "status": "draft", "patient": reference(), "code": {"text": "anything"}}

    assert "vka" in ordered(read(other, draft()))


def test_orders_come_newest_first(read: Read) -> None:
    found = read(draft(id="old", authoredOn=day(3)), draft(id="new", authoredOn=day(1)))

    assert ["new", "old"] == list(dict.fromkeys(one.reference.partition("/")[2] for one in found.orders))


# --- what cannot be read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"medicationCodeableConcept": LEFT_OUT}, "unresolved"),
        ({"medicationCodeableConcept": LEFT_OUT, "medicationReference": {"reference": "Medication/9"}}, "unresolved"),
        ({"medicationCodeableConcept": LEFT_OUT, "medication": {"concept": concept("855332")}}, "other-fhir-version"),
        ({"medicationCodeableConcept": concept("0000-1", "http://hl7.org/fhir/sid/ndc")}, "unreadable-code"),
        ({"medicationCodeableConcept": concept("855332")}, "unreadable-code"),
        ({"medicationCodeableConcept": {}}, "unreadable-code"),
        ({"medicationCodeableConcept": codings((RXNORM, "855332"), (RXNORM, "214824"))}, "unreadable-code"),
        ({"modifierExtension": [{"url": "http://x", "valueBoolean": True}]}, "modifier-extension"),
        ({"implicitRules": "http://x"}, "modifier-extension"),
        ({"subject": {"reference": "Group/1"}}, "no-subject"),
        ({"doNotPerform": "yes"}, "misfit"),
        ({"resourceType": "MedicationOrder"}, "other-fhir-version"),
    ],
)
def test_an_order_that_cannot_be_read_is_kept_as_such(read: Read, said: Resource, reason: str) -> None:
    """
    Else a rule would say that the order is not what it may well be.
    """
    assert [drafts.REASONS[reason]] == unread(read(draft(**said)))


def test_an_order_of_another_server_is_not_known_to_be_the_patients(read: Read) -> None:
    subject = {"reference": f"https://elsewhere.example/fhir/Patient/{PATIENT}"}

    assert [drafts.REASONS["unrelated-server"]] == unread(read(draft(subject=subject), server=SERVER))


@pytest.mark.parametrize("entries", [["nonsense"], [{"resource": 7}], [{}], [{"resource": {"id": 7}}], "nonsense", {}])
def test_entries_of_any_shape_do_no_harm(read: Read, entries: Any) -> None:
    assert 1 == len(unread(read(draftOrders={"resourceType": "Bundle", "entry": entries})))


def test_an_order_without_a_patient_is_of_the_patient_whose_orders_they_are(read: Read) -> None:
    assert "vka" in ordered(read(draft(subject=LEFT_OUT)))


def test_an_order_without_an_id_cannot_be_named(read: Read) -> None:
    found = read(draft(id=LEFT_OUT))

    assert {"MedicationRequest"} == {one.reference for one in found.orders}


# --- another patient's -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [draft, service_draft])
@pytest.mark.parametrize("hook", ON_ORDERS)
def test_an_order_for_another_patient_refuses_the_call(read: Read, hook: str, build: Any) -> None:
    with pytest.raises(WrongPatient) as refusal:
        read(draft(id="ours"), build(subject=reference(STRANGER)), hook=hook)

    assert f"/context/{ABOUT[hook]}" == refusal.value.where


@pytest.mark.parametrize("kind", ["NutritionOrder", "Observation", "Condition", "AllergyIntolerance"])
def test_anything_of_another_patient_refuses_the_call(read: Read, kind: str) -> None:
    member = "patient" if kind in ("NutritionOrder", "AllergyIntolerance") else "subject"

    with pytest.raises(WrongPatient):
        read({"resourceType": kind, "id": "1", member: reference(STRANGER)})


def test_another_patients_withdrawn_order_refuses_the_call_too(read: Read) -> None:
    with pytest.raises(WrongPatient):
        read(draft(status="cancelled", subject=reference(STRANGER)))


def test_a_site_may_drop_what_is_another_patients(read: Read) -> None:
    found = read(draft(subject=reference(STRANGER)), service_draft(), policy=Policy(drop_strangers=True))

    assert "nephrology" in ordered(found)
    assert "vka" not in ordered(found)


def test_a_patient_in_the_bundle_explains_a_uuid(read: Read) -> None:
    person = {"resource": patient(), "fullUrl": "urn:uuid:p"}
    order = draft(subject={"reference": "urn:uuid:p"})

    assert "vka" in ordered(read(draftOrders=collection(order, person)))


# --- what is being chosen --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["MedicationRequest/draft-1", "draft-1", f"{SERVER}/MedicationRequest/draft-1"])
def test_only_what_is_selected_is_being_chosen(read: Read, written: str) -> None:
    found = read(draft(), service_draft(), hook="order-select", selections=[written])

    assert "vka" in ordered(found)
    assert "nephrology" not in ordered(found)
    assert "nephrology" in {one.concept for one in found.orders}


def test_an_order_may_be_selected_by_the_address_of_its_entry(read: Read) -> None:
    entry = {"resource": draft(id=LEFT_OUT), "fullUrl": "urn:uuid:one"}
    found = read(draftOrders=collection(entry), selections=["urn:uuid:one"], hook="order-select")

    assert "vka" in ordered(found)


def test_a_selection_that_was_not_sent_is_not_known(read: Read) -> None:
    found = read(draft(), hook="order-select", selections=["MedicationRequest/draft-1", "MedicationRequest/draft-2"])

    assert [drafts.NOT_SENT] == unread(found)
    assert "vka" in ordered(found)


def test_an_order_that_cannot_be_read_is_not_asked_about_where_it_is_not_chosen(read: Read) -> None:
    found = read(draft(), draft(id="draft-2", medicationCodeableConcept=LEFT_OUT), hook="order-select",
                 selections=["draft-1"])  # fmt: skip

    assert [False] == [one.selected for one in found.orders if not one.concept]


# --- dose and reason -------------------------------------------------------------------------------------------------


def test_an_order_keeps_its_dose_and_its_reasons(read: Read) -> None:
    dosage = [
        {
            "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
            "doseAndRate": [{"doseQuantity": {"value": 1, "unit": "mg"}}],
        }
    ]
    found = read(draft(dosageInstruction=dosage, reasonCode=[concept(CALCINOSIS, SNOMED)]))
    order = next(one for one in found.orders if one.concept == "vka")

    assert (Decimal(1), "mg") == daily(order.dosage)
    assert ("calcinosis-cutis",) == order.reasons


@pytest.mark.parametrize("where", ["orders", "record", "contained"])
def test_a_reason_may_be_a_condition_that_was_sent(read: Read, where: str) -> None:
    why = condition(CALCINOSIS, id="why")
    order = draft(reasonReference=[{"reference": "#why" if where == "contained" else "Condition/why"}])
    order |= {"contained": [why]} if where == "contained" else {}
    more = {"draftOrders": collection(order, why)} if where == "orders" else {"draftOrders": collection(order)}
    found = read(record=(why,) if where == "record" else (), **more)

    assert {("calcinosis-cutis",)} == {one.reasons for one in found.orders}


# --- refills, dispatch, appointments, problems -----------------------------------------------------------------------


def test_an_order_that_is_dispatched_is_looked_up_in_what_was_sent(read: Read) -> None:
    order = prescription(id="signed")
    found = read(hook="order-dispatch", record=(order,), dispatchedOrders=["MedicationRequest/signed"])

    assert "vka" in ordered(found)
    assert found.medications.get("vka")


def test_an_order_that_is_dispatched_and_was_not_sent_is_not_known(read: Read) -> None:
    assert [drafts.NOT_SENT] == unread(read(hook="order-dispatch", dispatchedOrders=["ServiceRequest/1"]))


def visit(*patients: str, **members: Any) -> Resource:
    """Return a proposed appointment of these patients with a nephrologist."""
    actors = [{"actor": reference(one)} for one in patients]
    ordinary = {"resourceType": "Appointment", "id": "visit-1", "status": "proposed", "participant": actors}
    return ordinary | {"serviceType": [concept(NEPHROLOGIST, SNOMED)], **members}


@pytest.mark.parametrize("patients", [(), (PATIENT,), (STRANGER, PATIENT)])
def test_an_appointment_is_for_something(read: Read, patients: tuple[str, ...]) -> None:
    assert "nephrology" in ordered(read(visit(*patients), hook="appointment-book"))


def test_another_patients_appointment_refuses_the_call(read: Read) -> None:
    with pytest.raises(WrongPatient):
        read(visit(STRANGER), hook="appointment-book")


def test_an_appointment_of_any_shape_does_no_harm(read: Read) -> None:
    assert not ordered(read(visit(serviceType="x", participant=[7]), hook="appointment-book"))


def test_a_problem_that_was_just_added_is_a_diagnosis(read: Read) -> None:
    found = read(condition(), hook="problem-list-item-create")

    assert found.diagnoses["met-eskd"][0].active
    assert not found.about_orders


@pytest.mark.parametrize("status", ["refuted", "provisional", "entered-in-error", "unconfirmed"])
def test_a_problem_that_is_no_diagnosis_is_none(read: Read, status: str) -> None:
    problem = condition(verificationStatus=verification(status))

    assert not read(problem, hook="problem-list-item-create").diagnoses


def test_the_newest_version_of_a_problem_counts_wherever_it_stands(read: Read) -> None:
    old = condition(ESKD, id="one", meta={"lastUpdated": "2026-01-01T00:00:00Z"})
    new = condition(ESKD, id="one", meta={"lastUpdated": "2026-02-01T00:00:00Z"},
                    verificationStatus=verification("refuted"))  # fmt: skip

    assert not read(new, hook="problem-list-item-create", record=(old,)).diagnoses
    assert not read(old, hook="problem-list-item-create", record=(new,)).diagnoses


def test_another_patients_problem_refuses_the_call(read: Read) -> None:
    with pytest.raises(WrongPatient) as refusal:
        read(condition(subject=reference(STRANGER)), hook="problem-list-item-create")

    assert "/context/conditions" == refusal.value.where


# --- twins -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ABOUT)
def test_a_member_that_stands_twice_refuses_the_call(read: Read, hook: str) -> None:
    twins = token(f'{{"resourceType":"MedicationRequest","subject":{{"reference":"Patient/{PATIENT}",'
                  f'"reference":"Patient/{STRANGER}"}}}}')  # fmt: skip

    with pytest.raises(MalformedJson):
        read(hook=hook, **{ABOUT[hook]: {"resourceType": "Bundle", "entry": [{"resource": twins}]}})
