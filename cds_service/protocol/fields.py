"""Single members of a request, read strictly: a value of the right kind, or an error that says where it stands."""

from __future__ import annotations

import re

import msgspec

from cds_service import decoding
from cds_service.errors import InvalidRequest, MalformedJson
from cds_service.protocol.wire import Body, Members, is_null

NOTHING = msgspec.Raw()
# FHIR allows 64 characters; Epic's ids are longer and have dots (EHRS.md).
FHIR_ID = re.compile(r"[A-Za-z0-9._-]{1,256}")
LONGEST = 256
_SPECIFICATION = 'See CDS Hooks 2.0.1, section "HTTP Request".'
_ID_RULE = "A FHIR id has letters, digits, dots and hyphens only."
_WRONG = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_string = decoding.decoder(str).decode
_list = decoding.decoder(list[msgspec.Raw]).decode


def sent(raw: msgspec.Raw) -> bool:
    """Say whether a member was sent with a value."""
    return len(raw) > 0 and not is_null(raw)


def members_of(body: Body, raw: bytes | msgspec.Raw, where: str) -> Members:
    """Read the members of an object."""
    try:
        return body.members(raw)
    except msgspec.ValidationError:
        raise invalid(f"{where or 'The body'} must be a JSON object.", where) from None
    except _WRONG:
        raise not_json(body, where) from None


def items_of(raw: msgspec.Raw, where: str) -> list[msgspec.Raw]:
    """Read the items of an array that has to be there."""
    if not sent(raw):
        raise missing(where)
    try:
        return _list(raw)
    except _WRONG:
        raise invalid(f"{where} must be a JSON array.", where) from None


def required(raw: msgspec.Raw, where: str) -> str:
    """Read a text that has to be there."""
    if not sent(raw):
        raise missing(where)
    try:
        return _string(raw)
    except _WRONG:
        raise invalid(f'The member "{where.rpartition("/")[2]}" has the wrong type.', where) from None


def text(raw: msgspec.Raw, where: str, longest: int = LONGEST) -> str:
    """Read a text that has to be there and to have a sensible length."""
    found = required(raw, where)
    if not 1 <= len(found) <= longest:
        raise invalid(f'The member "{where.rpartition("/")[2]}" must have 1 to {longest} characters.', where)
    return found


def optional(raw: msgspec.Raw, where: str) -> str:
    """Read a text that need not be there."""
    return required(raw, where) if sent(raw) else ""


def identifier(found: str, where: str) -> str:
    """Return a text that has to be a FHIR id."""
    if not FHIR_ID.fullmatch(found):
        raise invalid(f"The {where.rpartition('/')[2]} is not a FHIR id.", where, _ID_RULE)
    return found


def not_json(body: Body, where: str) -> MalformedJson:
    """Say that a piece of the body is no JSON; what the strict reader finds in the whole body goes first."""
    body.check_whole()
    return MalformedJson(
        "The body is not valid JSON.",
        where=where,
        slug="not-json",
        remedy="Send one JSON object as RFC 8259 defines it, encoded as UTF-8.",
    )


def missing(where: str) -> InvalidRequest:
    """Say that a member is missing."""
    return invalid(f'The member "{where.rpartition("/")[2]}" is missing.', where)


def invalid(what: str, where: str, why: str = "") -> InvalidRequest:
    """Say what is wrong with the request, and where (a JSON Pointer)."""
    return InvalidRequest(what, where=where, why=why or "CDS Hooks requires it.", remedy=_SPECIFICATION)
