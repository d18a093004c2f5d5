"""What the tests of publishing share: the vignettes, and content that a test may change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from cds_service.publishing.catalogue import Vignettes
from cds_service.rules.book import RuleBook, load_book
from cds_service.rules.vignettes import read_file, vignette_paths
from tests.build import ROOT

HOOKS = ROOT / "hooks"
DAY = date(2026, 11, 21)
# A rule that every edition has; tests that need one rule take this one.
SAMPLE = "eskd-hyperphosphatemia"


@pytest.fixture(scope="session")
def vignettes() -> Vignettes:
    return {name: read_file(path) for name, path in vignette_paths(HOOKS).items()}


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., RuleBook]:
    """Load a copy of the content in which the sample rule reads differently, or which has a site file."""

    def load(*replacements: tuple[str, str], site: str = "") -> RuleBook:
        content = Path(shutil.copytree(HOOKS, tmp_path / "hooks"))
        rule = next((content / "rules").glob(f"*/{SAMPLE}.yaml"))
        text = rule.read_text(encoding="utf-8")
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        rule.write_text(text, encoding="utf-8")
        if site:
            (content / "sites").mkdir(exist_ok=True)
            (content / "sites" / "general.yaml").write_text(site, encoding="utf-8")
        return load_book(content, "general" if site else "")

    return load
