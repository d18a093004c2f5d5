"""
What a site adds to the concepts: ValueSets and local codes, checked code by code, with file and line for what is wrong.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cds_service import terminology
from cds_service.errors import ContentError
from cds_service.rules import needs
from cds_service.rules.book import load_book, load_words
from cds_service.schemas import strict_yaml
from cds_service.terminology import Coding, Terminology, site
from cds_service.terminology.meaning import Meaning, read_meaning
from tests.build import ROOT

HOOKS = ROOT / "hooks"
HEADER = "system,code,display,concept,who,when\n"
SNOMED, LOCAL = "http://snomed.info/sct", "http://hospital.example/codes"
# A SNOMED CT code that no concept has; its check digit is right.
OTHER, ANOTHER = "38341003", "4996001"


@pytest.fixture
def content(tmp_path: Path) -> Path:
    """Give a content folder whose concepts are ours, with a site called demo that a test may write."""
    (tmp_path / "sites" / "demo" / "sets").mkdir(parents=True)
    (tmp_path / "concepts").symlink_to(HOOKS / "concepts")
    return tmp_path


def write(content: Path, text: str, **files: str) -> None:
    """Write the site's file, and files below the site's folder ("__" for "/", "_dot_" for ".")."""
    (content / "sites" / "demo.yaml").write_text(f"site: demo\n{text}", encoding="utf-8")
    for name, body in files.items():
        path = content / "sites" / "demo" / name.replace("__", "/").replace("_dot_", ".")
        path.write_text(body, encoding="utf-8")


def table(*rows: str) -> str:
    return HEADER + "".join(f"{row}\n" for row in rows)


def value_set(*codes: str, system: str = SNOMED, **more: Any) -> str:
    """Return a ValueSet whose definition lists these codes."""
    listed = [{"system": system, "concept": [{"code": code, "display": f"name of {code}"} for code in codes]}]
    return json.dumps(
        {"resourceType": "ValueSet", "status": "active", "compose": {"include": listed}, **more}, indent=1
    )


def sets(concepts: str) -> str:
    return f"value_sets:\n  folder: sets\n  who: A. Min\n  when: 2026-11-01\n  concepts:\n    {concepts}\n"


def load(content: Path) -> Terminology:
    return load_words(content, "demo")[0]


def refused(content: Path) -> ContentError:
    with pytest.raises(ContentError) as problem:
        load(content)
    return problem.value


def read(words: Terminology, kind: str, code: str, system: str = LOCAL, text: str | None = None) -> Meaning:
    return read_meaning(words.indexes[kind], words.systems, [Coding(system, code)], text)


def meant(words: Terminology, kind: str, code: str, system: str = LOCAL) -> set[str]:
    return {match.concept for match in read(words, kind, code, system).matches}


# --- value sets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concepts", ["dys-acne: acne.json", "dys-acne: [acne.json]", "dys-acne: {from: acne.json}"])
def test_a_value_set_adds_its_codes_to_a_concept(content: Path, concepts: str) -> None:
    write(content, sets(concepts), sets__acne_dot_json=value_set(OTHER))

    words = load(content)

    assert {"dys-acne"} == meant(words, "diagnosis", OTHER, SNOMED)
    (added,) = words.additions
    assert ("site: A. Min, 2026-11-01", "name of 38341003") == (added.verified, added.display)
    assert "sites/demo/sets/acne.json:" in added.where
    assert int(added.where.rpartition(":")[2]) > 1


def test_a_value_set_is_found_by_its_url_whatever_its_version(content: Path) -> None:
    url = "http://hospital.example/ValueSet/acne"
    write(content, sets(f"dys-acne: {url}|2"), sets__any_dot_json=value_set(OTHER, url=url))

    assert {"dys-acne"} == meant(load(content), "diagnosis", OTHER, SNOMED)


def test_the_expansion_counts_and_not_the_definition_with_all_that_is_nested_in_it(content: Path) -> None:
    heading = {"abstract": True, "contains": [{"system": SNOMED, "code": ANOTHER, "contains": []}]}
    expansion = {"total": 3, "contains": [{"system": SNOMED, "code": OTHER}, heading]}
    document = value_set("21522001", expansion=expansion)
    write(content, sets("dys-acne: acne.json"), sets__acne_dot_json=document)

    words = load(content)

    assert {OTHER, ANOTHER} == {one.code for one in words.additions}
    assert set() == meant(words, "diagnosis", "21522001", SNOMED)


def test_a_code_that_the_definition_excludes_or_the_site_leaves_out_is_left_out(content: Path) -> None:
    document = json.loads(value_set(OTHER, ANOTHER, "21522001"))
    document["compose"]["exclude"] = [{"system": SNOMED, "concept": [{"code": "21522001"}]}]
    entry = f'dys-acne: {{from: acne.json, leave_out: ["{ANOTHER}"], who: B. Other}}'
    write(content, sets(entry), sets__acne_dot_json=json.dumps(document))

    assert [(OTHER, "site: B. Other, 2026-11-01")] == [(one.code, one.verified) for one in load(content).additions]


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        ("{", "json"),
        ("[]", "json"),
        ('{"resourceType": "Bundle"}', "not-a-value-set"),
        ('{"resourceType": "ValueSet"}', "empty-value-set"),
        (value_set(), "value-set-not-expanded"),
        ('{"resourceType": "ValueSet", "expansion": {"contains": []}}', "empty-value-set"),
        ('{"resourceType": "ValueSet", "expansion": {"total": 9, "contains": [{"code": "1"}]}}', "expansion-cut-off"),
        ('{"resourceType": "ValueSet", "expansion": {"contains": [1]}}', "wrong-shape"),
        ('{"resourceType": "ValueSet", "compose": {"include": [{"filter": [{}]}]}}', "value-set-not-expanded"),
        ('{"resourceType": "ValueSet", "compose": {"include": [{"valueSet": ["x"]}]}}', "value-set-not-expanded"),
        ('{"resourceType": "ValueSet", "compose": {"include": {}, "exclude": 1}}', "wrong-shape"),
    ],
    ids=range(11),
)
def test_a_value_set_whose_codes_cannot_be_known_is_refused(content: Path, body: str, slug: str) -> None:
    write(content, sets("dys-acne: acne.json"), sets__acne_dot_json=body)

    problem = refused(content)

    assert slug == problem.slug
    assert problem.where.startswith("sites/demo/sets/acne.json")


def test_a_deeply_nested_expansion_is_refused(content: Path) -> None:
    inner: dict[str, Any] = {"system": SNOMED, "code": OTHER}
    for _ in range(25):
        inner = {"abstract": True, "contains": [inner]}
    write(content, sets("dys-acne: acne.json"), sets__acne_dot_json=value_set(expansion={"contains": [inner]}))

    assert "too-deep" == refused(content).slug


@pytest.mark.parametrize(
    ("concepts", "slug"),
    [
        ("dys-acne: http://hospital.example/none", "value-set-missing"),
        ("dys-acne: none.json", "unreadable"),
        ("dys-acne: ../../demo.yaml", "outside-the-site"),
        ("dys-acne: /etc/passwd", "outside-the-site"),
        ("dys-acne: {who: nobody}", "wrong-shape"),
    ],
)
def test_a_value_set_that_is_not_there_is_refused_with_its_line(content: Path, concepts: str, slug: str) -> None:
    write(content, sets(concepts))

    problem = refused(content)

    assert slug == problem.slug
    assert problem.where.startswith("sites/demo")


@pytest.mark.parametrize("folder", ["..", "../other", "/tmp", "a\\\\b"])
def test_a_folder_outside_the_site_is_refused(content: Path, folder: str) -> None:
    write(content, sets("dys-acne: a.json").replace("folder: sets", f'folder: "{folder}"'))

    assert ("outside-the-site", "sites/demo.yaml:3") == ((problem := refused(content)).slug, problem.where)


# --- the table of local codes ----------------------------------------------------------------------------------------


def test_local_codes_mean_concepts_in_their_own_system_only(content: Path) -> None:
    rows = [
        f"{LOCAL},NXP2-AB,NXP2 antibody,nxp2,A. Min,2026-11-01",
        f'{LOCAL},DX 7,"Acne, severe",dys-acne,A. Min,2026-11-01',
        "ICD-10-CM,L70.8,Other acne,dys-acne,A. Min,2026-11-01",
    ]
    write(content, "local_codes: codes.csv\n", codes_dot_csv=table(*rows))

    words = load(content)

    assert {"nxp2"} == meant(words, "measurement", "NXP2-AB")
    assert {"dys-acne"} == meant(words, "diagnosis", "DX 7")
    assert {"dys-acne"} == meant(words, "diagnosis", "L708", "http://hl7.org/fhir/sid/icd-10-cm")
    assert set() == meant(words, "measurement", "NXP2-AB", "http://other.example")
    assert set() == meant(words, "diagnosis", "NXP2-AB")


@pytest.mark.parametrize(
    "body",
    [
        f"\ufeff{HEADER}{LOCAL},X1,Acne,dys-acne,A. Min,2026-11-01\r\n\r\n",
        f"system;code;display;concept;who;when\n{LOCAL};X1;Acne;dys-acne;A. Min;2026-11-01\n",
        f"when,who,concept,code,system,display\n2026-11-01, A. Min ,dys-acne,X1,{LOCAL},\n,,,,,\n",
    ],
    ids=["with a mark", "semicolons", "other order"],
)
def test_a_table_is_read_as_spreadsheets_write_it(content: Path, body: str) -> None:
    write(content, "local_codes: [codes.csv]\n", codes_dot_csv=body)

    (added,) = load(content).additions

    assert ("X1", "A. Min", 2) == (added.code, added.who, int(added.where.rpartition(":")[2]))


def test_a_table_may_be_yaml(content: Path) -> None:
    row = f"{{system: {LOCAL}, code: X1, concept: dys-acne, who: A. Min, when: 2026-11-01}}"
    write(content, "local_codes: codes.yaml\n", codes_dot_yaml=f"codes:\n  - {row}\n")

    (added,) = load(content).additions

    assert ("X1", "sites/demo/codes.yaml:2") == (added.code, added.where)


@pytest.mark.parametrize(
    ("body", "slug", "line"),
    [
        ("system,code\n", "wrong-columns", 1),
        (HEADER.replace("who", "whom"), "wrong-columns", 1),
        ("", "wrong-columns", 1),
        (table(f"{LOCAL},X1,Acne,dys-acne,A. Min"), "row-too-short", 2),
        (table(f"{LOCAL},X1,Acne,bad,dys-acne,A. Min,2026-11-01"), "row-too-long", 2),
        (table(f"{LOCAL},X1,Acne,dys-acne,,2026-11-01"), "row-incomplete", 2),
        (table(f"{LOCAL},X1,Acne,dys-acne,A. Min,2026-13-01"), "bad-date", 2),
        (table(f"{LOCAL},X1,Acne,dys-acn,A. Min,2026-11-01"), "unknown-concept", 2),
        (table(f"{LOCAL},X1,Any,calcinosis,A. Min,2026-11-01"), "group-not-allowed", 2),
        (table("Loink,X1,Any,phosphate,A. Min,2026-11-01"), "unknown-system", 2),
        (table("LOINC,2777-7,Phosphate,phosphate,A. Min,2026-11-01"), "check-digit", 2),
        (table("SNOMED CT,38341030,Any,dys-acne,A. Min,2026-11-01"), "check-digit", 2),
        (table("SNOMED CT,x,Any,dys-acne,A. Min,2026-11-01"), "check-digit", 2),
        (table("RxNorm,1,Any,dys-acne,A. Min,2026-11-01"), "wrong-kind", 2),
        (table("LOINC,2777-1,Any,vka,A. Min,2026-11-01"), "wrong-kind", 2),
        (table("ICD-10-CM,E83.39,Any,phosphate,A. Min,2026-11-01"), "wrong-kind", 2),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(content: Path, body: str, slug: str, line: int) -> None:
    write(content, "local_codes: codes.csv\n", codes_dot_csv=body)

    problem = refused(content)

    assert (slug, f"sites/demo/codes.csv:{line}") == (problem.slug, problem.where)


def test_the_word_that_was_meant_is_offered(content: Path) -> None:
    write(content, "local_codes: c.csv\n", c_dot_csv=table(f"{LOCAL},X1,Acne,dys-acn,A. Min,2026-11-01"))

    assert 'Did you mean "dys-acne"?' in refused(content).what


@pytest.mark.parametrize(
    ("route", "ingredients", "slug"),
    [("sideways", "1", "unknown-route"), ("oral", "none", "bad-number"), ("", "0", "bad-number")],
)
def test_a_product_of_the_site_needs_a_route_and_a_number_that_exist(
    content: Path, route: str, ingredients: str, slug: str
) -> None:
    header = HEADER.replace("\n", ",route,ingredients\n")
    row = f"{LOCAL},X1,Any,ca-iv,A. Min,2026-11-01,{route},{ingredients}\n"
    write(content, "local_codes: c.csv\n", c_dot_csv=header + row)

    assert slug == refused(content).slug


def test_a_product_of_the_site_has_its_route_and_is_part_of_the_whole(content: Path) -> None:
    """
    What counts as warfarin counts as a vitamin K antagonist too.
    """
    header = HEADER.replace("\n", ",route,ingredients\n")
    row = f"{LOCAL},W5,Warfarin 5,warfarin,A. Min,2026-11-01,oral,1\n"
    write(content, "local_codes: c.csv\n", c_dot_csv=header + row)

    found = read(load(content), "medication", "W5").matches

    assert [("vka", "oral"), ("warfarin", "oral")] == sorted((match.concept, match.route) for match in found)


def test_a_route_on_a_diagnosis_is_refused(content: Path) -> None:
    row = f"{LOCAL},X1,Acne,dys-acne,A. Min,2026-11-01,oral\n"
    write(content, "local_codes: c.csv\n", c_dot_csv=HEADER.replace("\n", ",route\n") + row)

    assert "wrong-kind" == refused(content).slug


def test_an_atc_class_of_the_site_counts_with_everything_below_it(content: Path) -> None:
    write(content, "local_codes: c.csv\n", c_dot_csv=table("ATC,B01AA,VKA,vka,A. Min,2026-11-01"))

    assert {"vka"} == meant(load(content), "medication", "B01AA12", "http://www.whocc.no/atc")


@pytest.mark.parametrize("raw", [b"\xff\xfe", None])
def test_a_table_that_cannot_be_read_is_refused(content: Path, raw: bytes | None) -> None:
    write(content, "local_codes: c.csv\n")
    if raw:
        (content / "sites" / "demo" / "c.csv").write_bytes(raw)

    assert refused(content).slug in {"not-utf-8", "unreadable"}


# --- conflicts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        "SNOMED CT,46177005,ESRD,met-ckd,A. Min,2026-11-01",
        "ICD-10-CM,L97.122,Ulcer,les-explained,A. Min,2026-11-01",
        "LOINC,2777-1,Phosphate,calcium-total,A. Min,2026-11-01",
        "RxNorm,855332,Warfarin tablet,doac,A. Min,2026-11-01",
        "ICD-10-CM,Z84.11,Family,met-ckd,A. Min,2026-11-01",
    ],
)
def test_a_code_that_means_another_concept_already_is_refused_with_a_remedy(content: Path, row: str) -> None:
    write(content, "local_codes: c.csv\n", c_dot_csv=table(row))

    problem = refused(content)

    assert ("code-conflict", "sites/demo/c.csv:2") == (problem.slug, problem.where)
    assert "leave_out" in problem.remedy


def test_two_rows_of_the_site_that_contradict_each_other_are_refused_naming_both(content: Path) -> None:
    rows = [f"{LOCAL},X1,Any,{concept},A. Min,2026-11-01" for concept in ("dys-acne", "dys-burn")]
    write(content, "local_codes: c.csv\n", c_dot_csv=table(*rows))

    problem = refused(content)

    assert "sites/demo/c.csv:3" == problem.where
    assert "sites/demo/c.csv:2" in problem.what


def test_a_code_may_mean_two_things_where_the_site_says_so(content: Path) -> None:
    """
    KNOWLEDGE 3: calcium carbonate is at once binder and supplement.
    """
    header = HEADER.replace("\n", ",shared\n")
    rows = "".join(f"{LOCAL},X1,Any,{concept},A. Min,2026-11-01,yes\n" for concept in ("ca-binder", "ca-supp"))
    write(content, "local_codes: c.csv\n", c_dot_csv=header + rows)

    assert {"ca-binder", "ca-supp"} == meant(load(content), "medication", "X1")


@pytest.mark.parametrize("concept", ["phosphate", "met-ckd"])
def test_a_result_is_of_one_test_and_a_family_history_is_nobody_s_disease_whatever_the_site_says(
    content: Path, concept: str
) -> None:
    code = {"phosphate": "LOINC,17861-6", "met-ckd": "ICD-10-CM,Z84.11"}[concept]
    body = HEADER.replace("\n", ",shared\n") + f"{code},Any,{concept},A. Min,2026-11-01,yes\n"
    write(content, "local_codes: c.csv\n", c_dot_csv=body)

    assert "code-conflict" == refused(content).slug


def test_a_generic_code_never_becomes_sufficient(content: Path) -> None:
    """
    E83.59 is on many a value set for calciphylaxis: it stays a code that counts only with wording.
    """
    icd = "http://hl7.org/fhir/sid/icd-10-cm"
    write(content, sets("calciphylaxis: c.json"), sets__c_dot_json=value_set("E83.59", system=icd))

    words = load(content)

    assert () == words.additions
    assert set() == meant(words, "diagnosis", "E83.59", icd)
    found = read(words, "diagnosis", "E83.59", icd, "Calciphylaxis").matches
    assert ["calciphylaxis"] == [match.concept for match in found]


def test_a_generic_code_of_others_is_refused(content: Path) -> None:
    write(content, "local_codes: c.csv\n", c_dot_csv=table("ICD-10-CM,E83.59,Any,calcinosis-cutis,A. Min,2026-11-01"))

    assert "generic-code" == refused(content).slug


def test_a_code_that_the_concept_has_already_is_passed_over(content: Path, words: Terminology) -> None:
    write(content, "local_codes: c.csv\n", c_dot_csv=table("SNOMED CT,46177005,ESRD,met-eskd,A. Min,2026-11-01"))

    extended = load(content)

    assert () == extended.additions
    assert words.codes == extended.codes


def test_a_code_in_a_system_that_the_site_calls_its_own_way_is_one_of_that_system(content: Path) -> None:
    text = "system_aliases: {urn:local:dx: SNOMED CT}\nlocal_codes: c.csv\n"
    write(content, text, c_dot_csv=table(f"urn:local:dx,{OTHER},Acne,dys-acne,A. Min,2026-11-01"))

    assert {"dys-acne"} == meant(load(content), "diagnosis", OTHER, SNOMED)


# --- what follows from it --------------------------------------------------------------------------------------------


def whole(content: Path) -> Path:
    """Return a whole content folder, ours, with the site that the test wrote."""
    return Path(
        shutil.copytree(
            content / "sites", shutil.copytree(HOOKS, content / "hooks") / "sites", dirs_exist_ok=True
        ).parent
    )


def test_codes_of_the_site_are_asked_for_in_prefetch_escaped(content: Path) -> None:
    rows = [
        "LOINC,24519-1,Phosphate other,phosphate,A. Min,2026-11-01",
        f'{LOCAL},"P 1,2|3",Phosphate,phosphate,A. Min,2026-11-01',
        f"{LOCAL},HD9,Dialysis,hemodialysis,A. Min,2026-11-01",
    ]
    write(content, "local_codes: c.csv\n", c_dot_csv=table(*rows))

    service = load_book(whole(content), "demo").services["calcinosis-patient-view"].service
    asked = service.prefetch

    assert ",24519-1," in asked["observations"].replace("&", ",")
    assert "P%201%5C%2C2%5C%7C3" in asked["observations"]
    assert "HD9" in asked["procedures"]
    assert needs.MAX_URL > max(map(len, asked.values()))


def test_the_fingerprint_of_the_rule_book_covers_what_the_site_added(content: Path) -> None:
    write(content, sets("dys-acne: acne.json"), sets__acne_dot_json=value_set(OTHER))
    hooks = whole(content)
    first = load_book(hooks, "demo").fingerprint
    (hooks / "sites" / "demo" / "sets" / "acne.json").write_text(value_set(ANOTHER), encoding="utf-8")

    assert first != load_book(hooks, "demo").fingerprint
    assert load_book(hooks).fingerprint == load_book(HOOKS).fingerprint


def test_a_table_of_products_of_the_site_replaces_ours(content: Path) -> None:
    body = (
        "concept,rxcui,tty,route,ingredients,name,source\nvka,999001,SCD,oral,1,warfarin 9 MG Oral Tablet,RxNorm test\n"
    )
    write(content, "medication_products: p.csv\n", p_dot_csv=body)

    words = load(content)

    rxnorm = "http://www.nlm.nih.gov/research/umls/rxnorm"
    assert {"vka"} == meant(words, "medication", "999001", rxnorm)
    assert set() == meant(words, "medication", "855332", rxnorm)
    assert {"vka", "warfarin"} == meant(words, "medication", "11289", rxnorm)


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        ("a,b\n", "wrong-columns"),
        ("concept,rxcui,tty,route,ingredients,name,source\nvka,1,SCD,oral,many,x,y\n", "bad-product"),
        ("concept,rxcui,tty,route,ingredients,name,source\nvka,1\n", "bad-product"),
        ("concept,rxcui,tty,route,ingredients,name,source\nnone,1,SCD,oral,1,x,y\n", "unknown-concept"),
        (None, "content"),
    ],
)
def test_a_wrong_table_of_products_is_refused(content: Path, body: str | None, slug: str) -> None:
    write(content, "medication_products: p.csv\n", **({"p_dot_csv": body} if body else {}))

    assert slug == refused(content).slug


def test_a_site_that_adds_nothing_changes_nothing(content: Path, words: Terminology) -> None:
    write(content, "")

    extended = load(content)

    assert (words.codes, words.groups, ()) == (extended.codes, extended.groups, extended.additions)


def test_what_is_to_be_expanded_can_be_read_before_it_is_there(content: Path) -> None:
    write(content, sets("dys-acne: http://x.example/vs") + "expand: http://tx.example/r4\n")
    path = content / "sites" / "demo.yaml"

    found = site.read(strict_yaml.read(path), path, with_codes=False)

    assert ["http://x.example/vs"] == [one.url for one in found.wanted]
    assert ("http://tx.example/r4", content / "sites" / "demo" / "sets") == (found.server, found.folder)


def test_loading_our_own_concepts_reads_no_site(words: Terminology) -> None:
    assert () == terminology.load(HOOKS / "concepts").additions == words.additions
