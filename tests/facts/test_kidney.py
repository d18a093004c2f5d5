"""
Kidney failure, advanced disease, and a transplant that works (KNOWLEDGE.md 2.3).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from cds_service.facts import Facts, kidney
from cds_service.facts.evidence import NO, UNKNOWN, YES, Verdict
from tests.build import (
    AKI,
    ICD10,
    ICD10CM,
    LEFT_OUT,
    SNOMED,
    TRANSPLANT,
    TRANSPLANTATION,
    Resource,
    ago,
    bundle,
    clinical,
    condition,
    day,
    observation,
    procedure,
    quantity,
    verification,
)
from tests.conftest import TakeIn

NEXT = [{"relation": "next", "url": "http://x"}]
FAILED = {"resourceType": "OperationOutcome", "issue": [{"severity": "error"}]}
DEPENDENCE, FAILED_GRAFT, STAGE_5, STAGE_4 = "105502003", "213150003", "433146000", "431857002"
PERITONEAL, UNSPECIFIED, CONTINUOUS, EMERGENCY = "71192002", "265764009", "233578004", "708932005"


def fails(found: Facts) -> Verdict:
    """Judge kidney failure."""
    return kidney.failure(found).verdict


def advanced(found: Facts, limit: str = "30") -> Verdict:
    """Judge advanced CKD."""
    return kidney.advanced_disease(found, egfr_below=Decimal(limit)).verdict


def egfr(value: float, days: float = 10, **members: Any) -> Resource:
    """Return an eGFR."""
    return observation("egfr", value, days=days, **members)


# --- kidney failure --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "system"),
    [
        ("46177005", SNOMED),
        ("236435004", SNOMED),
        (DEPENDENCE, SNOMED),
        ("N18.6", ICD10CM),
        ("Z99.2", ICD10CM),
        ("Z99.2", ICD10),
        ("N18.5", ICD10),
    ],
)
def test_a_code_of_kidney_failure_or_of_dependence_on_dialysis_is_enough(facts: TakeIn, code: str, system: str) -> None:
    assert YES is fails(facts(condition(code, system)))


@pytest.mark.parametrize(
    ("code", "system"),
    [("N18.5", ICD10CM), ("I12.0", ICD10CM), (STAGE_5, SNOMED), (STAGE_4, SNOMED), ("90688005", SNOMED), (AKI, SNOMED)],
)
def test_a_code_of_less_is_not_kidney_failure(facts: TakeIn, code: str, system: str) -> None:
    assert NO is fails(facts(condition(code, system)))


@pytest.mark.parametrize(
    "members",
    [
        {"clinicalStatus": clinical("resolved")},
        {"verificationStatus": verification("entered-in-error")},
        {"verificationStatus": verification("provisional")},
    ],
    ids=str,
)
def test_a_diagnosis_that_does_not_count_is_not_kidney_failure(facts: TakeIn, members: Resource) -> None:
    assert NO is fails(facts(condition(**members)))


@pytest.mark.parametrize(
    "code", ["302497006", "233575001", "34897002", PERITONEAL, "428648006", UNSPECIFIED, "108241001"]
)
def test_one_maintenance_dialysis_within_45_days_is_enough(facts: TakeIn, code: str) -> None:
    assert YES is fails(facts(procedure(code, days=2)))


@pytest.mark.parametrize(("days", "verdict"), [(0, YES), (44, YES), (45, YES), (46, NO), (400, NO)])
def test_dialysis_counts_for_45_days(facts: TakeIn, days: int, verdict: Verdict) -> None:
    assert verdict is fails(facts(procedure(performedDateTime=day(days))))


@pytest.mark.parametrize("code", [CONTINUOUS, "233580005", "233590002", "233588003", EMERGENCY])
def test_continuous_and_emergency_dialysis_never_count(facts: TakeIn, code: str) -> None:
    assert NO is fails(facts(*(procedure(code, days=days) for days in range(10))))


def test_dialysis_for_acute_kidney_injury_is_no_kidney_failure(facts: TakeIn) -> None:
    assert NO is fails(facts(procedure(), condition(AKI)))


def test_acute_kidney_injury_that_is_over_no_longer_explains_dialysis(facts: TakeIn) -> None:
    assert YES is fails(facts(procedure(), condition(AKI, clinicalStatus=clinical("resolved"))))


def test_acute_kidney_injury_does_not_undo_a_diagnosis_of_kidney_failure(facts: TakeIn) -> None:
    assert YES is fails(facts(condition(), condition(AKI)))


@pytest.mark.parametrize(
    "one",
    [procedure(status="not-done"), procedure(performedDateTime=LEFT_OUT), procedure(performedDateTime="2026-02-30")],
    ids=["not done", "undated", "on no day"],
)
def test_a_dialysis_that_did_not_take_place_on_a_known_day_does_not_count(facts: TakeIn, one: Resource) -> None:
    assert NO is fails(facts(one))


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({}, NO),
        ({"conditions": LEFT_OUT}, UNKNOWN),
        ({"conditions": FAILED}, UNKNOWN),
        ({"conditions": bundle(link=NEXT)}, UNKNOWN),
        ({"conditions": None, "procedures": None}, NO),
        ({"procedures": LEFT_OUT}, UNKNOWN),
        ({"procedures": FAILED}, UNKNOWN),
        ({"observations": LEFT_OUT, "medications": LEFT_OUT}, NO),
        ({"conditions": LEFT_OUT, "procedures": bundle(procedure())}, UNKNOWN),
        ({"conditions": bundle(condition(), link=NEXT), "procedures": LEFT_OUT}, YES),
        ({"conditions": bundle(condition(AKI)), "procedures": LEFT_OUT}, NO),
    ],
    ids=[
        "all loaded, nothing there",
        "conditions absent",
        "conditions failed",
        "first page of conditions",
        "null",
        "procedures absent",
        "procedures failed",
        "other kinds do not matter",
        "dialysis, but acute injury unknown",
        "found on the first page",
        "acute injury excludes dialysis for failure",
    ],
)
def test_what_was_not_loaded_leaves_kidney_failure_open(
    facts: TakeIn, values: dict[str, Any], verdict: Verdict
) -> None:
    assert verdict is fails(facts(values=values))


# --- transplant ------------------------------------------------------------------------------------------------------

GRAFT_DIAGNOSIS = condition(TRANSPLANT, days=1000)
GRAFT_PROCEDURE = procedure(TRANSPLANTATION, days=1000)


@pytest.mark.parametrize("graft", [GRAFT_DIAGNOSIS, GRAFT_PROCEDURE], ids=["diagnosis", "procedure"])
@pytest.mark.parametrize(
    ("more", "works"),
    [
        ([], YES),
        ([egfr(62)], YES),
        ([egfr(15)], YES),
        ([egfr(14.9)], NO),
        ([egfr(62, 366)], YES),
        ([egfr(10, 366), condition(DEPENDENCE)], NO),
        ([condition(DEPENDENCE)], NO),
        ([condition(DEPENDENCE), egfr(62)], YES),
        ([condition(FAILED_GRAFT), egfr(62)], NO),
        ([condition("T86.12", ICD10CM), egfr(62)], NO),
        ([condition("T86.11", ICD10CM), egfr(62)], YES),
        ([procedure(days=10), egfr(62)], NO),
        ([procedure(days=1100), egfr(62)], YES),
        ([procedure(days=1000), egfr(62)], YES),
        ([procedure(CONTINUOUS, days=10), egfr(62)], YES),
        ([observation("egfr", valueQuantity=quantity(60, "mL/min/{1.73_m2}", comparator=">"))], YES),
        ([observation("egfr", valueQuantity=quantity(60, "mL/min/{1.73_m2}", comparator="<"))], UNKNOWN),
        ([observation("egfr", valueQuantity=quantity(15, "mL/min/{1.73_m2}", comparator="<"))], NO),
    ],
    ids=[
        "nothing against it",
        "eGFR 62",
        "eGFR of exactly 15",
        "eGFR below 15",
        "eGFR too old to count",
        "old eGFR, and dependence on dialysis",
        "dependence on dialysis",
        "dependence on dialysis of old, eGFR 62",
        "failed",
        "failed by ICD-10-CM",
        "rejection alone",
        "dialysis after it",
        "dialysis before it",
        "dialysis on the day of it",
        "continuous dialysis after it",
        "eGFR above 60",
        "eGFR below 60",
        "eGFR below 15 by a bound",
    ],
)
def test_a_transplanted_kidney_works(facts: TakeIn, graft: Resource, more: list[Resource], works: Verdict) -> None:
    found = facts(condition("N18.6", ICD10CM), graft, *more)
    opposed = {YES: NO, NO: YES, UNKNOWN: UNKNOWN}

    assert (works, opposed[works]) == (kidney.transplant_works(found).verdict, fails(found))


def test_a_graft_whose_recording_is_newer_than_the_dialysis_does_not_hide_it(facts: TakeIn) -> None:
    """
    Transplanted in 2015, on dialysis last week; the problem list was tidied up yesterday.
    """
    graft = condition(TRANSPLANT, onsetDateTime="2015", recordedDate=day(1))
    found = facts(condition("N18.6", ICD10CM), graft, procedure(days=7))

    assert YES is fails(found)


def undated(**members: Any) -> Resource:
    """Return a transplantation whose time is not a date."""
    return procedure(TRANSPLANTATION, performedDateTime=LEFT_OUT, **members)


@pytest.mark.parametrize(
    ("graft", "expected"),
    [
        (condition(TRANSPLANT, recordedDate=LEFT_OUT), ("date of the transplant",)),
        (condition(TRANSPLANT, recordedDate=day(1)), ("date of the transplant",)),
        (condition(TRANSPLANT, recordedDate=day(1), onsetAge=quantity(40, "a")), ("date of the transplant",)),
        (undated(), ("date of the transplant",)),
        (undated(performedString="2011"), ("date of the transplant",)),
        (condition(TRANSPLANT, onsetDateTime="2026", recordedDate=day(1)), ("date of the transplant",)),
        (procedure(TRANSPLANTATION, performedDateTime="2026-02"), ("date of the transplant",)),
    ],
    ids=["no date", "recorded yesterday", "onset as an age", "no time", "time in words", "a year", "the same month"],
)
def test_current_dialysis_beside_a_transplant_of_unclear_date_leaves_kidney_failure_open(
    facts: TakeIn, graft: Resource, expected: tuple[str, ...]
) -> None:
    """
    The graft may have failed since: the rules about kidney failure are told as not evaluated, and what they need.
    """
    found = facts(condition("N18.6", ICD10CM), graft, procedure(days=3))
    judged = kidney.failure(found)

    assert (UNKNOWN, expected) == (judged.verdict, judged.missing)


def test_dialysis_dated_so_vaguely_that_it_may_have_followed_the_transplant_asks_for_its_date(facts: TakeIn) -> None:
    found = facts(condition(), procedure(TRANSPLANTATION, days=10), procedure(performedDateTime="2026-02"))
    judged = kidney.failure(found)

    assert (UNKNOWN, ("date of the dialysis",)) == (judged.verdict, judged.missing)


@pytest.mark.parametrize(
    ("graft", "days", "verdict"),
    [
        (condition(TRANSPLANT, recordedDate=day(10)), 3, YES),
        (condition(TRANSPLANT, recordedDate=day(10)), 20, UNKNOWN),
        (condition(TRANSPLANT, recordedDate=day(10)), 46, NO),
        (condition(TRANSPLANT, recordedDate=LEFT_OUT), 46, NO),
        (condition(TRANSPLANT, onsetDateTime="2025", recordedDate=day(1)), 3, YES),
        (condition(TRANSPLANT, onsetDateTime="2026-02", recordedDate=day(1)), 30, NO),
        (condition(TRANSPLANT, onsetDateTime=day(10), recordedDate=day(1)), 20, NO),
        (procedure(TRANSPLANTATION, days=10), 9.5, NO),
        (procedure(TRANSPLANTATION, days=10), 8.5, YES),
    ],
    ids=[
        "after it was recorded",
        "before it was recorded",
        "not current, before it was recorded",
        "not current, no date",
        "after the year of it",
        "before the month of it",
        "before its onset, recorded later",
        "within a day of it",
        "more than a day after it",
    ],
)
def test_dialysis_that_surely_came_before_or_after_the_transplant_decides(
    facts: TakeIn, graft: Resource, days: float, verdict: Verdict
) -> None:
    assert verdict is fails(facts(condition("N18.6", ICD10CM), graft, procedure(days=days)))


@pytest.mark.parametrize("more", [egfr(9), condition(DEPENDENCE)], ids=["eGFR below 15", "dependence on dialysis"])
def test_a_graft_that_surely_does_not_work_needs_no_date(facts: TakeIn, more: Resource) -> None:
    graft = condition(TRANSPLANT, recordedDate=LEFT_OUT)

    assert YES is fails(facts(condition("N18.6", ICD10CM), graft, procedure(days=3), more))


@pytest.mark.parametrize(("days", "works"), [(60, YES), (11, YES), (10, NO), (5, NO)])
def test_an_egfr_from_before_the_transplant_says_nothing_of_the_graft(
    facts: TakeIn, days: float, works: Verdict
) -> None:
    found = facts(condition("N18.6", ICD10CM), procedure(TRANSPLANTATION, performedDateTime=day(10)), egfr(7, days))

    assert works is kidney.transplant_works(found).verdict


def test_without_any_sign_of_a_transplant_missing_procedures_do_not_hide_kidney_failure(facts: TakeIn) -> None:
    assert YES is fails(facts(condition(), values={"procedures": LEFT_OUT}))


def test_a_graft_of_unknown_function_leaves_kidney_failure_open(facts: TakeIn) -> None:
    found = facts(condition("N18.6", ICD10CM), GRAFT_DIAGNOSIS, values={"observations": LEFT_OUT})

    assert UNKNOWN is fails(found)


def test_end_stage_disease_with_a_transplant_is_a_transplant(facts: TakeIn) -> None:
    assert NO is fails(facts(condition("236436003")))


@pytest.mark.parametrize(("code", "verdict"), [(FAILED_GRAFT, YES), (TRANSPLANT, NO)])
def test_a_failed_transplant_is_known_by_its_code(facts: TakeIn, code: str, verdict: Verdict) -> None:
    assert verdict is kidney.transplant_failed(facts(condition(code))).verdict


# --- advanced disease ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resources", "verdict"),
    [
        ([], NO),
        ([condition()], YES),
        ([condition("N18.4", ICD10CM)], YES),
        ([condition("N18.5", ICD10CM)], YES),
        ([condition("I12.0", ICD10CM)], YES),
        ([condition("I13.11", ICD10CM)], YES),
        ([condition("I13.2", ICD10CM)], YES),
        ([condition(STAGE_4)], YES),
        ([condition(STAGE_5)], YES),
        ([condition("N18.30", ICD10CM)], NO),
        ([condition("433144002")], NO),
        ([procedure()], YES),
        ([egfr(29.9)], YES),
        ([egfr(30)], NO),
        ([egfr(29, 365)], YES),
        ([egfr(29, 366)], NO),
        ([egfr(45, 1), egfr(20, 30)], NO),
        ([observation("egfr", valueQuantity=quantity(60, "mL/min/{1.73_m2}", comparator=">"))], NO),
        ([observation("egfr", valueQuantity=quantity(60, "mL/min/{1.73_m2}", comparator="<"))], UNKNOWN),
    ],
    ids=[
        "nothing",
        "ESKD",
        "N18.4",
        "N18.5",
        "I12.0",
        "I13.11",
        "I13.2",
        "stage 4",
        "stage 5",
        "N18.30",
        "stage 3",
        "dialysis",
        "eGFR below 30",
        "eGFR of exactly 30",
        "a year old",
        "older than a year",
        "the newest counts",
        "above 60",
        "below 60",
    ],
)
def test_advanced_chronic_kidney_disease(facts: TakeIn, resources: list[Resource], verdict: Verdict) -> None:
    assert verdict is advanced(facts(*resources))


def test_the_limit_of_the_egfr_can_be_told(facts: TakeIn) -> None:
    found = facts(egfr(40))

    assert (YES, NO) == (advanced(found, "45"), advanced(found, "30"))


@pytest.mark.parametrize(
    "value",
    [LEFT_OUT, FAILED, bundle(link=NEXT), bundle(egfr(62), link=NEXT)],
    ids=["absent", "failed", "page", "page, 62"],
)
def test_an_egfr_that_was_not_loaded_leaves_advanced_disease_open(facts: TakeIn, value: Any) -> None:
    """
    Results come newest first, but the newest eGFR on a first page need not be the newest of all.
    """
    assert advanced(facts(values={"observations": value})) in {UNKNOWN, NO}
    assert UNKNOWN is advanced(facts(values={"observations": LEFT_OUT}))


def test_every_judgement_says_what_it_rests_on(facts: TakeIn) -> None:
    trail = "\n".join(kidney.failure(facts(condition("N18.6", ICD10CM), procedure(performedDateTime=ago(2)))).lines())

    assert "N18.6" in trail
    assert "302497006" in trail


def test_a_diagnosis_lasts_since_its_day_and_a_procedure_was_done_on_it(facts: TakeIn) -> None:
    lines = kidney.failure(facts(condition(days=9), procedure(performedDateTime=ago(2)))).lines()
    said = [line for line in lines if "2026-0" in line]

    assert [True, False] == [", since 2026-" in line for line in said]
