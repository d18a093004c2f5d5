"""
Conditions: what counts as a diagnosis of this patient today (KNOWLEDGE.md 2.3, RELIABILITY.md section 4).
"""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.facts import Diagnosis, Facts
from cds_service.facts.evidence import YES
from tests.build import (
    ENCOUNTER_DIAGNOSIS,
    ESKD,
    ICD10CM,
    LEFT_OUT,
    Resource,
    clinical,
    concept,
    condition,
    day,
    family,
    verification,
)
from tests.conftest import TakeIn
from tests.rules.bedside import judge


def failure(found: Facts) -> list[Diagnosis]:
    """Return the diagnoses of kidney failure."""
    return list(found.diagnoses.get("met-eskd", ()))


@pytest.mark.parametrize("status", ["active", "recurrence", "relapse"])
def test_an_active_condition_counts(facts: TakeIn, status: str) -> None:
    assert [True] == [item.active for item in failure(facts(condition(clinicalStatus=clinical(status))))]


@pytest.mark.parametrize("status", [LEFT_OUT, None, {"text": "Active"}], ids=repr)
def test_a_condition_without_a_clinical_status_is_active(facts: TakeIn, status: Any) -> None:
    """
    MIMIC and older records leave it out: KNOWLEDGE 2.3 reads that as active.
    """
    assert [True] == [item.active for item in failure(facts(condition(clinicalStatus=status)))]


@pytest.mark.parametrize("status", ["inactive", "remission", "resolved"])
def test_a_condition_that_is_over_is_remembered_but_not_active(facts: TakeIn, status: str) -> None:
    assert [False] == [item.active for item in failure(facts(condition(clinicalStatus=clinical(status))))]


@pytest.mark.parametrize("status", [LEFT_OUT, None, "confirmed"], ids=repr)
def test_a_condition_that_nobody_doubts_counts(facts: TakeIn, status: Any) -> None:
    sent = verification(status) if isinstance(status, str) else status

    assert 1 == len(failure(facts(condition(verificationStatus=sent))))


@pytest.mark.parametrize("status", ["unconfirmed", "provisional", "differential", "refuted", "entered-in-error"])
def test_a_condition_that_is_doubted_or_withdrawn_is_set_aside_under_its_name(facts: TakeIn, status: str) -> None:
    found = facts(condition(verificationStatus=verification(status)))

    assert ([], [status]) == (failure(found), [aside.reason for aside in found.set_aside])


@pytest.mark.parametrize(
    "members",
    [
        {"clinicalStatus": "active"},
        {"clinicalStatus": {"coding": [{"code": "active"}, {"code": "resolved"}]}},
        {"clinicalStatus": {"coding": [{"code": 5}]}},
        {"verificationStatus": "confirmed"},
        {"verificationStatus": verification("surely")},
        {"verificationStatus": {"coding": [{"code": "confirmed"}, {"code": "refuted"}]}},
        {"verificationStatus": []},
    ],
    ids=str,
)
def test_a_status_that_cannot_be_read_sets_the_condition_aside(facts: TakeIn, members: Resource) -> None:
    """
    A bare string is how STU3 wrote it: another FHIR version may mean something else.
    """
    found = facts(condition(**members))

    assert ([], ["status-unknown"]) == (failure(found), [aside.reason for aside in found.set_aside])


def test_a_clinical_status_that_fhir_does_not_know_is_not_active(facts: TakeIn) -> None:
    assert not any(item.active for item in failure(facts(condition(clinicalStatus=clinical("ongoing")))))


@pytest.mark.parametrize(
    ("members", "active"),
    [
        ({"abatementDateTime": day(1)}, False),
        ({"abatementDateTime": "2025"}, False),
        ({"abatementDateTime": day(-30)}, True),
        ({"abatementPeriod": {"start": day(40), "end": day(30)}}, False),
        ({"abatementString": "after the operation"}, False),
        ({"abatementAge": {"value": 40}}, False),
        ({"abatementRange": {"low": {"value": 40}}}, False),
        ({"abatementDateTime": None}, True),
    ],
    ids=str,
)
@pytest.mark.parametrize("status", [LEFT_OUT, clinical("active")], ids=["no status", "active"])
def test_a_condition_that_abated_is_not_active(facts: TakeIn, status: Any, members: Resource, active: bool) -> None:
    found = facts(condition(clinicalStatus=status, **members))

    assert [active] == [item.active for item in failure(found)]


@pytest.mark.parametrize(
    ("members", "shown"),
    [
        ({"recordedDate": "2025-06-01", "onsetDateTime": "2020-01-01"}, "2025-06-01"),
        ({"recordedDate": "2025-06-01", "onsetDateTime": "2025-12-01"}, "2025-12-01"),
        ({"recordedDate": LEFT_OUT, "onsetDateTime": "2020"}, "2020"),
        ({"recordedDate": LEFT_OUT, "onsetPeriod": {"start": "2020-03"}}, "2020-03"),
        ({"recordedDate": "2025-06-01", "onsetDateTime": "2020-02-30"}, "2025-06-01"),
        ({"recordedDate": LEFT_OUT}, None),
        ({"recordedDate": "someday"}, None),
    ],
    ids=str,
)
def test_a_diagnosis_is_dated_by_the_later_of_onset_and_recording(
    facts: TakeIn, members: Resource, shown: str | None
) -> None:
    [item] = failure(facts(condition(**members)))

    assert shown == (item.when.day if item.when else None)


@pytest.mark.parametrize("member", ["recordedDate", "onsetDateTime"])
def test_a_diagnosis_of_next_year_is_set_aside(facts: TakeIn, member: str) -> None:
    dated: Resource = {"recordedDate": LEFT_OUT, member: "2199-01-01"}
    found = facts(condition(**dated))

    assert ([], ["future-date"]) == (failure(found), [aside.reason for aside in found.set_aside])


@pytest.mark.parametrize("category", [ENCOUNTER_DIAGNOSIS, ENCOUNTER_DIAGNOSIS[0]], ids=["a list", "Epic's object"])
def test_a_diagnosis_of_one_encounter_is_known_as_such(facts: TakeIn, category: Any) -> None:
    assert [True] == [item.encounter for item in failure(facts(condition(category=category)))]


@pytest.mark.parametrize(
    "category", [LEFT_OUT, None, [concept("problem-list-item")], "encounter-diagnosis-ish", 5], ids=repr
)
def test_any_other_category_is_the_problem_list(facts: TakeIn, category: Any) -> None:
    found = failure(facts(condition(category=category)))

    assert 1 == len(found)


def test_a_disease_of_the_mother_is_not_the_patients(facts: TakeIn) -> None:
    found = facts(family(ESKD))

    assert ({}, ["family-history"]) == (found.diagnoses, [aside.reason for aside in found.set_aside])


def test_the_name_of_a_diagnosis_is_kept_as_the_record_words_it(facts: TakeIn) -> None:
    [item] = failure(
        facts(
            condition(code=concept(ESKD, text="Kidney failure on HD", display="ESRD", system="http://snomed.info/sct"))
        )
    )

    assert "Kidney failure on HD" == item.display


@pytest.mark.parametrize(
    "members",
    [{"modifierExtension": [{"url": "http://x"}]}, {"implicitRules": "http://x"}],
    ids=lambda one: next(iter(one)),
)
def test_a_condition_that_may_mean_the_opposite_is_not_used(facts: TakeIn, members: Resource) -> None:
    found = facts(condition(**members))

    assert ([], 1) == (failure(found), len(found.set_aside))


@pytest.mark.parametrize(
    "site",
    [
        [{"text": "Scrotum"}],
        [{"coding": [{"system": "http://snomed.info/sct", "code": "0", "display": "Skin of penis"}]}],
        [{"text": "left thigh"}, {"text": "vulva"}],
    ],
    ids=["in words", "coded", "one of two"],
)
def test_calcinosis_at_a_genital_body_site_is_genital_calcinosis(facts: TakeIn, site: Any) -> None:
    """
    KNOWLEDGE 1.11: genital calcinosis has no code of its own.
    """
    found = facts(condition(concept("L94.2", "http://hl7.org/fhir/sid/icd-10-cm"), bodySite=site)).diagnoses

    assert {"calcinosis-cutis", "idi-genital"} == set(found)


@pytest.mark.parametrize(
    "site", [LEFT_OUT, None, [], [{"text": "left elbow"}], [{}], {"text": "Scrotum"}, "Scrotum", [7]], ids=repr
)
def test_calcinosis_elsewhere_or_at_a_site_that_cannot_be_read_is_not_genital(facts: TakeIn, site: Any) -> None:
    found = facts(condition(concept("L94.2", "http://hl7.org/fhir/sid/icd-10-cm"), bodySite=site)).diagnoses

    assert {"calcinosis-cutis"} == set(found)


def test_a_genital_body_site_alone_means_no_calcinosis(facts: TakeIn) -> None:
    found = facts(condition(concept("N50.89", "http://hl7.org/fhir/sid/icd-10-cm"), bodySite=[{"text": "Scrotum"}]))

    assert {} == found.diagnoses


@pytest.mark.parametrize("code", ["L97.122", "L97122", "L97.909", "N18.6", "N186"])
def test_a_diagnosis_keeps_the_code_as_it_was_recorded(facts: TakeIn, code: str) -> None:
    """
    A block is known by its first characters; who checks the card looks for the code of the record.
    """
    found = facts(condition(code, ICD10CM)).diagnoses

    assert found
    assert {code} == {one.code for items in found.values() for one in items}


def test_an_ulcer_is_named_as_the_record_names_it_whatever_its_site(facts: TakeIn) -> None:
    code = concept("46742003", "http://snomed.info/sct", display="Skin ulcer")
    found = facts(condition(code, bodySite=[{"text": "tip of the left index finger"}])).diagnoses

    assert {"les-ulcer", "les-digital-ulcer"} == set(found)
    assert {"Skin ulcer"} == {item.display for items in found.values() for item in items}


@pytest.mark.parametrize(
    ("beside", "counts"),
    [
        ("", False),
        ("met-eskd", False),
        ("calcinosis-cutis", True),
        ("idi-scn", True),
        ("{concept: calcinosis-cutis, clinical: resolved}", False),
        ("{concept: calcinosis-cutis, verification: refuted}", False),
    ],
)
def test_down_syndrome_is_milia_like_calcinosis_only_beside_calcinosis(beside: str, counts: bool) -> None:
    """
    KNOWLEDGE 1.11: its codes name the setting, not the disease (``only_with`` in concepts/diagnoses.yaml).
    """
    others = f", {beside}" if beside else ""

    assert counts is (judge("has: idi-milia", f"diagnoses: [idi-milia{others}]").verdict is YES)
