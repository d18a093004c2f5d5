"""The third layer: what an admin decided, laid over rule file and site file. A book is never changed, but made anew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import msgspec

from cds_service.errors import ContentError
from cds_service.rules import needs
from cds_service.rules.book import RuleBook, ServiceRules
from cds_service.rules.model import STATUSES, Dated, Rule, Threshold, Value
from cds_service.rules.scope import meant
from cds_service.terminology import Terminology

STATUS = "status"


class Tuning(msgspec.Struct, frozen=True):
    """
    One decision of an admin about one rule.

    ``name`` is a threshold of the rule, or ``status``. It holds from ``since`` on, up to the day before ``until``.
    """

    rule: str
    name: str
    value: Value | str
    since: date
    who: str = ""
    why: str = ""
    until: date | None = None

    @property
    def place(self) -> str:
        """Where it belongs, as people write it: ``eskd-hyperphosphatemia.phosphate_high``."""
        return f"{self.rule}.{self.name}"


def read_assignment(text: str, book: RuleBook, since: date, who: str = "", why: str = "") -> Tuning:
    """Read ``rule.threshold=value`` or ``rule.status=pilot``. Raises ContentError where it cannot be what is meant."""
    place, _, written = text.partition("=")
    rule, _, name = place.strip().partition(".")
    value: Value | str = written.strip()
    found = book.rules.get(rule)
    if found is None:
        raise _wrong(f'There is no rule "{rule}".{meant(rule, book.rules)}', place)
    if name != STATUS:
        value = _value(written.strip(), _threshold(found, name), place)
    tuning = Tuning(rule, name, value, since, who, why)
    check(tuning, book)
    return tuning


def _value(text: str, threshold: Threshold, place: str) -> Value:
    if isinstance(threshold.low, bool):
        if text not in ("true", "false"):
            raise _wrong("A switch is true or false.", place)
        return text == "true"
    # One spelling only: "5,5" could be 5.5 or 55, "1e1" and " 5" are nobody's way to write a limit.
    if not _plain(text):
        raise _wrong(f'"{text}" is not a number as people write it, like 6.5.', place)
    return Decimal(text)


def _plain(text: str) -> bool:
    whole, point, part = text.partition(".")
    return whole.isascii() and whole.isdecimal() and (not point or (part.isascii() and part.isdecimal()))


def check(tuning: Tuning, book: RuleBook) -> None:
    """Refuse what no rule has, what leaves its allowed range, and a change to a number that follows another one."""
    rule = book.rules.get(tuning.rule)
    if rule is None:
        raise _wrong(f'There is no rule "{tuning.rule}".{meant(tuning.rule, book.rules)}', tuning.place)
    if tuning.name == STATUS:
        if tuning.value not in STATUSES:
            raise _wrong(f"A status is one of: {', '.join(STATUSES)}.", tuning.place)
        return
    threshold = _threshold(rule, tuning.name)
    if threshold.borrowed:
        lender = ".".join(threshold.borrowed)
        raise _wrong(f'"{tuning.place}" is the same as "{lender}": change that one, and both follow.', tuning.place)
    if isinstance(tuning.value, str) or not threshold.allows(tuning.value):
        raise ContentError(
            f'"{tuning.place}" may not be {tuning.value}: its range is {threshold.low} to {threshold.high}.',
            where=tuning.place,
            slug="out-of-range",
            why="The range is a guard rail that no layer crosses.",
        )


def tuned(book: RuleBook, decided: Sequence[Tuning], today: date) -> RuleBook:
    """
    Return a new book with these decisions laid over it, the later ones last.

    Thresholds keep their dates, so a decision may begin or end in the future; a status is that of ``today``.
    """
    rules = dict(book.rules)
    for tuning in decided:
        check(tuning, book)
        if tuning.name != STATUS:
            rules = {name: _with(rule, tuning) for name, rule in rules.items()}
        elif tuning.since <= today and (tuning.until is None or today < tuning.until):
            rules[tuning.rule] = msgspec.structs.replace(rules[tuning.rule], status=str(tuning.value))
    services = {name: _asking(service, rules, book.terminology) for name, service in book.services.items()}
    return msgspec.structs.replace(book, rules=rules, services=services, memo={})


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


_RUNNING = ("active", "pilot")


def _with(rule: Rule, tuning: Tuning) -> Rule:
    """Lay a decision over a rule's own threshold, or over those that follow it."""
    changed = {
        name: _layered(threshold, tuning)
        for name, threshold in rule.thresholds.items()
        if (rule.id, name) == (tuning.rule, tuning.name) or threshold.borrowed == (tuning.rule, tuning.name)
    }
    return msgspec.structs.replace(rule, thresholds=rule.thresholds | changed) if changed else rule


def _layered(threshold: Threshold, tuning: Tuning) -> Threshold:
    if isinstance(tuning.value, str):
        return threshold
    new = [Dated(tuning.since, tuning.value, "admin", tuning.who, tuning.why)]
    after = [dated for dated in threshold.values if tuning.until is not None and dated.since > tuning.until]
    if tuning.until is not None:
        back = threshold.on(tuning.until)
        new.append(msgspec.structs.replace(back, since=tuning.until))
    before = [dated for dated in threshold.values if dated.since < tuning.since]
    return msgspec.structs.replace(threshold, values=(*before, *new, *after))


def differing(before: RuleBook, after: RuleBook, day: date) -> list[str]:
    """Return the rules that do not say the same in both books on a day: another status, or other numbers."""
    return [
        name
        for name, rule in before.rules.items()
        if rule.status != after.rules[name].status or before.values(rule, day) != after.values(after.rules[name], day)
    ]


def _threshold(rule: Rule, name: str) -> Threshold:
    found = rule.thresholds.get(name)
    if found is None:
        raise _wrong(f'The rule has no threshold "{name}".{meant(name, rule.thresholds)}', f"{rule.id}.{name}")
    return found


def _wrong(what: str, where: str) -> ContentError:
    return ContentError(what, where=where, slug="bad-tuning", remedy="Write rule.threshold=value.")
