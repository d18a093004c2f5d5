"""
What is handed over of feedback: intervention, action taken, user feedback, user, date, location.

Source: 45 CFR 170.315(b)(11)(ii)(C). People are pseudonyms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from cds_service.insight.events import Answer, Call

# The columns, in their order; what each means stands on the export page and in docs.
COLUMNS = {
    "answered": "when the clinician answered, by the EHR's clock (UTC)",
    "received": "when the answer reached us (UTC)",
    "shown": "when the card was shown (UTC); empty if the card is not on record",
    "card": "the card's id (intervention)",
    "rules": "the rules that the card speaks for",
    "indicator": "how urgent the card was",
    "service": "the service that was asked",
    "hook": "the moment of the workflow",
    "outcome": "what was done: accepted or overridden (action taken)",
    "suggestions": "ids of accepted suggestions",
    "reason": "code of the override reason (user feedback)",
    "reason_system": "the code system of the reason",
    "reason_display": "the reason in words",
    "comment": "the clinician's own words",
    "user": "who was shown the card, as a keyed pseudonym",
    "user_kind": "what kind of user",
    "client": "the client system that called, as a keyed pseudonym (location)",
    "encounter": "the encounter, as a keyed pseudonym",
    "book": "the rule book in force",
}  # fmt: skip


class Wanted(msgspec.Struct, frozen=True):
    """Which feedback is wanted: answered from one moment up to another, of a rule, an outcome, a hook; "": any."""

    since: float = 0.0
    until: float = float("inf")
    rule: str = ""
    outcome: str = ""
    hook: str = ""


def rows(answers: Iterable[Answer], calls: Mapping[str, Call], wanted: Wanted) -> Iterator[dict[str, Any]]:
    """Yield the feedback that is wanted; ``calls`` are the decisions by the ids of their cards."""
    for answer in answers:
        row = _row(answer, calls.get(answer.card))
        if (
            wanted.since <= answer.at < wanted.until
            and wanted.rule in ("", *row["rules"])
            and wanted.outcome in ("", answer.outcome)
            and wanted.hook in ("", row["hook"])
        ):
            yield row


def _row(answer: Answer, call: Call | None) -> dict[str, Any]:
    card = next((one for one in call.content.cards if one.id == answer.card), None) if call else None
    content = call.content if call else None
    return {
        "answered": moment(answer.at),
        "received": moment(answer.received),
        "shown": moment(call.at) if call else "",
        "card": answer.card,
        "rules": list(card.rules) if card else [],
        "indicator": card.indicator if card else "",
        "service": answer.service,
        "hook": content.hook if content else "",
        "outcome": answer.outcome,
        "suggestions": list(answer.suggestions),
        "reason": answer.reason,
        "reason_system": answer.reason_system,
        "reason_display": answer.reason_display,
        "comment": answer.comment,
        "user": content.user if content else "",
        "user_kind": content.user_kind if content else "",
        "client": answer.issuer or (content.issuer if content else ""),
        "encounter": content.encounter if content else "",
        "book": content.book if content else "",
    }


def moment(at: float) -> str:
    """Show a moment; one that no calendar has stays a number."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return str(at)
