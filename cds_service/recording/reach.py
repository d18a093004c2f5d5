"""
How far back results are kept: as far as a rule can look, with any threshold it is allowed.

Most rules ask for the newest result of a test. Further back look those that compare results over time, as far as
their thresholds may say, and those that put results of about the same time together. What is older makes no
difference to anybody, and a long record holds a lot of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from cds_service.facts.derived import COMPUTED, DERIVED
from cds_service.facts.model import PATIENT, Facts, Measurement
from cds_service.rules.book import RuleBook
from cds_service.rules.model import Rule

# Of each test so many at least: the product looks at three phosphates (facts.calcium), the cards at three results.
FEW = 3
# All results of the last so many days, so that a rule of tomorrow finds something too.
DAYS = 100
# Of any test what was measured so many days before one of those that others are put beside (facts.calcium, .patterns):
# thresholds let partners be 30 days apart, or 7 with an albumin 7 days from that.
BESIDE = 35
ANCHORS = ("calcium-total", "calcium-corrected", "calcium-ionized", "phosphate")
# No rule looks further back for them (days); what is compared over time without a limit is kept for as long as that.
LONGEST, EVER = 400, 36_500
_OVER_TIME = ("lowest", "highest", "rise", "fall")
_FACTS_OVER_TIME = ("phosphate-persistently-high",)


def reach_of(book: RuleBook) -> Mapping[str, int]:
    """Return of each test that rules compare over time how many days they may be told to look back."""
    return book.once("reach of results", lambda: _reach(book))


def _reach(book: RuleBook) -> dict[str, int]:
    found: dict[str, int] = {}
    for rule in book.rules.values():
        for name, days in _compared(rule.document, rule):
            computed = COMPUTED.get(name)
            for test in computed.reads if computed else book.terminology.members(name):
                found[test] = max(days, found.get(test, 0))
    return found


def _compared(node: Any, rule: Rule) -> Iterator[tuple[str, int]]:
    """Yield what a rule, as it is written, compares over time, and over how many days at most."""
    if isinstance(node, Mapping):
        days = rule.thresholds.get(str(node.get("within")))
        far = int(days.high) if days is not None else EVER
        yield from ((str(node[word]), far) for word in _OVER_TIME if word in node)
        if node.get("is") in _FACTS_OVER_TIME:
            yield from ((name, far) for name in DERIVED[node["is"]].reads if name != PATIENT)
    parts = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    for part in parts:
        yield from _compared(part, rule)


def since(facts: Facts) -> int:
    """Return the day (counted from 1970-01-01) from which on every result is kept."""
    first = facts.today - DAYS
    for name in ANCHORS:
        newest: Sequence[Measurement] = tuple(islice(facts.measurements.get(name, ()), FEW))
        for one in newest:
            if facts.today - one.when.last <= LONGEST:
                first = min(first, one.when.first - BESIDE)
    return first
