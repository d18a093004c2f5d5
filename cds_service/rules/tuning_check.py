"""What may be decided about a rule: inside the guard rails of its file, and only what the rule has."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal

from cds_service.errors import ContentError
from cds_service.rules.book import RuleBook
from cds_service.rules.model import INDICATORS, STATUSES, Rule, Threshold, Value
from cds_service.rules.quiet import CRITICAL_HOURS
from cds_service.rules.scope import meant
from cds_service.rules.tuning_model import (
    EXCEPTION_FORM,
    KEY,
    LONGEST_EXCEPTION,
    Tuning,
    excepted,
    key_of,
    kind_of,
    wrong,
)
from cds_service.terminology import Terminology

MOST_HOURS = 8760
LONGEST_REASON, LONGEST_LIST = 100, 1_000
# A reason that says something, in words (ADMIN.md, "Versions").
SHORTEST_WHY = 10
# Who uses an EHR, as types of resource (CDS Hooks, userId).
USERS = ("Practitioner", "PractitionerRole", "Patient", "RelatedPerson")


def check(tuning: Tuning, book: RuleBook) -> None:
    """Refuse what no rule has, what leaves its allowed range, and a change to a number that follows another one."""
    rule = rule_of(book, tuning.rule, tuning.place)
    if tuning.until is not None and tuning.until <= tuning.since:
        raise wrong("It would end before it begins.", tuning.place, "Choose a later end.")
    _CHECKS[kind_of(tuning.name)](tuning, rule, book.terminology)


def check_new(tuning: Tuning, book: RuleBook, today: date) -> None:
    """Refuse what ``check`` refuses, a first day that is past, and a decision for which nobody says why."""
    check(tuning, book)
    if tuning.since < today:
        raise wrong("It would begin in the past.", tuning.place, "Choose today or a later day (UTC).")
    if len(tuning.why.strip()) < SHORTEST_WHY:
        raise wrong(
            "Nobody could tell later why this was decided.",
            tuning.place,
            f"Give a reason of at least {SHORTEST_WHY} characters.",
        )


def rule_of(book: RuleBook, name: str, place: str) -> Rule:
    """Return a rule of a book. Raises ContentError."""
    found = book.rules.get(name)
    if found is None:
        raise wrong(f'There is no rule "{name}".{meant(name, book.rules)}', place)
    return found


def threshold_of(rule: Rule, name: str) -> Threshold:
    """Return a threshold of a rule. Raises ContentError."""
    found = rule.thresholds.get(name)
    if found is None:
        raise wrong(f'The rule has no threshold "{name}".{meant(name, rule.thresholds)}', f"{rule.id}.{name}")
    return found


def reason_of(rule: Rule, code: str, name: str, words: Terminology) -> str:
    """Return the usual wording of an override reason of a rule. Raises ContentError."""
    codes = rule.card.override_reasons
    if code not in codes:
        raise wrong(
            f'The rule offers no override reason "{code}".{meant(code, codes)}',
            f"{rule.id}.{name}",
            f"It offers: {', '.join(codes) or 'none'}.",
        )
    return words.override_reasons[code].display


def number_of(value: object) -> Value | None:
    """Return a value that a threshold may have: a finite decimal, or a switch; None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return Decimal(value)
    return value if isinstance(value, Decimal) and value.is_finite() else None


def _threshold(tuning: Tuning, rule: Rule, _words: Terminology) -> None:
    threshold = threshold_of(rule, tuning.name)
    if threshold.borrowed:
        lender = ".".join(threshold.borrowed)
        raise wrong(f'"{tuning.place}" is the same as "{lender}": change that one, and both follow.', tuning.place)
    value = number_of(tuning.value)
    if value is None or not threshold.allows(value):
        raise _out_of_range(tuning, f"{threshold.low} to {threshold.high}")


def _out_of_range(tuning: Tuning, band: str) -> ContentError:
    return ContentError(
        f'"{tuning.place}" may not be {str(tuning.value)[:40]}: its range is {band}.',
        where=tuning.place,
        slug="out-of-range",
        why="The range is a guard rail that no layer crosses.",
    )


def _status(tuning: Tuning, _rule: Rule, _words: Terminology) -> None:
    if tuning.value not in STATUSES:
        raise wrong(f"A status is one of: {', '.join(STATUSES)}.", tuning.place)


def _indicator(tuning: Tuning, _rule: Rule, _words: Terminology) -> None:
    if tuning.value not in INDICATORS:
        raise wrong(f"An indicator is one of: {', '.join(INDICATORS)}.", tuning.place)


def _quiet_hours(tuning: Tuning, rule: Rule, _words: Terminology) -> None:
    most = CRITICAL_HOURS if rule.card.indicator == "critical" else MOST_HOURS
    if not _whole(tuning.value, most):
        raise _out_of_range(tuning, f"0 to {most} hours")


def _rollout(tuning: Tuning, _rule: Rule, _words: Terminology) -> None:
    if not _whole(tuning.value, 100):
        raise _out_of_range(tuning, "0 to 100 percent")


def _whole(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _reason(tuning: Tuning, rule: Rule, words: Terminology) -> None:
    reason_of(rule, key_of(tuning.name), tuning.name, words)
    text = tuning.value
    if not isinstance(text, str) or len(text) > LONGEST_REASON:
        raise wrong(f"The wording has more than {LONGEST_REASON} characters.", tuning.place, "Say it shorter.")
    if not text.isprintable() or text != text.strip() or set(text) & set("<>`*_[]|\\"):
        raise wrong("The wording is not plain text on one line.", tuning.place, "Write it without markup.")


def _exception(tuning: Tuning, _rule: Rule, words: Terminology) -> None:
    if not KEY.fullmatch(key_of(tuning.name)):
        raise wrong("The name of an exception is a word of small letters.", tuning.place, "Call it exception.dialysis.")
    if tuning.value == "":
        return  # An exception that is ended: the rule is for everybody again.
    kind, of = excepted(tuning)
    if not of or len(of) > LONGEST_LIST or not all(one.strip() and len(one) <= 200 for one in of):
        raise wrong(f"An exception is of 1 to {LONGEST_LIST} names.", tuning.place, EXCEPTION_FORM)
    _check_excepted(kind, of, tuning.place, words)
    if tuning.until is None or tuning.until > tuning.since + timedelta(LONGEST_EXCEPTION):
        raise wrong(
            f"An exception ends after {LONGEST_EXCEPTION} days at the latest.", tuning.place, "Say until when it holds."
        )


def _check_excepted(kind: str, of: tuple[str, ...], place: str, words: Terminology) -> None:
    if kind not in ("user", "diagnosis"):
        return
    known = USERS if kind == "user" else diagnoses(words)
    for one in of:
        if one not in known:
            said = "diagnosis" if kind == "diagnosis" else "kind of user"
            raise wrong(f'There is no {said} "{one[:80]}".{meant(one, known)}', place, EXCEPTION_FORM)


def diagnoses(words: Terminology) -> list[str]:
    """Return the names of diagnoses that an exception may be about."""
    names = [*words.concepts, *words.groups]
    return [name for name in names if words.kind(name) == "diagnosis"]


_CHECKS: dict[str, Callable[[Tuning, Rule, Terminology], None]] = {
    "threshold": _threshold,
    "status": _status,
    "indicator": _indicator,
    "quiet_hours": _quiet_hours,
    "reason": _reason,
    "rollout": _rollout,
    "exception": _exception,
}
