"""A snapshot of facts, made facts again: what a rule said of the record it says of these."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from cds_service.facts.dates import DAY, When, parse
from cds_service.facts.model import (
    Answer,
    Diagnosis,
    Draft,
    Facts,
    Measurement,
    Medication,
    PastMedication,
    Person,
    Procedure,
    SetAside,
)
from cds_service.facts.observations import USABLE
from cds_service.protocol.prefetch import State
from cds_service.recording.snapshot import Aside, Coded, Kept, Series, Snapshot, Tests, Told, Who

T = TypeVar("T", Diagnosis, Medication, PastMedication, Procedure, Diagnosis | Procedure)
_NEVER = When(0.0, 0.0, 0, 0)
_EPOCH = date(1970, 1, 1).toordinal()


class KeptSeries(list[Measurement]):
    """Recorded results of one test, newest first. ``cut`` says that the record had more."""

    asides: list[SetAside]
    cut: bool


class KeptAnswers(msgspec.Struct, frozen=True):
    """Recorded qualitative results of one test (see facts.model.Answers)."""

    answers: tuple[Answer, ...]
    aside: list[SetAside]

    def newest_first(self) -> tuple[Answer, ...]:
        """Return the results that count, newest first."""
        return self.answers

    def asides(self) -> list[SetAside]:
        """Return the results that had to be set aside."""
        return self.aside


def restored(kept: Snapshot) -> Facts:
    """Return the facts that a snapshot holds."""
    observed = _observed(kept.observed)
    today = int(kept.now // DAY)
    return Facts(
        now=kept.now,
        person=_person(kept.person, today),
        states={kind: State[name] for kind, name in kept.states.items()},
        horizons=kept.horizons,
        measurements={name: _series(name, one) for name, one in kept.measurements.items()},
        diagnoses=_grouped(kept.diagnoses, _diagnosis),
        medications=_grouped(kept.medications, _medication),
        procedures=_grouped(kept.procedures, _procedure),
        unusable=tuple(_aside(one) for one in kept.unusable),
        seen={(kind, system, code): times for kind, system, code, times in kept.seen},
        memo={},
        today=today,
        past_medications=_grouped(kept.past, _past),
        answers={name: _answers(name, tests) for name, tests in kept.answers.items()},
        observed=(lambda: observed) if observed else None,
        orders=tuple(_order(one) for one in kept.orders),
        about_orders=kept.about_orders,
    )


def _person(who: Who, today: int) -> Person:
    born = parse(who.born)
    if who.ages:
        least, greatest = who.ages
        # The day after the birthday that would make the patient older than the greatest age, to the least age's.
        first, last = _years_before(today, greatest + 1) + 1, _years_before(today, least)
        born = When(first * DAY, last * DAY + DAY - 1, first, last)
    return Person(born, who.sex, who.deceased)


def _years_before(day: int, years: int) -> int:
    now = date.fromordinal(day + _EPOCH)
    try:
        return now.replace(year=now.year - years).toordinal() - _EPOCH
    except ValueError:  # 29 February: who was born on 1 March or later is still a year younger
        return date(now.year - years, 2, 28).toordinal() - _EPOCH


def _series(name: str, kept: Series) -> KeptSeries:
    series = KeptSeries(_result(name, one, kept.unit) for one in kept.results)
    series.asides, series.cut = [_aside(one) for one in kept.asides], kept.cut
    return series


def _result(name: str, kept: Kept, unit: str) -> Measurement:
    when, status = parse(kept.when) or _NEVER, kept.status or "final"
    return Measurement(
        name,
        kept.value,
        kept.value,
        unit,
        when,
        kept.comparator,
        status,
        (when.end, USABLE.get(status, -1)),
        notes=kept.notes,
        upper=kept.upper,
    )


def _answers(name: str, kept: Tests) -> KeptAnswers:
    return KeptAnswers(tuple(_answer(name, one) for one in kept.results), [_aside(one) for one in kept.asides])


def _answer(name: str, kept: Told) -> Answer:
    said = kept.meaning or "neither positive nor negative"
    return Answer(name, kept.meaning, said, parse(kept.when) or _NEVER, kept.status, kept.rank, kept.how)


def _aside(kept: Aside) -> SetAside:
    return SetAside(kept.kind, kept.reason, kept.concept, parse(kept.when), kept.rank or (0.0, 0))


def _grouped(kept: Iterable[Coded], read: Callable[[Coded], T]) -> dict[str, tuple[T, ...]]:
    found: dict[str, list[T]] = {}
    for one in kept:
        found.setdefault(one.concept, []).append(read(one))
    return {concept: tuple(items) for concept, items in found.items()}


def _diagnosis(one: Coded) -> Diagnosis:
    return Diagnosis(
        one.concept,
        one.system,
        one.code,
        one.how,
        "",
        active=one.active,
        when=parse(one.when),
        encounter=one.encounter,
        began=parse(one.began),
    )


def _known(one: Coded) -> dict[str, Any]:
    return {
        "concept": one.concept,
        "system": one.system,
        "code": one.code,
        "how": one.how,
        "display": "",
        "route": one.route,
        "when": parse(one.when),
        "dosage": _dosage(one.dose),
        "reasons": one.reasons,
    }


def _medication(one: Coded) -> Medication:
    return Medication(**_known(one))


def _past(one: Coded) -> PastMedication:
    return PastMedication(**_known(one), until=parse(one.until))


def _order(one: Coded) -> Draft:
    return Draft(**_known(one), reference=one.reference, selected=one.selected)


def _procedure(one: Coded) -> Procedure:
    # The wording matters only as far as it differs from that of others.
    words = f"wording {one.wording}" if one.wording else ""
    return Procedure(one.concept, one.system, one.code, one.how, words, parse(one.when))


def _observed(kept: Iterable[Coded]) -> dict[str, tuple[Diagnosis | Procedure, ...]]:
    def read(one: Coded) -> Diagnosis | Procedure:
        return _diagnosis(one) if one.kind == "diagnosis" else _procedure(one)

    return _grouped(kept, read)


def _dosage(dose: tuple[Decimal, str] | None) -> bytes:
    """Return a dosage that says this daily dose."""
    if dose is None:
        return b""
    amount, unit = dose
    return (
        b'[{"timing":{"repeat":{"frequency":1,"period":1,"periodUnit":"d"}},'
        b'"doseAndRate":[{"doseQuantity":{"value":%s,"code":%s}}]}]'
    ) % (f"{amount:f}".encode(), msgspec.json.encode(unit))
