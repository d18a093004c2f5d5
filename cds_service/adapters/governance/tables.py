"""The tables of governance, in the ledger's database: what admins decided, who they are, what they did."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Float, Index, Integer, String, Table, Text, select

from cds_service.adapters.ledger.schema import metadata

_Number = BigInteger().with_variant(Integer, "sqlite")
_COUNTS: Any = {"sqlite_autoincrement": True}

# Append-only: triggers refuse UPDATE and DELETE on these three (migration 0002).
changes = Table(
    "changes",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("at", Float(53), nullable=False),
    Column("rule", String(120), nullable=False),
    Column("name", String(120), nullable=False),
    Column("tuning", JSON, nullable=False),
    Column("who", String(120), nullable=False),
    Column("base", _Number, nullable=False),
    Column("asks", Text, nullable=False),
    Column("restores", _Number, nullable=False),
    Column("trial", JSON, nullable=False),
    Index("changes_by_name", "rule", "name"),
    **_COUNTS,
)

rulings = Table(
    "rulings",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("at", Float(53), nullable=False),
    Column("change", _Number, nullable=False, unique=True),
    Column("who", String(120), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("why", Text, nullable=False),
    **_COUNTS,
)

# ``hash`` is keyed and covers the row and the hash before it: without the key no row can be changed unnoticed.
audit = Table(
    "audit",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("at", Float(53), nullable=False, index=True),
    Column("who", String(120), nullable=False),
    Column("role", String(40), nullable=False),
    Column("action", String(80), nullable=False),
    Column("subject", String(400), nullable=False),
    Column("old", Text, nullable=False),
    Column("new", Text, nullable=False),
    Column("origin", String(80), nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    **_COUNTS,
)

accounts = Table(
    "accounts",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("secret", String(300), nullable=False),
    Column("roles", JSON, nullable=False),
    Column("disabled", Integer, nullable=False),
    Column("made", Float(53), nullable=False),
    Column("changed", Float(53), nullable=False),
)

# Of a session only a digest of its token is kept: who reads the database cannot sign in with it.
sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account", String(80), nullable=False, index=True),
    Column("made", Float(53), nullable=False),
    Column("seen", Float(53), nullable=False),
    Column("csrf", String(64), nullable=False),
)

# Failed tries to sign in: a keyed digest of name and address.
attempts = Table(
    "attempts",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("who", String(64), nullable=False),
    Column("at", Float(53), nullable=False),
    Index("attempts_by_who", "who", "at"),
    **_COUNTS,
)

# Back-tests under way, so that any process can show how far they are. ``touched``: when there was progress last.
trials = Table(
    "trials",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("at", Float(53), nullable=False, index=True),
    Column("touched", Float(53), nullable=False),
    Column("who", String(120), nullable=False),
    Column("state", String(16), nullable=False),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("request", JSON, nullable=False),
    Column("result", JSON, nullable=False),
    Column("why", Text, nullable=False),
)
# Each change with what became of it: the ruling, or nothing.
decided = (
    select(
        changes,
        rulings.c.outcome.label("ruling"),
        rulings.c.who.label("ruled_by"),
        rulings.c.at.label("ruled_at"),
        rulings.c.why.label("ruled_why"),
    )
    .select_from(changes.outerjoin(rulings, rulings.c.change == changes.c.number))
    .subquery("decided")
)
APPEND_ONLY = ("changes", "rulings", "audit")
# No database counts further; a larger number in an address is nobody's.
LARGEST = 2**62
