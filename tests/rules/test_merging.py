"""
The table of rules that share a card: what it says, and what is refused (KNOWLEDGE.md 5.0.4).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cds_service.errors import ContentError
from cds_service.rules import merging
from cds_service.rules.book import RuleBook
from tests.build import ROOT

TABLE = """\
cards:
  - name: kidneys
    rules: [one, two]
absorb:
  - rule: three
    absorbs: [four, five]
    only: same draft
"""


def written(folder: Path, text: str) -> Path:
    """Write the table into a content folder."""
    (folder / "rules").mkdir(exist_ok=True)
    (folder / "rules" / "merging.yaml").write_text(text, encoding="utf-8")

    return folder


def test_rules_belong_to_a_group_or_to_the_rule_that_absorbs_them(tmp_path: Path) -> None:
    table = merging.load(written(tmp_path, TABLE))

    assert ("one", "two") == table.group("two")
    assert ("six",) == table.group("six")
    assert (found := table.absorber("five"))
    assert ("three", True) == (found.rule, found.same_draft)
    assert table.absorber("three") is None


def test_no_table_merges_nothing(tmp_path: Path) -> None:
    assert merging.Merging() == merging.load(tmp_path)
    assert [] == merging.strangers(tmp_path, {})


@pytest.mark.parametrize(
    ("text", "slug", "line"),
    [
        ("cards: [nonsense]\n", "wrong-shape", 1),
        ("cards:\n  - name: no rules\n", "wrong-shape", 2),
        ("absorb:\n  - {rule: one, absorbs: [two], only: on Sundays}\n", "wrong-shape", 2),
        ("cards:\n  - {name: a, rules: [one, two]}\n  - {name: b, rules: [three, two]}\n", "duplicate-rule", 3),
        (TABLE.replace("four", "two"), "duplicate-rule", 6),
    ],
)
def test_a_table_that_does_not_read_is_refused(tmp_path: Path, text: str, slug: str, line: int) -> None:
    with pytest.raises(ContentError) as refusal:
        merging.load(written(tmp_path, text))

    assert (slug, f"rules/merging.yaml:{line}") == (refusal.value.slug, refusal.value.where)


def test_a_name_that_is_no_rule_is_an_error_of_the_check(tmp_path: Path) -> None:
    errors = merging.strangers(written(tmp_path, TABLE), {"one", "two", "three", "fout", "five"})

    assert ['There is no rule "four". Did you mean "fout"?'] == [error.what for error in errors]
    assert ["rules/merging.yaml:6"] == [error.where for error in errors]


def test_every_name_in_the_table_of_the_project_is_a_rule(book: RuleBook) -> None:
    assert [] == [str(error) for error in merging.strangers(ROOT / "hooks", book.rules)]


@pytest.mark.parametrize(
    ("rule", "absorber"),
    [
        ("known-calciphylaxis-care", "eskd-skin-lesion-calciphylaxis"),
        ("vka-calciphylaxis-risk", "eskd-skin-lesion-calciphylaxis"),
        ("calciphylaxis-risk-points", "eskd-skin-lesion-calciphylaxis"),
        ("calcium-vitd-order-high-product", "tls-parenteral-calcium"),
        ("phosphate-order-hyperphosphatemia", "tls-parenteral-calcium"),
    ],
)
def test_the_project_absorbs_as_the_clinical_source_says(book: RuleBook, rule: str, absorber: str) -> None:
    found = book.merging.absorber(rule)

    assert found is not None
    assert absorber == found.rule
    assert ("tls-parenteral-calcium" == absorber) is found.same_draft
