"""A hook request in, facts out: the one place where FHIR JSON becomes something rules may speak of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import msgspec

from cds_service.errors import WrongPatient
from cds_service.facts import bundles, conditions, drafts, medications, model, observations, observed, procedures
from cds_service.facts.bundles import KIND_OF, Found, Value
from cds_service.facts.dates import DAY, parse
from cds_service.facts.horizon import oldest_day
from cds_service.facts.identity import NOBODY, OURS, STRANGER, UNRELATED, Identity, unversioned
from cds_service.facts.model import Diagnosis, Draft, Facts, Medication, PastMedication, Person, Procedure, SetAside
from cds_service.facts.qualitative import Results
from cds_service.facts.records import NOTHING, Lab, Raw, Record, meta_of, present
from cds_service.facts.series import Series, Waiting
from cds_service.facts.shared import Desk, Policy, Reader
from cds_service.protocol.prefetch import State
from cds_service.protocol.request import HookRequest

__all__ = ["Policy", "Reader", "take_in"]

READERS: dict[str, Callable[[Any, Desk], Iterable[Any]]] = {
    "Condition": conditions.read,
    "FamilyMemberHistory": conditions.read_family,
    "MedicationAdministration": medications.read_given,
    "MedicationRequest": medications.read,
    "MedicationStatement": medications.read,
    "Procedure": procedures.read,
}
Fact = Diagnosis | Medication | Procedure
_DEFAULT = Policy()
# So many code elements of one length are compared, one after the other.
FEW = 8


class _Pile(msgspec.Struct):
    """What has been read so far."""

    facts: dict[type, dict[str, list[Any]]]
    labs: dict[str, list[Waiting]]
    aside: list[SetAside]
    person: Person = Person()
    orders: tuple[Draft, ...] = ()


def take_in(request: HookRequest, reader: Reader, now: float, policy: Policy = _DEFAULT) -> Facts:
    """
    Read everything that was sent with a hook call.

    ``now`` is in seconds since 1970 (UTC). Raises WrongPatient where data of another patient were sent (or drops
    them, if the site chose so), and MalformedJson where a member stands twice.
    """
    values = bundles.open_values(request.sent, request.shaped)
    context = drafts.open_context(request.about)
    bases = policy.bases | ({request.fhir_server} if request.fhir_server else frozenset())
    identity = Identity(request.patient_id, bases)
    desk = Desk(reader, policy, now, {}, reader.labs, reader.unit, reader.terminology.analytes)
    everything = [found for value in values.values() for found in value.found]
    _learn_patients(identity, everything, context.found)
    context = drafts.without_strangers(context, identity, drop=policy.drop_strangers)
    pile = _Pile({}, {}, [])
    everything += [*_file_labs(values, everything, desk, identity, pile), *context.problems]
    newest = _latest_versions(everything)
    if len(newest) < len(everything):
        _refuse_strangers(everything, desk, identity)
    desk.find = _finder([*newest, *context.found], identity)
    for found in (*newest, *context.found):
        if found.record.resourceType == "Medication":
            _learn_medication(desk, found, bases)
    for found in newest:
        _read(found, desk, identity, pile)
    for key, value in values.items():
        pile.aside += [SetAside(key if key in model.KINDS else "other", "misfit")] * value.misfits
    if context.about_orders:
        pile.orders = drafts.orders_of(context, newest, desk, identity)
    states, horizons = _known(_states(values), _horizons(values), pile)
    return _facts(pile, desk, states, horizons, about_orders=context.about_orders)


def _learn_patients(identity: Identity, *sent: Iterable[Found]) -> None:
    """Learn from every Patient that was sent by which names this request refers to the patient."""
    for found in chain.from_iterable(sent):
        if found.record.resourceType == "Patient":
            identity.learn(found)


def _file_labs(
    values: dict[str, Value], others: list[Found], desk: Desk, identity: Identity, pile: _Pile
) -> list[Found]:
    """
    Put the bulk of the laboratory results in order, unread, and return those that need a closer look.

    The bulk is what is beyond doubt: each id once, the same reference to the patient, nothing that modifies it.
    """
    held = [value.labs for value in values.values() if value.labs]
    labs = held[0] if len(held) == 1 else list(chain.from_iterable(held))
    if len({lab.id for lab in labs}) < len(labs) or any(isinstance(found.record, Lab) for found in others):
        return [Found(lab) for lab in labs]
    plain = _reference_to_patient(labs, identity)
    rest: list[Found] = []
    by_code: dict[bytes, list[Waiting]] = {}
    # Code elements by their length, with their results: bytes are compared faster than copied and hashed.
    alike: dict[int, list[tuple[Raw, list[Waiting]]]] = {}
    for lab in labs:
        subject = lab.subject
        if (
            plain is None
            or subject is None
            or subject.reference != plain
            or lab.modifierExtension is not NOTHING
            or lab.implicitRules is not NOTHING
            or lab.component is not NOTHING
        ):
            rest.append(Found(lab))
            continue
        code = lab.code
        known = alike.setdefault(len(code), [])
        for element, waiting in known:  # noqa: B007 - it is the list of the element where the search ends
            if element == code:
                break
        else:
            waiting = by_code.setdefault(bytes(code), [])
            if len(known) < FEW:
                known.append((code, waiting))
        waiting.append((lab, None))
    for sent, waiting in by_code.items():
        observations.file(desk.labs(sent), waiting, desk, pile.labs)
    return rest


def _reference_to_patient(labs: list[Lab], identity: Identity) -> str | None:
    """Return how the first result refers to the patient, if it is this patient; else None."""
    subject = labs[0].subject if labs else None
    return subject.reference if subject and subject.reference and identity.whose(labs[0]) == OURS else None


def _finder(everything: list[Found], identity: Identity) -> Callable[[str], Record | None]:
    """Return the function that finds a resource of this patient by a reference to it; few calls ever need it."""

    def find(reference: str) -> Record | None:
        wanted = unversioned(reference)
        for found in everything:
            record = found.record
            local = f"{record.resourceType}/{record.id}"
            named = found.full_url == wanted or (record.id and (local == wanted or wanted.endswith(f"/{local}")))
            if named and isinstance(record, Record) and not found.misfit:
                return record if identity.whose(record) == OURS and not _modified(record) else None
        return None

    return find


def _learn_medication(desk: Desk, found: Found, bases: Iterable[str]) -> None:
    """Remember a Medication under every name by which an order may refer to it, and one that says nothing as that."""
    record = found.record
    if isinstance(record, Record) and record.resourceType == "Medication":
        local, code = f"Medication/{record.id}", record.code if medications.names_a_medication(record) else NOTHING
        for name in (found.full_url, *((local, *(f"{base}/{local}" for base in bases)) if record.id else ())):
            desk.medication_texts[name] = code


def _latest_versions(found: list[Found]) -> list[Found]:
    """Return every resource once: of several versions with one id the last updated, which replaces the others."""
    if len({(item.record.resourceType, item.record.id) for item in found if item.record.id}) == len(found):
        return found
    nameless: list[Found] = []
    newest: dict[tuple[str, str], Found] = {}
    for item in found:
        if not item.record.id:
            nameless.append(item)
            continue
        key = (item.record.resourceType, item.record.id)
        other = newest.get(key)
        if other is None or _version(item) > _version(other):
            newest[key] = item
    return [*nameless, *newest.values()]


def _refuse_strangers(everything: Iterable[Found], desk: Desk, identity: Identity) -> None:
    """A version that is not read, since a newer one replaces it, must not be of another patient either."""
    for found in everything:
        if found.record.resourceType in KIND_OF and not found.misfit and not desk.policy.drop_strangers:
            _check_stranger(found, identity.whose(found.record))


def _version(found: Found) -> tuple[float, int, str, int, bytes]:
    """Order versions of one resource: last updated, then version number, then a retraction or correction wins."""
    record = found.record
    meta = meta_of(record)
    updated = parse(meta.lastUpdated)
    number = meta.versionId or ""
    standing = _STANDING.index(record.status) if record.status in _STANDING else -1
    if isinstance(record, Record) and conditions.code_of(record.verificationStatus) in conditions.NOT_A_DIAGNOSIS:
        standing = len(_STANDING)
    return (updated.end if updated else 0.0, len(number), number, standing, msgspec.json.encode(record))


_STANDING = ("final", "amended", "corrected", "entered-in-error")


def _read(found: Found, desk: Desk, identity: Identity, pile: _Pile) -> None:
    record, usual = found.record, READERS.get(found.record.resourceType)
    if usual and not (found.misfit or record.modifierExtension or record.implicitRules) and identity.knows(record):
        _keep(usual(record, desk), pile)
        return
    kind = KIND_OF.get(record.resourceType, "other")
    if record.resourceType in _UNREADABLE or (found.misfit and kind not in (model.PATIENT, "other")):
        pile.aside.append(SetAside(kind, "misfit"))
        return
    if isinstance(record, Record) and record.resourceType not in READERS and kind != model.PATIENT:
        return
    if not identity.knows(record) and not _is_ours(found, desk, identity, pile):
        return
    if found.misfit:
        pile.aside.append(SetAside(kind, "misfit"))
    elif (record.modifierExtension or record.implicitRules) and _modified(record):
        pile.aside.append(SetAside(kind, "modifier-extension"))
    elif isinstance(record, Lab):
        observations.file_one(record, desk, pile.labs)
    elif kind == model.PATIENT:
        pile.person = _person(record, desk)
    else:
        _keep(READERS[record.resourceType](record, desk), pile)


# Nothing is said of what it is, or it holds others: it is counted, and never read.
_UNREADABLE = ("", "Bundle")


def _modified(record: Record | Lab) -> bool:
    """FHIR: a modifier extension or implicit rules that we do not know may turn the meaning round."""
    return present(record.modifierExtension) or present(record.implicitRules)


def _is_ours(found: Found, desk: Desk, identity: Identity, pile: _Pile) -> bool:
    whose = identity.whose(found.record)
    if whose == OURS:
        return True
    if found.record.resourceType == "Patient" and found.included:
        return False  # the mother of a newborn, say, who came along in a search
    if not desk.policy.drop_strangers:
        _check_stranger(found, whose)
    pile.aside.append(SetAside(KIND_OF.get(found.record.resourceType, "other"), whose))
    return False


def _check_stranger(found: Found, whose: str) -> None:
    included = found.record.resourceType == "Patient" and found.included
    if whose == STRANGER and not included:
        raise WrongPatient(
            "The request carries data of a patient other than the hook's patient.",
            where="/prefetch",
            why="A card built from another patient's data could harm this one, so nothing was evaluated.",
            remedy="Check how the prefetch queries are filled in: every one must be limited to context.patientId.",
        )


def _person(record: Record, desk: Desk) -> Person:
    born = parse(record.birthDate)
    died = parse(record.deceasedDateTime)
    # A date of death that cannot be read is still one.
    deceased = bool(record.deceasedBoolean) or (
        bool(record.deceasedDateTime) and (died is None or died.start <= desk.now)
    )
    return Person(born if born and born.start <= desk.now else None, record.gender or "", deceased)


def _keep(read: Iterable[Fact | SetAside], pile: _Pile) -> None:
    for fact in read:
        if isinstance(fact, SetAside):
            pile.aside.append(fact)
        else:
            pile.facts.setdefault(type(fact), {}).setdefault(fact.concept, []).append(fact)


def _states(values: dict[str, Value]) -> dict[str, State]:
    """
    Say what is known of each kind: by its prefetch key, else by what stands under other keys (EHRs rename them).

    A value that holds other kinds only than its key says does not speak for its key. Of several values that are
    known by what they hold the least complete counts.
    """
    named = {key: value.state for key, value in values.items() if _speaks_for(value, key)}
    others: dict[str, State] = {}
    for key, value in values.items():
        for kind in value.kinds() if key not in named else ():
            others[kind] = min(value.state, others.get(kind, value.state), key=list(State).index)
    return others | named


# Of what is set aside for these reasons nobody knows what it would have said, or of whom.
_UNKNOWN = frozenset({NOBODY, UNRELATED, "unresolved", "modifier-extension", "other-fhir-version"})


def _known(states: dict[str, State], horizons: dict[str, int], pile: _Pile) -> tuple[dict[str, State], dict[str, int]]:
    """Take back that a kind is known as a whole where something of it had to be set aside unread."""
    lost = {aside.kind for aside in pile.aside if aside.reason in _UNKNOWN}
    if model.MEDICATIONS in lost:
        lost.add(model.PAST_MEDICATIONS)
    for kind in lost & states.keys():
        if states[kind] in (State.COMPLETE, State.EMPTY):
            states[kind] = State.TRUNCATED
    return states, {kind: day for kind, day in horizons.items() if kind not in lost}


def _speaks_for(value: Value, key: str) -> bool:
    kinds = value.kinds()
    if key == model.PAST_MEDICATIONS:
        return not kinds or model.MEDICATIONS in kinds
    return key in model.KINDS and (not kinds or key in kinds)


def _horizons(values: dict[str, Value]) -> dict[str, int]:
    """Say up to which day pages that were cut off are complete, for the kinds that servers sort by date."""
    found: dict[str, int] = {}
    for kind in (model.LABS, model.PROCEDURES):
        value = values.get(kind)
        if value is not None and value.paged:
            day = oldest_day([*value.labs, *(item.record for item in value.found if not item.included)])
            found |= {} if day is None else {kind: day}
    return found


def _facts(pile: _Pile, desk: Desk, states: dict[str, State], horizons: dict[str, int], *, about_orders: bool) -> Facts:
    return Facts(
        now=desk.now,
        person=pile.person,
        states=states,
        horizons=horizons,
        measurements={
            name: Series(labs, observations.reader(desk, name))
            for name, labs in pile.labs.items()
            if not desk.analytes[name].qualitative
        },
        diagnoses=_sorted(_beside(pile.facts.get(Diagnosis, {}), desk.reader.terminology.only_with)),
        medications=_sorted(pile.facts.get(Medication, {})),
        procedures=_sorted(pile.facts.get(Procedure, {})),
        unusable=tuple(pile.aside),
        seen=desk.seen,
        memo={},
        today=int(desk.now // DAY),
        past_medications=_sorted(pile.facts.get(PastMedication, {})),
        answers={
            name: Results(labs, desk, desk.analytes[name])
            for name, labs in pile.labs.items()
            if desk.analytes[name].qualitative
        },
        observed=observed.reader(desk),
        orders=pile.orders,
        about_orders=about_orders,
    )


def _beside(found: dict[str, list[Any]], only_with: dict[str, tuple[str, ...]]) -> dict[str, list[Any]]:
    """Leave out what names a setting only, and is no disease without another one (Down syndrome without calcinosis)."""

    def counts(name: str) -> bool:
        beside = only_with.get(name)
        return beside is None or any(one.active for other in beside for one in found.get(other, ()))

    return found if found.keys().isdisjoint(only_with) else {name: found[name] for name in found if counts(name)}


def _sorted(facts: dict[str, list[Any]]) -> dict[str, tuple[Any, ...]]:
    def newest(fact: Any) -> tuple[float, str, str, str]:
        return (fact.when.end if fact.when else 0.0, fact.system, fact.code, fact.display)

    return {name: tuple(sorted(items, key=newest, reverse=True)) for name, items in facts.items()}
