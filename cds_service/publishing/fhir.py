"""What all exported FHIR R4 resources share: addresses, names, extensions of ours, and the check by fhir.resources."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import msgspec
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.library import Library
from fhir.resources.R4B.plandefinition import PlanDefinition
from fhir.resources.R4B.valueset import ValueSet

Json = dict[str, Any]
BASE = "https://calcinosis-cds.example/fhir"
VERIFICATION = f"{BASE}/StructureDefinition/verification"
STRENGTH = f"{BASE}/StructureDefinition/evidence-strength"
CONDITION = f"{BASE}/StructureDefinition/counts-only-with"
PREFIX = f"{BASE}/StructureDefinition/matched-by-prefix"
# A rule in pilot is asked and counted, but nobody sees its card: it is not in use yet.
STATUS = {"draft": "draft", "pilot": "draft", "active": "active", "retired": "retired"}
_MODELS: dict[str, Any] = {"Bundle": Bundle, "Library": Library, "PlanDefinition": PlanDefinition, "ValueSet": ValueSet}


class Edition(msgspec.Struct, frozen=True):
    """Which edition is exported: in whose name, of which rule book, for which day."""

    publisher: str
    version: str
    day: date


def canonical(kind: str, identifier: str, version: str = "") -> str:
    """Return the canonical address of a resource."""
    return f"{BASE}/{kind}/{identifier}{f'|{version}' if version else ''}"


def machine_name(identifier: str) -> str:
    """Return a name that a program can use (FHIR, constraint pdf-0): EskdMissingLabs."""
    name = "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", identifier))
    return name if name[:1].isalpha() else f"C{name}"


def extension(url: str, text: str) -> list[Json]:
    """Return an extension that holds a text, or nothing where there is none."""
    return [{"url": url, "valueString": text}] if text else []


def known(**members: Any) -> Json:
    """Return the members that have a value: FHIR allows no empty one."""
    return {name: value for name, value in members.items() if value not in ("", None, [], {}, ())}


def check(resource: Json) -> None:
    """Raise ValueError where a resource is no R4 of its type."""
    _MODELS[resource["resourceType"]].model_validate(resource)
