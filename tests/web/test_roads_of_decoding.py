"""A prefetch is decoded with the request where it fits its shape, else value by value: both understand the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from flask import Flask

from cds_service.facts import take_in
from cds_service.facts.records import Prefetch
from cds_service.protocol import HookRequest
from cds_service.protocol.prefetch import State
from cds_service.protocol.wire import CHECKED_WHOLE
from tests.build import (
    NOW,
    SERVICE,
    bundle,
    call,
    condition,
    medication,
    observation,
    outcome,
    patient,
    prescription,
    procedure,
    to_json,
    verification,
)

OVERALL = "x" * (CHECKED_WHOLE + 1)
LABS = bundle(observation(), observation("calcium-total", 9.0), observation("PTH", 300.0, "pg/mL", days=400))
VALUES: dict[str, dict[str, Any]] = {
    "as discovery asks for it": {},
    "a Condition in place of a Bundle": {"conditions": condition()},
    "an Observation in place of a Bundle": {"observations": observation()},
    "an Observation among Conditions": {"conditions": bundle(condition(), observation(value=9.9, days=1))},
    "a Condition among Observations": {"observations": bundle(observation(), condition())},
    "a Patient that came along": {"conditions": bundle(condition(), patient())},
    "a Medication beside its order": {"medications": bundle(prescription(), medication())},
    "an Observation as the Patient": {"patient": observation(value=9.9)},
    "a Bundle as the Patient": {"patient": bundle(patient())},
    "an OperationOutcome": {"conditions": outcome()},
    "an OperationOutcome among them": {"observations": bundle(observation(), outcome("warning"))},
    "nothing": {"conditions": None, "observations": None},
    "a Bundle of nothing": {"observations": {"resourceType": "Bundle"}},
    "a second page": {"observations": {**LABS, "link": [{"relation": "next", "url": "https://x.example.org"}]}},
    "more than were sent": {"observations": {**LABS, "total": 900}},
    "other keys": {"labs": LABS, "problems": bundle(condition()), "observations": bundle()},
    "members nobody knows": {"conditions": bundle({**condition(), "x-color": "red"}), "observations": {**LABS, "x": 1}},
    "an empty entry": {"conditions": {**bundle(condition()), "entry": [None, {"resource": condition()}]}},
    "what fits no shape": {"conditions": bundle({**condition(), "onsetDateTime": 7}, condition())},
    "set aside": {"conditions": bundle({**condition(), "verificationStatus": verification("refuted")})},
}
SUBJECTS: dict[str, Any] = {
    "a number": 7,
    "a list": [{"reference": "Patient/pat-1"}],
    "null": None,
    "a reference that is a number": {"reference": 7},
    "a reference that is null": {"reference": None},
    "a display only": {"display": "somebody"},
    "a display too": {"reference": "Patient/pat-1", "display": "somebody"},
    "a URL": {"reference": "https://fhir.example.org/r4/Patient/pat-1"},
    "a version": {"reference": "Patient/pat-1/_history/3"},
    "a group": {"reference": "Group/pat-1"},
    "somebody else": {"reference": "Patient/pat-2"},
}
VALUES |= {
    f"the subject of the newest result: {name}": {
        "observations": bundle(observation(), {**observation(value=9.9, days=0), "subject": subject})
    }
    for name, subject in SUBJECTS.items()
}
COMMON = {
    "patient": patient(),
    "observations": LABS,
    "conditions": bundle(condition()),
    "medications": bundle(prescription()),
    "procedures": bundle(procedure()),
}
FORMS: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "small": to_json,
    "small, pretty": lambda asked: to_json(asked, indent=2),
    "large": lambda asked: to_json({**asked, "extension": {"padding": OVERALL}}),
    "large, pretty": lambda asked: to_json({**asked, "extension": {"padding": OVERALL}}, indent=2),
}


@pytest.fixture
def answer(make_app: Callable[..., Flask]) -> Callable[[bytes], tuple[int, Any]]:
    """Return what asks a service whose ids do not depend on chance, outside any encounter, where no card is quiet."""
    app = make_app()

    def ask(raw: bytes) -> tuple[int, Any]:
        numbers = count()
        app.extensions["cds"].new_id = lambda: f"id-{next(numbers)}"
        found = app.test_client().post(SERVICE, data=raw, content_type="application/json")
        return found.status_code, found.get_json()

    return ask


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", VALUES)
def test_both_roads_understand_the_same(
    answer: Callable[[bytes], tuple[int, Any]], monkeypatch: pytest.MonkeyPatch, case: str, form: str
) -> None:
    raw = FORMS[form](call({**COMMON, **VALUES[case]}))
    quick = answer(raw)
    monkeypatch.setattr("cds_service.web.cds.Prefetch", None)

    assert answer(raw) == quick


@pytest.mark.parametrize("form", FORMS)
def test_a_reference_that_stands_twice_in_a_subject_is_refused(
    answer: Callable[[bytes], tuple[int, Any]], form: str
) -> None:
    sent = FORMS[form](call(COMMON))
    ours = b'"reference": "Patient/pat-1"' if b'": ' in sent else b'"reference":"Patient/pat-1"'
    place = sent.index(ours, sent.index(b'"observations"')) + len(ours)

    status, said = answer(sent[:place] + b"," + ours.replace(b"pat-1", b"pat-2") + sent[place:])

    assert (400, "twice") == (status, "twice" if "twice" in said["issue"][0]["details"]["text"] else said)


@pytest.mark.parametrize("subject", ["a number", "a list", "a reference that is a number"])
def test_a_result_whose_subject_is_no_reference_is_lacking(make_app: Callable[..., Flask], subject: str) -> None:
    app = make_app()
    reader, policy = app.extensions["cds"].reader(app.extensions["cds"].shelf.book), app.extensions["cds"].policy
    labs = VALUES[f"the subject of the newest result: {subject}"]["observations"]
    asked = HookRequest.parse(to_json(call({**COMMON, "observations": labs})), "patient-view", Prefetch)

    facts = take_in(asked, reader, NOW.timestamp(), policy)

    assert State.TRUNCATED == facts.states["observations"]
    assert [("observations", "misfit")] == [(one.kind, one.reason) for one in facts.unusable]


@pytest.mark.parametrize("form", FORMS)
def test_what_fits_is_decoded_with_the_request(form: str) -> None:
    raw = FORMS[form](call(COMMON))

    assert isinstance(HookRequest.parse(raw, "patient-view", Prefetch).shaped, Prefetch)


def test_what_was_sent_is_at_hand_all_the_same() -> None:
    found = HookRequest.parse(to_json(call(COMMON)), "patient-view", Prefetch)

    assert json.loads(bytes(found.sent()["conditions"])) == COMMON["conditions"]
