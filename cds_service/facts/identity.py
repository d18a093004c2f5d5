"""Whose data are these? Nothing of another patient ever reaches a rule."""

from __future__ import annotations

import re

import msgspec

from cds_service import decoding
from cds_service.facts.bundles import Found
from cds_service.facts.records import Lab, Raw, Record, Reference, present
from cds_service.protocol.urls import normal
from cds_service.protocol.wire import no_twins

OURS, NOBODY, UNRELATED, STRANGER, MERGED = "ours", "no-subject", "unrelated-server", "stranger", "merged-record"
_VERSION = re.compile(r"/_history/[^/]*$")
# FHIR Patient.link: "replaces" and "replaced-by" are records of the same person, "refer" and "seealso" need not be.
_SAME_PERSON = frozenset({"replaces", "replaced-by"})


class _Link(msgspec.Struct):
    other: Reference | None = None
    type: str = ""


_links = decoding.decoder(list[_Link])


def unversioned(reference: str) -> str:
    """Return a reference without the version it may name."""
    return _VERSION.sub("", reference)


class Identity(msgspec.Struct):
    """
    The hook's patient, and every way in which this request may refer to them.

    ``bases`` are the FHIR base URLs that count as the same server; with none given, no absolute URL can be judged
    by its base and the id decides. ``merged`` are ids of other records of the same person.
    """

    patient_id: str
    bases: frozenset[str] = frozenset()
    urls: dict[str, str] = {}
    merged: set[str] = set()
    judged: dict[str, str] = {}

    def learn(self, found: Found) -> None:
        """
        Learn from a Patient.

        It says under which ``fullUrl`` it stands (urn:uuid references point there) and, if it is ours, with which
        other records it was merged.
        """
        record = found.record
        if not isinstance(record, Record) or record.resourceType != "Patient":
            return
        # A URL that names another id than the resource's own must not make that other patient ours, nor one on another
        # server, where somebody else may have that id.
        base, named, rest = found.full_url.rpartition("/Patient/")
        if found.full_url.startswith("urn:") or (named and rest == record.id and self._is_here(base)):
            self.urls[found.full_url] = record.id
        if record.id == self.patient_id and present(record.link):
            self.merged.update(_same_person(record.link))

    def knows(self, record: Record | Lab) -> bool:
        """Say whether a resource refers to the patient in a way that was already found to mean this patient."""
        if isinstance(record, Record) and (record.patient is not None or record.resourceType == "Patient"):
            return False
        return record.subject is not None and self.judged.get(record.subject.reference or "") == OURS

    def whose(self, record: Record | Lab) -> str:
        """Say whether a resource is the patient's own: OURS, STRANGER, or one of the reasons for setting it aside."""
        if record.resourceType == "Patient":
            return MERGED if record.id in self.merged else self._same(record.id)
        named = [record.subject, record.patient] if isinstance(record, Record) else [record.subject]
        verdicts = [self._of(reference.reference) for reference in named if reference is not None]
        return STRANGER if STRANGER in verdicts else (verdicts or [NOBODY])[0]

    def _of(self, reference: str | None) -> str:
        if not reference:
            return NOBODY
        verdict = self.judged.get(reference)
        if verdict is None:
            verdict = self.judged[reference] = self._judge(unversioned(reference))
        return verdict

    def _judge(self, reference: str) -> str:
        if reference in self.urls:
            return self._same(self.urls[reference])
        base, found, rest = reference.rpartition("Patient/")
        if not found or not rest or (base and not base.startswith(("http://", "https://"))):
            return NOBODY
        if base and not base.endswith("/"):
            return NOBODY
        if base and not self._is_here(base.rstrip("/")):
            return UNRELATED if rest == self.patient_id else STRANGER
        return self._same(rest)

    def _is_here(self, base: str) -> bool:
        return not self.bases or base in self.bases or normal(base) in {normal(one) for one in self.bases}

    def _same(self, patient_id: str) -> str:
        return OURS if patient_id == self.patient_id or patient_id in self.merged else STRANGER


def _same_person(raw: Raw) -> set[str]:
    no_twins(bytes(raw))
    try:
        links = _links.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return set()
    references = [link.other.reference or "" for link in links if link.other and link.type in _SAME_PERSON]
    return {one.removeprefix("Patient/") for one in references if one.startswith("Patient/")}
