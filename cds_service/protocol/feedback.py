"""What an EHR reports about cards: accepted, overridden, and why; in every spelling that EHRs use."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from cds_service import decoding
from cds_service.errors import InvalidRequest, MalformedJson
from cds_service.protocol.wire import Body

ACCEPTED, OVERRIDDEN = "accepted", "overridden"
MAX_ITEMS, MAX_TEXT, MAX_ID = 1_000, 4_000, 256
_REMEDY = 'See CDS Hooks 2.0.1, section "Feedback".'
# Epic tells the reason in an extension where a user took it from a list of the site (EHRS.md).
_EPIC = re.compile(r"com\.epic\.cdshooks\.feedback\.overrideReason\.reason(Category|Display|Title)")


class Feedback(msgspec.Struct, frozen=True):
    """
    One answer to one card.

    ``at`` is when it was given, in seconds since 1970 (UTC). ``reason`` is a code of ``reason_system``; ``comment``
    is free text of a clinician and may name a patient: it is stored, never logged.
    """

    card: str
    outcome: str
    at: float
    suggestions: tuple[str, ...] = ()
    reason: str = ""
    reason_system: str = ""
    reason_display: str = ""
    comment: str = ""

    def __repr__(self) -> str:
        """Show nothing that a clinician wrote."""
        return f"Feedback({self.outcome})"


def read_feedback(raw: bytes) -> list[Feedback]:
    """Read a feedback message. Raises MalformedJson or InvalidRequest; one wrong item refuses the whole message."""
    body = Body(raw)
    body.check_whole()
    message = _decoded(raw)
    if not isinstance(message, dict):
        raise _invalid("The body must be a JSON object.", "")
    items = message.get("feedback")
    if not isinstance(items, list) or not items:
        raise _invalid('The member "feedback" must be a list with at least one item.', "/feedback")
    if len(items) > MAX_ITEMS:
        raise _invalid(f"A message may hold {MAX_ITEMS} items.", "/feedback")
    return [_item(item, f"/feedback/{number}") for number, item in enumerate(items)]


def _decoded(raw: bytes) -> Any:
    """Decode a body that was checked; half a character (a lone surrogate) in it costs nobody the rest."""
    with suppress(msgspec.DecodeError):
        return decoding.decode(raw)
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):  # a number of thousands of digits
        raise MalformedJson("The body holds a number that cannot be read.", slug="not-a-json-number") from None


def _item(item: Any, where: str) -> Feedback:
    if not isinstance(item, dict):
        raise _invalid("An item must be a JSON object.", where)
    card = _id(item.get("card"), f"{where}/card")
    outcome = item.get("outcome")
    if outcome not in (ACCEPTED, OVERRIDDEN):
        raise _invalid('The outcome must be "accepted" or "overridden".', f"{where}/outcome")
    at = _moment(item.get("outcomeTimestamp"), f"{where}/outcomeTimestamp")
    suggestions = _suggestions(item.get("acceptedSuggestions"), f"{where}/acceptedSuggestions")
    if outcome == ACCEPTED and not suggestions:
        raise _invalid("An accepted card needs the suggestions that were accepted.", f"{where}/acceptedSuggestions")
    if outcome == ACCEPTED:
        return Feedback(card, ACCEPTED, at, suggestions)
    return _overridden(card, at, item, where)


def _suggestions(value: Any, where: str) -> tuple[str, ...]:
    entries = [] if value is None else value if isinstance(value, list) else [value]
    if len(entries) > MAX_ITEMS:
        raise _invalid("There are too many suggestions.", where)
    ids = [entry.get("id") if isinstance(entry, dict) else entry for entry in entries]
    return tuple(dict.fromkeys(_id(one, f"{where}/{number}/id") for number, one in enumerate(ids)))


def _overridden(card: str, at: float, item: Mapping[str, Any], where: str) -> Feedback:
    told = item.get("overrideReason", item.get("overrideReasons"))
    entries = told if isinstance(told, list) else [] if told is None else [told]
    found = next((entry for entry in entries if isinstance(entry, dict)), None)
    if entries and found is None:
        raise _invalid("An override reason must be a JSON object.", f"{where}/overrideReason")
    found = found or {}
    coding = found.get("reason", found if "code" in found else None)
    coding = coding if isinstance(coding, dict) else {}
    return Feedback(
        card,
        OVERRIDDEN,
        at,
        reason=_text(coding.get("code"), 200),
        reason_system=_text(coding.get("system"), 500),
        reason_display=_text(coding.get("display"), 500) or _from_extension(found, item),
        comment=_text(found.get("userComment", item.get("userComment")), MAX_TEXT),
    )


def _from_extension(*places: Mapping[str, Any]) -> str:
    """Return the words of a reason that stands in an extension only."""
    for place in places:
        extension = place.get("extension")
        if isinstance(extension, dict):
            words = [_text(value, 200) for name, value in extension.items() if _EPIC.fullmatch(str(name))]
            if any(words):
                return _text(" - ".join(dict.fromkeys(word for word in words if word)), 500)
    return ""


def _id(value: Any, where: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID or not value.isprintable():
        raise _invalid("An id of 1 to 256 characters is needed.", where)
    return value


def _moment(value: Any, where: str) -> float:
    if isinstance(value, str) and len(value) <= 40:
        with suppress(ValueError):
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    raise _invalid("A time like 2026-11-21T09:30:00Z is needed.", where)


def _text(value: Any, most: int) -> str:
    """Return a text without what would break a later reader (lone surrogates, NUL), cut to a length."""
    if not isinstance(value, str):
        return ""
    return value.encode("utf-8", "replace").decode().replace("\x00", "")[:most].strip()


def _invalid(what: str, where: str) -> InvalidRequest:
    return InvalidRequest(what, where=where, why="CDS Hooks requires it.", remedy=_REMEDY)
