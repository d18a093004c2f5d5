"""The facts that rules speak of: typed, converted, dated, immutable."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol, TypeVar

import msgspec

from cds_service.facts.dates import When
from cds_service.protocol.prefetch import CONCLUSIVE, State

T = TypeVar("T")
PATIENT, LABS, CONDITIONS, MEDICATIONS, STATEMENTS, PROCEDURES = KINDS = (
    "patient",
    "observations",
    "conditions",
    "medications",
    "statements",
    "procedures",
)
# Asked for only where a rule asks what was given lately: orders that have ended would crowd out those that have not.
PAST_MEDICATIONS = "pastMedications"


class Measurement(msgspec.Struct, frozen=True, gc=False):
    """
    A usable result. ``value`` is in the unit of its analyte, ``reported`` and ``unit`` are as the laboratory wrote it.

    ``comparator`` is "" for an exact value. ``rank`` orders results by time, then by standing (corrected before
    amended before final); ``recorded`` is what decides between equals: when it was issued, and the resource's meta.
    ``notes`` are for the reader of the card, ``parts`` are the results that a computed value was computed from.
    """

    analyte: str
    value: Decimal
    reported: Decimal
    unit: str
    when: When
    comparator: str = ""
    status: str = "final"
    rank: tuple[float, int] = (0.0, 0)
    recorded: tuple[str, bytes] = ("", b"")
    notes: tuple[str, ...] = ()
    parts: tuple[Measurement, ...] = ()
    upper: Decimal | None = None


class Answer(msgspec.Struct, frozen=True, gc=False):
    """
    A qualitative result, an antibody say: "positive", "negative", or "" where it was reported and cannot be read.

    ``said`` are the words of the laboratory. ``how`` "name" means that the test was recognised by its name only.
    """

    concept: str
    meaning: str
    said: str
    when: When
    status: str = "final"
    rank: tuple[float, int] = (0.0, 0)
    how: str = "code"


class Diagnosis(msgspec.Struct, frozen=True, gc=False):
    """
    A condition of the patient.

    ``when`` is when it began or was recorded, whichever is later; ``began`` is the onset alone. None if undated.
    """

    concept: str
    system: str
    code: str
    how: str
    display: str
    active: bool = True
    when: When | None = None
    encounter: bool = False
    began: When | None = None


class Medication(msgspec.Struct, frozen=True, gc=False):
    """
    A medication the patient takes now. ``how`` "name" means only its name was recognised.

    ``dosage`` is its dosage as it was sent (doses.py reads it), ``reasons`` are the diagnoses it was ordered for.
    """

    concept: str
    system: str
    code: str
    how: str
    display: str
    route: str = ""
    when: When | None = None
    dosage: bytes = b""
    reasons: tuple[str, ...] = ()


class PastMedication(Medication, frozen=True, gc=False):
    """A medication that was ordered or taken, and has ended: ``until`` says when, where that was recorded."""

    until: When | None = None


class Draft(Medication, frozen=True, gc=False):
    """
    An order of this call, not yet signed: a medication, or a test or referral of hooks/concepts/orders.yaml.

    ``reference`` is how suggestions name it, "MedicationRequest/17". ``selected`` says whether the clinician is
    choosing it now: rules speak of these only. An order that cannot be read has no concept, and ``how`` says why.
    """

    reference: str = ""
    selected: bool = True


class Procedure(msgspec.Struct, frozen=True, gc=False):
    """A procedure that was carried out."""

    concept: str
    system: str
    code: str
    how: str
    display: str
    when: When | None = None


class Answers(Protocol):
    """The qualitative results of one test, read when somebody asks."""

    def newest_first(self) -> tuple[Answer, ...]:
        """Return the results that count, newest first."""

    def asides(self) -> list[SetAside]:
        """Return the results that had to be set aside."""


class SetAside(msgspec.Struct, frozen=True, gc=False):
    """Something in the record that no rule may use, with the reason code (RELIABILITY.md section 4)."""

    kind: str
    reason: str
    concept: str = ""
    when: When | None = None
    rank: tuple[float, int] = (0.0, 0)


class Person(msgspec.Struct, frozen=True, gc=False):
    """The patient, as far as rules ask: when born, which sex is recorded, whether recorded as deceased."""

    born: When | None = None
    sex: str = ""
    deceased: bool = False


class Facts(msgspec.Struct, frozen=True):
    """
    Everything known about one patient at one moment.

    ``now`` is in seconds since 1970 (UTC), ``today`` its calendar day counted from 1970-01-01. Every tuple is newest
    first. ``seen`` counts the codes that were met and mean nothing here, as (kind, system, code). ``horizons`` say up
    to which day a page that was cut off is complete. ``memo`` holds what was already derived from these facts.
    ``answers`` are the qualitative results; ``observed`` reads lesions, notes and images out of other Observations.
    ``about_orders`` says that the hook is about orders, ``orders`` are those of this call.
    """

    now: float
    person: Person
    states: dict[str, State]
    horizons: dict[str, int] = {}
    measurements: Mapping[str, Sequence[Measurement]] = {}
    diagnoses: dict[str, tuple[Diagnosis, ...]] = {}
    medications: dict[str, tuple[Medication, ...]] = {}
    procedures: dict[str, tuple[Procedure, ...]] = {}
    unusable: tuple[SetAside, ...] = ()
    seen: dict[tuple[str, str, str], int] = {}
    memo: dict[Any, Any] = {}
    today: int = 0
    past_medications: dict[str, tuple[PastMedication, ...]] = {}
    answers: Mapping[str, Answers] = {}
    observed: Callable[[], dict[str, tuple[Diagnosis | Procedure, ...]]] | None = None
    orders: tuple[Draft, ...] = ()
    about_orders: bool = False

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return what ``compute`` makes of these facts, computing it once however many rules ask."""
        if key not in self.memo:
            self.memo[key] = compute()
        found: T = self.memo[key]
        return found

    @property
    def set_aside(self) -> tuple[SetAside, ...]:
        """Everything no rule may use, with the reason (reads every result that was sent)."""
        labs = [
            aside
            for series in self.measurements.values()
            if len(series) >= 0
            for aside in getattr(series, "asides", ())
        ]
        return (*self.unusable, *labs, *(aside for answers in self.answers.values() for aside in answers.asides()))

    def newest_aside(self, *tests: str) -> SetAside | None:
        """Return the newest result of these tests that was set aside, if it is newer than every usable one."""
        usable: list[Measurement] = []
        asides: list[SetAside] = []
        for test in tests:
            series = self.measurements.get(test, ())
            if series:  # what is set aside is known once a series is read
                usable.append(series[0])
            asides += getattr(series, "asides", ())
        if not asides:
            return None
        best = max(asides, key=lambda aside: aside.rank)
        return best if all(best.rank > one.rank for one in usable) else None

    def covers(self, kind: str, days: int | None) -> bool:
        """Say whether something of the last so many days that was not found is really not there (None: ever)."""
        if self.states.get(kind) in CONCLUSIVE:
            return True
        horizon = self.horizons.get(kind)
        return horizon is not None and days is not None and self.today - horizon > days

    def state(self, kind: str) -> State:
        """Say what is known of one kind of data."""
        return self.states.get(kind, State.ABSENT)
