"""What docs/concepts.md promises works: its site loads, and every command it shows is run."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import responses
from click.testing import CliRunner

from cds_service.cli import main
from cds_service.terminology import Terminology
from tests.terminology import release

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
COMMANDS = [
    re.split(r"\s{2,}", line)[0]
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]
SNOMED = "http://snomed.info/sct"


def value_set(*codes: str) -> dict[str, object]:
    contains = [{"system": SNOMED, "code": code, "display": "x"} for code in codes]
    return {
        "resourceType": "ValueSet",
        "status": "active",
        "expansion": {"timestamp": "2026-11-21", "contains": contains},
    }


@pytest.fixture
def hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give our content with the site of the page, and stand beside the release that the page names."""
    home = Path(shutil.copytree(ROOT / "hooks", tmp_path / "hooks")) / "sites" / "demo"
    text, more = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (table,) = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)
    (home / "value-sets").mkdir(parents=True)
    home.with_suffix(".yaml").write_text(text, encoding="utf-8")
    (home / "more").write_text(more, encoding="utf-8")
    (home / "local-codes.csv").write_text(table, encoding="utf-8")
    for name, codes in (("acne.json", ["38341003"]), ("ulcer.json", ["402863005", "4996001"])):
        (home / "value-sets" / name).write_text(json.dumps(value_set(*codes)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name in ("CDS_SITE", "CDS_AUTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CDS_CONTENT", str(tmp_path / "hooks"))
    release.as_zip(tmp_path / "RxNorm_full_prescribe_11022026.zip")
    return tmp_path / "hooks"


@responses.activate
def test_every_command_of_the_page_works_in_its_order(hooks: Path) -> None:
    responses.get("https://tx.hospital.example/r4/ValueSet/$expand", json=value_set("21522001"))
    said = {}
    for command in COMMANDS:
        result = CliRunner().invoke(main, shlex.split(command)[1:])
        assert 0 == result.exit_code, (command, result.output)
        said[command] = result.output

    assert len(COMMANDS) > 12
    assert "[site: A. Min, 2026-11-20]" in said["cds-service concepts dys-acne --site demo"]
    assert ",NXP2-AB" in said["cds-service prefetch --site demo"]
    assert (hooks / "sites" / "demo" / "medication-products.csv").is_file()
    with (hooks / "sites" / "demo.yaml").open("a", encoding="utf-8") as file:
        file.write((hooks / "sites" / "demo" / "more").read_text(encoding="utf-8"))
    assert 0 == CliRunner().invoke(main, ["concepts", "match", "900201", "--site", "demo"]).exit_code


def test_the_page_names_what_is_known_by_its_name(words: Terminology) -> None:
    named = {words.label(name) for kind in ("measurement", "procedure") for name in words.indexes[kind].named}

    assert {"Anti-NXP2", "Anti-MDA5", "QTc", "EEG, EMG or evoked potentials"} == named
    assert "(anti-NXP2, anti-MDA5, QTc, EEG)" in PAGE
