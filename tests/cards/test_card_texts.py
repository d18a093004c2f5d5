"""
What clinicians read, over every card of every vignette of hooks/rules: no word of ours that is none of theirs, no
empty place, no Markdown that breaks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from cds_service.facts.derived import COMPUTED, DERIVED
from cds_service.protocol.cards import Card
from tests.cards.scenes import book, of_every_vignette

# What stands in a text by mistake only: a hole, a unit or a word that machines write.
SIGNS = ("{", "}", "  ", "undated", "mg2/dL2", "1.73m2")
# Ids that are English words or names in their own right, as a card may write them.
ENGLISH = {"calcium-alkali", "milk-alkali", "nadroparin-calcium"}
HEADINGS = (
    "Why you see this: ",
    "Values",
    "Type of calcinosis",
    "Medications and diagnoses on record",
    "Not known",
    "Options",
    "Plan",
    "Sources",
)


@cache
def internal() -> frozenset[str]:
    """Return every id with a hyphen that content or engine gives to something: no clinician knows any of them."""
    words = book().terminology
    named = (words.concepts, words.groups, words.analytes, words.orders, words.override_reasons, book().rules)
    ids = {name for table in named for name in table} | COMPUTED.keys() | DERIVED.keys()
    return frozenset(name for name in ids if "-" in name) - ENGLISH


def texts(card: Card) -> Iterator[str]:
    """Yield every text of a card that is shown; the last line of the detail names rules by their ids, and may."""
    detail, _, _ = card.detail.rpartition("\n\nRule ")
    yield from (card.summary, detail, card.source.label)
    yield from (one.label for one in card.suggestions)
    yield from (action.description for one in card.suggestions for action in one.actions)
    yield from (one.display for one in card.override_reasons)


def complaints(card: Card) -> Iterator[str]:
    """Say everything that is wrong with the texts of a card."""
    for text in texts(card):
        yield from (f"{sign!r} in {text!r}" for sign in SIGNS if sign in text)
        yield from (f"{word!r} in {text!r}" for word in re.findall(r"\b(?:None(?! on record)|True|False)\b", text))
        met = internal().intersection(re.findall(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)+", text))
        yield from (f"the id {name} in {text!r}" for name in met)
        yield from (f"a capital missing in {line!r}" for line in _uncapitalised(text))
    if not 0 < len(card.summary) <= 139:
        yield f"a summary of {len(card.summary)} characters"
    yield from _broken(card.detail)


def _uncapitalised(text: str) -> list[str]:
    """Return a text that begins in lower case, but for names that are written so (eGFR)."""
    return [text] if text[:1].islower() and not text[1:2].isupper() else []


def _broken(detail: str) -> Iterator[str]:
    """Say what a Markdown renderer would not show as it is meant."""
    for line in detail.split("\n"):
        if line != line.rstrip() or line.count("**") % 2 or line in ("-", "- "):
            yield f"a line that breaks: {line!r}"
        if re.search(r"<(?!=?\d)|(?<!- )>(?!=?\d)|[`|\\_]|\]\(|!\[|https?:|(?<!\*)\*(?!\*)", line):
            yield f"a sign that Markdown reads: {line!r}"
        if re.match(r"\s|#|>|\+ |\d+[.)] |=+$|-{2,}$", line):
            yield f"a line that begins something: {line!r}"
        if line.startswith("**") and not line.removeprefix("**").startswith(HEADINGS):
            yield f"a heading that nobody knows: {line!r}"
    if "\n\n\n" in detail:
        yield "an empty paragraph"
    yield from (
        f"a list without an empty line before its heading: {one!r}" for one in re.findall(r"\n- .*\n\*\*", detail)
    )


def test_every_vignette_was_asked() -> None:
    assert 680 < len(of_every_vignette())
    assert {
        rule["id"] for _, card in of_every_vignette() for rule in card.extension["org.calcinosis-cds"]["rules"]
    } == {rule.id for rule in book().rules.values() if rule.status == "active" and rule.id not in SWITCHED_OFF}


# Rules that a site turns on (their vignettes set the switch, which a whole service does not).
SWITCHED_OFF = {"calciphylaxis-risk-points"}


def test_no_card_says_what_only_we_understand() -> None:
    found = [f"{where}: {complaint}" for where, card in of_every_vignette() for complaint in complaints(card)]

    assert [] == found[:20]


def test_no_line_of_a_card_stands_twice() -> None:
    for where, card in of_every_vignette():
        lines = [line for line in card.detail.split("\n") if line and line != "- the same as above"]

        assert len(set(lines)) == len(lines), where


def test_what_is_known_is_not_said_to_be_unknown() -> None:
    """
    A test that stands under Values, under one of the rules of a card, is not under "Not known" for another.
    """
    for where, card in of_every_vignette():
        values = re.findall(r"^- ([^:]+): ", _section(card, "**Values**"), re.MULTILINE)
        lacking = _section(card, "**Not known**").partition("no usable result: ")[2].split("\n")[0].split(", ")

        assert not set(values) & set(lacking), where


def _section(card: Card, title: str) -> str:
    return next((part for part in card.detail.split("\n\n") if part.startswith(title)), "")
