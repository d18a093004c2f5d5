"""
JSON that two readers would understand in the same way: members once, bounded depth, numbers that are numbers.

Small bodies are checked whole, large ones where they are read: what is refused in one must be refused in the other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from cds_service.errors import MalformedJson
from cds_service.protocol.wire import MAX_DEPTH, Body
from tests.build import (
    PATIENT,
    RXNORM,
    STRANGER,
    WARFARIN,
    Resource,
    bundle,
    call,
    concept,
    condition,
    entry,
    fired,
    observation,
    patient,
    prefetch,
    prescription,
    procedure,
    statement,
    to_json,
)

Post = Callable[..., TestResponse]
ESKD_WITH_PHOSPHATE = (condition(), observation(value=8.1), prescription(), statement(), procedure())
MANY = [observation("1988-5", 2, "mg/L", days=days) for days in range(1, 121)]


def written(*resources: Resource, large: bool, pretty: bool, **values: Any) -> bytes:
    """Write a call, small or large, compact or pretty."""
    found = prefetch(*resources, *(MANY if large else ()), **values)
    raw = to_json(call(found), indent=1 if pretty else None)
    assert large == (len(raw) > 32_768) or pretty

    return raw


@pytest.fixture(params=[(False, False), (True, False), (True, True)], ids=["small", "large", "large and pretty"])
def write(request: pytest.FixtureRequest) -> Callable[..., bytes]:
    large, pretty = request.param

    def make(*resources: Resource, **values: Any) -> bytes:
        return written(*resources, large=large, pretty=pretty, **values)

    return make


def slug(response: TestResponse) -> str:
    """Return the slug of a refusal, or "" where the call was answered."""
    issue = (response.json or {}).get("issue", [{}])[0]
    coding: list[Resource] = issue.get("details", {}).get("coding", [{"code": ""}])

    return str(coding[0]["code"])


def test_an_honest_call_is_answered(post: Post, write: Callable[..., bytes]) -> None:
    response = post(write(*ESKD_WITH_PHOSPHATE))

    assert 200 == response.status_code
    assert "eskd-hyperphosphatemia" in fired(response.json or {})


# --- members that stand twice ----------------------------------------------------------------------------------------

# (where, a member as it stands in the compact body, what is put before it)
TWICE: list[tuple[str, bytes, bytes]] = [
    ("body: hook", b'"hook":"patient-view"', b'"hook":"patient-view"'),
    ("body: context", b'"context":{', b'"context":{"userId":"Practitioner/1","patientId":"x"}'),
    ("body: prefetch", b'"prefetch":{', b'"prefetch":{}'),
    ("body: an unknown member", b'"hook":', b'"x":1,"x":2'),
    ("body: escaped", b'"hook":"patient-view"', b'"\\u0068ook":"order-sign"'),
    ("context: patientId", b'"patientId":"pat-1"', b'"patientId":"pat-2"'),
    ("context: escaped", b'"patientId":"pat-1"', b'"p\\u0061tientId":"pat-2"'),
    ("prefetch: a key", b'"conditions":{', b'"conditions":null'),
    ("Patient: id", b'"id":"pat-1"', b'"id":"pat-2"'),
    ("Bundle: entry", b'"total":1,', b'"entry":[]'),
    ("Bundle: total", b'"total":1,', b'"total":9'),
    ("entry: resource", b'"resource":{"resourceType":"Condition"', b'"resource":null'),
    ("entry: search mode", b'"mode":"match"}}]},"procedures"', b'"mode":"include"'),
    ("Condition: code", b'"code":{"coding":[{"system":"http://snomed.info/sct"', b'"code":null'),
    ("Condition: codings", b'"coding":[{"system":"http://snomed.info/sct"', b'"coding":[]'),
    ("Condition: coding", b'"code":"46177005"', b'"code":"0"'),
    ("Condition: clinicalStatus", b'"clinicalStatus":{', b'"clinicalStatus":null'),
    ("Condition: the code of its status", b'"code":"active"', b'"code":"resolved"'),
    ("Condition: the code of its verification", b'"code":"confirmed"', b'"code":"refuted"'),
    ("subject", b'"reference":"Patient/pat-1"', b'"reference":"Patient/pat-2"'),
    ("Observation: status", b'"status":"final"', b'"status":"entered-in-error"'),
    ("Observation: value", b'"valueQuantity":{', b'"valueQuantity":null'),
    ("Quantity: value", b'"value":8.1', b'"value":1.1'),
    ("Quantity: unit", b'"unit":"mg/dL"', b'"unit":"mmol/L"'),
    ("Quantity: the coded unit", b'"code":"mg/dL"', b'"code":"mmol/L"'),
    ("Observation: coding", b'"code":"2777-1"', b'"code":"17861-6"'),
    ("MedicationRequest: status", b'"status":"active","intent"', b'"status":"stopped"'),
    ("MedicationRequest: coding", b'"code":"855332"', b'"code":"0"'),
    ("MedicationStatement: status", b'"status":"active","medicationC', b'"status":"stopped"'),
    ("Procedure: status", b'"status":"completed"', b'"status":"not-done"'),
]


@pytest.mark.parametrize(("member", "first"), [row[1:] for row in TWICE], ids=[row[0] for row in TWICE])
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("pretty", [False, True], ids=["compact", "pretty"])
def test_a_member_that_stands_twice_is_refused_at_every_level_that_is_read(
    post: Post, member: bytes, first: bytes, large: bool, pretty: bool
) -> None:
    raw = written(*ESKD_WITH_PHOSPHATE, large=large, pretty=False)
    assert member in raw
    doubled = raw.replace(member, first + b"," + member, 1)
    if pretty:
        doubled = doubled.replace(b"{", b"{\n ", 3).replace(b",", b", ", 7)

    response = post(doubled)

    assert (400, "duplicate-member") == (response.status_code, slug(response))


COMPONENT = {"code": concept("2777-1", "http://loinc.org"), "valueQuantity": {"value": 8.25, "unit": "mg/dL"}}
CONTAINED = {"resourceType": "Medication", "id": "m", "code": concept(WARFARIN, RXNORM)}
REFERENCE: Resource = {"medicationCodeableConcept": None, "medicationReference": {"reference": "#m"}}
PARTS: list[tuple[str, Resource, bytes, bytes]] = [
    ("meta", observation(meta={"versionId": "1"}, id="same"), b'"versionId":"1"', b'"versionId":"2"'),
    (
        "period",
        observation(effectivePeriod={"end": "2026-02-02"}, effectiveDateTime=None),
        b'"end":"2026-02-02"',
        b'"end":"2025-02-02"',
    ),
    ("component", observation("24362-6", component=[COMPONENT]), b'"value":8.25', b'"value":1'),
    (
        "dosage",
        prescription(dosageInstruction=[{"timing": {"repeat": {"boundsPeriod": {"end": "2027-01-01"}}}}]),
        b'"end":"2027-01-01"',
        b'"end":"2025-01-01"',
    ),
    ("contained", prescription(contained=[CONTAINED], **REFERENCE), b'"id":"m"', b'"id":"x"'),
    ("onset", condition(onsetPeriod={"start": "2026-01-01"}), b'"start":"2026-01-01"', b'"start":"2026-02-02"'),
    (
        "performed",
        procedure(performedDateTime=None, performedPeriod={"end": "2026-02-02"}),
        b'"end":"2026-02-02"',
        b'"end":"2025-02-02"',
    ),
]


@pytest.mark.parametrize(("one", "member", "first"), [row[1:] for row in PARTS], ids=[row[0] for row in PARTS])
def test_a_member_that_stands_twice_is_refused_in_smaller_parts_too(
    post: Post, write: Callable[..., bytes], one: Resource, member: bytes, first: bytes
) -> None:
    raw = write(condition(), one, observation(id="same"))
    compact = to_json(json.loads(raw))
    assert 1 == compact.count(member)

    response = post(compact.replace(member, first + b"," + member))

    assert (400, "duplicate-member") == (response.status_code, slug(response))


def test_a_duplicate_cannot_be_made_up_for_by_other_changes(post: Post) -> None:
    """
    The quick check compares lengths: nothing may make a body longer that has lost a duplicate.
    """
    raw = written(*ESKD_WITH_PHOSPHATE, large=True, pretty=False)
    doubled = raw.replace(b'"value":8.1', b'"value":1.1,"value":8.1')
    for filler in (b"\x7f" * 12, "\u00e9\u20ac".encode() * 8, b"\\u007f\\n\\\\" * 4):
        response = post(doubled.replace(b'"hookInstance":"', b'"hookInstance":"' + filler))

        assert (400, "duplicate-member") == (response.status_code, slug(response))


@pytest.mark.parametrize("escape", ["\\/", "\\u0041", "\\n", "\\u00e9", "\\ud83d\\ude00", '\\"', "\\\\"])
def test_escapes_and_white_space_are_no_duplicates(post: Post, escape: str) -> None:
    raw = written(*ESKD_WITH_PHOSPHATE, large=True, pretty=False)
    escaped = raw.replace(b'"hookInstance":"', b'"x":"' + escape.encode() + b'" ,\r\n\t"hookInstance":"')

    assert 200 == post(escaped).status_code


def test_the_same_key_in_two_objects_is_no_duplicate(post: Post) -> None:
    assert 200 == post(to_json(call(prefetch(), x={"a": {"a": [{"a": 1}, {"a": 1}]}}))).status_code


# --- depth -----------------------------------------------------------------------------------------------------------


def nested(levels: int, opened: bytes = b"[", closed: bytes = b"]") -> bytes:
    """Return so many levels of nesting, the body's own object being one of them."""
    inner = levels - 1

    return b'{"x":' + opened * inner + b"0" + closed * inner + b"," + to_json(call(prefetch()))[1:]


@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]"), (b'{"a":[', b"]}")])
def test_64_levels_are_read_and_65_are_not(post: Post, opened: bytes, closed: bytes) -> None:
    each = len([one for one in opened if one in b"[{"])
    fits, too_deep = (1 + MAX_DEPTH // each if each == 1 else 1 + MAX_DEPTH // each - 1 + 0), 2 + MAX_DEPTH // each

    assert 200 == post(nested(fits - (1 if each == 1 else 0), opened, closed)).status_code
    assert "too-deep" == slug(post(nested(too_deep, opened, closed)))


@pytest.mark.parametrize(
    "text", [b"[", b"]", b"{", b"}", b"[" * 100, b"]" * 100, b'\\"[', b"\\\\", b'[\\"]', b"[{]}", b'\\\\\\"[[']
)
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_brackets_in_strings_are_text(post: Post, text: bytes, large: bool) -> None:
    pad = b'"pad":"' + b"x" * (40_000 if large else 1) + b'",'
    for levels, status in ((MAX_DEPTH, 200), (MAX_DEPTH + 1, 400)):
        raw = b'{"s":"' + text + b'",' + pad + nested(levels)[1:]

        assert status == post(raw).status_code


@pytest.mark.parametrize("levels", [66, 500, 1_000, 5_000, 100_000, 2_000_000])
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("opened", [b"[", b'{"a":', b'["]",'], ids=["lists", "objects", "with brackets in strings"])
def test_deep_nesting_is_refused_in_a_moment(post: Post, levels: int, closed: bool, opened: bytes) -> None:
    """
    Brackets in strings may be made to cancel the real ones in the quick check; the decoders have their own guard.
    """
    close = {b"[": b"]", b'{"a":': b"}", b'["]",': b'"["]'}[opened]
    raw = nested(min(levels, 6_000_000 // len(opened + close)), opened, close if closed else b"")
    started = time.perf_counter()

    response = post(raw)

    assert 5 > time.perf_counter() - started
    assert response.status_code in ({400, 200} if b'"' in opened[:2] else {400})


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 8_000_000,
        b"{" * 8_000_000,
        b"[]" * 4_000_000,
        b'"[",' * 2_000_000,
        b'["' + b'\\"' * 4_000_000,
        b'["' + b"\\\\" * 4_000_000,
        b'["' + b'[\\"' * 2_000_000,
        b"[" + b'"' * 8_000_000,
        b'{"a":' * 1_500_000,
        b"[" + b"1," * 4_000_000,
        b" " * 8_000_000,
        b"[" + b"\n" * 8_000_000,
    ],
    ids=lambda raw: repr(raw[:8]),
)  # fmt: skip
def test_eight_megabytes_of_anything_are_refused_in_a_moment(raw: bytes) -> None:
    started = time.perf_counter()

    with pytest.raises(MalformedJson):
        Body(raw).check_whole()

    assert 5 > time.perf_counter() - started


# --- numbers and characters ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "nan", "+1", "01", ".5", "1.", "0x10", "1e", "--1", "1_000"]
)
def test_what_json_does_not_allow_as_a_number_is_refused(post: Post, number: str, large: bool) -> None:
    raw = written(condition(), observation(value=8.125), large=large, pretty=False)

    assert 400 == post(raw.replace(b"8.125", number.encode())).status_code


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize(
    "number", ["1" * 5_000, "-" + "1" * 5_000, "1e400", "1e-400", "1e999999999", "1." + "1" * 5_000]
)
@pytest.mark.parametrize("place", ["value", "elsewhere"])
def test_a_number_beyond_all_measure_is_no_result_and_no_failure(
    post: Post, number: str, place: str, large: bool
) -> None:
    raw = written(condition(), observation(value=8.125), large=large, pretty=False)
    if place == "value":
        raw = raw.replace(b"8.125", number.encode())
    else:
        raw = raw.replace(b'{"hook":', b'{"x":' + number.encode() + b',"hook":')

    response = post(raw)

    assert response.status_code in {200, 400}
    if response.status_code == 200:
        assert (place == "elsewhere") == ("eskd-hyperphosphatemia" in fired(response.json or {}))


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\\ud800",
        b"\\udc00\\ud800",
        b"\\ud800x",
        b"\x00",
        b"\x1f",
        b"\\x",
        b"\\u12",
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "place", [b'"hookInstance":"', b'"system":"', b'"unit":"', b'"reference":"', b'"status":"'], ids=repr
)
def test_text_that_is_no_text_is_refused_or_left_aside(post: Post, text: bytes, place: bytes, large: bool) -> None:
    raw = written(condition(), observation(value=8.1), large=large, pretty=False)

    response = post(raw.replace(place, place + text))

    assert response.status_code in {200, 400, 412}
    assert response.is_json


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1"])
def test_only_utf_8_is_read(post: Post, encoding: str) -> None:
    raw = to_json(call(prefetch(), x="é")).decode().encode(encoding)

    assert 400 == post(raw).status_code


def test_another_patient_cannot_be_smuggled_in_by_a_second_member(post: Post) -> None:
    """
    What all this is for: two readers, two patients.
    """
    raw = to_json(call(prefetch(values=None, patient=patient())))
    smuggled = raw.replace(
        f'"patientId":"{PATIENT}"'.encode(), f'"patientId":"{PATIENT}","patientId":"{STRANGER}"'.encode()
    )

    assert 400 == post(smuggled).status_code


def test_entries_of_every_shape_are_no_duplicates(post: Post) -> None:
    values = {"observations": bundle(entry(observation()), entry(observation(), fullUrl="urn:uuid:1"))}

    assert 200 == post(to_json(call(prefetch(condition(), **values)))).status_code
