"""
Quiet times as rules write them: how long, on which hook, and what ends them early (KNOWLEDGE.md 5.0.5, 5.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from cds_service.errors import ContentError
from cds_service.facts.dates import When, parse
from cds_service.facts.evidence import NO, YES, Judgement
from cds_service.facts.model import Draft, Measurement
from cds_service.rules import quiet
from cds_service.rules.book import load_book
from cds_service.rules.model import Outcome, Rule
from cds_service.rules.quiet import Seen, Sight, Viewer
from tests.rules.bedside import RULE, changed, facts, judge, small_content

QUIET = "  quiet_for: 30 days\n"
STEP = """\
  step:
    means: a rise that matters
    unit: mg/dL
    allowed: 1.0 to 1.0
    values: {2003-10-01: 1.0}
    source: A paper

when:
"""


def rule(folder: Path, quiet_lines: str) -> Rule:
    """Return the small rule with these lines on its card, and a threshold for a step of phosphate."""
    text = RULE.replace(QUIET, quiet_lines).replace("\nwhen:\n", STEP, 1)

    return load_book(small_content(folder, text)).rules["of-a-test"]


def outcome(rule_: Rule, indicator: str = "warning") -> Outcome:
    """Return a finding of a rule, with the thresholds of the rule."""
    values = {name: threshold.values[0].value for name, threshold in rule_.thresholds.items()}

    return Outcome(rule_, Judgement(YES, ""), values, indicator)


@pytest.mark.parametrize(
    ("written", "hook", "hours"),
    [
        ("30 days", "patient-view", 720),
        ("30 days", "order-select", 24),
        ("2 hours", "order-select", 2),
        ("30 days", "order-sign", 0),
        ("30 days", "medication-refill", 0),
        ("each order", "patient-view", 0),
        ("{patient-view: 1 day, order-select: each order, otherwise: 90 days}", "patient-view", 24),
        ("{patient-view: 1 day, order-select: each order, otherwise: 90 days}", "order-select", 0),
        ("{patient-view: 1 day, order-select: each order, otherwise: 90 days}", "encounter-start", 2_160),
        ("{patient-view: 1 day}", "encounter-start", 0),
    ],
)
def test_a_card_is_quiet_for_as_long_as_its_rule_says_on_a_hook(
    tmp_path: Path, written: str, hook: str, hours: int
) -> None:
    assert hours == quiet.hours_quiet(outcome(rule(tmp_path, f"  quiet_for: {written}\n")), hook)


def test_a_rule_that_says_nothing_is_never_quiet(tmp_path: Path) -> None:
    assert 0 == quiet.hours_quiet(outcome(rule(tmp_path, "")), "patient-view")


@pytest.mark.parametrize(("now", "then"), [("critical", "warning"), ("warning", "critical"), ("critical", "critical")])
def test_what_is_or_was_critical_is_quiet_for_a_week_at_most(tmp_path: Path, now: str, then: str) -> None:
    found = outcome(rule(tmp_path, QUIET), now)

    assert 7 * 24 == quiet.hours_quiet(found, "patient-view", then)


LINES = """\
  quiet_for: 30 days
  quiet_unless:
    - {rises: phosphate, by: step}
    - {crosses: limit, of: phosphate}
    - {new: lesion}
    - {new: vka}
    - {worse: indicator}
"""


def test_what_ends_a_quiet_time_is_said_in_words_and_numbers(tmp_path: Path) -> None:
    card = rule(tmp_path, LINES).card

    assert 30 == card.quiet_for
    assert (
        "Phosphate rises by 1.0 mg/dL or more; Phosphate crosses 5.5 mg/dL; a new lesion is recorded; "
        "a new Vitamin K antagonist is recorded" == card.quiet_unless
    )


def test_what_ends_a_quiet_time_is_asked_of_the_ehr(tmp_path: Path) -> None:
    assert {"phosphate", "les-strong", "les-pain", "vka"} <= rule(tmp_path, LINES).helps


@pytest.mark.parametrize(
    ("then", "now", "ends"),
    [
        ({"phosphate": "6.0"}, {"phosphate": "6.9"}, False),
        ({"phosphate": "6.0"}, {"phosphate": "7.0"}, True),
        ({"phosphate": "6.0"}, {"phosphate": "4.0"}, False),
        ({"phosphate": "5.5"}, {"phosphate": "5.6"}, True),
        ({"phosphate": "5.4"}, {"phosphate": "5.5"}, False),
        ({}, {"phosphate": "5.0"}, True),
        ({"phosphate": "6.0"}, {}, False),
    ],
    ids=str,
)
def test_a_number_ends_a_quiet_time_when_it_rises_or_crosses(
    tmp_path: Path, then: dict[str, str], now: dict[str, str], *, ends: bool
) -> None:
    sights = [Sight("", "warning", "", {name: Decimal(value) for name, value in one.items()}) for one in (then, now)]

    assert ends is quiet.ended(outcome(rule(tmp_path, LINES)), *sights)


def test_a_number_that_falls_can_end_a_quiet_time_too(tmp_path: Path) -> None:
    lines = LINES.replace("rises:", "falls:").replace("    - {crosses: limit, of: phosphate}\n", "")
    found = outcome(rule(tmp_path, lines))
    sights = [Sight("", "warning", "", {"phosphate": Decimal(value)}) for value in (6, 5)]

    assert quiet.ended(found, *sights)
    assert not quiet.ended(found, *reversed(sights))


@pytest.mark.parametrize(
    ("then", "now", "ends"),
    [
        (("lesion:a",), ("lesion:a",), False),
        (("lesion:a",), ("lesion:a", "lesion:b"), True),
        (("lesion:a", "lesion:b"), ("lesion:b",), False),
        ((), ("vka:c",), True),
        ((), ("other:c",), False),
    ],
    ids=str,
)
def test_something_new_ends_a_quiet_time(
    tmp_path: Path, then: tuple[str, ...], now: tuple[str, ...], *, ends: bool
) -> None:
    sights = [Sight("", "warning", "", known=frozenset(one)) for one in (then, now)]

    assert ends is quiet.ended(outcome(rule(tmp_path, LINES)), *sights)


@pytest.mark.parametrize(
    ("then", "now", "ends"), [("info", "warning", True), ("warning", "critical", True), ("critical", "warning", False)]
)
def test_only_a_more_urgent_indicator_ends_a_quiet_time(tmp_path: Path, then: str, now: str, *, ends: bool) -> None:
    found = outcome(rule(tmp_path, QUIET), now)

    assert ends is quiet.ended(found, Sight("", then, ""), Sight("", now, ""))


@pytest.mark.parametrize(
    ("condition", "slug"),
    [
        ("{rises: phosphat, by: step}", "unknown-concept"),
        ("{rises: calcium, by: step}", "group-not-allowed"),
        ("{rises: vka, by: step}", "wrong-kind"),
        ("{rises: phosphate, by: stp}", "unknown-threshold"),
        ("{rises: phosphate, by: days}", "wrong-unit"),
        ("{rises: phosphate}", "bad-quiet-unless"),
        ("{crosses: limit}", "bad-quiet-unless"),
        ("{worse: everything}", "bad-quiet-unless"),
        ("{new: phosphate}", "wrong-kind"),
        ("{new: lesson}", "unknown-concept"),
        ("{never: mind}", "bad-quiet-unless"),
    ],
)
def test_a_condition_that_does_not_read_is_refused(tmp_path: Path, condition: str, slug: str) -> None:
    with pytest.raises(ContentError) as refusal:
        rule(tmp_path, f"{QUIET}  quiet_unless:\n    - {condition}\n")

    assert slug == refusal.value.slug


@pytest.mark.parametrize("written", ["30", "a while", "-1 days", "{on-sundays: 1 day}", "{}"])
def test_a_time_that_does_not_read_is_refused(tmp_path: Path, written: str) -> None:
    text, line = changed(RULE, QUIET, f"  quiet_for: {written}\n")

    with pytest.raises(ContentError) as refusal:
        load_book(small_content(tmp_path, text))

    assert ("wrong-shape", f"rules/monitoring/of-a-test.yaml:{line}") == (refusal.value.slug, refusal.value.where)


# --- what a finding rested on ----------------------------------------------------------------------------------------


class Plain:
    """A state that remembers nothing, and whose pseudonyms can be read."""

    def pseudonym(self, *parts: str) -> str:
        return " + ".join(parts)

    def remember(self, card: str, seen: Sequence[Seen]) -> None:
        """Forget."""

    def shown(self, _viewer: Viewer, _rule: str) -> Seen | None:
        return None

    def overridden(self, _card: str, _at: float) -> bool:
        return False

    def override(self, _viewer: Viewer, _rule: str, _drafts: str) -> Seen | None:
        return None


def seen_now(rule_: Rule, judgement: Judgement, scene: str = "", *drafts: Draft) -> Sight:
    """Return what a finding rests on, in words that can be read."""
    found = msgspec.structs.replace(outcome(rule_), judgement=judgement)

    return quiet.sight(found, msgspec.structs.replace(facts(scene), orders=drafts), Plain())


def test_the_mark_of_a_finding_is_the_same_in_every_time_zone(tmp_path: Path) -> None:
    """
    The day that is shown is another; the moment is the same, and so is the finding.
    """
    evening, night = (parse(text) for text in ("2026-02-17T20:00:00-08:00", "2026-02-18T04:00:00Z"))
    found = [
        (Draft("vka", "RxNorm", "1", "code", "warfarin", when=when), judged("phosphate", when))
        for when in (evening, night)
    ]
    marks = {seen_now(rule(tmp_path, QUIET), Judgement(YES, "", items=items)).mark for items in found}

    assert 1 == len(marks)


def judged(test: str, when: When | None) -> Measurement:
    """Return a result of a moment."""
    assert when is not None

    return Measurement(test, Decimal(7), Decimal(7), "mg/dL", when)


def test_the_mark_of_a_finding_is_made_of_what_holds(tmp_path: Path) -> None:
    """
    Tests that are missing and facts of branches that hold count; a branch that does not hold leaves no mark.
    """
    missing, other = Judgement(YES, "", absent="PTH"), Judgement(NO, "", absent="calcium")
    told = Judgement(YES, "", (missing, other, Judgement(YES, "", items=judge("taking: vka", VKA).items)))

    mark = seen_now(rule(tmp_path, QUIET), told).mark

    assert mark.startswith("PTH + vka|")
    assert "calcium" not in mark
    assert "" == seen_now(rule(tmp_path, QUIET), Judgement(YES, "")).mark


VKA, ORDERS = "medications: [vka]", "orders: []"


@pytest.mark.parametrize(
    ("drafts", "about", "expected"),
    [
        (("MedicationRequest/2", "MedicationRequest/1"), (), "MedicationRequest/1 + MedicationRequest/2"),
        (("MedicationRequest/2", "MedicationRequest/1"), (0,), "MedicationRequest/2"),
        (("MedicationRequest/1", "draft"), (), quiet.NAMELESS),
        (("draft",), (0,), quiet.NAMELESS),
        ((), (), quiet.NAMELESS),
    ],
)
def test_a_finding_about_orders_knows_which(
    tmp_path: Path, drafts: tuple[str, ...], about: tuple[int, ...], expected: str
) -> None:
    """
    Those that it rests on, else all that are being chosen; an order without an id cannot be told again.
    """
    orders = [Draft("vka", "RxNorm", "1", "code", "warfarin", reference=one) for one in drafts]
    judgement = Judgement(YES, "", items=tuple(orders[place] for place in about))

    assert expected == seen_now(rule(tmp_path, QUIET), judgement, ORDERS, *orders).drafts


def test_orders_that_are_not_chosen_are_not_what_a_finding_is_about(tmp_path: Path) -> None:
    chosen, other = (Draft("vka", "RxNorm", "1", "code", "", reference=f"MedicationRequest/{n}") for n in (1, 2))
    orders = (chosen, msgspec.structs.replace(other, selected=False))

    assert "MedicationRequest/1" == seen_now(rule(tmp_path, QUIET), Judgement(YES, ""), ORDERS, *orders).drafts


def test_where_no_order_is_made_a_finding_is_about_none(tmp_path: Path) -> None:
    assert "" == seen_now(rule(tmp_path, QUIET), Judgement(YES, "")).drafts


def test_what_can_end_the_quiet_time_is_remembered(tmp_path: Path) -> None:
    scene = """
labs: {phosphate: {3 days ago: 6.0 mg/dL, 9 days ago: 7.0 mg/dL}}
medications: [vka]
diagnoses: [{concept: les-strong, onset: 5 days ago}, {concept: les-pain, onset: 9 days ago, clinical: resolved}]
"""
    now = seen_now(rule(tmp_path, LINES), Judgement(YES, ""), scene)

    assert {"phosphate": Decimal("6.0")} == now.values
    assert {"lesion", "vka"} == {one.partition(":")[0] for one in now.known}
    assert not any("les-pain" in one for one in now.known)
    assert (frozenset(), {}) == (seen_now(rule(tmp_path, QUIET), Judgement(YES, ""), scene).known, {})
