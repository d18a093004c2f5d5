"""
What the program says of a code or a text is what it does with it.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from cds_service.errors import ContentError
from cds_service.schemas import strict_yaml
from cds_service.terminology import Coding, Terminology, explaining, listing, products
from cds_service.terminology.listing import Listed
from cds_service.terminology.meaning import read_meaning
from tests.build import ROOT

CONCEPTS = ROOT / "hooks" / "concepts"
RXNORM, LOINC = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://loinc.org"


@pytest.fixture(scope="module")
def rows(words: Terminology) -> list[Listed]:
    return listing.listed(CONCEPTS, words)


def test_every_code_that_can_match_is_listed_once_for_its_concept(words: Terminology, rows: list[Listed]) -> None:
    keys = [(one.concept, one.kind, one.system, one.code, one.how) for one in rows]
    coded = {(name, *code) for name, codes in words.codes.items() for code in codes}

    assert len(keys) == len(set(keys))
    assert coded == {(one.concept, one.system, one.code) for one in rows if one.how in ("code", "generic")} & coded
    assert 2378 <= sum(one.how == "product" for one in rows)
    assert len(words.orders) == sum(one.how == "order" for one in rows)


def test_every_code_says_where_it_was_read(rows: list[Listed]) -> None:
    assert [] == [one for one in rows if not one.verified or not one.display]
    assert {("qtc", "8636-3"), ("aluminum", "5574-9")} == {(o.concept, o.code) for o in rows if o.how == "unverified"}
    assert {"calciphylaxis"} <= {one.concept for one in rows if one.doubtful and one.how == "code"}


def test_what_is_said_to_count_counts_and_nothing_else_does(words: Terminology, rows: list[Listed]) -> None:
    """
    For every listed code: the explanation names the concepts that reading it finds, and no more.
    """
    for one in rows:
        if one.how in ("order", "block", "product"):
            continue
        found = explaining.of_code(words, rows, one.code, one.system, one.kind)
        read = read_meaning(
            words.indexes[one.kind], words.systems, [Coding(words.systems.uri(one.system), one.code)], ""
        )
        assert {match.concept for match in read.matches} == {each.concept for each in found if each.counts}, one


@pytest.mark.parametrize(
    ("code", "system", "concept", "counts", "said"),
    [
        ("L97.122", None, "les-ulcer", True, "in the block L97"),
        ("l97122", "ICD-10-CM", "les-ulcer", True, "in the block L97"),
        ("N18.6", None, "met-eskd", True, "listed code"),
        ("E83.59", None, "calciphylaxis", False, "only with words such as: calciphylaxis"),
        ("L76.82", None, "iat-surgery", False, "never counts"),
        ("21323007", None, "idi-genital", False, "or the body site"),
        ("Z84.11", None, "family-history", False, "never counts for the patient"),
        ("855332", None, "vka", True, "route oral, 1 ingredient"),
        ("416994", None, "al-antacid", False, "route local"),
        ("1102207", None, "ca-supp", False, "at most 3 count"),
        ("1908", None, "ca-iv", True, "another route than injection"),
        ("B01AA031", None, "vka", True, "in the ATC class B01AA03"),
        ("8636-3", None, "qtc", False, "nobody has read"),
        ("24323-8", None, "metabolic-panel", False, "is what cards order"),
        ("237900002", None, "calciphylaxis", True, "xref"),
    ],
)
def test_a_code_is_explained(
    words: Terminology, rows: list[Listed], code: str, system: str | None, concept: str, counts: bool, said: str
) -> None:
    found = {one.concept: one for one in explaining.of_code(words, rows, code, system)}

    assert counts == found[concept].counts
    assert said in found[concept].why


@pytest.mark.parametrize(
    ("text", "concept", "counts", "said"),
    [
        ("warfarin 5 mg", "vka", True, 'by the name "warfarin"'),
        ("stop warfarin", "vka", False, "denies"),
        ("hydrocortisone cream", "steroid", False, '"cream" is local use'),
        ("dexamethasone sodium phosphate", "phosphate-salts", False, "something else"),
        ("Calciphylaxis", "calciphylaxis", False, "in words alone is no evidence"),
        ("anti-NXP2 IgG", "nxp2", True, "no code of it is verified"),
        ("EEG, 20 minutes", "electrodes", True, "no code of it is verified"),
        ("myositis panel with NXP2", "nxp2", False, "something else"),
    ],
)
def test_a_text_is_explained(words: Terminology, text: str, concept: str, counts: bool, said: str) -> None:
    found = {one.concept: one for one in explaining.of_text(words, text)}

    assert counts == found[concept].counts
    assert said in found[concept].why


def test_what_nobody_knows_has_no_finding_but_a_neighbour(words: Terminology, rows: list[Listed]) -> None:
    assert [] == explaining.of_code(words, rows, "2777-7") == explaining.of_text(words, "nothing at all")
    assert "2777-1" in {one.code for one in explaining.nearest(rows, "2777-7", ["LOINC"])}
    assert ["warfarin"] == explaining.nearest_names(words, "warfrin", "medication")
    assert [] == explaining.nearest(rows, "2777-7", ["RxNorm"])


# --- names that suffice ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "concept"),
    [
        ("measurement", "Anti-NXP2 antibody", "nxp2"),
        ("measurement", "MDA5 Ab", "mda5"),
        ("measurement", "QTc interval", "qtc"),
        ("measurement", "QT interval", None),
        ("measurement", "No NXP2 antibody", None),
        ("measurement", "NXP2 and MDA5", None),
        ("measurement", "Myositis profile: NXP2", None),
        ("measurement", "Phosphate", None),
        ("measurement", "mean QTc", None),
        ("procedure", "Routine EEG", "electrodes"),
        ("procedure", "EMG refused", None),
        ("procedure", "no EEG", None),
        ("procedure", "Hemodialysis", None),
        ("diagnosis", "Calciphylaxis", None),
    ],
)
def test_only_what_has_no_verified_code_is_known_by_its_name(
    words: Terminology, kind: str, text: str, concept: str | None
) -> None:
    for coding in (Coding("http://hospital.example", "X", text), Coding(None, None, text)):
        found = read_meaning(words.indexes[kind], words.systems, [coding], None)

        assert ([concept] if concept else []) == [match.concept for match in found.matches]
        assert {"name"} >= {match.how for match in found.matches}


def test_an_unverified_code_matches_nothing(words: Terminology) -> None:
    for code in ("8636-3", "5574-9"):
        assert () == read_meaning(words.indexes["measurement"], words.systems, [Coding(LOINC, code)], None).matches


@pytest.mark.parametrize(
    ("code", "text", "counts"),
    [
        ("21323007", "Calcinosis cutis ; Scrotum", True),
        ("21323007", "Calcinosis cutis ; Skin structure of penis", True),
        ("21323007", "Calcinosis cutis ; Forearm", False),
        ("21323007", "Calcinosis cutis ; no lesion of the scrotum", False),
    ],
)
def test_genital_calcinosis_is_calcinosis_with_a_genital_site(
    words: Terminology, code: str, text: str, counts: bool
) -> None:
    found = read_meaning(words.indexes["diagnosis"], words.systems, [Coding("http://snomed.info/sct", code)], text)

    assert counts == ("idi-genital" in {match.concept for match in found.matches})


def test_an_organ_code_needs_calcinosis_in_words_and_not_only_the_organ(words: Terminology) -> None:
    icd = "http://hl7.org/fhir/sid/icd-10-cm"
    for text, counts in (("Pain of the scrotum", False), ("Scrotal calcinosis", True)):
        found = read_meaning(words.indexes["diagnosis"], words.systems, [Coding(icd, "N50.89")], text)
        assert counts == ("idi-genital" in {match.concept for match in found.matches})


# --- products --------------------------------------------------------------------------------------------------------


def test_a_pack_is_given_by_the_route_of_its_contents(words: Terminology) -> None:
    """
    KNOWLEDGE 3.1: a kit of multivitamins is no calcium order, a kit of creams no systemic steroid.
    """
    packs = {one.rxcui: one for one in products.read(CONCEPTS / products.FILE) if one.tty in products.PACKS}

    assert ("oral", 12) == (packs["1102207"].route, packs["1102207"].ingredients)
    assert ("local", 2) == (packs["833505"].route, packs["833505"].ingredients)
    assert ("injection", 1) == (packs["1086836"].route, packs["1086836"].ingredients)
    assert ("oral", 1) == (packs["762675"].route, packs["762675"].ingredients)
    assert "" not in {one.route for one in packs.values()}


def test_the_route_read_off_a_dose_form_is_that_of_the_table() -> None:
    """
    For every product of the table whose name ends with its form: the same route as was read for the catalogue.
    """
    with (CONCEPTS / products.FILE).open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["tty"] in ("SCD", "SBD")]
    form = re.compile(r".*\b(?:MG|ML|UNT|MEQ|HR|ACTUAT|MMOL|MCG|ORG|%)\b,? ?(?P<form>[A-Za-z -]+?)(?: \[.*)?")
    read = [(found["form"], row["route"]) for row in rows if (found := form.fullmatch(row["name"]))]

    assert 1_500 < len(read)
    assert [] == [(name, route) for name, route in read if products.route_of(name) != route]


def test_a_table_that_was_written_reads_the_same(tmp_path: Path) -> None:
    whole = list(products.read(CONCEPTS / products.FILE))
    with (tmp_path / products.FILE).open("w", encoding="utf-8", newline="") as lines:
        products.write(reversed(whole), lines)

    assert whole == list(products.read(tmp_path / products.FILE))


@pytest.mark.parametrize("text", ["a: &x 1", "a: *x", "a: !t 1", "- {a: &x 1}", "a: [&x 1]", '"a":&x 1', "&x a: 1"])
def test_an_anchor_alias_or_tag_is_found_wherever_it_stands(text: str) -> None:
    with pytest.raises(ContentError) as refused:
        strict_yaml.parse(text.encode(), "x.yaml")

    assert refused.value.slug in {"yaml-reference", "yaml-syntax"}


@pytest.mark.parametrize("text", ["a: gas & acid", "a: R&D", "a: 2 * 3", 'a: "! &x *y"', "a: what!", "a: x # &y *z !t"])
def test_what_only_looks_like_one_is_left_alone(text: str) -> None:
    assert {"a"} == set(strict_yaml.parse(text.encode(), "x.yaml"))
