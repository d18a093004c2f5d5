"""
Results that mean something together: tumor lysis (CC-18), calcium-alkali (CC-14), hyperparathyroidism (CC-12).
"""

from __future__ import annotations

import pytest

from tests.rules.bedside import facts, judge

LYSIS = (
    "is: tumor-lysis\nurate_above: urate_high\npotassium_above: potassium_high\nphosphate_above: phosphate_adult\n"
    "phosphate_child_above: phosphate_child\ncalcium_below: ca_low\nhours: hours\ncriteria: two"
)
ALKALI = (
    "is: calcium-alkali\ncalcium_above: ca_high\nbicarbonate_above: bicarbonate_high\negfr_below: egfr_sixty\n"
    "creatinine_above: creatinine_high\nwithin: month\npaired_within: hours"
)
BONE = (
    "is: high-calcium-low-phosphate-high-alp\ncalcium_above: ca_high\nalp_above: alp_high\n"
    "phosphate_below: phosphate_low\nwithin: days\npaired_days: month"
)


def labs(**results: str) -> str:
    """Return labs in the words of a vignette: name (with _ for -) and "time: value"."""
    told = ", ".join(f"{name.replace('_', '-')}: {{{result}}}" for name, result in results.items())
    return f"labs: {{{told}}}"


@pytest.mark.parametrize(
    ("scene", "verdict"),
    [
        (labs(urate="today: 8.1 mg/dL", potassium="today: 6.1 mmol/L"), "yes"),
        (labs(urate="today: 8.0 mg/dL", potassium="today: 6.1 mmol/L"), "no"),
        (labs(urate="today: 8.1 mg/dL", potassium="today: 6.0 mmol/L"), "no"),
        (labs(phosphate="today: 4.6 mg/dL", calcium_total="today: 6.9 mg/dL"), "yes"),
        (labs(phosphate="today: 4.5 mg/dL", calcium_total="today: 6.9 mg/dL"), "no"),
        (labs(phosphate="today: 4.6 mg/dL", calcium_total="today: 7.0 mg/dL"), "no"),
        (labs(calcium_total="today: 6.0 mg/dL", albumin="today: 2.5 g/dL", urate="today: 9 mg/dL"), "no"),
        ("patient: 9-year-old boy\n" + labs(phosphate="today: 6.5 mg/dL", urate="today: 9 mg/dL"), "no"),
        ("patient: 9-year-old boy\n" + labs(phosphate="today: 6.6 mg/dL", urate="today: 9 mg/dL"), "yes"),
        ("patient: boy of unknown age\n" + labs(phosphate="today: 6 mg/dL", urate="today: 9 mg/dL"), "unknown"),
        (labs(urate="72 hours ago: 9 mg/dL", potassium="today: 6.1 mmol/L"), "yes"),
        (labs(urate="73 hours ago: 9 mg/dL", potassium="today: 6.1 mmol/L"), "no"),
        (labs(urate="6 hours ago: 7 mg/dL, 30 hours ago: 9 mg/dL", potassium="today: 6.1 mmol/L"), "no"),
        (labs(urate="2026-02: 9 mg/dL", potassium="today: 6.1 mmol/L"), "unknown"),
        ("", "no"),
        ("not_loaded: [observations]", "unknown"),
        ("truncated: [observations]\n" + labs(urate="today: 9 mg/dL", potassium="today: 6.1 mmol/L"), "yes"),
        ("truncated: [observations]\n" + labs(urate="today: 9 mg/dL"), "unknown"),
    ],
)
def test_tumor_lysis_needs_two_criteria_of_the_last_hours(scene: str, verdict: str) -> None:
    told = judge(LYSIS, scene)

    assert verdict == told.verdict.value, "\n".join(told.lines())


def test_tumor_lysis_shows_the_results_it_rests_on() -> None:
    told = judge(LYSIS, labs(urate="today: 9 mg/dL", potassium="today: 6.1 mmol/L", phosphate="today: 4 mg/dL"))

    assert [item.analyte for item in told.supporting() if hasattr(item, "analyte")] == ["urate", "potassium"]


CALCIUM = "9 days ago: 11.5 mg/dL"


@pytest.mark.parametrize(
    ("scene", "verdict"),
    [
        (labs(calcium_total=CALCIUM, bicarbonate="9 days ago: 32 mmol/L", creatinine="9 days ago: 1.4 mg/dL"), "yes"),
        (labs(calcium_total=CALCIUM, bicarbonate="9 days ago: 28 mmol/L", creatinine="9 days ago: 1.4 mg/dL"), "no"),
        (labs(calcium_total=CALCIUM, bicarbonate="9 days ago: 32 mmol/L", creatinine="9 days ago: 1.3 mg/dL"), "no"),
        (labs(calcium_total=CALCIUM, bicarbonate="12 days ago: 32 mmol/L", creatinine="9 days ago: 2 mg/dL"), "yes"),
        (labs(calcium_total=CALCIUM, bicarbonate="13 days ago: 32 mmol/L", creatinine="9 days ago: 2 mg/dL"), "no"),
        (labs(calcium_total=CALCIUM, bicarbonate="7 days ago: 32 mmol/L", creatinine="11 days ago: 2 mg/dL"), "no"),
        (labs(calcium_total=CALCIUM, bicarbonate="9 days ago: 32 mmol/L"), "no"),
        (labs(calcium_total="31 days ago: 12 mg/dL"), "no"),
        (labs(calcium_total="9 days ago: 10.5 mg/dL", bicarbonate="9 days ago: 32 mmol/L"), "no"),
        ("", "no"),
        ("not_loaded: [observations]", "unknown"),
        ("truncated: [observations]\n" + labs(calcium_total=CALCIUM), "unknown"),
    ],
)
def test_calcium_alkali_needs_its_results_at_one_time(scene: str, verdict: str) -> None:
    told = judge(ALKALI, scene)

    assert verdict == told.verdict.value, "\n".join(told.lines())
    assert bool(told.missing) is (verdict == "unknown")


def test_a_low_egfr_will_do_in_place_of_creatinine() -> None:
    scene = labs(
        calcium_total=CALCIUM,
        bicarbonate="9 days ago: 32 mmol/L",
        egfr='9 days ago: "59 mL/min/{1.73_m2}"',
        creatinine="9 days ago: 1.1 mg/dL",
    )

    assert "yes" == judge(ALKALI, scene).verdict.value
    assert "no" == judge(ALKALI, scene.replace("59 mL", "60 mL")).verdict.value


@pytest.mark.parametrize(
    ("scene", "verdict"),
    [
        (labs(calcium_total=CALCIUM, alp="9 days ago: 121 U/L", phosphate="9 days ago: 2.4 mg/dL"), "yes"),
        (labs(calcium_total=CALCIUM, alp="9 days ago: 120 U/L", phosphate="9 days ago: 2.4 mg/dL"), "no"),
        (labs(calcium_total=CALCIUM, alp="9 days ago: 121 U/L", phosphate="9 days ago: 2.5 mg/dL"), "no"),
        (labs(calcium_total="9 days ago: 10.5 mg/dL", alp="9 days ago: 200 U/L", phosphate="today: 2 mg/dL"), "no"),
        (labs(calcium_total=CALCIUM, alp="39 days ago: 200 U/L", phosphate="9 days ago: 2 mg/dL"), "yes"),
        (labs(calcium_total=CALCIUM, alp="40 days ago: 200 U/L", phosphate="9 days ago: 2 mg/dL"), "no"),
        (labs(calcium_total=CALCIUM, alp="39 days ago: 200 U/L", phosphate="today: 2 mg/dL"), "no"),
        ("patient: 9-year-old boy\n" + labs(calcium_total=CALCIUM, alp="9 days ago: 500 U/L"), "no"),
        (
            "patient: 9-year-old boy\n"
            + labs(calcium_total=CALCIUM, alp="9 days ago: 501 U/L", phosphate="9 days ago: 2 mg/dL"),
            "yes",
        ),
        ("", "no"),
        ("not_loaded: [observations]", "unknown"),
    ],
)
def test_the_pattern_of_hyperparathyroidism(scene: str, verdict: str) -> None:
    told = judge(BONE, scene)

    assert verdict == told.verdict.value, "\n".join(told.lines())


@pytest.mark.parametrize("when", [LYSIS, ALKALI, BONE])
def test_an_empty_record_costs_no_reading(when: str) -> None:
    """
    Nothing is read of results that no pattern asks for.
    """
    told = judge(when, labs(ferritin="today: 9 ng/mL"))

    assert "no" == told.verdict.value
    assert facts(labs(ferritin="today: 9 ng/mL")).memo == {}


# --- what is not known ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scene", "verdict"),
    [
        ("", "no"),
        ("truncated: [observations]\n", "unknown"),
    ],
)
def test_what_was_cut_off_may_hold_a_result_that_lies_nearer(scene: str, verdict: str) -> None:
    """
    A normal bicarbonate beside the calcium is a NO only where no other one can lie beside it.
    """
    told = judge(
        ALKALI,
        scene + labs(calcium_total=CALCIUM, bicarbonate="9 days ago: 28 mmol/L", creatinine="9 days ago: 1.4 mg/dL"),
    )

    assert verdict == told.verdict.value, "\n".join(told.lines())


@pytest.mark.parametrize(("alp", "verdict"), [("100 U/L", "no"), ("300 U/L", "unknown")])
def test_a_calcium_that_is_only_a_bound_leaves_the_others_to_decide(alp: str, verdict: str) -> None:
    told = judge(
        BONE, labs(calcium_total='9 days ago: "<12 mg/dL"', alp=f"9 days ago: {alp}", phosphate="9 days ago: 2.0 mg/dL")
    )

    assert verdict == told.verdict.value, "\n".join(told.lines())


@pytest.mark.parametrize(("reaches", "verdict"), [(4, "unknown"), (5, "no")])
def test_a_page_that_reaches_back_beyond_72_hours_says_what_was_not_measured(reaches: int, verdict: str) -> None:
    """
    A page sorted by time that was cut off is complete for the days it spans (KNOWLEDGE 5.2, CC-18: 72 hours).
    """
    told = judge(
        LYSIS,
        "truncated: [observations]\n" + labs(potassium=f"today: 4 mmol/L, {reaches} days ago: 4 mmol/L"),
    )

    assert verdict == told.verdict.value, "\n".join(told.lines())
