"""
Exposures: parenteral calcium, phosphate and nutrition (CC-32), and warfarin by dose and by reason (CC-29).
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from cds_service.facts import exposures
from cds_service.facts.evidence import NO, YES
from cds_service.facts.model import Draft
from tests.build import ICD10CM, Resource, concept, condition, day, prescription, statement, verification
from tests.conftest import TakeIn
from tests.rules.bedside import facts as of_scene
from tests.rules.bedside import judge

PARENTERAL = "is: recent-parenteral-exposure\nwithin: days"
LOW = "is: low-dose-or-unknown-warfarin\ndaily_at_most: low_dose"
FOR_CALCINOSIS = "is: warfarin-for-calcinosis"
# Reasons for warfarin that are none for calcinosis (KNOWLEDGE 5.1, CC-29).
INDICATIONS = ("af", "vte", "mechvalve", "prosthetic-valve", "thrombophilia")
BY_VEIN = "route: intravenous"


@pytest.mark.parametrize(
    ("scene", "verdict"),
    [
        (f"medications: [{{concept: ca-iv, {BY_VEIN}}}]", "yes"),
        (f"medications: [{{concept: ca-iv, {BY_VEIN}, status: completed, stopped: 90 days ago}}]", "yes"),
        (f"medications: [{{concept: ca-iv, {BY_VEIN}, status: stopped, stopped: 90 days ago}}]", "yes"),
        (f"medications: [{{concept: ca-iv, {BY_VEIN}, stopped: 2 days ago}}]", "yes"),
        (f"medications: [{{concept: ca-iv, {BY_VEIN}, status: completed, stopped: 91 days ago}}]", "no"),
        (f"medications: [{{concept: ca-iv, {BY_VEIN}, status: completed, started: 90 days ago}}]", "yes"),
        (f"medications: [{{concept: ca-iv, {BY_VEIN}, status: completed, started: 91 days ago}}]", "unknown"),
        (f"medications: [{{concept: ca-iv, {BY_VEIN}, status: cancelled, stopped: 2 days ago}}]", "no"),
        (f"medications: [{{concept: ca-iv, {BY_VEIN}, status: entered-in-error, stopped: 2 days ago}}]", "no"),
        (f"medications: [{{concept: ca-iv, {BY_VEIN}, status: not-taken, statement: true}}]", "no"),
        (f"medications: [{{concept: ca-iv, {BY_VEIN}, status: draft}}]", "no"),
        ("medications: [{concept: ca-iv, route: oral}]", "no"),
        (f"medications: [{{concept: phosphate-salts, {BY_VEIN}}}]", "yes"),
        ("medications: [{concept: phosphate-salts, route: oral}]", "no"),
        ("medications: [phosphate-salts]", "unknown"),
        ("procedures: {tpn: [90 days ago]}", "yes"),
        ("procedures: {tpn: [91 days ago]}", "no"),
        ("", "no"),
        ("not_loaded: [medications]", "unknown"),
        ("not_loaded: [procedures]", "unknown"),
    ],
)
def test_what_was_given_by_vein_lately(scene: str, verdict: str) -> None:
    told = judge(PARENTERAL, scene)

    assert verdict == told.verdict.value, "\n".join(told.lines())
    assert bool(told.missing) is (verdict == "unknown")


def test_what_has_ended_is_not_taken_now() -> None:
    read = of_scene("medications: [{concept: vka, status: completed, stopped: 9 days ago}]")

    assert {} == read.medications
    assert {"vka", "warfarin"} & read.past_medications.keys()


def test_orders_that_have_ended_and_were_not_sent_are_not_known(facts: TakeIn) -> None:
    """
    The key is asked for only by services whose rules need it; without it nothing is known of the past.
    """
    assert not facts().state("pastMedications").conclusive


@pytest.mark.parametrize(
    "members",
    [
        {"doNotPerform": True},
        {"intent": "proposal"},
        {"intent": "plan"},
        {"status": "cancelled"},
        {"status": "on-hold"},
    ],
)
def test_what_was_never_given_is_no_past(facts: TakeIn, members: Resource) -> None:
    assert {} == facts(prescription(**{"status": "completed", **members})).past_medications


@pytest.mark.parametrize(
    ("members", "until"),
    [
        ({"dispenseRequest": {"validityPeriod": {"end": day(5)}}}, day(5)),
        ({"dosageInstruction": [{"timing": {"repeat": {"boundsPeriod": {"end": day(7)}}}}]}, day(7)),
        ({}, None),
    ],
)
def test_the_end_is_the_last_that_is_recorded(facts: TakeIn, members: Resource, until: str | None) -> None:
    past = facts(prescription(status="stopped", **members)).past_medications["warfarin"][0]

    assert until == (past.until.day if past.until else None)


def test_a_statement_that_has_ended(facts: TakeIn) -> None:
    past = facts(statement(status="completed", effectivePeriod={"start": day(50), "end": day(6)})).past_medications

    assert day(6) == (past["warfarin"][0].until.day if past["warfarin"][0].until else None)


@pytest.mark.parametrize(
    ("dose", "verdict"),
    [
        ("", "yes"),
        ("dose: 2 mg daily", "yes"),
        ("dose: 2.5 mg daily", "no"),
        ("dose: 1 mg twice daily", "yes"),
        ("dose: 1.5 mg twice daily", "no"),
        ("dose: 14 mg weekly", "yes"),
        ("dose: 15 mg weekly", "no"),
        ("dose: 1 tablet daily", "yes"),
    ],
)
def test_warfarin_of_a_low_dose_or_of_one_not_stated(dose: str, verdict: str) -> None:
    told = judge(LOW, f"medications: [{{concept: warfarin{', ' if dose else ''}{dose}}}]")

    assert verdict == told.verdict.value


@pytest.mark.parametrize(
    ("when", "scene", "verdict"),
    [
        (LOW, "", "no"),
        (LOW, "not_loaded: [medications]", "unknown"),
        (LOW, "medications: [{atc: B01AA04}]", "no"),
        *((LOW, f"medications: [{{concept: warfarin, reason: {reason}}}]", "no") for reason in INDICATIONS),
        *((LOW, f"orders: [{{concept: warfarin, reason: {reason}}}]", "no") for reason in INDICATIONS),
        (LOW, "medications: [{concept: warfarin, reason: calcinosis-cutis}]", "yes"),
        (LOW, "medications: [{concept: warfarin, reason: met-eskd}]", "yes"),
        (LOW, "medications: [{concept: warfarin, reason: af}, {concept: warfarin, dose: 1 mg daily}]", "yes"),
        # Where warfarin is being ordered, that order is asked, and not what is taken.
        (
            LOW,
            "medications: [{concept: warfarin, dose: 1 mg daily}]\norders: [{concept: warfarin, dose: 5 mg daily}]",
            "no",
        ),
        (
            LOW,
            "medications: [{concept: warfarin, dose: 5 mg daily}]\norders: [{concept: warfarin, dose: 1 mg daily}]",
            "yes",
        ),
        (LOW, "medications: [{concept: warfarin, dose: 1 mg daily}]\norders: [nephrology]", "yes"),
        (
            FOR_CALCINOSIS,
            "medications: [{concept: warfarin, reason: calcinosis-cutis}]\norders: [{concept: warfarin, reason: af}]",
            "no",
        ),
        (FOR_CALCINOSIS, "medications: [{concept: warfarin, reason: calcinosis-cutis}]", "yes"),
        (FOR_CALCINOSIS, "medications: [{concept: warfarin, reason: af}]", "no"),
        (FOR_CALCINOSIS, "medications: [warfarin]", "no"),
        (FOR_CALCINOSIS, "medications: [{concept: warfarin, reason: calcinosis-cutis, status: stopped}]", "no"),
        (FOR_CALCINOSIS, "", "no"),
        (FOR_CALCINOSIS, "not_loaded: [statements]", "unknown"),
    ],
)
def test_warfarin_and_its_reason(when: str, scene: str, verdict: str) -> None:
    assert verdict == judge(when, scene).verdict.value


CALCINOSIS = concept("L94.2", ICD10CM)
SEVERAL = [concept(text="atrial fibrillation"), concept(text="Calcinosis cutis of the hands")]


@pytest.mark.parametrize(
    ("members", "reasons"),
    [
        ({"reasonCode": [CALCINOSIS]}, ("calcinosis-cutis",)),
        ({"reasonCode": SEVERAL}, ("calcinosis-cutis",)),
        ({"reasonCode": [concept(text="no calcinosis")]}, ()),
        ({"reasonCode": "calcinosis"}, ()),
        ({"reasonReference": [{"reference": "Condition/c1"}]}, ("calcinosis-cutis",)),
        ({"reasonReference": [{"reference": "https://ehr.example/fhir/Condition/c1"}]}, ("calcinosis-cutis",)),
        ({"reasonReference": [{"reference": "Condition/c1/_history/2"}]}, ("calcinosis-cutis",)),
        ({"reasonReference": [{"reference": "Condition/elsewhere"}]}, ()),
        ({"reasonReference": [{"reference": "Condition/refuted"}]}, ()),
        ({"reasonReference": [{"reference": "Observation/c1"}]}, ()),
        (
            {
                "reasonReference": [{"reference": "#c"}],
                "contained": [{"resourceType": "Condition", "id": "c", "code": CALCINOSIS}],
            },
            ("calcinosis-cutis",),
        ),
        ({"reasonReference": [{"reference": "#d"}], "contained": [{"resourceType": "Condition", "id": "c"}]}, ()),
        ({}, ()),
    ],
)
def test_the_reasons_of_an_order(facts: TakeIn, members: Any, reasons: tuple[str, ...]) -> None:
    known = condition(CALCINOSIS, id="c1")
    refuted = condition(CALCINOSIS, id="refuted", verificationStatus=verification("refuted"))

    assert reasons == facts(prescription(**members), known, refuted).medications["warfarin"][0].reasons


def test_a_draft_counts_like_an_order_if_it_is_being_chosen() -> None:
    dosage = json.dumps([{"text": "as told"}]).encode()
    draft = Draft("warfarin", "RxNorm", "11289", "code", "warfarin", dosage=dosage, reasons=("calcinosis-cutis",))
    read = of_scene("")
    ordered = msgspec.structs.replace(read, orders=(draft,), memo={})
    passed_over = msgspec.structs.replace(read, orders=(msgspec.structs.replace(draft, selected=False),), memo={})

    assert YES is exposures.low_dose_warfarin(ordered, daily_at_most=Decimal(2)).verdict
    assert YES is exposures.warfarin_for_calcinosis(ordered).verdict
    assert NO is exposures.low_dose_warfarin(passed_over, daily_at_most=Decimal(2)).verdict
    assert NO is exposures.warfarin_for_calcinosis(passed_over).verdict
