"""
JSON that two readers would understand in the same way, checked at the speed of the typed decoder.

Depth is bounded, a member that stands twice in one object is refused, NaN and Infinity are not JSON. A small
body is checked whole by the standard library. A large one is decoded into a struct that has a place for everything
and written out again: without its duplicates it would be shorter than it was. What such a struct keeps as bytes is
checked when it is read (and skipped, under the decoder's own guard against recursion, when it is not); a body that
does not fit the struct is checked whole after all.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import msgspec

from cds_service import decoding
from cds_service.errors import MalformedJson

MAX_DEPTH = 64
CHECKED_WHOLE = 32_768
Members = dict[str, msgspec.Raw]

_NOT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_ROUND = bytes.maketrans(b"{}[]", b"()()")
_STRETCH = 80
# A string is taken to its end or to the end of the body, never again (possessive): the time is linear in the length.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)
_members = decoding.decoder(Members)
_encode = msgspec.json.Encoder().encode


def is_null(raw: msgspec.Raw | bytes) -> bool:
    """Say whether a value kept as bytes is the JSON null."""
    return len(raw) == 4 and bytes(raw) == b"null"


class Body:
    """One request body, with what has been checked about it so far."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.checked = False
        if len(raw) <= CHECKED_WHOLE:
            self.check_whole()

    def members(self, raw: bytes | msgspec.Raw) -> Members:
        """
        Read the members of one JSON object, leaving their values as bytes.

        Raises MalformedJson where a member stands twice, and msgspec.DecodeError where it is not an object.
        """
        found = _members.decode(raw)
        if not self.checked and len(_encode(found)) != len(raw):
            self.check_whole()
        return found

    def check_whole(self) -> None:
        """Read the whole body strictly, once: its depth, every object at every depth, and every number."""
        if self.checked:
            return
        if not _shallow(self.raw):
            raise MalformedJson(
                f"The JSON is nested more than {MAX_DEPTH} levels deep.",
                slug="too-deep",
                why="No CDS Hooks request needs that, and deep nesting is a way to stop a server.",
                remedy="Send FHIR resources without the deep nesting.",
            )
        try:
            _read_strictly(self.raw)
        except RecursionError:
            raise MalformedJson("The JSON is nested too deeply.", slug="too-deep") from None
        except UnicodeDecodeError:
            raise MalformedJson(
                "The body is not UTF-8.", slug="not-utf-8", remedy="Send JSON encoded as UTF-8."
            ) from None
        except ValueError as failure:
            raise _syntax_error(failure) from None
        self.checked = True


def no_twins(raw: bytes) -> None:
    """
    Refuse a piece of a body in which a member stands twice, at any depth.

    Whether the piece is of the right shape is for its decoder to say.
    """
    with suppress(ValueError, RecursionError):
        _read_strictly(raw)


def _read_strictly(raw: bytes) -> None:
    json.loads(raw, object_pairs_hook=_no_twins, parse_constant=_no_constant, parse_int=len, parse_float=len)


def _syntax_error(failure: ValueError) -> MalformedJson:
    place = f"line {failure.lineno}, column {failure.colno}" if isinstance(failure, json.JSONDecodeError) else ""
    return MalformedJson(
        f"The body is not valid JSON{f' at {place}' if place else ''}.",
        why="A parser stopped there; the text itself is not repeated here.",
        remedy="Send one JSON object as RFC 8259 defines it.",
        slug="not-json",
    )


def _no_twins(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > 1 and len({key for key, _ in pairs}) != len(pairs):
        raise MalformedJson(
            "A member stands twice in one JSON object.",
            slug="duplicate-member",
            why="Two readers could take different values, and so different patients, from it.",
            remedy="Send every member once.",
        )


def _no_constant(_name: str) -> None:
    raise MalformedJson("NaN and Infinity are not JSON.", slug="not-a-json-number", remedy="Leave such values out.")


def _shallow(raw: bytes) -> bool:
    """
    Say whether nothing lies deeper than MAX_DEPTH, from the brackets alone: quick, and enough for honest bodies.

    They are counted in stretches: nowhere in a stretch is the depth more than it was before it plus all brackets
    that open in it. Brackets inside strings can make this fail (then the exact count decides) or, by design of an
    attacker, succeed; the decoders have their own guard against recursion, so that costs nothing.
    """
    brackets = raw.translate(_ROUND, _NOT_BRACKETS)
    opened = 0
    for start in range(0, len(brackets), _STRETCH):
        before, opening = 2 * opened - start, brackets.count(b"(", start, start + _STRETCH)
        if not 0 <= before <= MAX_DEPTH - opening:
            return _exactly_shallow(raw)
        opened += opening
    return 2 * opened == len(brackets) or _exactly_shallow(raw)


def _exactly_shallow(raw: bytes) -> bool:
    depth = 0
    for token in _TOKEN.finditer(raw):
        first = raw[token.start()]
        depth += (first in b"{[") - (first in b"}]")
        if depth > MAX_DEPTH:
            return False
    return True
