"""
From YAML to closures: every clause becomes a function of facts and threshold values, once, when the book is loaded.

A clause has exactly one word and the qualifiers that belong to it. Whatever does not read is refused with file,
line and, where a word was mistyped, the word that was probably meant.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from cds_service.facts.evidence import NO, Judgement, count, every, opposite, some, weighed
from cds_service.facts.model import Facts
from cds_service.rules import words
from cds_service.rules.model import Clause, Values
from cds_service.rules.scope import Scope, meant
from cds_service.rules.sharing import shared
from cds_service.schemas.strict_yaml import Mapping, Sequence

JOINERS = ("all", "any", "not", "at_least", "points")


def compile_clause(node: Any, scope: Scope, line: int) -> Clause:
    """Compile one clause. Raises ContentError where it does not read."""
    if not isinstance(node, Mapping):
        scope.fail("A clause must be a word and what it is about.", line, slug="not-a-clause")
    word = _word(node, scope)
    if word in JOINERS:
        return _joined(node, word, scope)
    _check_qualifiers(node, word, scope)
    return shared(node, word, scope, words.WORDS[word].compile(node, scope))


def _word(node: Mapping, scope: Scope) -> str:
    known = [key for key in node if key in words.WORDS or _joins(node, key)]
    qualifiers = {key for word in words.WORDS.values() for key in word.qualifiers}
    for key in node:
        if key not in known and key not in qualifiers:
            scope.fail(
                f'There is no word "{key}".{meant(key, [*words.WORDS, *JOINERS, *qualifiers])}',
                node.lines[key],
                slug="unknown-word",
                remedy="The words are listed in hooks/README.md.",
            )
    if len(known) != 1:
        scope.fail(
            f"A clause needs exactly one word; this one has {len(known)}.",
            node.line,
            slug="one-word",
            remedy=f"The words are: {', '.join([*JOINERS, *words.WORDS])}.",
        )
    return known[0]


def _joins(node: Mapping, key: str) -> bool:
    """``at_least`` joins where it holds a mapping, and narrows where it names a threshold."""
    return key in ("all", "any", "not", "points") or (key == "at_least" and isinstance(node[key], Mapping))


def _joined(node: Mapping, word: str, scope: Scope) -> Clause:
    if len(node) > 1:
        scope.fail(f'"{word}" stands alone in its clause.', node.line, slug="one-word")
    if word == "not":
        inner = compile_clause(node[word], scope, node.lines[word])
        return lambda facts, values: opposite(inner(facts, values))
    if word == "at_least":
        return _enough(node[word], scope)
    if word == "points":
        return _points(node[word], scope, node.lines[word])
    parts = _parts(node[word], scope, node.lines[word])
    if word == "any":
        return lambda facts, values: some("any of", tuple([part(facts, values) for part in parts]))
    return _all(parts)


def _all(parts: tuple[Clause, ...]) -> Clause:
    """Judge clause after clause until one says NO: that decides, and the trail ends with it."""

    def judge(facts: Facts, values: Values) -> Judgement:
        judged: list[Judgement] = []
        for part in parts:
            one = part(facts, values)
            judged.append(one)
            if one.verdict is NO:
                return Judgement(NO, "all of", tuple(judged))
        return every("all of", tuple(judged))

    return judge


def _enough(node: Mapping, scope: Scope) -> Clause:
    if set(node) != {"n", "of"}:
        scope.fail(
            "at_least needs n and of, and nothing else.",
            node.line,
            slug="missing-qualifier",
            remedy="Write at_least: {n: name of a threshold, of: [clauses]}.",
        )
    needed = scope.threshold(node, "n", "n")
    parts = _parts(node.get("of"), scope, node.line)

    def judge(facts: Facts, values: Values) -> Judgement:
        number = int(Decimal(values[needed]))
        return count(f"at least {number} of", tuple(part(facts, values) for part in parts), number)

    return judge


def _points(node: Any, scope: Scope, line: int) -> Clause:
    """``points``: each part that holds adds its weight; so many are needed."""
    if not isinstance(node, Mapping) or set(node) != {"at_least", "of"}:
        scope.fail(
            "points needs at_least and of, and nothing else.",
            line,
            slug="missing-qualifier",
            remedy="Write points: {at_least: threshold, of: [{weight: threshold, when: clause}]}.",
        )
    needed = scope.threshold(node, "at_least", "points")
    entries = node["of"]
    if not isinstance(entries, Sequence) or not entries:
        scope.fail("Here a list of weights and clauses is needed.", node.lines["of"], slug="not-a-list")
    parts = [_weighted(entry, scope, at) for entry, at in zip(entries, entries.lines, strict=True)]

    def judge(facts: Facts, values: Values) -> Judgement:
        enough, weights = Decimal(values[needed]), tuple([Decimal(values[weight]) for weight, _ in parts])
        judged = tuple([part(facts, values) for _, part in parts])
        return weighed(f"at least {enough.normalize():f} points", judged, weights, enough)

    return judge


def _weighted(entry: Any, scope: Scope, line: int) -> tuple[str, Clause]:
    if not isinstance(entry, Mapping) or set(entry) != {"weight", "when"}:
        scope.fail(
            "A part of points has a weight and a when, and nothing else.",
            line,
            slug="missing-qualifier",
            remedy="Write {weight: name of a threshold in points, when: clause}.",
        )
    weight = scope.threshold(entry, "weight", "points")
    if scope.thresholds[weight].low < 0:
        scope.fail("A weight below zero would let a missing fact raise the score.", line, slug="wrong-value")
    return weight, compile_clause(entry["when"], scope, entry.lines["when"])


def _parts(node: Any, scope: Scope, line: int) -> tuple[Clause, ...]:
    if not isinstance(node, Sequence) or not node:
        scope.fail("Here a list of clauses is needed.", line, slug="not-a-list")
    return tuple(compile_clause(item, scope, at) for item, at in zip(node, node.lines, strict=True))


def _check_qualifiers(node: Mapping, word: str, scope: Scope) -> None:
    allowed = words.WORDS[word].qualifiers
    for key in node:
        if key != word and key not in allowed:
            scope.fail(
                f'"{key}" does not go with "{word}".',
                node.lines[key],
                slug="wrong-qualifier",
                remedy=f'With "{word}" go: {", ".join(allowed) or "no qualifiers"}.',
            )
