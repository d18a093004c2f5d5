"""Decisions of admins as a site file, so that they can be reviewed as one; and read back from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from cds_service import schemas
from cds_service.rules.book import RuleBook
from cds_service.rules.source import day as read_day
from cds_service.rules.thresholds import TUNINGS
from cds_service.rules.tuning import current
from cds_service.rules.tuning_check import check
from cds_service.rules.tuning_model import STATUS, Tuning, excepted, exception_text, in_force, kind_of, wrong
from cds_service.schemas import strict_yaml


def lasting(decided: Sequence[Tuning], today: date) -> list[Tuning]:
    """Return the decisions that matter today or later, in their order: those that ended, or were replaced, do not."""
    kept: list[Tuning] = []
    for number, one in enumerate(decided):
        if (one.until is None or one.until > today) and not any(
            _covers(later, one, today) for later in decided[number + 1 :]
        ):
            kept.append(one)
    return kept


def _covers(later: Tuning, one: Tuning, today: date) -> bool:
    """Say whether a later decision leaves nothing of an earlier one, from today on."""
    begins = later.since <= max(one.since, today)
    ends = later.until is None or (one.until is not None and one.until <= later.until)
    return (later.rule, later.name) == (one.rule, one.name) and begins and ends


def site_file(decided: Sequence[Tuning], site: str, today: date) -> dict[str, Any]:
    """
    Return the decisions in the shape of ``hooks/sites/<site>.yaml``.

    What a site file cannot say (an end, a status to come, quiet time, wording, rollout, exceptions) stands below
    ``tunings``.
    """
    thresholds: dict[str, list[dict[str, Any]]] = {}
    status: dict[str, dict[str, Any]] = {}
    others: list[dict[str, Any]] = []
    for one in sorted(lasting(decided, today), key=lambda one: (one.place, one.since)):
        said = {"who": one.who or "unknown", "why": one.why or "unknown"}
        if kind_of(one.name) == "threshold" and one.until is None:
            thresholds.setdefault(one.place, []).append({"since": one.since.isoformat(), "value": one.value, **said})
        elif one.name == STATUS and one.until is None and one.since <= today:
            status[one.rule] = {"status": one.value, **said}
        else:
            others.append(_entry(one, said))
    parts = {"thresholds": thresholds, "status": status, TUNINGS: others}
    return {"site": site, **{name: part for name, part in parts.items() if part}}


def _entry(one: Tuning, said: Mapping[str, str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"set": one.place, "value": one.value}
    if kind_of(one.name) == "exception" and one.value:
        kind, of = excepted(one)
        entry["value"] = {"kind": kind, "of": list(of)}
    entry["since"] = one.since.isoformat()
    if one.until:
        entry["until"] = one.until.isoformat()
    return {**entry, **said}


def read_site_file(document: strict_yaml.Mapping, file: str, book: RuleBook, today: date) -> list[Tuning]:
    """Return the decisions that a file holds, checked. Raises ContentError; a status holds from ``today`` on."""
    site = strict_yaml.Mapping({name: part for name, part in document.items() if name != TUNINGS})
    site.line, site.lines = document.line, document.lines
    schemas.check("site", site, file)
    found = [*_thresholds(document), *_statuses(document, today), *_others(document)]
    for one in found:
        check(one, book)
    return found


def _thresholds(document: Mapping[str, Any]) -> Iterator[Tuning]:
    for place, rows in (document.get("thresholds") or {}).items():
        for row in rows:
            yield _made(place, row["value"], row)


def _statuses(document: Mapping[str, Any], today: date) -> Iterator[Tuning]:
    for rule, row in (document.get("status") or {}).items():
        yield Tuning(rule, STATUS, row["status"], today, row["who"], row["why"])


def _others(document: Mapping[str, Any]) -> Iterator[Tuning]:
    for row in document.get(TUNINGS) or ():
        if not isinstance(row, Mapping) or not {"set", "value", "since", "who", "why"} <= set(row):
            raise wrong(
                "A decision does not read.", TUNINGS, "Each has set, value, since, who and why; until if it ends."
            )
        yield _made(str(row["set"]), row["value"], row)


def _made(place: str, value: Any, row: Mapping[str, Any]) -> Tuning:
    rule, _, name = place.partition(".")
    if isinstance(value, Mapping):
        value = exception_text(str(value.get("kind")), [str(one) for one in value.get("of") or ()])
    elif kind_of(name) == "threshold" and isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    until = read_day(str(row["until"]), place) if row.get("until") else None
    return Tuning(rule, name, value, read_day(str(row["since"]), place), str(row["who"]), str(row["why"]), until)


def news(wanted: Sequence[Tuning], decided: Sequence[Tuning], book: RuleBook, today: date) -> list[Tuning]:
    """
    Return the decisions of a file that have still to be made so that all it says is in force: none the second time.

    Nothing begins in the past: what a file says since long holds from ``today`` on.
    """
    coming = {(one.place, one.value, one.since, one.until) for one in lasting(decided, today)}
    holding, meant = in_force(decided, today), in_force(wanted, today)
    found: list[Tuning] = []
    for one in wanted:
        place = (one.rule, one.name)
        if one.since > today:
            if (one.place, one.value, one.since, one.until) not in coming:
                found.append(one)
        elif meant.get(place) is one and _now(holding.get(place), one, book, today) != (one.value, one.until):
            found.append(msgspec.structs.replace(one, since=today))
    return found


def _now(holding: Tuning | None, wanted: Tuning, book: RuleBook, today: date) -> tuple[Any, date | None]:
    """Return what is in force in place of what is wanted, and up to when."""
    if holding is not None:
        return holding.value, holding.until
    said = current(book, wanted.rule, wanted.name, today)
    return "" if said is None else said, None
