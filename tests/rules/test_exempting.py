"""Whom a rule shows no card: a stable draw for each encounter, and exceptions by pseudonym."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from cds_service.facts import Facts
from cds_service.rules.book import RuleBook
from cds_service.rules.exempting import Occasion, place, sorted_out, withheld
from cds_service.rules.model import Exemption, Outcome, Rule
from tests.build import condition
from tests.conftest import TakeIn

TODAY = date(2026, 3, 1)
RULE = "eskd-hyperphosphatemia"


def limited(book: RuleBook, kind: str = "", *of: str, **more: object) -> Rule:
    exemptions = (Exemption("x", kind, of, TODAY, date(2026, 4, 1), members=of),) if kind else ()
    return msgspec.structs.replace(book.rules[RULE], exemptions=exemptions, **more)


@pytest.fixture
def patient(facts: TakeIn) -> Facts:
    return facts(condition())


def test_of_a_thousand_encounters_as_many_see_a_rule_as_its_rollout_says(book: RuleBook, patient: Facts) -> None:
    rule = limited(book, rollout=25)
    occasions = [Occasion("patient", f"encounter-{number}") for number in range(1_000)]
    shown = [one for one in occasions if not withheld(rule, patient, TODAY, one)]

    assert 200 < len(shown) < 300
    assert shown == [one for one in occasions if not withheld(rule, patient, TODAY, one)]
    wider = [one for one in occasions if not withheld(limited(book, rollout=60), patient, TODAY, one)]
    assert set(map(id, shown)) < set(map(id, wider))


def test_two_rules_draw_different_encounters() -> None:
    occasions = [Occasion("patient", f"encounter-{number}") for number in range(200)]

    assert [place("one", one) for one in occasions] != [place("other", one) for one in occasions]


def test_without_an_encounter_the_patient_is_drawn(book: RuleBook) -> None:
    assert place(RULE, Occasion("patient-1")) == place(RULE, Occasion("patient-1"))
    assert 1 < len({place(RULE, Occasion(f"patient-{number}")) for number in range(50)})
    assert place(RULE, Occasion("patient-1", "enc")) == place(RULE, Occasion("patient-2", "enc"))


@pytest.mark.parametrize(("rollout", "reason"), [(0, "rollout"), (100, "")])
def test_nobody_sees_a_rule_at_nothing_and_everybody_at_a_hundred(
    book: RuleBook, patient: Facts, rollout: int, reason: str
) -> None:
    rule = limited(book, rollout=rollout)

    assert {reason} == {withheld(rule, patient, TODAY, Occasion("p", str(number))) for number in range(300)}


@pytest.mark.parametrize(
    ("kind", "of", "occasion", "excepted"),
    [
        ("user", "Patient", Occasion(user="Patient"), True),
        ("user", "Patient", Occasion(user="Practitioner"), False),
        ("patients", "p1", Occasion(patient="p1"), True),
        ("patients", "p1", Occasion(patient="p2"), False),
        ("client", "https://ehr", Occasion(client="https://ehr"), True),
        ("client", "https://ehr", Occasion(client="https://other"), False),
        ("client", "https://ehr", Occasion(client="~https://ehr", disguise=lambda name: f"~{name}"), True),
        ("client", "https://ehr", Occasion(), False),
        ("diagnosis", "met-eskd", Occasion(), True),
        ("diagnosis", "calciphylaxis", Occasion(), False),
    ],
)
def test_an_exception_is_for_those_it_names(
    book: RuleBook, patient: Facts, kind: str, of: str, occasion: Occasion, excepted: bool
) -> None:
    reason = withheld(limited(book, kind, of), patient, TODAY, occasion)

    assert ("exception x" if excepted else "") == reason


def test_a_diagnosis_of_the_past_excepts_nobody(book: RuleBook, facts: TakeIn) -> None:
    past = facts(condition(clinicalStatus={"coding": [{"code": "resolved"}]}))

    assert not withheld(limited(book, "diagnosis", "met-eskd"), past, TODAY, Occasion())


@pytest.mark.parametrize(
    ("day", "excepted"),
    [(date(2026, 2, 28), False), (TODAY, True), (date(2026, 3, 31), True), (date(2026, 4, 1), False)],
)
def test_an_exception_that_has_not_begun_or_has_ended_excepts_nobody(
    book: RuleBook, patient: Facts, day: date, excepted: bool
) -> None:
    assert excepted == bool(withheld(limited(book, "patients", "p1"), patient, day, Occasion("p1")))


def test_no_pseudonym_is_made_where_no_rule_is_limited(book: RuleBook, patient: Facts) -> None:
    outcome = Outcome(book.rules[RULE], msgspec.UNSET, {})  # type: ignore[arg-type]

    def asked() -> Occasion:
        pytest.fail("nobody needs to know who this is")

    assert ([outcome], []) == sorted_out([outcome], patient, TODAY, asked)
