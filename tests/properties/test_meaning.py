"""
Metamorphic tests: what means the same gets the same verdicts, and worse numbers never get milder cards.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from tests.build import (
    CALCINOSIS,
    HEMODIALYSIS,
    LEFT_OUT,
    NECROSIS,
    STRANGER,
    TRANSPLANT,
    TRANSPLANTATION,
    Resource,
    condition,
    fired,
    observation,
    prescription,
    procedure,
    statement,
    to_json,
    verification,
)
from tests.properties.charts import CHANGES, Chart, chart_call, charts

Post = Callable[..., TestResponse]
RANK = {"": 0, "info": 1, "warning": 2, "critical": 3}
Verdicts = tuple[dict[str, str], frozenset[str], frozenset[str]]


def verdicts(post: Post, request: Resource, **options: Any) -> Verdicts:
    """Return the rules that fired with their indicators, those held back, and those not evaluated."""
    response = post(to_json(request, **options))
    if response.status_code == 412:
        return {}, frozenset({"no data"}), frozenset()
    assert 200 == response.status_code, response.text
    answer = response.json or {}
    said = answer.get("extension", {}).get("org.calcinosis-cds", {})

    return (
        fired(answer),
        frozenset(f"{one['rule']} {one['indicator']}" for one in said.get("held_back", ())),
        frozenset(one["rule"] for one in said.get("not_evaluated", ())),
    )


def severity(post: Post, chart: Chart) -> int:
    """Return the rank of the most urgent card."""
    return max((RANK[one] for one in verdicts(post, chart_call(chart))[0].values()), default=0)


@pytest.mark.parametrize("change", CHANGES)
@given(chart=charts, seed=st.integers(0, 10**6))
def test_what_means_the_same_gets_the_same_verdicts(post: Post, change: str, chart: Chart, seed: int) -> None:
    assert verdicts(post, chart_call(chart)) == verdicts(post, CHANGES[change](chart, Random(seed)))


@given(chart=charts, indent=st.sampled_from([None, 0, 1, 4]), member=st.sampled_from(["", "padding", "extension"]))
def test_how_a_call_is_written_makes_no_difference(post: Post, chart: Chart, indent: int | None, member: str) -> None:
    """
    Compact or pretty, small or large: other ways through the reader, the same verdicts.
    """
    request = chart_call(chart)
    padded = {**request, member: {"org.example": "x" * 40_000}} if member else request

    assert verdicts(post, request) == verdicts(post, padded, indent=indent)


@given(chart=charts, seed=st.integers(0, 10**6))
def test_a_large_chart_is_read_like_a_small_one(post: Post, chart: Chart, seed: int) -> None:
    """
    Results of tests that no rule asks for make the body large enough for the other reader.
    """
    many = [observation("1988-5", 2, "mg/L", days=place / 10) for place in range(1, 130)]
    chosen = CHANGES[Random(seed).choice(sorted(CHANGES))]

    assert verdicts(post, chart_call(chart)) == verdicts(post, chosen([*chart, *many], Random(seed)))


# --- worse is never milder -------------------------------------------------------------------------------------------

RAISED = [
    ("phosphate", st.integers(20, 240).map(lambda tenths: tenths / 10), [condition()]),
    (
        "phosphate",
        st.integers(20, 240).map(lambda tenths: tenths / 10),
        [condition(), observation("calcium-total", 9.7)],
    ),
    ("calcium-total", st.integers(60, 190).map(lambda tenths: tenths / 10), []),
    ("calcium-total", st.integers(60, 190).map(lambda tenths: tenths / 10), [condition(), observation(value=6)]),
    ("calcium-ionized", st.integers(90, 250).map(lambda hundredths: hundredths / 100), []),
]


@pytest.mark.parametrize(("test", "values", "rest"), RAISED, ids=[f"{row[0]} {len(row[2])}" for row in RAISED])
@given(data=st.data())
def test_raising_a_value_never_lowers_the_severity(
    post: Post, test: str, values: st.SearchStrategy[float], rest: Chart, data: st.DataObject
) -> None:
    low, high = sorted([data.draw(values), data.draw(values)])
    pth = observation("pth", 300) if test == "phosphate" else observation("alp", 80)

    assert severity(post, [*rest, pth, observation(test, low)]) <= severity(post, [*rest, pth, observation(test, high)])


@given(chart=charts, low=st.sampled_from([3.2, 6.2]), high=st.sampled_from([8.1, 11.0]))
def test_a_higher_phosphate_never_makes_a_whole_chart_milder(post: Post, chart: Chart, low: float, high: float) -> None:
    assert severity(post, [*chart, observation(value=low, days=0.1)]) <= severity(
        post, [*chart, observation(value=high, days=0.1)]
    )


@given(chart=charts)
def test_a_new_lesion_never_makes_a_chart_milder(post: Post, chart: Chart) -> None:
    assert severity(post, chart) <= severity(post, [*chart, condition(NECROSIS, days=1)])


# --- what was set aside is never spoken of ---------------------------------------------------------------------------

ASIDE: list[Resource] = [
    {"status": "entered-in-error"},
    {"implicitRules": "http://x"},
    {"modifierExtension": [{"url": "http://x", "valueBoolean": True}]},
    {"subject": LEFT_OUT},
    {"subject": {"identifier": {"value": "1"}}},
    {"subject": {"reference": "Group/1"}},
]
LAB_ASIDE: list[Resource] = [
    *ASIDE,
    {"status": "preliminary"},
    {"status": "cancelled"},
    {"status": LEFT_OUT},
    {"effectiveDateTime": "2199-01-01"},
    {"effectiveDateTime": "2026-02-30"},
    {"effectiveDateTime": LEFT_OUT},
    {"dataAbsentReason": {"text": "error"}},
    {"valueString": "hemolyzed"},
    {"valueQuantity": {"value": 19.87}},
    {"valueQuantity": {"value": 19.87, "unit": "furlong"}},
    {"valueQuantity": {"value": 19.87, "unit": "mg/dL", "code": "mmol/L", "system": "http://unitsofmeasure.org"}},
    {"valueQuantity": {"value": 19.87, "unit": "mg/dL", "comparator": "ad"}},
    {"valueQuantity": {"value": "19.87", "unit": "mg/dL"}},
    {"code": {"text": "Phosphate"}},
]
CONDITION_ASIDE: list[Resource] = [
    *ASIDE[1:],
    {"verificationStatus": verification("entered-in-error")},
    {"verificationStatus": verification("refuted")},
    {"verificationStatus": verification("provisional")},
    {"clinicalStatus": "active"},
    {"clinicalStatus": {"coding": [{"code": "resolved"}]}},
    {"recordedDate": "2199-01-01"},
]
ORDER_ASIDE: list[Resource] = [
    *ASIDE,
    {"status": "stopped"},
    {"status": "draft"},
    {"doNotPerform": True},
    {"intent": "plan"},
]
PROCEDURE_ASIDE: list[Resource] = [*ASIDE, {"status": "not-done"}, {"performedDateTime": "2199-01-01"}]


@given(data=st.data())
def test_a_chart_of_which_everything_was_set_aside_gets_no_card(post: Post, data: st.DataObject) -> None:
    chart = [
        *(
            condition(code, days=5, **data.draw(st.sampled_from(CONDITION_ASIDE)))
            for code in ("46177005", NECROSIS, CALCINOSIS)
        ),
        *(observation(test, 19.87, **data.draw(st.sampled_from(LAB_ASIDE))) for test in ("phosphate", "calcium-total")),
        prescription(**data.draw(st.sampled_from(ORDER_ASIDE))),
        statement(**data.draw(st.sampled_from(ASIDE))),
        procedure(HEMODIALYSIS, **data.draw(st.sampled_from(PROCEDURE_ASIDE))),
    ]

    assert {} == verdicts(post, chart_call(chart))[0]


@given(chart=charts, spoilt=st.sampled_from(LAB_ASIDE), test=st.sampled_from(["phosphate", "calcium-total"]))
def test_a_result_that_was_set_aside_is_never_shown_as_a_value(
    post: Post, chart: Chart, spoilt: Resource, test: str
) -> None:
    """
    That it was set aside, and of which day it is, may be said; its value may not.
    """
    response = post(to_json(chart_call([*chart, observation(test, 19.87, days=0.2, **spoilt)])))

    assert "19.87" not in response.text


@given(chart=charts, spoilt=st.sampled_from(LAB_ASIDE), test=st.sampled_from(["phosphate", "calcium-total"]))
def test_a_result_that_was_set_aside_raises_no_risk(post: Post, chart: Chart, spoilt: Resource, test: str) -> None:
    """
    It may ask for a repeat (CC-04 and CC-25 do); no other rule says more than without it.
    """
    asking = {"eskd-missing-labs", "calcinosis-missing-labs"}
    without = verdicts(post, chart_call(chart))[0]
    spoken = verdicts(post, chart_call([*chart, observation(test, 19.87, days=0.2, **spoilt)]))[0]

    assert set(spoken) - asking <= set(without)


@given(chart=charts)
def test_the_data_of_another_patient_never_get_a_card(post: Post, chart: Chart) -> None:
    assume(chart)
    other = [{**one, "subject": {"reference": f"Patient/{STRANGER}"}} for one in chart]
    response = post(to_json(chart_call(other)))

    assert 412 == response.status_code


@given(chart=charts, place=st.integers(0, 100))
def test_one_result_of_another_patient_refuses_the_whole_chart(post: Post, chart: Chart, place: int) -> None:
    stranger = observation(value=3, subject={"reference": f"Patient/{STRANGER}"})
    where = place % (len(chart) + 1)

    assert 412 == post(to_json(chart_call([*chart[:where], stranger, *chart[where:]]))).status_code


# --- what was not sent -----------------------------------------------------------------------------------------------


def heard(post: Post, request: Resource) -> set[str]:
    """Return the rules that fired, whether their card was shown or held back."""
    shown, held, _ = verdicts(post, request)

    return {*shown, *(one.partition(" ")[0] for one in held)}


MISSING: list[Any] = ["absent", {"resourceType": "OperationOutcome", "issue": [{"severity": "error"}]}, "<html>"]


@pytest.mark.parametrize("key", ["observations", "conditions", "medications", "procedures"])
@given(chart=charts, value=st.sampled_from(MISSING))
def test_what_was_not_sent_never_makes_a_rule_speak(post: Post, key: str, chart: Chart, value: Any) -> None:
    """
    Not found and not asked differ: the first is NO, the second is UNKNOWN.

    One exception is meant: a transplant that nobody tells of does not silence every rule about kidney failure.
    """
    grafted = any(name in to_json(chart) for name in (TRANSPLANT.encode(), TRANSPLANTATION.encode()))
    assume(not grafted)
    request = chart_call(chart)
    less = {**request["prefetch"], key: value}
    if value == "absent":
        del less[key]

    assert heard(post, {**request, "prefetch": less}) <= heard(post, request)
