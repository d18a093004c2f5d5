"""
The members of FHIR R4 resources that our readers use, and no others: the shape of the typed decoder.

One struct serves all kinds, so that a resource is decoded once without first asking what it is. Members whose
shape differs between EHRs (``category``) or that few readers need stay as bytes until somebody asks.
"""

from __future__ import annotations

import msgspec

from cds_service.protocol.wire import is_null

Raw = msgspec.Raw
NOTHING = Raw()


class Reference(msgspec.Struct, gc=False):
    """A FHIR Reference."""

    reference: str | None = None


class Period(msgspec.Struct, gc=False):
    """A FHIR Period."""

    start: str | None = None
    end: str | None = None


class Meta(msgspec.Struct, gc=False):
    """The parts of FHIR Meta that decide which version of a resource is newer."""

    versionId: str | None = None
    lastUpdated: str | None = None


class Quantity(msgspec.Struct, gc=False, omit_defaults=True):
    """A FHIR Quantity; the number stays as it was written."""

    value: Raw = NOTHING
    comparator: str | None = None
    unit: str | None = None
    system: str | None = None
    code: str | None = None


class Component(msgspec.Struct, gc=False):
    """A component of an Observation (a panel, or a blood pressure)."""

    code: Raw = NOTHING
    valueQuantity: Raw = NOTHING
    dataAbsentReason: Raw = NOTHING
    modifierExtension: Raw = NOTHING


class Record(msgspec.Struct, gc=False):
    """A resource of one of the kinds we read."""

    resourceType: str = ""
    id: str = ""
    meta: Meta | None = None
    implicitRules: str | None = None
    modifierExtension: Raw = NOTHING
    contained: list[Raw] = []
    status: str | None = None
    code: Raw = NOTHING
    subject: Reference | None = None
    patient: Reference | None = None
    # Observation
    effectiveDateTime: str | None = None
    effectivePeriod: Period | None = None
    effectiveInstant: str | None = None
    issued: str | None = None
    valueQuantity: Raw = NOTHING
    valueString: Raw = NOTHING
    valueCodeableConcept: Raw = NOTHING
    valueInteger: Raw = NOTHING
    valueBoolean: Raw = NOTHING
    valueRange: Raw = NOTHING
    valueRatio: Raw = NOTHING
    dataAbsentReason: Raw = NOTHING
    specimen: Raw = NOTHING
    note: Raw = NOTHING
    component: list[Component] = []
    # Condition
    clinicalStatus: Raw = NOTHING
    verificationStatus: Raw = NOTHING
    category: Raw = NOTHING
    onsetDateTime: str | None = None
    onsetPeriod: Period | None = None
    recordedDate: str | None = None
    abatementDateTime: str | None = None
    abatementPeriod: Period | None = None
    # MedicationRequest, MedicationStatement
    intent: str | None = None
    doNotPerform: bool = False
    medicationCodeableConcept: Raw = NOTHING
    medicationReference: Reference | None = None
    medication: Raw = NOTHING
    authoredOn: str | None = None
    dosageInstruction: Raw = NOTHING
    dosage: Raw = NOTHING
    dispenseRequest: Raw = NOTHING
    # Procedure
    performedDateTime: str | None = None
    performedPeriod: Period | None = None
    # Patient
    birthDate: str | None = None
    gender: str | None = None
    deceasedBoolean: bool = False
    deceasedDateTime: str | None = None


class Search(msgspec.Struct, gc=False):
    """Why an entry is in a search result."""

    mode: str | None = None


class Entry(msgspec.Struct, gc=False):
    """An entry of a Bundle; the resource stays as bytes until it is read on its own."""

    fullUrl: str | None = None
    resource: Raw = NOTHING
    search: Search | None = None


class Link(msgspec.Struct, gc=False):
    """A link of a Bundle."""

    relation: str | None = None


class Bundle(msgspec.Struct, gc=False):
    """A Bundle, entries first as a list of bytes or of entries."""

    resourceType: str = ""
    total: int | None = None
    link: list[Link] = []
    entry: list[Entry | None] = []


class LooseBundle(msgspec.Struct, gc=False):
    """A Bundle that does not fit whole: every entry is tried on its own."""

    resourceType: str = ""
    total: Raw = NOTHING
    link: Raw = NOTHING
    entry: list[Raw] = []


class Issue(msgspec.Struct, gc=False):
    """An issue of an OperationOutcome."""

    severity: str | None = None


class Outcome(msgspec.Struct, gc=False):
    """An OperationOutcome."""

    issue: list[Issue] = []


class CodeableConcept(msgspec.Struct, gc=False):
    """A FHIR CodeableConcept whose codings may be anything (a number as code must not fail the whole)."""

    coding: list[Raw] = []
    text: str | None = None


def present(raw: Raw) -> bool:
    """Say whether a member that was kept as bytes was sent with a value."""
    return len(raw) > 0 and not is_null(raw)
