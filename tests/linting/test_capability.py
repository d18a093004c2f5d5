"""A CapabilityStatement against what the prefetch templates ask: what is missing is said, with what it costs."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from cds_service.linting import judge, needs
from cds_service.linting.problems import ERROR, NOTE, WARNING
from cds_service.rules import RuleBook
from tests.interop import recorded

Json = dict[str, Any]


@pytest.fixture(scope="module")
def wanted(book: RuleBook) -> Any:
    return needs(query for one in book.services.values() for query in one.service.prefetch.values())


@pytest.fixture
def able(wanted: Any) -> Json:
    """Give the statement of a server that can do everything."""
    resources = [
        {
            "type": kind,
            "interaction": [{"code": code} for code in sorted(need.interactions)],
            "searchParam": [{"name": name, "type": "token"} for name in sorted(need.parameters)],
        }
        for kind, need in wanted.items()
    ]
    return {
        "resourceType": "CapabilityStatement",
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [{"mode": "server", "resource": resources}],
    }


def entry(statement: Json, kind: str) -> Json:
    found: Json = next(one for one in statement["rest"][0]["resource"] if one["type"] == kind)
    return found


def test_what_is_needed_is_read_off_the_templates(wanted: Any) -> None:
    assert {"Patient", "Observation", "Condition", "MedicationRequest", "MedicationStatement", "Procedure"} == set(
        wanted
    )
    assert {"read"} == wanted["Patient"].interactions
    assert {"patient", "code", "_sort", "_count"} <= wanted["Observation"].parameters
    assert {"clinical-status", "patient"} <= wanted["Condition"].parameters


def test_a_server_that_can_do_everything_is_left_in_peace(wanted: Any, able: Json) -> None:
    assert [] == judge(able, wanted)


def test_a_parameter_that_is_missing_is_an_error_with_its_place(wanted: Any, able: Json) -> None:
    parameters = entry(able, "Condition")["searchParam"]
    parameters[:] = [one for one in parameters if one["name"] != "clinical-status"]

    [problem] = judge(able, wanted)

    assert (ERROR, "Condition cannot be searched by clinical-status.") == (problem.severity, problem.what)
    assert problem.pointer.endswith("/searchParam")


def test_results_that_are_not_promised_in_order_are_a_note(wanted: Any, able: Json) -> None:
    parameters = entry(able, "Observation")["searchParam"]
    parameters[:] = [one for one in parameters if one["name"] != "_sort"]

    [problem] = judge(able, wanted)

    assert (NOTE, True) == (problem.severity, "_sort" in problem.what)


def test_parameters_of_all_resources_count(wanted: Any, able: Json) -> None:
    parameters = entry(able, "Observation")["searchParam"]
    parameters[:] = [one for one in parameters if one["name"] != "_sort"]
    able["rest"][0]["searchParam"] = [{"name": "_sort", "type": "string"}]

    assert [] == judge(able, wanted)


def test_a_resource_or_an_interaction_that_is_missing_is_an_error(wanted: Any, able: Json) -> None:
    unable, without = deepcopy(able), deepcopy(able)
    entry(unable, "Procedure")["interaction"] = [{"code": "read"}]
    resources = without["rest"][0]["resource"]
    resources[:] = [one for one in resources if one["type"] != "MedicationStatement"]

    assert ["The server has no MedicationStatement."] == [one.what for one in judge(without, wanted)]
    assert ["Procedure cannot be searched (search-type)."] == [one.what for one in judge(unable, wanted)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"resourceType": "OperationOutcome"}, "no CapabilityStatement"),
        ({"fhirVersion": "3.0.2"}, "FHIR 3.0.2"),
        ({"fhirVersion": "5.0.0"}, "FHIR 5.0.0"),
        ({"format": ["application/fhir+xml"]}, "JSON"),
    ],
)
def test_a_server_of_another_kind_is_an_error(wanted: Any, able: Json, change: Json, said: str) -> None:
    [problem] = judge(able | change, wanted)

    assert ERROR == problem.severity
    assert said in problem.what


@pytest.mark.parametrize("odd", [{"rest": []}, {"rest": None}, {"rest": [{"mode": "client"}]}, {"rest": ["x"]}])
def test_a_server_that_does_not_say_what_it_can_do_cannot_be_checked(wanted: Any, able: Json, odd: Json) -> None:
    [problem] = judge(able | odd, wanted)

    assert (WARNING, "/rest") == (problem.severity, problem.pointer)


@pytest.mark.skipif(bool(recorded.missing()), reason=recorded.missing() or "there")
@pytest.mark.parametrize("server", recorded.BASES)
def test_statements_that_were_recorded_are_read(wanted: Any, server: str) -> None:
    """They were recorded without what they say of resources: that is told, and nothing worse."""
    statement = json.loads((recorded.RECORDINGS / server / "ok.capability.json").read_bytes())

    assert [WARNING] == [one.severity for one in judge(statement, wanted)]
