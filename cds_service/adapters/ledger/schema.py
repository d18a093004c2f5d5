"""The tables of the ledger, for SQLite and PostgreSQL alike. Changes come as a further migration, never here alone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()
# SQLite counts up by itself only on INTEGER; with AUTOINCREMENT it never uses the number of a deleted row again.
_Number = BigInteger().with_variant(Integer, "sqlite")
_COUNTS: Any = {"sqlite_autoincrement": True}

# One chain of hashes for each process that writes; ``after_`` is the newest row that it knew when it began, so that
# the end of an older chain cannot be cut off unnoticed.
chains = Table(
    "chains",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("started", Float(53), nullable=False),
    Column("after_chain", String(32), nullable=False),
    Column("after_place", Integer, nullable=False),
    Column("after_hash", String(64), nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("at", Float(53), nullable=False),
    Column("chain", String(32), nullable=False),
    Column("place", Integer, nullable=False),
    Column("service", String(80), nullable=False),
    Column("patient", String(64), nullable=False),
    Column("content", Text, nullable=False),
    Column("facts", LargeBinary, nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("chain", "place", name="decisions_in_order"),
    Index("decisions_by_time", "at"),
    Index("decisions_by_patient", "patient", "at"),
    **_COUNTS,
)

# Rows that were deleted on purpose: the places ``first`` to ``last`` of a chain, and the hash of the last.
purges = Table(
    "purges",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("at", Float(53), nullable=False),
    Column("why", String(16), nullable=False),
    Column("chain", String(32), nullable=False),
    Column("first", Integer, nullable=False),
    Column("last", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
    Index("purges_by_chain", "chain", "first"),
    **_COUNTS,
)

cards = Table(
    "cards",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("decision", String(64), nullable=False, index=True),
    Column("at", Float(53), nullable=False, index=True),
    Column("indicator", String(16), nullable=False),
    Column("rules", JSON, nullable=False),
    Column("suggestions", JSON, nullable=False),
    Column("seen", JSON, nullable=False),
    **_COUNTS,
)

# ``at`` is when the clinician answered, as the EHR says, ``received`` when we were told. ``seal`` is a keyed digest of
# the whole row: without the key nobody can change it unnoticed.
feedback = Table(
    "feedback",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("card", String(256), nullable=False, index=True),
    Column("service", String(80), nullable=False),
    Column("issuer", String(64), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("at", Float(53), nullable=False),
    Column("received", Float(53), nullable=False, index=True),
    Column("suggestions", JSON, nullable=False),
    Column("reason", String(200), nullable=False),
    Column("reason_system", String(500), nullable=False),
    Column("reason_display", String(500), nullable=False),
    Column("comment", Text, nullable=False),
    Column("seal", String(64), nullable=False),
    **_COUNTS,
)

# Tokens that were used. On SQLite they are in a file of their own (replays.py), and this stays empty.
replays = Table(
    "replays",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("until", Float(53), nullable=False, index=True),
)

switches = Table(
    "switches",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("at", Float(53), nullable=False),
    Column("scope", String(16), nullable=False),
    Column("name", String(120), nullable=False),
    Column("off", Integer, nullable=False),
    Column("who", String(120), nullable=False),
    Column("why", Text, nullable=False),
    **_COUNTS,
)

# What is remembered of the database itself: which keys made its pseudonyms, when it was last purged.
marks = Table(
    "marks",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
