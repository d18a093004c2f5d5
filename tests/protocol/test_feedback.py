"""Feedback messages, in the spellings that EHRs use (EHRS.md), and what is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cds_service.errors import CdsError, InvalidRequest, MalformedJson
from cds_service.protocol.feedback import MAX_ITEMS, MAX_TEXT, Feedback, read_feedback

AT = "2026-03-01T12:00:00Z"
SECONDS = 1_772_366_400.0
ACCEPTED: dict[str, Any] = {
    "card": "card-1",
    "outcome": "accepted",
    "acceptedSuggestions": [{"id": "suggestion-1"}],
    "outcomeTimestamp": AT,
}
REASON = {"code": "d7ecf885", "system": "https://example.com/reasons", "display": "Already treated"}
OVERRIDDEN: dict[str, Any] = {
    "card": "card-1",
    "outcome": "overridden",
    "overrideReason": {"reason": REASON, "userComment": "clinician entered comment"},
    "outcomeTimestamp": AT,
}
STORED = Feedback(
    "card-1", "overridden", SECONDS, (), "d7ecf885", "https://example.com/reasons", "Already treated",
    "clinician entered comment",
)  # fmt: skip


def read(*items: Any) -> list[Feedback]:
    return read_feedback(json.dumps({"feedback": list(items)}).encode())


def one(base: dict[str, Any], **members: Any) -> Feedback:
    [found] = read({**base, **members})
    return found


# --- spellings --------------------------------------------------------------------------------------------------------


def test_an_acceptance_as_the_specification_shows_it() -> None:
    assert Feedback("card-1", "accepted", SECONDS, ("suggestion-1",)) == one(ACCEPTED)


def test_an_override_as_the_specification_shows_it() -> None:
    assert STORED == one(OVERRIDDEN)


@pytest.mark.parametrize(
    "members",
    [
        {"overrideReasons": OVERRIDDEN["overrideReason"]},
        {"overrideReasons": [OVERRIDDEN["overrideReason"]]},
        {"overrideReason": [OVERRIDDEN["overrideReason"]]},
        {"overrideReason": {**REASON, "userComment": "clinician entered comment"}},
        {"overrideReason": {"reason": REASON}, "userComment": "clinician entered comment"},
    ],
    ids=["plural", "plural list", "list", "without reason around it", "comment beside it"],
)
def test_an_override_in_other_spellings(members: dict[str, Any]) -> None:
    base = {name: value for name, value in OVERRIDDEN.items() if name != "overrideReason"}

    assert STORED == one(base, **members)


@pytest.mark.parametrize("place", ["item", "reason"])
def test_a_reason_that_stands_in_an_extension_only(place: str) -> None:
    """Epic: a reason from a list of the site (EHRS.md)."""
    extension = {
        "com.epic.cdshooks.feedback.overrideReason.reasonCategory": "Clinical",
        "com.epic.cdshooks.feedback.overrideReason.reasonDisplay": "Benefit outweighs risk",
        "com.other.vendor": "Mrs Example",
    }
    told = {"extension": extension, **({"overrideReason": {}} if place == "item" else {})}
    found = one(OVERRIDDEN, **({"overrideReason": {"extension": extension}} if place == "reason" else told))

    assert "Clinical - Benefit outweighs risk" == found.reason_display


def test_words_of_an_extension_are_cut_to_what_is_stored() -> None:
    names = [f"com.epic.cdshooks.feedback.overrideReason.reason{name}" for name in ("Category", "Display", "Title")]
    extension = dict(zip(names, ("c" * 300, "d" * 300, "t" * 300), strict=True))
    kept = "c" * 200 + " - " + "d" * 200 + " - " + "t" * 94

    assert (500, kept) == (len(kept), one(OVERRIDDEN, overrideReason={"extension": extension}).reason_display)


@pytest.mark.parametrize(
    "value", [["suggestion-1"], "suggestion-1", {"id": "suggestion-1"}, [{"id": "suggestion-1"}] * 2]
)
def test_accepted_suggestions_in_other_spellings(value: Any) -> None:
    assert ("suggestion-1",) == one(ACCEPTED, acceptedSuggestions=value).suggestions


@pytest.mark.parametrize("absent", [{}, {"overrideReason": None}, {"overrideReason": {}}, {"overrideReason": []}])
def test_an_override_needs_no_reason(absent: dict[str, Any]) -> None:
    base = {name: value for name, value in OVERRIDDEN.items() if name != "overrideReason"}

    found = one(base, **absent)

    assert ("", "", "") == (found.reason, found.reason_display, found.comment)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-03-01T12:00:00Z", SECONDS),
        ("2026-03-01T13:00:00+01:00", SECONDS),
        ("2026-03-01T12:00:00.250Z", SECONDS + 0.25),
        ("2026-03-01T12:00:00", SECONDS),
        ("0001-01-01T00:00:00+14:00", -62135647200.0),  # a broken clock costs no feedback
        ("9999-12-31T23:59:59-14:00", 253402351199.0),
    ],
)
def test_moments(text: str, seconds: float) -> None:
    assert seconds == one(ACCEPTED, outcomeTimestamp=text).at


def test_several_items_keep_their_order() -> None:
    assert ["a", "b", "c"] == [item.card for item in read(*({**ACCEPTED, "card": card} for card in "abc"))]


def test_members_that_are_not_known_are_ignored() -> None:
    assert one(ACCEPTED) == one(ACCEPTED, extension={"org.example": 1}, somethingElse=[1])


# --- what is none -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "members", "where"),
    [
        (ACCEPTED, {"card": None}, "card"),
        (ACCEPTED, {"card": 7}, "card"),
        (ACCEPTED, {"card": "x" * 257}, "card"),
        (ACCEPTED, {"card": "a\nb"}, "card"),
        (ACCEPTED, {"outcome": "ACCEPTED"}, "outcome"),
        (ACCEPTED, {"outcome": ["accepted"]}, "outcome"),
        (ACCEPTED, {"acceptedSuggestions": []}, "acceptedSuggestions"),
        (ACCEPTED, {"acceptedSuggestions": [{"id": ""}]}, "acceptedSuggestions/0/id"),
        (ACCEPTED, {"acceptedSuggestions": ["x"] * 1_001}, "acceptedSuggestions"),
        (ACCEPTED, {"outcomeTimestamp": 5}, "outcomeTimestamp"),
        (ACCEPTED, {"outcomeTimestamp": "yesterday"}, "outcomeTimestamp"),
        (ACCEPTED, {"outcomeTimestamp": "2026-02-30T00:00:00Z"}, "outcomeTimestamp"),
        (OVERRIDDEN, {"overrideReason": "because"}, "overrideReason"),
        (OVERRIDDEN, {"overrideReason": [1, 2]}, "overrideReason"),
    ],
)
def test_an_item_that_is_wrong_is_named_by_its_place(base: dict[str, Any], members: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        one(base, **members)

    assert f"/feedback/0/{where}" == refused.value.where


@pytest.mark.parametrize(
    "raw",
    [b"", b"null", b"7", b'"text"', b"[]", b"{}", b'{"feedback":{}}', b'{"feedback":null}', b'{"feedback":[null]}'],
)
def test_a_message_of_another_shape_is_refused(raw: bytes) -> None:
    with pytest.raises(CdsError):
        read_feedback(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"\xff",
        b'{"feedback":[NaN]}',
        b'{"feedback":[],"feedback":[]}',
        b"[" * 100_000,
        b'{"feedback":' + b"[" * 65 + b"]" * 65 + b"}",
        b'{"feedback":["\\ud800",' + b"7" * 5_000 + b"]}",
    ],
    ids=["cut off", "not utf-8", "nan", "twice", "deep", "just too deep", "digits"],
)
def test_what_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedJson):
        read_feedback(raw)


def test_too_many_items_are_refused() -> None:
    assert MAX_ITEMS == len(read(*[ACCEPTED] * MAX_ITEMS))
    with pytest.raises(InvalidRequest):
        read(*[ACCEPTED] * (MAX_ITEMS + 1))


# --- text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("  plain  ", "plain"),
        ("a\x00b", "ab"),
        ("\ud83d lone", "? lone"),
        ("=cmd|' /C calc'!A0", "=cmd|' /C calc'!A0"),
        ("x" * 10_000, "x" * MAX_TEXT),
        (7, ""),
        (None, ""),
        (["list"], ""),
    ],
)
def test_a_comment_is_kept_as_it_was_typed_as_far_as_it_can_be(typed: Any, kept: str) -> None:
    assert kept == one(OVERRIDDEN, overrideReason={"userComment": typed}).comment


def test_nothing_that_was_typed_is_shown() -> None:
    assert "Feedback(overridden)" == repr(one(OVERRIDDEN))
