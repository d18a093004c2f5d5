"""
To which type of calcinosis a record points (KNOWLEDGE.md 1.14): all that match, none forced.
"""

from __future__ import annotations

import pytest

from cds_service.facts import subtype
from tests.rules.bedside import facts, words

NORMAL = (
    "labs: {calcium-total: {5 days ago: 9.4 mg/dL}, albumin: {5 days ago: 4.2 g/dL}, "
    "phosphate: {5 days ago: 3.5 mg/dL}}"
)


def types(scene: str) -> list[str]:
    """List the types that a patient's record fits."""
    return [reading.type for reading in subtype.read(facts(scene), words())]


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        ("", []),
        (NORMAL, []),
        ("diagnoses: [calciphylaxis]", ["mixed"]),
        ("diagnoses: [ctd-ssc]\n" + NORMAL, []),
        ("diagnoses: [calcinosis-cutis, ctd-ssc]\n" + NORMAL, ["dystrophic"]),
        ("diagnoses: [calcinosis-cutis, dys-burn]\n" + NORMAL, ["dystrophic"]),
        ("diagnoses: [calcinosis-cutis, inh-pxe]\n" + NORMAL, ["dystrophic"]),
        ("diagnoses: [calcinosis-cutis]\n" + NORMAL, ["idiopathic"]),
        ("diagnoses: [calcinosis-cutis]", ["cannot be classified"]),
        ("diagnoses: [calcinosis-cutis, ctd-ssc]", ["cannot be classified"]),
        ("diagnoses: [calcinosis-cutis, calciphylaxis]\n" + NORMAL.replace("3.5", "5.5"), ["mixed", "metastatic"]),
        ("diagnoses: [calcinosis-cutis]\n" + NORMAL.replace("3.5", "4.6"), ["metastatic"]),
        ("diagnoses: [calcinosis-cutis]\n" + NORMAL.replace("3.5", "4.5"), ["idiopathic"]),
        ("diagnoses: [calcinosis-cutis]\n" + NORMAL.replace("9.4", "10.5"), ["idiopathic"]),
        ("diagnoses: [calcinosis-cutis]\n" + NORMAL.replace("9.4", "10.501"), ["metastatic"]),
        ("diagnoses: [calcinosis-cutis, ctd-ssc]\n" + NORMAL.replace("9.4", "10.6"), ["metastatic"]),
        ("patient: 8-year-old girl\ndiagnoses: [calcinosis-cutis]\n" + NORMAL.replace("3.5", "5.5"), ["idiopathic"]),
        ("patient: 13-year-old girl\ndiagnoses: [calcinosis-cutis]\n" + NORMAL.replace("3.5", "5.6"), ["metastatic"]),
        ("diagnoses: [calcinosis-cutis]\n" + NORMAL.replace("5 days", "200 days"), ["cannot be classified"]),
        ("diagnoses: [calcinosis-cutis]\nnot_loaded: [observations]", ["cannot be classified"]),
    ],
)
def test_a_record_points_to_the_types_that_it_fits(scene: str, expected: list[str]) -> None:
    assert expected == types(scene)


@pytest.mark.parametrize(("hours", "expected"), [(73, ["metastatic"]), (74, ["idiopathic"])])
def test_a_product_counts_if_its_factors_lie_72_hours_apart_at_most(hours: int, expected: list[str]) -> None:
    """
    In a child calcium and phosphate may both be normal and their product is not.
    """
    labs = f"{{calcium-total: {{1 hours ago: 10.4 mg/dL}}, phosphate: {{{hours} hours ago: 6.4 mg/dL}}}}"
    scene = f"patient: 8-year-old girl\ndiagnoses: [calcinosis-cutis]\nlabs: {labs}"

    assert expected == types(scene)


FRESH = "diagnoses: [{concept: calcinosis-cutis, onset: 10 days ago}"


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        (FRESH + "]\nprocedures: {tpn: [30 days ago]}\n" + NORMAL, ["iatrogenic"]),
        (FRESH + "]\nprocedures: {tpn: [61 days ago]}\n" + NORMAL, ["idiopathic"]),
        (FRESH.replace("10 days", "61 days") + "]\nprocedures: {tpn: [30 days ago]}\n" + NORMAL, ["idiopathic"]),
        (FRESH + ", {concept: iat-parenteral, onset: 20 days ago}]\n" + NORMAL, ["iatrogenic"]),
        (FRESH + ", {concept: iat-parenteral, onset: 61 days ago}]\n" + NORMAL, ["idiopathic"]),
        (FRESH + "]\nprocedures: {electrodes: [60 days ago]}\n" + NORMAL, ["iatrogenic"]),
        (FRESH + "]\nprocedures: {electrodes: [61 days ago]}\n" + NORMAL, ["idiopathic"]),
        (FRESH + ", ctd-ssc]\nprocedures: {tpn: [30 days ago]}\n" + NORMAL, ["dystrophic", "iatrogenic"]),
        (FRESH + "]\nprocedures: {tpn: [30 days ago]}", ["cannot be classified", "iatrogenic"]),
    ],
)
def test_calcinosis_soon_after_an_exposure_may_be_iatrogenic(scene: str, expected: list[str]) -> None:
    assert expected == types(scene)


@pytest.mark.parametrize(
    ("age", "sticks", "iatrogenic"), [("60 days", 3, True), ("60 days", 2, False), ("2 years", 3, False)]
)
def test_three_heel_sticks_are_an_exposure_in_the_first_year(age: str, sticks: int, *, iatrogenic: bool) -> None:
    days = ", ".join(f"{day} days ago" for day in range(20, 20 + sticks))
    scene = f"patient: infant of {age}\n{FRESH}]\nprocedures: {{capillary: [{days}]}}\n{NORMAL}"

    assert iatrogenic is ("iatrogenic" in types(scene))


def test_what_was_not_loaded_makes_nothing_idiopathic() -> None:
    """
    A list of conditions that came only in part may hold the cause.
    """
    assert [] == types("diagnoses: [calcinosis-cutis]\ntruncated: [conditions]\n" + NORMAL)


def test_a_reading_says_why() -> None:
    [reading] = subtype.read(facts("diagnoses: [calcinosis-cutis]\n" + NORMAL.replace("3.5", "6.0")), words())

    assert "6.0 mg/dL" in str(reading)
