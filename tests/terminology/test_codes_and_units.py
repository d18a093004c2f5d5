"""
Code systems in any spelling, ICD-10 with or without dots, units in any spelling; what is not known is never guessed.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from cds_service.terminology import Analyte, CodeSystems, Quantity, Terminology, UnitTable
from cds_service.terminology.codes import icd_key, prefixes
from cds_service.terminology.units import factor

SYSTEMS = CodeSystems({"LOINC": "http://loinc.org"}, {"LOINC": ["urn:oid:2.16.840.1.113883.6.1"]})


@pytest.mark.parametrize(
    "uri",
    [
        "http://loinc.org",
        "https://loinc.org",
        "HTTP://LOINC.ORG/",
        " http://loinc.org ",
        "urn:oid:2.16.840.1.113883.6.1",
        "URN:OID:2.16.840.1.113883.6.1",
    ],
)
def test_a_system_has_one_name_in_every_spelling(uri: str) -> None:
    assert "LOINC" == SYSTEMS.name(uri)


@pytest.mark.parametrize(
    "uri", [None, "", "loinc", "http://loinc.org/vs", "http://loinc.org.evil.example", "urn:oid:2.16.840.1.113883.6.10"]
)
def test_another_system_has_none(uri: str | None) -> None:
    assert None is SYSTEMS.name(uri)


def test_a_site_may_add_its_own_names_without_changing_ours() -> None:
    widened = SYSTEMS.with_aliases({"urn:local:labs": "LOINC"})

    assert ("LOINC", None) == (widened.name("URN:local:labs/"), SYSTEMS.name("urn:local:labs"))
    assert "http://loinc.org" == widened.uri("LOINC")


@pytest.mark.parametrize("oid", ["6.1", "6.96", "6.90", "6.3", "6.88", "6.73", "6.8", "6.69", "12.292"])
def test_every_system_is_known_by_its_oid(words: Terminology, oid: str) -> None:
    assert words.systems.name(f"urn:oid:2.16.840.1.113883.{oid}")


@pytest.mark.parametrize(("code", "key"), [("N18.6", "N186"), ("n186", "N186"), (" N18.6 ", "N186"), ("", "")])
def test_an_icd_code_is_the_same_with_and_without_its_dot(code: str, key: str) -> None:
    assert key == icd_key(code)


def test_a_code_belongs_to_itself_and_to_its_beginnings() -> None:
    assert ["L9712", "L971", "L97"] == list(prefixes("L9712"))
    assert [] == list(prefixes("L9"))


TABLE = UnitTable({"mg/dL": ["mg%"], "umol/L": ["micromol/L"], "mL/min/{1.73_m2}": ["mL/min/1.73m2"], "{INR}": ["INR"]})


@pytest.mark.parametrize(
    ("spelling", "unit"),
    [
        ("mg/dL", "mg/dL"),
        ("MG / DL", "mg/dL"),
        ("mg{Ca}/dL", "mg/dL"),
        ("mg %", "mg/dL"),
        ("\u00b5mol/L", "umol/L"),
        ("\u03bcmol/l", "umol/L"),
        ("mcmol/L", None),
        ("mL/min/{1.73_m2}", "mL/min/{1.73_m2}"),
        ("ML/MIN/1.73M2", "mL/min/{1.73_m2}"),
        ("{INR}", "{INR}"),
        ("inr", "{INR}"),
        ("mg/dL/h", None),
        ("mg", None),
        ("{}", None),
        ("", None),
        (None, None),
        ("m" * 41, None),
        ("mg/dL\u0000", None),
    ],
)
def test_a_unit_is_known_in_every_spelling_or_not_at_all(spelling: str | None, unit: str | None) -> None:
    assert unit == TABLE.canonical(spelling)


def test_every_listed_spelling_means_one_unit(words: Terminology) -> None:
    units = {analyte.unit for analyte in words.analytes.values() if analyte.unit}

    assert units == {words.units.canonical(unit) for unit in units}


@pytest.mark.parametrize(
    ("text", "parts"), [("4.008", ("4.008", "1")), ("1/4.008", ("1", "4.008")), ("2.004/4.008", ("2.004", "4.008"))]
)
def test_a_factor_is_a_fraction(text: str, parts: tuple[str, str]) -> None:
    assert tuple(Decimal(part) for part in parts) == factor(text)


ANALYTE = Analyte("x", "X", "mg/dL", {"mg/dL": factor("1"), "mmol/L": factor("4.008")}, Decimal(3), Decimal(20), 1)


@pytest.mark.parametrize(("unit", "value"), [("mg/dL", "2.5"), ("mmol/L", "10.0200"), ("g/L", None), ("", None)])
def test_conversion_is_exact_or_not_at_all(unit: str, value: str | None) -> None:
    assert (Decimal(value) if value else None) == ANALYTE.convert(Decimal("2.5"), unit)


@pytest.mark.parametrize(("value", "plausible"), [("2.9", False), ("3", True), ("20", True), ("20.1", False)])
def test_what_a_living_patient_can_have(value: str, plausible: bool) -> None:
    assert plausible == ANALYTE.plausible(Decimal(value))


@pytest.mark.parametrize(
    ("value", "digits", "shown"), [("71.95", 1, "72.0"), ("71.94", 1, "71.9"), ("2.225", 2, "2.23"), ("0.5", 0, "1")]
)
def test_a_quantity_is_shown_rounded_half_up(value: str, digits: int, shown: str) -> None:
    assert f"<{shown}" == Quantity(Decimal(value), "mg/dL", "<").rounded(digits)
