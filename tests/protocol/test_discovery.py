"""
Discovery, to the letter of CDS Hooks 2.0.1 (CHECKLIST.md section B and D4 to D8).
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask

from cds_service.protocol import Service, discovery
from cds_service.schemas import validator

TOKENS = {"{{context.patientId}}", "{{context.userId}}"}
LATEST = {"_sort": {"-date", "-recorded-date", "-authoredon", "-effective"}}


@pytest.fixture(scope="module")
def document(app: Flask) -> Any:
    return app.test_client().get("/cds-services").json


@pytest.fixture(scope="module")
def templates(document: Any) -> dict[str, str]:
    [service] = [one for one in document["services"] if one["hook"] == "patient-view"]
    found: dict[str, str] = service["prefetch"]

    return found


def test_discovery_is_json_at_exactly_its_address(app: Flask) -> None:
    response = app.test_client().get("/cds-services")

    assert (200, "application/json") == (response.status_code, response.content_type)


@pytest.mark.parametrize(
    "path", ["/cds-services/", "/cds-Services", "/", "/cds-service", "//cds-services", "/cds-services//"]
)
def test_no_other_address_answers_for_it(app: Flask, path: str) -> None:
    assert 404 == app.test_client().get(path).status_code


def test_discovery_has_its_published_shape(document: Any) -> None:
    assert [] == [error.message for error in validator("discovery").iter_errors(document)]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"services": None},
        {"services": {}},
        {"services": [{}]},
        {"services": [], "extension": {}},
        {
            "services": [
                {
                    "hook": "patient-view",
                    "id": "calcinosis-x",
                    "title": "",
                    "description": "d",
                    "usageRequirements": "u",
                }
            ]
        },
        {"services": [{"hook": "patient-view", "id": "x", "title": "t", "description": "d", "usageRequirements": "u"}]},
        {
            "services": [
                {
                    "hook": "patient-view",
                    "id": "calcinosis-x",
                    "title": "t",
                    "description": "d",
                    "usageRequirements": "u",
                    "prefetch": {},
                }
            ]
        },
    ],
    ids=str,
)
def test_the_published_shape_refuses_what_is_not_discovery(wrong: Any) -> None:
    assert list(validator("discovery").iter_errors(wrong))


def test_there_is_one_service_for_one_hook(document: Any) -> None:
    ids = [service["id"] for service in document["services"]]

    assert "calcinosis-patient-view" in ids
    assert len(set(ids)) == len(ids)
    assert [f"calcinosis-{service['hook']}" for service in document["services"]] == ids


def test_nothing_to_offer_is_an_empty_list() -> None:
    assert b'{"services":[]}' == discovery([])


def test_a_service_without_templates_has_no_prefetch_member() -> None:
    bare = Service(hook="patient-view", id="x", title="t", description="d", usage_requirements="u")

    assert b"prefetch" not in discovery([bare])


def test_discovery_holds_nothing_empty(document: Any) -> None:
    def empty(value: Any) -> bool:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return value in (None, "", [], {}) or any(map(empty, inner))

    assert not empty(document)


# --- templates -------------------------------------------------------------------------------------------------------


def test_there_is_one_key_for_each_kind_of_resource(templates: dict[str, str]) -> None:
    assert {
        "patient": "Patient",
        "observations": "Observation",
        "conditions": "Condition",
        "medications": "MedicationRequest",
        "statements": "MedicationStatement",
        "procedures": "Procedure",
        "pastMedications": "MedicationRequest",
    } == {key: re.split(r"[/?]", template)[0] for key, template in templates.items()}


def test_every_template_stays_within_what_urls_may_be(templates: dict[str, str]) -> None:
    assert all(len(template) < 2_000 - 300 for template in templates.values())


def test_templates_name_only_tokens_that_every_version_knows(templates: dict[str, str]) -> None:
    assert TOKENS >= {token for template in templates.values() for token in re.findall(r"\{\{.*?\}\}", template)}


def test_every_search_is_limited_to_the_patient_and_asks_for_the_newest_first(templates: dict[str, str]) -> None:
    for template in (one for one in templates.values() if "?" in one):
        parameters = dict(part.split("=") for part in template.partition("?")[2].split("&"))

        assert "{{context.patientId}}" == parameters["patient"]
        assert parameters["_sort"] in LATEST["_sort"]
        assert 0 < int(parameters["_count"]) <= 500


def test_results_are_asked_for_by_loinc_code_and_lesions_by_snomed_code(templates: dict[str, str]) -> None:
    codes = templates["observations"].partition("code=")[2].partition("&")[0].split(",")

    assert {"2777-1", "14879-1", "17861-6", "2000-8", "1751-7", "2731-8", "1995-0", "62238-1"} <= set(codes)
    assert "95347000" in codes  # skin necrosis may stand in an Observation
    assert all(re.fullmatch(r"\d{1,6}-\d|\d{6,18}|(?i:(anti-)?(nxp|mda|qtc)[-a-z0-9]*)", code) for code in codes)
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("key", ["conditions", "medications", "statements", "procedures"])
def test_the_rest_is_asked_for_by_status(templates: dict[str, str], key: str) -> None:
    assert "status=" in templates[key]
