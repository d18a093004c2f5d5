"""
The mutants are wrong changes of decisions, each of one place; wording, types and imports stay as they are.
"""

from __future__ import annotations

import ast

from tests.mutation.mutants import mutants

SOURCE = '''
from decimal import Decimal

LIMIT = Decimal("4.0")


def high(value: Decimal | None, *, days: int = 7) -> str:
    """Say it."""
    if value is None or not value > LIMIT:
        return f"not above {LIMIT}"
    return "high" if days <= 90 and any(True for _ in range(days) if days) else "old"
'''


def changes(source: str = SOURCE) -> list[str]:
    return [one.change for one in mutants("a.py", source)]


def test_every_kind_of_change_is_made() -> None:
    made = " / ".join(changes())

    for part in (
        '"4.0" -> "4.01"',
        "7 -> 8",
        "90 -> 91",
        "Is -> IsNot",
        "Or -> And",
        "And -> Or",
        "drop not",
        "Gt -> GtE",
        "LtE -> Lt",
        "True -> False",
        "any -> all",
        "drop if: days",
        "negate: value is None",
        "return None",
    ):
        assert part in made


def test_a_mutant_differs_in_one_place_and_can_be_read() -> None:
    for one in mutants("a.py", SOURCE):
        assert ast.unparse(ast.parse(SOURCE)) != one.source
        compile(one.source, "a.py", "exec")


def test_a_mutant_knows_its_function() -> None:
    assert {"", "high"} == {one.function for one in mutants("a.py", SOURCE)}


def test_wording_and_types_are_left_alone() -> None:
    source = 'def said(value: int | None) -> str | None:\n    """Of 3."""\n    scope.fail(f"not {value + 1}", 3 < 4)\n'

    assert [] == changes(source)
