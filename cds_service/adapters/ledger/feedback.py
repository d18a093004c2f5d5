"""Feedback, stored once however often it is sent, and on disk before anybody is told that it was stored."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping
from sqlalchemy.dialects import postgresql, sqlite

from cds_service.adapters.ledger.schema import feedback
from cds_service.protocol.feedback import Feedback

_encode = msgspec.json.Encoder(order="sorted").encode
SEALED = tuple(column.name for column in feedback.columns if column.name not in ("number", "seal"))


def rows(items: Sequence[Feedback], service: str, issuer: str, received: float, key: bytes) -> list[dict[str, Any]]:
    """Return the rows of a message, each once."""
    found = {one["digest"]: one for one in (_row(item, service, issuer, received) for item in items)}
    return [{**one, "seal": seal(one, key)} for one in found.values()]


def _row(item: Feedback, service: str, issuer: str, received: float) -> dict[str, Any]:
    return {
        "digest": digest(item, service),
        "card": item.card,
        "service": service,
        "issuer": issuer,
        "outcome": item.outcome,
        "at": item.at,
        "received": received,
        "suggestions": list(item.suggestions),
        "reason": item.reason,
        "reason_system": item.reason_system,
        "reason_display": item.reason_display,
        "comment": item.comment,
    }


def digest(item: Feedback, service: str) -> str:
    """Return what tells one answer to a card from another; the same answer sent again has the same."""
    told = [service, item.card, item.outcome, sorted(item.suggestions), item.at]
    return hashlib.sha256(_encode(told)).hexdigest()


def seal(row: Mapping[str, Any] | RowMapping, key: bytes) -> str:
    """Return a keyed digest of all that a row says."""
    return hmac.new(key, _encode([row[name] for name in SEALED]), hashlib.sha256).hexdigest()


def insert_new(connection: Connection, values: Sequence[Mapping[str, Any]]) -> int:
    """Insert the rows that are not there yet; how many those were."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(feedback).on_conflict_do_nothing(index_elements=["digest"])
    return len(connection.execute(statement.returning(feedback.c.digest), [dict(one) for one in values]).all())
