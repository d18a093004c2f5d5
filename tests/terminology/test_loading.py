"""
Content that does not load says so with file and line, and is never half loaded.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cds_service import terminology
from cds_service.errors import ContentError
from cds_service.terminology import Terminology
from tests.build import ROOT

CONCEPTS = ROOT / "hooks" / "concepts"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CONCEPTS, tmp_path / "concepts"))


def replace(path: Path, old: str, new: str) -> None:
    """Replace the first occurrence of a text in a file."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new", "slug"),
    [
        ("labs.yaml", "  calcium-corrected:\n", "  calcium-total:\n", "duplicate-key"),
        ("diagnoses.yaml", "  calciphylaxis:\n", "  phosphate:\n", "duplicate-concept"),
        ("labs.yaml", 'mmol/L: "4.008"', 'mmol/L: "four"', "bad-concept"),
        ("labs.yaml", "    name: Calcium\n", "", "bad-concept"),
        ("units.yaml", "units:\n", "units: &x\n", "yaml-reference"),
        ("systems.yaml", "systems:\n", "systems:\n\t", "yaml-syntax"),
    ],
    ids=["key twice", "concept twice", "no number", "no name", "anchor", "tab"],
)
def test_content_that_is_wrong_is_refused_with_its_place(copy: Path, file: str, old: str, new: str, slug: str) -> None:
    replace(copy / file, old, new)

    with pytest.raises(ContentError) as refused:
        terminology.load(copy)

    assert slug == refused.value.slug
    assert file in refused.value.where


def test_a_file_that_is_not_there_is_refused(copy: Path) -> None:
    (copy / "labs.yaml").unlink()

    with pytest.raises(ContentError) as refused:
        terminology.load(copy)

    assert "unreadable" == refused.value.slug


def test_a_group_stands_for_its_members(words: Terminology) -> None:
    genital, circumscripta, universalis = "idi-genital", "idi-circ", "idi-univ"

    assert ("calcinosis-cutis", "idi-scn", genital, circumscripta, universalis) == words.members("calcinosis")
    assert ("phosphate",) == words.members("phosphate")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("phosphate", "measurement"),
        ("calcium", "measurement"),
        ("met-eskd", "diagnosis"),
        ("calcinosis", "diagnosis"),
        ("vka", "medication"),
        ("hemodialysis", "procedure"),
        ("nonsense", None),
    ],
)
def test_every_name_has_a_kind(words: Terminology, name: str, kind: str | None) -> None:
    assert kind == words.kind(name)
