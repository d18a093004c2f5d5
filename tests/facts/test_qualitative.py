"""
Qualitative results: every way in which laboratories say positive or negative, and the ways that say neither.
"""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.facts import Facts
from cds_service.facts.qualitative import meaning_of
from tests.build import HL7, LEFT_OUT, LOINC, Resource, ago, concept, observation, quantity, token
from tests.conftest import TakeIn

SNOMED_URI = "http://snomed.info/sct"


def antibody(code: Any = None, **members: Any) -> Resource:
    """Return an Observation of ANA, without a value unless one is given."""
    ordinary = {"code": concept("8061-4", LOINC), "valueQuantity": LEFT_OUT}
    return observation("8061-4", **{**ordinary, **({"code": code} if code else {}), **members})


def interpretation(code: str) -> list[Resource]:
    """Return an interpretation."""
    return [concept(code, f"{HL7}/v3-ObservationInterpretation")]


def high(value: float, unit: Any = "U/mL", **members: Any) -> list[Resource]:
    """Return a reference range with an upper limit."""
    return [{"high": quantity(value, unit), **members}]


def meanings(facts: Facts, test: str = "ana") -> list[str]:
    """List what the results of a test mean, newest first."""
    return [one.meaning for one in facts.answers[test].newest_first()] if test in facts.answers else []


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("positive", "positive"),
        ("POSITIVE", "positive"),
        ("Positive (1:640, speckled)", "positive"),
        ("weakly positive", "positive"),
        ("Detected", "positive"),
        ("Reactive", "positive"),
        ("present", "positive"),
        ("++", "positive"),
        ("pos.", "positive"),
        ("positiv", "positive"),
        ("negative", "negative"),
        ("Neg", "negative"),
        ("Not detected", "negative"),
        ("None Detected", "negative"),
        ("undetectable", "negative"),
        ("Non-reactive", "negative"),
        ("nonreactive", "negative"),
        ("not positive", "negative"),
        ("absent", "negative"),
        ("anti-NXP2 negative", "negative"),
        ("No antibodies detected", "negative"),
        ("indeterminate", ""),
        ("equivocal", ""),
        ("borderline positive", ""),
        ("false positive", ""),
        ("positive?", ""),
        ("ANA negative, Scl-70 positive", ""),
        ("pending", ""),
        ("not tested", ""),
        ("see comment", ""),
        ("1:640", None),
        ("", None),
    ],
)
def test_the_words_of_a_laboratory(words: str, meaning: str | None) -> None:
    assert meaning == meaning_of(words)


@pytest.mark.parametrize(
    ("members", "meaning"),
    [
        ({"valueString": "positive"}, "positive"),
        ({"valueString": "Not detected"}, "negative"),
        ({"valueCodeableConcept": concept("10828004", SNOMED_URI, display="Positive")}, "positive"),
        ({"valueCodeableConcept": concept("260385009", SNOMED_URI, display="Negative")}, "negative"),
        ({"valueCodeableConcept": concept("10828004", SNOMED_URI)}, ""),
        ({"valueCodeableConcept": concept(text="negative")}, "negative"),
        ({"valueBoolean": True}, "positive"),
        ({"valueBoolean": False}, "negative"),
        ({"valueString": "1:640", "interpretation": interpretation("A")}, "positive"),
        ({"valueString": "<1:40", "interpretation": interpretation("N")}, "negative"),
        ({"interpretation": interpretation("POS")}, "positive"),
        ({"interpretation": interpretation("NEG")}, "negative"),
        ({"interpretation": interpretation("IND")}, ""),
        ({"interpretation": [concept(text="positive")]}, "positive"),
        ({"valueString": "positive", "interpretation": interpretation("NEG")}, ""),
        ({"valueString": "1:640"}, ""),
        ({"valueQuantity": quantity(30, "U/mL"), "referenceRange": high(20)}, "positive"),
        ({"valueQuantity": quantity(20, "U/mL"), "referenceRange": high(20)}, "negative"),
        ({"valueQuantity": quantity(30, "U/mL"), "referenceRange": high(20, LEFT_OUT)}, "positive"),
        ({"valueQuantity": quantity(30, "U/mL"), "referenceRange": high(20, "IU/mL")}, ""),
        ({"valueQuantity": quantity(30, "U/mL")}, ""),
        ({"valueQuantity": quantity(30, "U/mL", comparator=">"), "referenceRange": high(20)}, "positive"),
        ({"valueQuantity": quantity(10, "U/mL", comparator=">"), "referenceRange": high(20)}, ""),
        ({"valueQuantity": quantity(10, "U/mL", comparator="<"), "referenceRange": high(20)}, "negative"),
        ({"valueQuantity": quantity(20, "U/mL", comparator="<"), "referenceRange": high(20)}, "negative"),
        ({"valueQuantity": quantity(20, "U/mL", comparator=">"), "referenceRange": high(20)}, "positive"),
        ({"valueQuantity": quantity(30, "U/mL", comparator="<"), "referenceRange": high(20)}, ""),
        ({"valueQuantity": quantity(30, "U/mL"), "referenceRange": high(20, age={"low": quantity(1, "a")})}, ""),
        ({"valueQuantity": quantity(30, "U/mL"), "referenceRange": [*high(20), *high(40)]}, ""),
        (
            {"valueQuantity": quantity(30, "U/mL"), "referenceRange": high(20), "interpretation": interpretation("N")},
            "",
        ),
        ({}, ""),
    ],
)
def test_every_way_of_saying_it(facts: TakeIn, members: Resource, meaning: str) -> None:
    assert [meaning] == meanings(facts(antibody(**members)))


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"valueString": "positive", "status": "preliminary"}, "status-preliminary"),
        ({"valueString": "positive", "status": "entered-in-error"}, "status-entered-in-error"),
        ({"dataAbsentReason": concept("error", f"{HL7}/data-absent-reason")}, "data-absent"),
        ({"valueString": "positive", "effectiveDateTime": LEFT_OUT}, "undated"),
        ({"valueString": "positive", "effectiveDateTime": "2031-01-01"}, "future-date"),
    ],
)
def test_what_never_counts(facts: TakeIn, members: Resource, reason: str) -> None:
    read = facts(antibody(**members))

    assert [] == meanings(read)
    assert [reason] == [aside.reason for aside in read.set_aside]


@pytest.mark.parametrize(
    ("code", "value", "expected"),
    [
        (concept(text="Anti-NXP2 antibody"), "positive", ["positive"]),
        (concept(text="anti-NXP-2 Ab, IgG"), "negative", ["negative"]),
        (concept("LAB4711", "urn:local:lab", display="NXP2"), "positive", ["positive"]),
        (concept("LAB4711", display="NXP-2 (P140) Ab"), "positive", ["positive"]),
        (concept(text="anti-NXP2 negative"), LEFT_OUT, ["negative"]),
        (concept(text="anti-NXP2 positive"), LEFT_OUT, ["positive"]),
        (concept(text="anti-NXP2"), LEFT_OUT, [""]),
        (concept(text="no NXP2 tested"), "positive", []),
        (concept(text="Myositis panel NXP2 and MDA5"), "positive", []),
        (concept(text="XNXP2Y"), "positive", []),
    ],
)
def test_a_test_without_a_code_is_known_by_its_name(
    facts: TakeIn, code: Resource, value: Any, expected: list[str]
) -> None:
    read = facts(antibody(code, valueString=value))

    assert expected == meanings(read, "nxp2")
    if expected:
        assert ["name"] == [one.how for one in read.answers["nxp2"].newest_first()]


def test_the_part_of_a_panel_counts_and_not_the_panel(facts: TakeIn) -> None:
    part = {"code": concept("8061-4", LOINC), "valueString": "positive"}
    panel = observation("24323-8", valueQuantity=LEFT_OUT, component=[part], interpretation=interpretation("N"))

    assert ["positive"] == meanings(facts(panel))


def test_the_newest_comes_first_and_a_correction_before_what_it_corrects(facts: TakeIn) -> None:
    results = [
        antibody(valueString="positive", effectiveDateTime=ago(30)),
        antibody(valueString="positive", effectiveDateTime=ago(9)),
        antibody(valueString="negative", effectiveDateTime=ago(9), status="corrected"),
    ]

    assert ["negative", "positive", "positive"] == meanings(facts(*results))
    assert ["negative", "positive", "positive"] == meanings(facts(*reversed(results)))


def test_odd_shapes_are_as_good_as_left_out(facts: TakeIn) -> None:
    odd = {"valueString": 7, "interpretation": {"text": "positive"}, "referenceRange": "high"}

    assert [""] == meanings(facts(antibody(**odd)))


def test_a_member_that_stands_twice_is_refused_when_it_is_read(facts: TakeIn) -> None:
    twice = token('{"text":"positive","text":"negative"}')

    with pytest.raises(Exception, match="twice"):
        meanings(facts(antibody(valueCodeableConcept=twice)))
