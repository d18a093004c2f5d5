"""
Every complaint of the linter, provoked once, and none about what is as it should be.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from cds_service.rules import lint, load_book
from cds_service.rules.lint import Complaint, complaints
from tests.rules.bedside import CONTENT, RULE, SERVICE, VIGNETTES, changed, small_content

TODAY = date(2026, 12, 1)
ESCALATE = "  escalate:\n    - to: {to}\n      when: {{has: calcinosis}}\n"


def about(content: Path, today: date = TODAY) -> list[Complaint]:
    return complaints(load_book(content), content, today)


def test_a_tidy_rule_gets_no_complaint(tmp_path: Path) -> None:
    assert [] == about(small_content(tmp_path))


RULES = [
    # what stands there, what is written instead, level, what the complaint says
    ("      above: limit\n", "", "warning", 'The threshold "limit" is never used.'),
    ("  override_reasons: [not-applicable]\n", "", "warning", "offers no override reasons"),
    ('    - "Phosphate is high"\n', "", "warning", "last wording of the summary has placeholders"),
    ("Phosphate is high", "Phosphate is high" + "!" * 130, "warning", "about 147 characters is too long"),
    ("status: verified", "status: from memory", "note", 'The citation "A paper" is from memory.'),
    ("status: verified", "status: not verified", "note", 'The citation "A paper" is not verified.'),
    ("reviewed: 2026-11-21", "reviewed: 2024-11-21", "warning", "The last review was on 2024-11-21"),
    ("  quiet_for", "  medication_advice: Consider 5 mg of it.\n  quiet_for", "warning", "names a dose"),
    ("  quiet_for", "  medication_advice: Stop it.\n  quiet_for", "warning", "reads as an order"),
    (
        "  indicator: warning\n",
        "  indicator: warning\n" + ESCALATE.format(to="warning"),
        "warning",
        "never raises a card",
    ),
    (
        "  indicator: warning\n",
        "  indicator: warning\n" + ESCALATE.format(to="critical"),
        "note",
        "a card that is critical",
    ),
    ("The limit is {limit}.", "Above {limit}: {lesion}.", "warning", "can fill {lesion}"),
    ("The limit is {limit}.", "Above {limit}: {missing}.", "warning", "can fill {missing}"),
]


@pytest.mark.parametrize(("old", "new", "level", "says"), RULES, ids=[says for *_, says in RULES])
def test_a_complaint_about_a_rule(tmp_path: Path, old: str, new: str, level: str, says: str) -> None:
    text, _ = changed(RULE, old, new)
    if "never used" in says:
        text = text.replace("{limit}", "it").replace("The limit", "What")

    found = about(small_content(tmp_path, text))

    assert [level] == [one.level for one in found], found
    assert says in str(found[0])
    assert found[0].where.startswith("rules/monitoring/of-a-test.yaml:")


@pytest.mark.parametrize("heading", ["fires", "stays_silent", "cannot_tell"])
def test_a_heading_without_a_vignette(tmp_path: Path, heading: str) -> None:
    start = VIGNETTES.index(f"{heading}:")
    rest = VIGNETTES[start + len(heading) + 1 :]
    following = min(
        (rest.index(other) for other in ("stays_silent:", "cannot_tell:") if other in rest), default=len(rest)
    )
    found = about(small_content(tmp_path, vignettes=VIGNETTES[:start] + rest[following:]))

    assert f"No vignette under {heading}." in [one.what for one in found]


def test_a_rule_without_any_vignettes(tmp_path: Path) -> None:
    small_content(tmp_path)
    (tmp_path / "rules" / "monitoring" / "of-a-test.test.yaml").unlink()

    assert "No vignette under fires, stays_silent, cannot_tell." in [one.what for one in about(tmp_path)]


def test_vignettes_without_a_rule(tmp_path: Path) -> None:
    small_content(tmp_path)
    (tmp_path / "rules" / "monitoring" / "gone.test.yaml").write_text(
        "rule: gone\ntoday: 2026-03-01\n", encoding="utf-8"
    )

    assert ['There is no rule "gone" for these vignettes.'] == [one.what for one in about(tmp_path)]


def test_a_rule_that_no_service_asks(tmp_path: Path) -> None:
    small_content(tmp_path)
    (tmp_path / "patient-view" / "service.yaml").unlink()

    assert ["No service answers patient-view."] == [one.what for one in about(tmp_path)]


def test_a_draft_needs_no_service(tmp_path: Path) -> None:
    small_content(tmp_path, RULE.replace("status: active", "status: draft"))
    (tmp_path / "patient-view" / "service.yaml").unlink()

    assert [] == about(tmp_path)


def test_a_retired_rule_needs_no_service(tmp_path: Path) -> None:
    small_content(tmp_path, RULE.replace("status: active", "status: retired"))
    (tmp_path / "patient-view" / "service.yaml").unlink()

    assert [] == about(tmp_path)


def test_every_hook_of_a_rule_needs_a_service(tmp_path: Path) -> None:
    hooks = "hooks: [patient-view, encounter-start]\n"
    small_content(tmp_path, RULE.replace("version: 1\n", f"version: 1\n{hooks}"))

    assert ["No service answers encounter-start."] == [one.what for one in about(tmp_path)]


def test_two_rules_with_one_number(tmp_path: Path) -> None:
    small_content(tmp_path)
    for suffix, text in ((".yaml", RULE), (".test.yaml", VIGNETTES)):
        path = tmp_path / "rules" / "monitoring" / f"of-another{suffix}"
        path.write_text(text.replace("of-a-test", "of-another"), encoding="utf-8")
    (tmp_path / "patient-view" / "service.yaml").write_text(
        SERVICE.replace("[of-a-test]", "[of-a-test, of-another]"), encoding="utf-8"
    )

    assert ["of-another has the number CC-99 too.", "of-a-test has the number CC-99 too."] == [
        one.what for one in about(tmp_path)
    ]


def test_the_length_of_a_summary_is_that_of_typical_values(tmp_path: Path) -> None:
    """
    A drug's name is much longer than its placeholder.
    """
    wording = (
        "{drug} is a vitamin K antagonist, and this sentence goes on so long that a typical name of a drug, of some"
    )
    text, _ = changed(RULE, "Phosphate {phosphate}", wording + " length, Phosphate {phosphate}")

    assert any("characters is too long" in one.what for one in about(small_content(tmp_path, text)))


def test_a_borrowed_number_is_a_number_in_use(tmp_path: Path) -> None:
    lender = RULE.replace("      above: limit\n", "").replace("{limit}", "it")
    borrower = RULE.replace("of-a-test", "of-another").replace("CC-99", "CC-98")
    start, end = borrower.index("  limit:"), borrower.index("  days:")
    borrower = borrower[:start] + "  limit: {same_as: of-a-test.limit}\n" + borrower[end:]
    small_content(tmp_path, lender, service=SERVICE.replace("[of-a-test]", "[of-a-test, of-another]"))
    (tmp_path / "rules" / "monitoring" / "of-another.yaml").write_text(borrower, encoding="utf-8")

    assert not [one for one in about(tmp_path) if "never used" in one.what]


def test_a_complaint_reads_like_the_other_messages_about_content() -> None:
    shown = str(Complaint("rules/x/y.yaml:3", "warning", "It is wrong.", "Mend it."))

    assert "rules/x/y.yaml:3\n  warning: It is wrong.\n  Mend it." == shown


def test_every_check_says_what_it_holds() -> None:
    assert all(check.__doc__ for check in lint.CHECKS)


def test_the_projects_own_rules_get_notes_at_most() -> None:
    found = complaints(load_book(CONTENT), CONTENT, TODAY)

    assert [] == [str(one) for one in found if one.level != "note"]
