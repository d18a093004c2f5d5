"""
Lesions, notes and images that stand in the record as Observations: what counts, and what says that there is none.
"""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.facts import Facts, observed
from cds_service.facts.lesions import ischemic
from tests.build import HL7, LEFT_OUT, LOINC, NECROSIS, SNOMED, Resource, concept, observation, quantity
from tests.conftest import TakeIn
from tests.rules.bedside import judge

LESION = "is: ischemic-lesion\nwithin: days"
ABSENT = concept("NEG", f"{HL7}/v3-ObservationInterpretation")


def lesion(**members: Any) -> Resource:
    """Return an Observation of skin necrosis, without a value."""
    ordinary = {"code": concept(NECROSIS, SNOMED, display="Skin necrosis"), "valueQuantity": LEFT_OUT, "days": 3}
    return observation("x", **{**ordinary, **members})


def found(facts: Facts) -> list[str]:
    """Name the lesions of class S that were seen."""
    return [one.display for one in observed.lesions(facts, "les-strong")]


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"valueBoolean": True},
        {"valueString": "left leg"},
        {"valueString": "no change since last week"},
        {"valueString": "not healed"},
        {"valueString": "present"},
        {"valueCodeableConcept": concept("x", "urn:x", display="Present")},
        {"valueQuantity": quantity(3, "cm")},
        {"status": "amended"},
        {"code": concept(text="Skin finding"), "valueCodeableConcept": concept(NECROSIS, SNOMED, "Skin necrosis")},
    ],
)
def test_a_lesion_that_was_seen_counts(facts: TakeIn, members: Resource) -> None:
    read = facts(lesion(**members))

    assert ["Skin necrosis"] == found(read)
    assert "yes" == ischemic(read, within=90).verdict.value


@pytest.mark.parametrize(
    "members",
    [
        {"valueBoolean": False},
        {"valueString": "absent"},
        {"valueString": "no"},
        {"valueString": "None"},
        {"valueString": "not present"},
        {"valueString": "negative"},
        {"valueString": "healed"},
        {"valueCodeableConcept": concept("x", "urn:x", display="Absent")},
        {"valueQuantity": quantity(0, "cm")},
        {"valueInteger": 0},
        {"interpretation": [ABSENT]},
        {"dataAbsentReason": concept("not-performed", f"{HL7}/data-absent-reason")},
        {"status": "preliminary"},
        {"status": "entered-in-error"},
        {"status": "cancelled"},
        {"status": LEFT_OUT},
        {"effectiveDateTime": LEFT_OUT},
        {"effectiveDateTime": "2031-01-01"},
        {"focus": [{"reference": "Patient/foetus"}]},
        {"modifierExtension": [{"url": "urn:not"}]},
        {"subject": {"reference": "Group/1"}},
        {"code": concept(NECROSIS, SNOMED, text="Family history of skin necrosis")},
        {"code": concept(text="History of"), "valueCodeableConcept": concept(NECROSIS, SNOMED)},
        {"code": concept("10828004", SNOMED)},
    ],
)
def test_a_lesion_that_was_not_seen_does_not(facts: TakeIn, members: Resource) -> None:
    assert [] == found(facts(lesion(**members)))


@pytest.mark.parametrize(("days", "verdict"), [(90, "yes"), (91, "no")])
def test_an_observation_tells_of_its_day_only(facts: TakeIn, days: int, verdict: str) -> None:
    """
    Like the diagnosis of an encounter it is no lesion of today after 90 days, whatever a rule allows (KNOWLEDGE 2.3).
    """
    assert verdict == ischemic(facts(lesion(days=days)), within=365).verdict.value


def test_measurements_among_lesions_are_read_as_ever(facts: TakeIn) -> None:
    read = facts(lesion(), observation("phosphate", 7))

    assert ["Skin necrosis"] == found(read)
    assert 1 == len(read.measurements["phosphate"])


def test_nothing_is_read_before_somebody_asks(facts: TakeIn) -> None:
    read = facts(lesion())

    assert read.observed is not None
    assert {} == read.memo


def test_a_record_of_tests_only_has_nothing_to_look_through(facts: TakeIn) -> None:
    assert facts(observation("phosphate", 7)).observed is None


def test_a_lesion_is_no_drift_and_an_unknown_code_is(facts: TakeIn) -> None:
    seen = facts(lesion(), observation("x", code=concept("99999-9", LOINC))).seen

    assert [("observations", "LOINC", "99999-9")] == list(seen)


@pytest.mark.parametrize(
    ("when", "scene", "verdict"),
    [
        (LESION, "findings: [les-strong]", "yes"),
        (LESION, "findings: [{concept: les-strong, as_value: true}]", "yes"),
        (LESION, "findings: [{concept: les-strong, value: absent}]", "no"),
        (LESION, "findings: [{concept: les-strong, undated: true}]", "no"),
        ("has: les-ulcer", "findings: [les-ulcer]", "yes"),
        ("has: les-ulcer", "findings: [{concept: les-ulcer, status: preliminary}]", "no"),
        ("has: les-ulcer\nwithin: days", "findings: [{concept: les-ulcer, when: 91 days ago}]", "no"),
        ("is: calciphylaxis-lesion\nwithin: days", "findings: [les-pain, les-purpura]", "yes"),
        ("is: calciphylaxis-lesion\nwithin: days", "diagnoses: [les-pain]\nfindings: [les-purpura]", "unknown"),
        ("done: consult-note-nephrology", "findings: [consult-note-nephrology]", "yes"),
        ("done: consult-note-nephrology", "procedures: {consult-note-nephrology: [9 days ago]}", "yes"),
        ("done: consult-note-nephrology", "not_loaded: [observations]", "unknown"),
        (
            "is: calcinosis-assessed\nwithin: days",
            "findings: [{concept: calcinosis-imaging, when: 90 days ago}]",
            "yes",
        ),
        ("is: calcinosis-assessed\nwithin: days", "findings: [{concept: calcinosis-imaging, when: 91 days ago}]", "no"),
        ("is: calcinosis-assessed\nwithin: days", "procedures: {calcinosis-imaging: [90 days ago]}", "yes"),
        ("is: calcinosis-assessed\nwithin: days", "procedures: {calcinosis-imaging: [2025]}", "unknown"),
        ("is: calcinosis-assessed\nwithin: days", "", "no"),
        ("is: calcinosis-assessed\nwithin: days", "not_loaded: [observations]", "unknown"),
        ("is: calcinosis-assessed\nwithin: days", "not_loaded: [procedures]", "unknown"),
    ],
)
def test_in_the_words_of_a_vignette(when: str, scene: str, verdict: str) -> None:
    told = judge(when, scene)

    assert verdict == told.verdict.value, "\n".join(told.lines())
