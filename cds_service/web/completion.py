"""What a hook call lacks: found under keys of the EHR's own, or fetched from its FHIR server."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from cds_service.adapters.deadline import Deadline
from cds_service.adapters.fhir import Completed, Completing, Wanted
from cds_service.adapters.fhir.searching import joined, next_link
from cds_service.facts.bundles import open_value
from cds_service.facts.model import PATIENT, Facts
from cds_service.protocol import HookRequest
from cds_service.protocol.prefetch import State
from cds_service.protocol.renamed import renamed
from cds_service.protocol.service import Service

# Nothing was asked of a server for these reasons, so the data count as not sent.
NOT_ASKED = ("no-server", "not-permitted", "token-expired", "token-odd", "context-lacks")
NO_PATIENT = ("status-404", "status-410")
Read = Callable[[HookRequest], Facts]


def in_our_names(call: HookRequest, service: Service) -> HookRequest:
    """Return the call with its prefetch under our keys, as far as the EHR's own keys can be recognised."""
    if call.shaped is not None:
        return call  # it fitted, so it has no key but ours
    names = renamed(call.prefetch, service.prefetch, call.patient_id)
    return call.renamed(names) if names else call


def completed(
    call: HookRequest,
    facts: Facts,
    service: Service,
    completing: Completing,
    deadline: Deadline,
    read: Read,
    servers: tuple[str, ...] = (),
) -> tuple[HookRequest, Facts, dict[str, str]]:
    """
    Return the call and its facts with everything that could be had, and for each missing key why it could not.

    A key counts as missing if nothing of its kind was sent under any key. Of a page that was cut off, those that
    follow are read. ``servers`` are the ones that the client's calls may name (none: all that may be contacted).
    """
    wanted = _wanted(call, facts, service)
    if not wanted.keys or call.access is None:
        return call, facts, {}
    context = {"patientId": call.patient_id, "encounterId": call.encounter_id}
    found = _of_somebody(completing.complete(call.access, wanted, context, deadline, servers), wanted)
    values = _values(call, wanted, found)
    if values:
        call = call.completed_by(values)
        facts = read(call)
    return call, facts, found.failed


def _wanted(call: HookRequest, facts: Facts, service: Service) -> Wanted:
    missing = {key: query for key, query in service.prefetch.items() if facts.state(key) is State.ABSENT}
    cut_off = [key for key in service.prefetch if facts.state(key) is State.TRUNCATED]
    sent = call.sent() if cut_off and call.access is not None else {}
    further = {key: link for key in cut_off if key in sent and (link := next_link(sent[key]))}
    return Wanted(missing, further)


def _of_somebody(found: Completed, wanted: Wanted) -> Completed:
    """
    Believe nothing of a server that does not know the patient, and no empty search of one that could not show him.

    Searches of an unknown patient, and with a token that is not good for this one, find nothing, and nothing would
    look like safety. What they do find names its patient, and is held against the call's like everything else.
    """
    why = found.failed.get(PATIENT, "")
    if why in NO_PATIENT:
        return Completed({}, dict.fromkeys(found.values, "no-such-patient") | found.failed)
    if PATIENT not in wanted.queries or why in NOT_ASKED or _shows_patient(found.values.get(PATIENT)):
        return found
    empty = [key for key, value in found.values.items() if key != PATIENT and _is_empty(value)]
    values = {key: value for key, value in found.values.items() if key not in empty}
    return Completed(values, dict.fromkeys(empty, "patient-not-shown") | found.failed)


def _shows_patient(value: bytes | None) -> bool:
    return value is not None and PATIENT in open_value(msgspec.Raw(value)).kinds()


def _is_empty(value: bytes) -> bool:
    """Say whether a search found nothing that it was for; what was cut off is believed to be empty by nobody."""
    opened = open_value(msgspec.Raw(value))
    return opened.state.conclusive and not opened.kinds()


def _values(call: HookRequest, wanted: Wanted, found: Completed) -> dict[str, bytes]:
    """Return the prefetch values that the call gets: what was read, and for what failed an OperationOutcome."""
    sent = call.sent() if wanted.further else {}
    read = {key: joined(sent[key], value) if key in wanted.further else value for key, value in found.values.items()}
    failed = {key: why for key, why in found.failed.items() if key in wanted.queries and why not in NOT_ASKED}
    return read | {key: _outcome(why) for key, why in failed.items()}


def _outcome(why: str) -> bytes:
    """Say in FHIR that a query brought nothing: its rules then answer that they do not know."""
    issue = {"severity": "error", "code": "transient", "diagnostics": why}
    return msgspec.json.encode({"resourceType": "OperationOutcome", "issue": [issue]})
