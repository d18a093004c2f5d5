"""Decisions as people write them: ``rule.threshold=6.5``, ``rule.status=pilot``; one spelling of a number only."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from cds_service.rules.book import RuleBook
from cds_service.rules.model import Rule, Value
from cds_service.rules.tuning_check import check, rule_of, threshold_of
from cds_service.rules.tuning_model import QUIET_HOURS, ROLLOUT, Chosen, Tuning, kind_of, wrong

# Longer than any limit of a laboratory test that somebody would write.
_DIGITS = 20


def read_assignment(
    text: str, book: RuleBook, since: date, who: str = "", why: str = "", until: date | None = None
) -> Tuning:
    """Read ``rule.threshold=value`` or ``rule.status=pilot``. Raises ContentError where it cannot be what is meant."""
    place, equals, written = text.partition("=")
    rule, _, name = place.strip().partition(".")
    if not equals:
        raise wrong("It does not say which value is meant.", place)
    found = rule_of(book, rule, place)
    tuning = Tuning(rule, name, read_value(found, name, written), since, who, why, until)
    check(tuning, book)
    return tuning


def read_value(rule: Rule, name: str, text: str) -> Chosen:
    """
    Read the value of one thing that can be decided about a rule, as it was typed.

    Raises ContentError. A number is digits with at most one point: " 5 ", "5,5", "1e1" and "+5" are refused, since
    nobody can be sure what is meant by them.
    """
    kind, place = kind_of(name), f"{rule.id}.{name}"
    if kind == "threshold":
        return _value(text, threshold_of(rule, name).low, place)
    if name in (QUIET_HOURS, ROLLOUT):
        if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
            raise wrong(f'"{text[:40]}" is not a whole number, like 24.', place)
        return int(text)
    return text


def _value(text: str, low: Value, place: str) -> Value:
    if isinstance(low, bool):
        if text not in ("true", "false"):
            raise wrong("A switch is true or false.", place)
        return text == "true"
    if not _plain(text):
        raise wrong(f'"{text[:40]}" is not a number as people write it, like 6.5.', place)
    return Decimal(text)


def _plain(text: str) -> bool:
    whole, point, part = text.partition(".")
    sound = whole.isascii() and whole.isdecimal() and (not point or (part.isascii() and part.isdecimal()))
    return sound and len(text) <= _DIGITS
