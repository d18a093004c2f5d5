"""A made-up RxNorm release in RRF: a few invented products of real ingredients, laid out as NLM lays it out."""

from __future__ import annotations

import zipfile
from pathlib import Path

# RXCUI, TTY, name. Ingredient numbers are those of our concepts; products, components and forms are invented.
NAMES = [
    ("11289", "IN", "warfarin"),
    ("1897", "IN", "calcium carbonate"),
    ("1908", "IN", "calcium gluconate"),
    ("5492", "IN", "hydrocortisone"),
    ("900009", "IN", "etelcalcetide"),
    ("900008", "IN", "salicylic acid"),
    ("900010", "PIN", "warfarin sodium"),
    ("900001", "DF", "Oral Tablet"),
    ("900002", "DF", "Injection"),
    ("900003", "DF", "Topical Cream"),
    ("900101", "SCDC", "warfarin sodium 9 MG"),
    ("900102", "SCDC", "calcium carbonate 1 MG"),
    ("900103", "SCDC", "calcium gluconate 1 MG/ML"),
    ("900104", "SCDC", "hydrocortisone 1 MG/ML"),
    ("900105", "SCDC", "etelcalcetide 1 MG/ML"),
    ("900106", "SCDC", "salicylic acid 1 MG/ML"),
    ("900201", "SCD", "warfarin sodium 9 MG Oral Tablet"),
    ("900202", "SBD", "warfarin sodium 9 MG Oral Tablet [Madeupin]"),
    ("900203", "SCD", "calcium carbonate 1 MG / salicylic acid 1 MG Oral Tablet"),
    ("900204", "SCD", "calcium gluconate 1 MG/ML Injection"),
    ("900205", "SCD", "hydrocortisone 1 MG/ML Topical Cream"),
    ("900206", "SCD", "etelcalcetide 1 MG/ML Injection"),
    ("900207", "SCD", "salicylic acid 1 MG/ML Topical Cream"),
    ("900208", "SCD", "hydrocortisone 1 MG Oral Tablet"),
    ("900301", "BN", "Madeupin"),
    ("900302", "BN", "Madeupcort"),
    ("900401", "GPCK", "{1 (hydrocortisone Cream) / 1 (warfarin Tablet) } Pack"),
    ("900402", "BPCK", "{1 (hydrocortisone Cream) / 1 (warfarin Tablet) } Pack [Madeupkit]"),
    ("900209", "SBD", "hydrocortisone 1 MG/ML Topical Cream [Madeupcort]"),
    ("900210", "SBD", "hydrocortisone 1 MG Oral Tablet [Madeupcort]"),
]
# (second, RELA, first): the second has this relation to the first, as in RXNREL.
RELATIONS = [
    ("900101", "has_ingredient", "11289"),
    ("900101", "has_precise_ingredient", "900010"),
    ("900102", "has_ingredient", "1897"),
    ("900103", "has_ingredient", "1908"),
    ("900104", "has_ingredient", "5492"),
    ("900105", "has_ingredient", "900009"),
    ("900106", "has_ingredient", "900008"),
    ("900201", "consists_of", "900101"),
    ("900203", "consists_of", "900102"),
    ("900203", "consists_of", "900106"),
    ("900204", "consists_of", "900103"),
    ("900205", "consists_of", "900104"),
    ("900206", "consists_of", "900105"),
    ("900207", "consists_of", "900106"),
    ("900208", "consists_of", "900104"),
    ("900202", "tradename_of", "900201"),
    ("900209", "tradename_of", "900205"),
    ("900210", "tradename_of", "900208"),
    ("900202", "has_ingredient", "900301"),
    ("900209", "has_ingredient", "900302"),
    ("900210", "has_ingredient", "900302"),
    ("900201", "has_dose_form", "900001"),
    ("900203", "has_dose_form", "900001"),
    ("900204", "has_dose_form", "900002"),
    ("900205", "has_dose_form", "900003"),
    ("900207", "has_dose_form", "900003"),
    ("900208", "has_dose_form", "900001"),
    ("900401", "contains", "900205"),
    ("900401", "contains", "900201"),
    ("900402", "tradename_of", "900401"),
]
INVERSE = {
    "has_ingredient": "ingredient_of",
    "has_precise_ingredient": "precise_ingredient_of",
    "consists_of": "constitutes",
    "tradename_of": "has_tradename",
    "contains": "contained_in",
    "has_dose_form": "dose_form_of",
}


def names(source: str = "RXNORM", suppress: str = "N") -> str:
    """Return the lines of RXNCONSO.RRF, and some that must not count."""
    rows = [
        [number, "ENG", *[""] * 9, source, kind, number, name, "", suppress, "", ""] for number, kind, name in NAMES
    ]
    other = "900999|ENG||||||1||||MTHSPL|SCD|1|warfarin of another source Oral Tablet||N||"
    gone = "900998|ENG||||||1||||RXNORM|SCD|1|warfarin suppressed Oral Tablet||O||"
    return "\n".join([*map("|".join, rows), other, gone, "", "short|row"]) + "\n"


def relations(*, backwards: bool = False) -> str:
    """Return the lines of RXNREL.RRF, told from one end or from the other."""
    told = [(first, INVERSE[rela], second) for second, rela, first in RELATIONS] if backwards else RELATIONS
    lines = [f"{first}||CUI|RO|{second}||CUI|{rela}|1||RXNORM|||||" for second, rela, first in told]
    return "\n".join([*lines, "11289||CUI|RO|900207||CUI|has_ingredient|1||MTHSPL|||||", "x|y"]) + "\n"


def as_folder(folder: Path) -> Path:
    """Write the release unpacked."""
    home = folder / "rrf"
    home.mkdir(parents=True)
    (home / "RXNCONSO.RRF").write_text(names(), encoding="utf-8")
    (home / "RXNREL.RRF").write_text(relations(), encoding="utf-8")
    return folder


def as_zip(path: Path) -> Path:
    """Write the release as NLM hands it out: the prescribable subset lies in a folder besides, and must not win."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("prescribe/rrf/RXNCONSO.RRF", "")
        archive.writestr("prescribe/rrf/RXNREL.RRF", "")
        archive.writestr("rrf/RXNCONSO.RRF", names())
        archive.writestr("rrf/RXNREL.RRF", relations())
    return path
