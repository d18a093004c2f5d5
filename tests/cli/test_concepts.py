"""concepts: what stands behind a name, what a code would match, and what a site adds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import responses

from tests.cli.conftest import Run
from tests.terminology import release

SERVER, URL = "https://tx.example/r4", "http://hospital.example/ValueSet/acne"


def site(content: Path, text: str) -> Path:
    """Write a site called demo, and return its folder."""
    home = content / "sites" / "demo"
    home.mkdir(parents=True, exist_ok=True)
    (content / "sites" / "demo.yaml").write_text(f"site: demo\n{text}", encoding="utf-8")
    return home


# --- list ------------------------------------------------------------------------------------------------------------


def test_every_code_of_every_concept_is_listed(run: Run) -> None:
    output = run("concepts").output

    assert int(output.rstrip().splitlines()[-1].removesuffix(" codes.")) > 3_300
    assert "calciphylaxis - Calciphylaxis (diagnosis)" in output
    assert "237900002    calciphylaxis  [xref: DO+Mondo=]" in output


def test_a_concept_a_group_and_a_pattern_may_be_named(run: Run) -> None:
    output = run("concepts", "vka", "bone-disease", "les-p*", "--system", "snomed ct").output

    assert {"met-bonemets", "met-paget", "les-pain", "les-purpura"} == {
        line.partition(" - ")[0] for line in output.splitlines() if " - " in line and not line.startswith(" ")
    }


def test_what_nobody_has_read_can_be_asked_for(run: Run) -> None:
    output = run("concepts", "--unverified").output

    assert "8636-3" in output
    assert "(never counts)" in output
    assert "855332" not in output
    assert 28 == output.count("[xref: ")


def test_the_list_is_json_where_a_program_reads_it(run: Run) -> None:
    rows = json.loads(run("concepts", "list", "vka", "--json").output)

    assert {"concept", "kind", "system", "code", "display", "verified", "how", "route", "ingredients"} == rows[0].keys()
    assert ("vka", "11289", "RxNorm-2014 export+VSAC+OHDSI") == (
        rows[0]["concept"],
        rows[0]["code"],
        rows[0]["verified"],
    )


@pytest.mark.parametrize(
    ("words", "said"), [(["vk"], '"vka"'), (["--system", "LIONC"], "LOINC"), (["none-*"], "none-*")]
)
def test_a_name_that_means_nothing_is_refused(run: Run, words: list[str], said: str) -> None:
    result = run("concepts", *words)

    assert 2 == result.exit_code
    assert said in result.output


def test_help_says_what_the_group_is_for(run: Run) -> None:
    assert "import-rxnorm" in run("concepts", "--help").output


# --- match -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["L97.122"], 0, "counts  diagnosis les-ulcer: in the block L97"),
        (["E83.59"], 1, "no      diagnosis calciphylaxis"),
        (["855332", "--kind", "medication"], 0, "counts  medication vka"),
        (["2777-1", "--system", "http://loinc.org"], 0, "counts  measurement phosphate"),
        (["2777-7"], 1, "Did you mean LOINC 2777-1"),
        (["2777-7", "--system", "LOINC"], 1, "means nothing here in LOINC"),
        (["24323-8"], 1, "is what cards order"),
        (["warfarin", "5", "mg"], 0, 'by the name "warfarin"'),
        (["no warfarin"], 1, "denies"),
        (["warfrin"], 1, 'Did you mean "warfarin"?'),
    ],
)
def test_a_code_or_text_is_explained(run: Run, words: list[str], code: int, said: str) -> None:
    result = run("concepts", "match", *words)

    assert (code, True) == (result.exit_code, said in result.output), result.output


# --- expand ----------------------------------------------------------------------------------------------------------


def served(**more: object) -> dict[str, object]:
    contains = [{"system": "http://snomed.info/sct", "code": "38341003", "display": "Name"}]
    return {
        "resourceType": "ValueSet",
        "status": "active",
        "expansion": {"timestamp": "2026-11-21", "contains": contains} | more,
    }


SITE = f"value_sets:\n  folder: sets\n  who: A. Min\n  concepts:\n    dys-acne: {URL}\nexpand: {SERVER}\n"


@responses.activate
def test_a_value_set_is_expanded_into_a_file_with_its_day_and_source_and_then_counts(run: Run, content: Path) -> None:
    home = site(content, SITE)
    responses.get(f"{SERVER}/ValueSet/$expand", json=served())

    for _ in range(2):  # the second time, the same file is written again
        result = run("concepts", "expand", "--content", content, "--site", "demo")
        assert 0 == result.exit_code, result.output

    (file,) = (home / "sets").iterdir()
    written = json.loads(file.read_text(encoding="utf-8"))
    assert ("acne.json", URL, {"source": SERVER}) == (file.name, written["url"], written["meta"])
    assert len("2026-11-21") == len(written["date"])
    listed = run("concepts", "dys-acne", "--content", content, "--site", "demo").output
    assert "38341003     Name  [site: A. Min, " in listed
    assert 0 == run("concepts", "match", "38341003", "--content", content, "--site", "demo").exit_code
    assert 1 == run("concepts", "match", "38341003", "--content", content).exit_code


@responses.activate
def test_loading_asks_no_server(run: Run, content: Path) -> None:
    """
    With no answer registered, any call would fail the test; a missing expansion is an error, not a question.
    """
    site(content, SITE)

    result = run("concepts", "dys-acne", "--content", content, "--site", "demo")

    assert 2 == result.exit_code
    assert "value-set-missing" in result.output
    assert [] == list(responses.calls)


@responses.activate
def test_what_is_no_fhir_is_not_written(run: Run, content: Path) -> None:
    home = site(content, SITE)
    responses.get(f"{SERVER}/ValueSet/$expand", json=served(contains=[{"system": 7, "code": "1"}]))

    result = run("concepts", "expand", "--content", content, "--site", "demo")

    assert (2, []) == (result.exit_code, list((home / "sets").iterdir()))
    assert "not-fhir" in result.output


@pytest.mark.parametrize("text", ["", SITE.replace(f"expand: {SERVER}\n", ""), f"expand: {SERVER}\n"])
def test_a_site_that_names_nothing_to_expand_is_told_so(run: Run, content: Path, text: str) -> None:
    site(content, text)

    result = run("concepts", "expand", "--content", content, "--site", "demo")

    assert 2 == result.exit_code
    assert "nothing-to-expand" in result.output


def test_a_site_must_be_named(run: Run) -> None:
    assert 2 == run("concepts", "expand").exit_code


# --- check -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"resourceType": "ValueSet"}, "no valid FHIR R4 ValueSet"),
        ({"resourceType": "ValueSet", "status": "active", "colour": "red"}, "no valid FHIR R4 ValueSet"),
        ({"resourceType": "Patient"}, "it is no ValueSet"),
    ],
)
def test_check_holds_the_value_sets_of_every_site_to_fhir(
    run: Run, content: Path, body: dict[str, object], said: str
) -> None:
    home = site(content, SITE.replace(URL, "good.json"))
    (home / "sets").mkdir()
    (home / "sets" / "good.json").write_text(json.dumps(served()), encoding="utf-8")
    (home / "sets" / "other.json").write_text(json.dumps(body), encoding="utf-8")

    output = run("check", "--content", content).output

    assert "sites/demo/sets/other.json:1" in output
    assert said in output
    assert "good.json" not in output


# --- import-rxnorm ---------------------------------------------------------------------------------------------------


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    return release.as_zip(tmp_path / "RxNorm_full_prescribe_11022026.zip")


def test_an_import_is_a_dry_run_first(run: Run, content: Path, newer: Path) -> None:
    home = site(content, "")

    output = run("concepts", "import-rxnorm", newer, "--content", content, "--site", "demo").output

    assert "+ vka 900201 SCD warfarin sodium 9 MG Oral Tablet (route oral, 1 ingredients)" in output
    assert "- vka 855332 SCD" in output
    assert "Ingredient by its name etelcalcetide: 900009 for calcimimetic." in output
    assert "Nothing was written." in output
    assert [] == list(home.iterdir())


def test_an_import_is_written_for_the_site_and_counts_once_the_site_names_it(
    run: Run, content: Path, newer: Path
) -> None:
    home = site(content, "")
    options = ("--content", content, "--site", "demo")

    output = run("concepts", "import-rxnorm", newer, *options, "--write").output
    assert "medication_products: medication-products.csv" in output
    assert ["medication-products.csv"] == [path.name for path in home.iterdir()]

    site(content, "medication_products: medication-products.csv\n")
    assert "[RxNorm 2026-11-02] (route oral, 1 ingredient)" in run("concepts", "vka", *options).output
    assert 0 == run("concepts", "match", "900201", *options).exit_code
    again = run("concepts", "import-rxnorm", newer, *options, "--write").output
    assert "0 added, 0 retired, 0 changed." in again
    assert "needs the line" not in again


def test_the_table_may_go_elsewhere_and_the_release_be_named(run: Run, tmp_path: Path) -> None:
    folder, target = release.as_folder(tmp_path / "unpacked"), tmp_path / "table.csv"

    assert 2 == run("concepts", "import-rxnorm", folder, "--output", target).exit_code
    result = run("concepts", "import-rxnorm", folder, "--output", target, "--source", "our own", "--write")

    assert 0 == result.exit_code
    assert ",our own\n" in target.read_text(encoding="utf-8")


def test_what_is_no_release_or_has_nothing_of_ours_is_refused(run: Run, tmp_path: Path) -> None:
    empty = tmp_path / "RxNorm_full_11022026"
    (empty / "rrf").mkdir(parents=True)
    for expected in ("There is no RXNCONSO.RRF", "no product of any medication"):
        result = run("concepts", "import-rxnorm", empty, "--output", tmp_path / "x.csv")
        assert 2 == result.exit_code
        assert expected in result.output
        for name in ("RXNCONSO.RRF", "RXNREL.RRF"):
            (empty / "rrf" / name).touch()
