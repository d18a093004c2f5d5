"""What a real HAPI server answered to Patient/$everything, recorded by others (../shared/data/spec-examples)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cds_service.adapters.ehr import LocalRecord, hook_request
from cds_service.linting import lint
from cds_service.linting.problems import ERROR
from tests.build import NOW, ROOT
from tests.fixtures import calls

PATH = ROOT.parent / "shared" / "data" / "spec-examples" / "hapi-everything" / "michael_carter_everything.json"

pytestmark = pytest.mark.skipif(not PATH.exists(), reason="the recording is kept outside the project (../shared/data)")


@pytest.fixture(scope="module")
def everything() -> dict[str, Any]:
    """Read the answer."""
    found: dict[str, Any] = json.loads(PATH.read_bytes())
    return found


def test_a_hook_call_is_built_from_it_and_answered(everything: dict[str, Any]) -> None:
    resources = [entry["resource"] for entry in everything["entry"]]
    patient = next(one["id"] for one in resources if one["resourceType"] == "Patient")
    record = LocalRecord(patient, resources)

    call = hook_request("patient-view", record, calls.templates(), user_id=calls.USER)
    response = calls.client().post(calls.SERVICE, json=call)

    assert 200 == response.status_code, response.text
    assert isinstance(response.get_json()["cards"], list)


def test_it_can_be_looked_at_as_it_is(everything: dict[str, Any]) -> None:
    book = calls.book()

    report = lint(json.dumps(everything).encode(), book, book.services["calcinosis-patient-view"], NOW.timestamp())

    assert 0 == report.count(ERROR), [one.what for one in report.problems if one.severity == ERROR]
    assert {"patient", "conditions"} <= {one.key for one in report.keys if one.state.startswith(("loaded", "more"))}
