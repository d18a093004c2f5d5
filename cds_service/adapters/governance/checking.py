"""What was decided, held against what the audit tells of it: one is not changed without the other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, func, select

from cds_service.adapters.governance.errors import clean
from cds_service.adapters.governance.tables import changes, rulings

PROPOSED, RESTORED, CHANGED = DEEDS = ("propose change", "restore", "change")
RULED = {"approved": "approve change", "rejected": "reject change", "withdrawn": "withdraw change"}
_SUBJECT = re.compile(r" change (\d+)$")
_encode = msgspec.json.encode


class Told(msgspec.Struct, frozen=True):
    """What an entry of the audit tells of a change."""

    action: str
    who: str
    new: str


def subject(place: str, number: int) -> str:
    """Return how the audit names a change."""
    return f"{place} change {number}"


def is_about_change(named: str) -> bool:
    """Say whether an entry tells of a change."""
    return _SUBJECT.search(named) is not None


def newest(connection: Connection) -> tuple[int, int]:
    """Return the numbers of the newest change and the newest ruling; 0 where there is none."""
    asked = (select(func.max(changes.c.number)), select(func.max(rulings.c.number)))
    many, ruled = (connection.execute(one).scalar() or 0 for one in asked)
    return many, ruled


def problems(connection: Connection, until: tuple[int, int], told: Mapping[str, Sequence[Told]]) -> Iterator[str]:
    """
    Yield what does not agree.

    ``until`` are the newest numbers from before the audit was read: what came later may stand in it, or not yet. The
    other way round there is no doubt: whatever the audit tells of is there when we look now.
    """
    known = set[int]()
    for row in connection.execute(select(changes).order_by(changes.c.number)):
        known.add(row.number)
        found = [one for one in told.get(subject(f"{row.rule}.{row.name}", row.number), ()) if one.action in DEEDS]
        if not found and row.number <= until[0]:
            yield f"Change {row.number} does not stand in the audit."
        elif found and not any(_agrees(one, row.who, _encode(row.tuning).decode(), bool(row.asks)) for one in found):
            yield f"Change {row.number} is not what the audit tells of it."
    yield from (f"Change {number} is missing." for number in sorted({_number(named) for named in told} - known))
    yield from _rulings(connection, until[1], told)


def _agrees(one: Told, who: str, new: str, asks: bool) -> bool:
    return (one.who, one.new) == (clean(who)[:120], clean(new)) and (one.action == PROPOSED) == asks


def _number(named: str) -> int:
    found = _SUBJECT.search(named)
    return int(found[1]) if found else 0


def _rulings(connection: Connection, until: int, told: Mapping[str, Sequence[Told]]) -> Iterator[str]:
    deeds = {
        (_number(named), one.action, one.who)
        for named, entries in told.items()
        for one in entries
        if one.action in RULED.values()
    }
    known = set[int]()
    for row in connection.execute(select(rulings).order_by(rulings.c.number)):
        known.add(row.change)
        if row.number <= until and (row.change, RULED.get(row.outcome), clean(row.who)[:120]) not in deeds:
            yield f"The ruling on change {row.change} is not what the audit tells of it."
    missing = sorted({number for number, *_ in deeds} - known)
    yield from (f"The ruling on change {number} is missing." for number in missing)
