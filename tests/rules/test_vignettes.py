"""
The runner of vignettes: what it refuses, what it notices, and what a clinician reads when one fails.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cds_service.errors import ContentError
from cds_service.rules import load_book
from cds_service.rules.chart import PATIENT_ID, Chart
from cds_service.rules.vignettes import Result, read_file, run_file
from cds_service.schemas import strict_yaml
from tests.rules.bedside import RULE, TODAY, VIGNETTES, changed, facts, small_content, words

FILE = "rules/monitoring/of-a-test.test.yaml"


def results(folder: Path, vignettes: str, rule: str = RULE) -> list[Result]:
    content = small_content(folder, rule, vignettes)
    return run_file(content / FILE, load_book(content))


def test_vignettes_that_hold(tmp_path: Path) -> None:
    found = results(tmp_path, VIGNETTES)

    assert ["phosphate is 7", "phosphate is 5", "nothing was sent"] == [one.vignette.name for one in found]
    assert all(one.passed for one in found)


WRONG = [
    # what stands there, what is written instead, which vignette, what its failure says
    ("phosphate: {3 days ago: 7.0 mg/dL}", "phosphate: {3 days ago: 5.5 mg/dL}", 0, "but it stays silent"),
    ("phosphate: {3 days ago: 5.0 mg/dL}", "phosphate: {3 days ago: 5.6 mg/dL}", 1, "but it fires"),
    ("    not_loaded: [observations]\n", "", 2, "but it stays silent"),
    ("missing: phosphate", "missing: [phosphate, calcium]", 2, "calcium is missing; it misses phosphate"),
    ("card: warning", "card: critical", 0, "expected: critical; the card is warning"),
    ("7.0 mg/dL}", "7.0 mg/dL, when: 5 mg/dL}", 0, '"when" is not a time'),
    ("3 days ago: 7.0", "30 dyas ago: 7.0", 0, '"30 dyas ago" is not a time'),
    ("{phosphate: {3 days ago: 7.0", "{phosphat: {3 days ago: 7.0", 0, 'Did you mean "phosphate"?'),
    ("{phosphate: {3 days ago: 7.0", "{calcium: {3 days ago: 7.0", 0, "name one of calcium-total, calcium-corrected"),
    ("today: 2026-03-01", "today: 2026-03-01", None, ""),
]


@pytest.mark.parametrize(("old", "new", "which", "says"), WRONG, ids=[new for _, new, *_ in WRONG])
def test_a_vignette_that_does_not_hold(tmp_path: Path, old: str, new: str, which: int | None, says: str) -> None:
    text, _ = changed(VIGNETTES, old, new)

    found = results(tmp_path, text)

    assert [number for number, one in enumerate(found) if not one.passed] == ([] if which is None else [which])
    assert which is None or says in str(found[which])


def test_a_failure_shows_the_evidence_trail(tmp_path: Path) -> None:
    text, line = changed(VIGNETTES, "phosphate: {3 days ago: 7.0 mg/dL}", "phosphate: {3 days ago: 5.5 mg/dL}")

    shown = str(results(tmp_path, text)[0]).splitlines()

    assert f"{FILE}:{line - 3}" == shown[0]
    assert "  of-a-test: phosphate is 7" == shown[1]
    assert "    ✗ all of" in shown
    assert "      ✗ latest Phosphate within 90 days above 5.5 mg/dL: 5.5 mg/dL, 2026-02-26" in shown


def test_the_summary_is_checked_by_whoever_can_write_it(tmp_path: Path) -> None:
    """
    The floor of the cards lies higher: the caller hands its wording in.
    """
    content = small_content(tmp_path)
    book = load_book(content)

    right = run_file(content / FILE, book, lambda outcome, facts: "Phosphate 7.0 mg/dL is high")
    wrong = run_file(content / FILE, book, lambda outcome, facts: "Something else")

    assert right[0].passed
    assert 'begins "Phosphate"; it is "Something else"' in str(wrong[0])


def test_a_rule_that_breaks_fails_its_vignettes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("cds_service.rules.measuring.compare", broken)

    found = results(tmp_path, VIGNETTES)

    assert "the rule itself broke: ZeroDivisionError" in str(found[0])


REFUSED = [
    ("rule: of-a-test", "rule: of-b-test", "id-is-file-name", 0, "Call the file of-b-test.test.yaml"),
    ("today: 2026-03-01", "today: 2026-03-32", "bad-date", 0, "no such day"),
    ("today: 2026-03-01", "today: soon", "wrong-shape", 0, "2026-03-01"),
    ("cannot_tell:", "cant_tell:", "wrong-shape", 0, 'Did you mean "cannot_tell"?'),
    ("    not_loaded: [observations]", "    not_loaded: [labs]", "wrong-shape", 0, "observations"),
    ("    not_loaded:", "    notloaded:", "wrong-shape", 0, 'Did you mean "not_loaded"?'),
    ("card: warning", "card: urgent", "wrong-shape", 0, "warning - Kidney failure"),
    ("    missing: phosphate", "    card: info", "wrong-heading", 0, '"card" is only for what fires'),
    ("    card: warning - Phosphate", "    missing: phosphate", "wrong-heading", 0, "only for what cannot tell"),
    ("{3 days ago: 7.0 mg/dL}", "{3 days ago: {value: 7, unt: mg/dL}}", "wrong-shape", 0, "unt"),
    ("{3 days ago: 7.0 mg/dL}", "{3 days ago: {value: 7 mg/dL, status: finl}}", "wrong-shape", 0, "finl"),
    ("today: 2026-03-01", "today: 2026-03-01\ntoday: 2026-03-02", "duplicate-key", 1, "stands twice"),
]


@pytest.mark.parametrize(
    ("old", "new", "slug", "further", "says"), REFUSED, ids=[f"{slug}: {new}" for _, new, slug, *_ in REFUSED]
)
def test_a_file_of_vignettes_that_does_not_read(
    tmp_path: Path, old: str, new: str, slug: str, further: int, says: str
) -> None:
    text, line = changed(VIGNETTES, old, new)
    path = small_content(tmp_path, vignettes=text) / FILE

    with pytest.raises(ContentError) as refusal:
        read_file(path)

    assert slug == refusal.value.slug, str(refusal.value)
    assert f"{FILE}:{line + further}" == refusal.value.where
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("thresholds: {limit: 6.5}", ""),
        ("thresholds: {limit: 7.5}", '"limit" may not be 7.5'),
        ("thresholds: {limt: 6.5}", 'Did you mean "limit"?'),
    ],
)
def test_a_vignette_may_set_a_threshold_inside_its_band(tmp_path: Path, given: str, says: str) -> None:
    text, _ = changed(VIGNETTES, "    card: warning - Phosphate", f"    {given}")

    first = results(tmp_path, text)[0]

    assert says in str(first)
    assert first.passed is not bool(says)


def test_vignettes_of_a_rule_that_is_not_there(tmp_path: Path) -> None:
    content = small_content(tmp_path)
    other = content / "rules" / "monitoring" / "of-b-test.test.yaml"
    other.write_text(VIGNETTES.replace("of-a-test", "of-b-test"), encoding="utf-8")

    assert 'Did you mean "of-a-test"?' in str(run_file(other, load_book(content))[0])


# --- the chart: how the words of a vignette become FHIR -----------------------------------------------------------


def chart(scene: str, today: date = TODAY) -> dict[str, Any]:
    document = strict_yaml.parse(("patient: 58-year-old woman\n" * ("patient:" not in scene) + scene).encode(), "test")
    return Chart(words(), today, "test").prefetch(document)


def first(scene: str, key: str) -> dict[str, Any]:
    resource: dict[str, Any] = chart(scene)[key]["entry"][0]["resource"]
    return resource


@pytest.mark.parametrize(
    ("said", "sex", "born"),
    [
        ("58-year-old woman", "female", "1968-03-01"),
        ("1-year-old boy", "male", "2025-03-01"),
        ("8-month-old girl", "female", "2025-07-01"),
        ("2-week-old boy", "male", "2026-02-15"),
        ("3-day-old boy", "male", "2026-02-26"),
        ("infant of 60 days", "unknown", "2025-12-31"),
        ("man born 1960", "male", "1960"),
        ("woman born 1960-05-17", "female", "1960-05-17"),
        ("person of unknown age", "unknown", None),
    ],
)
def test_who_the_patient_is(said: str, sex: str, born: str | None) -> None:
    patient = chart(f"patient: {said}")["patient"]

    assert (sex, born) == (patient["gender"], patient.get("birthDate"))


def test_a_birthday_that_does_not_exist_falls_on_the_day_before() -> None:
    assert "2023-02-28" == chart("patient: 1-year-old girl", date(2024, 2, 29))["patient"]["birthDate"]


@pytest.mark.parametrize("said", ["woman", "old woman", "58 year old woman", "58-year-old lady", "infant"])
def test_a_patient_that_cannot_be_read(said: str) -> None:
    with pytest.raises(ContentError, match="is not a patient") as refusal:
        chart(f"patient: {said}")

    assert "test:1" == refusal.value.where


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("today", "2026-03-01T12:00:00Z"),
        ("yesterday", "2026-02-28T12:00:00Z"),
        ("10 days ago", "2026-02-19T12:00:00Z"),
        ("1 week ago", "2026-02-22T12:00:00Z"),
        ("6 hours ago", "2026-03-01T06:00:00Z"),
        ("2 years ago", "2024-03-01T12:00:00Z"),
        ("in 2 days", "2026-03-03T12:00:00Z"),
        ("2025-11", "2025-11"),
        ("2025", "2025"),
    ],
)
def test_when_something_happened(said: str, written: str) -> None:
    assert written == first(f"labs: {{phosphate: {{{said}: 5 mg/dL}}}}", "observations")["effectiveDateTime"]


@pytest.mark.parametrize(
    ("written", "member"),
    [
        ("7.10 mg/dL", {"valueQuantity": ["7.10", "mg/dL"]}),
        ('"<6.0 mg/dL"', {"valueQuantity": ["6.0", "mg/dL", "<"]}),
        ('">= 6 mg/dL"', {"valueQuantity": ["6", "mg/dL", ">="]}),
        ("92", {"valueQuantity": ["92"]}),
        ("hemolyzed", {"valueString": "hemolyzed"}),
        ('{value: 5 mg/dL, status: corrected, time: "09:40"}', {"status": "corrected"}),
        ("{value: 5 mg/dL, note: hemolyzed}", {"note": [{"text": "hemolyzed"}]}),
    ],
)
def test_a_result_is_sent_as_it_is_written(written: str, member: dict[str, Any]) -> None:
    observation = first(f"labs: {{phosphate: {{3 days ago: {written}}}}}", "observations")
    quantity = observation.get("valueQuantity")
    if quantity:
        found = [bytes(quantity["value"]).decode(), quantity.get("unit"), quantity.get("comparator")]
        observation["valueQuantity"] = [part for part in found if part]

    assert member.items() <= observation.items()


def test_two_results_of_one_day() -> None:
    both = 'labs: {phosphate: {3 days ago: [{value: 8 mg/dL, time: "06:10"}, {value: 5 mg/dL, time: "09:40"}]}}'
    times = [entry["resource"]["effectiveDateTime"] for entry in chart(both)["observations"]["entry"]]

    assert ["2026-02-26T06:10:00Z", "2026-02-26T09:40:00Z"] == times


def test_a_result_without_a_value() -> None:
    assert {"dataAbsentReason"} <= set(first("labs: {phosphate: {3 days ago: {absent: error}}}", "observations"))


@pytest.mark.parametrize(
    ("scene", "key", "code"),
    [
        ("diagnoses: [met-eskd]", "conditions", "46177005"),
        ("diagnoses: [{code: N18.6, system: ICD-10-CM}]", "conditions", "N18.6"),
        ("medications: [vka]", "medications", "11289"),
        ('medications: [{product: "855332", statement: true}]', "statements", "855332"),
        ("medications: [{atc: B01AA04}]", "medications", "B01AA04"),
        ("procedures: {hemodialysis: [2 days ago]}", "procedures", "302497006"),
        ("family_history: [met-eskd]", "familyHistory", "46177005"),
    ],
)
def test_what_codes_an_ehr_would_send(scene: str, key: str, code: str) -> None:
    resource = first(scene, key)
    concept = resource.get("code") or resource.get("medicationCodeableConcept") or resource["condition"][0]["code"]

    assert code == concept["coding"][0]["code"]
    assert (resource.get("subject") or resource["patient"])["reference"] == f"Patient/{PATIENT_ID}"


def test_a_code_that_also_means_other_diseases_is_never_chosen() -> None:
    """
    E83.59 covers other disorders of calcium too; a vignette that says calciphylaxis means calciphylaxis.
    """
    assert "237900002" == first("diagnoses: [calciphylaxis]", "conditions")["code"]["coding"][0]["code"]


def test_every_diagnosis_medication_and_procedure_can_be_written_and_is_read_back() -> None:
    """
    The chart of a vignette says what the vignette says: each concept survives the way through FHIR.
    """
    lost = []
    for concept in words().concepts.values():
        scene = {
            "diagnosis": f"diagnoses: [{concept.id}, calcinosis-cutis]",  # beside which all that need company count
            "medication": f"medications: [{concept.id}]",
            "procedure": f"procedures: {{{concept.id}: [2 days ago]}}",
        }[concept.kind]
        if not concept.codes or concept.id == "family-history":
            continue
        try:
            found = facts(scene)
        except ContentError:  # every code it has also means something else; test_a_chart_that_cannot_be_written
            continue
        if not {*found.diagnoses, *found.medications, *found.procedures} & {concept.id}:
            lost.append(concept.id)

    assert [] == lost


@pytest.mark.parametrize(
    ("scene", "key", "resource_type"),
    [
        ("not_loaded: [observations]", "observations", None),
        ("failed: [observations]", "observations", "OperationOutcome"),
        ("", "observations", "Bundle"),
    ],
)
def test_what_was_not_loaded_what_failed_and_what_is_empty_differ(
    scene: str, key: str, resource_type: str | None
) -> None:
    assert resource_type == chart(scene).get(key, {}).get("resourceType")


@pytest.mark.parametrize(
    ("scene", "says"),
    [
        ("diagnoses: [met-esdk]", 'Did you mean "met-eskd"?'),
        ("diagnoses: [calcinosis]", "That is a group: name one of calcinosis-cutis, idi-scn"),
        ("diagnoses: [{code: N18.6, system: ICD10}]", 'There is no code system "ICD10"'),
        ("diagnoses: [{onset: 3 days ago}]", "neither what it is nor its code"),
        ("diagnoses: [ktx-rejection]", "has no code of its own"),
        ("medications: [vkaa]", 'Did you mean "vka"?'),
        ("procedures: {hemodialyis: [2 days ago]}", 'Did you mean "hemodialysis"?'),
        ('labs: {phosphate: {3 days ago: {value: 5 mg/dL, code: "2777-2"}}}', 'Did you mean "2777-1"?'),
    ],
)
def test_a_chart_that_cannot_be_written(scene: str, says: str) -> None:
    with pytest.raises(ContentError) as refusal:
        chart(scene)

    assert says in str(refusal.value)
    assert "test:2" == refusal.value.where
