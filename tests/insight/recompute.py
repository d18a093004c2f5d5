"""
Every figure once more, from the raw tables alone: SQL, JSON and arithmetic; nothing of the service is imported.

What stands in cds_service/insight must say the same. Where a definition is asked for, ADMIN.md section 4 has it.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import Counter
from datetime import UTC, date, datetime
from fractions import Fraction
from math import comb, sqrt
from pathlib import Path
from statistics import median
from typing import Any

Row = dict[str, Any]
DAY = 86_400


class Raw:
    """The tables of a ledger, as they stand in the file."""

    def __init__(self, path: Path, today: date, days: int) -> None:
        self.database = sqlite3.connect(path)
        self.database.row_factory = sqlite3.Row
        self.until = datetime.combine(today, datetime.min.time(), UTC).timestamp() + DAY
        self.since = self.until - days * DAY if days else 0.0
        self.days = days
        self.kept: dict[str, Any] = {}
        self.decisions = [self._decision(row) for row in self._all("SELECT * FROM decisions ORDER BY number")]
        self.recent = [one for one in self.decisions if one["at"] >= self.since]

    def _all(self, query: str, *values: Any) -> list[sqlite3.Row]:
        return self.database.execute(query, values).fetchall()

    @staticmethod
    def _decision(row: sqlite3.Row) -> Row:
        facts = json.loads(zlib.decompress(row["facts"])) if row["facts"] else {}
        return {
            **json.loads(row["content"]),
            "at": row["at"],
            "patient": row["patient"],
            "id": row["id"],
            "kept": facts,
        }

    def answers(self) -> dict[str, Row]:
        """Return the last answer to each card, by the EHR's clock."""
        query = """
            SELECT * FROM (
                SELECT *, row_number() OVER (PARTITION BY card ORDER BY at DESC, number DESC) AS place FROM feedback
            ) WHERE place = 1
        """
        return {row["card"]: dict(row) for row in self._all(query)}

    def cards(self, rule: str = "", *, ever: bool = False) -> list[Row]:
        """Return cards from the table of cards: those of a rule, or all."""
        since = 0.0 if ever else self.since
        query = """
            SELECT cards.*, decisions.patient FROM cards JOIN decisions ON decisions.id = cards.decision
            WHERE cards.at >= ? AND (? = '' OR EXISTS (SELECT 1 FROM json_each(cards.rules) WHERE value = ?))
        """
        return [dict(row) for row in self._all(query, since, rule, rule)]


def of_rule(raw: Raw, rule: str) -> Row:
    """Recompute the figures of one rule."""
    cards, answers = raw.cards(rule), raw.answers()
    outcomes = Counter(answers[card["id"]]["outcome"] for card in cards if card["id"] in answers)
    waited = [answers[card["id"]]["at"] - card["at"] for card in cards if card["id"] in answers]
    waited = [seconds for seconds in waited if seconds >= 0]
    overriding = [answers[one["id"]] for one in cards if one["id"] in answers]
    found = {
        **verdicts(raw, rule),
        "shown": len(cards),
        "accepted": outcomes["accepted"],
        "overridden": outcomes["overridden"],
        "encounters": encounters(raw, hooks_of(raw, rule)),
        "repeats": repeats(raw, rule),
        "reasons": dict(Counter(one["reason"] for one in overriding if one["outcome"] == "overridden")),
        "seconds_to_answer": median(waited) if waited else None,
        "held_back": sum(held["rule"] == rule for one in raw.recent for held in one.get("held", ())),
    }
    return found | per_day(raw, rule)


def verdicts(raw: Raw, rule: str) -> Row:
    """Count verdicts, and what was missing."""
    found: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    for one in raw.recent:
        for prefix, said in (("", one), ("pilot_", one.get("pilot", {}))):
            found[f"{prefix}fired"] += rule in [fired["rule"] for fired in said.get("fired", ())]
            found[f"{prefix}not_fired"] += rule in said.get("not_fired", ())
            found[f"{prefix}unknown"] += rule in said.get("not_evaluated", {})
            missing.update(said.get("not_evaluated", {}).get(rule, ()))
    return {**found, "missing": dict(missing)}


def asked(one: Row, rule: str) -> bool:
    """Say whether a rule was asked in a call, active or in pilot."""
    return any(
        rule in said.get("not_fired", ())
        or rule in said.get("not_evaluated", {})
        or rule in [fired["rule"] for fired in said.get("fired", ())]
        for said in (one, one.get("pilot", {}))
    )


def fired(one: Row, rule: str) -> bool:
    """Say whether a rule fired in a call, active or in pilot."""
    return any(rule == found["rule"] for said in (one, one.get("pilot", {})) for found in said.get("fired", ()))


def hooks_of(raw: Raw, rule: str) -> set[str]:
    """Return the hooks at which a rule was asked."""
    return {one["hook"] for one in raw.recent if asked(one, rule)}


def encounters(raw: Raw, hooks: set[str]) -> int:
    """Count distinct encounters; where there is none, the patient's day."""
    return len(
        {one.get("encounter") or (one["patient"], int(one["at"] // DAY)) for one in raw.recent if one["hook"] in hooks}
    )


def repeats(raw: Raw, rule: str) -> int:
    """Count cards for which there is an earlier one of the same patient and rule, at most 365 days before."""
    cards = raw.cards(rule, ever=True)
    return sum(
        card["at"] >= raw.since
        and any(
            other["patient"] == card["patient"]
            and (other["at"], other["id"]) < (card["at"], card["id"])
            and card["at"] - other["at"] <= 365 * DAY
            for other in cards
        )
        for card in cards
    )


def per_day(raw: Raw, rule: str) -> Row:
    """Count the days' findings."""
    counted = Counter(int(one["at"] // DAY) for one in raw.recent if fired(one, rule))
    last = int(raw.until // DAY) - 1
    first = last - raw.days + 1 if raw.days else min(counted, default=last + 1)
    return {
        "per_day": [counted[day] for day in range(first, last + 1)],
        "first": _date(min(counted)) if counted else None,
        "last": _date(max(counted)) if counted else None,
    }


def _date(day: int) -> date:
    return datetime.fromtimestamp(day * DAY, UTC).date()


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Return Wilson's interval as the two roots of (p - share)^2 = z^2 p (1 - p) / n."""
    z = 1.959963984540054
    share = part / whole
    a, b, c = 1 + z * z / whole, -(2 * share + z * z / whole), share * share
    root = sqrt(max(0.0, b * b - 4 * a * c))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def fisher(table: tuple[tuple[int, int], tuple[int, int]]) -> float:
    """Return Fisher's exact test, two-sided, in whole numbers."""
    (a, b), (c, d) = table
    rows, columns, whole = a + b, a + c, a + b + c + d
    ways = {k: comb(rows, k) * comb(whole - rows, columns - k) for k in range(columns + 1) if k <= rows}
    return float(Fraction(sum(one for one in ways.values() if one <= ways[a]), comb(whole, columns)))


def by_thresholds(raw: Raw, rule: str) -> dict[str, tuple[int, int, int]]:
    """Count cards of a rule by the numbers in force that were not those of its file: shown, accepted, overridden."""
    answers, found = raw.answers(), dict[str, tuple[int, int, int]]()
    for one in raw.recent:
        form = json.dumps(one.get("thresholds", {}).get(rule, {}), sort_keys=True)
        for card in one.get("cards", ()):
            if rule in card["rules"]:
                outcome = answers.get(card["id"], {}).get("outcome")
                shown, accepted, overridden = found.get(form, (0, 0, 0))
                found[form] = (shown + 1, accepted + (outcome == "accepted"), overridden + (outcome == "overridden"))
    return found


def hooks(raw: Raw) -> dict[str, Row]:
    """Recompute the figures of each hook."""
    found = {}
    for hook in {one["hook"] for one in raw.recent}:
        here = [one for one in raw.recent if one["hook"] == hook]
        spent = sorted(one.get("ms", 0.0) for one in here)
        ids = [card["id"] for one in here for card in one.get("cards", ())]
        marks = ",".join("?" * len(ids))
        counted = raw.database.execute(f"SELECT indicator, count(*) FROM cards WHERE id IN ({marks}) GROUP BY 1", ids)
        found[hook] = {
            "calls": len(here),
            "encounters": encounters(raw, {hook}),
            "cards": dict(counted.fetchall()),
            "median": median(spent),
            "p95": _rank(spent, 95),
            "p99": _rank(spent, 99),
            "misses": sum(ms > 500 for ms in spent),
        }
    return found


def _rank(ordered: list[float], percent: int) -> float:
    return next(value for place, value in enumerate(ordered, 1) if 100 * place >= percent * len(ordered))


def burden(raw: Raw) -> Row:
    """Recompute cards and seconds for a clinician's day."""
    days = {
        (one["user"], int(one["at"] // DAY))
        for one in raw.recent
        if one.get("user") and one.get("user_kind") in ("Practitioner", "PractitionerRole")
    }
    cards, answers = raw.cards(), raw.answers()
    waited = [answers[card["id"]]["at"] - card["at"] for card in cards if card["id"] in answers]
    middle = median([seconds for seconds in waited if seconds >= 0])
    return {"cards": len(cards), "clinician_days": len(days), "seconds": len(cards) / len(days) * middle}


def drift(raw: Raw) -> dict[tuple[str, str, str], tuple[int, int, int, int]]:
    """Count what was seen and not matched: times, calls, first and last day."""
    found: dict[tuple[str, str, str], tuple[int, int, int, int]] = {}
    for one in raw.decisions:
        day = int(one["at"] // DAY)
        for kind, system, code, times in one["kept"].get("seen", ()):
            before = found.get((kind, system, code), (0, 0, day, day))
            found[kind, system, code] = (before[0] + times, before[1] + 1, min(before[2], day), max(before[3], day))
    return found


def unusable(raw: Raw) -> dict[tuple[str, str], tuple[int, int]]:
    """Count what was set aside: times and calls."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for one in raw.decisions:
        here = Counter(
            (aside.get("concept") or aside["kind"], aside["reason"]) for aside in one["kept"].get("unusable", ())
        )
        for tests in ("measurements", "answers"):
            for name, kept in one["kept"].get(tests, {}).items():
                here.update((aside.get("concept") or name, aside["reason"]) for aside in kept.get("asides", ()))
        for key, times in here.items():
            before = found.get(key, (0, 0))
            found[key] = (before[0] + times, before[1] + 1)
    return found


def groups(raw: Raw, kind: str) -> dict[str, tuple[int, int, int, int]]:
    """Count patients, patients with a card, answered and overridden cards by sex or age band; nothing left out."""
    answers = raw.answers()
    people: dict[str, set[str]] = {}
    with_card: dict[str, set[str]] = {}
    told: dict[str, list[str]] = {}
    for one in raw.recent:
        name = _sex(one) if kind == "sex" else _band(one)
        people.setdefault(name, set()).add(one["patient"])
        for card in one.get("cards", ()):
            with_card.setdefault(name, set()).add(one["patient"])
            if card["id"] in answers:
                told.setdefault(name, []).append(answers[card["id"]]["outcome"])
    return {
        name: (
            len(people[name]),
            len(with_card.get(name, ())),
            len(told.get(name, ())),
            told.get(name, []).count("overridden"),
        )
        for name in people
    }


def _sex(one: Row) -> str:
    return str(one["kept"]["person"].get("sex") or "not recorded")


def _band(one: Row) -> str:
    person = one["kept"]["person"]
    if "ages" in person:
        age = person["ages"][0]
    elif "born" in person:
        day = datetime.fromtimestamp(one["at"], UTC).date().isoformat()
        born = (
            (person["born"] + "-01-01"[len(person["born"]) - 4 :]) if len(person["born"]) < 10 else person["born"][:10]
        )
        age = int(day[:4]) - int(born[:4]) - (day[5:] < born[5:])
    else:
        return "not recorded"
    return (
        "0 to 17" if age < 18 else "18 to 44" if age < 45 else "45 to 64" if age < 65 else "65 to 79" if age < 80
        else "80 and older"
    )  # fmt: skip


def rates(raw: Raw, rule: str, day: int) -> tuple[int, int, int, int]:
    """Return findings and evaluations of a day, and of the same weekday in the eight weeks before."""
    by_day: dict[int, tuple[int, int]] = {}
    for one in raw.decisions:
        place = int(one["at"] // DAY)
        if asked(one, rule):
            count, many = by_day.get(place, (0, 0))
            by_day[place] = (count + fired(one, rule), many + 1)
    before = [by_day.get(day - 7 * week, (0, 0)) for week in range(1, 9)]
    return (*by_day.get(day, (0, 0)), sum(one for one, _ in before), sum(many for _, many in before))


def at_least(count: int, asked_: int, base: int, base_asked: int) -> float:
    """Return how likely so many or more findings are, given the sum of both (in whole numbers)."""
    together, share = count + base, Fraction(asked_, asked_ + base_asked)
    return float(sum(comb(together, k) * share**k * (1 - share) ** (together - k) for k in range(count, together + 1)))
