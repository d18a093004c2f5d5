"""A process that is forked while the ledger is away knows what any other process of the service has learnt."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import create_engine

from cds_service.adapters.ledger import Ledger, Switches
from cds_service.errors import Unavailable
from cds_service.rules.tuning import Tuning
from tests.build import NOW
from tests.ledger.conftest import OpenLedger
from tests.ledger.test_tuning import DAY, HIGHER

OFF = Switches(everything=True)


def forked(work: Callable[[], object]) -> bool:
    """Do something in a process of its own, as a worker does; say whether it was so there."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 1)
    return code == 0


@contextmanager
def away(ledger: Ledger) -> Iterator[None]:
    """Take a database away, and bring it back."""
    path = ledger.database.path
    ledger.database.close()
    if path is None:
        address = ledger.database.engine.url
        engine = create_engine(address.set(database="postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"ALTER DATABASE {address.database} ALLOW_CONNECTIONS false")
            try:
                yield
            finally:
                connection.exec_driver_sql(f"ALTER DATABASE {address.database} ALLOW_CONNECTIONS true")
        engine.dispose()
    else:
        path.rename(path.with_suffix(".away"))
        try:
            yield
        finally:
            path.with_suffix(".away").rename(path)


def worker(ledger: Ledger, deed: Callable[[], object]) -> Callable[[], bool]:
    """Return what a worker does that starts, does something, learns of it, and ends."""

    def work() -> bool:
        ledger.start()
        deed()
        ledger.look()
        return ledger.close(20)

    return work


def everything_off(ledger: Ledger) -> Callable[[], object]:
    return lambda: ledger.switch("all", "", True, "ward pharmacist", "wrong dose on a card")


def decide(ledger: Ledger, one: Tuning = HIGHER) -> None:
    governance = ledger.governance
    governance.propose(one, base=governance.newest(one.rule, one.name), role="shell", origin="shell")


def begun(ledger: Ledger) -> tuple[Switches, tuple[Tuning, ...], str]:
    """Return what a process knows that begins now."""
    ledger.start()
    return ledger.switches(), ledger.decided, ledger.state().trouble


def test_what_was_switched_off_stays_off_in_a_process_forked_while_the_ledger_is_away(ledger: Ledger) -> None:
    assert forked(worker(ledger, everything_off(ledger)))
    assert Switches() == ledger.switches()  # the master never looks
    with away(ledger):
        assert forked(lambda: (OFF, (), "ledger-gone") == begun(ledger))


def test_what_was_switched_on_again_is_on_there(ledger: Ledger) -> None:
    assert forked(worker(ledger, everything_off(ledger)))
    assert forked(worker(ledger, lambda: ledger.switch("all", "", False, "ward pharmacist", "the rule is corrected")))
    with away(ledger):
        assert forked(lambda: (Switches(), (), "ledger-gone") == begun(ledger))


def test_what_an_admin_decided_is_in_force_in_a_process_forked_while_the_ledger_is_away(ledger: Ledger) -> None:
    heard: list[list[Tuning]] = []

    def hear(decided: Sequence[Tuning]) -> None:
        heard.append(list(decided))

    ledger.on_tuning = hear
    assert forked(worker(ledger, lambda: decide(ledger)))
    with away(ledger):
        assert forked(lambda: begun(ledger)[1] == (HIGHER,) and heard == [[HIGHER]])


def test_a_first_look_that_takes_its_time_is_not_needed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cds_service.adapters.ledger.ledger.FIRST_LOOK", 0.0)
    assert forked(worker(ledger, everything_off(ledger)))
    monkeypatch.setattr(ledger, "look", lambda: time.sleep(60))

    assert forked(lambda: begun(ledger)[0] == OFF)


def test_a_process_that_cannot_look_learns_from_one_that_could(ledger: Ledger) -> None:
    assert forked(worker(ledger, everything_off(ledger)))
    with away(ledger):
        ledger.look()

        assert (OFF, "ledger-gone") == (ledger.switches(), ledger.state().trouble)


def test_a_new_day_is_told_although_the_ledger_is_away(sqlite_url: str, opened: OpenLedger) -> None:
    now, heard = [NOW.timestamp()], list[date]()
    ledger = opened(sqlite_url, now=lambda: now[0])
    ledger.on_tuning = lambda _: heard.append(date.fromordinal(719_163 + int(now[0] // DAY)))
    ledger.look()
    with away(ledger):
        ledger.look()
        now[0] += DAY
        ledger.look()
        ledger.look()

    assert [NOW.date(), date.fromordinal(NOW.date().toordinal() + 1)] == heard


def test_a_ledger_that_was_put_back_is_followed(ledger: Ledger) -> None:
    """A backup from before a switch: what was switched later in it has a number that was known already."""
    ledger.switch("rule", "a", True, "who", "why")
    ledger.switch("rule", "b", True, "who", "why")
    with ledger.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM switches WHERE name = 'b'")
    ledger.look()
    assert Switches(rules=frozenset({"a"})) == ledger.switches()
    assert forked(lambda: begun(ledger)[0] == Switches(rules=frozenset({"a"})))


def test_who_looks_and_finds_nothing_new_writes_nothing(ledger: Ledger) -> None:
    assert forked(worker(ledger, everything_off(ledger)))
    assert forked(worker(ledger, lambda: decide(ledger)))
    stamps = [matter.board.stamp for matter in (ledger._off, ledger._decided)]
    for _ in range(2):
        ledger.look()
        assert forked(worker(ledger, ledger.look))

    assert (stamps, OFF) == ([matter.board.stamp for matter in (ledger._off, ledger._decided)], ledger.switches())


# --- what cannot be known does not look safe --------------------------------------------------------------------------


def not_shared(ledger: Ledger) -> bool:
    """Say whether /readyz is told that processes cannot share what they know."""
    try:
        ledger.ping()
    except Unavailable as problem:
        return problem.slug == "ledger-not-shared" == ledger.state().trouble
    return False


def test_damaged_memory_is_not_believed_and_is_told_and_heals(ledger: Ledger) -> None:
    assert forked(worker(ledger, everything_off(ledger)))
    memory = ledger._off.board._memory
    for place in range(64, 64 + 32):
        memory[place] ^= 1
        memory[place + ledger._off.board._half] ^= 1
    ledger._off.begin()
    ledger._tell()
    assert (Switches(), True) == (ledger.switches(), not_shared(ledger))
    assert 1 == ledger.counted["trouble ledger-not-shared"]

    ledger.look()
    assert (OFF, False) == (ledger.switches(), not_shared(ledger))
    assert forked(lambda: begun(ledger)[0] == OFF)


def test_what_is_too_large_to_be_shared_is_told_by_all(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    ledger._decided.board._half = 400
    long = Tuning(HIGHER.rule, HIGHER.name, Decimal("6.5"), HIGHER.since, "ab", "is long enough " * 40)
    decide(ledger, long)
    ledger.look()
    ledger.look()

    assert ((long,), True) == (ledger.decided, not_shared(ledger))
    assert 1 == sum(one.__dict__.get("fields", {}).get("kind") == "ledger-not-shared" for one in caplog.records)
    ledger._decided.begin()
    assert not ledger._decided.is_shared
