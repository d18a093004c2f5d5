"""Whose data are these? Nothing of another patient ever reaches a rule."""

from __future__ import annotations

import re

import msgspec

from cds_service.facts.bundles import Found
from cds_service.facts.records import Record

OURS, NOBODY, UNRELATED, STRANGER = "ours", "no-subject", "unrelated-server", "stranger"
_VERSION = re.compile(r"/_history/[^/]*$")


class Identity(msgspec.Struct):
    """
    The hook's patient, and every way in which this request may refer to them.

    ``bases`` are the FHIR base URLs that count as the same server; with none given, no absolute URL can be judged
    by its base and the id decides.
    """

    patient_id: str
    bases: frozenset[str] = frozenset()
    urls: dict[str, str] = {}
    judged: dict[str, str] = {}

    def learn(self, found: Found) -> None:
        """Remember under which ``fullUrl`` a Patient stands in a Bundle (urn:uuid references point there)."""
        if found.record is not None and found.record.resourceType == "Patient" and found.full_url:
            self.urls[found.full_url] = found.record.id

    def whose(self, record: Record) -> str:
        """Say whether a resource is the patient's own: OURS, STRANGER, or one of the reasons for setting it aside."""
        if record.resourceType == "Patient":
            return OURS if record.id == self.patient_id else STRANGER
        subject = record.subject or record.patient
        reference = subject.reference if subject else None
        if not reference:
            return NOBODY
        verdict = self.judged.get(reference)
        if verdict is None:
            verdict = self.judged[reference] = self._judge(_VERSION.sub("", reference))
        return verdict

    def _judge(self, reference: str) -> str:
        if reference in self.urls:
            return self._same(self.urls[reference])
        base, _, rest = reference.rpartition("Patient/")
        if not rest or (not base and not reference.startswith("Patient/")):
            return NOBODY
        if base and self.bases and base.rstrip("/") not in self.bases:
            return UNRELATED if rest == self.patient_id else STRANGER
        return self._same(rest)

    def _same(self, patient_id: str) -> str:
        return OURS if patient_id == self.patient_id else STRANGER
