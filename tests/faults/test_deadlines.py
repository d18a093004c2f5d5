"""
Nothing that a hook call waits for has a time-out of its own: all take what is left of the call's (RELIABILITY.md 3).
"""

from __future__ import annotations

import ast

import pytest

from tests.house.source import PACKAGE, python_files, shown, tree

# What a hook call passes through, and what it may wait for.
FOLDERS = ("cds_service/adapters/fhir", "cds_service/adapters/auth", "cds_service/web")
FILES = [*python_files(*FOLDERS), PACKAGE / "adapters" / "outbound.py", PACKAGE / "adapters" / "deadline.py"]


def literal_waits(module: ast.Module) -> list[int]:
    """Return the lines where something waits for a number of seconds that is written there."""
    found = []
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            named = [one.value for one in node.keywords if one.arg == "timeout"]
            place = isinstance(node.func, ast.Attribute) and node.func.attr in ("wait", "result", "join", "settimeout")
            named += node.args[:1] if place else []
            found += [node.lineno for value in named if isinstance(value, ast.Constant) and is_number(value.value)]
    return found


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def test_no_wait_has_a_literal_time_out() -> None:
    assert [] == [f"{shown(path)}:{line}" for path in FILES for line in literal_waits(tree(path))]


@pytest.mark.parametrize("planted", ["s.get(u, timeout=2)", "e.wait(1.5)", "f.result(3)", "s.settimeout(10)"])
def test_a_planted_one_is_found(planted: str) -> None:
    assert [1] == literal_waits(ast.parse(planted))


@pytest.mark.parametrize(
    "sound", ["s.get(u, timeout=deadline.remaining())", "e.wait(PAUSE)", "', '.join(x)", "f.result()"]
)
def test_what_takes_what_is_left_is_left_alone(sound: str) -> None:
    assert [] == literal_waits(ast.parse(sound))
