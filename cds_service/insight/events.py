"""What figures read of a row of the ledger; all else in it is left undecoded."""

from __future__ import annotations

import zlib
from datetime import date

import msgspec

from cds_service import decoding
from cds_service.facts.dates import DAY, parse
from cds_service.recording.snapshot import Aside

_EPOCH = date(1970, 1, 1).toordinal()
# Which age band a patient is in: from so many years on.
BANDS = ((0, "0 to 17"), (18, "18 to 44"), (45, "45 to 64"), (65, "65 to 79"), (80, "80 and older"))
NOT_RECORDED = "not recorded"


class Fired(msgspec.Struct, frozen=True):
    """A rule that fired."""

    rule: str
    version: int = 0
    indicator: str = ""


class Verdicts(msgspec.Struct, frozen=True):
    """What rules said: those that fired, those that could not be evaluated and what was missing, the others."""

    fired: list[Fired] = []
    not_evaluated: dict[str, list[str]] = {}
    not_fired: list[str] = []


class Held(msgspec.Struct, frozen=True):
    """A finding that was true and not shown."""

    rule: str
    indicator: str = ""
    reason: str = ""


class Shown(msgspec.Struct, frozen=True):
    """A card that was shown, and the rules that it speaks for."""

    id: str
    indicator: str = ""
    rules: list[str] = []


class Content(Verdicts, frozen=True):
    """The content of a decision, as far as figures need it (recording.writing says what it is)."""

    hook: str = ""
    encounter: str = ""
    user: str = ""
    user_kind: str = ""
    issuer: str = ""
    book: str = ""
    ms: float = 0.0
    not_fetched: dict[str, str] = {}
    thresholds: dict[str, dict[str, str]] = {}
    pilot: Verdicts = Verdicts()
    held: list[Held] = []
    cards: list[Shown] = []


class Who(msgspec.Struct, frozen=True):
    """The patient, as a snapshot has it."""

    born: str = ""
    ages: tuple[int, int] | None = None
    sex: str = ""


class Tests(msgspec.Struct, frozen=True):
    """What was set aside of one test."""

    asides: list[Aside] = []


class Glance(msgspec.Struct, frozen=True):
    """A look at recorded facts: who it is by sex and age, what was seen and not matched, what was set aside."""

    now: float = 0.0
    person: Who = Who()
    seen: list[tuple[str, str, str, int]] = []
    unusable: list[Aside] = []
    measurements: dict[str, Tests] = {}
    answers: dict[str, Tests] = {}

    @property
    def cell(self) -> tuple[str, str]:
        """The sex and the age band."""
        return self.person.sex or NOT_RECORDED, band(self._age())

    def _age(self) -> int | None:
        if self.person.ages is not None:
            return self.person.ages[0]
        born = parse(self.person.born)
        if born is None:
            return None
        then, now = (date.fromordinal(int(day) + _EPOCH) for day in (born.first, self.now // DAY))
        return now.year - then.year - ((now.month, now.day) < (then.month, then.day))


class Call(msgspec.Struct, frozen=True):
    """One answered call: its number in the ledger, our id, when, the patient's pseudonym, what was said."""

    number: int
    id: str
    at: float
    service: str
    patient: str
    content: Content
    glance: Glance | None = None

    @property
    def day(self) -> int:
        """The calendar day (UTC), counted from 1970-01-01."""
        return int(self.at // DAY)


class Answer(msgspec.Struct, frozen=True):
    """
    What a clinician answered to a card.

    ``at`` is when, by the EHR's clock; ``suggestions`` are those that were accepted.
    """

    number: int
    card: str
    outcome: str
    at: float
    received: float = 0.0
    suggestions: tuple[str, ...] = ()
    reason: str = ""
    reason_system: str = ""
    reason_display: str = ""
    service: str = ""
    comment: str = ""
    issuer: str = ""


_content, _glance = decoding.decoder(Content), decoding.decoder(Glance)


def read_content(text: str | bytes) -> Content:
    """Read the content of a decision. Raises msgspec.DecodeError."""
    return _content.decode(text)


def read_glance(packed: bytes) -> Glance | None:
    """Look at recorded facts; None where they are not kept."""
    return _glance.decode(zlib.decompress(packed)) if packed else None


def band(age: int | None) -> str:
    """Return the age band of an age in years."""
    return NOT_RECORDED if age is None else next(name for least, name in reversed(BANDS) if age >= least)


def as_date(day: int) -> date:
    """Return the date of a day counted from 1970-01-01."""
    return date.fromordinal(day + _EPOCH)


def as_day(when: date) -> int:
    """Return a date as a day counted from 1970-01-01."""
    return when.toordinal() - _EPOCH
