"""
Quick start, writing a rule, benchmarks: every command in them runs, every link leads somewhere.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.build import ROOT
from tests.cli.test_serving import serving
from tests.docs.test_integration import commands

BIN = Path(sys.executable).parent
GUIDES = ("quick-start.md", "write-a-rule.md", "benchmarks.md")
# What a new user needs to know has a page of its own (README).
PAGES = ("quick-start", "concepts", "write-a-rule", "tune", "operate", "security", "interop", "benchmarks")
LONGEST = 330


def in_shell(line: str, folder: Path) -> str:
    """Run a line as a user of the folder does; return what it says."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("CDS_")}
    environment = {**known, "PATH": f"{BIN}:{os.environ['PATH']}"}
    command = ["bash", "-o", "pipefail", "-c", line.replace(".venv/bin/", "")]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, (line, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """Run what `make run` runs; give its address."""
    assert "@exec $(BIN)/cds-service demo" in (ROOT / "Makefile").read_text(encoding="utf-8")
    with serving("demo", "--port", "0") as (url, _, _):
        yield url


def test_the_quick_start_leads_to_a_card(demo: str) -> None:
    first, *others = commands("quick-start.md")
    said = [in_shell(line.replace("http://127.0.0.1:8321", demo), ROOT) for line in others]

    assert "make run" == first
    assert ["curl", ".venv/bin/cds-service"] == [line.split()[0] for line in others][:2]
    assert "Kidney failure with phosphate 7.1 mg/dL" in said[0]
    assert "no recent usable phosphate, calcium, PTH" in said[1]
    assert "eskd-hyperphosphatemia" in said[2]
    assert "17 patients" in said[3]


def test_the_way_to_a_rule_leads_to_a_card(tmp_path: Path) -> None:
    for name in ("hooks", "fixtures"):
        shutil.copytree(ROOT / name, tmp_path / name)
    said = {line: in_shell(line, tmp_path) for line in commands("write-a-rule.md")}
    printed = "\n".join(said.values())

    assert "0 errors" in printed
    assert re.search(r"eskd-phosphate-very-high: .*\(CC-38, active", printed)
    assert re.search(r"CC-38 +eskd-phosphate-very-high +\d", printed)


def test_a_benchmark_is_a_command_that_there_is() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:make|python -m|pytest) [^`]+)`", text))

    assert 6 <= len(named)
    for line in sorted(named):
        tool, *words = line.split()
        if tool == "make":
            assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        elif tool == "pytest":
            assert (ROOT / words[0]).is_file()
        else:
            said = in_shell(f"python -m {words[1]} --help", ROOT)
            assert [] == [word for word in words if word.startswith("--") and word not in said], line


@pytest.mark.parametrize("page", PAGES)
def test_what_a_new_user_needs_has_a_short_page(page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")

    assert LONGEST > len(text.splitlines())
    assert f"docs/{page}.md" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", GUIDES)
def test_every_link_of_a_guide_leads_somewhere(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)", text) if "://" not in target]

    assert targets
    assert [] == [target for target in targets if not (ROOT / "docs" / target).exists()]
