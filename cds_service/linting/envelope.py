"""
Everything that is wrong with the envelope of a call, not only the first thing.

The service's own reader stops where it first cannot go on. Here what it complains of is mended in a copy, and it
reads again, until it has nothing left to say; whatever it says is a problem of the call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from cds_service.errors import MalformedJson, RequestError
from cds_service.linting.problems import ERROR, NOTE, Problem
from cds_service.protocol import HookRequest
from cds_service.protocol.wire import Body

Json = dict[str, Any]
_ROUNDS = 25
STAND_IN = "lint"
_CALL = frozenset({"hook", "hookInstance", "context", "prefetch"})
_NEITHER = "The file must hold one JSON object: a hook call, the prefetch of one, or a FHIR resource."
# A Bundle of several kinds answers no single query of ours: it is read by what it holds.
RECORD = "record"
_UNREADABLE = (ValueError, RecursionError, UnicodeError)


class Envelope(msgspec.Struct):
    """
    A call that the service's reader accepts, what had to be mended for that, and where it stood in the file.

    ``document`` is None where nothing could be read. ``prefix`` is what the pointers have too much: a file may hold a
    prefetch alone, or one value of it.
    """

    document: Json | None
    problems: list[Problem]
    prefix: str = ""


def opened(raw: bytes, hook: str, kinds: Mapping[str, str]) -> Envelope:
    """
    Open a file: a hook call, the prefetch of one, or one value of it.

    ``kinds`` says for each type of resource under which key the service asks for it.
    """
    problems, found = _decoded(raw)
    if found is None:
        return Envelope(None, problems)
    document, prefix, note = _as_call(found, hook, kinds)
    problems += [note] if note else []
    for _ in range(_ROUNDS):
        wrong = _refused(document, hook)
        if wrong is None:
            return Envelope(document, problems, prefix)
        problems.append(Problem(ERROR, wrong.where, wrong.what, wrong.why, wrong.remedy, wrong.slug))
        if not _mend(document, wrong.where, hook):
            break
    return Envelope(None, problems, prefix)


def _decoded(raw: bytes) -> tuple[list[Problem], Json | None]:
    problems: list[Problem] = []
    try:
        Body(raw).check_whole()
    except MalformedJson as wrong:
        problems.append(Problem(ERROR, wrong.where, wrong.what, wrong.why, wrong.remedy, wrong.slug))
    try:
        found = json.loads(raw)
    except _UNREADABLE:
        return problems or [Problem(ERROR, "", "This is not JSON.", slug="not-json")], None
    if not isinstance(found, dict):
        return [*problems, Problem(ERROR, "", _NEITHER, slug="not-an-object")], None
    if not found.keys() & _CALL and "resourceType" not in found and not any(map(_is_fhir, found.values())):
        return [*problems, Problem(ERROR, "", _NEITHER, slug="not-a-call")], None
    return problems, found


def _is_fhir(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("resourceType"), str)


def _as_call(found: Json, hook: str, kinds: Mapping[str, str]) -> tuple[Json, str, Problem | None]:
    """Return the file as a hook call; what is none is read as the prefetch of one."""
    if found.keys() & _CALL:
        return found, "", None
    if "resourceType" in found:
        key = _key_for(found, kinds)
        prefetch, prefix = {key: found}, f"/prefetch/{key}"
    else:
        key, prefetch, prefix = "", found, "/prefetch"
    said = f'the prefetch value "{key}" of one' if key else "the prefetch of one"
    note = Problem(NOTE, "", f"This is no hook call; it was read as {said}.", slug="not-a-call")
    whole: Json = {"hook": hook, "hookInstance": STAND_IN, "context": {}, "prefetch": prefetch}
    _complete(whole, hook)
    return whole, prefix, note


def _key_for(resource: Json, kinds: Mapping[str, str]) -> str:
    """Return the key under which the service would ask for what a resource or Bundle holds."""
    types = {str(one.get("resourceType")) for one in _resources(resource)}
    keys = {kinds[kind] for kind in types if kind in kinds}
    return keys.pop() if len(keys) == 1 else RECORD


def _complete(document: Json, hook: str) -> None:
    """Add what the hook needs in its context, which a prefetch alone cannot have."""
    for _ in range(_ROUNDS):
        wrong = _refused(document, hook)
        if wrong is None or not wrong.where.startswith("/context") or not _mend(document, wrong.where, hook):
            return


def _refused(document: Json, hook: str) -> RequestError | None:
    try:
        HookRequest.parse(json.dumps(document).encode(), hook)
    except RequestError as wrong:
        return wrong
    return None


def _mend(document: Json, where: str, hook: str) -> bool:
    """Put something acceptable where the reader complained; False where that is not known, or was tried before."""
    steps = where.strip("/").split("/")[:2]
    before = json.dumps(document)
    if steps[0] == "context" and len(steps) == 2 and isinstance(document.get("context"), dict):
        document["context"][steps[1]] = _in_context(document, steps[1])
    elif steps[0] in ("fhirAuthorization", "fhirServer", "extension", "user"):
        document.pop(steps[0], None)
    elif steps[0] in ("hook", "hookInstance", "context", "prefetch"):
        document[steps[0]] = {"hook": hook, "hookInstance": STAND_IN, "context": {}, "prefetch": {}}[steps[0]]
    return json.dumps(document) != before


def _in_context(document: Json, member: str) -> Any:
    if member == "patientId":
        return patient_in(document)
    if member in ("userId", "performer"):
        return f"Practitioner/{STAND_IN}"
    if member in ("selections", "dispatchedOrders"):
        return []
    return STAND_IN if member == "encounterId" else {"resourceType": "Bundle", "type": "collection"}


def patient_in(document: Json) -> str:
    """Return the id of the Patient that the prefetch holds, or whom its resources are about."""
    prefetch = document.get("prefetch")
    values = list(prefetch.values()) if isinstance(prefetch, dict) else []
    resources = [one for value in values for one in _resources(value)]
    ids = [str(one["id"]) for one in resources if one.get("resourceType") == "Patient" and one.get("id")]
    subjects = [one.get("subject") for one in resources]
    named = [str(one.get("reference", "")).rpartition("/")[2] for one in subjects if isinstance(one, dict)]
    return next((one for one in [*ids, *named] if one), STAND_IN)


def _resources(value: Any) -> list[Json]:
    if not isinstance(value, dict):
        return []
    entries = value.get("entry")
    if isinstance(entries, list):
        inside = [one.get("resource") for one in entries if isinstance(one, dict)]
        return [one for one in inside if isinstance(one, dict)]
    return [value]
