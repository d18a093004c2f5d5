"""Feedback: once however often it is sent, all of a message or none, and never acknowledged without being stored."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from cds_service.adapters.ledger import Ledger
from cds_service.errors import Unavailable
from cds_service.protocol.feedback import MAX_ID, MAX_ITEMS, read_feedback
from tests.ledger.cluster import Cluster
from tests.ledger.conftest import OpenLedger, accepted, many, new_database, overridden
from tests.moments import quickest, spent

PLACE = "a-service"


@contextmanager
def locked(ledger: Ledger) -> Iterator[None]:
    """Hold the lock that everybody needs who writes, in a connection of its own."""
    if ledger.database.path is not None:
        with closing(sqlite3.connect(ledger.database.path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield
        return
    import psycopg

    with psycopg.connect(ledger.database.url.set(drivername="postgresql").render_as_string()) as server:
        server.execute("LOCK TABLE feedback, decisions, cards IN ACCESS EXCLUSIVE MODE")
        yield


# --- once -------------------------------------------------------------------------------------------------------------


def test_the_same_again_is_stored_once(ledger: Ledger) -> None:
    assert [2, 0, 1] == [
        ledger.feedback([accepted(), overridden("card-2")], PLACE),
        ledger.feedback([overridden("card-2"), accepted()], PLACE),
        ledger.feedback([accepted(), overridden("card-3")], PLACE),
    ]
    assert 3 == many(ledger.database, "feedback")


def test_the_same_twice_in_one_message_is_stored_once(ledger: Ledger) -> None:
    assert 1 == ledger.feedback([accepted(), accepted()], PLACE)


@pytest.mark.parametrize(
    "other",
    [accepted("card-2"), accepted("card-1", "suggestion-2"), overridden(), overridden(at=1.0)],
    ids=["card", "suggestion", "outcome", "time"],
)
def test_another_answer_is_another_row(ledger: Ledger, other: object) -> None:
    ledger.feedback([accepted()], PLACE)

    assert 1 == ledger.feedback([other], PLACE)  # type: ignore[list-item]


def test_24_at_once_are_one_row(url: str, opened: OpenLedger) -> None:
    """Of two processes, as it were: each ledger has connections of its own."""
    ledgers = [opened(url), opened(url)]
    with ThreadPoolExecutor(24) as pool:
        stored = list(pool.map(lambda number: ledgers[number % 2].feedback([accepted()], PLACE), range(24)))

    assert (1, 1) == (sum(stored), many(ledgers[0].database, "feedback"))


def test_a_thousand_items_are_one_message(ledger: Ledger) -> None:
    items = [accepted(f"card-{number}") for number in range(1_000)]

    assert [1_000, 0] == [ledger.feedback(items, PLACE), ledger.feedback(items, PLACE)]


# --- all or none ------------------------------------------------------------------------------------------------------


def test_every_text_at_its_largest_is_stored(ledger: Ledger) -> None:
    """A text that the table is too narrow for would refuse the whole message, for ever (PostgreSQL)."""
    long = "\U0001f600" * 10_000
    epic = "com.epic.cdshooks.feedback.overrideReason.reason"
    told = {"extension": {f"{epic}{name}": name[0] + long for name in ("Category", "Display", "Title")}}
    reason = {"code": long, "system": long, "display": long}
    item = {"card": "c" * MAX_ID, "outcome": "overridden", "outcomeTimestamp": "9999-12-31T23:59:59-14:00"}
    suggestions = [f"{number:0>{MAX_ID}}" for number in range(MAX_ITEMS)]
    message = [
        item | {"overrideReason": told},
        item | {"card": "d" * MAX_ID, "overrideReason": {"reason": reason, "userComment": long}},
        item | {"outcome": "accepted", "acceptedSuggestions": suggestions},
    ]
    items = read_feedback(json.dumps({"feedback": message}).encode())

    assert 3 == ledger.feedback(items, "s" * 80, long)
    assert 1 == many(ledger.database, "feedback", "length(reason_display) = 500 AND reason = ''")
    assert 1 == many(ledger.database, "feedback", "length(comment) = 4000")


def test_a_message_that_fails_half_way_is_not_there_at_all(ledger: Ledger) -> None:
    poisoned = overridden("card-2", comment="\x00")  # the reader takes NUL out; PostgreSQL does not store it
    with ledger.database.writing() as connection:
        if ledger.database.path is not None:
            connection.exec_driver_sql(
                "CREATE TRIGGER poison BEFORE INSERT ON feedback WHEN NEW.card='card-2' "
                "BEGIN SELECT RAISE(ABORT, 'no'); END"
            )

    with pytest.raises(Unavailable):
        ledger.feedback([accepted(), poisoned], PLACE)

    assert 0 == many(ledger.database, "feedback")


# --- faults -----------------------------------------------------------------------------------------------------------


def test_while_somebody_else_holds_the_lock_feedback_waits_two_seconds(ledger: Ledger) -> None:
    def attempt() -> float:
        with pytest.raises(Unavailable) as refused:
            ledger.feedback([accepted()], PLACE)
        assert "ledger-locked" == refused.value.slug
        return 0.0

    with locked(ledger):
        waited = quickest(lambda: spent(attempt), 3.0)

    assert 1.5 <= waited <= 3.0
    assert 1 == ledger.feedback([accepted()], PLACE)


def test_a_lock_that_is_let_go_in_time_is_waited_for(ledger: Ledger) -> None:
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(ledger):
            held.set()
            free.wait(30)

    other = threading.Thread(target=hold)
    other.start()
    held.wait(30)
    threading.Timer(0.5, free.set).start()

    assert 1 == ledger.feedback([accepted()], PLACE)
    other.join()


def test_a_full_disk_refuses_and_recovers(sqlite_url: str, opened: OpenLedger) -> None:
    ledger = opened(sqlite_url)
    # The limit holds for a connection; the pool gives the same one again as long as nothing fails.
    with ledger.database.writing() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    with pytest.raises(Unavailable) as refused:
        ledger.feedback([overridden(f"card-{number}", comment="x" * 4_000) for number in range(50)], PLACE)

    assert "ledger-full" == refused.value.slug
    assert "ledger-full" == ledger.state().trouble
    with pytest.raises(Unavailable):
        ledger.ping()
    ledger.probe()
    ledger.ping()
    assert 0 == many(ledger.database, "feedback")
    assert 1 == ledger.feedback([accepted()], PLACE)


def test_a_full_tmpfs_refuses_keeps_what_it_has_and_recovers(tmp_path: Path, opened: OpenLedger) -> None:
    from tests.ledger.faults import small_disk

    with small_disk(tmp_path / "disk", 1_000) as disk:
        ledger = opened(f"sqlite:///{disk}/ledger.db")
        stored: list[int] = []

        def store_all() -> None:
            messages = ([overridden(f"card-{number}", comment="y" * 2_000)] for number in range(1_000))
            stored.extend(ledger.feedback(message, PLACE) for message in messages)

        with pytest.raises(Unavailable) as refused:
            store_all()
        assert "ledger-full" == refused.value.slug
        assert 0 < len(stored) == many(ledger.database, "feedback")
        for filler in disk.glob("filler"):
            filler.unlink()
        ledger.probe()
        assert 1 == ledger.feedback([accepted("afterwards")], PLACE)
        ledger.close()


def test_a_file_deleted_while_open_takes_no_more_feedback(sqlite_url: str, opened: OpenLedger) -> None:
    ledger = opened(sqlite_url)
    ledger.feedback([accepted()], PLACE)
    assert ledger.database.path is not None
    for path in ledger.database.path.parent.glob("ledger.db*"):
        path.unlink()

    for number in range(3):
        with pytest.raises(Unavailable):
            ledger.feedback([accepted(f"card-{number}")], PLACE)
    assert not ledger.database.path.exists()


def test_a_file_made_read_only_takes_no_feedback(sqlite_url: str, opened: OpenLedger) -> None:
    ledger = opened(sqlite_url)
    with ledger.database.writing() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")  # as root, file modes stop nobody

    with pytest.raises(Unavailable):
        ledger.feedback([accepted()], PLACE)


def test_a_server_that_dies_refuses_and_comes_back(cluster: Cluster, opened: OpenLedger) -> None:
    """A server of its own: the others' is not killed."""
    server = Cluster()
    try:
        server.start()
        ledger = opened(new_database(server))
        assert 1 == ledger.feedback([accepted()], PLACE)
        server.kill()

        def refused() -> None:
            with pytest.raises(Unavailable) as told:
                ledger.feedback([accepted("card-2")], PLACE)
            assert "ledger-gone" == told.value.slug

        assert quickest(lambda: spent(refused), 3.0) < 3.0
        server.start()
        assert [0, 1] == [ledger.feedback([accepted(name)], PLACE) for name in ("card-1", "card-2")]
    finally:
        ledger.close(0.1)
        server.remove()


def test_no_comment_is_shown_or_logged(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    item = overridden(comment="Mrs Example said no")
    with locked(ledger), pytest.raises(Unavailable) as refused:
        ledger.feedback([item], PLACE)

    assert "Example" not in f"{item!r} {refused.value} {caplog.text} {os.linesep}"
