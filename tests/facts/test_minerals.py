"""
Phosphate against the limit of the age, and calcium and phosphate normal or abnormal (KNOWLEDGE.md 2.1, 5.1).
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from cds_service.facts.minerals import PHOSPHATE_BY_AGE
from cds_service.schemas import strict_yaml
from tests.rules.bedside import CONTENT, judge

HIGH = "is: phosphate-high-for-age\nwithin: days\nphosphate_above: phosphate_adult"
PERSISTS = "is: phosphate-persistently-high\nwithin: days\nphosphate_above: phosphate_adult"
NORMAL = "is: mineral-labs-normal\nwithin: days\ncalcium_above: ca_high\nphosphate_above: phosphate_adult"
ABNORMAL = (
    "is: mineral-labs-abnormal\nwithin: days\ncalcium_above: ca_high\nphosphate_above: phosphate_adult\n"
    "product_above: product_limit\npaired_within: hours"
)
GOOD = "labs: {calcium-total: {9 days ago: 9.5 mg/dL}, phosphate: {9 days ago: 4.0 mg/dL}}"


def test_the_limits_of_children_are_those_of_the_content() -> None:
    labs = strict_yaml.read(CONTENT / "concepts" / "labs.yaml", shown_as="labs.yaml")["concepts"]
    told = [
        (row["to_age"] + 1, Decimal(row["high"]))
        for row in labs["phosphate"]["upper_limit_by_age"]
        if row["to_age"] is not None
    ]

    assert tuple(told) == PHOSPHATE_BY_AGE


@pytest.mark.parametrize(
    ("patient", "limit"),
    [
        ("infant of 0 days", "8.0"),
        ("infant of 364 days", "8.0"),
        ("1-year-old boy", "6.5"),
        ("11-year-old girl", "6.5"),
        ("12-year-old girl", "5.5"),
        ("17-year-old boy", "5.5"),
        ("18-year-old man", "4.5"),
        ("93-year-old woman", "4.5"),
    ],
)
def test_a_phosphate_is_high_above_the_limit_of_the_age_and_not_at_it(patient: str, limit: str) -> None:
    def verdict(value: Decimal) -> str:
        return judge(HIGH, f"patient: {patient}\nlabs: {{phosphate: {{today: {value} mg/dL}}}}").verdict.value

    assert "no" == verdict(Decimal(limit))
    assert "yes" == verdict(Decimal(limit) + Decimal("0.001"))


@pytest.mark.parametrize(
    ("value", "verdict"), [("4.5", "no"), ("4.6", "unknown"), ("8.0", "unknown"), ("8.1", "yes"), ("<4", "no")]
)
def test_an_unknown_age_leaves_open_only_what_the_ages_decide_differently(value: str, verdict: str) -> None:
    told = judge(HIGH, f'patient: girl of unknown age\nlabs: {{phosphate: {{today: "{value} mg/dL"}}}}')

    assert verdict == told.verdict.value
    assert (("birth date",) if verdict == "unknown" else ()) == told.missing


def test_a_birth_year_on_both_sides_of_a_limit_leaves_it_open() -> None:
    assert "unknown" == judge(HIGH, "patient: boy born 2014\nlabs: {phosphate: {today: 6.0 mg/dL}}").verdict.value


def test_the_age_at_the_time_of_the_result_counts() -> None:
    """
    Born 20 days short of 18 years before the result: then 5.5 held, although the patient is 18 today.
    """
    scene = "patient: boy born 2008-02-20\nlabs: {phosphate: {40 days ago: 5.0 mg/dL}}"

    assert "no" == judge(HIGH, scene).verdict.value


@pytest.mark.parametrize(
    ("scene", "verdict"),
    [
        ("", "no"),
        ("not_loaded: [observations]", "unknown"),
        ("labs: {phosphate: {91 days ago: 7 mg/dL}}", "no"),
        ("labs: {phosphate: {90 days ago: 7 mg/dL}}", "yes"),
        ("labs: {phosphate: {2025: 7 mg/dL}}", "unknown"),
        ("labs: {phosphate: {2 days ago: 4 mg/dL, 9 days ago: 7 mg/dL}}", "no"),
        ('labs: {phosphate: {2 days ago: ">4 mg/dL"}}', "unknown"),
    ],
)
def test_the_newest_phosphate_of_the_time_decides(scene: str, verdict: str) -> None:
    assert verdict == judge(HIGH, scene).verdict.value


@pytest.mark.parametrize(
    ("scene", "verdict"),
    [
        ("labs: {phosphate: {today: 5 mg/dL, 14 days ago: 5 mg/dL}}", "yes"),
        ("labs: {phosphate: {today: 5 mg/dL, 13 days ago: 5 mg/dL}}", "no"),
        ("labs: {phosphate: {today: 5 mg/dL, 20 days ago: 4 mg/dL}}", "no"),
        ("labs: {phosphate: {today: 4 mg/dL, 20 days ago: 5 mg/dL, 40 days ago: 5 mg/dL}}", "no"),
        ("labs: {phosphate: {today: 5 mg/dL, 91 days ago: 5 mg/dL}}", "no"),
        ("labs: {phosphate: {today: 5 mg/dL, 20 days ago: '>4 mg/dL'}}", "unknown"),
        ("truncated: [observations]\nlabs: {phosphate: {today: 5 mg/dL}}", "unknown"),
        ("", "no"),
        ("not_loaded: [observations]", "unknown"),
        ("patient: girl of unknown age\nlabs: {phosphate: {today: 9 mg/dL, 20 days ago: 9 mg/dL}}", "yes"),
    ],
)
def test_two_results_at_least_14_days_apart_persist(scene: str, verdict: str) -> None:
    assert verdict == judge(PERSISTS, scene).verdict.value


@pytest.mark.parametrize(
    ("scene", "verdict", "says"),
    [
        (GOOD, "yes", "not high"),
        ("labs: {calcium-total: {9 days ago: 10.5 mg/dL}, phosphate: {9 days ago: 4.5 mg/dL}}", "yes", ""),
        ("labs: {calcium-total: {9 days ago: 10.6 mg/dL}, phosphate: {9 days ago: 4.5 mg/dL}}", "no", "hypercalcemia"),
        ("labs: {calcium-total: {9 days ago: 10.5 mg/dL}, phosphate: {9 days ago: 4.6 mg/dL}}", "no", "phosphate"),
        ("labs: {calcium-ionized: {9 days ago: 1.2 mmol/L}, phosphate: {9 days ago: 4 mg/dL}}", "yes", "calcium"),
        ("labs: {calcium-ionized: {9 days ago: 1.33 mmol/L}, phosphate: {9 days ago: 4 mg/dL}}", "yes", "calcium"),
        ("labs: {calcium-ionized: {9 days ago: 1.3301 mmol/L}, phosphate: {9 days ago: 4 mg/dL}}", "no", "ionized"),
        ("labs: {phosphate: {9 days ago: 4.0 mg/dL}}", "no", "no usable calcium"),
        ("labs: {calcium-total: {9 days ago: 9.5 mg/dL}}", "no", "no usable phosphate"),
        ("", "no", "no usable calcium and no usable phosphate"),
        (
            "labs: {calcium-total: {91 days ago: 9.5 mg/dL}, phosphate: {9 days ago: 4 mg/dL}}",
            "no",
            "no usable calcium",
        ),
        ("not_loaded: [observations]", "unknown", ""),
        ("truncated: [observations]\nlabs: {phosphate: {9 days ago: 4.0 mg/dL}}", "unknown", ""),
        ("truncated: [observations]\nlabs: {phosphate: {9 days ago: 8.0 mg/dL}}", "no", "phosphate"),
        ("patient: girl of unknown age\n" + GOOD.replace("4.0", "6.0"), "unknown", ""),
    ],
)
def test_normal_means_known_and_not_high(scene: str, verdict: str, says: str) -> None:
    told = judge(NORMAL, scene)

    assert verdict == told.verdict.value
    assert says in told.label
    assert bool(told.missing) is (verdict == "unknown")


@pytest.mark.parametrize(
    ("scene", "verdict"),
    [
        (GOOD, "no"),
        ("labs: {calcium-total: {9 days ago: 10.6 mg/dL}}", "yes"),
        ("labs: {phosphate: {9 days ago: 4.6 mg/dL}}", "yes"),
        ("patient: 10-year-old girl\n" + GOOD.replace("4.0", "6.4"), "no"),  # 9.5 x 6.4 = 60.8
        ("patient: 11-year-old girl\nlabs: {cap-product: {9 days ago: 65 mg2/dL2}}", "no"),
        ("patient: 11-year-old girl\nlabs: {cap-product: {9 days ago: 65.1 mg2/dL2}}", "yes"),
        ("patient: 12-year-old girl\nlabs: {cap-product: {today: 55.1 mg2/dL2}}", "yes"),
        ("labs: {cap-product: {9 days ago: 55 mg2/dL2}}", "no"),
        ("", "no"),
        ("not_loaded: [observations]", "unknown"),
    ],
)
def test_abnormal_means_that_one_of_three_is_high(scene: str, verdict: str) -> None:
    assert verdict == judge(ABNORMAL, scene).verdict.value


@pytest.mark.parametrize("phosphate", ["3.0", "4.5", "4.6", "6.0", "9.0"])
@pytest.mark.parametrize("calcium", ["8.0", "10.5", "10.6", "13.0"])
def test_an_adult_is_never_normal_and_abnormal_at_once(calcium: str, phosphate: str) -> None:
    scene = f"labs: {{calcium-total: {{today: {calcium} mg/dL}}, phosphate: {{today: {phosphate} mg/dL}}}}"

    assert {judge(NORMAL, scene).verdict.value, judge(ABNORMAL, scene).verdict.value} == {"yes", "no"}


def test_a_higher_phosphate_never_turns_yes_into_no() -> None:
    order = {"no": 0, "unknown": 1, "yes": 2}
    verdicts = [
        order[judge(HIGH, f"patient: girl born 2025\nlabs: {{phosphate: {{today: {ten / 10} mg/dL}}}}").verdict.value]
        for ten in range(30, 100, 5)
    ]

    assert sorted(verdicts) == verdicts
    assert {0, 1, 2} == set(verdicts)
