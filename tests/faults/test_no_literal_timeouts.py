"""
Every wait on the way of a call takes what is left of its deadline: no number of its own (RELIABILITY.md 3, last lines).
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.source import PACKAGE, shown, tree

WAITS = {"wait", "result", "join", "acquire", "create_connection", "get", "settimeout", "sleep"}
FILES = [
    *(PACKAGE / "adapters" / "fhir").glob("*.py"),
    *(PACKAGE / "adapters" / name for name in ("outbound.py", "addresses.py", "deadline.py", "auth/keys.py")),
    *(PACKAGE / "web" / name for name in ("completion.py", "cds.py", "express.py", "door.py")),
]


def literal_waits(module: ast.Module) -> list[int]:
    """Return the lines on which something is waited for by a number."""
    found = []
    for call in ast.walk(module):
        if isinstance(call, ast.Call):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            given = [one.value for one in call.keywords if one.arg == "timeout"] + (call.args if name in WAITS else [])
            numbers = [one for one in given if isinstance(one, ast.Constant) and isinstance(one.value, int | float)]
            found += [call.lineno for one in numbers if not isinstance(one.value, bool)]
    return found


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_nothing_waits_by_a_number_of_its_own(path: Path) -> None:
    assert [] == literal_waits(tree(path))


@pytest.mark.parametrize(
    "planted", ["session.get(url, timeout=5)", "event.wait(2.0)", "future.result(1)", "time.sleep(3)"]
)
def test_a_planted_number_is_found(planted: str) -> None:
    assert [1] == literal_waits(ast.parse(planted))
