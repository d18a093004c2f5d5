"""
No input of any shape yields a 5xx, a hang, or an answer that is not JSON of its published shape.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from cds_service.errors import ContentError
from cds_service.facts.dates import parse
from cds_service.schemas import validator
from cds_service.schemas.strict_yaml import parse as parse_yaml
from cds_service.terminology import Terminology
from tests.build import (
    PATIENT,
    Resource,
    bundle,
    call,
    condition,
    entry,
    fired,
    observation,
    patient,
    prefetch,
    to_json,
)
from tests.moments import quickest, spent
from tests.properties.hostile import HONEST, as_bytes, broken_calls, scalars, texts, values

Post = Callable[..., TestResponse]
# Large enough for the other way through the reader; a member that nobody knows leads back to the first one.
LARGE: list[Resource] = [{}, {"extension": {"org.example": "x" * 40_000}}, {"padding": "x" * 40_000}]
sizes = st.sampled_from(LARGE)
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
KEYS = ["patient", "observations", "conditions", "medications", "statements", "procedures"]
KINDS = [
    "Patient",
    "Observation",
    "Condition",
    "MedicationRequest",
    "MedicationStatement",
    "Procedure",
    "FamilyMemberHistory",
    "Bundle",
]


def check(post: Post, raw: bytes) -> TestResponse:
    """Post a body, and check what is true of every answer."""
    started = time.perf_counter()
    response = post(raw)

    assert 5 > time.perf_counter() - started
    assert response.status_code in {200, 400, 412, 413}
    assert response.is_json
    answer = response.json
    assert answer is not None
    if response.status_code == 200:
        assert [] == [error.message for error in validator("response").iter_errors(answer)]
    else:
        assert "OperationOutcome" == answer["resourceType"]

    return response


def test_the_honest_call_is_answered_with_cards(post: Post) -> None:
    assert check(post, to_json(HONEST)).json["cards"]  # type: ignore[index]


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_answered(post: Post, raw: bytes) -> None:
    assert 400 == check(post, raw).status_code


@given(value=values, escaped=st.booleans())
def test_any_json_is_answered(post: Post, value: Any, escaped: bool) -> None:
    assert 400 == check(post, as_bytes(value, escaped=escaped)).status_code


@given(broken=broken_calls(), escaped=st.booleans(), size=sizes)
def test_an_honest_call_with_something_broken_in_it_is_answered(
    post: Post, broken: Resource, escaped: bool, size: Resource
) -> None:
    check(post, as_bytes({**broken, **size}, escaped=escaped))


@given(members=st.dictionaries(st.sampled_from(list(HONEST)), values, max_size=4), escaped=st.booleans())
def test_any_envelope_is_answered(post: Post, members: Resource, escaped: bool) -> None:
    check(post, as_bytes({**HONEST, **members}, escaped=escaped))


@given(
    context=st.dictionaries(
        st.one_of(texts, st.sampled_from(["userId", "patientId", "encounterId"])), values, max_size=4
    )
)
def test_any_context_is_answered(post: Post, context: Resource) -> None:
    check(
        post,
        as_bytes({**HONEST, "context": {"userId": "Practitioner/1", "patientId": PATIENT, **context}}, escaped=True),
    )


@given(found=st.dictionaries(st.one_of(texts, st.sampled_from(KEYS)), values, max_size=6), size=sizes)
def test_any_prefetch_is_answered(post: Post, found: Resource, size: Resource) -> None:
    check(post, as_bytes({**call(found), **size}, escaped=True))


OURS = {"subject": {"reference": f"Patient/{PATIENT}"}}
MEMBERS = [
    "id",
    "status",
    "code",
    "subject",
    "patient",
    "valueQuantity",
    "effectiveDateTime",
    "effectivePeriod",
    "component",
    "meta",
    "clinicalStatus",
    "verificationStatus",
    "onsetDateTime",
    "medicationCodeableConcept",
    "medicationReference",
    "contained",
    "dosageInstruction",
    "dispenseRequest",
    "performedPeriod",
    "birthDate",
    "link",
    "entry",
    "total",
    "modifierExtension",
    "note",
]
resources = st.builds(
    lambda kind, members, ours: {"resourceType": kind, **(OURS if ours else {}), **members},
    st.sampled_from(KINDS),
    st.dictionaries(st.sampled_from(MEMBERS), values, max_size=8),
    st.booleans(),
)


@given(several=st.lists(resources, max_size=5), key=st.sampled_from(KEYS), whole=st.booleans(), more=values, size=sizes)
def test_any_resources_are_answered(
    post: Post, several: list[Resource], key: str, whole: bool, more: Any, size: Resource
) -> None:
    alone = several[0] if several else None
    value = bundle(*(entry(one) for one in several), link=more) if whole else alone
    check(post, as_bytes({**call(prefetch(patient(), **{key: value})), **size}, escaped=True))


@given(
    quantity=st.fixed_dictionaries(
        {}, optional={name: st.one_of(scalars, values) for name in ("value", "unit", "code", "system", "comparator")}
    ),
    moment=st.one_of(scalars, st.datetimes().map(str), st.dates().map(str)),
)
def test_any_quantity_at_any_moment_is_answered(post: Post, quantity: Resource, moment: Any) -> None:
    results = [observation(valueQuantity=quantity, effectiveDateTime=moment), observation("calcium-total", 9)]
    check(post, as_bytes(call(prefetch(*results)), escaped=True))


@given(number=st.from_regex(r"-?[0-9]{1,60}(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,10})?", fullmatch=True))
def test_any_number_is_answered(post: Post, number: str) -> None:
    raw = to_json(call(prefetch(observation(value=8.125))))
    check(post, raw.replace(b"8.125", number.encode()))


@given(text=st.one_of(texts, st.datetimes().map(str), st.from_regex(r"[0-9T:.Z+-]{0,30}", fullmatch=True)))
def test_a_date_is_read_or_it_is_none_and_nothing_raises(text: str) -> None:
    found = parse(text)

    assert found is None or (found.start <= found.end and found.first <= found.last and found.day)


@given(text=texts)
def test_a_unit_is_read_or_it_is_none_and_nothing_raises(words: Terminology, text: str) -> None:
    unit = words.units.canonical(text)

    assert unit is None or words.units.canonical(unit) == unit


@given(raw=st.one_of(st.binary(max_size=80), texts.map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_content_is_read_or_refused_in_words(raw: bytes) -> None:
    with suppress(ContentError):
        parse_yaml(raw, "x.yaml")


@pytest.mark.parametrize("count", [2_000, 20_000])
def test_very_many_results_are_answered_in_time_and_like_the_few_that_matter(post: Post, count: int) -> None:
    few = [condition(), observation(value=8.1, days=1), observation("calcium-total", 9, days=1)]
    many = [observation("1988-5", 2, "mg/L", days=1 + place / 1_000) for place in range(count - len(few))]
    for one in many:
        one.pop("id")
    raw = to_json(call(prefetch(*few, *many)))

    assert quickest(lambda: spent(lambda: check(post, raw)), 3.0) < 3
    response = check(post, raw)
    alone = check(post, to_json(call(prefetch(*few))))
    assert fired(alone.json or {}) == fired(response.json or {}) != {}


@given(broken=broken_calls())
def test_both_ways_through_the_reader_say_the_same(post: Post, broken: Resource) -> None:
    """
    One decodes the prefetch together with the request, the other value by value; what they say must not differ.
    """
    answers = [check(post, as_bytes({**broken, **size}, escaped=True)) for size in LARGE]

    assert 1 == len({(one.status_code, UUID.sub("", one.text)) for one in answers})
