"""One patient: what a call from an EHR is answered, screening says too."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cds_service.adapters.population import Chunk, Line, inputs_of, medication_id, read
from cds_service.adapters.population.journal import Sheet, by_patient, place_of
from cds_service.facts import Policy
from cds_service.facts.evidence import NO
from cds_service.replay import NEWEST, Replayed, Replayer, service_for
from cds_service.rules.book import RuleBook
from cds_service.screening import Screening, one, open_cases
from cds_service.screening.one import Screener, kinds_of
from tests.build import (
    NOW,
    PATIENT,
    STRANGER,
    Resource,
    condition,
    medication,
    observation,
    patient,
    prescription,
    quantity,
    reference,
    to_json,
)
from tests.screening.people import AS_OF, POPULATION

Screen = Callable[..., Sheet]


@pytest.fixture
def screen(book: RuleBook) -> Screen:
    """Screen the patient of ``tests.build`` with some resources."""

    def screened(*resources: Resource, policy: Policy | None = None) -> Sheet:
        screener = Screener(book, service_for(book, "patient-view"), policy or Policy(), AS_OF, NOW.timestamp())
        known = {item["id"]: to_json(item) for item in resources if item["resourceType"] == "Medication"}
        lines = [to_json(item) for item in resources if item["resourceType"] != "Medication"]
        return screener.screen(PATIENT, lines, lambda named: known.get(medication_id(named)))

    return screened


def fired(sheet: Sheet) -> set[str]:
    return {said["rule"] for said in told(sheet) if said["verdict"] == "yes"}


def told(sheet: Sheet) -> list[dict[str, Any]]:
    return [json.loads(line) for line in sheet.lines.splitlines()]


def verdicts(replayed: Replayed | None) -> set[tuple[str, str, str]]:
    assert replayed is not None
    assert replayed.decision is not None
    found = replayed.decision.outcomes
    return {(said.rule.id, said.verdict.value, said.indicator) for said in found if said.verdict is not NO}


def test_every_patient_gets_the_verdicts_that_evaluate_gives(book: RuleBook) -> None:
    """The whole record is read here, and the prefetch there: for these patients it says the same."""
    service = service_for(book, "patient-view")
    screener = Screener(book, service, Policy(), NEWEST, 0.0)
    rows = [
        (line.owner, place_of(number, line.offset), line.body)
        for number, file in enumerate(inputs_of(POPULATION))
        for line in read(Chunk(file.path, number), kinds_of(service))
        if isinstance(line, Line)
    ]
    mine = {name: told(screener.screen(name, lines, lambda _: None)) for name, lines in by_patient(rows)}
    evaluation = Screening(Replayer(book, str), NEWEST, lambda: 0.0, lambda: 0.0)

    with open_cases(POPULATION, book, hook="patient-view", lenient_status=True) as cases:
        theirs = {case.patient_id: verdicts(evaluation.screen(case).replayed) for case in cases}

    assert 200 == len(theirs)
    assert sum(map(len, theirs.values())) > 50
    assert theirs == {
        name: {(said["rule"], said["verdict"], said["indicator"]) for said in found} for name, found in mine.items()
    }


def test_a_finding_says_what_it_rests_on(screen: Screen) -> None:
    [said] = [said for said in told(screen(patient(), condition(), observation())) if said["number"] == "CC-01"]

    assert (PATIENT, "yes", "warning", AS_OF) == (said["patient"], said["verdict"], said["indicator"], said["as_of"])
    assert {"what": "phosphate", "value": "7.1", "unit": "mg/dL", "date": "2026-02-19"} in said["values"]
    assert "7.1 mg/dL" in said["summary"]
    assert said["reasons"]


def test_a_rule_that_cannot_be_evaluated_says_what_is_missing(screen: Screen) -> None:
    """A phosphate below 8 may be above the threshold or not."""
    vague = observation(valueQuantity=quantity(8, comparator="<"))
    unknown = {
        said["rule"]: said["missing"] for said in told(screen(patient(), condition(), vague)) if not said["summary"]
    }

    assert unknown["eskd-hyperphosphatemia"]


@pytest.mark.parametrize("named", ["Medication/m-1", "https://ehr.example/fhir/Medication/m-1", "urn:uuid:m-1"])
def test_an_order_is_read_through_its_reference(screen: Screen, named: str) -> None:
    order = prescription(medicationCodeableConcept=None, medicationReference={"reference": named})
    del order["medicationCodeableConcept"]

    assert "vka-calciphylaxis-risk" in fired(screen(patient(), condition(), order, medication(id="m-1")))
    assert "vka-calciphylaxis-risk" not in fired(screen(patient(), condition(), order))


@pytest.mark.parametrize("named", ["urn:uuid:pat-1", "https://ehr.example/fhir/Patient/pat-1"])
def test_resources_may_name_the_patient_in_any_form(screen: Screen, named: str) -> None:
    subject = {"reference": named}

    assert "eskd-hyperphosphatemia" in fired(
        screen(patient(), condition(subject=subject), observation(subject=subject))
    )


def test_of_several_versions_the_newest_counts(screen: Screen) -> None:
    old = observation(id="o", meta={"lastUpdated": "2026-02-20T00:00:00Z"})
    new = observation("phosphate", 4.0, id="o", meta={"lastUpdated": "2026-02-21T00:00:00Z"})

    assert "eskd-hyperphosphatemia" not in fired(screen(patient(), condition(), new, old))


def test_the_dead_are_counted_and_not_asked_about(screen: Screen) -> None:
    sheet = screen(patient(deceasedBoolean=True), condition(), observation())

    assert (b"", 1, 1) == (sheet.lines, sheet.counts["deceased"], sheet.counts["patients"])


def test_a_record_with_data_of_another_is_not_screened(screen: Screen) -> None:
    mixed = observation(subject=reference(), performer=[], id="x") | {"patient": reference(STRANGER)}
    of_another = condition(subject=reference(STRANGER))

    assert "" == screen(patient(), condition(), mixed).trouble
    assert "wrong-patient" == screen(patient(), observation(), of_another).trouble
    assert "" == screen(patient(), observation(), of_another, policy=Policy(drop_strangers=True)).trouble


def test_what_could_be_read_in_two_ways_is_not_screened(book: RuleBook) -> None:
    screener = Screener(book, service_for(book, "patient-view"), Policy(), AS_OF, 0.0)
    twice = b'{"resourceType":"Patient","id":"pat-1","gender":"male","gender":"female"}'

    sheet = screener.screen(PATIENT, [twice], lambda _: None)

    assert ("duplicate-member", 1) == (sheet.trouble, sheet.counts["refused\tduplicate-member"])


def test_a_failure_stops_nobody_and_is_named(book: RuleBook) -> None:
    def broken(_: str) -> bytes:
        raise ZeroDivisionError

    screener = Screener(book, service_for(book, "patient-view"), Policy(), AS_OF, 0.0)
    order = prescription() | {"medicationReference": {"reference": "Medication/1"}}

    assert "failed: ZeroDivisionError" == screener.screen(PATIENT, [to_json(order)], broken).trouble


def test_a_record_too_long_for_one_call_is_asked_for_as_an_ehr_would(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest results are what templates ask for; nothing is refused because there are too many old ones."""
    many = [observation("creatinine", 1.0, days=100 + day) for day in range(60)]
    monkeypatch.setattr(one, "MAX_RESOURCES", 50)

    sheet = screen(patient(), condition(), observation(), *many)

    assert "eskd-hyperphosphatemia" in fired(sheet)


def test_what_is_read_is_what_the_rules_ask_for(book: RuleBook) -> None:
    expected = {"Patient", "Observation", "Condition", "MedicationRequest", "MedicationStatement", "Procedure"}

    assert expected | {"Medication"} == kinds_of(service_for(book, "patient-view"))
