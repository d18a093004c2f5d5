"""A CDS Hooks request, read once at the door: a complete object, or an error that says what is wrong and where."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

import msgspec

from cds_service import decoding
from cds_service.errors import InvalidRequest
from cds_service.protocol import context as contexts
from cds_service.protocol import fields
from cds_service.protocol.access import Access
from cds_service.protocol.context import About
from cds_service.protocol.fields import NOTHING
from cds_service.protocol.wire import Body, Members


class HookRequest(msgspec.Struct, frozen=True):
    """
    One call of a hook.

    ``prefetch`` maps a key to the JSON bytes of its value; a key that was not sent is not in it.
    ``fhir_server`` is the base URL as the client wrote it, without a trailing slash; ``access`` is what else is needed
    to read from it. ``about`` are the resources of the context, where the hook has some.
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
    about: About | None = None
    access: Access | None = None

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
        _check_hook(fields.required(members.hook, "/hook"), hook)
        context = contexts.read(body, members.context, hook)
        server = fields.optional(members.fhirServer, "/fhirServer").rstrip("/")
        access = _access(body, server, members.fhirAuthorization, context.patient_id)
        return cls(
            hook=hook,
            hook_instance=fields.text(members.hookInstance, "/hookInstance"),
            patient_id=context.patient_id,
            body=body,
            prefetch=(members.prefetch or {}) if shaped is None else {},
            shaped=shaped,
            user_id=context.user_id,
            encounter_id=context.encounter_id,
            about=context.about,
            fhir_server=server,
            access=access,
        )

    def sent(self) -> Members:
        """Return the prefetch values as JSON, by key."""
        return self.prefetch if self.shaped is None else _members(self.body).prefetch or {}

    def completed_by(self, values: Mapping[str, bytes]) -> HookRequest:
        """Return the same call with further prefetch values, given as JSON."""
        more = {key: msgspec.Raw(value) for key, value in values.items()}
        return msgspec.structs.replace(self, prefetch={**self.sent(), **more}, shaped=None)

    def renamed(self, names: Mapping[str, str]) -> HookRequest:
        """Return the same call with prefetch keys called by other names."""
        return msgspec.structs.replace(
            self, prefetch={names.get(key, key): value for key, value in self.sent().items()}, shaped=None
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


_decoder = decoding.decoder(_Envelope)
_encoder = msgspec.json.Encoder()


@cache
def _shaped(shape: type[msgspec.Struct]) -> decoding.Decoder[Any]:
    return decoding.decoder(msgspec.defstruct("Shaped", [("prefetch", shape | None, None)], bases=(_Envelope,)))


def _envelope(body: Body, shape: type[msgspec.Struct] | None) -> tuple[_Envelope, msgspec.Struct | None]:
    """
    Read the envelope in one pass, with the prefetch if it fits its shape; where that says too little check it whole.

    What is decoded is written out again: what makes it shorter than it was is a member that stands twice, a member
    we do not know, or white space.
    """
    found: Any = None
    if shape is not None:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = _shaped(shape).decode(body.raw)
            if not body.checked:
                written = bytearray(len(body.raw))  # at once as large as it will be: growing would copy it many times
                _encoder.encode_into(found, written)
                if len(written) == len(body.raw):
                    return found, found.prefetch
    body.check_whole()
    members = _members(body)
    if found is None or shape is None or not _knows(shape, members):
        return members, None
    return found, found.prefetch


def _knows(shape: type[msgspec.Struct], members: _Envelope) -> bool:
    """Say whether a shape has a place for every value of the prefetch: what stands under other keys is read by kind."""
    return members.prefetch is not None and members.prefetch.keys() <= set(shape.__struct_fields__)


def _members(body: Body) -> _Envelope:
    try:
        found = _decoder.decode(body.raw)
    except msgspec.ValidationError:
        raise _wrong_envelope(body) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise fields.not_json(body, "") from None
    return found


def _wrong_envelope(body: Body) -> InvalidRequest:
    members = fields.members_of(body, body.raw, "")
    where = "/prefetch" if "prefetch" in members else ""
    return fields.invalid(f"{where or 'The body'} must be a JSON object.", where)


def _check_hook(sent: str, expected: str) -> None:
    if sent != expected:
        raise InvalidRequest(
            f'This service answers the hook "{expected}", not the one that was sent.',
            where="/hook",
            slug="wrong-hook",
            why="A service is announced for one hook (discovery member services[].hook).",
            remedy=f'Call the service with "hook": "{expected}", or call the service announced for your hook.',
        )


def _access(body: Body, server: str, raw: msgspec.Raw, patient: str) -> Access | None:
    """
    Read fhirAuthorization.

    Raises InvalidRequest where its token is bound to somebody else than the hook's patient: it must not be worked with
    (SECURITY.md 2).
    """
    if not fields.sent(raw):
        return Access(server) if server else None
    members = fields.members_of(body, raw, "/fhirAuthorization")
    bound = fields.optional(members.get("patient", NOTHING), "/fhirAuthorization/patient")
    if bound and bound.removeprefix("Patient/") != patient:
        raise fields.invalid(
            "The token is bound to a patient other than context.patientId.",
            "/fhirAuthorization/patient",
            "Working with it could show one patient's data for another.",
        )
    return Access(server, _token(members), _seconds(members)) if server else None


def _token(members: Members) -> str:
    """Return the access token; "" where none was sent that can be used (some clients send the rest without it)."""
    with suppress(InvalidRequest):
        return fields.optional(members.get("access_token", NOTHING), "/fhirAuthorization/access_token")
    return ""


def _seconds(members: Members) -> float | None:
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return decoding.decode(members.get("expires_in", NOTHING), float)
    return None
