"""An answer as one kind of EHR can use it: the same advice, in the members, words and codes that the client knows."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit
from uuid import NAMESPACE_OID, uuid5

import msgspec

from cds_service.protocol.cards import Action, Card, Coding, Link, Response, Suggestion
from cds_service.protocol.profile import STANDARD, Profile

PLAIN = "text/plain"
# What would begin a list, a heading or a quotation if it came to stand at the beginning of a line.
_OPENERS = re.compile(r" (?=(?:[-+*>]|#{1,6}|\d{1,9}[.)])(?:\s|$))")
_GLUE = "\u00a0"
_BULLET = "- "


def shaped_for(response: Response, profile: Profile) -> Response:
    """Return an answer as a client's profile wants it; for the standard nothing changes."""
    if profile is STANDARD or not response.cards:
        return response
    return msgspec.structs.replace(response, cards=[_card(card, profile) for card in response.cards])


def _card(card: Card, profile: Profile) -> Card:
    shaped = msgspec.structs.replace(
        card,
        detail=_detail(card.detail, profile),
        suggestions=[part for one in card.suggestions for part in _parts(one, profile)],
        override_reasons=[profile.override_reasons.get(one.code, one) for one in card.override_reasons],
        links=[_link(link, profile) for link in card.links if _shown(link, profile)],
        extension=_extension(card, profile),
    )
    shaped = msgspec.structs.replace(shaped, **{name: [] for name in profile.omits})
    return msgspec.structs.replace(shaped, selection_behavior=_selection(shaped, profile))


def _selection(card: Card, profile: Profile) -> str:
    """Return how many suggestions may be chosen: what the card says, else what the client knows."""
    if not card.suggestions or not profile.selection:
        return ""
    return card.selection_behavior if card.selection_behavior in profile.selection else profile.selection[0]


def _extension(card: Card, profile: Profile) -> dict[str, Any]:
    told = {profile.detail_extension: profile.detail_type} if profile.detail_extension and card.detail else {}
    return {**card.extension, **told}


def _parts(suggestion: Suggestion, profile: Profile) -> Iterator[Suggestion]:
    """Yield a suggestion, or one for each of its actions; the first keeps the id, the others get ids made of it."""
    actions = [_action(action, profile) for action in suggestion.actions]
    whole = msgspec.structs.replace(suggestion, label=_cut(suggestion.label, profile), actions=actions)
    if not profile.one_action or len(actions) < 2:
        yield whole
        return
    for number, action in enumerate(actions):
        own = str(uuid5(NAMESPACE_OID, f"{suggestion.uuid}/{number}")) if number else suggestion.uuid
        label = _cut(action.description, profile)
        yield msgspec.structs.replace(whole, label=label, uuid=own, actions=[action])


def _action(action: Action, profile: Profile) -> Action:
    if action.resource is None or not (profile.spelling or profile.own_codes):
        return action
    return msgspec.structs.replace(action, resource=_respelled(action.resource, profile))


def _respelled(node: Any, profile: Profile) -> Any:
    """Return a resource with the client's own codes first, and code systems spelled as the client spells them."""
    if isinstance(node, list):
        return [_respelled(one, profile) for one in node]
    if not isinstance(node, Mapping):
        return node
    found = {key: _respelled(value, profile) for key, value in node.items() if key != "coding"}
    codings = node.get("coding") or ()
    own = [profile.own_codes.get((one.get("system", ""), one.get("code", ""))) for one in codings]
    written = [_written(one) for one in own if one is not None]
    written += [{**one, "system": profile.spelling.get(one["system"], one["system"])} for one in codings]
    return {**found, "coding": written} if written else found


def _written(coding: Coding) -> dict[str, str]:
    found: dict[str, str] = msgspec.to_builtins(coding)
    return found


def _shown(link: Link, profile: Profile) -> bool:
    """Say whether the client shows a link: of a type it knows, and registered where it keeps a list."""
    path = f"{urlsplit(link.url).path}/"
    return link.type in profile.links and (
        not profile.listed_links or any(listed in path for listed in profile.listed_links)
    )


def _link(link: Link, profile: Profile) -> Link:
    kept = link.app_context if profile.app_context else ""
    return msgspec.structs.replace(link, label=_cut(link.label, profile), app_context=kept)


def _cut(label: str, profile: Profile) -> str:
    limit = profile.label_limit
    return label if not limit or len(label) <= limit else label[: limit - 1].rstrip(" ,:") + "\u2026"


def _detail(text: str, profile: Profile) -> str:
    """Return the detail without Markdown where the client shows none, and in lines that are not too long."""
    if profile.detail_type == PLAIN:
        text = text.replace("**", "")
    if not profile.line_length:
        return text
    return "\n".join(part for line in text.split("\n") for part in _broken(line, profile.line_length))


def _broken(line: str, length: int) -> list[str]:
    """
    Break a line; what continues an entry of a list is indented, and no part begins what it did not begin before.

    A heading stays whole: bold over a line break is read differently by weak renderers.
    """
    if line.startswith("**"):
        return [line]
    start, rest = (_BULLET, line[len(_BULLET) :]) if line.startswith(_BULLET) else ("", line)
    indent = " " * len(start)
    parts = textwrap.wrap(
        _OPENERS.sub(_GLUE, rest), length - len(indent), break_long_words=False, break_on_hyphens=False
    )
    return [(indent if number else start) + part.replace(_GLUE, " ") for number, part in enumerate(parts)] or [line]
