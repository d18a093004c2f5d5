"""
What was given on the ward counts as taken for 72 hours, where an EHR sends it (KNOWLEDGE.md 2.3, active medication).
"""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.errors import WrongPatient
from cds_service.facts import Facts
from cds_service.protocol.prefetch import State
from tests.build import (
    LEFT_OUT,
    RXNORM,
    WARFARIN_TABLET,
    Resource,
    ago,
    bundle,
    concept,
    condition,
    entry,
    fired,
    reference,
    without,
)
from tests.conftest import Ask, TakeIn
from tests.facts.test_medications import reasons, taken


def given(hours: float = 1, **members: Any) -> Resource:
    """Return a dose of warfarin that was given so many hours ago."""
    ordinary = {
        "resourceType": "MedicationAdministration",
        "id": "dose",
        "status": "completed",
        "medicationCodeableConcept": concept(WARFARIN_TABLET, RXNORM),
        "subject": reference(),
        "effectiveDateTime": ago(hours / 24),
    }
    return without(**{**ordinary, **members})


def read(facts: TakeIn, *doses: Resource) -> Facts:
    return facts(values={"administrations": bundle(*(entry(one) for one in doses))})


@pytest.mark.parametrize(("hours", "counts"), [(1, True), (71.9, True), (72.1, False), (900, False), (-48, False)])
def test_a_dose_counts_for_72_hours(facts: TakeIn, hours: float, *, counts: bool) -> None:
    assert counts is taken(read(facts, given(hours)))


def test_a_dose_of_last_week_was_taken_once(facts: TakeIn) -> None:
    found = read(facts, given(168))

    assert "vka" in found.past_medications
    assert {"ended"} == reasons(found)


@pytest.mark.parametrize(
    ("status", "counts"),
    [
        ("in-progress", True),
        ("completed", True),
        ("not-done", False),
        ("on-hold", False),
        ("stopped", False),
        ("entered-in-error", False),
        ("unknown", False),
        ("given", False),
        (LEFT_OUT, False),
    ],
    ids=str,
)
def test_only_what_was_really_given_counts(facts: TakeIn, status: Any, *, counts: bool) -> None:
    found = read(facts, given(status=status))

    assert counts is taken(found)
    assert {} == found.past_medications


def test_an_infusion_counts_until_72_hours_after_its_end(facts: TakeIn) -> None:
    def infusion(start: float, end: float) -> Resource:
        return given(effectiveDateTime=LEFT_OUT, effectivePeriod={"start": ago(start / 24), "end": ago(end / 24)})

    assert taken(read(facts, infusion(100, 70)))
    assert not taken(read(facts, infusion(100, 73)))


def test_a_dose_without_a_time_is_set_aside(facts: TakeIn) -> None:
    found = read(facts, given(effectiveDateTime=LEFT_OUT))

    assert (False, {"undated"}) == (taken(found), reasons(found))


@pytest.mark.parametrize(("route", "counts"), [("Oral", True), ("Topical", False)])
def test_its_route_decides_as_that_of_an_order_does(facts: TakeIn, route: str, *, counts: bool) -> None:
    dose = given(medicationCodeableConcept=concept("11289", RXNORM), dosage={"route": {"text": route}})

    assert counts is taken(read(facts, dose))


def test_doses_say_nothing_of_orders_that_were_not_sent(facts: TakeIn) -> None:
    """
    Who sends no orders does not know what else is taken.
    """
    found = facts(values={"administrations": bundle(entry(given())), "medications": LEFT_OUT})

    assert State.ABSENT is found.state("medications")
    assert taken(found)


def test_a_dose_of_another_patient_refuses_the_call(facts: TakeIn) -> None:
    with pytest.raises(WrongPatient):
        read(facts, given(subject={"reference": "Patient/somebody-else"}))


def test_a_vitamin_k_antagonist_that_is_given_on_the_ward_is_warned_of(ask: Ask) -> None:
    answer = ask(condition(), values={"administrations": bundle(entry(given()))})

    assert "vka-calciphylaxis-risk" in fired(answer.json or {})
