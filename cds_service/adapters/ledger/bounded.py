"""Connections to PostgreSQL on which nothing is waited for without end, whatever the server does."""

from __future__ import annotations

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Engine, event

_T = TypeVar("_T")
# The server's own limit comes first, since its answer says what was waited for: a client waits so many seconds more.
# A connection that lies in the pool is given no longer than this to say that it lives: if not, another is made.
GRACE = 0.5


class BoundedConnection(psycopg.Connection[Any]):
    """
    A connection that closes itself where an answer takes too long.

    ``limit`` is how long one may take, in seconds: of the server's own limits (statement_timeout) none holds while its
    processes or its disk stand still, or where a pooler answers in its stead.
    """

    limit = GRACE

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
        """Wait for an answer. Raises psycopg.OperationalError when it has not come within the limit."""
        try:
            return super().wait(gen, interval, self.limit if timeout is None else timeout)
        except psycopg.OperationalError as failure:
            # An answer of the server has a code. Without one it may still come, and would be taken for another's.
            if failure.sqlstate is None and not isinstance(failure, psycopg.errors.PipelineAborted):
                self.close()
            raise


def bound(engine: Engine, patience: float) -> None:
    """Let an engine connect so; a connection is given ``patience`` seconds until its first transaction begins."""

    def connect(_dialect: Any, _record: Any, arguments: Any, parameters: Any) -> BoundedConnection:
        made = BoundedConnection.connect(*arguments, **parameters)
        made.limit = patience + GRACE
        return made

    def rest(connection: BoundedConnection | None, _record: Any) -> None:
        if connection is not None:
            connection.limit = GRACE

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "checkin", rest)
