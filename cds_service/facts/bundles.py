"""Prefetch values taken apart: resources one by one, and what is known about each kind of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from cds_service import decoding
from cds_service.errors import RequestTooLarge
from cds_service.facts import model
from cds_service.facts.records import (
    Bundle,
    Issue,
    Lab,
    LabBundle,
    Link,
    LooseBundle,
    LooseEntry,
    Prefetch,
    Raw,
    Record,
    Search,
    Stub,
    present,
)
from cds_service.protocol.prefetch import State
from cds_service.protocol.wire import is_null, no_twins

KIND_OF = {
    "Patient": model.PATIENT,
    "Observation": model.LABS,
    "Condition": model.CONDITIONS,
    "MedicationRequest": model.MEDICATIONS,
    "MedicationStatement": model.STATEMENTS,
    "Procedure": model.PROCEDURES,
}
# So many resources under one key are answered in time (docs/operate.md, "Limits").
MAX_RESOURCES = 20_000
T = TypeVar("T")
_WRONG = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_peek = decoding.decoder(Record)
_stub = decoding.decoder(Stub)
_loose = decoding.decoder(LooseBundle)
_entry = decoding.decoder(LooseEntry)
_issues = decoding.decoder(list[Issue])
_links = decoding.decoder(list[Link])
_url = decoding.decoder(str | None)
_search = decoding.decoder(Search | None)
_total = decoding.decoder(int | None)
_lab = decoding.decoder(Lab)


class Found(msgspec.Struct, gc=False):
    """One resource of a prefetch value. Where it does not fit the shape of FHIR R4, only its kind and id are known."""

    record: Record | Lab
    full_url: str = ""
    included: bool = False
    misfit: bool = False


class Value(msgspec.Struct):
    """
    One prefetch value: its resources, and what its arrival says about completeness.

    ``labs`` are Observations of a Bundle that was decoded in one go; ``misfits`` counts entries of which nothing
    can be told. ``paged`` says that what is missing stands on further pages, and nowhere else.
    """

    state: State
    found: list[Found] = []
    misfits: int = 0
    labs: list[Lab] = []
    paged: bool = False

    def kinds(self) -> set[str]:
        """Return the kinds of data that were found, apart from what the search merely included."""
        names = {item.record.resourceType for item in self.found if not item.included}
        kinds = {KIND_OF[name] for name in names if name in KIND_OF}
        if self.labs:
            kinds.add(model.LABS)
        return kinds


def open_values(sent: Callable[[], Mapping[str, Raw]], shaped: object = None) -> dict[str, Value]:
    """
    Read every prefetch value; ``shaped`` is the prefetch as it was decoded with the request, where it fitted.

    Raises RequestTooLarge where there are more resources than one call may hold.
    """
    if isinstance(shaped, Prefetch):
        fields = Prefetch.__struct_fields__
        fitted = {key: value for key in fields if (value := getattr(shaped, key)) is not msgspec.UNSET}
        # What is of another kind than its key says was not decoded with all its members: it is read from what was sent.
        opened = {key: _open_shaped(value) or open_value(sent()[key]) for key, value in fitted.items()}
    else:
        opened = {key: open_value(raw) for key, raw in sent().items()}
    if any(len(value.found) + len(value.labs) + value.misfits > MAX_RESOURCES for value in opened.values()):
        raise RequestTooLarge(
            f"One value of the prefetch holds more than {MAX_RESOURCES:,} resources.",
            where="/prefetch",
            remedy="Limit the prefetch with _count, or send newer results only.",
        )
    return opened


def _open_shaped(value: Record | Bundle | LabBundle | None) -> Value | None:
    """Return what a value holds; None where it is not of the kind it was decoded as."""
    if value is None:
        return Value(State.EMPTY)
    if isinstance(value, Record) and value.resourceType not in ("Bundle", "Observation"):
        return _open_single(Found(value))
    if isinstance(value, Record) or value.resourceType != "Bundle":
        return None
    if isinstance(value, LabBundle):
        return _open_labs(value)
    found = [
        Found(entry.resource, entry.fullUrl or "", _is_included(entry.search))
        for entry in value.entry
        if entry is not None and entry.resource is not None
    ]
    if "Observation" in {item.record.resourceType for item in found}:
        return None
    return _judge(found, value.total, _has_next(value.link), 0)


def _open_labs(bundle: LabBundle) -> Value | None:
    labs = [entry.resource for entry in bundle.entry]
    if {lab.resourceType for lab in labs} - {"Observation"}:
        return None
    short = _has_next(bundle.link) or (bundle.total is not None and bundle.total > len(labs))
    state = State.TRUNCATED if short else State.COMPLETE if labs else State.EMPTY
    return Value(state, labs=labs, paged=short)


def open_value(raw: Raw) -> Value:
    """
    Read one prefetch value: null, a resource, a Bundle, an OperationOutcome, or something that is none of these.

    One resource in place of a search result counts, but says nothing about what else there is.
    """
    if is_null(raw):
        return Value(State.EMPTY)
    found = _find(raw)
    if found.record.resourceType == "Bundle":
        return _open_loosely(raw)
    return _open_single(found)


def _open_single(found: Found) -> Value:
    if found.record.resourceType in ("", "OperationOutcome"):
        return Value(State.FAILED)
    whole = found.record.resourceType == "Patient" and not found.misfit
    return Value(State.COMPLETE if whole else State.TRUNCATED, [found])


def entries_of(raw: Raw) -> list[tuple[Found, Raw]]:
    """Return the resources of a Bundle one by one, each with its bytes; an entry that is none has no kind."""
    try:
        bundle = _loose.decode(raw)
    except _WRONG:
        return [(Found(Record(), misfit=True), raw)]
    found = []
    for item in [item for item in bundle.entry if not is_null(item)]:
        entry = _loose_entry(item) or LooseEntry()
        included = _is_included(_read(_search, entry.search))
        found.append((_find(entry.resource, _read(_url, entry.fullUrl) or "", included=included), entry.resource))
    return found


def _find(raw: Raw, full_url: str = "", *, included: bool = False) -> Found:
    try:
        record = _peek.decode(raw)
        return Found(_lab.decode(raw) if record.resourceType == "Observation" else record, full_url, included)
    except _WRONG:
        return Found(_remains(raw), full_url, included, misfit=True)


def _remains(raw: Raw) -> Record:
    try:
        stub = _stub.decode(raw)
    except _WRONG:
        return Record()
    return Record(resourceType=stub.resourceType, id=stub.id)


def _open_loosely(raw: Raw) -> Value:
    """Read a Bundle entry by entry; what does not fit is counted."""
    try:
        bundle = _loose.decode(raw)
    except _WRONG:
        return Value(State.FAILED)
    entries = [_loose_entry(entry) for entry in bundle.entry if not is_null(entry)]
    found = [
        _find(entry.resource, _read(_url, entry.fullUrl) or "", included=_is_included(_read(_search, entry.search)))
        for entry in entries
        if entry is not None and present(entry.resource)
    ]
    total, unreadable = _total_of(bundle.total)
    return _judge(found, total, unreadable or _has_next(bundle.link), entries.count(None))


def _loose_entry(raw: Raw) -> LooseEntry | None:
    try:
        return _entry.decode(raw)
    except _WRONG:
        return None


def _read(decoder: decoding.Decoder[T], raw: Raw) -> T | None:
    """Read a part of an entry that need not be there; what does not fit is as good as left out."""
    try:
        return decoder.decode(raw) if len(raw) else None
    except _WRONG:
        return None


def _total_of(raw: Raw) -> tuple[int | None, bool]:
    """Return the total, and whether there is one that cannot be read: it may be any number."""
    try:
        return (_total.decode(raw) if len(raw) else None), False
    except _WRONG:
        return None, True


def _is_included(search: Search | None) -> bool:
    return search is not None and search.mode in ("include", "outcome")


def _has_next(raw: Raw) -> bool:
    """Say whether there is a second page; a list of links that cannot be read may hide one."""
    if not present(raw):
        return False
    no_twins(bytes(raw))
    try:
        return any(link.relation == "next" for link in _links.decode(raw))
    except _WRONG:
        return True


def _judge(found: list[Found], total: int | None, more: bool, misfits: int) -> Value:
    kinds = {item.record.resourceType for item in found}
    rest = [item for item in found if item.record.resourceType != _OUTCOME] if _OUTCOME in kinds else found
    failed = _OUTCOME in kinds and any(_is_error(item) for item in found if item.record.resourceType == _OUTCOME)
    if failed and not rest:
        return Value(State.FAILED)
    short = total is not None and total > len([item for item in rest if not item.included])
    misread = {item.record.resourceType for item in rest if item.misfit}
    unread = failed or misfits > 0 or not kinds.isdisjoint(_UNCLEAR) or not misread.isdisjoint(KIND_OF)
    if more or short or unread:
        return Value(State.TRUNCATED, rest, misfits, paged=not unread)
    return Value(State.COMPLETE if rest else State.EMPTY, rest)


# These may be, or hold, something that rules ask for.
_OUTCOME, _UNCLEAR = "OperationOutcome", ("", "Bundle")


def _is_error(item: Found) -> bool:
    """Epic answers an empty search with an OperationOutcome of severity warning: that is no failure (EHRS.md)."""
    if not isinstance(item.record, Record) or not present(item.record.issue):
        return True
    try:
        issues = _issues.decode(item.record.issue)
    except _WRONG:
        return True
    return not issues or any(issue.severity in ("error", "fatal") for issue in issues)
