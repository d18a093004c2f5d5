"""A hook request in, facts out: the one place where FHIR JSON becomes something rules may speak of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from cds_service.errors import WrongPatient
from cds_service.facts import bundles, conditions, medications, model, observations, procedures
from cds_service.facts.bundles import KIND_OF, Found, Value
from cds_service.facts.dates import parse
from cds_service.facts.identity import NOBODY, OURS, STRANGER, Identity
from cds_service.facts.model import Diagnosis, Facts, Measurement, Medication, Person, Procedure, SetAside
from cds_service.facts.records import Record, present
from cds_service.facts.shared import Desk, Policy, Reader
from cds_service.protocol.prefetch import State
from cds_service.protocol.request import HookRequest

__all__ = ["Policy", "Reader", "take_in"]

READERS = {
    "Observation": observations.read,
    "Condition": conditions.read,
    "FamilyMemberHistory": conditions.read_family,
    "MedicationRequest": medications.read,
    "MedicationStatement": medications.read,
    "Procedure": procedures.read,
}
Fact = Measurement | Diagnosis | Medication | Procedure


class _Pile(msgspec.Struct):
    """What has been read so far."""

    facts: dict[type, dict[str, list[Any]]] = {}
    aside: list[SetAside] = []
    person: Person = Person()
    seen_ids: set[tuple[str, str, str]] = set()


def take_in(request: HookRequest, reader: Reader, now: float, policy: Policy = Policy()) -> Facts:
    """
    Read everything that was sent with a hook call.

    ``now`` is in seconds since 1970 (UTC). Raises WrongPatient where data of another patient were sent (or drops
    them, if the site chose so), and MalformedJson where a member stands twice.
    """
    values = {key: bundles.open_value(raw) for key, raw in request.prefetch.items()}
    bases = policy.bases | ({request.fhir_server} if request.fhir_server else frozenset())
    identity = Identity(request.patient_id, bases)
    desk = Desk(reader, policy, now, request.body, {}, reader.labs)
    everything = [found for value in values.values() for found in value.found]
    for found in everything:
        identity.learn(found)
        _learn_medication(desk, found)
    pile = _Pile({}, [], Person(), set())
    for found in _latest_versions(everything):
        _read(found, desk, identity, pile)
    for key, value in values.items():
        pile.aside += [SetAside(key if key in model.KINDS else "other", "misfit")] * value.misfits
    return _facts(pile, desk, _states(values))


def _learn_medication(desk: Desk, found: Found) -> None:
    record = found.record
    if record is not None and record.resourceType == "Medication" and present(record.code):
        for name in (found.full_url, record.id, f"Medication/{record.id}"):
            if name:
                desk.medication_texts[name] = record.code


def _latest_versions(found: Iterable[Found]) -> Iterator[Found]:
    """Yield every resource once: of several versions with one id the last updated, which replaces the others."""
    newest: dict[tuple[str, str], Found] = {}
    for item in found:
        record = item.record
        if record is None or not record.id:
            yield item
            continue
        key = (record.resourceType, record.id)
        if key not in newest or _version(item) > _version(newest[key]):
            newest[key] = item
    yield from newest.values()


def _version(found: Found) -> tuple[float, int, str, int, bytes]:
    """Order versions of one resource: last updated, then version number, then a retraction or correction wins."""
    record = found.record or Record()
    updated = parse(record.meta.lastUpdated) if record.meta else None
    number = record.meta.versionId or "" if record.meta else ""
    retracted = ("final", "amended", "corrected", "entered-in-error")
    standing = retracted.index(record.status) if record.status in retracted else -1
    return (updated.end if updated else 0.0, len(number), number, standing, bytes(found.raw))


def _read(found: Found, desk: Desk, identity: Identity, pile: _Pile) -> None:
    record = found.record
    if record is None:
        pile.aside.append(SetAside("other", "misfit"))
        return
    read = READERS.get(record.resourceType)
    if read is None and record.resourceType != "Patient":
        return
    desk.check_members(found.raw)
    if not _is_ours(found, desk, identity, pile):
        return
    if read is None:
        pile.person = _person(record, desk)
    elif len(record.modifierExtension) and present(record.modifierExtension) or record.implicitRules:
        pile.aside.append(SetAside(KIND_OF.get(record.resourceType, "other"), "modifier-extension"))
    else:
        _keep(read(record, desk), pile)


def _is_ours(found: Found, desk: Desk, identity: Identity, pile: _Pile) -> bool:
    record = found.record
    if record is None:
        return False
    whose = identity.whose(record)
    if whose == OURS:
        return True
    if whose == STRANGER and record.resourceType == "Patient" and found.included:
        return False
    if whose == STRANGER and not desk.policy.drop_strangers:
        raise WrongPatient(
            "The request carries data of a patient other than the hook's patient.",
            where="/prefetch",
            why="A card built from another patient's data could harm this one, so nothing was evaluated.",
            remedy="Check how the prefetch queries are filled in: every one must be limited to context.patientId.",
        )
    kind = KIND_OF.get(record.resourceType, "other")
    pile.aside.append(SetAside(kind, whose if whose != NOBODY else "no-subject"))
    return False


def _person(record: Record, desk: Desk) -> Person:
    born = parse(record.birthDate)
    died = parse(record.deceasedDateTime)
    deceased = record.deceasedBoolean or (died is not None and died.start <= desk.now)
    return Person(born if born and born.start <= desk.now else None, record.gender or "", deceased)


def _keep(read: Iterable[Fact | SetAside], pile: _Pile) -> None:
    for fact in read:
        if isinstance(fact, SetAside):
            pile.aside.append(fact)
            continue
        name = fact.analyte if isinstance(fact, Measurement) else fact.concept
        pile.facts.setdefault(type(fact), {}).setdefault(name, []).append(fact)


def _states(values: dict[str, Value]) -> dict[str, State]:
    """Say what is known of each kind: by its prefetch key, else by what stands in values under keys we do not know."""
    states = {key: value.state for key, value in values.items() if key in model.KINDS}
    for key, value in values.items():
        if key not in model.KINDS:
            for kind in {KIND_OF.get(item.record.resourceType) for item in value.found if item.record}:
                if kind:
                    states.setdefault(kind, value.state)
    return states


def _facts(pile: _Pile, desk: Desk, states: dict[str, State]) -> Facts:
    measured = pile.facts.get(Measurement, {})
    return Facts(
        now=desk.now,
        person=pile.person,
        states=states,
        measurements={name: _newest_first(results) for name, results in measured.items()},
        diagnoses=_sorted(pile.facts.get(Diagnosis, {})),
        medications=_sorted(pile.facts.get(Medication, {})),
        procedures=_sorted(pile.facts.get(Procedure, {})),
        set_aside=tuple(pile.aside),
        seen=desk.seen,
    )


def _newest_first(results: list[Measurement]) -> tuple[Measurement, ...]:
    """Sort newest first; of equals the higher value comes first (the safer reading); the same result counts once."""
    kept: dict[tuple[Any, ...], Measurement] = {}
    for result in sorted(results, key=lambda one: (one.rank, one.value), reverse=True):
        kept.setdefault((result.when.start, result.when.end, result.value, result.comparator), result)
    return tuple(kept.values())


def _sorted(facts: dict[str, list[Any]]) -> dict[str, tuple[Any, ...]]:
    def newest(fact: Any) -> tuple[float, str, str]:
        return (fact.when.end if fact.when else 0.0, fact.system, fact.code)

    return {name: tuple(sorted(items, key=newest, reverse=True)) for name, items in facts.items()}
