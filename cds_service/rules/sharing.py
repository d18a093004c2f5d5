"""Clauses that several rules share are judged once for a patient, however many rules ask."""

from __future__ import annotations

from collections.abc import Hashable

from cds_service.facts.evidence import Judgement
from cds_service.facts.model import Facts
from cds_service.rules.model import Clause, Values
from cds_service.rules.scope import Scope
from cds_service.schemas.strict_yaml import Mapping

# Every question that was ever put, numbered: a number is found in a patient's memory faster than a question.
_numbers: dict[Hashable, int] = {}


def shared(node: Mapping, word: str, scope: Scope, judge: Clause) -> Clause:
    """
    Remember what a clause said in the memory of the facts it was asked about.

    Two clauses are one question if they are written alike and their thresholds have the same values. With the same
    facts they have the same answer: that rules are pure is what makes this sound.
    """
    words = id(scope.terminology)
    parts = tuple(node.items())
    numbers = {key for key, name in parts if name in scope.thresholds and (key != word or word == "enabled")}

    def question(values: Values) -> int:
        told = (words, tuple([(key, values[name] if key in numbers else name) for key, name in parts]))
        return _numbers.setdefault(told, len(_numbers))

    asked: tuple[Values, int] | None = None

    def ask(facts: Facts, values: Values) -> Judgement:
        nonlocal asked  # as rules.model.kept does, without a call of its own: this is asked most of all
        last = asked
        if last is None or last[0] is not values:
            last = asked = (values, question(values))
        memo, number = facts.memo, last[1]
        found: Judgement | None = memo.get(number)
        if found is None:
            found = memo[number] = judge(facts, values)
        return found

    return ask
