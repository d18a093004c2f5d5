"""
The context of every hook: what it has to have, what it may lack, and where an error says that it stands (HOOKS.md).
"""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.errors import MalformedJson, RequestError
from cds_service.protocol import HookRequest
from cds_service.protocol.context import SHAPES, short
from tests.build import LEFT_OUT, PATIENT, call, to_json, token, without
from tests.orders import ABOUT, collection, context, draft

PADDING = {"padding": "x" * 40_000}


def parse(hook: str, said: Any, **members: Any) -> HookRequest:
    """Parse a call of a hook with a context."""
    return HookRequest.parse(to_json(call({}, hook=hook, context=said, **members)), hook)


def refused(hook: str, said: Any) -> RequestError:
    """Return why a context was refused, in a small body and in a large one alike."""
    with pytest.raises(RequestError) as refusal:
        parse(hook, said)
    with pytest.raises(RequestError) as again:
        parse(hook, said, extension=PADDING)
    assert refusal.value.where == again.value.where

    return refusal.value


# --- what is accepted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", SHAPES)
def test_an_ordinary_context_is_read(hook: str) -> None:
    request = parse(hook, context(hook, draft()))

    assert PATIENT == request.patient_id
    assert "visit-1" == request.encounter_id
    assert ("" if hook == "order-dispatch" else "Practitioner/dr-1") == request.user_id
    assert (hook in ABOUT or hook == "order-dispatch") == (request.about is not None)


@pytest.mark.parametrize("hook", SHAPES)
def test_members_that_nobody_knows_are_ignored(hook: str) -> None:
    said = context(hook, draft(), extension={"a.b": [1]}, fulfillmentTasks=[{}], newMember=None)

    assert PATIENT == parse(hook, said).patient_id


def test_what_is_selected_is_read_however_it_is_written() -> None:
    written = [
        "MedicationRequest/draft-1",
        "draft-2",
        "https://ehr.example/fhir/MedicationRequest/draft-3",
        "https://ehr.example/fhir/MedicationRequest/draft-4/_history/2",
        "MedicationRequest/draft-5/_history/7",
        "urn:uuid:0b0f7b0e-1111-4222-8333-444455556666",
    ]
    about = parse("order-select", context("order-select", draft(), selections=written)).about

    assert about is not None
    assert about.selections == (
        "MedicationRequest/draft-1",
        "draft-2",
        "MedicationRequest/draft-3",
        "MedicationRequest/draft-4",
        "MedicationRequest/draft-5",
        "urn:uuid:0b0f7b0e-1111-4222-8333-444455556666",
    )


def test_nothing_may_be_selected_and_nothing_may_be_drafted() -> None:
    about = parse("order-select", context("order-select", selections=[])).about

    assert about is not None
    assert () == about.selections


@pytest.mark.parametrize("hook", [hook for hook in ABOUT if hook != "order-select"])
def test_where_nothing_is_selected_everything_counts(hook: str) -> None:
    about = parse(hook, context(hook, draft(), selections=["other"])).about

    assert about is not None
    assert about.selections is None


def test_a_bundle_of_a_real_client_has_no_type() -> None:
    assert parse("order-sign", context("order-sign", draftOrders=collection(draft(), type=LEFT_OUT))).about


@pytest.mark.parametrize(
    ("members", "orders"),
    [
        (
            {"dispatchedOrders": ["MedicationRequest/1", "ServiceRequest/2"]},
            ("MedicationRequest/1", "ServiceRequest/2"),
        ),
        ({"dispatchedOrders": LEFT_OUT, "order": "https://ehr.example/fhir/ServiceRequest/2"}, ("ServiceRequest/2",)),
    ],
)
def test_orders_that_are_dispatched_are_named_in_two_versions_of_the_hook(
    members: dict[str, Any], orders: tuple[str, ...]
) -> None:
    about = parse("order-dispatch", context("order-dispatch", userId=LEFT_OUT, **members)).about

    assert about is not None
    assert orders == about.selections


def test_a_refill_may_come_without_a_user() -> None:
    assert "" == parse("medication-refill", context("medication-refill", draft(), userId=LEFT_OUT)).user_id


# --- what is refused -------------------------------------------------------------------------------------------------

REQUIRED = [(hook, "patientId") for hook in SHAPES]
REQUIRED += [(hook, "userId") for hook, shape in SHAPES.items() if shape.user == "required"]
REQUIRED += [(hook, "encounterId") for hook, shape in SHAPES.items() if shape.encounter]
REQUIRED += [*ABOUT.items(), ("order-select", "selections")]
REQUIRED += [("order-dispatch", "performer"), ("order-dispatch", "dispatchedOrders")]


@pytest.mark.parametrize("value", [LEFT_OUT, None], ids=["left out", "null"])
@pytest.mark.parametrize(("hook", "member"), REQUIRED)
def test_what_a_hook_requires_has_to_be_there(hook: str, member: str, value: Any) -> None:
    problem = refused(hook, context(hook, draft(), **{member: value}))

    assert f"/context/{member}" == problem.where
    assert "missing" in problem.what
    assert problem.why
    assert problem.remedy


@pytest.mark.parametrize("value", [7, "text", [], True, {"resourceType": "Patient"}, {"resourceType": 7}, {}], ids=repr)
@pytest.mark.parametrize(("hook", "member"), ABOUT.items())
def test_what_a_hook_is_about_has_to_be_a_bundle(hook: str, member: str, value: Any) -> None:
    problem = refused(hook, context(hook, **{member: value}))

    assert problem.where.startswith(f"/context/{member}")


@pytest.mark.parametrize(
    ("hook", "member", "value", "where"),
    [
        ("order-select", "selections", "MedicationRequest/1", "/context/selections"),
        ("order-select", "selections", {"0": "MedicationRequest/1"}, "/context/selections"),
        ("order-select", "selections", ["MedicationRequest/1", 7], "/context/selections/1"),
        ("order-select", "selections", [""], "/context/selections/0"),
        ("order-select", "selections", ["x" * 2_000], "/context/selections/0"),
        ("order-select", "selections", [None], "/context/selections/0"),
        ("order-dispatch", "dispatchedOrders", "ServiceRequest/1", "/context/dispatchedOrders"),
        ("order-dispatch", "dispatchedOrders", [{}], "/context/dispatchedOrders/0"),
        ("order-dispatch", "performer", 7, "/context/performer"),
        ("order-dispatch", "performer", "", "/context/performer"),
        ("encounter-start", "encounterId", "", "/context/encounterId"),
        ("encounter-start", "encounterId", "Encounter/", "/context/encounterId"),
        ("encounter-discharge", "encounterId", "../1", "/context/encounterId"),
        ("medication-refill", "userId", "nobody", "/context/userId"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(hook: str, member: str, value: Any, where: str) -> None:
    assert where == refused(hook, context(hook, draft(), **{member: value})).where


@pytest.mark.parametrize("padding", [{}, PADDING], ids=["small body", "large body"])
def test_a_member_that_stands_twice_in_an_order_is_refused(padding: dict[str, str]) -> None:
    twice = token('{"resourceType":"Bundle","entry":[{"resource":{"id":"1","id":"2"}}]}')

    with pytest.raises(MalformedJson) as refusal:
        parse("order-sign", without(**context("order-sign", draftOrders=twice)), extension=padding)

    assert "duplicate-member" == refusal.value.slug


@pytest.mark.parametrize(
    ("reference", "wanted"),
    [("a", "a"), ("A/b", "A/b"), ("https://x/y/A/b", "A/b"), ("A/b/_history/1", "A/b"), ("/b", "/b"), ("", "")],
)
def test_a_reference_is_shortened_to_type_and_id(reference: str, wanted: str) -> None:
    assert wanted == short(reference)
