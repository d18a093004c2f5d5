"""The chain of hashes over decisions: each row vouches for the one before, so that none can be changed unnoticed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, insert, select

from cds_service.adapters.ledger.schema import cards, chains, decisions
from cds_service.recording import CardRow, DecisionRow

_encode = msgspec.json.Encoder(order="sorted").encode
SEALED = ("id", "at", "service", "patient", "content")


class Link(msgspec.Struct, frozen=True):
    """The last row of a chain: its place and hash. Before the first row the place is -1."""

    chain: str
    place: int = -1
    hash: str = ""


class Ready(msgspec.Struct, frozen=True, gc=False):
    """A decision as it waits to be stored: encoded, so that it holds some kB, and only its hash is left to make."""

    id: str
    at: float
    service: str
    patient: str
    content: str
    facts: bytes
    cards: tuple[CardRow, ...] = ()

    @property
    def weight(self) -> int:
        """How many bytes it keeps, about."""
        return len(self.content) + len(self.facts) + 2_000 * len(self.cards) + 500


def ready(row: DecisionRow) -> Ready:
    """Encode a row."""
    return Ready(row.id, row.at, row.service, row.patient, _encode(row.content).decode(), row.facts, row.cards)


class Chain:
    """
    The chain that one process writes.

    It begins by naming the newest row that there is: the end of an older chain cannot be cut off unnoticed either.
    """

    def __init__(self, name: str, started: float) -> None:
        self._started = started
        self._begun = False
        self.last = Link(name)

    def write(self, connection: Connection, rows: Sequence[Ready]) -> Link:
        """Insert rows with their cards; the last link, to be taken over (``settle``) once they are committed."""
        last = self.last
        if not self._begun:
            last = msgspec.structs.replace(last, hash=self._begin(connection))
        sealed: list[dict[str, Any]] = []
        for row in rows:
            values = _values(row)
            last = Link(last.chain, last.place + 1, link(last.hash, values))
            sealed.append({**values, "chain": last.chain, "place": last.place, "hash": last.hash})
        connection.execute(insert(decisions), sealed)
        shown = [values for row in rows for values in _cards(row)]
        if shown:
            connection.execute(insert(cards), shown)
        return last

    def settle(self, last: Link) -> None:
        """Go on from here: the rows are in the database."""
        self.last, self._begun = last, True

    def _begin(self, connection: Connection) -> str:
        newest = (
            connection.execute(
                select(decisions.c.chain, decisions.c.place, decisions.c.hash)
                .order_by(decisions.c.number.desc())
                .limit(1)
            )
            .mappings()
            .first()
        )
        record = {
            "id": self.last.chain,
            "started": self._started,
            "after_chain": newest["chain"] if newest else "",
            "after_place": newest["place"] if newest else -1,
            "after_hash": newest["hash"] if newest else "",
        }
        connection.execute(insert(chains), [record])
        return beginning(record)


def beginning(record: RowMapping | dict[str, Any]) -> str:
    """Return the hash that the first row of a chain builds on."""
    names = ("id", "started", "after_chain", "after_place", "after_hash")
    return hashlib.sha256(_encode([record[name] for name in names])).hexdigest()


def link(previous: str, row: RowMapping | dict[str, Any]) -> str:
    """Return the hash of a row: of the hash before it and of all that it says."""
    facts = hashlib.sha256(row["facts"]).hexdigest()
    said = _encode([previous, *(row[name] for name in SEALED), facts])
    return hashlib.sha256(said).hexdigest()


def _values(row: Ready) -> dict[str, Any]:
    return {
        "id": row.id,
        "at": row.at,
        "service": row.service,
        "patient": row.patient,
        "content": row.content,
        "facts": row.facts,
    }


def _cards(row: Ready) -> list[dict[str, Any]]:
    return [
        {
            "id": card.id,
            "decision": row.id,
            "at": row.at,
            "indicator": card.indicator,
            "rules": card.rules,
            "suggestions": card.suggestions,
            "seen": card.seen,
        }
        for card in row.cards
    ]
