"""What the service answered, as the sidebar shows it, and what the clinician did with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from cds_service.web.sandbox.calling import Call, decoded

Resource = dict[str, Any]
EXTENSION = "org.calcinosis-cds"
INDICATORS = ("critical", "warning", "info")


class Shown(msgspec.Struct):
    """A card in the sidebar. ``taken`` says what became of each accepted suggestion, ``told`` how feedback went."""

    card: Resource
    taken: dict[str, str] = {}
    overridden: str = ""
    told: int = 0

    @property
    def uuid(self) -> str:
        """The card's uuid; without one there is no feedback."""
        return str(self.card.get("uuid") or "")

    @property
    def indicator(self) -> str:
        """The card's urgency; one that is not in the standard counts as info."""
        found = self.card.get("indicator")
        return found if found in INDICATORS else "info"

    def suggestion(self, uuid: str) -> Resource | None:
        """Return the suggestion with this uuid."""
        return next((one for one in _listed(self.card, "suggestions") if one.get("uuid") == uuid), None)

    def reason(self, code: str) -> Resource | None:
        """Return the override reason with this code."""
        return next((one for one in _listed(self.card, "overrideReasons") if one.get("code") == code), None)


class Advice(msgspec.Struct):
    """The answer to one hook. New advice of a service replaces what it said before (CDS Hooks, "Discovery")."""

    service: str
    hook: str
    number: int
    milliseconds: float
    cards: list[Shown]
    said: Resource
    problem: str = ""

    def card(self, uuid: str) -> Shown | None:
        """Return the card with this uuid."""
        return next((one for one in self.cards if one.uuid and one.uuid == uuid), None)


def read_advice(call: Call) -> Advice:
    """Read the answer to a hook call, whatever came."""
    body = decoded(call.answer)
    body = body if isinstance(body, dict) else {}
    extension = body.get("extension")
    said = extension.get(EXTENSION) if isinstance(extension, dict) else None
    problem = "" if call.status == 200 else f"The service answered {call.status}: {_refusal(body)}"
    cards = [Shown(card, {}) for card in _listed(body, "cards")] if not problem else []
    return Advice(
        call.service, call.hook, call.number, call.milliseconds, cards, said if isinstance(said, dict) else {}, problem
    )


def actions(suggestion: Resource) -> Iterator[tuple[str, Resource]]:
    """Yield the actions of a suggestion that an EHR can do, each with its type."""
    for action in _listed(suggestion, "actions"):
        if action.get("type") in ("create", "update", "delete"):
            yield action["type"], action


def accepted(shown: Shown, suggestion: str, at: str) -> Resource:
    """Return the feedback that a suggestion was accepted."""
    told = {"outcome": "accepted", "acceptedSuggestions": [{"id": suggestion}], "outcomeTimestamp": at}
    return {"feedback": [{"card": shown.uuid, **told}]}


def overridden(shown: Shown, reason: Resource | None, comment: str, at: str) -> Resource:
    """Return the feedback that a card was overridden, with a reason of the card and the clinician's words."""
    why: Resource = {"reason": reason} if reason else {}
    why |= {"userComment": comment} if comment else {}
    item: Resource = {"card": shown.uuid, "outcome": "overridden", "outcomeTimestamp": at}
    return {"feedback": [item | ({"overrideReason": why} if why else {})]}


def _refusal(body: Resource) -> str:
    """Return what an OperationOutcome says."""
    for issue in _listed(body, "issue"):
        details = issue.get("details")
        text = details.get("text") if isinstance(details, dict) else ""
        return " ".join(str(part) for part in (text, issue.get("diagnostics")) if part)
    return "without saying why."


def _listed(document: Resource, member: str) -> list[Resource]:
    found = document.get(member)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
