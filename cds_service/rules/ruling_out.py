"""
What a rule cannot hold without: where none of it is on record, the answer is NO before a clause is judged.

Of some forty rules a patient concerns a few. The others rest on diagnoses, medicines, procedures or tests that the
record does not have; that is seen from the names of what it has. The verdict is the one that the clauses would give.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from cds_service.facts.derived import COMPUTED, DERIVED
from cds_service.facts.evidence import NO, Judgement
from cds_service.facts.model import CONDITIONS, LABS, MEDICATIONS, PROCEDURES, STATEMENTS, Facts
from cds_service.facts.observed import LESIONS
from cds_service.protocol.prefetch import CONCLUSIVE
from cds_service.rules.model import Clause, Outcome, Rule, Values
from cds_service.schemas.strict_yaml import Mapping
from cds_service.terminology import Terminology

_MEASURED = ("latest", "lowest", "highest", "rise", "fall", "positive")
_KINDS = {
    "has": (CONDITIONS,),
    "had": (CONDITIONS,),
    "taking": (MEDICATIONS, STATEMENTS),
    "done": (PROCEDURES,),
    **dict.fromkeys(_MEASURED, (LABS,)),
}


class Need(msgspec.Struct, frozen=True, gc=False):
    """
    One of these concepts has to be on record, once these kinds of data are loaded completely.

    ``observable`` says that Observations may tell of one of them besides.
    """

    concepts: frozenset[str]
    kinds: frozenset[str]
    observable: bool = False

    def __or__(self, other: Need) -> Need:
        """Return the need of two clauses of which one suffices."""
        return Need(self.concepts | other.concepts, self.kinds | other.kinds, self.observable or other.observable)


# What cannot hold at all.
NEVER = Need(frozenset(), frozenset())
RULED_OUT = Judgement(NO, "what this rule rests on is not on record")


class Logic(msgspec.Struct, frozen=True):
    """The logic of a rule, with what it cannot hold without."""

    judge: Clause
    needs: tuple[Need, ...] = ()

    def __call__(self, facts: Facts, values: Values) -> Judgement:
        """Judge, with the trail."""
        return self.judge(facts, values)


class Sieve:
    """
    Finds at once which of many rules a record rules out.

    Every need is a bit of one number: what a record has puts out the bits that it meets, and a rule is ruled out if
    one of its bits is left. That takes 4 us for 34 rules; looking at rule after rule takes 30.
    """

    def __init__(self, asked: Iterable[tuple[Rule, Values]]) -> None:
        self._met_by, self._open_without, self._observable = dict[str, int](), dict[str, int](), 0
        self._rules: list[tuple[int, str, Outcome]] = []
        everything = 0
        for rule, values in asked:
            bits = 0
            for need in rule.when.needs if isinstance(rule.when, Logic) else ():
                bits |= self._add(need, 1 << (everything | bits).bit_length())
            everything |= bits
            if bits:
                self._rules.append((bits, rule.id, Outcome(rule, RULED_OUT, values)))
        self._all = everything

    def _add(self, need: Need, bit: int) -> int:
        for concept in need.concepts:
            self._met_by[concept] = self._met_by.get(concept, 0) | bit
        for kind in need.kinds:
            self._open_without[kind] = self._open_without.get(kind, 0) | bit
        if need.observable:
            self._observable |= bit
        return bit

    def ruled_out(self, facts: Facts) -> dict[str, Outcome]:
        """Return the rules that say NO of these facts, whatever else they hold; none where the hook is about orders."""
        if facts.about_orders:
            return {}
        met = self._observable if facts.observed is not None else 0
        met_by = self._met_by
        for known in (facts.diagnoses, facts.medications, facts.procedures, facts.measurements, facts.answers):
            for concept in known:
                met |= met_by.get(concept, 0)
        for kind, bits in self._open_without.items():
            if facts.states.get(kind) not in CONCLUSIVE:
                met |= bits
        left = self._all & ~met
        return {rule: outcome for bits, rule, outcome in self._rules if bits & left}


def needs(clause: Any, words: Terminology) -> tuple[Need, ...]:
    """Return what a clause, as it is written, cannot hold without."""
    return tuple(_needs(clause, words))


def _needs(clause: Any, words: Terminology) -> Iterator[Need]:
    if not isinstance(clause, Mapping) or "times" in clause:
        return
    if "all" in clause:
        for part in clause["all"]:
            yield from _needs(part, words)
    elif "any" in clause:
        together = _one_of(next(_needs(part, words), None) for part in clause["any"])
        if together is not None:
            yield together
    elif "ordering" in clause:
        yield NEVER  # a call that is not about orders
    elif "is" in clause:
        fact = DERIVED[clause["is"]]
        if fact.rests_on:
            yield _need(fact.rests_on, fact.kinds, words)
    elif word := next((word for word in _KINDS if word in clause), ""):
        computed = COMPUTED.get(clause[word])
        yield _need(computed.reads if computed else words.members(clause[word]), _KINDS[word], words)


def _one_of(either: Iterable[Need | None]) -> Need | None:
    """Return the need of clauses of which one suffices; none where one of them may hold without anything."""
    together = NEVER
    for need in either:
        if need is None:
            return None
        together |= need
    return together


def _need(concepts: Iterable[str], kinds: Iterable[str], words: Terminology) -> Need:
    named = frozenset(concepts)
    # Notes and images have LOINC codes, and may come as Observations (facts/observed.py).
    noted = any(of == "LOINC" for name in named if name in words.concepts for of, _ in words.codes[name])
    return Need(named, frozenset(kinds) | ({LABS} if noted else set()), noted or not named.isdisjoint(LESIONS))
