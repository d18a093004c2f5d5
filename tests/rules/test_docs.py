"""
The page for clinicians tells of every word there is, and of none that there is not.
"""

from __future__ import annotations

import re

import pytest

from cds_service.facts.derived import COMPUTED, DERIVED
from cds_service.rules import placeholders
from cds_service.rules.compiler import JOINERS
from cds_service.rules.vignettes import HEADINGS
from cds_service.rules.words import WORDS
from cds_service.schemas import schema
from tests.rules.bedside import CONTENT

README = (CONTENT / "README.md").read_text(encoding="utf-8")
QUALIFIERS = sorted({qualifier for word in WORDS.values() for qualifier in word.qualifiers})


def rows(heading: str) -> dict[str, str]:
    """Return the table whose head begins with a heading: what stands first in each row, and the whole row."""
    lines = README.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading}"))
    table: dict[str, str] = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        for name in re.findall(r"`([^`]+)`", line.split("|")[1]):
            table[name] = line
    return table


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("word", list(WORDS)),
        ("joining", list(JOINERS)),
        ("qualifier", QUALIFIERS),
        ("derived fact", list(DERIVED)),
        ("computed measurement", list(COMPUTED)),
    ],
)
def test_every_word_has_a_row_and_every_row_a_word(heading: str, names: list[str]) -> None:
    assert set(names) == set(rows(heading))


@pytest.mark.parametrize("name", DERIVED)
def test_a_derived_fact_says_what_it_needs(name: str) -> None:
    needs = re.findall(r"`([^`]+)`", rows("derived fact")[name].rsplit("|", 2)[1])

    assert set(DERIVED[name].needs) == set(needs)


@pytest.mark.parametrize("name", [name for name in WORDS if name not in ("is", "lowest", "highest", "fall")])
def test_a_word_says_what_goes_with_it(name: str) -> None:
    """
    Words that go with "the same" as their neighbour say so.
    """
    told = re.findall(r"`([^`]+)`", rows("word")[name].rsplit("|", 2)[1])

    assert set(WORDS[name].qualifiers) == set(told)


def test_every_placeholder_is_told() -> None:
    told = {hole for name in rows("in braces") for hole in placeholders.holes(name)}

    assert set(placeholders.FOUND) <= told


def test_every_key_of_a_vignette_is_told() -> None:
    keys = set(schema("vignette")["$defs"]["vignette"]["properties"]) - {"name"}

    assert keys == set(rows("key"))
    assert all(heading in README for heading in HEADINGS)


def test_every_key_inside_a_vignette_is_told() -> None:
    parts = schema("vignette")["$defs"]
    keys = {key for part in ("diagnosis", "medication", "procedure", "result") for key in parts[part]["properties"]}

    assert [] == [key for key in sorted(keys) if not re.search(rf"\b{key}\b", README)]
