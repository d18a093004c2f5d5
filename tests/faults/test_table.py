"""
What docs/security.md promises is shown by tests that exist: the faults of RELIABILITY.md 3, the tables of SECURITY.md.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.build import ROOT
from tests.faults.table import FAULTS

TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith(("| ---", "|---"))]
NAME = re.compile(r"`([a-z_/]+\.py)::(test_\w+)`")
NAMED = sorted({(file, test) for line in ROWS for file, test in NAME.findall(line)})


@cache
def functions_of(path: Path) -> set[str]:
    """Name the tests of a file."""
    found = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {one.name for one in found if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")}


@pytest.mark.parametrize(("file", "test"), NAMED, ids=[test for _, test in NAMED])
def test_every_test_that_is_named_is_there(file: str, test: str) -> None:
    assert test in functions_of(ROOT / "tests" / file)


def test_every_fault_has_its_row_and_its_tests() -> None:
    assert list(range(1, 51)) == list(FAULTS)
    shown = {
        int(found[1]): (found[2], tuple(f"{file}::{test}" for file, test in NAME.findall(found[3])))
        for line in ROWS
        if (found := re.match(r"\| (\d+) \| (.*?) \| (.*) \|$", line))
    }

    assert FAULTS == shown


def test_every_promise_names_a_test_or_says_that_it_is_not_kept_yet() -> None:
    promises = [line for line in ROWS if not re.match(r"\| (\d+|#|promise|fault) \|", line)]

    assert 50 < len(promises)
    assert [] == [line for line in promises if not NAME.search(line) and "not yet" not in line]


def test_every_section_is_there() -> None:
    for number in range(8):
        assert f"## {number}. " in TEXT
