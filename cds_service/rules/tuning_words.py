"""A decision of an admin in words, and whether a second person has to agree to it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal

from cds_service.rules.book import RuleBook
from cds_service.rules.model import INDICATORS, Rule, Threshold, Value
from cds_service.rules.tuning_check import rule_of, threshold_of
from cds_service.rules.tuning_model import Tuning, excepted, key_of, kind_of

# ADMIN.md, "Lifecycle": so many silent evaluations, or so many days of them, before a rule shows cards.
ENOUGH_EVALUATIONS, ENOUGH_DAYS = 200, 14
_STATUSES = {
    "draft": "is a draft: it is not asked",
    "pilot": "is in pilot: asked silently and counted, without cards",
    "active": "is active: it shows cards",
    "retired": "is retired: it is not asked",
}


def describe(tuning: Tuning, book: RuleBook) -> str:
    """Say a decision in words, with its unit and its days."""
    rule = rule_of(book, tuning.rule, tuning.place)
    said = _SAYING[kind_of(tuning.name)](tuning, rule, book)
    end = f" up to the day before {tuning.until.isoformat()}" if tuning.until else ""
    return f"{rule.title}: {said}, from {tuning.since.isoformat()} on{end}"


def _threshold(tuning: Tuning, rule: Rule, _book: RuleBook) -> str:
    threshold = threshold_of(rule, tuning.name)
    if isinstance(tuning.value, bool):
        return f"{threshold.means} is switched {'on' if tuning.value else 'off'}"
    return f"{threshold.means} is {tuning.value} {threshold.unit}".rstrip()


def _status(tuning: Tuning, _rule: Rule, _book: RuleBook) -> str:
    return f"the rule {_STATUSES[str(tuning.value)]}"


def _indicator(tuning: Tuning, _rule: Rule, _book: RuleBook) -> str:
    return f"its card is usually {tuning.value}"


def _quiet_hours(tuning: Tuning, _rule: Rule, _book: RuleBook) -> str:
    return f"it stays quiet for {tuning.value} hours after an override"


def _reason(tuning: Tuning, _rule: Rule, book: RuleBook) -> str:
    standard = book.terminology.override_reasons[key_of(tuning.name)].display
    if tuning.value == "":
        return f'the override reason "{standard}" has its usual wording again'
    return f'the override reason "{standard}" is worded "{tuning.value}"'


def _rollout(tuning: Tuning, _rule: Rule, _book: RuleBook) -> str:
    return f"its card is shown in {tuning.value} of 100 encounters"


def _exception(tuning: Tuning, _rule: Rule, book: RuleBook) -> str:
    if tuning.value == "":
        return f"the exception {key_of(tuning.name)} has ended"
    kind, of = excepted(tuning)
    some = {
        "user": f"users of the kind {', '.join(of)}",
        "client": f"calls of {', '.join(of)}",
        "diagnosis": f"patients with {' or '.join(map(book.terminology.label, of))}",
        "patients": f"{len(of)} patient{'s' if len(of) > 1 else ''}",
    }
    return f"no card for {some[kind]} (exception {key_of(tuning.name)})"


_SAYING: dict[str, Callable[[Tuning, Rule, RuleBook], str]] = {
    "threshold": _threshold,
    "status": _status,
    "indicator": _indicator,
    "quiet_hours": _quiet_hours,
    "reason": _reason,
    "rollout": _rollout,
    "exception": _exception,
}


def needs_approval(
    tuning: Tuning, book: RuleBook, day: date, evaluations: int, *, files: RuleBook, everything: bool = False
) -> str:
    """
    Return why a second person has to agree, or "" where nobody has to (ADMIN.md, "two-person approval").

    ``book`` is what is in force, ``files`` what holds without decisions of admins. ``evaluations`` says how often the
    rule was asked silently while in pilot. With ``everything`` a site asks for two persons whatever is decided.
    """
    rule, kind = rule_of(book, tuning.rule, tuning.place), kind_of(tuning.name)
    why = ""
    if kind == "threshold":
        why = _of_threshold(tuning, threshold_of(rule_of(files, tuning.rule, tuning.place), tuning.name))
    elif kind == "indicator":
        raised = INDICATORS.index(str(tuning.value)) > INDICATORS.index(rule.card.indicator)
        why = "the card becomes more urgent" if raised else ""
    elif kind == "status":
        why = _of_status(tuning, rule, day, evaluations)
    elif kind == "rollout":
        why = _of_rollout(int(tuning.value), rule)
    elif kind == "exception" and tuning.value:
        why = "some are excepted from the rule"
    return why or ("this site asks for two persons" if everything else "")


def _of_threshold(tuning: Tuning, threshold: Threshold) -> str:
    """
    Say where a number leaves what the files say of it, in either direction, at any time that it is to hold.

    A rule file has one band, ``allowed``, that nothing crosses, and one guideline value inside it. So the band that
    one person may move in is that value alone (DECISIONS.md); a site file's value was reviewed as that file was.
    """
    ahead = [one.since for one in threshold.values if tuning.holds_on(one.since) and one.since > tuning.since]
    for start in (tuning.since, *ahead):
        if tuning.value not in (usual(threshold, start), threshold.on(start).value):
            said = shown(usual(threshold, start)), shown(tuning.value)
            guideline, new = (f"{one} {threshold.unit}".rstrip() for one in said)
            return f"{new} is not the guideline value of the rule file, {guideline}"
    return ""


def usual(threshold: Threshold, day: date) -> Value:
    """Return what the rule file says of a number on a day, whatever a site or an admin decided."""
    own = [dated for dated in threshold.values if dated.layer == "rule"] or list(threshold.values)
    begun = [dated for dated in own if dated.since <= day]
    return (begun[-1] if begun else own[0]).value


def _of_rollout(share: int, rule: Rule) -> str:
    if share == 0 and rule.rollout:
        return "the rule shows no cards any more"
    return "fewer encounters see the card" if rule.status == "active" and share < rule.rollout else ""


def _of_status(tuning: Tuning, rule: Rule, day: date, evaluations: int) -> str:
    if rule.status == "active" and tuning.value != "active":
        return "the rule shows no cards any more"
    if tuning.value != "active" or rule.status == "active":
        return ""
    begun = rule.status_since if rule.status == "pilot" else None
    days = (day - begun).days if begun else 0
    if evaluations >= ENOUGH_EVALUATIONS or days >= ENOUGH_DAYS:
        return ""
    return (
        f"the rule was in pilot for {days} days and {evaluations} evaluations; {ENOUGH_DAYS} days or "
        f"{ENOUGH_EVALUATIONS} evaluations are asked for"
    )


def shown(value: object) -> str:
    """Write a value as people read it: 6.5, on, pilot."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return "none" if value is None else str(value)
