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
        judgement = rule.when(facts, values)
        if judgement.verdict is not YES:
            return Outcome(rule, judgement, values)
        urgency = _urgency(rule, judgement, facts, values)
        judgement.say()  # Here, where a wording that fails is the failure of this rule alone.
    except Exception as failure:  # noqa: BLE001 - whatever a rule raises must not reach its neighbours
        name = type(failure).__name__
        return Outcome(rule, Judgement(UNKNOWN, f"{rule.title}: the rule itself failed ({name})"), values, failed=name)
    return Outcome(rule, judgement, values, *urgency)


def _urgency(rule: Rule, judgement: Judgement, facts: Facts, values: Values) -> tuple[str, tuple[str, ...]]:
    """
    Return the indicator, raised by each escalation that is true and higher, and the summaries that go with it.

    One that raises nothing takes the place of the usual summary only.
    """
    indicator, wordings = rule.card.indicator, rule.card.summary
    for escalation in rule.card.escalate:
        if _rank(escalation.to) <= _rank(indicator) if escalation.to else wordings is not rule.card.summary:
            continue
        if escalation.to == "critical" and _rests_on_a_name(judgement):
            continue
        if escalation.when(facts, values).verdict is YES:
            indicator, wordings = escalation.to or indicator, escalation.summary or wordings
    return ("warning" if indicator == "critical" and _rests_on_a_name(judgement) else indicator), wordings


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
