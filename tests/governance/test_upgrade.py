"""A ledger of before governance is taken over as it is: copied first, and nothing lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from alembic import command
from sqlalchemy import insert, inspect

from cds_service.adapters.governance.tables import APPEND_ONLY
from cds_service.adapters.ledger import Database
from cds_service.adapters.ledger.migrating import MIGRATIONS, _config
from cds_service.adapters.ledger.schema import feedback, switches
from tests.governance.conftest import decision
from tests.ledger.conftest import OpenLedger, opened, sqlite_url

__all__ = ["opened", "sqlite_url"]
ANSWER = {
    "digest": "d", "card": "card-1", "service": "a-service", "issuer": "", "outcome": "accepted", "at": 1.5,
    "received": 2.5, "suggestions": ["s"], "reason": "", "reason_system": "", "reason_display": "", "comment": "é",
    "seal": "x",
}  # fmt: skip
SWITCH = {"at": 3.0, "scope": "rule", "name": "a-rule", "off": 1, "who": "otto", "why": "It shouts at everybody"}


def old_ledger(url: str) -> None:
    """Make a ledger as version 0001 left it, with something in it."""
    database = Database(url)
    with database.writing() as connection:
        config = _config(MIGRATIONS)
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        assert not set(APPEND_ONLY) & set(inspect(connection).get_table_names())
        connection.execute(insert(feedback), ANSWER)
        connection.execute(insert(switches), SWITCH)
    database.close()


def test_an_older_ledger_keeps_what_it_had_and_takes_decisions(url: str, opened: OpenLedger) -> None:
    old_ledger(url)
    ledger = opened(url)
    made = ledger.governance.propose(decision(), base=0, role="editor", origin="192.0.2.1")
    ledger.look()
    with ledger.database.reading() as connection:
        [answer] = connection.execute(feedback.select()).mappings().all()
        [switched] = connection.execute(switches.select()).mappings().all()

    assert ANSWER | {"number": 1} == dict(answer)
    assert SWITCH | {"number": 1} == dict(switched)
    assert {"a-rule"} == ledger.switches().rules
    assert (made.tuning,) == ledger.decided
    assert [] == ledger.governance.audit.verify()


def test_before_it_is_taken_over_the_file_is_copied(sqlite_url: str, opened: OpenLedger) -> None:
    old_ledger(sqlite_url)
    path = opened(sqlite_url).database.path
    assert path is not None
    copy = path.with_name("ledger.db.0001.bak")

    assert "0o600" == oct(copy.stat().st_mode & 0o777)
    with closing(sqlite3.connect(copy)) as old:
        assert [("0001",)] == old.execute("SELECT version_num FROM alembic_version").fetchall()
        assert [("card-1",)] == old.execute("SELECT card FROM feedback").fetchall()
        assert [(0,)] == old.execute("SELECT count(*) FROM sqlite_master WHERE name='changes'").fetchall()


def test_taken_over_by_two_processes_at_once_it_is_taken_over_once(url: str, opened: OpenLedger) -> None:
    from concurrent.futures import ThreadPoolExecutor

    old_ledger(url)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: opened(url), range(3)))

    for number, ledger in enumerate(found):
        ledger.governance.propose(decision(), base=number, role="editor", origin="192.0.2.1")
    assert 3 == len(found[0].governance.history())
