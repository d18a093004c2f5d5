"""
The terminology content: no mistyped code, no impossible factor, no code that means more than it should.

The second half compares ``hooks/concepts`` with the clinical catalogue it came from. The catalogue is not
part of this repository: its folder is named by ``CDS_SHARED``, or is ``shared`` beside the checkout.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from cds_service.terminology import Coding, Terminology, listing
from cds_service.terminology.meaning import Row, read_meaning

ROOT = Path(__file__).resolve().parents[2]
CONCEPTS = ROOT / "hooks" / "concepts"
FILES = ("labs", "diagnoses", "procedures", "medications", "orders", "override-reasons", "systems", "units")
WITH_CONCEPTS = ("labs", "diagnoses", "procedures", "medications")
COLUMNS = ["concept", "rxcui", "tty", "route", "ingredients", "name", "source"]

SYSTEM = {
    "SCT": "SNOMED CT",
    "ICD10CM": "ICD-10-CM",
    "ICD10": "ICD-10",
    "LOINC": "LOINC",
    "RXN": "RxNorm",
    "ATC": "ATC",
}
SHAPE = {
    "SNOMED CT": r"\d{6,18}",
    "LOINC": r"\d{1,6}-\d",
    "ICD-10-CM": r"[A-Z]\d[0-9A-Z](\.[0-9A-Z]{1,4})?",
    "ICD-10": r"[A-Z]\d\d(\.\d)?",
    "RxNorm": r"\d{2,8}",
    "ATC": r"[A-Z]\d\d[A-Z]([A-Z]\d{0,2})?",
}
# Catalogue ids that have another id here, or stand here as several concepts; the YAML files say why.
DIAGNOSES_AS = {
    "family": ("family-history",),
    "pan-pancreatic": ("pan-pancreatic-panniculitis", "pan-pancreatic-pancreatitis", "pan-pancreatic-cancer"),
}
MEDICATIONS_AS = {"phosphate": "phosphate-salts"}
BLOCKS_AS = {
    "pan-pancreatic/panniculitis": "pan-pancreatic-panniculitis",
    "pan-pancreatic/pancreatitis": "pan-pancreatic-pancreatitis",
    "pan-pancreatic/cancer": "pan-pancreatic-cancer",
    "met-ckd/stage3": "met-ckd",
    "met-ckd/stage4": "met-ckd",
    "met-ckd/stage5": "met-ckd",
    "trn-calcinosis/complication": "trn-calcinosis",
}
# KNOWLEDGE 2, "Not verified": named there, so that the program can say so, and never matched.
UNVERIFIED = {("labs/qtc", "8636-3"), ("labs/aluminum", "5574-9")}
NOT_VERIFIED_ORDERS = {"24751-0"}  # parathyroid imaging: named by a rule, but not in the catalogue of verified codes


# --- reading --------------------------------------------------------------------------------------


@cache
def document(name: str) -> dict[str, Any]:
    loaded = yaml.load((CONCEPTS / f"{name}.yaml").read_bytes(), Loader=yaml.CSafeLoader)
    assert isinstance(loaded, dict)
    return loaded


def concepts(name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = document(name)["concepts"]
    return found


def code_rows(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every code row of a concept or order; ATC rows get their system."""
    yield from entry.get("codes", ())
    yield from entry.get("ingredients", ())
    yield from ({"system": "ATC", **row} for row in entry.get("atc", ()))
    if isinstance(entry.get("code"), dict):
        yield entry["code"]


def all_rows() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in (*WITH_CONCEPTS, "orders"):
        for identifier, entry in concepts(name).items():
            yield from ((f"{name}/{identifier}", row) for row in code_rows(entry))


def products() -> list[dict[str, str]]:
    with (CONCEPTS / "medication-products.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def derived() -> dict[str, str]:
    """Return the medication concepts that are our own part of a catalogue concept, with that concept."""
    return {name: entry["derived"] for name, entry in concepts("medications").items() if "derived" in entry}


def shared() -> Path | None:
    named = os.environ.get("CDS_SHARED")
    folder = Path(named) if named else ROOT.parent / "shared"
    return folder if folder.is_dir() else None


def source(name: str) -> Any:
    """
    Return a file of the clinical catalogue.

    Without the folder the comparison cannot be made and is skipped, in CI too.
    With CDS_CI=1, a folder that is there but lacks the file is a failure.
    """
    folder = shared()
    if folder is None:
        pytest.skip("The clinical catalogue is not here: set CDS_SHARED to compare with it.")
    path = folder / "clinical" / name
    if not path.is_file():
        (pytest.fail if os.environ.get("CDS_CI") == "1" else pytest.skip)(
            f"The folder of the catalogue holds no clinical/{name}."
        )
    return json.loads(path.read_text(encoding="utf-8"))


def verified(row: dict[str, Any]) -> str:
    text: str = row["verification"]
    return text.replace("verified (xref only): ", "xref: ").removeprefix("verified: ")


def signature(row: dict[str, Any]) -> tuple[str, str, str, bool]:
    return row["system"], row["code"], row["verified"], bool(row.get("generic"))


def wanted(row: dict[str, Any]) -> tuple[str, str, str, bool]:
    return SYSTEM[row["system"]], row["code"], verified(row), not row["specific"]


def signatures(entries: Iterator[dict[str, Any]]) -> set[tuple[str, str, str, bool]]:
    return {signature(row) for entry in entries for row in code_rows(entry)}


def catalogue_home(section: str, identifier: str) -> set[tuple[str, str, str, bool]]:
    """Return the code rows that stand here for one entry of the catalogue."""
    if section in ("conditions", "supporting"):
        return signatures(concepts("diagnoses")[name] for name in DIAGNOSES_AS.get(identifier, (identifier,)))
    if section == "medications":
        return signatures(iter([concepts("medications")[MEDICATIONS_AS.get(identifier, identifier)]]))
    if section == "procedures":
        return signatures(iter([concepts("procedures")[identifier]]))
    if section == "referrals":
        return signatures(iter([concepts("orders")[identifier]]))
    if identifier in concepts("labs"):
        return signatures(iter([concepts("labs")[identifier]]))
    return signatures(iter([*concepts("orders").values(), *concepts("procedures").values()]))


def catalogue_rows(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [*entry.get("codes", ()), *entry.get("loincMassOrDefault", ()), *entry.get("loincMolar", ())]


# --- check digits ---------------------------------------------------------------------------------

# Multiplication in the dihedral group of order ten: 0-4 turn, 5-9 turn and flip.
_D = [[(a + b) % 5 + 5 * (b // 5) if a < 5 else (a - b) % 5 + 5 * (1 - b // 5) for b in range(10)] for a in range(10)]
_F = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]


def verhoeff_holds(code: str) -> bool:
    """Check a SNOMED CT identifier (Verhoeff)."""
    check = 0
    for place, digit in enumerate(reversed(code)):
        value = int(digit)
        for _ in range(place % 8):
            value = _F[value]
        check = _D[check][value]
    return check == 0


def mod10_holds(code: str) -> bool:
    """Check a LOINC code: from the right, every other digit is doubled (Luhn)."""
    body, _, check = code.partition("-")
    total = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(reversed(body)))
    return (10 - total % 10) % 10 == int(check)


def test_check_digit_functions_know_a_good_code_from_a_mistyped_one() -> None:
    """A code with two digits swapped is caught."""
    assert verhoeff_holds("46177005")
    assert not verhoeff_holds("46170705")
    assert mod10_holds("2777-1")
    assert not mod10_holds("2777-7")


# --- always ---------------------------------------------------------------------------------------


def duplicate_keys(node: yaml.Node | None) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        yield from (key for key in set(keys) if keys.count(key) > 1)
        for _, value in node.value:
            yield from duplicate_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from duplicate_keys(item)


@pytest.mark.parametrize("name", FILES)
def test_file_reads_and_no_key_stands_twice(name: str) -> None:
    """Every file of codes can be read, and nothing in it silently replaces something else."""
    text = (CONCEPTS / f"{name}.yaml").read_text(encoding="utf-8")
    assert document(name)["kind"]
    assert not list(duplicate_keys(yaml.compose(text, Loader=yaml.CSafeLoader)))
    assert max(map(len, text.splitlines())) <= 140


def test_no_concept_has_the_name_of_another() -> None:
    """A word in a rule means one thing only: no two concepts or groups share an id."""
    names = [
        identifier
        for name in WITH_CONCEPTS
        for key in ("concepts", "groups")
        for identifier in document(name).get(key, {})
    ]
    assert sorted(names) == sorted(set(names))


def test_every_code_has_the_shape_of_its_system() -> None:
    """A code looks like a code of its system, and no reader took it for a number."""
    wrong = [
        (where, row["code"])
        for where, row in all_rows()
        if not isinstance(row["code"], str) or not re.fullmatch(SHAPE[row["system"]], row["code"])
    ]
    assert not wrong


def test_every_snomed_code_passes_its_check_digit() -> None:
    """No SNOMED CT code is mistyped."""
    assert not [
        (where, row["code"])
        for where, row in all_rows()
        if row["system"] == "SNOMED CT" and not verhoeff_holds(row["code"])
    ]


def test_every_loinc_code_passes_its_check_digit() -> None:
    """No LOINC code is mistyped."""
    assert not [
        (where, row["code"]) for where, row in all_rows() if row["system"] == "LOINC" and not mod10_holds(row["code"])
    ]


def test_every_code_says_how_it_was_verified() -> None:
    """Each code says where its meaning was read, or plainly that nobody has."""
    assert not [(where, row["code"]) for where, row in all_rows() if "verified" not in row or not row.get("display")]
    assert not [
        (where, row["code"]) for where, row in all_rows() if row["verified"] is None and not row.get("unverified")
    ]


@pytest.mark.parametrize(
    "identifier", [name for name, entry in concepts("labs").items() if not entry.get("qualitative")]
)
def test_units_of_a_measurement_convert(identifier: str) -> None:
    """Each unit of a test has a positive factor, its own unit the factor one, and its spellings are known."""
    entry = concepts("labs")[identifier]
    for factor in entry["units"].values():
        above, _, below = factor.partition("/")
        assert Decimal(above) > 0
        assert Decimal(below or "1") > 0
    assert entry["units"][entry["unit"]] == "1"
    assert set(entry["units"]) <= set(document("units")["units"])


@pytest.mark.parametrize(
    ("identifier", "reported", "unit", "canonical"),
    [
        ("calcium-total", "2.12", "mmol/L", "8.5"),
        ("calcium-total", "4.24", "meq/L", "8.5"),
        ("calcium-ionized", "4.6", "mg/dL", "1.15"),
        ("phosphate", "1.45", "mmol/L", "4.5"),
        ("cap-product", "5.64", "mmol2/L2", "70.0"),
        ("albumin", "35", "g/L", "3.5"),
        ("pth", "6.9", "pmol/L", "65"),
        ("alp", "2", "ukat/L", "120"),
        ("vitd25", "150", "nmol/L", "60.1"),
        ("vitd125", "43", "pmol/L", "17.9"),
        ("creatinine", "88.4", "umol/L", "1.00"),
        ("magnesium", "1.4", "meq/L", "1.7"),
        ("urate", "59.48", "umol/L", "1.0"),
        ("crp", "1", "mg/dL", "10.0"),
        ("weight", "220.46", "[lb_av]", "100.0"),
    ],
)
def test_conversion_goes_the_right_way(identifier: str, reported: str, unit: str, canonical: str) -> None:
    """A value in the other unit system comes out as the value a clinician knows."""
    above, _, below = concepts("labs")[identifier]["units"][unit].partition("/")
    value = Decimal(reported) * Decimal(above) / Decimal(below or "1")
    assert value.quantize(Decimal(canonical)) == Decimal(canonical)


def test_plausible_ranges_are_ranges() -> None:
    """What a living patient can have is a range, the low end first."""
    ranges = {name: entry["plausible"] for name, entry in concepts("labs").items() if "plausible" in entry}
    assert ranges
    assert not [name for name, limits in ranges.items() if not Decimal(limits["low"]) < Decimal(limits["high"])]


def test_qualitative_tests_have_no_unit() -> None:
    """A test that is positive or negative is never compared with a number."""
    qualitative = [entry for entry in concepts("labs").values() if entry.get("qualitative")]
    assert qualitative
    assert not [entry["name"] for entry in qualitative if {"unit", "units", "plausible"} & entry.keys()]


def test_hemolysis_matters_for_phosphate_and_potassium_only() -> None:
    """A hemolysed specimen spoils phosphate and potassium."""
    assert {name for name, entry in concepts("labs").items() if entry.get("hemolysis_sensitive")} == {
        "phosphate",
        "potassium",
    }


def test_no_spelling_belongs_to_two_units() -> None:
    """The way a laboratory writes a unit means one unit only, whatever its case and spaces."""
    spellings = [
        "".join(text.split()).casefold()
        for unit, others in document("units")["units"].items()
        for text in (unit, *others)
    ]
    assert sorted(spellings) == sorted(set(spellings))


@pytest.mark.parametrize("name", WITH_CONCEPTS)
def test_every_member_of_a_group_exists(name: str) -> None:
    """A group names only concepts of its own file."""
    members = {member for group in document(name).get("groups", {}).values() for member in group["any_of"]}
    assert members <= concepts(name).keys()


def test_product_file_is_whole_and_in_order() -> None:
    """The 2,378 products stand sorted by concept and code, and each belongs to a medication that we know."""
    raw = (CONCEPTS / "medication-products.csv").read_bytes()
    rows = products()
    keys = [(row["concept"], int(row["rxcui"])) for row in rows]
    assert b"\r" not in raw
    assert list(rows[0]) == COLUMNS
    assert sum(row["concept"] not in derived() for row in rows) == 2378
    assert keys == sorted(set(keys))
    assert {row["concept"] for row in rows} <= concepts("medications").keys()
    assert {row["route"] for row in rows} == {"", "oral", "injection", "rectal", "local", "mixed", "other"}


def test_products_of_a_part_are_products_of_the_whole() -> None:
    """What counts as warfarin also counts as a vitamin K antagonist, and so on."""
    by_concept: dict[str, set[str]] = {}
    for row in products():
        by_concept.setdefault(row["concept"], set()).add(row["rxcui"])
    for part, whole in derived().items():
        assert by_concept[part] <= by_concept[whole]


# --- the traps ------------------------------------------------------------------------------------


def diagnosis_codes(identifier: str, system: str) -> set[str]:
    return {row["code"] for row in concepts("diagnoses")[identifier]["codes"] if row["system"] == system}


def test_stage_five_is_not_end_stage_in_the_american_coding() -> None:
    """ICD-10-CM N18.5 is advanced kidney disease; only WHO's N18.5, which has no N18.6, is kidney failure."""
    assert diagnosis_codes("met-eskd", "ICD-10-CM") == {"N18.6"}
    assert diagnosis_codes("met-eskd", "ICD-10") == {"N18.5"}
    assert {"N18.4", "N18.5", "I12.0", "I13.11", "I13.2"} == diagnosis_codes("advanced-ckd-codes", "ICD-10-CM")
    assert {"431857002", "433146000"} == diagnosis_codes("advanced-ckd-codes", "SNOMED CT")
    assert [block["prefix"] for block in concepts("diagnoses")["met-eskd"]["blocks"]] == ["N18.6"]


def test_rejection_alone_is_not_transplant_failure() -> None:
    """ICD-10-CM T86.11 does not say that a transplanted kidney has failed."""
    assert "T86.11" not in diagnosis_codes("ktx-fail", "ICD-10-CM")
    assert [block["prefix"] for block in concepts("diagnoses")["ktx-fail"]["blocks"]] == ["T86.12"]


def test_family_history_is_an_exclusion() -> None:
    """A diagnosis of a relative is never the patient's."""
    excluded = {name: entry for name, entry in concepts("diagnoses").items() if entry.get("exclude")}
    assert set(excluded) == {"family-history"}
    assert [block["prefix"] for block in excluded["family-history"]["blocks"]] == [
        "Z80",
        "Z81",
        "Z82",
        "Z83",
        "Z84",
    ]


def test_shared_codes_never_stand_for_one_disease() -> None:
    """E83.59 and E83.39 cover many diseases: by themselves they mean none."""
    rows = [
        row
        for entry in concepts("diagnoses").values()
        for row in entry.get("codes", ())
        if row["code"] in ("E83.59", "E83.5", "E83.39", "E83.3")
    ]
    assert rows
    assert all(row.get("generic") for row in rows)


def test_no_single_code_means_pancreatic_panniculitis() -> None:
    """Pancreatitis alone is not panniculitis: the combination has no code of its own."""
    assert not list(code_rows(concepts("diagnoses")["pan-pancreatic"]))
    assert "blocks" not in concepts("diagnoses")["pan-pancreatic"]


def test_medicine_names_are_distinctive() -> None:
    """A name found in free text is long, in lower case and not a word that other medicines carry too."""
    names = [name for entry in concepts("medications").values() for name in entry["names"]]
    assert not [name for name in names if len(name) < 4 or name != name.lower()]
    assert not {"calcium", "vitamin k", "potassium", "sodium", "phosphate"} & set(names)
    for entry in concepts("medications").values():
        assert len(entry["names"]) == len(set(entry["names"]))


def test_routes_are_those_the_rules_ask_for() -> None:
    """IV calcium is given by injection, supplements and binders by mouth; nothing local is systemic."""
    routes = {name: entry["routes"] for name, entry in concepts("medications").items()}
    assert routes["ca-iv"] == ["injection"]
    assert routes["ca-supp"] == routes["ca-binder"] == ["oral"]
    assert {route for chosen in routes.values() for route in chosen} == {"oral", "injection", "rectal"}


def test_orders_can_be_read_aloud() -> None:
    """What a card suggests is a short instruction with one code."""
    for identifier, order in concepts("orders").items():
        assert order["category"] in ("laboratory", "imaging", "procedure", "referral", "medication"), identifier
        assert re.match(r"(Order|Request|Refer to|Measure|Start|Give|Assess) ", order["say"]), identifier
        assert len(order["say"]) <= 80, identifier


def test_override_reasons_have_words() -> None:
    """Every reason for declining a card is worded, and its code is lower case with hyphens."""
    for code, reason in document("override-reasons")["reasons"].items():
        assert re.fullmatch(r"[a-z0-9-]+", code)
        assert len(reason["display"].split()) >= 2


def test_code_systems_have_a_uri_of_their_own() -> None:
    """No two code systems share a URI or an alias."""
    uris = [uri for entry in document("systems")["systems"].values() for uri in (entry["uri"], *entry["aliases"])]
    assert len(uris) == len(set(uris))
    assert {row["system"] for _, row in all_rows()} <= document("systems")["systems"].keys()


# --- against the clinical catalogue ---------------------------------------------------------------


@pytest.mark.parametrize(
    "section", ["conditions", "supporting", "procedures", "referrals", "observations", "medications"]
)
def test_every_code_of_the_catalogue_stands_here(section: str) -> None:
    """No code of the catalogue is lost; each keeps its verification and whether other diseases share it."""
    missing = [
        (entry["id"], *wanted(row))
        for entry in source("catalog.json")[section]
        for row in catalogue_rows(entry)
        if wanted(row) not in catalogue_home(section, entry["id"])
    ]
    assert not missing


def test_no_code_stands_here_that_the_catalogue_does_not_have() -> None:
    """Nobody added a code that was not verified: every code that counts here is one of the catalogue's 725."""
    sections = [section for section in source("catalog.json").values() if isinstance(section, list)]
    rows = [row for section in sections for entry in section for row in catalogue_rows(entry)]
    known = {wanted(row)[:3] for row in rows}
    assert len(rows) == 725
    here = {(where, row["code"]) for where, row in all_rows() if signature(row)[:3] not in known}
    assert here == UNVERIFIED


def test_plausible_ranges_are_the_catalogue_s() -> None:
    """The limits beyond which a result is not believed are those of the catalogue."""
    for entry in source("catalog.json")["observations"]:
        here = concepts("labs").get(entry["id"], {}).get("plausible")
        numbers = re.fullmatch(r"(-?[\d.]+)(?:-| to )([\d.]+)( .*)?", entry["plausible"])
        if entry["id"] in concepts("labs"):
            assert here == ({"low": numbers[1], "high": numbers[2]} if numbers else None), entry["id"]


def test_factors_are_the_catalogue_s() -> None:
    """No factor was mistyped: its numbers stand in the conversion column, or are worked out beside it."""
    worked_out = {"2.004", "1.2155", "4.008", "3.0974", "100", "1000"}
    for entry in source("catalog.json")["observations"]:
        for factor in concepts("labs").get(entry["id"], {}).get("units", {}).values():
            numbers = set(re.findall(r"[\d.]+", factor)) - worked_out - {"1"}
            assert all(number in entry["conversion"] for number in numbers), (entry["id"], factor)


def test_every_block_stands_here() -> None:
    """Every ICD-10-CM block stands at its concept; only T86.11 (rejection) stands apart, on purpose."""
    for name, blocks in source("icd10cm_blocks.json")["blocks"].items():
        for block in blocks:
            home = "ktx-rejection" if block["prefix"] == "T86.11" else BLOCKS_AS.get(name, name)
            assert block in concepts("diagnoses")[home]["blocks"], (name, block["prefix"])


def test_every_product_stands_here() -> None:
    """Every product of the catalogue is here as it was, and no other."""
    there = {
        (
            MEDICATIONS_AS.get(row["concept"], row["concept"]),
            *(str(row[column] or "") for column in COLUMNS[1:]),
        )
        for row in source("rxnorm_products.json")["products"]
    }
    here = {tuple(row[column] for column in COLUMNS) for row in products() if row["concept"] not in derived()}
    assert here == there


def test_every_override_reason_of_the_rules_stands_here() -> None:
    """Every reason that a rule offers has a wording, and none is offered by no rule."""
    named = {reason for rule in source("rules.json") for reason in rule["overrideReasons"]}
    assert named == document("override-reasons")["reasons"].keys()


def test_every_workup_code_of_the_rules_can_be_ordered() -> None:
    """Each test that a rule recommends can be ordered, save the one code that was never verified."""
    orders = {order["code"]["code"] for order in concepts("orders").values()}
    for rule in source("rules.json"):
        for step in rule["workup"]:
            codes = set(re.findall(r"\b(\d{1,5}-\d|\d{9})\b", step))
            assert not codes or codes & (orders | NOT_VERIFIED_ORDERS), (rule["id"], step)


# --- and all of it is what the program does ---------------------------------------------------------


def loaded_rows(words: Terminology, row: dict[str, Any], kind: str) -> tuple[Row, ...]:
    return tuple(words.indexes[kind].rows(SYSTEM[row["system"]], row["code"]))


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        ("conditions", "diagnosis"),
        ("supporting", "diagnosis"),
        ("procedures", "procedure"),
        ("observations", "measurement"),
        ("medications", "medication"),
    ],
)
def test_every_code_of_the_catalogue_matches_as_it_was_verified(words: Terminology, section: str, kind: str) -> None:
    """A verified code means its concept by itself, a generic one never does; xref codes are usable."""
    homes = {**DIAGNOSES_AS, **{name: (other,) for name, other in MEDICATIONS_AS.items() if kind == "medication"}}
    seen = 0
    for entry in source("catalog.json")[section]:
        names = set(homes.get(entry["id"], (entry["id"],)))
        for row in catalogue_rows(entry) if names & {*words.analytes, *words.concepts} else ():
            rows = [one for one in loaded_rows(words, row, kind) if one.match.concept in names]
            assert rows, (entry["id"], row["code"])
            assert all(one.generic for one in rows) != row["specific"], (entry["id"], row["code"])
            seen += 1
    assert seen > 20


def test_the_catalogue_is_whole_and_all_of_it_is_somewhere(words: Terminology) -> None:
    """The 725 codes: read in records, ordered by cards, or both; none is lost, and each is marked."""
    sections = [section for section in source("catalog.json").values() if isinstance(section, list)]
    codes = {wanted(row)[:3] for section in sections for entry in section for row in catalogue_rows(entry)}
    here = {(one.system, one.code, one.verified) for one in listing.listed(CONCEPTS, words)}
    assert codes <= here
    assert 28 == sum(
        row["verification"].startswith("verified (xref only)")
        for section in sections
        for entry in section
        for row in catalogue_rows(entry)
    )


def test_a_generic_code_alone_means_nothing(words: Terminology) -> None:
    """For every generic code, in every kind: without words, the concept is not found."""
    for kind, index in words.indexes.items():
        for (system, code), rows in index.exact.items():
            generic = {row.match.concept for row in rows if row.generic}
            sure = {row.match.concept for row in index.rows(system, code) if not row.generic}
            coding = Coding(words.systems.uri(system), code)
            found = {match.concept for match in read_meaning(index, words.systems, [coding], None).matches}
            assert not found & (generic - sure), (kind, system, code)


def test_the_groups_that_rules_ask_for_are_whole() -> None:
    """The harmful medicines of CC-05 and CC-06, and the consults of CC-06, as KNOWLEDGE lists them."""
    harmful = set(document("medications")["groups"]["calciphylaxis-harmful"]["any_of"])
    assert harmful == {
        *("vka", "ca-binder", "ca-supp", "ca-iv", "vitd-active", "vitd-25", "vitd-nutr"),
        *("pth-analog", "iron-iv", "steroid"),
    }
    consult = {
        row["code"]
        for name in document("procedures")["groups"]["consult"]["any_of"]
        for row in concepts("procedures")[name]["codes"]
    }
    assert consult == {"34795-5", "34758-3", "306286007", "308472003", "306265007", "225358003"}


def test_imaging_for_calcinosis_is_what_cards_order() -> None:
    """What counts as looked for is what a card asks for: the images of the observation catalogue."""
    ordered = {row["code"]["code"] for name, row in concepts("orders").items() if name.startswith("img-")}
    assert {row["code"] for row in concepts("procedures")["calcinosis-imaging"]["codes"]} == ordered
