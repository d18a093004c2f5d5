"""
Every word of the language on a patient read on the real road: what is found, what is not, and what nobody knows.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from cds_service.facts.model import Measurement
from cds_service.rules.words import WORDS
from tests.rules.bedside import judge

ESKD_3_YEARS = "diagnoses: [{concept: met-eskd, onset: 3 years ago}]"
PHOSPHATES = "labs: {phosphate: {2 days ago: 7.0 mg/dL, 30 days ago: 5.0 mg/dL, 60 days ago: 6.0 mg/dL}}"

TOLD = [
    # clause, patient, verdict
    ("has: met-eskd", "diagnoses: [met-eskd]", "yes"),
    ("has: met-eskd", "diagnoses: [{concept: met-eskd, clinical: resolved}]", "no"),
    ("has: met-eskd", "diagnoses: [{concept: met-eskd, verification: refuted}]", "no"),
    ("has: met-eskd", "", "no"),
    ("has: met-eskd", "not_loaded: [conditions]", "unknown"),
    ("has: met-eskd", "truncated: [conditions]", "unknown"),
    ("has: calcinosis", "diagnoses: [idi-scn]", "yes"),
    ("has: met-eskd\nwithin: days", "diagnoses: [{concept: met-eskd, onset: 90 days ago}]", "yes"),
    ("has: met-eskd\nwithin: days", "diagnoses: [{concept: met-eskd, onset: 91 days ago}]", "no"),
    ("has: met-eskd\nwithin: days", "diagnoses: [met-eskd]", "unknown"),
    ("has: met-eskd\nwithin: days", ESKD_3_YEARS, "no"),
    ("had: met-eskd", "diagnoses: [{concept: met-eskd, clinical: resolved}]", "yes"),
    ("had: met-eskd", "diagnoses: [{concept: met-eskd, verification: entered-in-error}]", "no"),
    ("had: met-eskd", "failed: [conditions]", "unknown"),
    ("taking: vka", "medications: [vka]", "yes"),
    ("taking: vka", "medications: [{concept: vka, statement: true}]", "yes"),
    ("taking: vka", "medications: [{concept: vka, status: completed}]", "no"),
    ("taking: vka", "medications: [{concept: vka, stopped: 1 day ago}]", "no"),
    ("taking: vka", "medications: [{concept: vka, stopped: in 2 days}]", "yes"),
    ("taking: vitamin-d", "medications: [vitd-nutr]", "yes"),
    ("taking: vka", "", "no"),
    ("taking: vka", "not_loaded: [statements]", "unknown"),
    ("taking: vka", "medications: [vka]\nnot_loaded: [statements]", "yes"),
    ("ordering: vka", "orders: [vka]", "yes"),
    ("ordering: vka", "orders: [{concept: vka, selected: false}]", "no"),
    ("ordering: vka", "orders: [nephrology]", "no"),
    ("ordering: vka", "orders: []", "no"),
    ("ordering: vka", "medications: [vka]", "no"),
    ("ordering: vka", "orders: [{unreadable: true}]", "unknown"),
    ("done: hemodialysis", "procedures: {hemodialysis: [3 years ago]}", "yes"),
    ("done: hemodialysis\nwithin: days", "procedures: {hemodialysis: [90 days ago]}", "yes"),
    ("done: hemodialysis\nwithin: days", "procedures: {hemodialysis: [91 days ago]}", "no"),
    ("done: hemodialysis\nwithin: days", "procedures: {hemodialysis: [2025]}", "unknown"),
    ("done: hemodialysis", "procedures: {hemodialysis: [{when: 2 days ago, status: not-done}]}", "no"),
    ("done: hemodialysis", "not_loaded: [procedures]", "unknown"),
    ("age: years\nat_least: adult", "patient: 18-year-old man", "yes"),
    ("age: years\nat_least: adult", "patient: 17-year-old man", "no"),
    ("age: years\nbelow: adult", "patient: 17-year-old man", "yes"),
    ("age: years\nbelow: adult", "patient: 18-year-old man", "no"),
    ("age: years\nat_least: adult\nbelow: old", "patient: 64-year-old man", "yes"),
    ("age: years\nat_least: adult\nbelow: old", "patient: 65-year-old man", "no"),
    ("age: years\nat_least: adult", "patient: man born 2008", "unknown"),
    ("age: years\nat_least: adult", "patient: man born 2008-02", "yes"),
    ("age: years\nat_least: adult", "patient: man of unknown age", "unknown"),
    ("age: years\nat_least: adult", "not_loaded: [patient]", "unknown"),
    ("age: years\nbelow: adult", "patient: infant of 3 days", "yes"),
    ("sex: female", "patient: 3-day-old girl", "yes"),
    ("sex: female", "patient: 58-year-old man", "no"),
    ("sex: male", "patient: 58-year-old person", "unknown"),
    ("is: eskd", "diagnoses: [dialysis-status]", "yes"),
    ("is: eskd", "procedures: {hemodialysis: [45 days ago]}", "yes"),
    ("is: eskd", "procedures: {hemodialysis: [46 days ago]}", "no"),
    ("is: advanced-ckd\negfr_below: egfr_limit", 'labs: {egfr: {9 days ago: "29 mL/min/{1.73_m2}"}}', "yes"),
    ("is: advanced-ckd\negfr_below: egfr_limit", 'labs: {egfr: {9 days ago: "30 mL/min/{1.73_m2}"}}', "no"),
    ("is: advanced-ckd\negfr_below: egfr_limit", 'labs: {egfr: {9 days ago: "<60 mL/min/{1.73_m2}"}}', "unknown"),
    ("enabled: on", "", "yes"),
    ("enabled: off", "", "no"),
    ("latest: phosphate\nabove: limit", PHOSPHATES, "yes"),
    ("latest: phosphate\nbelow: limit", PHOSPHATES, "no"),
    ("latest: phosphate\nabove: limit\nat_most: top", PHOSPHATES, "yes"),
    ("latest: phosphate\nabove: top", PHOSPHATES, "no"),
    ("latest: phosphate", "labs: {phosphate: {9 days ago: 1 mg/dL}}", "yes"),
    ("latest: phosphate", "", "no"),
    ("latest: phosphate\nabove: limit", "truncated: [observations]\n" + PHOSPHATES, "yes"),
    ("latest: phosphate\nbelow: limit", "truncated: [observations]\n" + PHOSPHATES, "no"),
    ("latest: phosphate\nwithin: days\nabove: limit", "labs: {phosphate: {91 days ago: 7 mg/dL}}", "no"),
    ("latest: phosphate\nwithin: days\nabove: limit", "labs: {phosphate: {2025: 7 mg/dL}}", "unknown"),
    ("latest: phosphate\nabove: limit", "not_loaded: [observations]", "unknown"),
    ("lowest: phosphate\nbelow: limit", PHOSPHATES, "yes"),
    ("lowest: phosphate\nabove: limit", PHOSPHATES, "no"),
    (
        "lowest: phosphate\nabove: limit",
        "truncated: [observations]\nlabs: {phosphate: {9 days ago: 7 mg/dL}}",
        "unknown",
    ),
    ("lowest: phosphate\nbelow: limit", 'labs: {phosphate: {9 days ago: 5 mg/dL, 8 days ago: "<6 mg/dL"}}', "yes"),
    ("lowest: phosphate\nbelow: limit", 'labs: {phosphate: {9 days ago: 6 mg/dL, 8 days ago: "<6 mg/dL"}}', "unknown"),
    ("highest: phosphate\nabove: limit", 'labs: {phosphate: {9 days ago: 6 mg/dL, 8 days ago: "<7 mg/dL"}}', "yes"),
    ("highest: phosphate\nat_least: top", PHOSPHATES, "yes"),
    ("highest: phosphate\nat_most: limit", PHOSPHATES, "no"),
    ("highest: phosphate\nwithin: days\nabove: top", PHOSPHATES, "no"),
    ("rise: phosphate\nwithin: days\nby_at_least: by", PHOSPHATES, "yes"),
    ("rise: phosphate\nwithin: days\nby_factor: twice", PHOSPHATES, "no"),
    ("rise: phosphate\nwithin: days\nby_at_least: by", "labs: {phosphate: {9 days ago: 7 mg/dL}}", "no"),
    ("rise: phosphate\nwithin: days\nby_at_least: by", "not_loaded: [observations]", "unknown"),
    ("rise: phosphate\nwithin: days\nby_factor: twice", "truncated: [observations]\n" + PHOSPHATES, "unknown"),
    (
        "rise: phosphate\nwithin: days\nby_at_least: by",
        'labs: {phosphate: {9 days ago: "<7 mg/dL", 2 days ago: 8 mg/dL}}',
        "unknown",
    ),
    (
        "rise: phosphate\nwithin: days\nby_factor: twice",
        "labs: {phosphate: {9 days ago: 3 mg/dL, 2 days ago: 6 mg/dL}}",
        "yes",
    ),
    (
        "fall: phosphate\nwithin: days\nby_at_least: by",
        "labs: {phosphate: {9 days ago: 7 mg/dL, 2 days ago: 6 mg/dL}}",
        "yes",
    ),
    (
        "fall: phosphate\nwithin: days\nby_factor: twice",
        "labs: {phosphate: {9 days ago: 7 mg/dL, 2 days ago: 3.6 mg/dL}}",
        "no",
    ),
    (
        "fall: phosphate\nwithin: days\nby_at_least: by",
        'labs: {phosphate: {9 days ago: 7 mg/dL, 2 days ago: ">5 mg/dL"}}',
        "unknown",
    ),
    ("not_done: phosphate\nwithin: days", "", "yes"),
    ("not_done: phosphate\nwithin: days", "labs: {phosphate: {90 days ago: 5 mg/dL}}", "no"),
    ("not_done: phosphate\nwithin: days", "labs: {phosphate: {91 days ago: 5 mg/dL}}", "yes"),
    ("not_done: phosphate\nwithin: days", "labs: {phosphate: {2025: 5 mg/dL}}", "unknown"),
    ("not_done: calcium\nwithin: days", "labs: {calcium-corrected: {9 days ago: 9 mg/dL}}", "no"),
    ("not_done: phosphate\nwithin: days", "not_loaded: [observations]", "unknown"),
    ("not_done: phosphate\nwithin: days", "truncated: [observations]", "unknown"),
    (
        "not_done: phosphate\nwithin: days",
        "truncated: [observations]\nlabs: {pth: {9 days ago: 90 pg/mL}}",
        "unknown",
    ),
    (
        "not_done: phosphate\nwithin: days",
        "truncated: [observations]\nlabs: {pth: {9 days ago: 90 pg/mL, 99 days ago: 90 pg/mL}}",
        "yes",
    ),
    ("not_done: phosphate\nwithin: days", "labs: {phosphate: {2 days ago: 5, 9 days ago: 5 mg/dL}}", "yes"),
    ("not_done: phosphate\nwithin: days", "labs: {phosphate: {9 days ago: 5, 2 days ago: 5 mg/dL}}", "no"),
    (
        "not_done: phosphate\nwithin: days",
        "labs: {phosphate: {2 days ago: {value: 5 mg/dL, status: cancelled}, 9 days ago: 5 mg/dL}}",
        "no",
    ),
    (
        "latest: ca-p-product\npaired_within: hours\nabove: product",
        "labs: {calcium-total: {9 days ago: 10 mg/dL}, phosphate: {9 days ago: 7.1 mg/dL}}",
        "yes",
    ),
    ("positive: nxp2", "labs: {nxp2: {900 days ago: positive}}", "yes"),
    ("positive: nxp2", "labs: {nxp2: {9 days ago: negative, 900 days ago: positive}}", "no"),
    ("positive: nxp2", "labs: {nxp2: {9 days ago: indeterminate, 900 days ago: positive}}", "unknown"),
    ("positive: nxp2", "", "no"),
    ("positive: nxp2", "not_loaded: [observations]", "unknown"),
    ("positive: ana\nwithin: days", "labs: {ana: {90 days ago: positive}}", "yes"),
    ("positive: ana\nwithin: days", "labs: {ana: {91 days ago: positive}}", "no"),
    ("positive: ana\nwithin: days", "labs: {ana: {2025: positive}}", "unknown"),
    ("positive: ana", 'labs: {ana: {9 days ago: {value: "1:640", interpretation: A}}}', "yes"),
    ("positive: ana", 'labs: {ana: {9 days ago: "1:640"}}', "unknown"),
    ("not_done: ana\nwithin: days", "labs: {ana: {9 days ago: negative}}", "no"),
    ("not_done: ana\nwithin: days", "labs: {ana: {99 days ago: negative}}", "yes"),
    ("done: capillary\ntimes: two", "procedures: {capillary: [2 days ago, 2 days ago]}", "yes"),
    ("done: capillary\ntimes: two", "procedures: {capillary: [2 days ago]}", "no"),
    ("done: capillary\ntimes: two", "truncated: [procedures]\nprocedures: {capillary: [2 days ago]}", "unknown"),
    ("done: capillary\ntimes: two\nwithin: days", "procedures: {capillary: [2 days ago, 90 days ago]}", "yes"),
    ("done: capillary\ntimes: two\nwithin: days", "procedures: {capillary: [2 days ago, 91 days ago]}", "no"),
    ("done: capillary\ntimes: two\nwithin: days", "procedures: {capillary: [2 days ago, 2025]}", "unknown"),
    ("age: days\nbelow: newborn", "patient: infant of 364 days", "yes"),
    ("age: days\nbelow: newborn", "patient: infant of 365 days", "no"),
    ("age: days\nat_least: newborn", "patient: infant of 365 days", "yes"),
    ("age: days\nbelow: newborn", "patient: girl born 2025-03", "unknown"),
    ("age: days\nbelow: newborn", "patient: girl born 2025-04", "yes"),
    ("latest: pth-ratio\nabove: nine\nupper_limit: uln", "labs: {pth: {9 days ago: 586 pg/mL}}", "yes"),
    ("latest: pth-ratio\nabove: nine\nupper_limit: uln", "labs: {pth: {9 days ago: 585 pg/mL}}", "no"),
    ("latest: pth-ratio\nabove: nine\nupper_limit: uln", 'labs: {pth: {9 days ago: ">500 pg/mL"}}', "unknown"),
    (
        "latest: pth-ratio\nabove: nine\nupper_limit: uln",
        "labs: {pth: {9 days ago: {value: 586 pg/mL, reference_high: 88 pg/mL}}}",
        "no",
    ),
    (
        "is: hypercalcemia\ncalcium_above: ca_high\nionized_above: ica_high\nwithin: days",
        "truncated: [observations]\nlabs: {calcium-total: {9 days ago: 9 mg/dL}}",
        "unknown",
    ),
]


@pytest.mark.parametrize(
    ("when", "scene", "verdict"), TOLD, ids=[" / ".join((*when.split("\n"), scene)) for when, scene, _ in TOLD]
)
def test_a_word_says_yes_no_or_unknown(when: str, scene: str, verdict: str) -> None:
    told = judge(when, scene)

    assert verdict == told.verdict.value, "\n".join(told.lines())
    assert bool(told.missing) is (verdict == "unknown"), "an UNKNOWN says what is missing, and nothing else does"


@pytest.mark.parametrize("word", WORDS)
def test_every_word_is_tried_with_yes_and_no(word: str) -> None:
    tried = {verdict for when, _, verdict in TOLD if when.startswith(f"{word}:")}

    assert {"yes", "no"} <= tried


def test_a_trail_names_value_unit_and_day() -> None:
    told = judge("latest: phosphate\nabove: limit", "labs: {phosphate: {9 days ago: 2.3 mmol/L}}")

    assert "✓ latest Phosphate above 5.5 mg/dL: 2.3 mmol/L (7.12 mg/dL), 2026-02-20" == next(told.lines())


def test_a_calcium_without_albumin_is_shown_in_the_unit_it_was_reported_in() -> None:
    """
    Its value is converted for comparison; the trail must not put that number beside the other unit.
    """
    told = judge("latest: corrected-calcium", "labs: {calcium-total: {9 days ago: 2.8 mmol/L}}")

    assert "2.8 mmol/L" in told.label


def test_a_trail_says_why_a_newer_result_was_not_used() -> None:
    told = judge(
        "latest: phosphate\nabove: limit", "labs: {phosphate: {1 day ago: {value: 7 mg/dL, status: preliminary}}}"
    )

    assert "a result of 2026-02-28 was set aside: it is preliminary" in told.label


@pytest.mark.parametrize(
    ("scene", "absent"),
    [("", "Phosphate"), ("labs: {phosphate: {2 days ago: 70 mg/dL}}", "Phosphate")],
)
def test_an_absence_that_is_the_finding_is_named(scene: str, absent: str) -> None:
    assert absent == judge("not_done: phosphate\nwithin: days", scene).absent


@pytest.mark.parametrize(
    ("when", "results", "shown"),
    [
        ("highest: phosphate\nabove: limit", "9 days ago: 8 mg/dL, 2 days ago: 6 mg/dL", "8"),
        ("highest: phosphate\nabove: limit", "9 days ago: 6 mg/dL, 2 days ago: 8 mg/dL", "8"),
        ("highest: phosphate\nabove: top", "9 days ago: 6 mg/dL, 2 days ago: 5 mg/dL", "6"),
        ("lowest: phosphate\nbelow: limit", "9 days ago: 3 mg/dL, 2 days ago: 4 mg/dL", "3"),
        ("lowest: phosphate\nbelow: limit", "9 days ago: 3 mg/dL, 4 days ago: 2 mg/dL, 2 days ago: 4 mg/dL", "2"),
        ("latest: phosphate\nabove: limit", "9 days ago: 8 mg/dL, 2 days ago: 6 mg/dL", "6"),
    ],
)
def test_the_result_that_is_shown_is_the_one_that_was_asked_for(when: str, results: str, shown: str) -> None:
    [found] = judge(when, f"labs: {{phosphate: {{{results}}}}}").items

    assert isinstance(found, Measurement)
    assert Decimal(shown) == found.value
