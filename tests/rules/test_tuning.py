"""The third layer: decisions of admins laid over the book, inside the guard rails, from a day on, and undone."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import msgspec
import pytest

from cds_service.errors import ContentError
from cds_service.rules.book import RuleBook
from cds_service.rules.tuning import Tuning, check, differing, read_assignment, tuned

TODAY = date(2026, 3, 1)
PLACE = "eskd-hyperphosphatemia.phosphate_high"
RULE, NAME = PLACE.split(".")


def value(book: RuleBook, day: date = TODAY, rule: str = RULE, name: str = NAME) -> object:
    return book.values(book.rules[rule], day)[name]


def test_a_decision_holds_from_its_day_on(book: RuleBook) -> None:
    new = tuned(book, [read_assignment(f"{PLACE}=6.5", book, date(2026, 3, 1), "ab", "too many cards")], TODAY)

    assert (Decimal("5.5"), Decimal("6.5")) == (value(new, date(2026, 2, 28)), value(new))
    assert Decimal("5.5") == value(book)
    dated = new.rules[RULE].thresholds[NAME].on(TODAY)
    assert ("admin", "ab", "too many cards") == (dated.layer, dated.who, dated.why)


def test_a_decision_ends_on_its_day(book: RuleBook) -> None:
    new = tuned(book, [Tuning(RULE, NAME, Decimal("6.5"), date(2026, 3, 1), until=date(2026, 4, 1))], TODAY)

    assert [Decimal("5.5"), Decimal("6.5"), Decimal("6.5"), Decimal("5.5")] == [
        value(new, day) for day in (date(2026, 2, 28), date(2026, 3, 1), date(2026, 3, 31), date(2026, 4, 1))
    ]


def test_of_two_decisions_the_later_one_holds(book: RuleBook) -> None:
    decided = [Tuning(RULE, NAME, Decimal(number), date(2026, 1, 1)) for number in ("6.5", "5.0")]

    assert Decimal("5.0") == value(tuned(book, decided, TODAY))


def test_what_follows_a_number_follows_its_decision(book: RuleBook) -> None:
    followers = [
        (rule.id, name)
        for rule in book.rules.values()
        for name, one in rule.thresholds.items()
        if one.borrowed == ("eskd-skin-lesion-calciphylaxis", "lesion_days")
    ]
    new = tuned(book, [read_assignment("eskd-skin-lesion-calciphylaxis.lesion_days=30", book, TODAY)], TODAY)

    assert followers
    assert {Decimal(30)} == {value(new, TODAY, rule, name) for rule, name in followers}
    assert {"eskd-skin-lesion-calciphylaxis", *(rule for rule, _ in followers)} == set(differing(book, new, TODAY))


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        (f"{PLACE}=7.1", "out-of-range"),
        (f"{PLACE}=4.4", "out-of-range"),
        (f"{PLACE}=5,5", "bad-tuning"),
        (f"{PLACE}=1e1", "bad-tuning"),
        (f"{PLACE}=NaN", "bad-tuning"),
        (f"{PLACE}=-5", "bad-tuning"),
        (f"{PLACE}=", "bad-tuning"),
        (f"{PLACE}=\u0665", "bad-tuning"),
        (f"{PLACE}=true", "bad-tuning"),
        (PLACE, "bad-tuning"),
        ("eskd-hyperphosphatemia.phosphat_high=6", "bad-tuning"),
        ("eskd-hyperphosphatemi.phosphate_high=6", "bad-tuning"),
        ("vka-calciphylaxis-risk.lesion_days=30", "bad-tuning"),
        ("vka-calciphylaxis-risk.include_advanced_ckd=1", "bad-tuning"),
        ("vka-calciphylaxis-risk.status=off", "bad-tuning"),
    ],
)
def test_what_cannot_be_meant_is_refused(book: RuleBook, text: str, slug: str) -> None:
    with pytest.raises(ContentError) as refused:
        read_assignment(text, book, TODAY)

    assert slug == refused.value.slug


def test_a_switch_is_turned_on(book: RuleBook) -> None:
    new = tuned(book, [read_assignment("vka-calciphylaxis-risk.include_advanced_ckd=true", book, TODAY)], TODAY)

    assert value(new, TODAY, "vka-calciphylaxis-risk", "include_advanced_ckd") is True


def test_a_switch_is_not_a_number_and_a_number_no_switch(book: RuleBook) -> None:
    for tuning in (
        Tuning("vka-calciphylaxis-risk", "include_advanced_ckd", Decimal(1), TODAY),
        Tuning(RULE, NAME, True, TODAY),
    ):
        with pytest.raises(ContentError):
            check(tuning, book)


def test_a_rule_that_is_switched_off_is_no_longer_run_and_one_switched_on_is(book: RuleBook) -> None:
    off = tuned(book, [read_assignment(f"{RULE}.status=retired", book, TODAY)], TODAY)
    on = tuned(off, [read_assignment(f"{RULE}.status=active", book, TODAY)], TODAY)
    services = {name: [rule.status for rule in one.rules if rule.id == RULE] for name, one in off.services.items()}

    assert {"retired"} == {status for found in services.values() for status in found}
    assert "active" == on.rules[RULE].status
    assert [RULE] == differing(book, off, TODAY)
    assert [] == differing(book, on, TODAY)


def test_a_rule_that_did_not_run_is_asked_and_its_data_too(book: RuleBook) -> None:
    service = book.services["calcinosis-patient-view"]
    without = tuned(book, [Tuning("sts-monitoring", "status", "draft", TODAY)], TODAY)
    stripped = msgspec.structs.replace(
        service, rules=tuple(rule for rule in service.rules if rule.id != "sts-monitoring")
    )
    smaller = msgspec.structs.replace(without, services={"calcinosis-patient-view": stripped}, memo={})
    grown = tuned(smaller, [Tuning("sts-monitoring", "status", "active", TODAY)], TODAY)

    assert "sts-monitoring" == grown.services["calcinosis-patient-view"].rules[-1].id
    assert "33037-3" in grown.services["calcinosis-patient-view"].service.prefetch["observations"]
