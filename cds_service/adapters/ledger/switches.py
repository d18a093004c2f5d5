"""Kill switches: a rule, a service or everything switched off by the hospital, at once and without a restart."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection, insert, select

from cds_service.adapters.ledger.schema import switches

ALL, SERVICE, RULE = SCOPES = ("all", "service", "rule")


class Switch(msgspec.Struct, frozen=True):
    """A switch as somebody left it: ``scope`` is all, service or rule; ``at`` in seconds since 1970 (UTC)."""

    scope: str
    name: str
    off: bool
    at: float
    who: str
    why: str


class Switches(msgspec.Struct, frozen=True):
    """What is switched off now."""

    everything: bool = False
    services: frozenset[str] = frozenset()
    rules: frozenset[str] = frozenset()

    def stops(self, service: str) -> bool:
        """Say whether a service is to answer without asking any rule."""
        return self.everything or service in self.services


def history(connection: Connection) -> list[Switch]:
    """Return every time that something was switched, oldest first."""
    return [one for _, one in _numbered(connection)]


def newest(connection: Connection) -> tuple[int, Switches]:
    """Return the number of the newest switch (0: there is none), and what is switched off after it."""
    found = _numbered(connection)
    return found[-1][0] if found else 0, combined(one for _, one in found)


def _numbered(connection: Connection) -> list[tuple[int, Switch]]:
    rows = connection.execute(select(switches).order_by(switches.c.number)).mappings()
    return [
        (row["number"], Switch(row["scope"], row["name"], bool(row["off"]), row["at"], row["who"], row["why"]))
        for row in rows
    ]


def in_force(switched: Iterable[Switch]) -> list[Switch]:
    """Return how each switch was left."""
    return list({(one.scope, one.name): one for one in switched}.values())


def combined(switched: Iterable[Switch]) -> Switches:
    """Return what is switched off after all of this."""
    off = [one for one in in_force(switched) if one.off]
    return Switches(
        any(one.scope == ALL for one in off),
        frozenset(one.name for one in off if one.scope == SERVICE),
        frozenset(one.name for one in off if one.scope == RULE),
    )


def write(connection: Connection, switched: Switch) -> None:
    """Write down that something was switched. Nothing is ever changed or deleted."""
    values = msgspec.structs.asdict(switched)
    connection.execute(insert(switches).values({**values, "off": int(switched.off)}))
