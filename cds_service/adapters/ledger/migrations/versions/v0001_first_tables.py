"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "0001", None, None, None
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.Float(53)


def upgrade() -> None:
    """Make the tables."""
    _decisions()
    _cards_and_feedback()
    _operations()


def downgrade() -> None:
    """Nothing older exists."""
    raise NotImplementedError


def _decisions() -> None:
    op.create_table(
        "chains",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("started", _MOMENT, nullable=False),
        sa.Column("after_chain", sa.String(32), nullable=False),
        sa.Column("after_place", sa.Integer(), nullable=False),
        sa.Column("after_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "decisions",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("chain", sa.String(32), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("service", sa.String(80), nullable=False),
        sa.Column("patient", sa.String(64), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("facts", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("chain", "place", name="decisions_in_order"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("decisions_by_patient", "decisions", ["patient", "at"], unique=False)
    op.create_index("decisions_by_time", "decisions", ["at"], unique=False)
    op.create_table(
        "purges",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("why", sa.String(16), nullable=False),
        sa.Column("chain", sa.String(32), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sqlite_autoincrement=True,
    )
    op.create_index("purges_by_chain", "purges", ["chain", "first"], unique=False)


def _cards_and_feedback() -> None:
    op.create_table(
        "cards",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("decision", sa.String(64), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("indicator", sa.String(16), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("suggestions", sa.JSON(), nullable=False),
        sa.Column("seen", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_cards_at", "cards", ["at"], unique=False)
    op.create_index("ix_cards_decision", "cards", ["decision"], unique=False)
    op.create_table(
        "feedback",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("card", sa.String(256), nullable=False),
        sa.Column("service", sa.String(80), nullable=False),
        sa.Column("issuer", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("received", _MOMENT, nullable=False),
        sa.Column("suggestions", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("reason_system", sa.String(500), nullable=False),
        sa.Column("reason_display", sa.String(500), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("seal", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("digest"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_feedback_card", "feedback", ["card"], unique=False)
    op.create_index("ix_feedback_received", "feedback", ["received"], unique=False)


def _operations() -> None:
    # Used tokens need not survive a crash of the server, and a hook call waits for them.
    unlogged = ["UNLOGGED"] if op.get_context().dialect.name == "postgresql" else []
    op.create_table(
        "replays",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("until", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        prefixes=unlogged,
    )
    op.create_index("ix_replays_until", "replays", ["until"], unique=False)
    op.create_table(
        "switches",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("off", sa.Integer(), nullable=False),
        sa.Column("who", sa.String(120), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "marks",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
