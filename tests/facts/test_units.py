"""
Units of results: read in any spelling, converted exactly, never guessed (RELIABILITY.md section 4, KNOWLEDGE.md 2.2).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.build import LEFT_OUT, TESTS, UCUM, amounts, measured, observation, quantity, reasons
from tests.conftest import TakeIn


@pytest.mark.parametrize(
    "unit",
    [
        "mg/dL",
        "MG/DL",
        " mg/dl ",
        "mg / dL",
        "mg%",
        "mg/100 mL",
        "mg/100ML",
        "mg/deciliter",
        "mg{phosphate}/dL",
        "mg/dL{as P}",
    ],
)
def test_a_unit_that_stands_only_in_the_text_is_read_in_any_spelling(facts: TakeIn, unit: str) -> None:
    found = facts(observation(valueQuantity={"value": 7.1, "unit": unit}))

    assert [7.1] == amounts(found, "phosphate")


@pytest.mark.parametrize("unit", ["umol/L", "\u00b5mol/L", "\u03bcmol/L", "mcmol/L", "micromol/L", "UMOL/L"])
def test_micro_is_read_in_any_spelling(facts: TakeIn, unit: str) -> None:
    found = facts(observation("creatinine", 884, LEFT_OUT, valueQuantity={"value": 884, "unit": unit}))

    assert [pytest.approx(10.0)] == amounts(found, "creatinine")


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ({"unit": "mg/dL"}, []),
        ({"code": "mg/dL", "system": UCUM}, []),
        ({"code": "mg/dL"}, []),
        ({"unit": "mg/dL", "code": "mg/dL", "system": UCUM}, []),
        ({"unit": "milligrams per deciliter of blood", "code": "mg/dL", "system": UCUM}, []),
        ({"unit": "mg/dL", "code": "258797006", "system": "http://snomed.info/sct"}, []),
        ({"unit": "mg/dL", "code": "mmol/L", "system": UCUM}, ["unit-conflict"]),
        ({"unit": "mmol/L", "code": "mg/dL"}, ["unit-conflict"]),
        ({"unit": "mg/dL", "code": "mmol/kg", "system": UCUM}, ["unit-conflict"]),
        ({}, ["unit-missing"]),
        ({"unit": "", "code": ""}, ["unit-missing"]),
        ({"unit": None}, ["unit-missing"]),
        ({"unit": "mg/L", "code": "mg/L", "system": UCUM}, ["unit-unknown"]),
        ({"unit": "meq/L"}, ["unit-unknown"]),
        ({"unit": "furlong"}, ["unit-unknown"]),
        ({"code": "mg/dL", "system": "http://snomed.info/sct"}, ["unit-unknown"]),
        ({"unit": "mg/dL" * 100}, ["unit-unknown"]),
        ({"unit": 5}, ["misfit", "not-numeric"]),
    ],
    ids=str,
)
def test_a_unit_is_known_or_the_result_is_not_used(facts: TakeIn, unit: dict[str, Any], expected: list[str]) -> None:
    found = facts(observation(valueQuantity={"value": 7.1, **unit}))

    assert ([] if expected else [7.1]) == amounts(found, "phosphate")
    assert set(reasons(found)) <= set(expected)
    assert bool(expected) == bool(reasons(found))


@pytest.mark.parametrize("value", [0.4, 1.0, 2.3, 4.4, 6.0, 12.0])
@pytest.mark.parametrize("test", ["phosphate", "calcium-total", "pth"])
def test_a_missing_unit_is_never_guessed_from_the_value_or_the_loinc(facts: TakeIn, test: str, value: float) -> None:
    """
    Phosphate of 0.4 to 6.0 may be mg/dL or mmol/L, and a molar LOINC proves nothing.
    """
    molar = {"phosphate": "14879-1", "calcium-total": "2000-8", "pth": "14866-8"}[test]
    found = facts(observation(TESTS[test][0], value, LEFT_OUT), observation(molar, value, LEFT_OUT))

    assert set() == measured(found)


def test_a_molar_code_with_a_mass_unit_is_read_by_its_unit(facts: TakeIn) -> None:
    assert [7.1] == amounts(facts(observation("14879-1", 7.1, "mg/dL")), "phosphate")


# --- conversion, against factors computed here from molar masses -----------------------------------------------------

CALCIUM, PHOSPHORUS, MAGNESIUM, ALUMINIUM = 40.078, 30.974, 24.305, 26.982
CREATININE, URATE, UREA_NITROGEN = 113.12, 168.11, 28.014
ALBUMIN, PTH, CALCIDIOL, CALCITRIOL = 66_500, 9_425, 400.64, 416.64


def mass_per_decilitre(molar_mass: float) -> float:
    """Return the mg/dL that 1 mmol/L is."""
    return molar_mass / 10


FACTORS = [
    ("17861-6", "calcium-total", "mmol/L", 2.5, mass_per_decilitre(CALCIUM)),
    ("17861-6", "calcium-total", "meq/L", 5.0, mass_per_decilitre(CALCIUM) / 2),
    ("46099-8", "calcium-corrected", "mmol/L", 2.5, mass_per_decilitre(CALCIUM)),
    ("1995-0", "calcium-ionized", "mg/dL", 5.0, 1 / mass_per_decilitre(CALCIUM)),
    ("2777-1", "phosphate", "mmol/L", 2.0, mass_per_decilitre(PHOSPHORUS)),
    ("50675-8", "cap-product", "mmol2/L2", 5.0, mass_per_decilitre(CALCIUM) * mass_per_decilitre(PHOSPHORUS)),
    ("1751-7", "albumin", "g/L", 35, 0.1),
    ("1751-7", "albumin", "mmol/L", 0.5, ALBUMIN / 10_000),
    ("2731-8", "pth", "ng/L", 300, 1),
    ("2731-8", "pth", "pmol/L", 30, PTH / 1_000),
    ("6768-6", "alp", "ukat/L", 2, 60),
    ("62292-8", "vitd25", "nmol/L", 75, CALCIDIOL / 1_000),
    ("1649-3", "vitd125", "pmol/L", 100, CALCITRIOL / 1_000),
    ("2160-0", "creatinine", "umol/L", 500, mass_per_decilitre(CREATININE) / 1_000),
    ("3094-0", "bun", "mmol/L", 20, mass_per_decilitre(UREA_NITROGEN)),
    ("19123-9", "magnesium", "mmol/L", 1.0, mass_per_decilitre(MAGNESIUM)),
    ("19123-9", "magnesium", "meq/L", 2.0, mass_per_decilitre(MAGNESIUM) / 2),
    ("3084-1", "urate", "umol/L", 400, mass_per_decilitre(URATE) / 1_000),
    ("2823-3", "potassium", "meq/L", 5.0, 1),
    ("1963-8", "bicarbonate", "meq/L", 24, 1),
    ("1988-5", "crp", "mg/dL", 2, 10),
    ("14593-8", "aluminum", "umol/L", 1, ALUMINIUM),
    ("6874-2", "urine-ca-24h", "mmol/(24.h)", 5, CALCIUM),
    ("2779-7", "urine-p-24h", "mmol/(24.h)", 20, PHOSPHORUS),
    ("9321-1", "urine-ca-cr", "mmol/mmol", 0.5, CALCIUM / CREATININE),
    ("29463-7", "weight", "[lb_av]", 150, 0.45359237),
    ("2276-4", "ferritin", "ug/L", 100, 1),
]


@pytest.mark.parametrize(
    ("code", "test", "unit", "value", "factor"), FACTORS, ids=[f"{test} {unit}" for _, test, unit, _, _ in FACTORS]
)
def test_conversion_agrees_with_molar_masses(
    facts: TakeIn, code: str, test: str, unit: str, value: float, factor: float
) -> None:
    found = facts(observation(code, value, unit))

    assert [pytest.approx(value * factor, rel=2e-3)] == amounts(found, test)


@pytest.mark.parametrize(
    ("value", "unit", "exact"),
    [(2.3, "mmol/L", "7.12402"), (1.7757, "mmol/L", "5.50005318"), (5.5, "mg/dL", "5.5")],
)
def test_conversion_is_decimal_and_never_rounded(facts: TakeIn, value: float, unit: str, exact: str) -> None:
    [result] = facts(observation(value=value, unit=unit)).measurements["phosphate"]

    assert Decimal(exact) == result.value


def test_value_and_unit_are_kept_as_the_laboratory_wrote_them(facts: TakeIn) -> None:
    written = quantity(2.30, "mmol/L", unit="MMOL/l")
    [result] = facts(observation(valueQuantity=written)).measurements["phosphate"]

    assert (Decimal("2.3"), "MMOL/l") == (result.reported, result.unit)


def test_results_in_two_units_stand_in_one_series(facts: TakeIn) -> None:
    found = facts(observation(value=6.19, days=9), observation(value=2.0, unit="mmol/L", days=10))

    assert [6.19, pytest.approx(6.1948)] == amounts(found, "phosphate")


def test_every_unit_a_test_can_be_in_is_one_that_records_can_spell(words: Any) -> None:
    spelt = {
        analyte.id: [unit for unit in analyte.factors if words.units.canonical(unit) != unit]
        for analyte in words.analytes.values()
    }

    assert {} == {name: units for name, units in spelt.items() if units}
