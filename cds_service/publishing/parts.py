"""What can be decided about a rule, as a page shows it: the value in force, its band, where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal

import msgspec

from cds_service.publishing import phrases
from cds_service.rules.book import RuleBook
from cds_service.rules.model import INDICATORS, STATUSES, Rule, Threshold
from cds_service.rules.quiet import CRITICAL_HOURS
from cds_service.rules.tuning import Chosen, current, excepted, key_of, kind_of
from cds_service.rules.tuning_check import MOST_HOURS
from cds_service.rules.tuning_model import Tuning

HEADINGS = {
    "threshold": "Number",
    "status": "Status",
    "indicator": "Urgency",
    "quiet_hours": "Quiet time",
    "rollout": "Rollout",
    "reason": "Override reason",
    "exception": "Exception",
}
STATUS_MEANS = {
    "draft": "not asked yet",
    "pilot": "asked silently and counted; shows no card",
    "active": "shows cards",
    "retired": "not asked any more",
}
_EXCEPTED = {
    "user": "kinds of user",
    "client": "EHRs",
    "diagnosis": "patients with a diagnosis of",
    "patients": "patients",
}


class Part(msgspec.Struct, frozen=True):
    """
    One thing that can be decided about a rule, on a day.

    ``value`` is in words with its unit, ``number`` as it is typed. ``guideline`` is what the rule file says, ``files``
    what holds without decisions of admins: the rule file's value, or that of the site. ``allowed`` are the guard rails
    in words, ``choices`` what can be chosen where it is a choice.
    """

    rule: str
    name: str
    kind: str
    means: str
    value: str
    number: str
    unit: str
    allowed: str
    guideline: str
    files: str
    source: str = ""
    borrowed: str = ""
    fixed: bool = False
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """What is decided, as the heading of a page."""
        return self.means[:1].upper() + self.means[1:]

    @property
    def changed(self) -> bool:
        """Say whether an admin decided something else than the files say."""
        return self.value != self.files


def parts(rule: Rule, base: RuleBook, book: RuleBook, day: date) -> tuple[Part, ...]:
    """Return everything that can be decided about a rule, numbers first; exceptions as far as there are any."""
    names = [*rule.thresholds, "status", "indicator", "quiet_hours", "rollout"]
    names += [f"reason.{code}" for code in rule.card.override_reasons]
    names += [f"exception.{one.key}" for one in rule.exemptions]
    return tuple(part(rule.id, name, base, book, day) for name in names)


def part(rule_id: str, name: str, base: RuleBook, book: RuleBook, day: date) -> Part:
    """Describe one thing that can be decided. Raises ContentError where the rule has no such thing."""
    now, usual = current(book, rule_id, name, day), file_value(base, rule_id, name, day)
    rule = base.rules[rule_id]
    made = Part(
        rule=rule_id,
        name=name,
        kind=kind_of(name),
        means=_means(rule, name, base),
        value=worded(rule, name, now, base),
        number=typed(now),
        unit="",
        allowed="",
        guideline=worded(rule, name, usual, base),
        files=worded(rule, name, current(base, rule_id, name, day), base),
    )
    return _MORE[kind_of(name)](made, rule)


def file_value(base: RuleBook, rule_id: str, name: str, day: date) -> Chosen | None:
    """Return what the rule file says, whatever a site or an admin decided; for anything but a number the files."""
    if kind_of(name) != "threshold":
        return current(base, rule_id, name, day)
    threshold = base.rules[rule_id].thresholds[name]
    own = [dated for dated in threshold.values if dated.layer == "rule"]
    before = [dated for dated in own if dated.since <= day]
    return (before or own or threshold.values)[-1].value


def typed(value: Chosen | None) -> str:
    """Write a value as it is typed into a form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return phrases.number(value) if isinstance(value, Decimal) else "" if value is None else str(value)


def worded(rule: Rule, name: str, value: Chosen | None, book: RuleBook) -> str:
    """Say a value in words, with its unit."""
    if value is None or (value == "" and kind_of(name) == "exception"):
        return "none"
    return _WORDS[kind_of(name)](rule, name, value, book)


def _of_threshold(rule: Rule, name: str, value: Chosen, _book: RuleBook) -> str:
    if isinstance(value, str):
        return value
    return phrases.quantity(Decimal(value) if not isinstance(value, bool) else value, rule.thresholds[name].unit)


def _plainly(_rule: Rule, _name: str, value: Chosen, _book: RuleBook) -> str:
    return str(value)


def _of_quiet(_rule: Rule, _name: str, value: Chosen, _book: RuleBook) -> str:
    hours = int(value)
    if not hours:
        return "not at all"
    days, rest = divmod(hours, 24)
    return phrases.quantity(Decimal(hours if rest else days), "hours" if rest else "days")


def _of_rollout(_rule: Rule, _name: str, value: Chosen, _book: RuleBook) -> str:
    return f"{value} of 100 encounters" if int(value) < 100 else "all encounters"


def _of_reason(_rule: Rule, name: str, value: Chosen, book: RuleBook) -> str:
    return str(value) or book.terminology.override_reasons[key_of(name)].display


def _of_exception(rule: Rule, name: str, value: Chosen, book: RuleBook) -> str:
    kind, of = excepted(Tuning(rule.id, name, value, date.min))
    if kind == "patients":
        return f"no card for {len(of)} {'patient' if len(of) == 1 else 'patients'}"
    said = [book.terminology.label(one) for one in of] if kind == "diagnosis" else of
    return f"no card for {_EXCEPTED[kind]} {', '.join(said)}"


_WORDS: dict[str, Callable[[Rule, str, Chosen, RuleBook], str]] = {
    "threshold": _of_threshold,
    "status": _plainly,
    "indicator": _plainly,
    "quiet_hours": _of_quiet,
    "rollout": _of_rollout,
    "reason": _of_reason,
    "exception": _of_exception,
}


def _means(rule: Rule, name: str, book: RuleBook) -> str:
    kind, key = kind_of(name), key_of(name)
    if kind == "threshold":
        return rule.thresholds[name].means
    if kind == "reason":
        return f'wording of "{book.terminology.override_reasons[key].display}"'
    if kind == "exception":
        return f"exception {key}"
    return {
        "status": "status of the rule",
        "indicator": "usual urgency of the card",
        "quiet_hours": "quiet time after an override",
        "rollout": "how many encounters see the card",
    }[name]


# --- guard rails and choices -----------------------------------------------------------------------------------------


def _more_of_threshold(made: Part, rule: Rule) -> Part:
    threshold = rule.thresholds[made.name]
    switch = isinstance(threshold.low, bool)
    return msgspec.structs.replace(
        made,
        unit=phrases.unit(threshold.unit),
        allowed="on or off" if switch else _band(threshold),
        source=threshold.source,
        borrowed=".".join(threshold.borrowed or ()),
        fixed=threshold.low == threshold.high,
        choices=(("true", "on"), ("false", "off")) if switch else (),
    )


def _band(threshold: Threshold) -> str:
    low, high = phrases.number(threshold.low), phrases.quantity(threshold.high, threshold.unit)
    return f"{low} to {high}" if threshold.low != threshold.high else f"{high} (fixed)"


def _more_of_status(made: Part, _rule: Rule) -> Part:
    choices = tuple((one, f"{one}: {STATUS_MEANS[one]}") for one in STATUSES)
    return msgspec.structs.replace(made, allowed=", ".join(STATUSES), choices=choices)


def _more_of_indicator(made: Part, _rule: Rule) -> Part:
    return msgspec.structs.replace(made, allowed=", ".join(INDICATORS), choices=tuple((one, one) for one in INDICATORS))


def _more_of_quiet(made: Part, rule: Rule) -> Part:
    most = CRITICAL_HOURS if rule.card.indicator == "critical" else MOST_HOURS
    return msgspec.structs.replace(made, unit="hours", allowed=f"0 to {most} hours ({most // 24} days)")


def _more_of_rollout(made: Part, _rule: Rule) -> Part:
    return msgspec.structs.replace(made, unit="percent", allowed="0 to 100 percent")


def _more_of_reason(made: Part, _rule: Rule) -> Part:
    return msgspec.structs.replace(made, allowed="at most 100 characters; empty: the usual wording")


def _more_of_exception(made: Part, _rule: Rule) -> Part:
    return msgspec.structs.replace(made, allowed="at most 180 days")


_MORE: dict[str, Callable[[Part, Rule], Part]] = {
    "threshold": _more_of_threshold,
    "status": _more_of_status,
    "indicator": _more_of_indicator,
    "quiet_hours": _more_of_quiet,
    "rollout": _more_of_rollout,
    "reason": _more_of_reason,
    "exception": _more_of_exception,
}


# --- differences -----------------------------------------------------------------------------------------------------


class Line(msgspec.Struct, frozen=True):
    """A line of a comparison: ``kind`` is "old" or "new"."""

    kind: str
    text: str


def difference(label: str, old: str, new: str) -> tuple[Line, ...]:
    """Return what stood there and what stands there now; nothing where it is the same."""
    return tuple(_difference(label, old, new)) if old != new else ()


def _difference(label: str, old: str, new: str) -> Iterator[Line]:
    yield Line("old", f"{label}: {old}")
    yield Line("new", f"{label}: {new}")
