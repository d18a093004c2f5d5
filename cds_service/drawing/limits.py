"""Which thresholds of a rule are limits of a test that is drawn, as the rule's own lines say it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from cds_service.drawing.model import Limit
from cds_service.facts import age
from cds_service.facts.calcium import CORRECTED, PRODUCT
from cds_service.facts.model import Facts
from cds_service.facts.ratio import PTH_RATIO
from cds_service.publishing import phrases
from cds_service.rules.measuring import LIMITS
from cds_service.rules.model import Outcome

MEASURING = ("latest", "lowest", "highest")
# The qualifiers of derived facts that are limits of a test, as facts/derived.py names them.
_OF_FACTS = {
    "calcium_above": (CORRECTED, "above"),
    "calcium_below": (CORRECTED, "below"),
    "ionized_above": ("calcium-ionized", "above"),
    "phosphate_above": ("phosphate", "above"),
    "phosphate_below": ("phosphate", "below"),
    "product_above": (PRODUCT, "above"),
    "alp_above": ("alp", "above"),
    "egfr_below": ("egfr", "below"),
}
Node = Mapping[str, Any]


class Asked(msgspec.Struct, frozen=True):
    """
    One comparison of a rule: a test, how it is compared, the threshold; ``upper`` is the limit PTH is told.

    ``other`` is the threshold where the same line ends. ``bare`` comparisons are drawn without shade: what they allow
    is shaded by their partner, or the rule asks for the opposite.
    """

    test: str
    key: str
    threshold: str
    upper: str = ""
    other: str = ""
    bare: bool = False


def limits(outcomes: Iterable[Outcome], facts: Facts) -> dict[str, list[Limit]]:
    """Return the limits of every test that the rules compare, each once, with all the rules that have it."""
    found: dict[str, dict[tuple[object, ...], Limit]] = {}
    for outcome in outcomes:
        for asked in _asked_by(outcome, facts):
            test, limit = _limit(asked, outcome, facts)
            known = found.setdefault(test, {})
            key = (limit.value, limit.sign)
            if key in known:
                rules = tuple(dict.fromkeys((*known[key].rules, *limit.rules)))
                limit = msgspec.structs.replace(known[key], rules=rules, shaded=known[key].shaded or limit.shaded)
            known[key] = limit
    return {test: sorted(known.values(), key=lambda one: one.value) for test, known in found.items()}


def _asked_by(outcome: Outcome, facts: Facts) -> Iterator[Asked]:
    document = outcome.rule.document
    escalations = [one["when"] for one in document.get("card", {}).get("escalate") or ()]
    for node in (document.get("when") or {}, *escalations):
        yield from _asked(node, outcome, facts)


def _asked(node: Node, outcome: Outcome, facts: Facts, *, denied: bool = False) -> Iterator[Asked]:
    """Yield the comparisons at or below a node; those of ages that the patient does not have are left out."""
    together: list[Node] = node.get("all") or []
    if any(_excludes(one, outcome, facts) for one in together):
        return
    for word in ("all", "any"):
        for one in node.get(word) or ():
            yield from _asked(one, outcome, facts, denied=denied)
    for many in (node.get("at_least"), node.get("points")):
        for one in many.get("of", ()) if isinstance(many, Mapping) else ():
            yield from _asked(one.get("when", one), outcome, facts, denied=denied)
    if isinstance(node.get("not"), Mapping):
        yield from _asked(node["not"], outcome, facts, denied=not denied)
    yield from _compared(node, denied=denied)


def _compared(node: Node, *, denied: bool) -> Iterator[Asked]:
    keys = [key for key in LIMITS if key in node]
    for word in (word for word in MEASURING if word in node):
        for place, key in enumerate(keys):  # LIMITS has the lower bounds first
            other = node[keys[1]] if len(keys) == 2 and place == 0 else ""
            yield Asked(node[word], key, node[key], node.get("upper_limit", ""), other, denied or place > 0)
    if "is" in node:
        for qualifier, (test, key) in _OF_FACTS.items():
            if qualifier in node:
                yield Asked(test, key, node[qualifier], bare=denied)


def _excludes(node: Node, outcome: Outcome, facts: Facts) -> bool:
    """Say whether a line asks for an age that the patient surely does not have."""
    born = facts.person.born
    if "age" not in node or born is None:
        return False
    least, greatest = (age.days if node["age"] == "days" else age.years)(born, facts.today)
    bounds = {key: Decimal(outcome.values[node[key]]) for key in LIMITS if key in node}
    return any(_outside(key, bound, least, greatest) for key, bound in bounds.items())


def _outside(key: str, bound: Decimal, least: int, greatest: int) -> bool:
    if key in ("above", "at_least"):
        return greatest < bound or (key == "above" and greatest == bound)
    return least > bound or (key == "below" and least == bound)


def _limit(asked: Asked, outcome: Outcome, facts: Facts) -> tuple[str, Limit]:
    """Return the test that a comparison is drawn with, and the limit in its unit."""
    rule, value = outcome.rule, Decimal(outcome.values[asked.threshold])
    threshold = rule.thresholds[asked.threshold]
    test, said = asked.test, phrases.quantity(value, threshold.unit)
    to = Decimal(outcome.values[asked.other]) if asked.other else None
    if test == PTH_RATIO:
        test, upper = "pth", _upper(asked, outcome, facts)
        said = f"{phrases.quantity(value * upper, 'pg/mL')} ({phrases.number(value)} x ULN)"
        value, to = value * upper, to and to * upper
    exclusive = asked.key in ("above", "below")
    upward = asked.key in ("above", "at_least")
    return test, Limit(value, upward, exclusive, said, (rule.number,), threshold.means, shaded=not asked.bare, to=to)


def _upper(asked: Asked, outcome: Outcome, facts: Facts) -> Decimal:
    """Return the upper limit of normal that the newest PTH is measured against."""
    newest = next(iter(facts.measurements.get("pth", ())), None)
    return (newest.upper if newest else None) or Decimal(outcome.values[asked.upper])
