"""Alembic's entry: all migrations run in the one transaction that is open on the connection they are given."""

from __future__ import annotations

from alembic import context

from cds_service.adapters.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
