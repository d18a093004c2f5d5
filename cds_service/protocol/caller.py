"""Who calls: known from the client's token, never from the body."""

from __future__ import annotations

import msgspec

from cds_service.protocol.profile import STANDARD, Profile


class Caller(msgspec.Struct, frozen=True):
    """
    An authenticated client: its issuer, the tenant it speaks for, and what its EHR supports.

    ``fhir`` are the base URLs of the FHIR servers that its calls may name; none: all that the service may contact.
    """

    issuer: str = ""
    tenant: str = ""
    profile: Profile = STANDARD
    fhir: tuple[str, ...] = ()


ANYONE = Caller()
