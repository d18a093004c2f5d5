"""One line of a Bulk Data file: which kind of resource, whose, or why it cannot be used."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import IO

import msgspec

from cds_service import decoding
from cds_service.adapters.population.files import BROKEN, Chunk, opened

# What orders refer to, and what belongs to no patient.
MEDICATION = "Medication"
_FAILED = ("fatal", "error")
# A line longer than this is no resource that a rule reads, and would fill the memory (RELIABILITY: bounded input).
LONGEST = 32 * 1024 * 1024
_VERSION = re.compile(r"/_history/[^/]*\Z")
_KIND = re.compile(rb'\s*\{\s*"resourceType"\s*:\s*"([A-Za-z]{1,64})"')
_WRONG = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Line(msgspec.Struct, frozen=True, gc=False):
    """A resource that a rule may read; ``owner`` is the patient's id. The next line begins at ``end``."""

    offset: int
    end: int
    kind: str
    owner: str
    body: bytes


class Flaw(msgspec.Struct, frozen=True, gc=False):
    """A line that cannot be used: where it begins, and why, from a fixed list. It never quotes what stands there."""

    offset: int
    end: int
    reason: str


class _Reference(msgspec.Struct, gc=False):
    reference: str | None = None


class _Issue(msgspec.Struct, gc=False):
    """What a server says of something that it could not export."""

    severity: str = ""


class _Whose(msgspec.Struct, gc=False):
    """As much of a resource as says what it is and whose."""

    resourceType: str = ""
    id: str = ""
    subject: _Reference | None = None
    patient: _Reference | None = None
    issue: list[_Issue] = []


_whose = decoding.decoder(_Whose).decode


def read(chunk: Chunk, kinds: frozenset[str]) -> Iterator[Line | Flaw]:
    """
    Yield the resources of some kinds in a stretch of a file, and what is wrong with it; other kinds are passed over.

    Nothing that stands in a file is fatal: a file that breaks off ends with a Flaw.
    """
    try:
        with opened(chunk.path) as file:
            yield from _read(file, chunk, kinds)
    except BROKEN:
        yield Flaw(chunk.start, chunk.start, "file-unreadable")


def _read(file: IO[bytes], chunk: Chunk, kinds: frozenset[str]) -> Iterator[Line | Flaw]:
    place = chunk.start
    try:
        if place:
            # A line that began before this stretch belongs to the one before.
            file.seek(place - 1)
            place += _skip(file) - 1
        while chunk.end is None or place < chunk.end:
            body = file.readline(LONGEST)
            if not body:
                return
            end = place + len(body)
            if len(body) == LONGEST and not body.endswith(b"\n"):
                end += _skip(file)
                yield Flaw(place, end, "line-too-long")
            elif found := _judged(body, place, end, kinds):
                yield found
            place = end
    except BROKEN:
        yield Flaw(place, place, "file-breaks-off")


def _skip(file: IO[bytes]) -> int:
    """Read to the end of the line; return how many bytes that were."""
    skipped = 0
    while piece := file.readline(LONGEST):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped


def _judged(body: bytes, place: int, end: int, kinds: frozenset[str]) -> Line | Flaw | None:
    known = _KIND.match(body)
    if known is not None and known[1] != b"OperationOutcome" and known[1].decode() not in kinds:
        return None  # said in its first member, as servers write it: nobody reads it, so nobody decodes it
    text = body.strip() if place else body.removeprefix(BOM_UTF8).strip()
    if not text:
        return None
    try:
        whose = _whose(text)
    except _WRONG as failure:
        shaped = isinstance(failure, msgspec.ValidationError) and text[:1] == b"{"
        return Flaw(place, end, "not-fhir" if shaped else "not-json")
    return _placed(whose, text, place, end, kinds)


def _placed(whose: _Whose, text: bytes, place: int, end: int, kinds: frozenset[str]) -> Line | Flaw | None:
    if whose.resourceType == "OperationOutcome" and any(one.severity in _FAILED for one in whose.issue):
        return Flaw(place, end, "server-could-not-export")
    if whose.resourceType and whose.resourceType not in kinds:
        return None
    owner = _owner(whose) if whose.resourceType else ""
    if not owner:
        return Flaw(place, end, "names-no-patient" if whose.resourceType else "no-resource-type")
    return Line(place, end, whose.resourceType, owner, text)


def _owner(whose: _Whose) -> str:
    if whose.resourceType in ("Patient", MEDICATION):
        return whose.id
    return patient_of((whose.subject or whose.patient or _Reference()).reference or "")


def patient_of(reference: str) -> str:
    """Return the id of the patient that a reference names: relative, absolute, with a version or as a urn; else ""."""
    if reference.startswith("urn:uuid:"):
        return reference.removeprefix("urn:uuid:")
    base, found, patient = _VERSION.sub("", reference).rpartition("Patient/")
    return patient if found and patient and "/" not in patient and (not base or base.endswith("/")) else ""


def medication_id(reference: str) -> str:
    """Return the id of the Medication that a reference names, in any of these forms; "" if none."""
    if reference.startswith("urn:uuid:"):
        return reference.removeprefix("urn:uuid:")
    base, found, medication = _VERSION.sub("", reference).rpartition(f"{MEDICATION}/")
    return medication if found and medication and (not base or base.endswith("/")) else ""
