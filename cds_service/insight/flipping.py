"""
The smallest change to a record that would make a rule say otherwise: "would fire if phosphate were above 5.5 mg/dL".

Every change that is named was tried: the rule was asked again with it, and said what is claimed. Smallest is meant
among what is looked for here, one clause after the other; it is no proof that nothing smaller exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from cds_service.facts.derived import COMPUTED, DERIVED
from cds_service.facts.evidence import NO, YES, Judgement, Verdict, turned
from cds_service.facts.model import Facts
from cds_service.insight.changes import NEW, VALUE, Change, all_applied
from cds_service.insight.trying import Leaf, Trial, smallest
from cds_service.rules import ordering
from cds_service.rules.compiler import JOINERS, compile_clause
from cds_service.rules.evaluation import evaluate
from cds_service.rules.model import Clause, Outcome, Rule, Values
from cds_service.rules.scope import Scope
from cds_service.rules.words import WORDS
from cds_service.terminology import Terminology

Changes = tuple[Change, ...]
_ROUNDS = 3


class Flip(msgspec.Struct, frozen=True):
    """What would make a rule say otherwise: ``then`` is what it would say with all of ``changes``."""

    rule: str
    now: Verdict
    then: Verdict
    changes: Changes

    @property
    def words(self) -> str:
        """Say it in a sentence."""
        would = "Would fire" if self.then is YES else "Would not fire"
        return f"{would} if {', and '.join(change.words for change in self.changes)}."


class Node(msgspec.Struct, frozen=True):
    """A clause of a rule: itself, and the clauses below it; ``leaf`` where there are none."""

    judge: Clause
    word: str = ""
    below: tuple[Node, ...] = ()
    leaf: Leaf | None = None
    needed: str = ""
    weights: tuple[str, ...] = ()


def flip(outcome: Outcome, facts: Facts, words: Terminology, tree: Node | None = None) -> Flip | None:
    """
    Return the smallest change found that would flip a rule; None where none was found.

    A rule that fired would not; one that did not fire, or could not tell, would.
    """
    if outcome.failed:
        return None
    rule, values = outcome.rule, outcome.values
    want = NO if outcome.verdict is YES else YES
    found = Solver(words, want).solve(tree or tree_of(rule, words), facts, values, want)
    if not found:
        return None
    works: Callable[[Changes], bool] = lambda changes: _says(rule, changes, facts, values) is want  # noqa: E731
    joined = _joined(found)
    kept = _needed(joined if works(joined) else found, works)
    return Flip(rule.id, outcome.verdict, want, kept) if kept else None


def _says(rule: Rule, changes: Changes, facts: Facts, values: Values) -> Verdict:
    return evaluate(rule, *all_applied(changes, facts, values)).verdict


def _joined(changes: Changes) -> Changes:
    """Where two clauses ask for two numbers of one test, name the later, which holds for both, once."""
    found: dict[str, Change] = {}
    for change in changes:
        first = found.get(change.about) if change.kind in (NEW, VALUE) else None
        if first is not None and first.kind in (NEW, VALUE):
            words = f"{change.words.rpartition(' (')[0]} ({first.words.rpartition(' (')[2]}"
            found[change.about] = msgspec.structs.replace(change, kind=first.kind, words=words)
        else:
            found[change.about if change.kind in (NEW, VALUE) else f"{change.kind} {change.about}"] = change
    return tuple(found.values())


def _needed(changes: Changes, works: Callable[[Changes], bool]) -> Changes:
    """Leave out every change without which the others work too, the largest first; nothing where they do not work."""
    if not works(changes):
        return ()
    for one in sorted(changes, key=lambda change: -change.cost):
        fewer = tuple(other for other in changes if other is not one)
        if fewer and works(fewer):
            changes = fewer
    return changes


# --- the clauses of a rule -----------------------------------------------------------------------------------------


def tree_of(rule: Rule, words: Terminology) -> Node:
    """Return the clauses of a rule, each to be asked by itself."""
    root = _node(rule.document["when"], rule, words, rule.document.lines["when"])  # type: ignore[attr-defined]
    if not rule.about_order:
        return root
    members = frozenset(rule.about_order)
    kinds = ordering.kinds_of(members, words)

    def about(facts: Facts, _values: Values) -> Judgement:
        if not facts.about_orders:
            return Judgement(YES, "this call is not about orders")
        return ordering.judge(facts, "about the order", members, kinds)

    gate = Node(about, leaf=Leaf(about, (), rule.about_order, "ordering"))
    return Node(rule.when, "all", (gate, root))


def _node(clause: Any, rule: Rule, words: Terminology, line: int) -> Node:
    scope = Scope(rule.place, words, rule.thresholds, set(), {}, set())
    judge = compile_clause(clause, scope, line)
    word = next((one for one in clause if one in JOINERS and _joins(clause, one)), "")
    if not word:
        return Node(judge, leaf=_leaf(clause, scope, rule, judge))
    inner, parts = clause[word], list[Any]()
    if word == "points":
        parts = [part["when"] for part in inner["of"]]
        weights, needed = tuple(part["weight"] for part in inner["of"]), inner["at_least"]
        return Node(judge, word, _nodes(parts, rule, words, line), None, needed, weights)
    parts = [inner] if word == "not" else inner["of"] if word == "at_least" else inner
    needed = inner["n"] if word == "at_least" else ""
    return Node(judge, word, _nodes(parts, rule, words, line), None, needed)


def _nodes(parts: list[Any], rule: Rule, words: Terminology, line: int) -> tuple[Node, ...]:
    return tuple(_node(part, rule, words, line) for part in parts)


def _joins(clause: Any, word: str) -> bool:
    """``at_least`` joins where it holds a mapping, and narrows where it names a threshold."""
    return word != "at_least" or isinstance(clause[word], Mapping)


def _leaf(clause: Any, scope: Scope, rule: Rule, judge: Clause) -> Leaf:
    word = next(one for one in clause if one in WORDS)
    named = [
        rule.thresholds[name]
        for key, name in clause.items()
        if (key != word or word == "enabled") and name in rule.thresholds
    ]
    return Leaf(
        judge,
        tuple(_reads(clause, word, scope)),
        tuple(sorted(scope.orders)),
        word,
        str(clause[word]),
        tuple(named),
    )


def _reads(clause: Any, word: str, scope: Scope) -> Iterator[str]:
    """Yield the concepts that a clause reads, in the order in which it, or its derived fact, names them."""
    name, seen = str(clause[word]), set[str]()
    named = DERIVED[name].reads if word == "is" else COMPUTED[name].reads if name in COMPUTED else (name,)
    for one in (*named, *sorted(scope.reads)):
        for concept in scope.terminology.members(one):
            if concept not in seen and (one in scope.reads or concept in scope.reads or word == "is"):
                seen.add(concept)
                yield concept


# --- the search ------------------------------------------------------------------------------------------------------


class Solver:
    """Looks for changes clause by clause: what must all hold is made to, of what suffices the nearest is."""

    def __init__(self, words: Terminology, want: Verdict) -> None:
        self.words, self.want = words, want

    def solve(self, node: Node, facts: Facts, values: Values, want: Verdict) -> Changes | None:
        """Return changes after which a clause says what is wanted; () where it does already, None if none is known."""
        if node.judge(facts, values).verdict is want:
            return ()
        if node.leaf is not None:
            return smallest(Trial(node.leaf, facts, values, want, self.words))
        if node.word == "not":
            return self.solve(node.below[0], facts, values, turned(want))
        if node.word in ("all", "any"):
            every = (node.word == "all") is (want is YES)
            return self._every(node, facts, values, want) if every else self._nearest(node, facts, values, want)
        return self._enough(node, facts, values, want)

    def _every(self, node: Node, facts: Facts, values: Values, want: Verdict) -> Changes | None:
        """
        Make every clause below say what is wanted, each with the changes before it in place.

        A later change may undo what an earlier one did: then they are gone through once more.
        """
        found: Changes = ()
        for _ in range(_ROUNDS):
            for one in node.below:
                more = self.solve(one, facts, values, want)
                if more is None:
                    return None
                facts, values = all_applied(more, facts, values)
                found += more
            if node.judge(facts, values).verdict is want:
                break
        return found

    def _nearest(self, node: Node, facts: Facts, values: Values, want: Verdict) -> Changes | None:
        found = [one for below in node.below if (one := self.solve(below, facts, values, want))]
        return min(found, key=_cost, default=None)

    def _enough(self, node: Node, facts: Facts, values: Values, want: Verdict) -> Changes | None:
        """Turn clauses below, the cheapest for its weight first, until the count or the points decide."""
        weights = [Decimal(values[name]) for name in node.weights] or [Decimal(1)] * len(node.below)
        pairs = [
            (self.solve(below, facts, values, want), weight)
            for below, weight in zip(node.below, weights, strict=True)
            if weight
        ]
        ready = sorted(
            ((one, weight) for one, weight in pairs if one), key=lambda pair: _cost(pair[0]) / float(pair[1])
        )
        found: Changes = ()
        for changes, _ in ready:
            found += changes
            if node.judge(*all_applied(found, facts, values)).verdict is want:
                return found
        return None


def _cost(changes: Changes) -> float:
    return sum(change.cost for change in changes)
