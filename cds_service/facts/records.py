"""
The members of FHIR R4 resources that our readers use, and no others: the shape of the typed decoder.

One struct serves all kinds but Observations, which come by the hundred and have their own. Members whose shape
differs between EHRs (``category``) or that few readers need stay as bytes until somebody asks.
"""

from __future__ import annotations

import msgspec

from cds_service import decoding
from cds_service.protocol.wire import is_null, no_twins

Raw = msgspec.Raw
NOTHING = Raw()


class Reference(msgspec.Struct, gc=False, omit_defaults=True):
    """A FHIR Reference; whatever names the patient stays as bytes."""

    reference: str | None = None
    type: Raw = NOTHING
    identifier: Raw = NOTHING
    display: Raw = NOTHING
    id: Raw = NOTHING
    extension: Raw = NOTHING


class Period(msgspec.Struct, gc=False, omit_defaults=True):
    """A FHIR Period."""

    start: str | None = None
    end: str | None = None
    id: Raw = NOTHING
    extension: Raw = NOTHING


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
    id: Raw = NOTHING
    extension: Raw = NOTHING


class Component(msgspec.Struct, gc=False):
    """A component of an Observation (a panel, or a blood pressure)."""

    code: Raw = NOTHING
    valueQuantity: Quantity | None = None
    valueString: Raw = NOTHING
    valueCodeableConcept: Raw = NOTHING
    valueInteger: Raw = NOTHING
    valueBoolean: Raw = NOTHING
    valueRange: Raw = NOTHING
    valueRatio: Raw = NOTHING
    valueSampledData: Raw = NOTHING
    valueTime: Raw = NOTHING
    valueDateTime: Raw = NOTHING
    valuePeriod: Raw = NOTHING
    dataAbsentReason: Raw = NOTHING
    modifierExtension: Raw = NOTHING
    interpretation: Raw = NOTHING
    referenceRange: Raw = NOTHING


class Lab(msgspec.Struct, gc=False, omit_defaults=True):
    """
    An Observation: every member that FHIR R4 gives it, most of them as bytes.

    It has them all so that it can be written out again: if that is as long as what came in, no member stood twice.
    """

    resourceType: str = ""
    id: str = ""
    meta: Raw = NOTHING
    text: Raw = NOTHING
    extension: Raw = NOTHING
    identifier: Raw = NOTHING
    status: str | None = None
    category: Raw = NOTHING
    code: Raw = NOTHING
    subject: Reference | None = None
    encounter: Raw = NOTHING
    effectiveDateTime: str | None = None
    issued: str | None = None
    performer: Raw = NOTHING
    valueQuantity: Quantity | None = None
    interpretation: Raw = NOTHING
    note: Raw = NOTHING
    specimen: Raw = NOTHING
    referenceRange: Raw = NOTHING
    # not in most results
    implicitRules: Raw = NOTHING
    language: Raw = NOTHING
    contained: Raw = NOTHING
    modifierExtension: Raw = NOTHING
    basedOn: Raw = NOTHING
    partOf: Raw = NOTHING
    focus: Raw = NOTHING
    effectivePeriod: Period | None = None
    effectiveInstant: str | None = None
    effectiveTiming: Raw = NOTHING
    valueString: Raw = NOTHING
    valueCodeableConcept: Raw = NOTHING
    valueInteger: Raw = NOTHING
    valueBoolean: Raw = NOTHING
    valueRange: Raw = NOTHING
    valueRatio: Raw = NOTHING
    valueSampledData: Raw = NOTHING
    valueTime: Raw = NOTHING
    valueDateTime: Raw = NOTHING
    valuePeriod: Raw = NOTHING
    dataAbsentReason: Raw = NOTHING
    bodySite: Raw = NOTHING
    method: Raw = NOTHING
    device: Raw = NOTHING
    hasMember: Raw = NOTHING
    derivedFrom: Raw = NOTHING
    component: Raw = NOTHING


class Record(msgspec.Struct, gc=False, omit_defaults=True):
    """
    A resource of one of the kinds we read, Observations apart: every member that FHIR R4 gives any of them.

    Like a Lab it has them all so that it can be written out again.
    """

    resourceType: str = ""
    id: str = ""
    meta: Raw = NOTHING
    implicitRules: Raw = NOTHING
    language: Raw = NOTHING
    text: Raw = NOTHING
    contained: Raw = NOTHING
    extension: Raw = NOTHING
    modifierExtension: Raw = NOTHING
    identifier: Raw = NOTHING
    # Patient
    active: Raw = NOTHING
    name: Raw = NOTHING
    telecom: Raw = NOTHING
    gender: str | None = None
    birthDate: str | None = None
    deceasedBoolean: bool | None = None
    deceasedDateTime: str | None = None
    address: Raw = NOTHING
    maritalStatus: Raw = NOTHING
    multipleBirthBoolean: Raw = NOTHING
    multipleBirthInteger: Raw = NOTHING
    photo: Raw = NOTHING
    contact: Raw = NOTHING
    communication: Raw = NOTHING
    generalPractitioner: Raw = NOTHING
    managingOrganization: Raw = NOTHING
    link: Raw = NOTHING
    # What it is; "medication" is of R5, "taken" of STU3
    instantiatesCanonical: Raw = NOTHING
    instantiatesUri: Raw = NOTHING
    basedOn: Raw = NOTHING
    partOf: Raw = NOTHING
    clinicalStatus: Raw = NOTHING
    verificationStatus: Raw = NOTHING
    status: str | None = None
    statusReason: Raw = NOTHING
    intent: str | None = None
    category: Raw = NOTHING
    priority: Raw = NOTHING
    doNotPerform: bool | None = None
    reportedBoolean: Raw = NOTHING
    reportedReference: Raw = NOTHING
    severity: Raw = NOTHING
    code: Raw = NOTHING
    medicationCodeableConcept: Raw = NOTHING
    medicationReference: Reference | None = None
    medication: Raw = NOTHING
    taken: Raw = NOTHING
    # whose it is, and where
    subject: Reference | None = None
    patient: Reference | None = None
    encounter: Raw = NOTHING
    context: Raw = NOTHING
    # when it was
    onsetDateTime: str | None = None
    onsetPeriod: Period | None = None
    onsetAge: Raw = NOTHING
    onsetRange: Raw = NOTHING
    onsetString: Raw = NOTHING
    abatementDateTime: str | None = None
    abatementPeriod: Period | None = None
    abatementAge: Raw = NOTHING
    abatementRange: Raw = NOTHING
    abatementString: Raw = NOTHING
    performedDateTime: str | None = None
    performedPeriod: Period | None = None
    performedString: Raw = NOTHING
    performedAge: Raw = NOTHING
    performedRange: Raw = NOTHING
    effectiveDateTime: str | None = None
    effectivePeriod: Period | None = None
    supportingInformation: Raw = NOTHING
    authoredOn: str | None = None
    recordedDate: str | None = None
    dateAsserted: Raw = NOTHING
    # who says so, and why
    requester: Raw = NOTHING
    recorder: Raw = NOTHING
    asserter: Raw = NOTHING
    informationSource: Raw = NOTHING
    derivedFrom: Raw = NOTHING
    performer: Raw = NOTHING
    performerType: Raw = NOTHING
    location: Raw = NOTHING
    reasonCode: Raw = NOTHING
    reasonReference: Raw = NOTHING
    # what else there is
    groupIdentifier: Raw = NOTHING
    courseOfTherapyType: Raw = NOTHING
    insurance: Raw = NOTHING
    bodySite: Raw = NOTHING
    outcome: Raw = NOTHING
    report: Raw = NOTHING
    complication: Raw = NOTHING
    complicationDetail: Raw = NOTHING
    followUp: Raw = NOTHING
    stage: Raw = NOTHING
    evidence: Raw = NOTHING
    note: Raw = NOTHING
    dosageInstruction: Raw = NOTHING
    dosage: Raw = NOTHING
    dispenseRequest: Raw = NOTHING
    substitution: Raw = NOTHING
    priorPrescription: Raw = NOTHING
    detectedIssue: Raw = NOTHING
    eventHistory: Raw = NOTHING
    focalDevice: Raw = NOTHING
    usedReference: Raw = NOTHING
    usedCode: Raw = NOTHING
    # Medication
    manufacturer: Raw = NOTHING
    form: Raw = NOTHING
    amount: Raw = NOTHING
    ingredient: Raw = NOTHING
    batch: Raw = NOTHING
    # OperationOutcome
    issue: Raw = NOTHING


class Stub(msgspec.Struct, gc=False):
    """What can still be told of a resource that fits no shape."""

    resourceType: str = ""
    id: str = ""


class Search(msgspec.Struct, gc=False, omit_defaults=True):
    """Why an entry is in a search result."""

    mode: str | None = None
    score: Raw = NOTHING
    id: Raw = NOTHING
    extension: Raw = NOTHING


class LooseEntry(msgspec.Struct, gc=False):
    """An entry of a Bundle whose parts are read each on its own."""

    fullUrl: Raw = NOTHING
    resource: Raw = NOTHING
    search: Raw = NOTHING


class Link(msgspec.Struct, gc=False):
    """A link of a Bundle."""

    relation: str | None = None


class Entry(msgspec.Struct, gc=False, omit_defaults=True):
    """An entry of a Bundle of anything but Observations."""

    resource: Record | None = None
    fullUrl: str | None = None
    search: Search | None = None
    link: Raw = NOTHING
    id: Raw = NOTHING
    extension: Raw = NOTHING


class Bundle(msgspec.Struct, gc=False, omit_defaults=True):
    """A Bundle of anything but Observations, decoded in one go."""

    entry: list[Entry | None] = []
    resourceType: str = ""
    id: Raw = NOTHING
    meta: Raw = NOTHING
    language: Raw = NOTHING
    identifier: Raw = NOTHING
    type: Raw = NOTHING
    timestamp: Raw = NOTHING
    total: int | None = None
    link: Raw = NOTHING


class LabEntry(msgspec.Struct, gc=False, omit_defaults=True):
    """An entry of a Bundle that holds nothing but Observations."""

    resource: Lab
    fullUrl: Raw = NOTHING
    search: Raw = NOTHING
    link: Raw = NOTHING
    id: Raw = NOTHING
    extension: Raw = NOTHING


class LabBundle(msgspec.Struct, gc=False, omit_defaults=True):
    """A Bundle that holds nothing but Observations, decoded in one go."""

    entry: list[LabEntry]
    resourceType: str = ""
    id: Raw = NOTHING
    meta: Raw = NOTHING
    language: Raw = NOTHING
    identifier: Raw = NOTHING
    type: Raw = NOTHING
    timestamp: Raw = NOTHING
    total: int | None = None
    link: Raw = NOTHING


Searched = Bundle | msgspec.UnsetType | None


class Prefetch(msgspec.Struct, gc=False, omit_defaults=True):
    """The prefetch as discovery asks for it, decoded in one go; a value that was not sent is UNSET."""

    patient: Record | msgspec.UnsetType | None = msgspec.UNSET
    observations: LabBundle | msgspec.UnsetType | None = msgspec.UNSET
    conditions: Searched = msgspec.UNSET
    medications: Searched = msgspec.UNSET
    statements: Searched = msgspec.UNSET
    procedures: Searched = msgspec.UNSET
    pastMedications: Searched = msgspec.UNSET


class LooseBundle(msgspec.Struct, gc=False):
    """A Bundle that does not fit whole: every entry is tried on its own."""

    resourceType: str = ""
    total: Raw = NOTHING
    link: Raw = NOTHING
    entry: list[Raw] = []


class Issue(msgspec.Struct, gc=False):
    """An issue of an OperationOutcome."""

    severity: str | None = None


class CodeableConcept(msgspec.Struct, gc=False):
    """A FHIR CodeableConcept whose codings may be anything (a number as code must not fail the whole)."""

    coding: list[Raw] = []
    text: str | None = None


def present(raw: Raw) -> bool:
    """Say whether a member that was kept as bytes was sent with a value."""
    return len(raw) > 0 and not is_null(raw)


_meta = decoding.decoder(Meta)


def meta_of(record: Record | Lab) -> Meta:
    """Return the meta of a resource; an empty one where it has none that can be read."""
    return meta_of_bytes(bytes(record.meta))


def meta_of_bytes(raw: bytes) -> Meta:
    """Return a meta given as JSON bytes; an empty one where it cannot be read."""
    no_twins(raw)
    try:
        return _meta.decode(raw) if raw and raw != b"null" else Meta()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Meta()
