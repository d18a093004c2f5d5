"""
Patients from files: a Bundle, a folder of Bundles, a Bulk Data export (NDJSON), or a complete hook call.

Resources are sorted by patient in a temporary SQLite file, so a population larger than memory passes through in
constant memory; only what belongs to no patient (Medication, Location...) stays in memory.
"""

from __future__ import annotations

import gzip
import sqlite3
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from cds_service import decoding
from cds_service.adapters.ehr.record import LocalRecord
from cds_service.adapters.ehr.search import Resource, reference_in
from cds_service.errors import CdsError

ENDINGS = (".json", ".json.gz", ".ndjson", ".ndjson.gz")
# What many patients' orders refer to. Everything else without a patient is of no use to a rule.
_SHARED = frozenset({"Medication"})

_UNREADABLE = (OSError, EOFError, zlib.error, UnicodeDecodeError, RecursionError, msgspec.DecodeError)

_decode = decoding.decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class UnreadableFile(CdsError):
    """A file does not hold patients in a form that can be read."""

    slug = "unreadable-file"


class _Reference(msgspec.Struct):
    reference: str | None = None


class _Whose(msgspec.Struct):
    """As much of a resource as says what it is and whose."""

    resourceType: str = ""
    id: str = ""
    subject: _Reference | None = None
    patient: _Reference | None = None


class _Call(msgspec.Struct):
    hook: str = ""


_call = decoding.decoder(_Call).decode
_whose = decoding.decoder(_Whose).decode


class Patients:
    """Every patient of some files, in the order of their ids; can be counted before it is read."""

    def __init__(self, sorter: _Sorter, *, lenient_status: bool) -> None:
        self._sorter, self._lenient_status = sorter, lenient_status

    def __len__(self) -> int:
        return self._sorter.count()

    def __iter__(self) -> Iterator[LocalRecord]:
        for patient_id, resources in self._sorter.patients():
            yield LocalRecord(patient_id, resources, lenient_status=self._lenient_status)


@contextmanager
def open_patients(paths: Iterable[Path], *, lenient_status: bool = False) -> Iterator[Patients]:
    """
    Sort the resources of some files by patient.

    Raises UnreadableFile, naming file and line, where something is not FHIR JSON.
    """
    with tempfile.TemporaryDirectory(prefix="cds-patients-") as folder:
        sorter = _Sorter(Path(folder) / "patients.db")
        try:
            for path in paths:
                _read_file(path, sorter)
            yield Patients(sorter, lenient_status=lenient_status)
        finally:
            sorter.close()


def read_patients(path: Path, *, lenient_status: bool = False) -> Iterator[LocalRecord]:
    """Yield every patient of a file or folder. Raises UnreadableFile where something is not FHIR JSON."""
    with open_patients(patient_files(path), lenient_status=lenient_status) as patients:
        yield from patients


def hook_of(path: Path) -> str:
    """Return the hook that a file is a complete call of, or "" where it is something else."""
    if ".ndjson" in path.suffixes:
        return ""
    try:
        return _call(read_bytes(path)).hook
    except _UNREADABLE:
        return ""


def patient_files(path: Path) -> list[Path]:
    """List the files that hold patients: the file itself, or those in a folder (beside NDJSON, JSON is a manifest)."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.name.endswith(ENDINGS))
    if not files:
        raise UnreadableFile(
            "This folder holds no patients.",
            where=str(path),
            remedy=f"Name a folder with files in {', '.join(ENDINGS)}.",
        )
    return [file for file in files if ".ndjson" in file.suffixes] or files


def read_json(path: Path) -> Resource:
    """Read one JSON object from a file, compressed or not."""
    try:
        return _decode(read_bytes(path))
    except _UNREADABLE as failure:
        raise _unreadable(path, failure) from None


def read_bytes(path: Path) -> bytes:
    """Read a file, compressed or not."""
    raw = path.read_bytes()
    return gzip.decompress(raw) if path.suffix == ".gz" else raw


def _unreadable(path: Path, failure: Exception, line: int = 0) -> UnreadableFile:
    # A decoder's message tells the place, never the text, which may identify a patient.
    why = failure.strerror if isinstance(failure, OSError) and failure.strerror else str(failure)
    return UnreadableFile(
        "This file cannot be read as FHIR JSON.", where=f"{path}:{line}" if line else str(path), why=f"{why}."
    )


def _read_file(path: Path, sorter: _Sorter) -> None:
    if ".ndjson" in path.suffixes:
        _read_lines(path, sorter)
        return
    document = read_json(path)
    if "hook" in document:
        _read_call(document, sorter)
    elif document.get("resourceType") == "Bundle":
        _read_bundle(document, sorter)
    elif document.get("resourceType"):
        sorter.add(_encode(document))
    else:
        raise UnreadableFile(
            "This file holds neither a FHIR resource nor a hook call.",
            where=str(path),
            remedy='A FHIR resource has "resourceType", a hook call has "hook".',
        )


def _read_lines(path: Path, sorter: _Sorter) -> None:
    number = 1
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for line in lines:
                if line.strip():
                    sorter.add(line)
                number += 1
    except _UNREADABLE as failure:
        raise _unreadable(path, failure, number) from None


def _read_call(document: dict[str, Any], sorter: _Sorter) -> None:
    """Read the patient of a complete hook call: whatever stands in its prefetch."""
    for value in (document.get("prefetch") or {}).values():
        if isinstance(value, dict) and value.get("resourceType") == "Bundle":
            _read_bundle(value, sorter)
        elif isinstance(value, dict) and value.get("resourceType") != "OperationOutcome":
            sorter.add(_encode(value))


def _read_bundle(bundle: Resource, sorter: _Sorter) -> None:
    """Read the resources of a Bundle, with references inside it made relative (urn:uuid, or its own server)."""
    listed = [one for one in bundle.get("entry") or () if isinstance(one, dict)]
    entries = [one for one in listed if isinstance(one.get("resource"), dict)]
    names: dict[str, str] = {}
    bases: set[str] = set()
    for entry in entries:
        resource, url = entry["resource"], entry.get("fullUrl")
        url = url if isinstance(url, str) else ""
        resource.setdefault("id", url.rpartition(":")[2] if url.startswith("urn:") else "")
        name = f"{resource.get('resourceType')}/{resource['id']}"
        if url:
            names[url] = name
        if url.endswith(f"/{name}"):
            bases.add(url.removesuffix(name))
    for entry in entries:
        if entry["resource"].get("resourceType") == "Bundle":
            _read_bundle(entry["resource"], sorter)
        else:
            sorter.add(_encode(_resolved(entry["resource"], names, tuple(bases))))


def _resolved(node: Any, names: dict[str, str], bases: tuple[str, ...]) -> Any:
    if isinstance(node, list):
        return [_resolved(one, names, bases) for one in node]
    if not isinstance(node, dict):
        return node
    found = {key: _resolved(one, names, bases) for key, one in node.items()}
    reference = node.get("reference")
    if isinstance(reference, str):
        base = next((base for base in bases if reference.startswith(base)), "")
        found["reference"] = names.get(reference) or reference.removeprefix(base)
    return found


class _Sorter:
    """Sorts resources by patient, in a file that is thrown away."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path)
        # Nothing here outlives the run: no journal, no waiting for the disk.
        self._database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        self._database.execute("CREATE TABLE resource (patient TEXT, place INTEGER PRIMARY KEY, body BLOB)")
        self._shared: dict[str, bytes] = {}

    def add(self, body: bytes) -> None:
        """Take in one resource. Raises msgspec.DecodeError where it is none."""
        whose = _whose(body)
        if whose.resourceType in _SHARED:
            self._shared[f"{whose.resourceType}/{whose.id}"] = body
            return
        reference = (whose.subject or whose.patient or _Reference()).reference or ""
        _, found, patient = reference.rpartition("Patient/")
        owner = whose.id if whose.resourceType == "Patient" else patient.partition("/")[0] if found else ""
        if owner:
            self._database.execute("INSERT INTO resource (patient, body) VALUES (?, ?)", (owner, body))

    def patients(self) -> Iterator[tuple[str, list[Resource]]]:
        """Yield each patient with their resources, in the order they came."""
        rows = self._database.execute("SELECT patient, body FROM resource ORDER BY patient, place")
        for patient, group in groupby(rows, key=lambda row: str(row[0])):
            resources = [_decode(body) for _, body in group]
            yield patient, [*resources, *self._needed(resources)]

    def _needed(self, resources: list[Resource]) -> Iterator[Resource]:
        """Yield what the patient's own resources refer to and belongs to no patient."""
        references = dict.fromkeys(reference_in(one.get("medicationReference")) for one in resources)
        for name in references:
            if name in self._shared:
                yield _decode(self._shared[name])

    def count(self) -> int:
        """Count the patients."""
        return int(self._database.execute("SELECT count(DISTINCT patient) FROM resource").fetchone()[0])

    def close(self) -> None:
        """Close and forget."""
        self._database.close()
