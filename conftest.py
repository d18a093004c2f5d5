"""Collects the vignettes beside the rules (``hooks/**/*.test.yaml``) as tests, each named by its sentence."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cds_service.facts.intake import Reader
from cds_service.rules import RuleBook, load_book
from cds_service.rules.vignettes import SUFFIX, Render, Vignette, read_file, run

# What the service says of itself during the whole run is searched for patients and secrets at its end.
pytest_plugins = ("tests.said",)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take every ``.test.yaml`` under a ``rules`` folder for a file of vignettes."""
    if file_path.name.endswith(SUFFIX) and file_path.parent.parent.name == "rules":
        return VignetteFile.from_parent(parent, path=file_path)
    return None


class VignetteFile(pytest.File):
    """The vignettes of one rule."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield one test for each vignette."""
        for vignette in read_file(self.path):
            yield VignetteItem.from_parent(self, name=f"{vignette.heading}: {vignette.name}", vignette=vignette)


class VignetteItem(pytest.Item):
    """One patient, and what the rule should say of them."""

    def __init__(self, *, vignette: Vignette, **rest: Any) -> None:
        super().__init__(**rest)
        self.vignette = vignette

    def runtest(self) -> None:
        """Send the patient down the real road."""
        book, reader = _book(self.path.parents[2])
        result = run(self.vignette, book, _render(book), reader)
        if not result.passed:
            pytest.fail(str(result), pytrace=False)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Say where the vignette stands."""
        return self.path, self.vignette.line - 1, self.name


@cache
def _book(content: Path) -> tuple[RuleBook, Reader]:
    book = load_book(content)
    return book, Reader(book.terminology)


def _render(book: RuleBook) -> Render:
    """Fill the summary as the card does: the conftest may know both floors, the rules floor may not."""
    from cds_service.cards.wording import Voice

    return lambda outcome, facts: Voice(outcome, facts, book.terminology).summary()
