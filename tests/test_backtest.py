"""A back-test: two books over a cohort, counted as an EHR would see it, told while it runs, kept as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from itertools import islice

import msgspec
import pytest

from cds_service import backtest, decoding
from cds_service.backtest import Backtest, Subject
from cds_service.decide import decide
from cds_service.facts import Facts
from cds_service.rules.book import RuleBook
from cds_service.rules.exempting import Occasion
from cds_service.rules.tuning import Chosen, Tuning, exception_text
from tests.build import NOW, condition, observation
from tests.conftest import TakeIn

TODAY = NOW.date()
RULE, HOOK = "eskd-hyperphosphatemia", "patient-view"


def decided(name: str, value: Chosen, rule: str = RULE, until: date | None = None) -> Tuning:
    return Tuning(rule, name, value, TODAY + timedelta(30), "ab", "a reason that is long enough", until)


class Ward:
    """Patients on dialysis, one for each phosphate."""

    def __init__(self, facts: list[Facts | None]) -> None:
        self.facts = facts

    def __len__(self) -> int:
        return len(self.facts)

    def __iter__(self) -> Iterator[Subject | None]:
        for number, one in enumerate(self.facts):
            who = Occasion(f"patient-{number}", f"encounter-{number}", "Practitioner")
            yield Subject(f"patient-{number}", one, HOOK, f"decision-{number}", who) if one else None


LEVELS = ("5.0", "5.6", "6.0", "6.4", "6.6", "7.5")


@pytest.fixture
def ward(facts: TakeIn) -> Ward:
    return Ward([facts(condition(), observation(value=float(level))) for level in LEVELS])


def tried(book: RuleBook, ward: Ward, *tunings: Tuning, hook: str = HOOK) -> Backtest:
    return backtest.run(book, backtest.tried(book, tunings, TODAY), ward, hook, day=TODAY)


def losing(found: Backtest) -> list[str]:
    return [one.patient for one in found.losing if RULE in one.loses]


def test_who_lies_between_the_limits_loses_the_card_and_the_decision_is_named(book: RuleBook, ward: Ward) -> None:
    found = tried(book, ward, decided("phosphate_high", Decimal("6.5")))

    assert ["patient-1", "patient-2", "patient-3"] == losing(found)
    assert ["decision-1", "decision-2", "decision-3"] == [one.decision for one in found.losing]
    assert (5, 2, 2) == (found.before.fired[RULE], found.after.fired[RULE], found.both[RULE])
    assert (6, 6, 0) == (found.calls, found.patients, found.refused)


def test_who_comes_to_lie_above_the_limit_gains_one(book: RuleBook, ward: Ward) -> None:
    found = tried(book, ward, decided("phosphate_high", Decimal("4.5")))

    assert [("patient-0", [RULE])] == [(one.patient, one.gains) for one in found.gaining]


def test_nothing_differs_where_nothing_is_changed(book: RuleBook, ward: Ward) -> None:
    found = tried(book, ward, decided("phosphate_high", Decimal("5.5")))

    assert (0, []) == (found.differing, found.changed)
    assert found.before == found.after


def test_cards_are_those_that_an_independent_count_finds(book: RuleBook, ward: Ward) -> None:
    """
    The whole decision, asked anew of each book, less the short cuts of the comparison.
    """
    after = backtest.tried(book, [decided("phosphate_high", Decimal("6.5")), decided("indicator", "critical")], TODAY)
    found = backtest.run(book, after, ward, HOOK, day=TODAY)
    for side, one in ((found.before, book), (found.after, after)):
        service = one.services["calcinosis-patient-view"]
        fired = [outcome.rule.id for facts in ward.facts if facts for outcome in decide(facts, one, service).fired]
        assert {name: fired.count(name) for name in fired} == side.fired
    assert 2 == found.after.cards["critical"]
    assert found.per_hundred(1, "critical") == pytest.approx(100 * 2 / 6)


def test_a_change_of_urgency_is_a_difference(book: RuleBook, ward: Ward) -> None:
    found = tried(book, ward, decided("indicator", "info"))

    assert 5 == found.differing
    assert [] == found.losing
    assert (5, 0) == (found.before.cards["warning"], found.after.cards.get("warning", 0))
    assert 5 == found.after.cards["info"] - found.before.cards.get("info", 0)


def test_a_rule_in_pilot_is_counted_silently(book: RuleBook, ward: Ward) -> None:
    found = tried(book, ward, decided("status", "pilot"))

    assert (0, 5) == (found.after.fired.get(RULE, 0), found.after.silent[RULE])
    assert 5 == len(losing(found))


@pytest.mark.parametrize(
    ("kind", "of", "many"), [("user", "Practitioner", 5), ("patients", "patient-1", 1), ("diagnosis", "met-eskd", 5)]
)
def test_an_exception_is_tried_on_those_it_names(book: RuleBook, ward: Ward, kind: str, of: str, many: int) -> None:
    until = TODAY + timedelta(60)
    found = tried(book, ward, decided("exception.x", exception_text(kind, [of]), until=until))

    assert many == len(losing(found))
    assert {f"{RULE}: exception x": many} == found.after.held


def test_a_rollout_is_tried_on_the_encounters_that_were_recorded(book: RuleBook, ward: Ward) -> None:
    found = tried(book, ward, decided("rollout", 0))

    assert 5 == len(losing(found))
    assert {f"{RULE}: rollout": 5} == found.after.held


def test_what_cannot_be_evaluated_or_has_no_service_is_counted(book: RuleBook, ward: Ward) -> None:
    ward.facts.append(None)
    found = tried(book, ward, decided("phosphate_high", Decimal("6.5")))
    assert (7, 6, 1) == (found.total, found.calls, found.refused)

    assert 7 == tried(book, ward, decided("rollout", 1), hook="no-such-hook").refused


def test_progress_is_told_and_a_run_can_be_stopped(book: RuleBook, ward: Ward) -> None:
    many = Ward([one for _ in range(40) for one in ward.facts])
    told: list[tuple[int, int]] = []
    after = backtest.tried(book, [decided("phosphate_high", Decimal("6.5"))], TODAY)
    whole = backtest.run(book, after, many, HOOK, day=TODAY, progress=lambda done, total: told.append((done, total)))
    part = backtest.run(book, after, many, HOOK, day=TODAY, stop=lambda: True)

    assert (0, 240) == told[0]
    assert (240, 240) == told[-1]
    assert sorted(told) == told
    assert (False, True) == (whole.stopped, part.stopped)
    assert 0 < part.calls < 240


def test_a_back_test_can_be_kept_as_json(book: RuleBook, ward: Ward) -> None:
    found = tried(book, ward, decided("phosphate_high", Decimal("6.5")))

    assert found == decoding.decode(msgspec.json.encode(found), Backtest)


def test_parts_add_up_to_the_whole(book: RuleBook, ward: Ward) -> None:
    change = decided("phosphate_high", Decimal("6.5"))
    halves = [Ward(list(islice(ward.facts, *edges))) for edges in ((0, 3), (3, 6))]
    parts, whole = [tried(book, half, change) for half in halves], tried(book, ward, change)
    added = backtest.added(parts)

    assert (whole.before, whole.after, whole.both) == (added.before, added.after, added.both)
    assert (whole.calls, whole.differing, len(whole.changed)) == (added.calls, added.differing, len(added.changed))
