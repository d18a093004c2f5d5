"""
The catalogue: every rule, whole, whatever rules there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from cds_service.publishing import catalogue, markdown
from cds_service.publishing.catalogue import Catalogue, Vignettes
from cds_service.publishing.intended import INTENDED_USE
from cds_service.publishing.logic import clauses
from cds_service.rules import placeholders
from cds_service.rules.book import RuleBook
from tests.publishing.conftest import DAY, SAMPLE


@pytest.fixture(scope="module")
def shown(book: RuleBook, vignettes: Vignettes) -> Catalogue:
    return catalogue.catalogue(book, DAY, vignettes)


@pytest.fixture(scope="module")
def text(shown: Catalogue) -> str:
    return markdown.document(shown)


def test_every_rule_stands_in_it_once(book: RuleBook, shown: Catalogue) -> None:
    assert sorted(book.rules) == sorted(one.id for one in shown.entries)


def test_every_chapter_has_a_title_and_rules_in_the_order_of_their_numbers(shown: Catalogue) -> None:
    for title, entries in shown.chapters:
        assert title in catalogue.CHAPTERS.values()
        assert [one.number for one in entries] == sorted(one.number for one in entries)


def test_nothing_a_rule_says_is_left_out(book: RuleBook, shown: Catalogue, vignettes: Vignettes) -> None:
    for one in shown.entries:
        rule = book.rules[one.id]

        assert rule.hooks == one.hooks
        assert list(rule.thresholds) == [limit.name for limit in one.thresholds]
        assert [rule.card.indicator, *(raised.to or rule.card.indicator for raised in rule.card.escalate)] == [
            urgency.indicator for urgency in one.urgencies
        ]
        assert len(rule.card.workup) + len(rule.card.consults) == len(one.workup) + len(one.consults)
        assert len(rule.card.override_reasons) == len(one.override_reasons)
        assert one.tried == len(vignettes.get(one.id, ()))


def test_a_rule_says_what_it_cannot_do_without(shown: Catalogue) -> None:
    sample = next(one for one in shown.entries if one.id == SAMPLE)

    assert ("laboratory results", "conditions", "procedures") == sample.reads
    assert all(one.reads for one in shown.entries)


def test_a_change_to_come_is_shown_before_its_day(changed: Callable[..., RuleBook]) -> None:
    book = changed(("{2003-10-01: 5.5}", "{2003-10-01: 5.5, 2027-01-01: 5.0}"))
    one = next(limit for limit in catalogue.entry(book.rules[SAMPLE], book, DAY).thresholds if limit.number == "5.5")

    assert ["5.5", "5"] == [change.value for change in one.history]


def test_markdown_has_a_heading_and_an_anchor_for_every_rule(book: RuleBook, text: str) -> None:
    for rule in book.rules.values():
        assert f"### {rule.number} {markdown.plain(rule.title)}\n" in text
        assert f'<a id="{rule.id}"></a>' in text


def test_markdown_has_no_link_that_leads_nowhere(text: str) -> None:
    anchors = set(re.findall(r'<a id="([^"]+)">', text))

    assert set(re.findall(r"\]\(#([^)]+)\)", text)) == anchors


def test_every_row_of_a_table_has_as_many_cells_as_its_head(text: str) -> None:
    rows = [re.split(r"(?<!\\)\|", line) for line in text.splitlines() if line.startswith("|")]
    width = 0
    for before, row in zip([[""], *rows], rows, strict=False):
        width = len(row) if set("".join(row)) <= {"-"} else width
        assert width in {0, len(row)} or before


def test_markdown_says_the_intended_use(text: str) -> None:
    assert INTENDED_USE in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("<b>x</b>", r"\<b\>x\</b\>"), ("a | b", r"a \| b"), ("*a* _b_ `c` [d]", r"\*a\* \_b\_ \`c\` \[d\]")],
)
def test_text_is_never_taken_for_markup(text: str, expected: str) -> None:
    assert expected == markdown.plain(text)


def test_the_document_does_not_change_with_the_calendar(book: RuleBook) -> None:
    assert max(rule.reviewed for rule in book.rules.values()) == catalogue.newest_review(book)


def test_a_group_that_the_logic_names_is_explained_by_its_members(book: RuleBook, shown: Catalogue) -> None:
    words = book.terminology
    for one in shown.entries:
        named = {
            value
            for clause in clauses(book.rules[one.id].document["when"])
            for value in clause.values()
            if isinstance(value, str) and value in words.groups
        }
        for name in named:
            assert all(words.label(member) in dict(one.terms)[words.label(name)] for member in words.members(name))


def test_numbers_stand_in_the_texts_and_what_the_record_fills_stays_open(book: RuleBook, shown: Catalogue) -> None:
    for one in shown.entries:
        texts = " ".join(
            [one.detail, one.medication_advice, *(line for urgency in one.urgencies for line in urgency.summary)]
        )

        assert not set(placeholders.holes(texts)) & set(book.rules[one.id].thresholds)
    assert "{phosphate}" in next(one for one in shown.entries if one.id == SAMPLE).urgencies[0].summary[0]
