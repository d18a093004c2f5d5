"""Cases: the hook call that an EHR would send for each patient of a file or folder, and the record behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import msgspec

from cds_service.adapters.ehr import LocalRecord, hook_request
from cds_service.adapters.ehr.context import newest_encounter
from cds_service.adapters.ehr.files import (
    Patients,
    hook_of,
    open_patients,
    patient_files,
    read_bytes,
    read_json,
    read_patients,
)
from cds_service.facts.dates import DAY
from cds_service.protocol.context import PATIENT_VIEW, SHAPES
from cds_service.replay import NEWEST, TODAY, service_for
from cds_service.rules.book import RuleBook, ServiceRules

USER = "Practitioner/screening"
# A replayed call needs no identity of its own: nothing is shown, nothing is fed back.
INSTANCE = "00000000-0000-4000-8000-000000000000"
_EPOCH = date(1970, 1, 1).toordinal()


class Case(msgspec.Struct, frozen=True):
    """
    One patient: the service that is asked, the call as an EHR would send it, and everything in the record.

    ``whole`` is the same call with the whole record as prefetch; None where the call itself is all there is.
    """

    patient_id: str
    service: ServiceRules
    call: bytes
    record: LocalRecord
    whole: bytes | None = None


class Cases:
    """Every case of a file or folder; can be counted before it is read."""

    def __init__(self, calls: Sequence[tuple[Path, str]], patients: Patients, book: RuleBook, hook: str) -> None:
        self._calls, self._patients, self._book, self._hook = calls, patients, book, hook

    def __len__(self) -> int:
        return len(self._calls) + len(self._patients)

    def __iter__(self) -> Iterator[Case]:
        for path, hook in self._calls:
            yield _sent(path, service_for(self._book, hook))
        if len(self._patients):
            service = service_for(self._book, self._hook)
            for record in self._patients:
                yield _built(record, service)


@contextmanager
def open_cases(path: Path, book: RuleBook, *, hook: str, lenient_status: bool) -> Iterator[Cases]:
    """
    Open a file or folder of patients (Bundles, NDJSON) or of complete hook calls.

    ``hook`` is fired for patients; a complete call says itself which hook it is of. Raises UnreadableFile.
    """
    files = patient_files(path)
    calls = [(file, found) for file in files if (found := hook_of(file))]
    others = [file for file in files if file not in dict(calls)]
    with open_patients(others, lenient_status=lenient_status) as patients:
        yield Cases(calls, patients, book, hook)


def _sent(path: Path, service: ServiceRules) -> Case:
    """Take a complete hook call as it is; its record is what stands in its prefetch."""
    call = read_json(path)
    patient_id = str((call.get("context") or {}).get("patientId", "")).removeprefix("Patient/")
    record = next((one for one in read_patients(path) if one.patient_id == patient_id), None)
    return Case(patient_id, service, read_bytes(path), record or LocalRecord(patient_id, []))


def needs_encounter(service: ServiceRules) -> bool:
    """Say whether the hook of a service plays in an encounter."""
    return SHAPES.get(service.service.hook, PATIENT_VIEW).encounter


def _built(record: LocalRecord, service: ServiceRules) -> Case:
    """Build the call that an EHR would send for a patient, from the prefetch templates of discovery."""
    announced, encounter = service.service, newest_encounter(record.resources) if needs_encounter(service) else ""
    call = hook_request(
        announced.hook, record, announced.prefetch, user_id=USER, encounter_id=encounter, hook_instance=INSTANCE
    )
    whole = call | {"prefetch": record.everything()}
    return Case(record.patient_id, service, msgspec.json.encode(call), record, msgspec.json.encode(whole))


def moment_of(record: LocalRecord, as_of: str, clock: Callable[[], float]) -> float:
    """Return the moment as of which a record is looked at, in seconds since 1970 (UTC)."""
    if as_of == TODAY:
        return clock()
    if as_of == NEWEST:
        newest = record.newest()
        return clock() if newest is None else newest
    # The last second of the day, so that all its results count.
    return (date.fromisoformat(as_of).toordinal() - _EPOCH + 1) * DAY - 1.0
