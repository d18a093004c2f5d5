"""rules and export: what is published, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

from cds_service.rules.book import RuleBook
from tests.cli.conftest import Run


def test_rules_lists_every_rule_with_its_hooks(run: Run, book: RuleBook) -> None:
    lines = run("rules").output.splitlines()

    for rule in book.rules.values():
        assert any(rule.number in line and rule.id in line and rule.status in line for line in lines)


def test_the_catalogue_is_written_to_a_file_or_to_the_terminal(run: Run, book: RuleBook, tmp_path: Path) -> None:
    page = tmp_path / "rules.md"
    written, shown = run("rules", "--markdown", page), run("rules", "--markdown", "-")

    assert (0, 0) == (written.exit_code, shown.exit_code)
    assert page.read_text(encoding="utf-8") == shown.output
    assert all(f'<a id="{rule}"></a>' in shown.output for rule in book.rules)


def test_a_rule_that_was_added_by_a_file_stands_in_the_catalogue(run: Run, content: Path) -> None:
    original = next((content / "rules").glob("*/eskd-hyperphosphatemia.yaml"))
    copy = original.with_name("copied-rule.yaml")
    text = original.read_text(encoding="utf-8").replace("id: eskd-hyperphosphatemia", "id: copied-rule")
    copy.write_text(text.replace("number: CC-01", "number: CC-99"), encoding="utf-8")

    assert '<a id="copied-rule"></a>' in run("rules", "--content", content, "--markdown", "-").output


def test_export_writes_every_rule_and_a_bundle(run: Run, book: RuleBook, tmp_path: Path) -> None:
    result = run("export", "--fhir", tmp_path / "out" / "fhir")
    names = {path.name for path in (tmp_path / "out" / "fhir").iterdir()}

    assert 0 == result.exit_code, result.output
    assert {f"PlanDefinition-{rule}.json" for rule in book.rules} <= names
    assert "Bundle-calcinosis-cds.json" in names
    assert f"{len(names)} files" in result.output


def test_export_names_the_developer_of_the_settings(run: Run, tmp_path: Path) -> None:
    run("export", "--fhir", tmp_path, CDS_DEVELOPER="Example Hospital")
    plan = json.loads(next(tmp_path.glob("PlanDefinition-*.json")).read_bytes())

    assert "Example Hospital" == plan["publisher"]


def test_export_says_where_to_only_when_told(run: Run) -> None:
    assert 2 == run("export").exit_code
