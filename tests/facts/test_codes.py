"""
Codes in records: systems in any spelling, blocks, products, look-alikes, and what is never trusted.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from cds_service.facts import Facts
from tests.build import (
    ATC,
    ESKD,
    ICD10,
    ICD10CM,
    LEFT_OUT,
    LOINC,
    RXNORM,
    SNOMED,
    WARFARIN,
    WARFARIN_TABLET,
    codings,
    concept,
    condition,
    measured,
    observation,
    prescription,
    procedure,
)
from tests.conftest import TakeIn


def diagnosed(found: Facts) -> set[str]:
    """Return the concepts of all active diagnoses."""
    return {name for name, items in found.diagnoses.items() if any(item.active for item in items)}


# --- systems ---------------------------------------------------------------------------------------------------------


def spellings(uri: str, oid: str) -> list[str]:
    """Return ways in which records spell one system."""
    return [
        uri,
        uri + "/",
        uri.replace("http://", "https://"),
        uri.upper(),
        f" {uri} ",
        f"urn:oid:{oid}",
        f"URN:OID:{oid}",
    ]


@pytest.mark.parametrize("system", spellings(LOINC, "2.16.840.1.113883.6.1"))
def test_loinc_is_found_in_any_spelling(facts: TakeIn, system: str) -> None:
    assert {"phosphate"} == measured(facts(observation(code=concept("2777-1", system))))


@pytest.mark.parametrize("system", spellings(SNOMED, "2.16.840.1.113883.6.96"))
def test_snomed_is_found_in_any_spelling(facts: TakeIn, system: str) -> None:
    assert "met-eskd" in diagnosed(facts(condition(ESKD, system)))


@pytest.mark.parametrize("system", spellings(ICD10CM, "2.16.840.1.113883.6.90"))
def test_icd_10_cm_is_found_in_any_spelling(facts: TakeIn, system: str) -> None:
    assert "met-eskd" in diagnosed(facts(condition("N18.6", system)))


@pytest.mark.parametrize("system", spellings(ICD10, "2.16.840.1.113883.6.3"))
def test_who_icd_10_is_found_in_any_spelling(facts: TakeIn, system: str) -> None:
    assert "met-eskd" in diagnosed(facts(condition("N18.5", system)))


@pytest.mark.parametrize("system", spellings(RXNORM, "2.16.840.1.113883.6.88"))
def test_rxnorm_is_found_in_any_spelling(facts: TakeIn, system: str) -> None:
    assert "vka" in facts(prescription(WARFARIN_TABLET, system)).medications


@pytest.mark.parametrize("system", [ATC, "urn:oid:2.16.840.1.113883.6.73"])
def test_atc_is_found_in_any_spelling(facts: TakeIn, system: str) -> None:
    assert "vka" in facts(prescription("B01AA03", system)).medications


@pytest.mark.parametrize(
    "system",
    [LEFT_OUT, None, "", "http://local.example/labs", "http://loinc.org.evil.example", "loinc", "http://loinc.org//"],
)
def test_a_loinc_code_without_its_system_proves_nothing(facts: TakeIn, system: Any) -> None:
    assert set() == measured(facts(observation(code=concept("2777-1", system))))


def test_a_code_without_a_system_is_told_apart_in_the_drift_list(facts: TakeIn) -> None:
    assert ("observations", "", "2777-1") in facts(observation(code=concept("2777-1"))).seen


def test_local_codes_are_passed_over_and_listed(facts: TakeIn) -> None:
    found = facts(observation(code=concept("PHOS", "urn:oid:1.2.3", text="Phosphate")))

    assert (set(), {("observations", "urn:oid:1.2.3", "PHOS"): 1}) == (measured(found), found.seen)


def test_a_local_code_beside_a_known_one_does_no_harm(facts: TakeIn) -> None:
    found = facts(observation(code=codings(("urn:oid:1.2.3", "PHOS"), (LOINC, "2777-1"))))

    assert {"phosphate"} == measured(found)


# --- shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code", [2777, None, True, ["2777-1"], {"value": "2777-1"}, "", "02777-1", "2777-1 x"], ids=repr
)
def test_a_code_of_another_shape_or_spelling_is_no_code(facts: TakeIn, code: Any) -> None:
    assert set() == measured(facts(observation(code={"coding": [{"system": LOINC, "code": code}]})))


def test_a_snomed_code_written_as_a_number_is_no_code(facts: TakeIn) -> None:
    assert set() == diagnosed(facts(condition(code={"coding": [{"system": SNOMED, "code": 46177005}]})))


@pytest.mark.parametrize("broken", [None, 5, "LOINC", [], {"system": 5, "code": 5}], ids=repr)
def test_a_broken_coding_does_not_hide_a_good_one(facts: TakeIn, broken: Any) -> None:
    found = facts(observation(code={"coding": [broken, {"system": LOINC, "code": "2777-1"}]}))

    assert {"phosphate"} == measured(found)


@pytest.mark.parametrize(
    "code", [LEFT_OUT, None, "2777-1", [], {}, {"coding": None}, {"coding": {}}, {"text": 5}], ids=repr
)
def test_a_code_element_of_another_shape_means_nothing(facts: TakeIn, code: Any) -> None:
    assert set() == measured(facts(observation(code=code)))


# --- several codings -------------------------------------------------------------------------------------------------


def test_two_codes_of_the_same_test_are_one_result(facts: TakeIn) -> None:
    found = facts(observation(code=codings((LOINC, "2777-1"), (LOINC, "14879-1"))))

    assert [Decimal("7.1")] == [result.value for result in found.measurements["phosphate"]]


def test_two_codes_that_contradict_each_other_are_set_aside_and_listed(facts: TakeIn) -> None:
    """
    A result coded as phosphate and as calcium is neither.
    """
    found = facts(observation(code=codings((LOINC, "2777-1"), (LOINC, "17861-6"))))

    assert set() == measured(found)
    assert ("observations", "LOINC", "2777-1") in found.seen


def test_two_drugs_in_one_order_that_contradict_each_other_are_set_aside(facts: TakeIn) -> None:
    found = facts(prescription(medicationCodeableConcept=codings((RXNORM, WARFARIN), (RXNORM, "214342"))))

    assert {} == found.medications


def test_a_product_and_its_ingredient_do_not_contradict_each_other(facts: TakeIn) -> None:
    found = facts(
        prescription(medicationCodeableConcept=codings((RXNORM, WARFARIN_TABLET), (RXNORM, WARFARIN), (ATC, "B01AA03")))
    )

    assert {"vka", "warfarin"} == set(found.medications)


# --- look-alikes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("2021-4", "calcium in urine"),
        ("6874-2", "calcium in 24 h urine"),
        ("2778-9", "phosphate in urine"),
        ("2779-7", "phosphate in 24 h urine"),
        ("48642-3", "eGFR"),
        ("1994-3", "ionized calcium"),
        ("17863-2", "ionized calcium, mass"),
        ("46099-8", "corrected calcium"),
        ("50675-8", "product"),
        ("49765-1", "calcium in blood"),
    ],
)
def test_a_look_alike_is_not_the_serum_test(facts: TakeIn, code: str, name: str) -> None:
    found = facts(observation(code, 7.1, "mg/dL", code=concept(code, LOINC, text=f"{name}: Calcium, Phosphate")))

    assert not {"calcium-total", "phosphate"} & measured(found)


@pytest.mark.parametrize("text", ["Phosphate", "Phosphate [Mass/volume] in Serum or Plasma", "PHOSPHORUS", "Calcium"])
def test_a_test_is_never_recognised_by_its_name(facts: TakeIn, text: str) -> None:
    assert set() == measured(facts(observation(code=concept(text=text))))


# --- ICD-10 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "means"),
    [
        ("N18.6", "met-eskd"),
        ("N186", "met-eskd"),
        ("n18.6", "met-eskd"),
        ("L97.122", "les-ulcer"),
        ("L97122", "les-ulcer"),
        ("L98.A12", "les-ulcer"),
        ("M33.13", "ctd-dm"),
        ("C34.11", "malignancy"),
        ("E11.621", "les-explained"),
        ("L89.154", "les-explained"),
        ("N17.0", "aki"),
        ("R22.41", "les-nodule"),
        ("I96", "les-strong"),
        ("Z99.2", "dialysis-status"),
        ("T86.12", "ktx-fail"),
        ("Z94.0", "ktx"),
        ("N18.4", "advanced-ckd-codes"),
        ("I13.11", "advanced-ckd-codes"),
    ],
)
def test_an_icd_10_cm_code_belongs_to_its_block_with_or_without_the_dot(facts: TakeIn, code: str, means: str) -> None:
    assert means in diagnosed(facts(condition(code, ICD10CM)))


@pytest.mark.parametrize(
    ("code", "not_meant"),
    [
        ("N18.5", "met-eskd"),
        ("I12.0", "met-eskd"),
        ("N18.9", "met-eskd"),
        ("N18", "met-eskd"),
        ("L9", "les-ulcer"),
        ("L96.1", "les-ulcer"),
        ("T86.11", "ktx-fail"),
        ("E83.59", "calciphylaxis"),
        ("Z99.1", "dialysis-status"),
    ],
)
def test_an_icd_10_cm_code_means_no_more_than_it_says(facts: TakeIn, code: str, not_meant: str) -> None:
    assert not_meant not in diagnosed(facts(condition(code, ICD10CM)))


def test_stage_5_is_kidney_failure_in_who_icd_10_only(facts: TakeIn) -> None:
    """
    WHO ICD-10 has no N18.6: there N18.5 includes end-stage disease.
    """
    assert "met-eskd" in diagnosed(facts(condition("N18.5", ICD10)))
    assert "met-eskd" not in diagnosed(facts(condition("N18.5", ICD10CM)))


def test_blocks_of_icd_10_cm_do_not_reach_into_who_icd_10(facts: TakeIn) -> None:
    assert "les-ulcer" not in diagnosed(facts(condition("L97.122", ICD10)))


@pytest.mark.parametrize("code", ["Z84.0", "Z84.11", "Z83.49", "Z80.8", "Z82.49"])
def test_a_family_history_code_means_nothing_for_the_patient(facts: TakeIn, code: str) -> None:
    found = facts(condition(code=codings((ICD10CM, code), (SNOMED, ESKD))))

    assert set() == diagnosed(found)


# --- wording ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("Calciphylaxis", True),
        ("Calciphylaxis of the left calf", True),
        ("Calcific uremic arteriolopathy", True),
        ("calciphylaxis, biopsy proven", True),
        ("Other disorders of calcium metabolism", False),
        ("No calciphylaxis", False),
        ("rule out calciphylaxis", False),
        ("Possible calciphylaxis", False),
        ("suspected calciphylaxis", False),
        ("history of calciphylaxis", False),
        ("family history of calciphylaxis", False),
        ("without evidence of calciphylaxis", False),
        ("calciphylaxis ruled out", False),
        ("calciphylaxis excluded by biopsy", False),
        ("calciphylaxis?", False),
        ("calciphylaxis unlikely", False),
        ("precalciphylaxisoid", False),
    ],
)
def test_a_shared_code_counts_only_with_wording_that_confirms_it(facts: TakeIn, text: str, counts: bool) -> None:
    assert counts == ("calciphylaxis" in diagnosed(facts(condition(code=concept("E83.59", ICD10CM, text)))))


@pytest.mark.parametrize(
    "text", ["ESRD on HD", "End-stage renal disease", "Calciphylaxis", "no history of ESRD", "rule out calciphylaxis"]
)
def test_a_diagnosis_in_words_only_is_no_evidence(facts: TakeIn, text: str) -> None:
    found = facts(condition(code=concept(text=text)))

    assert set() == diagnosed(found)
    assert 1 == sum(found.seen.values())


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("Warfarin", True),
        ("warfarin sodium 5 mg tab", True),
        ("JANTOVEN 2.5 MG", True),
        ("phenprocoumon 3mg", True),
        ("Marevanwarfarinoid", False),
        ("no warfarin", False),
        ("stop warfarin", False),
        ("avoid warfarin", False),
        ("allergic to warfarin", False),
        ("warfarin discontinued", False),
        ("warfarin - stopped", False),
        ("warfarin allergy", False),
        ("warfarin cream", False),
        ("apixaban", False),
    ],
)
def test_a_medication_without_a_code_is_recognised_by_its_whole_name(facts: TakeIn, text: str, counts: bool) -> None:
    found = facts(prescription(medicationCodeableConcept=concept(text=text)))

    assert ({"name"} if counts else set()) == {item.how for item in found.medications.get("vka", ())}


def test_a_medication_with_a_code_is_not_said_to_be_recognised_by_name(facts: TakeIn) -> None:
    found = facts(prescription(medicationCodeableConcept=concept(WARFARIN_TABLET, RXNORM, "Warfarin 5 mg")))

    assert ["product"] == [item.how for item in found.medications["vka"]]


def test_a_procedure_in_words_only_is_no_evidence(facts: TakeIn) -> None:
    assert {} == facts(procedure(code=concept(text="Hemodialysis"))).procedures
