"""The tally of a population as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cds_service.cli import show
from cds_service.rules.book import RuleBook
from cds_service.rules.model import INDICATORS
from cds_service.screening import Tally
from cds_service.screening.tally import Row, counted

TOP = 30
VERDICTS = ("yes", "no", "unknown")
URGENT_FIRST = tuple(reversed(INDICATORS))


def lines(tally: Tally, book: RuleBook) -> Iterator[str]:
    """Yield the whole report."""
    yield from _patients(tally)
    yield from _rules(tally, book)
    yield from _section("Not evaluated, by what is missing", counted(tally.missing, "rule", "missing"))
    yield from _section(
        "Answers that the whole record would have changed (the prefetch templates ask for a part of it)",
        counted(tally.differing, "rule", "as sent", "whole record"),
    )
    yield from _section(
        "Set aside, by reason (sent: in the calls; on record: in the whole records)", tally.aside.rows("kind", "reason")
    )
    yield from _codes(tally)
    yield from _section("Refused calls", counted(tally.refused, "reason"))
    yield from _section("ERRORS, which must never happen", counted(tally.failed, "what"))


def _patients(tally: Tally) -> Iterator[str]:
    cards = ", ".join(f"{tally.cards[name]} {name}" for name in URGENT_FIRST if tally.cards[name])
    yield f"{tally.patients} patients, {tally.deceased} of them deceased, {tally.undated} without any dated resource"
    held = sum(tally.held_back.values())
    yield f"{sum(tally.cards.values())} cards{f' ({cards})' if cards else ''}, {held} findings held back"
    yield "Time for one call: " + ", ".join(f"{name} {taken:.1f} ms" for name, taken in tally.times().items())


def _rules(tally: Tally, book: RuleBook) -> Iterator[str]:
    asked = {rule for rule, _ in tally.verdicts}
    rows: list[Row] = [
        {"": book.rules[rule].number, "rule": rule}
        | {"cannot tell" if said == "unknown" else said: tally.verdicts[rule, said] for said in VERDICTS}
        | {indicator: tally.indicators[rule, indicator] for indicator in URGENT_FIRST}
        for rule in sorted(asked, key=lambda name: book.rules[name].number)
    ]
    yield from _section("Rules", rows)


def _codes(tally: Tally) -> Iterator[str]:
    yield from _section("Code systems that no concept is written in", _top(tally.systems()))
    found = tally.not_matched()
    alike = [row for row in found if row["like"]]
    yield from _section("Worded like something that the rules read, but not matched: somebody should look", _top(alike))
    units = [row for row in found if row["kind"] == "units"]
    yield from _section(
        "Units that cannot be used",
        [{key: row[key] for key in ("system", "code", "sent", "on_record")} for row in units],
    )
    title = f"All codes and units that mean nothing to the rules, the most frequent {TOP} of {len(found)}"
    yield from _section(title, _top([{key: row[key] for key in row if key != "like"} for row in found]))


def _top(rows: list[Row]) -> list[Row]:
    return [{name: _short(name, cell) for name, cell in row.items()} for row in rows[:TOP]]


def _short(name: str, cell: str | int) -> str | int:
    """Shorten what would break the table: the beginning of an address, the end of a wording."""
    if isinstance(cell, int) or len(cell) <= 44:
        return cell
    return f"...{cell[-40:]}" if name == "system" else f"{cell[:40]}..."


def _section(title: str, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    if rows:
        yield f"\n{title}"
        heads = [name.replace("_", " ") for name in rows[0]]
        yield from show.indented(show.table(heads, [list(row.values()) for row in rows]))
