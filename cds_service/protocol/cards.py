"""Cards on the wire. Members without a value are left out: CDS Hooks allows no null, "", [] or {} (CHECKLIST A4)."""

from __future__ import annotations

from typing import Any

import msgspec


class Coding(msgspec.Struct, frozen=True, omit_defaults=True):
    """A trimmed FHIR Coding, as CDS Hooks uses it."""

    code: str
    system: str
    display: str = ""


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the advice comes from. ``topic`` is static per rule: EHRs remember overrides by it."""

    label: str
    url: str = ""
    topic: Coding | None = None


class Link(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A link that an EHR may show; ``type`` is "absolute" or "smart", and only the latter may have ``app_context``."""

    label: str
    url: str
    type: str
    app_context: str = ""


class Action(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One thing an EHR can do for the clinician: create, update or delete a FHIR resource."""

    type: str
    description: str
    resource: dict[str, Any] | None = None
    resource_id: str = ""


class Suggestion(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A suggestion with one action (Epic allows only one), and a uuid so that acceptance can be fed back."""

    label: str
    uuid: str
    actions: list[Action]
    is_recommended: bool = False


class Card(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A card: at most 139 characters of summary, GitHub-flavoured Markdown as detail."""

    uuid: str
    summary: str
    indicator: str
    source: Source
    detail: str = ""
    suggestions: list[Suggestion] = []
    selection_behavior: str = ""
    override_reasons: list[Coding] = []
    links: list[Link] = []
    extension: dict[str, Any] = {}


class Response(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a hook call: ``cards``, even when empty; ``extension`` says what was not evaluated."""

    cards: list[Card]
    extension: dict[str, Any] = {}


def to_json(response: Response) -> bytes:
    """Write a response as UTF-8 JSON."""
    return msgspec.json.encode(response)
