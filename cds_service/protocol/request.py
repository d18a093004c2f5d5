"""A CDS Hooks request, read once at the door: a complete object, or an error that says what is wrong and where."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache
from typing import Any

import msgspec

from cds_service.errors import InvalidRequest, MalformedJson
from cds_service.protocol.wire import Body, Members, is_null

NOTHING = msgspec.Raw()

# FHIR allows 64 characters; Epic's ids are longer and have dots (EHRS.md).
_ID = re.compile(r"[A-Za-z0-9._-]{1,256}")
_USER = re.compile(r"\w{1,64}/[A-Za-z0-9._-]{1,256}")
_FHIR_ID = "A FHIR id has letters, digits, dots and hyphens only."
_SPECIFICATION = 'See CDS Hooks 2.0.1, section "HTTP Request".'


class HookRequest(msgspec.Struct, frozen=True):
    """
    One call of a hook.

    ``prefetch`` maps a key to the JSON bytes of its value; a key that was not sent is not in it.
    ``fhir_server`` is the base URL as the client wrote it, without a trailing slash.
    """

    hook: str
    hook_instance: str
    patient_id: str
    body: Body
    prefetch: Members = {}
    user_id: str = ""
    encounter_id: str = ""
    fhir_server: str = ""
    shaped: msgspec.Struct | None = None

    @classmethod
    def parse(cls, raw: bytes, hook: str, shape: type[msgspec.Struct] | None = None) -> HookRequest:
        """
        Read a request body for a service of the given hook.

        ``shape`` is a struct that the prefetch is expected to fit: if it does, it is decoded in the same pass and
        comes as ``shaped``. Raises MalformedJson or InvalidRequest; unknown members and extensions are ignored
        (CHECKLIST J3, K2).
        """
        body = Body(raw)
        members, shaped = _envelope(body, shape)
        _check_hook(_required(members.hook, "/hook"), hook)
        context = _context(body, members.context)
        patient = _patient_id(context)
        _check_authorization(body, members.fhirAuthorization, patient)
        return cls(
            hook=hook,
            hook_instance=_text(members.hookInstance, "/hookInstance"),
            patient_id=patient,
            body=body,
            prefetch=(members.prefetch or {}) if shaped is None else {},
            shaped=shaped,
            user_id=_user_id(context),
            encounter_id=_encounter_id(context),
            fhir_server=_optional(members.fhirServer, "/fhirServer").rstrip("/"),
        )


class _Envelope(msgspec.Struct, omit_defaults=True):
    """The members of a request as CDS Hooks names them, and ``user``, which 1.0 drafts had."""

    hook: msgspec.Raw = NOTHING
    hookInstance: msgspec.Raw = NOTHING
    fhirServer: msgspec.Raw = NOTHING
    fhirAuthorization: msgspec.Raw = NOTHING
    user: msgspec.Raw = NOTHING
    context: msgspec.Raw = NOTHING
    extension: msgspec.Raw = NOTHING
    prefetch: Members | None = None


_decoder = msgspec.json.Decoder(_Envelope)
_encoder = msgspec.json.Encoder()
_string = msgspec.json.Decoder(str).decode


@cache
def _shaped(shape: type[msgspec.Struct]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(msgspec.defstruct("Shaped", [("prefetch", shape | None, None)], bases=(_Envelope,)))


def _envelope(body: Body, shape: type[msgspec.Struct] | None) -> tuple[_Envelope, msgspec.Struct | None]:
    """
    Read the envelope in one pass, with the prefetch if it fits its shape; else check the body whole.

    What is decoded is written out again: what makes it shorter than it was is a member that stands twice, a member
    we do not know, or white space.
    """
    if shape is not None and not body.checked:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = _shaped(shape).decode(body.raw)
            written = bytearray(len(body.raw))  # at once as large as it will be: growing would copy it many times
            _encoder.encode_into(found, written)
            if len(written) == len(body.raw):
                return found, found.prefetch
    body.check_whole()
    return _members(body), None


def _members(body: Body) -> _Envelope:
    try:
        found = _decoder.decode(body.raw)
    except msgspec.ValidationError:
        raise _wrong_envelope(body) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _not_json(body, "") from None
    return found


def _wrong_envelope(body: Body) -> InvalidRequest:
    members = _object(body, body.raw, "")
    where = "/prefetch" if "prefetch" in members else ""
    return _invalid(f"{where or 'The body'} must be a JSON object.", where)


def _object(body: Body, raw: bytes | msgspec.Raw, where: str) -> Members:
    try:
        return body.members(raw)
    except msgspec.ValidationError:
        raise _invalid(f"{where or 'The body'} must be a JSON object.", where) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _not_json(body, where) from None


def _not_json(body: Body, where: str) -> MalformedJson:
    body.check_whole()
    return MalformedJson(
        "The body is not valid JSON.",
        where=where,
        slug="not-json",
        remedy="Send one JSON object as RFC 8259 defines it, encoded as UTF-8.",
    )


def _context(body: Body, raw: msgspec.Raw) -> Members:
    if not len(raw) or is_null(raw):
        raise _missing("/context")
    return _object(body, raw, "/context")


def _required(raw: msgspec.Raw, where: str) -> str:
    if not len(raw) or is_null(raw):
        raise _missing(where)
    try:
        return _string(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _invalid(f'The member "{where.rpartition("/")[2]}" has the wrong type.', where) from None


def _missing(where: str) -> InvalidRequest:
    return _invalid(f'The member "{where.rpartition("/")[2]}" is missing.', where)


def _text(raw: msgspec.Raw, where: str) -> str:
    text = _required(raw, where)
    if not 1 <= len(text) <= 256:
        raise _invalid(f'The member "{where.rpartition("/")[2]}" must have 1 to 256 characters.', where)
    return text


def _optional(raw: msgspec.Raw, where: str) -> str:
    return _required(raw, where) if len(raw) and not is_null(raw) else ""


def _check_hook(sent: str, expected: str) -> None:
    if sent != expected:
        raise InvalidRequest(
            f'This service answers the hook "{expected}", not the one that was sent.',
            where="/hook",
            slug="wrong-hook",
            why="A service is announced for one hook (discovery member services[].hook).",
            remedy=f'Call the service with "hook": "{expected}", or call the service announced for your hook.',
        )


def _patient_id(context: Members) -> str:
    patient = _text(context.get("patientId", NOTHING), "/context/patientId").removeprefix("Patient/")
    if not _ID.fullmatch(patient):
        raise _invalid(
            "The patientId is not a FHIR id.",
            "/context/patientId",
            _FHIR_ID,
        )
    return patient


def _encounter_id(context: Members) -> str:
    where = "/context/encounterId"
    encounter = _optional(context.get("encounterId", NOTHING), where).removeprefix("Encounter/")
    if encounter and not _ID.fullmatch(encounter):
        raise _invalid("The encounterId is not a FHIR id.", where, _FHIR_ID)
    return encounter


def _user_id(context: Members) -> str:
    user = _text(context.get("userId", NOTHING), "/context/userId")
    if not _USER.fullmatch(user):
        raise _invalid(
            'The userId is not of the form "Practitioner/123".',
            "/context/userId",
            "CDS Hooks gives the user as resource type, slash, id.",
        )
    return user


def _check_authorization(body: Body, raw: msgspec.Raw, patient: str) -> None:
    """A token that is bound to somebody else than the hook's patient must not be worked with (SECURITY.md 2)."""
    if not len(raw) or is_null(raw):
        return
    members = _object(body, raw, "/fhirAuthorization")
    bound = _optional(members.get("patient", NOTHING), "/fhirAuthorization/patient")
    if bound and bound.removeprefix("Patient/") != patient:
        raise _invalid(
            "The token is bound to a patient other than context.patientId.",
            "/fhirAuthorization/patient",
            "Working with it could show one patient's data for another.",
        )


def _invalid(what: str, where: str, why: str = "") -> InvalidRequest:
    return InvalidRequest(what, where=where, why=why or "CDS Hooks requires it.", remedy=_SPECIFICATION)
