"""A PostgreSQL server that stands still, without a word: nothing waits for it without end, and nothing stays behind."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from cds_service.adapters.ledger import Database, Ledger, Switches
from cds_service.adapters.ledger import replays as used
from cds_service.adapters.ledger.database import PATIENCE
from cds_service.errors import Unavailable
from tests.build import NOW
from tests.ledger.cluster import Cluster
from tests.ledger.conftest import OpenLedger, accepted, new_database
from tests.ledger.test_shared import eventually
from tests.moments import quickest, spent

AT = NOW.timestamp()
# Whoever waits without end is still waiting then, in seconds; nothing here is allowed half of it.
FOR_EVER = 20.0


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Iterator[Cluster]:
    """Give a server of our own: the others' does not stand still. Skipped where there is no PostgreSQL (cluster)."""
    assert cluster.port
    own = Cluster()
    try:
        own.start()
        yield own
    finally:
        own.remove()


@pytest.fixture
def ledger(server: Cluster, opened: OpenLedger) -> Ledger:
    """Give a ledger that has a connection in its pool."""
    made = opened(new_database(server))
    made.feedback([accepted("card-0")], "a-service")
    return made


def within(work: Callable[[], object], seconds: float = FOR_EVER) -> float:
    """Return how long something takes; fail where it has not ended, and leave it where it is."""
    took: list[float] = []
    thread = threading.Thread(target=lambda: took.append(spent(work)), daemon=True)
    thread.start()
    thread.join(seconds)
    assert took, f"it waits, after {seconds} s"
    return took[0]


def refusal(work: Callable[[], object]) -> str:
    with pytest.raises(Unavailable) as told:
        work()
    return told.value.slug


# --- used tokens ------------------------------------------------------------------------------------------------------


def test_calls_do_not_wait_for_a_server_that_stands_still(server: Cluster, ledger: Ledger) -> None:
    ledger.replays.seen("iss", "before", AT + 300, AT)
    times: list[float] = []

    def call(number: int) -> None:
        times.append(spent(lambda: ledger.replays.seen("iss", str(number), AT + 300, AT)))

    with server.standing_still():
        threads = [threading.Thread(target=call, args=(number,), daemon=True) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(FOR_EVER)
        assert 12 == len(times), "some wait still"
        # The ends of all: were each to wait for the one before it, the last would take 2.4 s.
        assert max(times) < 10 * used.PATIENCE
        assert (False, 12) == (ledger.replays.healthy, ledger.counted["replay store down"])


def test_afterwards_the_store_is_asked_again(
    server: Cluster, ledger: Ledger, opened: OpenLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(used, "REST", 0.05)
    with server.standing_still():
        assert [False, True] == [ledger.replays.seen("iss", "meanwhile", AT + 300, AT) for _ in range(2)]

    def healthy() -> bool:
        ledger.replays.seen("iss", f"{time.monotonic()}", AT + 300, AT)
        return ledger.replays.healthy

    eventually(healthy, FOR_EVER)
    ledger.replays.seen("iss", "afterwards", AT + 300, AT)
    other = opened(ledger.database.url.render_as_string(hide_password=False))
    assert other.replays.seen("iss", "afterwards", AT + 300, AT)


def test_calls_wait_neither_for_a_place_in_the_pool_nor_for_a_new_connection(ledger: Ledger) -> None:
    def attempt() -> float:
        ledger.replays._rests_until = 0.0
        return within(lambda: ledger.replays.seen("iss", "jti", AT + 300, AT))

    taken = [ledger.database.engine.connect() for _ in range(20)]
    try:
        assert quickest(attempt, PATIENCE / 2) < PATIENCE / 2
        assert not ledger.replays.healthy
    finally:
        for one in taken:
            one.close()


def test_more_calls_than_threads_wait_no_longer(
    server: Cluster, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is asked for each: nobody rests."""
    monkeypatch.setattr(used, "REST", 0.0)

    def attempt() -> float:
        with ThreadPoolExecutor(24) as pool:
            seen = ledger.replays.seen
            asked = [pool.submit(seen, "iss", f"{time.monotonic()} {n}", AT + 300, AT) for n in range(24)]
            return spent(lambda: wait(asked))

    with server.standing_still():
        assert quickest(lambda: within(attempt), PATIENCE / 2) < PATIENCE


# --- all the rest -----------------------------------------------------------------------------------------------------


def test_feedback_is_refused_in_time_and_stored_afterwards(server: Cluster, ledger: Ledger) -> None:
    slugs: list[str] = []

    def refused() -> None:
        slugs.append(refusal(lambda: ledger.feedback([accepted("card-1")], "a-service")))

    with server.standing_still():
        assert within(refused) < 3 * PATIENCE
        assert within(refused) < 3 * PATIENCE  # there is no connection any more: a new one is tried

    assert ["ledger-gone"] * 2 == slugs
    assert [1, 0] == [ledger.feedback([accepted(name)], "a-service") for name in ("card-1", "card-1")]
    assert 0 == ledger.database.engine.pool.checkedout()  # type: ignore[attr-defined]  # a QueuePool


@pytest.mark.parametrize("writing", [True, False], ids=["commit", "statement"])
def test_a_transaction_ends_that_has_begun(server: Cluster, ledger: Ledger, writing: bool) -> None:
    """The server stands still in the midst of it: before its next statement, or before its end."""

    def work() -> None:
        database = ledger.database
        with (database.writing if writing else database.reading)(patience=1.0) as connection:
            connection.exec_driver_sql("UPDATE marks SET value = value")
            with server.standing_still():
                if not writing:
                    connection.exec_driver_sql("SELECT 1")
                connection.commit()

    slugs: list[str] = []
    assert within(lambda: slugs.append(refusal(work))) < 3 * PATIENCE
    assert ["ledger-gone"] == slugs
    ledger.probe()


def test_the_poller_lives_on_and_learns_what_was_switched(server: Cluster, opened: OpenLedger) -> None:
    address = new_database(server)
    running, operator = opened(address, start=True), opened(address)
    with server.standing_still():
        eventually(lambda: running.state().trouble == "ledger-gone", FOR_EVER)

    eventually(lambda: running.state().trouble == "", FOR_EVER)
    operator.switch("rule", "a-rule", True, "dr-1", "wrong")
    eventually(lambda: running.switches() == Switches(rules=frozenset({"a-rule"})), FOR_EVER)


def test_who_has_more_patience_may_wait_longer(ledger: Ledger) -> None:
    with ledger.database.reading(patience=30.0) as connection:
        connection.exec_driver_sql(f"SELECT pg_sleep({PATIENCE + 1.0})")

    assert "ledger-locked" == refusal(lambda: impatient(ledger.database))


def impatient(database: Database) -> None:
    """The server is there and says itself that it took too long: its connection stays."""
    with database.reading(patience=0.1) as connection:
        connection.exec_driver_sql("SELECT pg_sleep(5)")


def test_what_psycopg_warns_of_is_printed_nowhere(ledger: Ledger, capfd: pytest.CaptureFixture[str]) -> None:
    """It may quote what was to be stored."""
    assert "postgresql" == ledger.database.url.get_backend_name()
    logging.getLogger("psycopg").warning("error ignored: Mrs Example")

    assert ("", "") == capfd.readouterr()
