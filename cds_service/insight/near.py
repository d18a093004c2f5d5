"""Near misses: patients for whom a rule would say otherwise if one of its limits lay 5 % higher or lower."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date
from decimal import Decimal

import msgspec

from cds_service.facts.derived import COMPUTED
from cds_service.facts.evidence import NO, YES, Verdict
from cds_service.facts.model import Facts
from cds_service.rules.book import RuleBook, ServiceRules
from cds_service.rules.model import Rule, Value, Values

NEAR = Decimal("0.05")
RUNNING = ("active", "pilot")


class Probe(msgspec.Struct, frozen=True):
    """A limit of a rule, and the rule's thresholds with that limit 5 % lower and 5 % higher."""

    rule: Rule
    threshold: str
    values: Values
    moved: tuple[Values, Values]


class Near(msgspec.Struct, frozen=True):
    """A limit, and for how many patients the rule is silent and nearly speaks, or speaks and nearly does not."""

    rule: str
    title: str
    threshold: str
    means: str
    value: Value
    unit: str
    nearly: int
    barely: int


class Hits(msgspec.Struct, frozen=True):
    """Of one patient: the limits (rule, threshold) at which a rule nearly spoke, and barely did."""

    nearly: frozenset[tuple[str, str]] = frozenset()
    barely: frozenset[tuple[str, str]] = frozenset()


def probes(book: RuleBook, service: ServiceRules, day: date) -> list[Probe]:
    """Return every limit on a measured number of the rules that a service runs, as of a day."""
    units = {analyte.unit for analyte in book.terminology.analytes.values() if analyte.unit}
    units |= {computed.unit for computed in COMPUTED.values()}
    found = []
    for rule in service.rules:
        if rule.status in RUNNING:
            values = book.values(rule, day)
            found += [
                Probe(rule, name, values, (_moved(values, name, 1 - NEAR), _moved(values, name, 1 + NEAR)))
                for name, threshold in rule.thresholds.items()
                if threshold.unit in units and not isinstance(values[name], bool)
            ]
    return found


def _moved(values: Values, name: str, factor: Decimal) -> Values:
    return {**values, name: Decimal(values[name]) * factor}


def hits(facts: Facts, tried: Iterable[Probe]) -> Hits:
    """Return at which limits a patient lies near; a rule that cannot tell is near nothing."""
    nearly, barely = set[tuple[str, str]](), set[tuple[str, str]]()
    said: dict[str, Verdict | None] = {}
    for probe in tried:
        rule = probe.rule.id
        if rule not in said:
            said[rule] = _verdict(probe.rule, facts, probe.values)
        now = said[rule]
        if now in (YES, NO) and any(_verdict(probe.rule, facts, moved) is _other(now) for moved in probe.moved):
            (nearly if now is NO else barely).add((rule, probe.threshold))
    return Hits(frozenset(nearly), frozenset(barely))


def _verdict(rule: Rule, facts: Facts, values: Values) -> Verdict | None:
    try:
        return rule.when(facts, values).verdict
    except Exception:  # noqa: BLE001 - a rule that breaks on these facts is near nothing
        return None


def _other(verdict: Verdict) -> Verdict:
    return NO if verdict is YES else YES


def counted(of_patients: Iterable[Hits], tried: Iterable[Probe]) -> list[Near]:
    """Count patients at each limit, where there are most first; limits that nobody is near are left out."""
    nearly, barely = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for one in of_patients:
        nearly.update(one.nearly)
        barely.update(one.barely)
    known = {(probe.rule.id, probe.threshold): probe for probe in tried}
    found = [_near(known[key], nearly[key], barely[key]) for key in {*nearly, *barely} if key in known]
    return sorted(found, key=lambda one: (-(one.nearly + one.barely), one.rule, one.threshold))


def _near(probe: Probe, nearly: int, barely: int) -> Near:
    threshold = probe.rule.thresholds[probe.threshold]
    value = probe.values[probe.threshold]
    return Near(
        probe.rule.id, probe.rule.title, probe.threshold, threshold.means, value, threshold.unit, nearly, barely
    )
