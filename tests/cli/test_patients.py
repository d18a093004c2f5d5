"""explain and evaluate: what the rules say about patients in files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.build import (
    LEFT_OUT,
    call,
    concept,
    condition,
    observation,
    outcome,
    patient,
    prefetch,
    reference,
)
from tests.cli.conftest import Run
from tests.orders import draft, order_call, service_draft

Chart = Callable[..., Path]
DAY = ("--as-of", "2026-03-01")
ESKD = (patient(), condition(), observation("phosphate", 7.1))


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., Path]:
    """Write a complete hook call."""

    def write(values: Any, **members: Any) -> Path:
        path = tmp_path / "call.json"
        path.write_text(json.dumps(call(values, **members)), encoding="utf-8")
        return path

    return write


# --- explain ----------------------------------------------------------------------------------------------------------


def test_every_rule_is_explained_fired_or_not(run: Run, chart: Chart) -> None:
    result = run("explain", chart(*ESKD), *DAY)

    assert 0 == result.exit_code, result.output
    assert "✓ eskd-hyperphosphatemia" in result.output
    assert "✗ hypercalcemia-workup" in result.output
    assert "7.1 mg/dL" in result.output
    assert "observations: loaded" in result.output


def test_the_orders_of_a_call_are_shown(run: Run, asked: Callable[..., Path]) -> None:
    said = order_call("order-select", draft(), service_draft(), draft(id="x", medicationCodeableConcept=LEFT_OUT),
                      selections=["draft-1", "x"], record=ESKD)  # fmt: skip
    result = run("explain", asked(LEFT_OUT, **said), *DAY)

    assert 0 == result.exit_code, result.output
    for line in ("MedicationRequest/draft-1: ", "(nephrology), not selected", "MedicationRequest/x: cannot be read"):
        assert line in result.output


@pytest.mark.parametrize("hook", ["order-sign", "encounter-start", "medication-refill", "problem-list-item-create"])
def test_every_hook_can_be_explained_and_evaluated(run: Run, chart: Chart, hook: str) -> None:
    file = chart(*ESKD, draft())
    for command in ("explain", "evaluate"):
        result = run(command, file, *DAY, "--hook", hook)

        assert 0 == result.exit_code, result.output


def test_the_unsigned_orders_of_a_record_are_those_that_are_signed(run: Run, chart: Chart) -> None:
    result = run("explain", chart(*ESKD, draft()), *DAY, "--hook", "order-sign", "--rule", "vka-calciphylaxis-risk")

    assert "✓ vka-calciphylaxis-risk" in result.output


def test_one_rule_can_be_asked_for(run: Run, chart: Chart) -> None:
    output = run("explain", chart(*ESKD), *DAY, "--rule", "eskd-hyperphosphatemia").output

    assert "hypercalcemia-workup" not in output


def test_a_mistyped_rule_is_guessed(run: Run, chart: Chart) -> None:
    result = run("explain", chart(*ESKD), "--rule", "eskd-hyperphosphatemie")

    assert 2 == result.exit_code
    assert 'Did you mean "eskd-hyperphosphatemia"' in result.output


def test_what_was_set_aside_and_what_means_nothing_is_shown(run: Run, chart: Chart) -> None:
    lost = observation("phosphate", 9.9, status="preliminary")
    output = run("explain", chart(*ESKD, lost, condition("59621000")), *DAY).output

    assert "status-preliminary" in output
    assert "59621000" in output


def test_a_hook_call_is_explained_as_it_was_sent(run: Run, asked: Chart) -> None:
    values = prefetch(*ESKD, conditions=outcome(), procedures=LEFT_OUT)

    output = run("explain", asked(values), *DAY).output

    assert "conditions: the EHR could not load it" in output
    assert "? eskd-hyperphosphatemia" in output
    assert "missing: " in output


def test_a_refused_call_says_why_the_ehr_got_no_cards(run: Run, asked: Chart) -> None:
    values = prefetch(*ESKD, observation(subject=reference("pat-2")))

    result = run("explain", asked(values), *DAY)

    assert 1 == result.exit_code
    assert "wrong-patient" in result.output


def test_the_newest_day_makes_old_results_new(run: Run, chart: Chart) -> None:
    old = chart(patient(), condition(recordedDate="2009-01-01"), observation(effectiveDateTime="2010-05-05"))

    assert "✓ eskd-hyperphosphatemia" in run("explain", old, "--as-of", "newest").output
    assert "✗ eskd-hyperphosphatemia" in run("explain", old, "--as-of", "today").output


def test_one_of_several_patients_is_chosen(run: Run, chart: Chart) -> None:
    both = chart(*ESKD, patient(id="second"))

    assert 2 == run("explain", both).exit_code
    assert "second" in run("explain", both).output
    assert "Patient second" in run("explain", both, "--patient", "second").output
    assert 2 == run("explain", both, "--patient", "third").exit_code


@pytest.mark.parametrize("day", ["yesterday", "2026-02-30", "03/01/2026"])
def test_a_day_that_is_none_is_refused(run: Run, chart: Chart, day: str) -> None:
    assert 2 == run("explain", chart(*ESKD), "--as-of", day).exit_code


# --- evaluate ---------------------------------------------------------------------------------------------------------


def test_a_population_is_counted(run: Run, chart: Chart) -> None:
    result = run("evaluate", chart(*ESKD, patient(id="healthy")), *DAY)

    assert 0 == result.exit_code, result.output
    assert "2 patients" in result.output
    assert "CC-01  eskd-hyperphosphatemia" in result.output


def test_the_tables_come_as_json_too(run: Run, chart: Chart) -> None:
    tables = json.loads(run("evaluate", chart(*ESKD), *DAY, "--json").stdout)

    assert 1 == tables["patients"]
    assert {"rule": "eskd-hyperphosphatemia", "indicator": "warning", "count": 1} in tables["findings"]
    assert {} == tables["failed"]


def test_cards_are_shown_on_request(run: Run, chart: Chart) -> None:
    output = run("evaluate", chart(*ESKD), *DAY, "--cards").output

    assert "=== Patient pat-1" in output
    assert "Kidney failure with phosphate 7.1 mg/dL" in output


def test_a_refused_call_ends_with_code_1(run: Run, asked: Chart) -> None:
    result = run("evaluate", asked(prefetch(*ESKD, observation(subject=reference("pat-2")))), *DAY)

    assert 1 == result.exit_code
    assert "wrong-patient" in result.output


def test_calls_and_patients_can_share_a_folder(run: Run, asked: Chart, chart: Chart) -> None:
    folder = asked(prefetch(*ESKD)).parent
    chart(patient(id="second"), name="second.json")

    assert "2 patients" in run("evaluate", folder, *DAY).output


def test_a_local_code_system_is_read_as_the_one_it_copies(run: Run, chart: Chart) -> None:
    local = "http://hospital.example/icd"
    path = chart(patient(), condition("N186", local), observation())

    assert "0 cards" in run("evaluate", path, *DAY).output.splitlines()[1]
    assert "1 warning" in run("evaluate", path, *DAY, "--system-alias", f"{local}=ICD-10-CM").output.splitlines()[1]


@pytest.mark.parametrize("alias", ["ICD-10-CM", "http://x=ICD-9", "=ICD-10-CM"])
def test_an_alias_must_name_a_system_that_concepts_know(run: Run, chart: Chart, alias: str) -> None:
    result = run("evaluate", chart(*ESKD), "--system-alias", alias)

    assert 2 == result.exit_code
    assert "ICD-10-CM" in result.output


def test_conditions_without_a_status_count_unless_told_otherwise(run: Run, chart: Chart) -> None:
    path = chart(patient(), condition(clinicalStatus=LEFT_OUT), observation())

    assert "1 warning" in run("evaluate", path, *DAY).output
    assert "0 cards" in run("evaluate", path, *DAY, "--strict-status").output


def test_codes_worded_like_ours_are_pointed_out(run: Run, chart: Chart) -> None:
    """
    Public sandboxes code calcium as blood; somebody should see that the rules do not read it.
    """
    local = observation(code=concept("CA-77", "http://lab.example", display="Calcium, total"))

    output = run("evaluate", chart(*ESKD, local), *DAY).output

    assert "CA-77" in output.partition("somebody should look")[2].partition("All codes")[0]


def test_units_that_cannot_be_used_are_listed(run: Run, chart: Chart) -> None:
    output = run("evaluate", chart(*ESKD, observation("phosphate", 2, "barleycorns")), *DAY).output

    assert "barleycorns" in output.partition("Units that cannot be used")[2]


def test_what_the_queries_cut_off_is_said(run: Run, chart: Chart) -> None:
    many = [observation("phosphate", 3.1, days=day / 20) for day in range(600)]

    output = run(
        "evaluate", chart(patient(), condition(), *many, observation("calcium-total", 9, days=80)), *DAY
    ).output

    assert "Answers that the whole record would have changed" in output


def test_the_dead_get_no_cards(run: Run, chart: Chart) -> None:
    dead = chart(patient(deceasedDateTime="2026-02-25"), *ESKD[1:])

    assert "1 of them deceased" in run("evaluate", dead, *DAY).output
    assert "1 warning" in run("evaluate", dead, "--as-of", "newest").output


def test_a_file_that_cannot_be_read_ends_with_code_2(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{", encoding="utf-8")

    result = run("evaluate", tmp_path / "x.json")

    assert 2 == result.exit_code
    assert "x.json" in result.output
