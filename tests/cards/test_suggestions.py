"""
What a card offers to do about orders: a safer medication that fits, and the harmful order taken away - never what an
emergency asks for.
"""

from __future__ import annotations

import pytest

from tests.cards.scenes import book, cards

CC08 = "calcium-vitd-order-high-product"
HIGH = "diagnoses: [met-eskd]\nlabs: {phosphate: {yesterday: 8.4 mg/dL}, calcium-total: {yesterday: 9.5 mg/dL}}\n"


def offered(rule: str, scene: str) -> list[str]:
    """Return what the cards suggest about orders: what they take away, and what they order instead."""
    labels = [offer.label for card in cards(rule, scene) for offer in card.suggestions]
    return [label for label in labels if label.startswith("Remove") or "instead" in label]


BINDERS = [f"Order {name} instead, without a dose" for name in ("sevelamer", "lanthanum")]
MORE = [f"Order {name} instead, without a dose" for name in ("sucroferric oxyhydroxide", "ferric citrate")]
CINACALCET = ["Order cinacalcet instead, without a dose"]


@pytest.mark.parametrize(
    ("order", "instead"),
    [
        ("ca-binder", [*BINDERS, *MORE]),
        ("ca-supp", [*BINDERS, *MORE]),
        ("vitd-active", CINACALCET),
        ("vitd-nutr", []),
        ("pth-analog", []),
        ("ca-iv", []),
    ],
)
def test_a_safer_medication_fits_the_order(order: str, instead: list[str]) -> None:
    found = offered(CC08, f"{HIGH}orders: [{order}]\n")

    assert instead == [label for label in found if "instead" in label]
    assert 1 == len([label for label in found if label.startswith("Remove")])


def test_each_of_two_orders_gets_what_fits_it() -> None:
    found = offered(CC08, f"{HIGH}orders: [vitd-active, ca-binder]\n")

    assert [*BINDERS, *MORE, *CINACALCET] == [label for label in found if "instead" in label]
    assert 2 == len([label for label in found if label.startswith("Remove")])


def test_an_aluminium_binder_is_replaced_by_one_without() -> None:
    assert BINDERS == offered("al-mg-antacid-renal", "diagnoses: [met-eskd]\norders: [al-antacid]\n")


def test_what_the_patient_has_is_not_offered_again() -> None:
    assert [] == [
        label
        for label in offered(CC08, f"{HIGH}medications: [nca-binder]\norders: [ca-binder]\n")
        if "instead" in label
    ]


EMERGENCIES = {
    "low ionized calcium": "labs: {calcium-ionized: {2 hours ago: 0.8 mmol/L}, phosphate: {2 hours ago: 9.0 mg/dL}, "
    "calcium-total: {2 hours ago: 8.0 mg/dL}}\n",
    "low calcium": "labs: {calcium-total: {2 hours ago: 7.0 mg/dL}, phosphate: {2 hours ago: 9.0 mg/dL}}\n",
    "hyperkalemia": "labs: {potassium: {2 hours ago: 6.9 mmol/L}, phosphate: {2 hours ago: 9.0 mg/dL}, "
    "calcium-total: {2 hours ago: 9.0 mg/dL}}\n",
}


@pytest.mark.parametrize("labs", EMERGENCIES.values(), ids=EMERGENCIES)
def test_iv_calcium_in_an_emergency_is_not_offered_to_be_taken_away(labs: str) -> None:
    scene = f"diagnoses: [met-eskd]\n{labs}"

    assert cards(CC08, f"{scene}orders: [ca-iv]\n")
    assert [] == offered(CC08, f"{scene}orders: [ca-iv]\n")


def test_beside_an_emergency_another_order_is_still_offered_to_be_taken_away() -> None:
    scene = f"diagnoses: [met-eskd]\n{EMERGENCIES['low ionized calcium']}"

    found = offered(CC08, f"{scene}orders: [ca-iv, vitd-active]\n")

    assert ["Remove the order: Active vitamin D"] == [label for label in found if label.startswith("Remove")]


def test_in_tumor_lysis_calcium_for_symptoms_is_not_offered_to_be_taken_away() -> None:
    symptoms = "{concept: hypoca, text: Symptomatic hypocalcemia with tetany}"
    labs = "labs: {phosphate: {2 hours ago: 9.0 mg/dL}, calcium-total: {2 hours ago: 8.0 mg/dL}}\n"

    scene = f"diagnoses: [iat-tls, {symptoms}]\n{labs}orders: [ca-iv]\n"

    assert cards("tls-parenteral-calcium", scene)
    assert [] == offered("tls-parenteral-calcium", scene)
    assert offered("tls-parenteral-calcium", scene.replace(f", {symptoms}", ""))


def test_what_is_replaced_is_a_medication_that_there_is() -> None:
    words = book().terminology

    for order in words.order_medications().values():
        assert order.instead_of
        assert {"medication"} == {words.kind(name) for name in order.instead_of}
