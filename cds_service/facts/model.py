"""The facts that rules speak of: typed, converted, dated, immutable."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from cds_service.facts.dates import DAY, When
from cds_service.protocol.prefetch import State

PATIENT, LABS, CONDITIONS, MEDICATIONS, STATEMENTS, PROCEDURES = KINDS = (
    "patient",
    "observations",
    "conditions",
    "medications",
    "statements",
    "procedures",
)


class Measurement(msgspec.Struct, frozen=True, gc=False):
    """
    A usable result. ``value`` is in the unit of its analyte, ``reported`` and ``unit`` are as the laboratory wrote it.

    ``comparator`` is "" for an exact value. ``notes`` are things a reader of the card should know;
    ``parts`` are the results that a computed value was computed from.
    """

    analyte: str
    value: Decimal
    reported: Decimal
    unit: str
    when: When
    comparator: str = ""
    status: str = "final"
    rank: tuple[float, int, float, float] = (0.0, 0, 0.0, 0.0)
    notes: tuple[str, ...] = ()
    parts: tuple[Measurement, ...] = ()


class Diagnosis(msgspec.Struct, frozen=True, gc=False):
    """A condition of the patient. ``when`` is when it began or was recorded, whichever is later; None if undated."""

    concept: str
    system: str
    code: str
    how: str
    display: str
    active: bool = True
    when: When | None = None
    encounter: bool = False


class Medication(msgspec.Struct, frozen=True, gc=False):
    """A medication the patient takes now. ``how`` "name" means only its name was recognised."""

    concept: str
    system: str
    code: str
    how: str
    display: str
    route: str = ""
    when: When | None = None


class Procedure(msgspec.Struct, frozen=True, gc=False):
    """A procedure that was carried out."""

    concept: str
    system: str
    code: str
    how: str
    display: str
    when: When | None = None


class SetAside(msgspec.Struct, frozen=True, gc=False):
    """Something in the record that no rule may use, with the reason code (RELIABILITY.md section 4)."""

    kind: str
    reason: str
    concept: str = ""
    when: When | None = None
    rank: tuple[float, int, float, float] = (0.0, 0, 0.0, 0.0)


class Person(msgspec.Struct, frozen=True, gc=False):
    """The patient, as far as rules ask: when born, which sex is recorded, whether recorded as deceased."""

    born: When | None = None
    sex: str = ""
    deceased: bool = False


class Facts(msgspec.Struct, frozen=True):
    """
    Everything known about one patient at one moment.

    ``now`` is in seconds since 1970 (UTC). Every tuple is newest first. ``seen`` counts the codes that were met and
    mean nothing here, as (kind, system, code).
    """

    now: float
    person: Person
    states: dict[str, State]
    measurements: dict[str, tuple[Measurement, ...]] = {}
    diagnoses: dict[str, tuple[Diagnosis, ...]] = {}
    medications: dict[str, tuple[Medication, ...]] = {}
    procedures: dict[str, tuple[Procedure, ...]] = {}
    set_aside: tuple[SetAside, ...] = ()
    seen: dict[tuple[str, str, str], int] = {}

    @property
    def today(self) -> int:
        """The calendar day (UTC), counted from 1970-01-01."""
        return int(self.now // DAY)

    def state(self, kind: str) -> State:
        """Say what is known of one kind of data."""
        return self.states.get(kind, State.ABSENT)
