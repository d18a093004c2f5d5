"""Charts of a FHIR server: only of those that the settings allow or, for somebody at this machine, of this machine."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import msgspec

from cds_service.adapters.addresses import Origin
from cds_service.adapters.deadline import Deadline
from cds_service.adapters.fhir import Completing, Origins, Wanted
from cds_service.errors import SettingsError
from cds_service.protocol.access import Access
from cds_service.web.sandbox.calling import decoded

Resource = dict[str, Any]
BUDGET, MOST_RESOURCES = 15.0, 5_000
_ID = re.compile(r"[A-Za-z0-9._-]{1,256}")
_OF = "patient={{context.patientId}}"
# What a chart shows. Searches that every server knows, so no filter on status and no sorting.
CHART = {
    "Patient": "Patient/{{context.patientId}}",
    "Condition": f"Condition?{_OF}&_count=200",
    "Observation": f"Observation?{_OF}&category=laboratory&_count=500",
    "MedicationRequest": f"MedicationRequest?{_OF}&_count=200",
    "Procedure": f"Procedure?{_OF}&_count=200",
    "FamilyMemberHistory": f"FamilyMemberHistory?{_OF}&_count=50",
}
REASONS = {
    "not-permitted": "CDS_FHIR_ALLOW does not name this server",
    "unreachable": "nobody answers at this address",
    "too-late": "the server did not answer in time",
    "status-401": "the server asks for a token",
    "status-403": "the server does not let us read this",
    "status-404": "the server does not have this",
    "not-fhir-json": "what came back is no FHIR",
    "token-odd": "the token has characters that no token has",
}


class Place(msgspec.Struct, frozen=True):
    """A FHIR server that was chosen, and the token for it."""

    url: str
    token: str = ""

    def __repr__(self) -> str:
        """Show no token."""
        return f"Place({self.url})"


class Found(msgspec.Struct, frozen=True):
    """A patient that a search found."""

    id: str
    resource: Resource


class _Sources(Origins):
    """The servers of the settings, and those of this machine."""

    def find(self, url: str) -> Origin | None:
        """Return the origin of a server that may be read."""
        return super().find(url) or _loopback(url)


class Servers:
    """Reads charts, with the same care as the service does: checked addresses, no redirects, one deadline."""

    def __init__(self, allowed: Origins) -> None:
        self.allowed = allowed
        self._completing = Completing(_Sources(allowed.allowed), BUDGET, places=2)

    def urls(self) -> list[str]:
        """Return the servers that the settings allow, for choosing."""
        return [origin.url for origin in self.allowed.allowed]

    def may_read(self, url: str, *, at_home: bool) -> bool:
        """Say whether somebody may read a server; those of this machine only who sits at it."""
        return self.allowed.find(url) is not None or (at_home and _loopback(url) is not None)

    def patients(self, place: Place, name: str) -> tuple[list[Found], str]:
        """Return the patients of a server, by a part of their name if one is given; else why there are none."""
        part = f"&name={quote(name, safe='')}" if name else ""
        values, failed = self._read(place, {"patients": f"Patient?_count=50{part}"}, {})
        if failed:
            return [], _said(failed["patients"])
        found = [Found(str(one.get("id")), one) for one in _entries(values["patients"]) if _is(one, "Patient")]
        return [one for one in found if _ID.fullmatch(one.id)], ""

    def chart(self, place: Place, patient_id: str) -> tuple[list[Resource], list[str]]:
        """Return a patient's resources, the Patient first, and what could not be read of them."""
        if not _ID.fullmatch(patient_id):
            return [], ["Patient: this is no FHIR id"]
        values, failed = self._read(place, CHART, {"patientId": patient_id})
        person = values.get("Patient")
        if not isinstance(person, dict) or not _is(person, "Patient"):
            return [], [f"Patient: {_said(failed.get('Patient', 'not-fhir-json'))}"]
        rest = [one for kind, value in values.items() if kind != "Patient" for one in _entries(value) if _is(one, kind)]
        gaps = [f"{kind}: {_said(why)}" for kind, why in failed.items()]
        return [person, *rest[:MOST_RESOURCES]], gaps

    def prefetch(self, place: Place, templates: Mapping[str, str], context: Mapping[str, Any]) -> Resource:
        """Fill a service's prefetch as an EHR does: nothing found by a read is null, a failure an OperationOutcome."""
        values, failed = self._read(place, templates, {name: str(value) for name, value in context.items()})
        filled: Resource = dict(values)
        for key, why in failed.items():
            if why == "context-lacks":
                continue
            filled[key] = None if why == "status-404" and "?" not in templates[key] else _outcome(why)
        return filled

    def _read(
        self, place: Place, queries: Mapping[str, str], context: Mapping[str, str]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        whole = {"patientId": "", "encounterId": "", **context}
        read = self._completing.complete(Access(place.url, place.token), Wanted(queries), whole, Deadline(BUDGET))
        values = {key: decoded(value) for key, value in read.values.items()}
        return values, read.failed


def _loopback(url: str) -> Origin | None:
    """Return the origin of a server on this machine; None for any other."""
    with suppress(SettingsError, ValueError):
        [origin] = Origins.read(f"{url} private").allowed
        if origin.host == "localhost" or ipaddress.ip_address(origin.host.strip("[]")).is_loopback:
            return origin
    return None


def _is(one: Any, kind: str) -> bool:
    return isinstance(one, dict) and one.get("resourceType") == kind


def _entries(bundle: Any) -> Iterator[Resource]:
    listed = bundle.get("entry") if isinstance(bundle, dict) else None
    for entry in listed if isinstance(listed, list) else ():
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict):
            yield resource


def _outcome(why: str) -> Resource:
    issue = {"severity": "error", "code": "exception", "details": {"text": _said(why)}}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def _said(why: str) -> str:
    return REASONS.get(why, why.replace("-", " "))
