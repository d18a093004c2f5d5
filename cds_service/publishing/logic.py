"""The logic of a rule in words: the same tree that is compiled, told as sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from cds_service.facts.derived import COMPUTED
from cds_service.publishing import phrases
from cds_service.rules.measuring import label_of
from cds_service.rules.model import Rule, Values
from cds_service.rules.words import WORDS
from cds_service.terminology import Terminology

Node = Mapping[str, Any]

HOW_TO_READ = (
    "Every line is YES, NO or UNKNOWN. A rule fires on YES only.",
    (
        '"Not on record" is NO. "Not loaded", a date too vague to decide, or "more than 6.0" against a limit of 7.0 is '
        "UNKNOWN."
    ),
    (
        "Of lines that must all hold, one NO decides; of lines of which one suffices, one YES decides, whatever else "
        "is UNKNOWN. The opposite of UNKNOWN is UNKNOWN."
    ),
    "Where a rule cannot tell it stays silent, and the answer names it with what is missing.",
    (
        "Preliminary, cancelled and erroneous results, refuted or provisional diagnoses, stopped medicines, family "
        "history, unknown units and impossible values never count."
    ),
)


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the logic, with the lines below it."""

    text: str
    steps: tuple[Step, ...] = ()


class Teller(msgspec.Struct, frozen=True):
    """Tells clauses of one rule, with the threshold values of one day."""

    rule: Rule
    words: Terminology
    values: Values

    def tell(self, node: Node) -> Step:
        """Say a clause in words."""
        joiner = next((key for key in JOINERS if _joins(node, key)), None)
        if joiner:
            return JOINERS[joiner](self, node[joiner])
        word = next((key for key in node if key in WORDS), next(iter(node)))
        return Step(SAYINGS.get(word, _otherwise)(self, node, word))

    def steps(self, nodes: list[Node]) -> tuple[Step, ...]:
        """Say several clauses."""
        return tuple(self.tell(node) for node in nodes)

    def amount(self, name: str) -> str:
        """Return the value of a threshold in force, with its unit."""
        threshold = self.rule.thresholds[name]
        return phrases.quantity(self.values[name], threshold.unit)

    def label(self, name: str) -> str:
        """Return what a concept or a measurement is called."""
        return label_of(self.words, name) if name in COMPUTED else self.words.label(name)

    def dated(self, node: Node) -> str:
        """Say how long ago a thing may be."""
        return f", at most {self.amount(node['within'])} ago" if "within" in node else ""

    def aged(self, node: Node) -> str:
        """Say how old a result may be, and how far apart its parts may lie."""
        age = f", at most {self.amount(node['within'])} old" if "within" in node else ""
        parts = f", its parts at most {self.amount(node['paired_within'])} apart" if "paired_within" in node else ""
        limit = f", upper limit {self.amount(node['upper_limit'])} if not reported" if "upper_limit" in node else ""
        return age + parts + limit

    def limits(self, node: Node) -> str:
        """Say the limits of a clause: "above 5.5 mg/dL and at most 7 mg/dL"."""
        return " and ".join(f"{said} {self.amount(node[key])}" for key, said in phrases.LIMITS.items() if key in node)


def _joins(node: Node, key: str) -> bool:
    """``at_least`` joins where it holds a mapping, and narrows where it names a threshold."""
    return key in node and (key != "at_least" or isinstance(node[key], Mapping))


def _all(teller: Teller, inner: list[Node]) -> Step:
    return Step("all of these hold:", teller.steps(inner))


def _any(teller: Teller, inner: list[Node]) -> Step:
    return Step("at least one of these holds:", teller.steps(inner))


def _not(teller: Teller, inner: Node) -> Step:
    told = teller.tell(inner)
    return Step(f"not so: {told.text}", told.steps)


def _at_least(teller: Teller, inner: Node) -> Step:
    return Step(f"at least {teller.amount(inner['n'])} of these hold:", teller.steps(inner["of"]))


def _points(teller: Teller, inner: Node) -> Step:
    told = [(teller.amount(part["weight"]), teller.tell(part["when"])) for part in inner["of"]]
    steps = tuple(Step(f"{weight} where {step.text}", step.steps) for weight, step in told)
    return Step(f"these add up to at least {teller.amount(inner['at_least'])}:", steps)


def _has(teller: Teller, node: Node, word: str) -> str:
    return f"active, confirmed diagnosis: {teller.label(node[word])}{teller.dated(node)}"


def _had(teller: Teller, node: Node, word: str) -> str:
    return f"confirmed diagnosis, active or past: {teller.label(node[word])}{teller.dated(node)}"


def _taking(teller: Teller, node: Node, word: str) -> str:
    return f"medication active today: {teller.label(node[word])}{teller.dated(node)}"


def _ordering(teller: Teller, node: Node, word: str) -> str:
    return f"the order being made: {teller.label(node[word])}"


def _done(teller: Teller, node: Node, word: str) -> str:
    times = f", at least {teller.amount(node['times'])} times" if "times" in node else ""
    return f"procedure carried out: {teller.label(node[word])}{times}{teller.dated(node)}"


def _age(teller: Teller, node: Node, _word: str) -> str:
    return f"age {teller.limits(node)}"


def _sex(_teller: Teller, node: Node, word: str) -> str:
    return f"recorded sex is {node[word]}"


def _is(teller: Teller, node: Node, word: str) -> str:
    fact = name_of_fact(node[word])
    told = [phrases.qualifier(key, teller.amount(name)) for key, name in node.items() if key != word]
    return f"{fact} ({', '.join(told)})" if told else fact


def _enabled(teller: Teller, node: Node, word: str) -> str:
    return f"this setting is on (now {teller.amount(node[word])}): {teller.rule.thresholds[node[word]].means}"


def _result(teller: Teller, node: Node, word: str) -> str:
    newest = {"latest": "newest", "lowest": "lowest", "highest": "highest"}[word]
    limits = teller.limits(node)
    return f"{newest} usable {teller.label(node[word])}{teller.aged(node)}: {limits or 'on record'}"


def _change(teller: Teller, node: Node, word: str) -> str:
    label, within = teller.label(node[word]), f"within {teller.amount(node['within'])}"
    if "by_at_least" in node:
        return (
            f"{label} {'rose' if word == 'rise' else 'fell'} by at least {teller.amount(node['by_at_least'])} {within}"
        )
    factor = Decimal(teller.values[node["by_factor"]])
    if word == "rise":
        return f"{label} rose to at least {phrases.number(factor)} times the earlier value {within}"
    # A fall to the earlier value divided by 1.1111 is one of 10 percent.
    return (
        f"{label} fell by at least {phrases.number(((1 - 1 / factor) * 100).quantize(Decimal('0.1')))} percent {within}"
    )


def _not_done(teller: Teller, node: Node, word: str) -> str:
    return f"no {teller.label(node[word])} that can be relied on in the last {teller.amount(node['within'])}"


def _positive(teller: Teller, node: Node, word: str) -> str:
    return f"newest {teller.label(node[word])}{teller.aged(node)}: positive"


def _otherwise(teller: Teller, node: Node, word: str) -> str:
    """Say a word that has no sentence of its own yet, so that a new word never hides a rule."""
    more = [
        phrases.qualifier(key, teller.amount(name) if name in teller.rule.thresholds else str(name))
        for key, name in node.items()
        if key != word
    ]
    return ", ".join([f"{word.replace('_', ' ')}: {teller.label(str(node[word]))}", *more])


def name_of_fact(name: str) -> str:
    """Return what a derived fact is called in a sentence."""
    return phrases.FACTS[name][0] if name in phrases.FACTS else name.replace("-", " ")


def clauses(node: Any) -> Iterator[Node]:
    """Yield every mapping at or below a node of a rule's file."""
    if isinstance(node, Mapping):
        yield node
        for inner in node.values():
            yield from clauses(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from clauses(inner)


JOINERS: dict[str, Callable[[Teller, Any], Step]] = {
    "all": _all,
    "any": _any,
    "not": _not,
    "at_least": _at_least,
    "points": _points,
}
SAYINGS: dict[str, Callable[[Teller, Node, str], str]] = {
    "has": _has,
    "had": _had,
    "taking": _taking,
    "ordering": _ordering,
    "done": _done,
    "age": _age,
    "sex": _sex,
    "is": _is,
    "enabled": _enabled,
    "latest": _result,
    "lowest": _result,
    "highest": _result,
    "rise": _change,
    "fall": _change,
    "not_done": _not_done,
    "positive": _positive,
}
