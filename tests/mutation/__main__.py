"""
Run a sample of mutants against the fast tests, and say which survived: ``python -m tests.mutation --sample 420``.

Nothing is written: the tests are collected once, and each mutant lives in a child process that takes its functions
over and runs, until one fails, the tests that call them. Why not mutmut: it knows a function's tests by who called
it first, but the rule book is loaded once for all tests, so a mutant of the compiler would meet a single one; and it
leaves limits that stand outside functions alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from tests.mutation.plugin import Mutating, Sample

ROOT = Path(__file__).resolve().parents[2]
RULES = ("words", "measuring", "compiler", "evaluation", "ordering", "thresholds", "needs", "quiet")
FACTS = ("calcium", "kidney", "lesions", "minerals", "patterns", "ratio", "qualitative", "exposures", "doses")
MORE_FACTS = ("evidence", "series", "subtype")
MODULES = [
    *(f"cds_service/rules/{name}.py" for name in RULES),
    *(f"cds_service/facts/{name}.py" for name in (*FACTS, *MORE_FACTS)),
]
# The quickest first: a mutant that is killed early costs little.
QUIET = ("tests/adapters/test_quiet_memory.py", "tests/web/test_quiet.py")
TESTS = ("hooks/rules", "tests/facts", "tests/cards", "tests/content", *QUIET, "tests/rules")
# Calls that are padded to go the other way through the reader say the same.
ONCE = ("-k", "not large")


def main() -> None:
    """Try the mutants, and print one line for each, then a table."""
    asked = _asked()
    mutating = Mutating(ROOT, MODULES, asked.only, Sample(asked.sample, asked.skip, asked.seed), asked.calls)
    paths = [str(ROOT / name) for name in TESTS]
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}", *ONCE, *paths], plugins=[mutating]))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run a sample of mutants against the fast tests.")
    parser.add_argument("--sample", type=int, default=420, help="how many mutants, drawn at random")
    parser.add_argument("--skip", type=int, default=0, help="how many of them to leave out, to go on after a stop")
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--calls", type=Path, help="a file that keeps which tests call which functions, for next time")
    parser.add_argument("--only", default="", help="only mutants whose name contains this, and then all of them")
    return parser.parse_args()


if __name__ == "__main__":
    main()
