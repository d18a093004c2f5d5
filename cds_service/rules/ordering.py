"""The word about orders: what is being ordered in this call, and whether a rule about orders has anything to say."""

from __future__ import annotations

from collections.abc import Iterable

from cds_service.facts.evidence import UNKNOWN, YES, Judgement
from cds_service.facts.kidney import absence, describe
from cds_service.facts.model import Draft, Facts
from cds_service.rules.model import Clause, Values
from cds_service.rules.scope import Scope, meant
from cds_service.schemas.strict_yaml import Mapping
from cds_service.terminology import Terminology

# What the answer says is missing where an order of this call cannot be read.
UNREAD = "what is being ordered"
MEDICATION = "medication"
# The hooks that are asked about orders (CDS Hooks library; HOOKS.md).
ORDER_HOOKS = ("order-select", "order-sign", "order-dispatch", "medication-refill", "appointment-book")


def ordering(clause: Mapping, scope: Scope) -> Clause:
    """``ordering``: an order of this call is this medication, test or referral."""
    name, line = clause["ordering"], clause.lines["ordering"]
    if not isinstance(name, str):
        scope.fail('"ordering" must name one concept.', line, slug="not-a-concept")
    members = frozenset(orderable(name, line, scope))
    scope.orders.update(members)
    words = scope.terminology
    label = f"ordering {words.orders[name].name if name in words.orders else words.label(name)}"
    kinds = kinds_of(members, words)
    return lambda facts, _values: judge(facts, label, members, kinds)


def kinds_of(members: Iterable[str], words: Terminology) -> frozenset[str]:
    """Return the kinds of concepts that an order may be: medication, or "order" for everything else."""
    return frozenset(MEDICATION if words.kind(one) == MEDICATION else "order" for one in members)


def orderable(name: str, line: int, scope: Scope) -> tuple[str, ...]:
    """Return the concepts that an order of this name may be: medications, or a test or referral."""
    words = scope.terminology
    concept = words.kind(name) in (MEDICATION, "procedure")
    if not concept and (name not in words.orders or name in words.order_medications()):
        known = [one.id for one in words.concepts.values() if one.kind in (MEDICATION, "procedure")]
        scope.fail(
            f'Nothing called "{name}" can be ordered.{meant(name, [*known, *words.groups, *words.orders])}',
            line,
            slug="unknown-order",
            remedy="Name a medication or procedure of hooks/concepts, or an order of orders.yaml.",
        )
    return words.members(name) if concept else (name,)


def judge(facts: Facts, label: str, members: frozenset[str], kinds: frozenset[str]) -> Judgement:
    """
    Judge whether an order that is being chosen or signed is one of these.

    One that cannot be read may be; but an unreadable test or referral is no medication, and the other way round.
    """
    if not facts.about_orders:
        return absence(f"{label}: this call is not about orders")
    chosen = [one for one in facts.orders if one.selected]
    found = tuple([one for one in chosen if one.concept in members])
    if found:
        return Judgement(YES, lambda: f"{label}: {describe(found[0])}", items=found)
    unread = next((one for one in chosen if not one.concept and _may_be(one, kinds)), None)
    if unread is not None:
        return Judgement(UNKNOWN, f"{label}: one order cannot be read: {unread.how}", missing=(UNREAD,))
    return absence(f"{label}: no order of this call is that")


def _may_be(draft: Draft, kinds: frozenset[str]) -> bool:
    """Say whether an order of which only the type of resource is known may be of these kinds of concepts."""
    kind = draft.reference.partition("/")[0]
    if kind in ("MedicationRequest", "MedicationOrder"):
        return MEDICATION in kinds
    return kind not in ("ServiceRequest", "Appointment") or kinds != {MEDICATION}


def gated(when: Clause, about: tuple[str, ...], terminology: Terminology) -> Clause:
    """Return a rule's logic that, where the hook is about orders, first asks whether they concern the rule."""
    members, kinds = frozenset(about), kinds_of(about, terminology)

    def judged(facts: Facts, values: Values) -> Judgement:
        if not facts.about_orders:
            return when(facts, values)
        asked = judge(facts, "about the order", members, kinds)
        return when(facts, values) if asked.verdict is YES else asked

    return judged
