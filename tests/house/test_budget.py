"""
The code budget of HOUSE.md: short functions, short files, public things explained.
"""

from __future__ import annotations

import ast
from statistics import median

import pytest

from tests.house.source import python_files, shown, tree

MEDIAN_LINES, MOST_LINES, LONGEST, FILE_LINES, DOCUMENTED = 7, 25, 50, 400, 0.70


def functions(node: ast.AST, prefix: str = "") -> list[tuple[str, int]]:
    """List each outermost function or method with the lines of its body; nested ones count as part of it."""
    found = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append((prefix + child.name, body_lines(child)))
        elif isinstance(child, ast.ClassDef):
            found += functions(child, f"{child.name}.")
        else:
            found += functions(child, prefix)
    return found


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines from the first statement after the docstring to the end."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def public(node: ast.AST, prefix: str = "") -> list[tuple[str, bool]]:
    """List each public class, function and method, and whether it has a docstring."""
    found = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and child.name[0] != "_":
            found.append((prefix + child.name, ast.get_docstring(child) is not None))
            if isinstance(child, ast.ClassDef):
                found += public(child, f"{child.name}.")
    return found


@pytest.fixture(scope="module")
def lengths() -> dict[str, int]:
    """Give the length of every function of the engine."""
    return {
        f"{shown(path)}:{name}": lines for path in python_files("cds_service") for name, lines in functions(tree(path))
    } or {"nothing yet": 0}


def test_half_of_all_functions_are_very_short(lengths: dict[str, int]) -> None:
    assert MEDIAN_LINES >= median(lengths.values())


def test_nine_of_ten_functions_fit_on_half_a_screen(lengths: dict[str, int]) -> None:
    longer = {name: lines for name, lines in lengths.items() if lines > MOST_LINES}

    assert len(lengths) / 10 >= len(longer), longer


def test_no_function_is_longer_than_a_screen(lengths: dict[str, int]) -> None:
    assert {} == {name: lines for name, lines in lengths.items() if lines > LONGEST}


def test_no_file_is_too_long() -> None:
    sizes = {shown(path): len(path.read_text().splitlines()) for path in python_files("cds_service")}

    assert {} == {name: lines for name, lines in sizes.items() if lines > FILE_LINES}


def test_public_things_are_explained() -> None:
    things = [(shown(path), *thing) for path in python_files("cds_service") for thing in public(tree(path))]
    bare = [f"{path}:{name}" for path, name, documented in things if not documented]

    assert (1 - DOCUMENTED) * len(things) >= len(bare), bare


def test_the_measure_counts_what_a_reader_reads() -> None:
    """
    Neither the signature nor the docstring counts; a nested function does, once.
    """
    source = 'class A:\n  def f(self,\n    x):\n    """Say."""\n    def g():\n      return x\n    return g\n'

    assert [("A.f", 3)] == functions(ast.parse(source))
