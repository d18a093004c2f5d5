"""Prefetch values taken apart: resources one by one, and what is known about each kind of data."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from cds_service.facts import model
from cds_service.facts.records import Bundle, Entry, LooseBundle, Outcome, Raw, Record
from cds_service.protocol.prefetch import State
from cds_service.protocol.wire import is_null

KIND_OF = {
    "Patient": model.PATIENT,
    "Observation": model.LABS,
    "Condition": model.CONDITIONS,
    "MedicationRequest": model.MEDICATIONS,
    "MedicationStatement": model.STATEMENTS,
    "Procedure": model.PROCEDURES,
}
MAX_RESOURCES = 20_000
_WRONG = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_peek = msgspec.json.Decoder(Record)
_bundle = msgspec.json.Decoder(Bundle)
_loose = msgspec.json.Decoder(LooseBundle)
_entry = msgspec.json.Decoder(Entry)
_outcome = msgspec.json.Decoder(Outcome)
_links = msgspec.json.Decoder(list[dict[str, Raw]])


class Found(msgspec.Struct):
    """One resource of a prefetch value. ``record`` is None where it does not fit the shape of FHIR R4."""

    record: Record | None
    raw: Raw
    full_url: str = ""
    included: bool = False


class Value(msgspec.Struct):
    """One prefetch value: its resources, and what its arrival says about completeness."""

    state: State
    found: list[Found] = []
    misfits: int = 0


def open_value(raw: Raw) -> Value:
    """Read one prefetch value: null, a resource, a Bundle, an OperationOutcome, or something that is none of these."""
    if is_null(raw):
        return Value(State.EMPTY)
    record = _record(raw)
    if record is None or not record.resourceType:
        return Value(State.FAILED)
    if record.resourceType == "OperationOutcome":
        return Value(State.FAILED)
    if record.resourceType == "Bundle":
        return _open_bundle(raw)
    return Value(State.COMPLETE, [Found(record, raw)])


def _record(raw: Raw) -> Record | None:
    try:
        return _peek.decode(raw)
    except _WRONG:
        return None


def _open_bundle(raw: Raw) -> Value:
    try:
        bundle = _bundle.decode(raw)
    except _WRONG:
        return _open_loosely(raw)
    more = any(link.relation == "next" for link in bundle.link)
    return _judge(list(_walk(bundle.entry)), bundle.total, more, 0)


def _open_loosely(raw: Raw) -> Value:
    """Read a Bundle entry by entry, since it does not fit whole; what does not fit is counted."""
    try:
        loose = _loose.decode(raw)
    except _WRONG:
        return Value(State.FAILED)
    entries = [_loose_entry(entry) for entry in loose.entry]
    return _judge(list(_walk(entries)), None, _loose_next(loose.link), entries.count(None))


def _loose_entry(raw: Raw) -> Entry | None:
    try:
        return _entry.decode(raw)
    except _WRONG:
        return None


def _loose_next(raw: Raw) -> bool:
    """A list of links that cannot be read may hide a second page."""
    if not len(raw):
        return False
    try:
        return any(bytes(link.get("relation", Raw(b""))) == b'"next"' for link in _links.decode(raw))
    except _WRONG:
        return True


def _walk(entries: list[Entry | None]) -> Iterator[Found]:
    for entry in entries:
        if entry is None or not len(entry.resource) or is_null(entry.resource):
            continue
        included = entry.search is not None and entry.search.mode in ("include", "outcome")
        yield Found(_record(entry.resource), entry.resource, entry.fullUrl or "", included)


def _judge(found: list[Found], total: int | None, more: bool, misfits: int) -> Value:
    outcomes = [item for item in found if item.record is not None and item.record.resourceType == "OperationOutcome"]
    rest = [item for item in found if item not in outcomes] if outcomes else found
    failed = any(_is_error(item.raw) for item in outcomes)
    matches = sum(1 for item in rest if not item.included)
    if failed and not rest:
        return Value(State.FAILED)
    if more or failed or (total is not None and total > matches):
        return Value(State.TRUNCATED, rest, misfits)
    return Value(State.COMPLETE if rest else State.EMPTY, rest, misfits)


def _is_error(raw: Raw) -> bool:
    """Epic answers an empty search with an OperationOutcome of severity warning: that is no failure (EHRS.md)."""
    try:
        issues = _outcome.decode(raw).issue
    except _WRONG:
        return True
    return any(issue.severity in ("error", "fatal") for issue in issues) or not issues
