"""A service as an EHR sees it in discovery."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Service(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One CDS service: what discovery says of it. ``prefetch`` maps keys to FHIR query templates."""

    hook: str
    id: str
    title: str
    description: str
    usage_requirements: str
    prefetch: dict[str, str] = {}


def discovery(services: Iterable[Service]) -> bytes:
    """Write the discovery document (CDS Hooks 2.0.1, "Discovery")."""
    return msgspec.json.encode({"services": list(services)})
