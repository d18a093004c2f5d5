"""
Hostile orders: whatever stands in a context, the answer is a refusal or cards of the published shape.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from cds_service.protocol.context import SHAPES
from cds_service.rules.book import RuleBook
from cds_service.schemas import validator
from tests.build import CALCINOSIS, RXNORM, SERVER, SNOMED, STRANGER, Resource, concept, condition, medication, patient
from tests.orders import ABOUT, collection, context, draft, order_call, service_draft
from tests.properties.hostile import HONEST, as_bytes, paths, texts, values
from tests.properties.hostile import break_member as broken_in

Post = Callable[[str, bytes], TestResponse]
DOSAGE = [
    {
        "route": {"text": "oral"},
        "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
        "doseAndRate": [{"doseQuantity": {"value": 2, "unit": "mg"}}],
    }
]
RESOURCES: list[Resource] = [
    draft(dosageInstruction=DOSAGE, reasonCode=[concept(CALCINOSIS, SNOMED)], authoredOn="2026-03-01"),
    draft(id="draft-2", medicationCodeableConcept=None, medicationReference={"reference": "Medication/m"}),
    draft("1894", id="draft-3", contained=[medication(id="inside")], reasonReference=[{"reference": "Condition/why"}]),
    service_draft(),
    medication(id="m"),
    condition(CALCINOSIS, id="why"),
    {"resourceType": "NutritionOrder", "id": "n", "status": "draft", "patient": {"reference": "Patient/pat-1"}},
    {"resourceType": "Appointment", "id": "a", "status": "proposed", "serviceType": [concept("306286007", SNOMED)],
     "participant": [{"actor": {"reference": "Patient/pat-1"}}]},
]  # fmt: skip
HOOKS = [hook for hook in SHAPES if hook != "patient-view"]


def honest(hook: str) -> Resource:
    """Return a call of a hook with everything in its context that the service reads."""
    return {**HONEST, "hook": hook, "context": context(hook, *deepcopy(RESOURCES)), "fhirServer": SERVER}


CALLS = {hook: honest(hook) for hook in HOOKS}
PATHS = {hook: [("context", *path) for path in paths(call["context"])] for hook, call in CALLS.items()}


@pytest.fixture(scope="module")
def announced(book: RuleBook) -> set[str]:
    return {entry.service.hook for entry in book.services.values()}


@pytest.fixture(scope="module")
def post(app: Flask, announced: set[str]) -> Post:
    """Post a body to the service of a hook, and check what is true of every answer."""

    def send(hook: str, raw: bytes) -> TestResponse:
        name = f"calcinosis-{hook}"
        response = app.test_client().post(f"/cds-services/{name}", data=raw, content_type="application/json")
        if response.status_code >= 500:
            app.extensions["cds"].answer(name, raw)
        assert response.status_code in ({200, 400, 412, 413} if hook in announced else {404})
        assert response.is_json
        if response.status_code == 200:
            assert [] == [error.message for error in validator("response").iter_errors(response.json)]
        return response

    return send


@st.composite
def broken_calls(draw: st.DrawFn) -> tuple[str, Resource]:
    """Return a hook, and an honest call of it with something in its context replaced, renamed, doubled or gone."""
    hook = draw(st.sampled_from(HOOKS))
    broken = deepcopy(CALLS[hook])
    for _ in range(draw(st.integers(1, 4))):
        broken_in(broken, draw(st.sampled_from(PATHS[hook])), draw)

    return hook, broken


@pytest.mark.parametrize("hook", HOOKS)
def test_the_honest_call_is_answered(post: Post, announced: set[str], hook: str) -> None:
    assert (200 if hook in announced else 404) == post(hook, json.dumps(CALLS[hook]).encode()).status_code


@given(broken=broken_calls(), escaped=st.booleans(), large=st.booleans())
def test_an_honest_call_with_a_broken_context_is_answered(
    post: Post, broken: tuple[str, Resource], escaped: bool, large: bool
) -> None:
    hook, call = broken
    post(hook, as_bytes({**call, **({"extension": {"x": "x" * 40_000}} if large else {})}, escaped=escaped))


@given(hook=st.sampled_from(list(ABOUT)), bundle=values, selections=values)
def test_any_bundle_and_any_selection_are_answered(post: Post, hook: str, bundle: Any, selections: Any) -> None:
    said = {**CALLS[hook]["context"], ABOUT[hook]: bundle, "selections": selections}
    post(hook, as_bytes({**CALLS[hook], "context": said}, escaped=True))


@given(
    hook=st.sampled_from(list(ABOUT)),
    entries=st.lists(st.one_of(values, st.fixed_dictionaries({"resource": values, "fullUrl": texts})), max_size=4),
)
def test_any_entries_are_answered(post: Post, hook: str, entries: list[Any]) -> None:
    post(hook, as_bytes({**CALLS[hook], "context": context(hook, **{ABOUT[hook]: collection(*entries)})}, escaped=True))


@given(
    kind=st.sampled_from([*(one["resourceType"] for one in RESOURCES), "DeviceRequest", "Patient", "Basic"]),
    place=st.integers(0, len(RESOURCES)),
)
def test_another_patients_order_is_never_answered_with_cards(post: Post, kind: str, place: int) -> None:
    """
    Wherever it stands, and whatever it is.
    """
    stranger: Resource = {"resourceType": kind, "id": "x", "subject": {"reference": f"Patient/{STRANGER}"}}
    if kind == "Patient":
        stranger = patient(id=STRANGER)
    if kind == "Appointment":
        stranger["participant"] = [{"actor": {"reference": f"Patient/{STRANGER}"}}]
    resources = [*RESOURCES[:place], stranger, *RESOURCES[place:]]

    assert 412 == post("order-sign", as_bytes(order_call("order-sign", *resources), escaped=True)).status_code


@given(order=st.permutations(RESOURCES))
def test_the_order_of_the_orders_makes_no_difference(post: Post, order: list[Resource]) -> None:
    def said(answer: Any) -> list[Any]:
        return [(card["summary"], card["indicator"]) for card in answer["cards"]]

    usual = post("order-sign", as_bytes(CALLS["order-sign"], escaped=True)).json
    other = {**CALLS["order-sign"], "context": context("order-sign", *order)}

    assert said(usual) == said(post("order-sign", as_bytes(other, escaped=True)).json)


@pytest.mark.parametrize("code", ["11289", "1894", "1897"])
def test_what_is_ordered_twice_is_said_once(post: Post, code: str) -> None:
    twice = [draft(code, RXNORM, id="one"), draft(code, RXNORM, id="two")]
    answer: Any = post("order-sign", json.dumps({**HONEST, "hook": "order-sign",
                                                 "context": context("order-sign", *twice)}).encode()).json  # fmt: skip
    rules = [rule["id"] for card in answer["cards"] for rule in card["extension"]["org.calcinosis-cds"]["rules"]]

    assert len(set(rules)) == len(rules)
