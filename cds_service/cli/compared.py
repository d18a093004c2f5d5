"""A back-test for a terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from cds_service.backtest import Backtest, Changed, by_urgency
from cds_service.cli import show

_SIDES = ("before", "after")


def as_text(found: Backtest, assignments: Sequence[str], seconds: float, listed: int) -> str:
    """Say what a change would do: figures, then the calls for which it makes a difference."""
    return "\n".join(_lines(found, assignments, seconds, listed))


def _lines(found: Backtest, assignments: Sequence[str], seconds: float, listed: int) -> Iterator[str]:
    rate = found.calls / seconds if seconds else 0.0
    yield f"{found.calls} calls of {found.patients} patients in {seconds:.1f} s ({rate:.0f} per second)"
    yield f"With {', '.join(assignments)}"
    yield ""
    yield f"Cards per 100 {found.unit}"
    yield from show.indented(show.table(("", *_SIDES), _card_rows(found)))
    yield ""
    yield "Findings"
    yield from show.indented(show.table(("rule", *_SIDES, "both"), _rule_rows(found)))
    yield from _held(found)
    if found.refused:
        yield f"{found.refused} calls could not be read, or not be evaluated at all."
    yield ""
    yield f"{found.differing} {found.unit} for which it makes a difference"
    for one in found.changed[:listed]:
        yield f"  {_who(one)}: {_what(one)}"
    if found.differing > listed:
        yield f"  and {found.differing - listed} more (--show)"


def _who(one: Changed) -> str:
    return show.plain(one.patient) + (f" (decision {show.plain(one.decision)})" if one.decision else "")


def _what(one: Changed) -> str:
    said = " ".join([*(f"+{rule}" for rule in one.gains), *(f"-{rule}" for rule in one.loses)])
    return said or f"{_indicators(one.before)} becomes {_indicators(one.after)}"


def _indicators(said: Sequence[tuple[str, str]]) -> str:
    return ", ".join(indicator for _, indicator in said)


def _card_rows(found: Backtest) -> list[tuple[str, ...]]:
    names = [name for name, _ in by_urgency(found.before.cards)]
    rows = [(name, *(f"{found.per_hundred(which, name):.1f}" for which in (0, 1))) for name in names]
    return [*rows, ("all", *(f"{found.per_hundred(which):.1f}" for which in (0, 1)))]


def _rule_rows(found: Backtest) -> list[tuple[str | int, ...]]:
    before, after = found.before.fired, found.after.fired
    changed = [rule for rule in sorted({*before, *after}) if before.get(rule, 0) != after.get(rule, 0)]
    rows: list[tuple[str | int, ...]] = [
        (rule, before.get(rule, 0), after.get(rule, 0), found.both.get(rule, 0)) for rule in changed
    ]
    return rows or [("no rule speaks more or less often", "", "", "")]


def _held(found: Backtest) -> Iterator[str]:
    for name, side in zip(_SIDES, (found.before, found.after), strict=True):
        for reason, many in sorted(side.held.items()):
            yield f"Held back {name}: {many} of {reason}"
        for rule, many in sorted(side.silent.items()):
            yield f"Silent in pilot {name}: {many} of {rule}"


def as_json(found: Backtest, assignments: Sequence[str], seconds: float, _listed: int) -> str:
    """Return the figures, and every listed call for which the change makes a difference."""
    return json.dumps(_figures(found, assignments, seconds), indent=2, ensure_ascii=False)


def _figures(found: Backtest, assignments: Sequence[str], seconds: float) -> dict[str, Any]:
    sides = {name: msgspec.to_builtins(side) for name, side in zip(_SIDES, (found.before, found.after), strict=True)}
    return {
        "set": list(assignments),
        "hook": found.hook,
        "day": found.day.isoformat(),
        "calls": found.calls,
        "patients": found.patients,
        "refused": found.refused,
        "not_evaluated": found.not_evaluated,
        "seconds": round(seconds, 3),
        "books": {name: side["fingerprint"] for name, side in sides.items()},
        "per_hundred": {
            name: {one: round(found.per_hundred(which, one), 2) for one, _ in by_urgency({})}
            for which, name in enumerate(_SIDES)
        },
        "cards": {name: side["cards"] for name, side in sides.items()},
        "findings": {**{name: side["fired"] for name, side in sides.items()}, "both": found.both},
        "silent": {name: side["silent"] for name, side in sides.items()},
        "held_back": {name: side["held"] for name, side in sides.items()},
        "differing": found.differing,
        "changed": [_changed(one) for one in found.changed],
    }


def _changed(one: Changed) -> dict[str, Any]:
    return {
        "patient": one.patient,
        "decision": one.decision,
        "gains": one.gains,
        "loses": one.loses,
        "cards": dict(zip(_SIDES, one.cards, strict=True)),
    }
