"""What an admin typed into a form, read strictly: a decision, or for each field what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta

import msgspec

from cds_service.errors import ContentError
from cds_service.publishing.parts import part
from cds_service.rules.book import RuleBook
from cds_service.rules.tuning import EXCEPTED, Chosen, Tuning, check, exception_text, kind_of, read_value
from cds_service.rules.tuning_check import SHORTEST_WHY
from cds_service.rules.tuning_model import KEY, LONGEST_EXCEPTION

EXCEPTION = "exception"
LONGEST_WHY = 2_000
# A day as a browser's date field sends it; date.fromisoformat reads weeks too.
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Typed(msgspec.Struct):
    """A form as it was typed, for showing it again; ``errors`` holds what is wrong, by field."""

    fields: dict[str, str]
    errors: dict[str, str] = {}
    tuning: Tuning | None = None

    def __getitem__(self, name: str) -> str:
        """Return what was typed into a field."""
        return self.fields.get(name, "")

    def wrong(self, field: str, problem: ContentError | str) -> None:
        """Keep the first thing that is wrong with a field."""
        parts = (problem,) if isinstance(problem, str) else (problem.what, problem.remedy)
        said = " ".join(part for part in parts if part)
        self.errors.setdefault(field, said)


def read_change(form: Mapping[str, str], rule_id: str, name: str, base: RuleBook, today: date) -> Typed:
    """Read the form of a change: value, first day, last day, and for an exception its name and of whom it is."""
    typed = Typed(dict(form.items()))
    place = _name(typed, name)
    since, until = _day(typed, "since", today), _until(typed)
    value = _value(typed, rule_id, place, base)
    _check_days(typed, since, until, today)
    if kind_of(place) == EXCEPTION:
        _check_length(typed, since, until)
    if not typed.errors and since is not None and value is not None:
        made = Tuning(rule_id, place, value, since, until=until)
        try:
            check(made, base)
            typed.tuning = made
        except ContentError as problem:
            typed.wrong("value", _outside(made, base) if problem.slug == "out-of-range" else problem)
    return typed


def _outside(made: Tuning, base: RuleBook) -> str:
    """Say that a number cannot be chosen, and which could be; the error speaks of names of the rule file."""
    wanted = part(made.rule, made.name, base, base, made.since)
    return f"{made.value} lies outside what is allowed: {wanted.allowed}."


def read_reason(form: Mapping[str, str]) -> Typed:
    """Read the form that saves: a reason, the days, and that the turned examples were seen."""
    typed = Typed(dict(form.items()))
    why = " ".join(typed["why"].split())
    if len(why) < SHORTEST_WHY:
        typed.wrong("why", f"Give a reason of at least {SHORTEST_WHY} characters: later nobody will remember it.")
    elif len(why) > LONGEST_WHY:
        typed.wrong("why", f"The reason may have {LONGEST_WHY} characters.")
    typed.fields["why"] = why
    return typed


def read_days(typed: Typed, tuning: Tuning, today: date) -> Tuning:
    """Return a decision with the days of the form, where they can be; else the form says what is wrong."""
    since, until = _day(typed, "since", today), _until(typed)
    _check_days(typed, since, until, today)
    if kind_of(tuning.name) == EXCEPTION and tuning.value:
        _check_length(typed, since, until)
    return msgspec.structs.replace(tuning, since=since or today, until=until)


def _name(typed: Typed, name: str) -> str:
    """Return the name of what is decided; a new exception gets its own from the form."""
    if name != EXCEPTION:
        return name
    key = typed["key"]
    if not KEY.fullmatch(key):
        typed.wrong("key", "Name it in small letters, digits and dashes, at most 40, like dialysis-unit.")
    return f"{EXCEPTION}.{key}"


def _value(typed: Typed, rule_id: str, name: str, base: RuleBook) -> Chosen | None:
    if kind_of(name) == EXCEPTION:
        return _exception(typed)
    try:
        return read_value(base.rules[rule_id], name, typed["value"])
    except ContentError as problem:
        typed.wrong("value", problem.what)  # what is left out says how to write it in a shell
        return None


def _exception(typed: Typed) -> str | None:
    kind, of = typed["kind"], [one.strip() for one in typed["of"].splitlines() if one.strip()]
    if kind == "none":
        return ""
    if kind not in EXCEPTED:
        typed.wrong("kind", "Choose whom the exception is for.")
    if not of:
        typed.wrong("value", "Name at least one, each on a line of its own.")
    return None if typed.errors else exception_text(kind, of)


def _day(typed: Typed, field: str, today: date) -> date | None:
    text = typed[field]
    if not text and field == "since":
        return today
    found = parsed_day(text)
    if found is None:
        typed.wrong(field, "That is no day. Write it as 2026-11-21.")
    return found


def parsed_day(text: str) -> date | None:
    """Return the day of a date field; None where it is none."""
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        return None


def _until(typed: Typed) -> date | None:
    return _day(typed, "until", date.max) if typed["until"] else None


def _check_days(typed: Typed, since: date | None, until: date | None, today: date) -> None:
    if since is not None and since < today:
        typed.wrong("since", f"A change cannot begin in the past: choose {today} (today, UTC) or a later day.")
    if since is not None and until is not None and until <= since:
        typed.wrong("until", "It would end before it begins: choose a later day.")


def _check_length(typed: Typed, since: date | None, until: date | None) -> None:
    if typed["kind"] == "none":
        return
    if until is None:
        typed.wrong("until", f"An exception has an end: at most {LONGEST_EXCEPTION} days after it begins.")
    elif since is not None and until > since + timedelta(LONGEST_EXCEPTION):
        typed.wrong("until", f"An exception ends {since + timedelta(LONGEST_EXCEPTION)} at the latest.")
