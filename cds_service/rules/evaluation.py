"""One rule, one patient, one Outcome: the verdict, its trail, and how urgent the card is."""

from __future__ import annotations

from cds_service.facts.evidence import UNKNOWN, YES, Judgement
from cds_service.facts.model import Facts, Medication
from cds_service.rules.model import INDICATORS, Outcome, Rule, Values


def evaluate(rule: Rule, facts: Facts, values: Values) -> Outcome:
    """
    Judge one rule on a patient's facts with the thresholds in force.

    A rule that breaks is UNKNOWN and says so: one rule that fails never silences another (HOUSE.md, invariant 6).
    """
    try:
        judgement = rule.evaluate(facts, values)
        indicator = _indicator(rule, judgement, facts, values) if judgement.verdict is YES else ""
    except Exception as failure:  # noqa: BLE001 - whatever a rule raises must not reach its neighbours
        name = type(failure).__name__
        return Outcome(rule, Judgement(UNKNOWN, f"{rule.title}: the rule itself failed ({name})"), values, failed=name)
    return Outcome(rule, judgement, values, indicator)


def _indicator(rule: Rule, judgement: Judgement, facts: Facts, values: Values) -> str:
    """Return the rule's usual indicator, raised by each escalation that is true and higher."""
    indicator = rule.card.indicator
    for escalation in rule.card.escalate:
        if _rank(escalation.to) > _rank(indicator) and escalation.when(facts, values).verdict is YES:
            indicator = escalation.to
    return "warning" if indicator == "critical" and _rests_on_a_name(judgement) else indicator


def _rank(indicator: str) -> int:
    return INDICATORS.index(indicator)


def _rests_on_a_name(judgement: Judgement) -> bool:
    """
    Say whether a medication behind the finding is known by its name only, which never makes a card critical.

    Where the same medication is on record with a code as well, the finding rests on the code (KNOWLEDGE 3.1).
    """
    medications = [item for item in judgement.supporting() if isinstance(item, Medication)]
    coded = {item.concept for item in medications if item.how != "name"}
    return any(item.how == "name" and item.concept not in coded for item in medications)
