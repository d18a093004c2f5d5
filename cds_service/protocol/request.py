"""A CDS Hooks request, read once at the door: a complete object, or an error that says what is wrong and where."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from cds_service.errors import InvalidRequest, MalformedJson
from cds_service.protocol.wire import Body, Members, is_null

T = TypeVar("T")

# FHIR allows 64 characters; Epic's ids are longer and have dots (EHRS.md).
_ID = re.compile(r"[A-Za-z0-9._-]{1,256}")
_USER = re.compile(r"\w{1,64}/[A-Za-z0-9._-]{1,256}")
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

    @classmethod
    def parse(cls, raw: bytes, hook: str) -> HookRequest:
        """
        Read a request body for a service of the given hook.

        Raises MalformedJson or InvalidRequest; unknown members and extensions are ignored (CHECKLIST J3, K2).
        """
        body = Body(raw)
        members = _object(body, raw, "")
        _check_hook(_required(members, "hook", str, "/hook"), hook)
        context = _object(body, _required(members, "context", msgspec.Raw, "/context"), "/context")
        patient = _patient_id(context)
        _check_authorization(body, members, patient)
        return cls(
            hook=hook,
            hook_instance=_text(members, "hookInstance", "/hookInstance"),
            patient_id=patient,
            body=body,
            prefetch=_prefetch(body, members),
            user_id=_user_id(context),
            encounter_id=_optional(context, "encounterId", "/context/encounterId"),
            fhir_server=_optional(members, "fhirServer", "/fhirServer").rstrip("/"),
        )


def _object(body: Body, raw: bytes | msgspec.Raw, where: str) -> Members:
    try:
        return body.members(raw)
    except msgspec.ValidationError:
        raise _invalid(f"{where or 'The body'} must be a JSON object.", where) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body.check_whole()
        raise MalformedJson(
            "The body is not valid JSON.",
            where=where,
            slug="not-json",
            remedy="Send one JSON object as RFC 8259 defines it, encoded as UTF-8.",
        ) from None


def _required(members: Members, name: str, kind: type[T], where: str) -> T:
    raw = members.get(name)
    if raw is None or is_null(raw):
        raise _invalid(f'The member "{name}" is missing.', where)
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _invalid(f'The member "{name}" has the wrong type.', where) from None


def _text(members: Members, name: str, where: str) -> str:
    text = _required(members, name, str, where)
    if not 1 <= len(text) <= 256:
        raise _invalid(f'The member "{name}" must have 1 to 256 characters.', where)
    return text


def _optional(members: Members, name: str, where: str) -> str:
    raw = members.get(name)
    return _required(members, name, str, where) if raw is not None and not is_null(raw) else ""


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
    patient = _text(context, "patientId", "/context/patientId").removeprefix("Patient/")
    if not _ID.fullmatch(patient):
        raise _invalid(
            "The patientId is not a FHIR id.",
            "/context/patientId",
            "A FHIR id has letters, digits, dots and hyphens only.",
        )
    return patient


def _user_id(context: Members) -> str:
    user = _text(context, "userId", "/context/userId")
    if not _USER.fullmatch(user):
        raise _invalid(
            'The userId is not of the form "Practitioner/123".',
            "/context/userId",
            "CDS Hooks gives the user as resource type, slash, id.",
        )
    return user


def _check_authorization(body: Body, members: Members, patient: str) -> None:
    """A token that is bound to somebody else than the hook's patient must not be worked with (SECURITY.md 2)."""
    raw = members.get("fhirAuthorization")
    if raw is None or is_null(raw):
        return
    bound = _optional(_object(body, raw, "/fhirAuthorization"), "patient", "/fhirAuthorization/patient")
    if bound and bound.removeprefix("Patient/") != patient:
        raise _invalid(
            "The token is bound to a patient other than context.patientId.",
            "/fhirAuthorization/patient",
            "Working with it could show one patient's data for another.",
        )


def _prefetch(body: Body, members: Members) -> Members:
    raw = members.get("prefetch")
    if raw is None or is_null(raw):
        return {}
    return _object(body, raw, "/prefetch")


def _invalid(what: str, where: str, why: str = "") -> InvalidRequest:
    return InvalidRequest(what, where=where, why=why or "CDS Hooks requires it.", remedy=_SPECIFICATION)
