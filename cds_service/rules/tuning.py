"""The third layer: what an admin decided, laid over rule file and site file. A book is never changed, but made anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from cds_service.errors import ContentError
from cds_service.rules import needs
from cds_service.rules.book import RuleBook, ServiceRules
from cds_service.rules.model import CardText, Dated, Exemption, Rule, Threshold
from cds_service.rules.tuning_check import check, check_new, number_of, reason_of, rule_of, threshold_of
from cds_service.rules.tuning_model import (
    EXCEPTED,
    INDICATOR,
    QUIET_HOURS,
    ROLLOUT,
    STATUS,
    Chosen,
    Kind,
    Tuning,
    excepted,
    exception_text,
    in_force,
    key_of,
    kind_of,
)
from cds_service.rules.tuning_reading import read_assignment, read_value
from cds_service.rules.tuning_words import describe, needs_approval
from cds_service.terminology import Terminology

__all__ = [
    "EXCEPTED",
    "INDICATOR",
    "QUIET_HOURS",
    "ROLLOUT",
    "STATUS",
    "Chosen",
    "Kind",
    "Tuning",
    "check",
    "check_new",
    "current",
    "describe",
    "differing",
    "excepted",
    "exception_text",
    "in_force",
    "key_of",
    "kind_of",
    "needs_approval",
    "read_assignment",
    "read_value",
    "tuned",
    "unfit",
]


def tuned(book: RuleBook, decided: Sequence[Tuning], today: date) -> RuleBook:
    """
    Return a new book with these decisions laid over it, the later ones last.

    Thresholds keep their dates, so a decision may begin or end in the future; everything else is that of ``today``.
    What the book refuses is skipped (see ``unfit``): newer files must not be kept from loading by an older decision.
    The new book has a fingerprint of its own where something is in force that the files do not say.
    """
    sound = [one for one in decided if _problem(one, book) is None]
    if not sound:
        return book
    rules = dict(book.rules)
    for tuning in sound:
        if kind_of(tuning.name) == "threshold":
            rules = {name: _with(rule, tuning) for name, rule in rules.items()}
    holding = in_force(sound, today)
    for tuning in holding.values():
        if lay := _LAYING.get(kind_of(tuning.name)):
            rules[tuning.rule] = lay(rules[tuning.rule], tuning, book.terminology)
    services = {name: _asking(service, rules, book.terminology) for name, service in book.services.items()}
    new = msgspec.structs.replace(book, rules=rules, services=services, memo={})
    return msgspec.structs.replace(new, fingerprint=_fingerprint(book, new, holding, today), memo={})


def unfit(book: RuleBook, decided: Iterable[Tuning]) -> list[tuple[Tuning, str]]:
    """Return the decisions that a book refuses, and why: newer files have another range, or no such rule."""
    found = [(one, _problem(one, book)) for one in decided]
    return [(one, problem.what) for one, problem in found if problem is not None]


def _problem(tuning: Tuning, book: RuleBook) -> ContentError | None:
    try:
        check(tuning, book)
    except ContentError as problem:
        return problem
    return None


def current(book: RuleBook, rule_id: str, name: str, day: date) -> Chosen | None:
    """
    Return what a book says of one thing that can be decided: the rule file's, the site's or an admin's value.

    A threshold's is that of the ``day``; the others are those of the day that the book was tuned for. None where an
    exception was never made; an exception is given as its text.
    """
    rule = rule_of(book, rule_id, f"{rule_id}.{name}")
    kind, key = kind_of(name), key_of(name)
    if kind == "threshold":
        return threshold_of(rule, name).on(day).value
    if kind == "reason":
        return rule.reasons.get(key) or reason_of(rule, key, name, book.terminology)
    if kind == "exception":
        found = next((one for one in rule.exemptions if one.key == key), None)
        return exception_text(found.kind, found.of) if found else None
    alone: dict[str, Chosen] = {
        STATUS: rule.status,
        INDICATOR: rule.card.indicator,
        QUIET_HOURS: rule.card.quiet.hours(""),
        ROLLOUT: rule.rollout,
    }
    return alone[name]


def differing(before: RuleBook, after: RuleBook, day: date) -> list[str]:
    """Return the rules that do not say the same to the same people in both books on a day."""
    return [
        name
        for name, rule in before.rules.items()
        if _said(rule) != _said(after.rules[name]) or before.values(rule, day) != after.values(after.rules[name], day)
    ]


def _said(rule: Rule) -> tuple[Any, ...]:
    return rule.status, rule.card.indicator, rule.exemptions, rule.rollout


# --- laying one decision over a rule ---------------------------------------------------------------------------------


def _with(rule: Rule, tuning: Tuning) -> Rule:
    """Lay a decision over a rule's own threshold, or over those that follow it."""
    changed = {
        name: _layered(threshold, tuning)
        for name, threshold in rule.thresholds.items()
        if (rule.id, name) == (tuning.rule, tuning.name) or threshold.borrowed == (tuning.rule, tuning.name)
    }
    return msgspec.structs.replace(rule, thresholds=rule.thresholds | changed) if changed else rule


def _layered(threshold: Threshold, tuning: Tuning) -> Threshold:
    value = number_of(tuning.value)
    if value is None:
        return threshold
    new = [Dated(tuning.since, value, "admin", tuning.who, tuning.why)]
    after = [dated for dated in threshold.values if tuning.until is not None and dated.since > tuning.until]
    if tuning.until is not None:
        back = threshold.on(tuning.until)
        new.append(msgspec.structs.replace(back, since=tuning.until))
    before = [dated for dated in threshold.values if dated.since < tuning.since]
    return msgspec.structs.replace(threshold, values=(*before, *new, *after))


def _status(rule: Rule, tuning: Tuning, _words: Terminology) -> Rule:
    return msgspec.structs.replace(rule, status=str(tuning.value), status_since=tuning.since)


def _indicator(rule: Rule, tuning: Tuning, _words: Terminology) -> Rule:
    return _with_card(rule, indicator=str(tuning.value))


def _quiet_hours(rule: Rule, tuning: Tuning, _words: Terminology) -> Rule:
    hours = {**rule.card.quiet.hours_by_hook, "": int(tuning.value)}
    return _with_card(rule, quiet=msgspec.structs.replace(rule.card.quiet, hours_by_hook=hours))


def _with_card(rule: Rule, **changed: Any) -> Rule:
    card: CardText = msgspec.structs.replace(rule.card, **changed)
    return msgspec.structs.replace(rule, card=card)


def _reason(rule: Rule, tuning: Tuning, _words: Terminology) -> Rule:
    code = key_of(tuning.name)
    others = {other: text for other, text in rule.reasons.items() if other != code}
    return msgspec.structs.replace(rule, reasons={**others, code: str(tuning.value)} if tuning.value else others)


def _rollout(rule: Rule, tuning: Tuning, _words: Terminology) -> Rule:
    return msgspec.structs.replace(rule, rollout=int(tuning.value))


def _exception(rule: Rule, tuning: Tuning, words: Terminology) -> Rule:
    if tuning.value == "" or tuning.until is None:
        return rule
    kind, of = excepted(tuning)
    new = Exemption(key_of(tuning.name), kind, of, tuning.since, tuning.until)
    if kind == "diagnosis":
        new = msgspec.structs.replace(new, members=tuple(member for one in of for member in words.members(one)))
    return msgspec.structs.replace(rule, exemptions=(*rule.exemptions, new))


_LAYING: dict[str, Callable[[Rule, Tuning, Terminology], Rule]] = {
    "status": _status,
    "indicator": _indicator,
    "quiet_hours": _quiet_hours,
    "reason": _reason,
    "rollout": _rollout,
    "exception": _exception,
}
_RUNNING = ("active", "pilot")


def _asking(service: ServiceRules, rules: dict[str, Rule], words: Terminology) -> ServiceRules:
    """Let a service ask the rules as they are now; one that was switched on comes last, and its data are asked for."""
    asked = [rules[rule.id] for rule in service.rules]
    known, hook = {rule.id for rule in asked}, service.service.hook
    new = [rule for rule in rules.values() if hook in rule.hooks and rule.status in _RUNNING and rule.id not in known]
    if not new:
        return msgspec.structs.replace(service, rules=tuple(asked))
    asked += sorted(new, key=lambda rule: rule.number)
    announced = msgspec.structs.replace(service.service, prefetch=needs.templates(asked, words))
    return msgspec.structs.replace(service, service=announced, rules=tuple(asked))


def _fingerprint(base: RuleBook, new: RuleBook, holding: Iterable[tuple[str, str]], day: date) -> str:
    """Name what the books say: the same again where a value was put back, or where decisions only repeat the files."""
    said = {place: (current(base, *place, day), current(new, *place, day)) for place in sorted(holding)}
    changed = [[*place, _written(now)] for place, (before, now) in said.items() if before != now]
    if not changed:
        return base.fingerprint
    return hashlib.sha256(f"{base.fingerprint} {json.dumps(changed)}".encode()).hexdigest()[:16]


def _written(value: Chosen | None) -> object:
    return f"{value.normalize():f}" if isinstance(value, Decimal) else value
