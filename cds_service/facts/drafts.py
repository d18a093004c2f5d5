"""
What a call is about besides the record: orders that are not yet signed, and problems that were just added.

Orders never count as something the patient has or takes. One that cannot be read is kept as such: what it might be is
not known, and rules about orders say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

import msgspec

from cds_service import decoding
from cds_service.errors import WrongPatient
from cds_service.facts import bundles, medications
from cds_service.facts.bundles import Found
from cds_service.facts.dates import parse
from cds_service.facts.identity import NOBODY, OURS, STRANGER, Identity
from cds_service.facts.model import Draft
from cds_service.facts.records import Raw, Record, Reference, present
from cds_service.facts.shared import Desk
from cds_service.protocol.context import About, short

PROBLEMS = "conditions"
# An order of these statuses is withdrawn or over; any other (draft, active, on-hold) is on its way.
WITHDRAWN = frozenset({"entered-in-error", "cancelled", "revoked", "stopped", "completed", "ended", "noshow"})
# What DSTU2 called a MedicationRequest is an order of a medication, and cannot be read.
_MEDICATION, _SERVICE, _VISIT = ("MedicationRequest", "MedicationOrder"), "ServiceRequest", "Appointment"
NOT_SENT = "it is selected, and does not stand among the orders of the call"
REASONS = {
    "misfit": "it is no FHIR R4 resource",
    "modifier-extension": "a modifier extension may turn its meaning round",
    "other-fhir-version": "it is written in another FHIR version",
    "unresolved": "it does not say what is ordered, or refers to what was not sent",
    "unreadable-code": "its code means nothing here, and no words say what it is",
    "unrelated-server": "its patient is one of another server",
    "no-subject": "it does not say for which patient it is",
    "merged-record": "it is of a record that was merged",
}
_WRONG = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Participant(msgspec.Struct):
    actor: Reference | None = None


class _Visit(msgspec.Struct):
    """The members of an Appointment that say what it is for, and whose it is."""

    serviceType: list[Raw] = []
    participant: list[_Participant] = []


_visit = decoding.decoder(_Visit)


class Context(msgspec.Struct):
    """The resources of a call's context, opened: whatever of them is about the patient has been checked to be."""

    about: About
    entries: list[tuple[Found, Raw]]

    @property
    def found(self) -> list[Found]:
        """Every resource."""
        return [found for found, _ in self.entries]

    @property
    def problems(self) -> list[Found]:
        """The problems that were just added: they count as diagnoses."""
        return self.found if self.about.member == PROBLEMS else []

    @property
    def about_orders(self) -> bool:
        """Say whether the hook is about orders."""
        return self.about.member not in ("", PROBLEMS)


_NOTHING = Context(About(), [])


def open_context(about: About | None) -> Context:
    """Open the Bundle of a context; of a hook without one there is nothing to open."""
    if about is None:
        return _NOTHING
    return Context(about, bundles.entries_of(about.bundle) if len(about.bundle) else [])


def without_strangers(context: Context, identity: Identity, *, drop: bool) -> Context:
    """
    Return what is the patient's own of a context.

    Raises WrongPatient where something is another patient's (HOUSE.md, invariant 7), unless the site drops that.
    """
    others = [found for found, raw in context.entries if _is_strangers(found, raw, identity)]
    if others and not drop:
        raise WrongPatient(
            "The context carries data of a patient other than the hook's patient.",
            where=f"/context/{context.about.member}",
            why="A card built from another patient's orders could harm this one, so nothing was evaluated.",
            remedy="Send the orders and problems of context.patientId only.",
        )
    kept = [entry for entry in context.entries if not any(entry[0] is other for other in others)]
    return Context(context.about, kept) if others else context


def _is_strangers(found: Found, raw: Raw, identity: Identity) -> bool:
    return not found.misfit and not found.included and _whose(found, raw, identity) == STRANGER


def _whose(found: Found, raw: Raw, identity: Identity) -> str:
    """Say whose a resource is; what names no patient at all is of the patient whose context it stands in."""
    record = found.record
    if record.resourceType == _VISIT:
        return _attended(raw, identity)
    if isinstance(record, Record) and record.subject is None and record.patient is None:
        return identity.whose(record) if record.resourceType == "Patient" else OURS
    return identity.whose(record)


def _attended(raw: Raw, identity: Identity) -> str:
    """Say whose an appointment is: ours, if the patient is among those who take part."""
    actors = [one.actor for one in _read_visit(raw).participant if one.actor]
    asked = [Record(resourceType=_VISIT, subject=actor) for actor in actors if "Patient/" in (actor.reference or "")]
    verdicts = [identity.whose(one) for one in asked]
    return OURS if OURS in verdicts or not verdicts else STRANGER if STRANGER in verdicts else verdicts[0]


def _read_visit(raw: Raw) -> _Visit:
    with suppress(*_WRONG):
        return _visit.decode(raw)
    return _Visit()


def orders_of(context: Context, others: Iterable[Found], desk: Desk, identity: Identity) -> tuple[Draft, ...]:
    """
    Return the orders of a call, newest first; those that cannot be read come last.

    At order-dispatch the orders are references: they are looked up among ``others``, what came with the prefetch.
    """
    about, entries = context.about, context.entries
    if not len(about.bundle):
        entries = [(found, Raw()) for found in others if _names(found).intersection(about.selections or ())]
    found = [draft for entry in entries for draft in _drafts(*entry, about, desk, identity)]
    met = {name for one, _ in entries for name in _names(one)}
    lost = [one for one in about.selections or () if one not in met]
    found += [Draft("", "", "", NOT_SENT, "", reference=one) for one in dict.fromkeys(lost)]
    return tuple(sorted(found, key=_newest, reverse=True))


def _newest(draft: Draft) -> tuple[bool, float, str, str]:
    return (bool(draft.concept), draft.when.end if draft.when else 0.0, draft.reference, draft.concept)


def _names(found: Found) -> set[str]:
    """Return every name by which a selection may refer to an order."""
    record = found.record
    own = {record.id, f"{record.resourceType}/{record.id}"} if record.id else set()
    return own | {short(found.full_url)} if found.full_url else own


def _drafts(found: Found, raw: Raw, about: About, desk: Desk, identity: Identity) -> Iterator[Draft]:
    record = found.record
    kind = record.resourceType
    if kind not in (*_MEDICATION, _SERVICE, _VISIT, "") or not isinstance(record, Record):
        return  # a NutritionOrder, a device, glasses: no rule speaks of them
    reference = f"{kind}/{record.id}" if record.id else kind
    selected = about.selections is None or not _names(found).isdisjoint(about.selections)
    reason = _unusable(found, raw, identity)
    if not reason and (record.status in WITHDRAWN or record.doNotPerform):
        return
    read: list[Draft] = []
    if not reason:
        read, reason = _read(record, raw, desk, reference)
    if reason:
        read = [Draft("", "", "", REASONS[reason], "", reference=reference)]
    yield from (read if selected else [msgspec.structs.replace(one, selected=False) for one in read])


def _unusable(found: Found, raw: Raw, identity: Identity) -> str:
    """Name the reason why nobody can say what an order means; "" where there is none."""
    record = found.record
    if found.misfit or not record.resourceType:
        return "misfit"
    if present(record.modifierExtension) or present(record.implicitRules):
        return "modifier-extension"
    whose = _whose(found, raw, identity)
    return "" if whose == OURS else whose if whose in REASONS else NOBODY


def _read(record: Record, raw: Raw, desk: Desk, reference: str) -> tuple[list[Draft], str]:
    if record.resourceType == "MedicationOrder":
        return [], "other-fhir-version"
    if record.resourceType == _VISIT:
        codes = [bytes(one) for one in _read_visit(raw).serviceType]
        return [draft for code in codes for draft in _services(code, record, desk, reference)], ""
    if record.resourceType == _SERVICE:
        if not present(record.code):
            return [], "unresolved"
        return list(_services(bytes(record.code), record, desk, reference)), ""
    drugs, reason = medications.ordered(record, desk)
    own = (msgspec.structs.asdict(drug) for drug in drugs)
    return [Draft(**members, reference=reference) for members in own], reason


def _services(code: bytes, record: Record, desk: Desk, reference: str) -> Iterator[Draft]:
    """Yield the tests, images, procedures and referrals that a code orders, each by the name rules give it."""
    reader, when = desk.reader, parse(record.authoredOn)
    procedures, tests = reader.procedures(code), reader.labs(code)
    coded = [(name, one) for one in procedures.seen for name in reader.orders.get(one, ())]
    coded += [(one.concept, (one.system, one.code)) for one in (*tests.matches, *procedures.matches)]
    for name, (system, own) in dict(reversed(coded)).items():
        yield Draft(name, system, own, "code", procedures.display, when=when, reference=reference)
