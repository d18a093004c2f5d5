"""
Skin lesions and what they can mean in kidney failure (KNOWLEDGE.md 2.3 and 5.1, CC-05).
"""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.facts import Facts, lesions
from cds_service.facts.evidence import NO, UNKNOWN, YES, Verdict
from tests.build import (
    ENCOUNTER_DIAGNOSIS,
    ICD10CM,
    LEFT_OUT,
    Resource,
    bundle,
    clinical,
    condition,
    family,
    verification,
)
from tests.conftest import TakeIn

NECROSIS, LIVEDO, ULCER, PAIN, NODULE, PURPURA = (
    "95347000",
    "238772004",
    "46742003",
    "301364008",
    "95319004",
    "423902002",
)
PRESSURE, DIABETIC_FOOT, STASIS = "1163220007", "280137006", "402863005"
NEXT = [{"relation": "next", "url": "http://x"}]


def lesion(code: str, days: float = 10, **members: Any) -> Resource:
    """Return a lesion that was recorded some days ago."""
    return condition(code, days=days, **members)


def verdicts(found: Facts, within: int = 90) -> tuple[Verdict, Verdict, Verdict]:
    """Judge: suspicious of calciphylaxis, explained otherwise, worth a look."""
    judges = (lesions.suspicious, lesions.explained_ulcer, lesions.to_review)
    suspicious, explained, review = (judge(found, within=within).verdict for judge in judges)

    return suspicious, explained, review


@pytest.mark.parametrize(
    ("codes", "suspicious", "explained", "review"),
    [
        ((), NO, NO, NO),
        ((NECROSIS,), YES, NO, YES),
        ((LIVEDO,), YES, NO, YES),
        ((ULCER,), YES, NO, YES),
        ((PAIN,), NO, NO, YES),
        ((NODULE,), NO, NO, NO),
        ((PURPURA,), NO, NO, NO),
        ((NODULE, PURPURA), NO, NO, NO),
        ((PAIN, NODULE), YES, NO, YES),
        ((PAIN, PURPURA), YES, NO, YES),
        ((PRESSURE,), NO, YES, YES),
        ((DIABETIC_FOOT,), NO, YES, YES),
        ((STASIS,), NO, YES, YES),
        ((PRESSURE, NECROSIS), YES, YES, YES),
        ((PRESSURE, PAIN), NO, YES, YES),
    ],
    ids=lambda value: "+".join(value) or "none" if isinstance(value, tuple) else value.value,
)
def test_classes_of_lesions(
    facts: TakeIn, codes: tuple[str, ...], suspicious: Verdict, explained: Verdict, review: Verdict
) -> None:
    assert (suspicious, explained, review) == verdicts(facts(*(lesion(code) for code in codes)))


@pytest.mark.parametrize("code", ["L97.122", "L98.499", "L98.A11", "I96", "L95.0"])
def test_lesions_are_known_by_icd_10_cm_block(facts: TakeIn, code: str) -> None:
    assert YES is verdicts(facts(lesion(code, system=ICD10CM)))[0]


@pytest.mark.parametrize("code", ["L89.154", "E11.621", "E13.622", "I83.019", "I87.012", "I70.233"])
def test_explained_ulcers_are_known_by_icd_10_cm_block(facts: TakeIn, code: str) -> None:
    assert (NO, YES) == verdicts(facts(lesion(code, system=ICD10CM)))[:2]


@pytest.mark.parametrize(
    ("cause", "site", "suspicious"),
    [
        ("E11.621", "L97.419", NO),
        ("E10.621", "L97.522", NO),
        ("E11.621", "L97.229", YES),
        ("E11.621", "L98.499", YES),
        ("E11.622", "L97.229", NO),
        ("E13.622", "L98.411", NO),
        ("I83.019", "L97.919", NO),
        ("I83.019", "L98.499", YES),
        ("I87.312", "L97.929", NO),
        ("I70.233", "L97.311", NO),
        ("I70.25", "L97.311", YES),
        ("L89.154", "L97.419", YES),
        ("E11.621", "L98.A11", YES),
        ("E11.621", "I96", YES),
    ],
)
def test_the_code_that_tells_the_site_of_an_explained_ulcer_is_no_second_ulcer(
    facts: TakeIn, cause: str, site: str, suspicious: Verdict
) -> None:
    """
    ICD-10-CM, April 2026: a diabetic foot ulcer is E11.621 and then L97.4- or L97.5-; a calf ulcer is none of it.
    """
    known = facts(lesion(cause, system=ICD10CM), lesion(site, system=ICD10CM))

    assert (suspicious, YES, YES) == verdicts(known)
    assert suspicious is lesions.ischemic_or_ulcer(known, within=90).verdict


@pytest.mark.parametrize(
    ("cause", "site", "suspicious"),
    [
        ({"days": 3}, {"days": 3}, NO),
        ({"days": 3}, {"days": 2}, YES),
        ({"days": 3}, {"days": 3, "clinicalStatus": LEFT_OUT}, NO),
        ({"days": 3, "recordedDate": LEFT_OUT}, {"days": 3}, YES),
        ({"days": 3, "recordedDate": LEFT_OUT}, {"days": 3, "recordedDate": LEFT_OUT}, UNKNOWN),
        ({"days": 3, "verificationStatus": verification("refuted")}, {"days": 3}, YES),
    ],
    ids=str,
)
def test_cause_and_site_of_one_ulcer_are_recorded_on_one_day(
    facts: TakeIn, cause: Resource, site: Resource, suspicious: Verdict
) -> None:
    known = facts(lesion("E11.621", system=ICD10CM, **cause), lesion("L97.419", system=ICD10CM, **site))

    assert suspicious is verdicts(known)[0]


def test_an_ulcer_of_another_day_counts_beside_one_that_is_explained(facts: TakeIn) -> None:
    explained = (lesion("E11.621", system=ICD10CM), lesion("L97.419", system=ICD10CM))

    assert YES is verdicts(facts(*explained, lesion("L97.419", 20, system=ICD10CM)))[0]
    assert YES is verdicts(facts(*explained, lesion(ULCER)))[0]


@pytest.mark.parametrize(("days", "verdict"), [(0, YES), (90, YES), (91, NO), (400, NO)])
def test_a_lesion_counts_for_as_long_as_the_rule_says(facts: TakeIn, days: int, verdict: Verdict) -> None:
    assert verdict is verdicts(facts(lesion(NECROSIS, days)))[0]


@pytest.mark.parametrize(("days", "verdict"), [(200, YES), (366, NO)])
def test_a_lesion_of_the_problem_list_counts_for_longer_if_the_rule_says_so(
    facts: TakeIn, days: int, verdict: Verdict
) -> None:
    assert verdict is verdicts(facts(lesion(NECROSIS, days)), within=365)[0]


@pytest.mark.parametrize(("days", "verdict"), [(90, YES), (91, NO)])
def test_a_diagnosis_of_one_encounter_counts_for_90_days_at_most(facts: TakeIn, days: int, verdict: Verdict) -> None:
    """
    KNOWLEDGE 2.3: encounter diagnoses are never cleaned up, so an old one is no lesion of today.
    """
    assert verdict is verdicts(facts(lesion(NECROSIS, days, category=ENCOUNTER_DIAGNOSIS)), within=365)[0]


@pytest.mark.parametrize(
    ("dated", "verdict"),
    [
        ({"recordedDate": LEFT_OUT}, UNKNOWN),
        ({"recordedDate": "2026-02-30"}, UNKNOWN),
        ({"recordedDate": "2025"}, UNKNOWN),
        ({"recordedDate": "2024"}, NO),
        ({"recordedDate": "2026"}, YES),
        ({"recordedDate": "2025-12"}, YES),
        ({"recordedDate": "2025-11"}, NO),
        ({"recordedDate": LEFT_OUT, "onsetDateTime": "2026-02"}, YES),
    ],
    ids=str,
)
def test_a_lesion_whose_date_is_too_vague_is_neither_new_nor_old(
    facts: TakeIn, dated: Resource, verdict: Verdict
) -> None:
    assert verdict is verdicts(facts(lesion(NECROSIS, **dated)))[0]


def test_a_dated_lesion_decides_beside_an_undated_one(facts: TakeIn) -> None:
    assert YES is verdicts(facts(lesion(NECROSIS), lesion(NECROSIS, recordedDate=LEFT_OUT)))[0]


@pytest.mark.parametrize(
    "members",
    [
        {"clinicalStatus": clinical("resolved")},
        {"verificationStatus": verification("refuted")},
        {"verificationStatus": verification("differential")},
        {"abatementDateTime": "2026-02-25"},
    ],
    ids=str,
)
def test_a_lesion_that_is_healed_or_doubted_does_not_count(facts: TakeIn, members: Resource) -> None:
    assert (NO, NO, NO) == verdicts(facts(lesion(NECROSIS, **members)))


def test_the_mothers_lesion_does_not_count(facts: TakeIn) -> None:
    assert (NO, NO, NO) == verdicts(facts(family(NECROSIS)))


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (LEFT_OUT, UNKNOWN),
        (bundle(link=NEXT), UNKNOWN),
        (bundle(lesion(NECROSIS), link=NEXT), YES),
        (bundle(lesion(NECROSIS, 400), link=NEXT), UNKNOWN),
        (None, NO),
    ],
    ids=["absent", "first page", "found on the first page", "an old one on the first page", "null"],
)
def test_lesions_that_were_not_loaded_stay_unknown(facts: TakeIn, value: Any, verdict: Verdict) -> None:
    assert verdict is verdicts(facts(values={"conditions": value}))[0]
