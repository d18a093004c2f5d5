"""
Who adds a rule copies a file and its vignettes, and touches no Python: the rule is announced, read, tried and shown.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.testing import FlaskClient

from cds_service.cli import main
from cds_service.rules.book import RuleBook, load_book
from cds_service.web import Settings, create_app
from tests.build import NOW, ROOT, body, condition, observation, to_json

MODEL, NEW, NUMBER = "eskd-hyperphosphatemia", "eskd-copied-rule", "CC-91"
CHAPTER = "metastatic"
# A test that no other rule reads, and its LOINC code.
SHOWN, CODE = "hba1c", "4548-4"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the content, and in it one rule with its vignettes: another name, number and title, and one test more."""
    folder = Path(shutil.copytree(ROOT / "hooks", tmp_path_factory.mktemp("content") / "hooks"))
    rules = folder / "rules" / CHAPTER
    text = (rules / f"{MODEL}.yaml").read_text(encoding="utf-8")
    for old, new in (
        (f"id: {MODEL}", f"id: {NEW}"),
        ("number: CC-01", f"number: {NUMBER}"),
        ("title: ", "title: Copied. "),
        ("  show: [", f"  show: [{SHOWN}, "),
    ):
        assert 1 == text.count(old), old
        text = text.replace(old, new)
    (rules / f"{NEW}.yaml").write_text(text, encoding="utf-8")
    vignettes = (rules / f"{MODEL}.test.yaml").read_text(encoding="utf-8")
    (rules / f"{NEW}.test.yaml").write_text(vignettes.replace(f"rule: {MODEL}", f"rule: {NEW}"), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def copied(content: Path) -> RuleBook:
    return load_book(content)


@pytest.fixture(scope="module")
def client(content: Path, copied: RuleBook) -> FlaskClient:
    app: Flask = create_app(Settings(auth="none", content=str(content)), book=copied, clock=NOW.timestamp)
    return app.test_client()


def run(content: Path, *words: str) -> Result:
    """Run a command on the content as its author does."""
    return CliRunner().invoke(main, [*words, "--content", str(content)])


def test_it_is_one_rule_more(book: RuleBook, copied: RuleBook) -> None:
    assert {NEW} == copied.rules.keys() - book.rules.keys()


def test_discovery_asks_for_what_it_reads(book: RuleBook, copied: RuleBook, client: FlaskClient) -> None:
    before = {one.service.id: one.service.prefetch for one in book.services.values()}
    hooks = copied.rules[NEW].hooks

    announced = client.get("/cds-services").json["services"]  # type: ignore[index]

    assert hooks
    for one in announced:
        asked = CODE in one["prefetch"].get("observations", "")
        assert asked is (one["hook"] in hooks)
        assert CODE not in before[one["id"]].get("observations", "")


def test_it_speaks_where_its_hook_is_asked(client: FlaskClient) -> None:
    call = body(condition(), observation("2777-1", 9.4, "mg/dL"))

    answer = client.post("/cds-services/calcinosis-patient-view", data=call, content_type="application/json")

    rules = {rule["id"] for card in answer.json["cards"] for rule in card["extension"]["org.calcinosis-cds"]["rules"]}  # type: ignore[index]
    assert {MODEL, NEW} <= rules


@pytest.mark.parametrize("path", ["/rules/", f"/rules/{NEW}", f"/rules/{NEW}/source-attributes.html"])
def test_the_catalogue_shows_it(client: FlaskClient, path: str) -> None:
    page = client.get(path, headers={"Accept": "text/html"})

    assert 200 == page.status_code
    assert "Copied. Kidney failure with high phosphate" in page.text


def test_the_document_tells_of_it(content: Path) -> None:
    written = run(content, "rules", "--markdown", "-").output

    assert NUMBER in written
    assert "Copied. Kidney failure with high phosphate" in written
    assert NEW in run(content, "rules").output


def test_it_is_exported_as_fhir(content: Path, tmp_path: Path) -> None:
    result = run(content, "export", "--fhir", str(tmp_path))

    assert 0 == result.exit_code, result.output
    exported = [json.loads(path.read_bytes()) for path in tmp_path.glob("*.json")]
    plans = [one for one in exported if one["resourceType"] == "PlanDefinition" and one["id"] == NEW]
    assert ["Copied. Kidney failure with high phosphate"] == [one["title"] for one in plans]


def test_its_vignettes_are_tried(content: Path) -> None:
    result = run(content, "test", NEW)

    assert 0 == result.exit_code, result.output
    assert result.output.startswith(NEW)
    assert " 0 failed" in result.output


def test_nothing_is_missing(content: Path) -> None:
    result = run(content, "check")

    assert 0 == result.exit_code, result.output
    assert f"{len(load_book(content).rules)} rules" in result.output


def test_a_vignette_that_does_not_hold_is_found(content: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(content, tmp_path / "hooks"))
    path = folder / "rules" / CHAPTER / f"{NEW}.test.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("card: warning", "card: critical"), encoding="utf-8")

    assert 1 == run(folder, "test", NEW).exit_code


def test_the_test_run_collects_its_vignettes(content: Path) -> None:
    path = content / "rules" / CHAPTER / f"{NEW}.test.yaml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", str(path)]

    done = subprocess.run(
        command,
        cwd=content,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert 0 == done.returncode, done.stdout
    assert " passed" in done.stdout


def test_a_site_may_switch_it_off(content: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(content, tmp_path / "hooks"))
    (folder / "sites").mkdir(exist_ok=True)
    said = {"site": "general", "status": {NEW: {"status": "retired", "who": "A. Min", "why": "A copy"}}}
    (folder / "sites" / "general.yaml").write_bytes(to_json(said))

    off = load_book(folder, "general")

    assert "retired" == off.rules[NEW].status
    assert all(CODE not in one.service.prefetch.get("observations", "") for one in off.services.values())
