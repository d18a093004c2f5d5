"""The audit as FHIR: one AuditEvent for each entry (R4, resource AuditEvent), in a Bundle."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

Resource = dict[str, Any]
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_SOURCE = "http://terminology.hl7.org/CodeSystem/security-source-type"
_OWN = "https://calcinosis-cds.example/audit-action"
# AuditEvent.action: create, read, update, delete, execute (http://hl7.org/fhir/audit-event-action). By how our own
# names of actions begin; all else is something that was carried out.
_ACTIONS = (
    (("create", "add", "propose", "make", "open"), "C"),
    (("change", "set", "update", "approve", "reject", "withdraw", "restore", "switch", "enable", "disable"), "U"),
    (("export", "read", "view", "verify", "list"), "R"),
    (("delete", "purge", "remove"), "D"),
)
# DICOM PS3.16 D: 110113 Security Alert, 110114 User Authentication, 110106 Export, 110100 Application Activity.
_TYPES = (
    (("sign", "log", "session", "password"), ("110114", "User Authentication")),
    (("export",), ("110106", "Export")),
    (("refus", "lock", "denied"), ("110113", "Security Alert")),
)
_OTHER = ("110100", "Application Activity")


class Entry(Protocol):
    """An entry of the audit, as far as it is told."""

    @property
    def number(self) -> int:
        """Its place."""

    @property
    def at(self) -> float:
        """When, in seconds since 1970 (UTC)."""

    @property
    def who(self) -> str:
        """Who did it."""

    @property
    def role(self) -> str:
        """In which role."""

    @property
    def action(self) -> str:
        """What was done."""

    @property
    def subject(self) -> str:
        """To what."""

    @property
    def old(self) -> str:
        """How it was."""

    @property
    def new(self) -> str:
        """How it is."""

    @property
    def origin(self) -> str:
        """From where."""

    @property
    def hash(self) -> str:
        """Its place in the chain of hashes."""


def bundle(entries: Iterable[Entry], named: Callable[[str], str], service: str) -> Resource:
    """Return the entries as a collection; ``named`` says how a person is named (a pseudonym, say)."""
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"fullUrl": f"urn:calcinosis-cds:audit:{entry.number}", "resource": event(entry, named, service)}
            for entry in entries
        ],
    }


def event(entry: Entry, named: Callable[[str], str], service: str) -> Resource:
    """Return one entry as an AuditEvent."""
    code, display = _type(entry.action)
    who: Resource = {"requestor": True, "altId": named(entry.who), "who": {"display": named(entry.who)}}
    if entry.role:
        who["role"] = [{"text": entry.role}]
    if entry.origin:
        who["network"] = {"address": entry.origin, "type": "2"}
    return {
        "resourceType": "AuditEvent",
        "id": f"audit-{entry.number}",
        "type": {"system": _DCM, "code": code, "display": display},
        "subtype": [{"system": _OWN, "code": entry.action.replace(" ", "-"), "display": entry.action}],
        "action": _action(entry.action),
        "recorded": datetime.fromtimestamp(entry.at, UTC).isoformat().replace("+00:00", "Z"),
        "outcome": "4" if code == "110113" else "0",
        "agent": [who],
        "source": {
            "observer": {"display": service},
            "type": [{"system": _SOURCE, "code": "4", "display": "Application Server"}],
        },
        "entity": [_entity(entry)],
    }


def _entity(entry: Entry) -> Resource:
    details = [
        {"type": name, "valueBase64Binary": base64.b64encode(value.encode()).decode()}
        for name, value in (("old", entry.old), ("new", entry.new), ("hash", entry.hash))
        if value
    ]
    found: Resource = {"type": {"system": _ENTITY, "code": "2", "display": "System Object"}}
    found |= {"name": entry.subject} if entry.subject else {}
    return found | ({"detail": details} if details else {})


def _type(action: str) -> tuple[str, str]:
    return next((code for starts, code in _TYPES if any(one in action for one in starts)), _OTHER)


def _action(action: str) -> str:
    return next((letter for starts, letter in _ACTIONS if action.startswith(starts)), "E")
