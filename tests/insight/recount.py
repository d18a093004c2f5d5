"""
What else stands on the pages, once more from the raw tables and the files of the rules: alarms, near misses, decisions.

Nothing of cds_service/insight or cds_service/web is imported. Near misses ask the rules themselves, with numbers read
from their files here; what a rule says is held against the clinical sources elsewhere (tests/vignettes, tests/golden).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import comb
from pathlib import Path
from typing import Any

import yaml

from cds_service.facts.evidence import NO, YES
from cds_service.recording import facts_from
from cds_service.rules.book import RuleBook
from tests.insight.recompute import DAY, Raw, asked, fired

Row = dict[str, Any]
Alarm = tuple[str, str, int, str]
UNLIKELY = Fraction(5, 10_000)


class _Exact(yaml.SafeLoader):
    """Reads numbers as they are written."""


def _decimal(_loader: _Exact, node: yaml.ScalarNode) -> Decimal:
    return Decimal(node.value)


_Exact.add_constructor("tag:yaml.org,2002:float", _decimal)


def read(path: Path) -> Any:
    """Read a YAML file, its numbers as decimals."""
    return yaml.load(path.read_text("utf-8"), _Exact)


class Files:
    """The files of the rules as they stand in the content folder."""

    def __init__(self, content: Path) -> None:
        paths = [one for one in (content / "rules").glob("*/*.yaml") if not one.name.endswith(".test.yaml")]
        self.rules: dict[str, Row] = {path.stem: read(path) for path in paths}
        self.examples = {path.stem: read(path.with_name(f"{path.stem}.test.yaml")) for path in paths}
        self.services: dict[str, str] = {
            one["id"]: one["hook"] for one in (read(path) for path in content.glob("*/service.yaml"))
        }
        labs = (content / "concepts" / "labs.yaml").read_text("utf-8")
        # Units of what is measured, and of what is computed of it (concepts of tests have no others).
        self.units = set(re.findall(r'^\s+unit: "?([^"\n]+)"?$', labs, re.MULTILINE)) | {"mg/dL", "mg2/dL2", "x ULN"}

    def value(self, rule: str, name: str, day: date) -> Decimal | bool:
        """Return the number of a rule's file on a day."""
        one = self.rules[rule]["thresholds"][name]
        if "same_as" in one:
            other, _, its = one["same_as"].partition(".")
            return self.value(other, its, day)
        begun = [since for since in one["values"] if since <= day]
        found = one["values"][max(begun) if begun else min(one["values"])]
        return found if isinstance(found, bool) else Decimal(found)

    def unit(self, rule: str, name: str) -> str:
        one = self.rules[rule]["thresholds"][name]
        return self.unit(*one["same_as"].split(".")) if "same_as" in one else str(one.get("unit", ""))

    def means(self, rule: str, name: str) -> str:
        one = self.rules[rule]["thresholds"][name]
        return one["means"] if "means" in one else self.means(*one["same_as"].split("."))


# --- what admins decided ---------------------------------------------------------------------------------------------


def changes(raw: Raw) -> list[Row]:
    """Return every change with its ruling, oldest first."""
    query = """
        SELECT c.*, coalesce(r.outcome, '') AS outcome FROM changes c LEFT JOIN rulings r ON r.change = c.number
        ORDER BY c.number
    """
    return [{**dict(row), **json.loads(row["tuning"])} for row in raw.database.execute(query)]


def states(raw: Raw, today: date) -> dict[int, str]:
    """Say of each change what became of it; for decisions without an end."""
    found: dict[int, str] = {}
    for one in changes(raw):
        later = [
            other
            for other in changes(raw)
            if (other["rule"], other["name"]) == (one["rule"], one["name"]) and other["number"] > one["number"]
        ]
        standing = [other for other in later if other["outcome"] not in ("rejected", "withdrawn")]
        agreed = [other for other in standing if other["outcome"] == "approved" or not other["asks"]]
        if one["outcome"] in ("rejected", "withdrawn"):
            found[one["number"]] = one["outcome"]
        elif one["asks"] and not one["outcome"]:
            overtaken = any(other["since"] <= one["since"] for other in standing)
            found[one["number"]] = "superseded" if overtaken else "waiting"
        elif any(other["since"] <= max(one["since"], today.isoformat()) for other in agreed):
            found[one["number"]] = "superseded"
        else:
            found[one["number"]] = "planned" if one["since"] > today.isoformat() else "in force"
    return found


def in_force(raw: Raw, today: date) -> dict[tuple[str, str], Row]:
    """Return the decisions that hold."""
    known = states(raw, today)
    return {(one["rule"], one["name"]): one for one in changes(raw) if known[one["number"]] == "in force"}


def statuses(raw: Raw, files: Files, today: date) -> dict[str, str]:
    """Return the status of each rule: an admin's, or that of its file."""
    decided = in_force(raw, today)
    return {
        name: decided[name, "status"]["value"] if (name, "status") in decided else document["status"]
        for name, document in files.rules.items()
    }


# --- alarms ----------------------------------------------------------------------------------------------------------


def at_most(count: int, together: int, share: Fraction) -> Fraction:
    """Return how likely so few of so many are."""
    terms = (comb(together, k) * share**k * (1 - share) ** (together - k) for k in range(count + 1))
    return sum(terms, Fraction(0))


def _days(raw: Raw, rule: str) -> tuple[Counter[int], Counter[int], Counter[int]]:
    many, found, unknown = Counter[int](), Counter[int](), Counter[int]()
    for one in raw.decisions:
        if asked(one, rule):
            day = int(one["at"] // DAY)
            many[day] += 1
            found[day] += fired(one, rule)
            unknown[day] += any(rule in said.get("not_evaluated", {}) for said in (one, one.get("pilot", {})))
    return many, found, unknown


def alarms(raw: Raw, rules: list[str], today: int) -> dict[Alarm, Fraction | None]:
    """Return which rules went silent, jumped, dropped or are not asked: rule, kind, day, what is said; and p."""
    return {alarm[:4]: alarm[4] for rule in rules for alarm in _alarms(rule, *_days(raw, rule), today)}


def _alarms(
    rule: str, many: Counter[int], found: Counter[int], unknown: Counter[int], today: int
) -> Iterator[tuple[str, str, int, str, Fraction | None]]:
    spoke = [day for day in found if found[day] and day <= today]
    silent = False
    if spoke:
        last = max(spoke)
        count, base = (sum(one[day] for day in range(last - 55, last + 1)) for one in (found, many))
        since = sum(times for day, times in many.items() if last < day <= today)
        p = Fraction(base, base + since) ** count
        if since and p < UNLIKELY:
            silent = True
            told = f"No finding in {since} evaluations since {iso(last + 1)}; by the 8 weeks before, "
            yield rule, "silent", last + 1, f"{told}{count / base * since:.1f} were to be expected.", p
    for what, happened in (("findings", found), ("evaluations without an answer", unknown)):
        if not (silent and what == "findings"):
            yield from _jump(rule, what, many, happened, today)
    yield from _unasked(rule, many, today)


def _jump(
    rule: str, what: str, many: Counter[int], happened: Counter[int], today: int
) -> Iterator[tuple[str, str, int, str, Fraction | None]]:
    for day in range(today - 1, today - 8, -1):
        count, base = (sum(one[day - 7 * week] for week in range(1, 9)) for one in (happened, many))
        if not many[day] or not base:
            continue
        together, share = count + happened[day], Fraction(many[day], many[day] + base)
        less, more = at_most(happened[day], together, share), 1 - at_most(happened[day] - 1, together, share)
        if min(less, more) < UNLIKELY:
            told = f"{happened[day]} {what} in {many[day]} evaluations on {iso(day)}; by the same weekdays of the "
            expected = f"8 weeks before, {count / base * many[day]:.1f} were to be expected."
            yield rule, "jumped" if more < less else "dropped", day, told + expected, min(less, more)
            return


def _unasked(rule: str, many: Counter[int], today: int) -> Iterator[tuple[str, str, int, str, Fraction | None]]:
    days = sorted(day for day in many if many[day] and day <= today)
    if not days:
        return
    lately = [day for day in days if day > days[-1] - 56]
    longest = max((b - a for a, b in pairwise(lately)), default=0)
    if len(lately) >= 7 and today - days[-1] > max(2, 2 * longest):
        rate = sum(many[day] for day in lately) / (days[-1] - lately[0] + 1)
        told = f"Not asked since {iso(days[-1])}, after {rate:.1f} evaluations a day in the 8 weeks before."
        yield rule, "not asked", days[-1], told, None


def iso(day: int) -> str:
    """Write a day that is counted from 1970-01-01."""
    return datetime.fromtimestamp(day * DAY, UTC).date().isoformat()


# --- near misses -----------------------------------------------------------------------------------------------------


def near(raw: Raw, files: Files, book: RuleBook, today: date) -> tuple[dict[tuple[str, str], tuple[int, int]], int]:
    """
    Count for each limit on a measured number the patients who are nearly and barely over it; and all patients.

    The newest facts of each patient at each service are asked with the limit 5 % lower and higher.
    """
    running = [name for name, status in statuses(raw, files, today).items() if status in ("active", "pilot")]
    newest: dict[tuple[str, str], bytes] = {}
    query = "SELECT patient, service, facts FROM decisions WHERE at >= ? AND length(facts) > 0 ORDER BY number"
    for row in raw.database.execute(query, (raw.since,)):
        newest[row["patient"], row["service"]] = row["facts"]
    people: dict[tuple[str, str, bool], set[str]] = {}
    for (patient, service), packed in newest.items():
        facts = facts_from(packed)
        for rule in running:
            if files.services[service] in files.rules[rule].get("hooks", ["patient-view"]):
                for name, spoke in _close(rule, facts, raw, files, book, today):
                    people.setdefault((rule, name, spoke), set()).add(patient)
    limits = {(rule, name) for rule, name, _ in people}
    counts = {one: (len(people.get((*one, False), ())), len(people.get((*one, True), ()))) for one in limits}
    return counts, len({patient for patient, _ in newest})


def _close(rule: str, facts: Any, raw: Raw, files: Files, book: RuleBook, today: date) -> Iterator[tuple[str, bool]]:
    """Yield each limit of a rule at which it would say otherwise, and whether it fires now."""
    values = numbers(rule, raw, files, today)
    now = book.rules[rule].when(facts, values).verdict
    if now not in (YES, NO):
        return
    for name, value in values.items():
        if isinstance(value, bool) or files.unit(rule, name) not in files.units:
            continue
        for moved in (value - value / 20, value + value / 20):
            said = book.rules[rule].when(facts, {**values, name: moved}).verdict
            if said in (YES, NO) and said is not now:
                yield name, now is YES
                break


def numbers(rule: str, raw: Raw, files: Files, today: date) -> dict[str, Decimal | bool]:
    """Return the numbers of a rule in force: those of its file, and what admins decided."""
    key = f"numbers {rule}"
    if key not in raw.kept:
        decided = in_force(raw, today)
        found: dict[str, Decimal | bool] = {}
        for name, one in files.rules[rule].get("thresholds", {}).items():
            place = tuple(one["same_as"].split(".")) if "same_as" in one else (rule, name)
            known = decided.get(place)
            found[name] = Decimal(known["value"]) if known else files.value(rule, name, today)
        raw.kept[key] = found
    return dict(raw.kept[key])


# --- comments --------------------------------------------------------------------------------------------------------


def comments(raw: Raw, words: list[str]) -> list[tuple[str, str, bool]]:
    """Return the comments with their days: those with a word of the list first, each group newest first."""
    found = []
    for row in raw.database.execute("SELECT * FROM feedback WHERE trim(comment) <> ''"):
        text = row["comment"].casefold()
        told = any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) for word in words)
        found.append((not told, -row["at"], -row["number"], row["comment"], iso(int(row["at"] // DAY)), told))
    return [(comment, day, told) for *_, comment, day, told in sorted(found)]
