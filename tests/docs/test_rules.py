"""docs/rules.md is what the rules say, and the README says the intended use."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path

from cds_service.cli.publish import catalogue_document
from cds_service.publishing.intended import INTENDED_USE
from cds_service.publishing.markdown import COMMAND
from cds_service.rules import RuleBook

ROOT = Path(__file__).resolve().parents[2]
STALE = f"docs/rules.md is not what the rules say. Write it anew: {COMMAND} (or make docs)"


def test_the_rules_in_the_documentation_are_those_that_run(book: RuleBook) -> None:
    page = ROOT / "docs" / "rules.md"
    written = page.read_text(encoding="utf-8").splitlines() if page.exists() else []
    expected = catalogue_document(book, ROOT / "hooks").splitlines()
    differing = next((pair for pair in zip_longest(expected, written) if pair[0] != pair[1]), None)

    assert differing is None, STALE


def test_the_readme_says_the_intended_use_in_the_same_words() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())

    assert INTENDED_USE in readme
