"""
Placeholders that speak of a finding as a whole: its value, its disease, its medicines, its score.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cds_service.cards.whole import WHOLE, spoken
from cds_service.cards.wording import Voice
from cds_service.rules.book import RuleBook, load_book
from cds_service.rules.evaluation import evaluate
from cds_service.rules.placeholders import FOUND
from tests.rules.bedside import RULE, TODAY, changed, facts, small_content, words

WHEN = "    - taking: vka\n    - latest: phosphate\n      within: days\n      above: limit\n"
ALL = """\
    - any: [{has: calcinosis}, {has: met-eskd}, {enabled: on}]
    - any:
        - at_least: {n: two, of: [{has: met-eskd}, {taking: vka}, {positive: nxp2}, {latest: phosphate}, {done: tpn}]}
        - enabled: on
"""
MORE = """\
  on:
    means: a switch
    unit: ""
    allowed: on or off
    values: {2003-10-01: true}
    source: A paper
  two:
    means: how many
    unit: n
    allowed: 1 to 5
    values: {2003-10-01: 2}
    source: A paper

when:
"""


def filled(folder: Path, template: str, scene: str) -> str | None:
    """Fill a wording for a patient."""
    rule, _ = changed(RULE, WHEN, ALL)
    rule, _ = changed(rule, "\nwhen:\n", MORE)
    book: RuleBook = load_book(small_content(folder, rule=rule))
    one = book.rules["of-a-test"]
    read = facts(scene)
    return Voice(evaluate(one, read, book.values(one, TODAY)), read, words()).fill(template)


SCENE = "diagnoses: [calcinosis-cutis, met-eskd]\nmedications: [vka]\nlabs: {phosphate: {9 days ago: 7.1 mg/dL}}"


@pytest.mark.parametrize(
    ("template", "scene", "text"),
    [
        ("{finding}", SCENE, "phosphate 7.1 mg/dL"),
        ("{abnormality}", SCENE, "phosphate 7.1 mg/dL"),
        ("{finding}", "medications: [vka]\nlabs: {nxp2: {9 days ago: weakly positive}}", "Anti-NXP2 positive"),
        ("{n} of {points}", SCENE, "3 of 3"),
        ("{n}", "", None),
        ("{finding}", "", None),
        ("{disease}", "diagnoses: [calcinosis-cutis]", None),
        ("{exposure}", "diagnoses: [met-eskd]\nprocedures: {tpn: [9 days ago]}", "Total parenteral nutrition"),
        ("{drugs}", "", None),
        ("{nxp2}, {nxp2.date}", "labs: {nxp2: {9 days ago: positive}}", "positive, 2026-02-20"),
    ],
)
def test_what_stands_in_braces(tmp_path: Path, template: str, scene: str, text: str | None) -> None:
    told = filled(tmp_path, template, scene)

    assert text == told if text is None or told is None else told.startswith(text)


def test_the_disease_is_the_one_behind_calcinosis(tmp_path: Path) -> None:
    assert words().label("met-eskd") == filled(tmp_path, "{disease}", SCENE)


def test_the_same_medicine_is_named_once(tmp_path: Path) -> None:
    told = filled(tmp_path, "{drugs}", SCENE.replace("[vka]", "[vka, vka, {concept: vka, statement: true}]"))

    assert told is not None
    assert "," not in told


def test_every_one_may_stand_in_a_rule() -> None:
    assert set(WHOLE) <= set(FOUND)


@pytest.mark.parametrize(
    ("label", "said"),
    [("Phosphate", "phosphate"), ("PTH", "PTH"), ("eGFR", "eGFR"), ("25-OH vitamin D", "25-OH vitamin D"), ("", "")],
)
def test_the_name_of_a_test_inside_a_sentence(label: str, said: str) -> None:
    assert said == spoken(label)
