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
