"""check, test and prefetch: for those who write rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run

RULE = "rules/metastatic/eskd-hyperphosphatemia.yaml"
VIGNETTES = "rules/metastatic/eskd-hyperphosphatemia.test.yaml"


def spoil(path: Path, old: str, new: str) -> None:
    """Replace a text that must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


# --- check ------------------------------------------------------------------------------------------------------------


def test_the_shipped_content_is_sound(run: Run) -> None:
    result = run("check")

    assert 0 == result.exit_code, result.output
    assert "0 errors" in result.output


def test_check_counts_what_it_found(run: Run, content: Path) -> None:
    output = run("check", "--content", content).output

    for kind in ("rules", "active", "files of vignettes", "services", "tests", "orders", "Rule book"):
        assert kind in output


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (RULE, "latest: phosphate", "lastest: phosphate", 'Did you mean "latest"'),
        (RULE, "above: phosphate_high", "above: phosphat_high", 'Did you mean "phosphate_high"'),
        (RULE, "{2003-10-01: 5.5}", "{2003-10-01: 55}", "allowed"),
        (RULE, "id: eskd-hyperphosphatemia", "id: [", RULE),
        (VIGNETTES, "today: 2026-03-01", "today: soon", VIGNETTES),
        ("patient-view/service.yaml", "- eskd-hyperphosphatemia", "- eskd-hyperfosfatemia", "Did you mean"),
    ],
)
def test_broken_content_is_named_by_file_and_told_how_to_mend(
    run: Run, content: Path, file: str, old: str, new: str, said: str
) -> None:
    spoil(content / file, old, new)

    result = run("check", "--content", content)

    assert 1 == result.exit_code
    assert Path(file).name in result.output
    assert said in result.output
    assert "Traceback" not in result.output


def test_a_site_that_does_not_fit_the_rules_is_an_error(run: Run, content: Path) -> None:
    site = content / "sites" / "general.yaml"
    site.parent.mkdir(exist_ok=True)
    site.write_text("site: general\nstatus:\n  no-such-rule: {status: pilot, who: A, why: B}\n", encoding="utf-8")
    spoiled = "site: general\nthresholds:\n  no-such.threshold:\n    - {since: 2026-01-01, value: 1, who: A, why: B}\n"
    site.write_text(spoiled, encoding="utf-8")

    result = run("check", "--content", content)

    assert 1 == result.exit_code
    assert "no-such.threshold" in result.output


def test_what_a_reviewer_would_send_back_is_no_error(run: Run, content: Path) -> None:
    (content / VIGNETTES).unlink()

    result = run("check", "--content", content)

    assert 0 == result.exit_code
    assert "No vignette under fires" in result.output


def test_a_folder_without_content_is_an_error(run: Run, tmp_path: Path) -> None:
    assert 1 == run("check", "--content", tmp_path).exit_code


def test_a_content_folder_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    result = run("test", CDS_CONTENT=str(tmp_path / "nowhere"))

    assert 2 == result.exit_code
    assert "nowhere" in result.output


# --- test -------------------------------------------------------------------------------------------------------------


def test_vignettes_are_read_out(run: Run) -> None:
    result = run("test", "eskd-hyper*")

    assert 0 == result.exit_code, result.output
    assert "✓ fires: on hemodialysis, phosphate 7.1 last week" in result.output
    assert ", 0 failed." in result.output


def test_a_vignette_that_fails_shows_the_trail(run: Run, content: Path) -> None:
    spoil(content / VIGNETTES, "{10 days ago: 5.5 mg/dL}", "{10 days ago: 5.6 mg/dL}")

    result = run("test", "eskd-hyper*", "--content", content)

    assert 1 == result.exit_code
    assert "✗ stays silent: exactly 5.5 is not above 5.5" in result.output
    assert "expected: stays silent; but it fires" in result.output
    assert "5.6 mg/dL" in result.output


def test_a_rule_without_vignettes_is_a_misunderstanding(run: Run) -> None:
    assert 2 == run("test", "no-such-rule").exit_code


# --- prefetch ---------------------------------------------------------------------------------------------------------


def test_the_queries_are_printed_for_ehrs_that_do_not_read_discovery(run: Run) -> None:
    lines = dict(line.split("\t") for line in run("prefetch").output.splitlines())

    assert "Patient/{{context.patientId}}" == lines["patient"]
    assert lines["observations"].startswith("Observation?patient={{context.patientId}}&code=")


def test_a_hook_that_nobody_answers_lists_those_that_are(run: Run) -> None:
    result = run("prefetch", "--hook", "allergyintolerance-create")

    assert 2 == result.exit_code
    assert "patient-view" in result.output
