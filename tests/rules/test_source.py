"""
Rule files that do not load: each with its slug, its file and line, and what to do.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cds_service.errors import ContentError
from cds_service.rules import load_book
from tests.rules.bedside import RULE, changed, small_content

FILE = "rules/monitoring/of-a-test.yaml"
REFUSED = [
    # what stands there, what is written instead, slug, lines further down, what the message says
    ("id: of-a-test", "id: another-one", "id-is-file-name", 0, "Call the file another-one.yaml"),
    ("chapter: monitoring", "chapter: metastatic", "chapter-is-folder", 0, 'the folder "monitoring"'),
    ("chapter: monitoring", "chapter: kidneys", "wrong-shape", 0, "kidneys"),
    ("number: CC-99", "number: 99", "wrong-shape", 0, "number"),
    ("owner: A test", "ownr: A test", "wrong-shape", 0, 'Did you mean "owner"?'),
    ("title: A rule of a test", "title: A rule\ntitle: Another", "duplicate-key", 1, "stands twice"),
    ("reviewed: 2026-11-21", "reviewed: 2026-02-30", "bad-date", 0, "not a day"),
    ("status: active", "status: live", "wrong-shape", 0, "live"),
    ("status: verified", "status: read it somewhere", "wrong-shape", 0, "read it somewhere"),
    ("    unit: mg/dL\n", "", "threshold-incomplete", -2, "lacks unit"),
    ("allowed: 4.5 to 7.0", "allowed: 4.5 - 7.0", "bad-range", -3, "is not a range"),
    ("values: {2003-10-01: 5.5}", "values: {2003-10-01: 9}", "out-of-range", -4, "outside its allowed range"),
    ("values: {2003-10-01: 5.5}", "values: {2003-10-41: 5.5}", "bad-date", -4, "not a day"),
    ("values: {2003-10-01: 5.5}", "values: {2003-10-01: high}", "bad-value", -4, "must be a number"),
    ("values: {2003-10-01: 5.5}", "values: {2003-10-01: true}", "out-of-range", -4, "True"),
    ("values: {2003-10-01: 5.5}", "values: {october: 5.5}", "wrong-shape", 0, "october"),
    ("    means: what is too high", "    same_as: a.b\n    means: x", "threshold-ambiguous", -1, "says more"),
    ("taking: vka", "taking: vkaa", "unknown-concept", 0, 'Did you mean "vka"?'),
    ("above: limit", "above: limitt", "unknown-threshold", 0, 'Did you mean "limit"?'),
    ("indicator: warning", "indicator: urgent", "wrong-shape", 0, "urgent"),
    ("workup: [phosphate]", "workup: [phosphat]", "unknown-order", 0, 'Did you mean "phosphate"?'),
    ("consults: [nephrology]", "consults: [nefrology]", "unknown-order", 0, 'Did you mean "nephrology"?'),
    ("[not-applicable]", "[not-aplicable]", "unknown-override-reason", 0, 'Did you mean "not-applicable"?'),
    ("workup: [phosphate]", "show: [phosphat]", "unknown-concept", 0, 'Did you mean "phosphate"?'),
    ("workup: [phosphate]", "show: [vka]", "wrong-kind", 0, 'is a medication; "show" needs a measurement'),
    ("workup: [phosphate]", "show: [calcium]", "group-not-allowed", 0, "calcium-total"),
    ("workup: [phosphate]", "show_medications: [phosphate]", "wrong-kind", 0, "is a measurement"),
    ("workup: [phosphate]", "show_diagnoses: [met-esdk]", "unknown-concept", 0, 'Did you mean "met-eskd"?'),
    ("workup: [phosphate]", "show: [ca-p-product]", "missing-pairing", None, "Add pairing:"),
    ("({phosphate.date})", "({phosphate.day})", "unknown-placeholder", 0, 'There is no placeholder "{phosphate.day}"'),
    ("Phosphate is high", "Phosphat {phosphat} is high", "unknown-placeholder", 0, 'Did you mean "phosphate"?'),
    ("limit is {limit}", "limit is {limt}", "unknown-placeholder", -1, 'Did you mean "limit"?'),
    ("limit is {limit}", "unit is mL/{1.73_m2}", "unknown-placeholder", -1, "1.73_m2"),
    ("limit is {limit}", "reason is {indication}", "unknown-placeholder", -1, "indication"),
    ("  quiet_for: 30 days", "  quiet_for: 30", "wrong-shape", 0, "quiet_for"),
    ("if_unknown: stay silent", "if_unknown: fire", "wrong-shape", 0, "stay silent"),
    ("why: There", "why: &anchor There", "yaml-reference", 0, "not allowed"),
]


@pytest.mark.parametrize(
    ("old", "new", "slug", "further", "says"), REFUSED, ids=[f"{slug}: {new}" for _, new, slug, *_ in REFUSED]
)
def test_a_broken_rule_is_refused(
    tmp_path: Path, old: str, new: str, slug: str, further: int | None, says: str
) -> None:
    text, line = changed(RULE, old, new)

    with pytest.raises(ContentError) as refusal:
        load_book(small_content(tmp_path, text))

    assert slug == refusal.value.slug, str(refusal.value)
    assert refusal.value.where.startswith(FILE)
    if further is not None:
        assert f"{FILE}:{line + further}" == refusal.value.where
    assert says in str(refusal.value)


def test_the_small_rule_of_these_tests_loads(tmp_path: Path) -> None:
    book = load_book(small_content(tmp_path))

    assert ["of-a-test"] == list(book.rules)
    assert {"phosphate", "vka"} == book.rules["of-a-test"].reads


def test_what_a_card_names_in_braces_is_asked_for(tmp_path: Path) -> None:
    """
    A placeholder that no query fills would never be filled.
    """
    text, _ = changed(RULE, "Phosphate is high", "Phosphate is high, PTH {pth}")

    book = load_book(small_content(tmp_path, text))

    assert "pth" in book.rules["of-a-test"].helps
    assert "2731-8" in book.services["calcinosis-patient-view"].service.prefetch["observations"]


@pytest.mark.parametrize(
    ("same_as", "slug", "says"),
    [
        ("no-rule.limit", "unknown-threshold", "There is no threshold"),
        ("of-a-test.limt", "unknown-threshold", 'Did you mean "of-a-test.limit"?'),
        ("of-a-test.other", "borrowed-threshold", "Name of-a-test.limit"),
    ],
)
def test_a_borrowed_threshold_needs_a_lender_of_its_own(tmp_path: Path, same_as: str, slug: str, says: str) -> None:
    borrowed = f"thresholds:\n  other: {{same_as: of-a-test.limit}}\n  third: {{same_as: {same_as}}}\n"
    text, line = changed(RULE, "thresholds:\n", borrowed)

    with pytest.raises(ContentError) as refusal:
        load_book(small_content(tmp_path, text))

    assert slug == refusal.value.slug
    assert f"{FILE}:{line + 2}" == refusal.value.where
    assert says in str(refusal.value)


def test_a_borrowed_threshold_is_the_lenders(tmp_path: Path) -> None:
    text, _ = changed(RULE, "thresholds:\n", "thresholds:\n  other: {same_as: of-a-test.limit}\n")

    own = load_book(small_content(tmp_path, text)).rules["of-a-test"].thresholds

    assert own["limit"].values == own["other"].values
    assert ("of-a-test", "limit") == own["other"].borrowed
