"""Decisions: written by a thread of its own, in chains that tell when somebody changed them; no call waits for them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import msgspec
import pytest
from sqlalchemy import text

from cds_service.adapters.ledger import Ledger, purging, writer
from cds_service.adapters.ledger.chain import Ready
from cds_service.adapters.ledger.database import PATIENCE
from cds_service.adapters.ledger.verifying import verify
from cds_service.errors import Unavailable
from cds_service.recording import DecisionRow
from tests.ledger.conftest import SECRET, OpenLedger, accepted, card, many, row
from tests.ledger.test_feedback import locked
from tests.moments import quickest, spent


def wrote(ledger: Ledger, *rows: DecisionRow) -> None:
    for one in rows:
        ledger.write(one)
    assert ledger.flush(60)


def run(ledger: Ledger, statement: str, **values: object) -> None:
    with ledger.database.writing() as connection:
        connection.execute(text(statement), values)


# --- written ----------------------------------------------------------------------------------------------------------


def test_what_is_recorded_is_stored(ledger: Ledger) -> None:
    wrote(ledger, *(row(cards=(card(),)) for _ in range(450)))

    assert (450, 450) == (many(ledger.database, "decisions"), many(ledger.database, "cards"))
    assert (0, "") == (ledger.state().waiting, ledger.state().trouble)


def test_what_is_recorded_now_and_then_is_stored_unasked(ledger: Ledger) -> None:
    """Between two records the thread sleeps."""
    for number in range(1, 4):
        ledger.write(row())
        limit = time.monotonic() + 20
        while ledger.state().waiting and time.monotonic() < limit:
            time.sleep(0.05)

        assert number == many(ledger.database, "decisions")


def test_at_the_end_what_waits_is_stored(url: str, opened: OpenLedger) -> None:
    ledger = opened(url)
    for _ in range(300):
        ledger.write(row())

    assert ledger.close(10)
    assert 300 == many(ledger.database, "decisions")


def test_recording_takes_no_time_while_the_database_is_locked(ledger: Ledger) -> None:
    def slowest_of_a_hundred() -> float:
        found = []
        for _ in range(100):
            found.append(spent(lambda: ledger.write(row())))
            time.sleep(0.001)
        return max(found)

    wrote(ledger, row())
    with locked(ledger):
        slowest = quickest(slowest_of_a_hundred)
        assert 500 == ledger.state().waiting, "while the lock is held nothing can be stored"

    assert slowest < PATIENCE / 20  # the writer's thread holds the interpreter for some milliseconds at most
    assert ledger.flush(60)
    assert 501 == many(ledger.database, "decisions")
    assert [] == verify(ledger.database, SECRET).problems


def test_a_commit_that_succeeded_unheard_is_not_repeated(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is lost after COMMIT was sent: nobody knows, and the batch comes again."""
    store, lost = ledger._store, iter([True])

    def unheard(rows: list[Ready]) -> None:
        if next(lost, False):
            with ledger.database.writing() as connection:
                ledger._chain.write(connection, rows)
            raise Unavailable("lost", slug="ledger-gone")
        store(rows)

    monkeypatch.setattr(ledger._writer, "_store", unheard)
    wrote(ledger, row(), row())
    wrote(ledger, row())

    assert 3 == many(ledger.database, "decisions")
    assert [] == verify(ledger.database, SECRET).problems


def test_a_row_that_the_database_never_takes_stops_no_other(ledger: Ledger) -> None:
    wrote(ledger, row(cards=(card("the-same"),)))
    wrote(ledger, row(), row(cards=(card("the-same"),)), row(), row())

    assert 1 == ledger.counted["unwritable"]
    assert 4 == many(ledger.database, "decisions")
    assert [] == verify(ledger.database, SECRET).problems


def test_a_call_that_cannot_be_taken_down_is_counted(ledger: Ledger) -> None:
    ledger._writer.record(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    wrote(ledger, row())

    assert (1, 1) == (ledger.counted["unrecordable"], many(ledger.database, "decisions"))


# --- too much ---------------------------------------------------------------------------------------------------------


def test_when_too_much_waits_the_newest_is_dropped_and_counted(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer, "MOST", 100)
    ledger._writer.reset()
    with locked(ledger):
        for _ in range(400):
            ledger.write(row())
        time.sleep(0.5)
        for _ in range(400):
            ledger.write(row())
    assert ledger.flush(60)

    dropped = ledger.counted["dropped"]
    assert 0 < dropped <= 700
    assert 800 - dropped == many(ledger.database, "decisions")
    assert [] == verify(ledger.database, SECRET).problems
    assert 1 == sum("ledger-dropped" in record.message for record in caplog.records)


def test_calls_with_large_bodies_make_their_own_rows(ledger: Ledger) -> None:
    """The thread is busy: what waits for it must not hold more bodies than a few."""
    busy, started, made = threading.Event(), threading.Event(), list[int]()

    def first() -> DecisionRow:
        started.set()
        busy.wait(30)
        return row()

    def own() -> DecisionRow:
        made.append(threading.get_ident())
        return row()

    ledger._writer.record(first, weight=1)
    assert started.wait(30)
    for _ in range(20):
        ledger._writer.record(own, weight=writer.UNMADE // 4)
    here = made.count(threading.get_ident())
    busy.set()

    assert ledger.flush(60)
    assert (17, 20) == (here, len(made))
    assert (0, 21) == (ledger.counted["dropped"], many(ledger.database, "decisions"))


def test_rows_that_wait_keep_a_bounded_number_of_bytes(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "HEAVIEST", 1_000_000)
    large = msgspec.structs.replace(row(), facts=bytes(150_000))
    with locked(ledger):
        for number in range(20):
            ledger.write(msgspec.structs.replace(large, id=f"large-{number}"))
            ledger.take_down()
    assert ledger.flush(60)

    assert 13 == ledger.counted["dropped"]
    assert 7 == many(ledger.database, "decisions")
    wrote(ledger, row())  # there is room again
    assert 8 == many(ledger.database, "decisions")


def test_a_row_can_be_made_by_the_thread_that_answered(ledger: Ledger) -> None:
    made = list[int]()

    def own() -> DecisionRow:
        made.append(threading.get_ident())
        return row()

    ledger._writer.record(own, weight=1)
    ledger.take_down()
    ledger.take_down()  # nothing is left to make

    assert ledger.flush(60)
    assert ([threading.get_ident()], 1) == (made, many(ledger.database, "decisions"))


# --- processes --------------------------------------------------------------------------------------------------------


def test_each_process_writes_a_chain_of_its_own(ledger: Ledger) -> None:
    """The ledger is opened before the fork, and holds no connection then."""
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                ledger.start()
                for place in range(50):
                    ledger.write(row(f"{number}-{place}", cards=(card(f"{number}-{place}"),)))
                code = 0 if ledger.close(20) else 2
            finally:
                os._exit(code)
        children.append(child)

    assert [0, 0, 0] == [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    report = verify(ledger.database, SECRET)
    assert (3, 150, []) == (report.chains, report.decisions, report.problems)


# --- verify -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(url: str, opened: OpenLedger) -> Ledger:
    """Give a ledger in which two processes wrote ten rows each."""
    first, second = opened(url), opened(url)
    wrote(first, *(row(f"first-{place}") for place in range(10)))
    wrote(second, *(row(f"second-{place}") for place in range(10)))
    second.feedback([accepted(f"card-{number}") for number in range(5)], "a-service")
    return second


def test_a_ledger_that_nobody_touched_is_in_order(filled: Ledger) -> None:
    report = verify(filled.database, SECRET)

    assert (2, 20, 5, []) == (report.chains, report.decisions, report.feedback, report.problems)


TAMPERED = {
    "content": "UPDATE decisions SET content = replace(content, 'patient-view', 'order-sign') WHERE id = 'first-4'",
    "facts": "UPDATE decisions SET facts = :facts WHERE id = 'first-4'",
    "patient": "UPDATE decisions SET patient = 'somebody-else' WHERE id = 'first-4'",
    "time": "UPDATE decisions SET at = at + 1 WHERE id = 'first-4'",
    "hash": "UPDATE decisions SET hash = 'f00' WHERE id = 'first-4'",
    "row in the middle": "DELETE FROM decisions WHERE id = 'first-4'",
    "first row": "DELETE FROM decisions WHERE id = 'first-0'",
    "end of an older chain": "DELETE FROM decisions WHERE id IN ('first-8', 'first-9')",
    "whole older chain": "DELETE FROM decisions WHERE id LIKE 'first-%'",
    "beginning": "DELETE FROM chains WHERE id = (SELECT chain FROM decisions WHERE id = 'first-0')",
    "answer": "UPDATE feedback SET outcome = 'overridden' WHERE card = 'card-3'",
    "comment": "UPDATE feedback SET comment = 'x' WHERE card = 'card-3'",
}


@pytest.mark.parametrize("what", TAMPERED)
def test_what_somebody_changed_is_found(filled: Ledger, what: str) -> None:
    run(filled, TAMPERED[what], **({"facts": b"y"} if what == "facts" else {}))

    assert verify(filled.database, SECRET).problems


def test_a_problem_names_the_place_and_nothing_else(filled: Ledger) -> None:
    run(filled, TAMPERED["content"])

    [problem] = verify(filled.database, SECRET).problems
    assert "the row at place 4 was changed" in problem
    assert "patient" not in problem


# --- purge ------------------------------------------------------------------------------------------------------------


def test_what_was_purged_is_no_gap(filled: Ledger) -> None:
    wrote(filled, *(row(patient="to-forget", cards=(card(),)) for _ in range(3)), row(), row(patient="to-forget"))

    purged = purging.patient(filled.database, ["to-forget"], 1.0)

    assert (4, 3) == (purged.decisions, purged.cards)
    assert 0 == many(filled.database, "decisions", "patient='to-forget'")
    report = verify(filled.database, SECRET)
    assert ([], 4) == (report.problems, report.purged)


def test_a_purge_hides_no_other_deletion(filled: Ledger) -> None:
    wrote(filled, row("kept", patient="to-forget"))
    purging.patient(filled.database, ["to-forget"], 1.0)
    run(filled, TAMPERED["row in the middle"])

    assert verify(filled.database, SECRET).problems


def test_the_comments_about_a_forgotten_patient_go_too(filled: Ledger) -> None:
    wrote(filled, row(patient="to-forget", cards=(card("card-1"),)))

    assert 1 == purging.patient(filled.database, ["to-forget"], 1.0).feedback
    assert 4 == many(filled.database, "feedback")


def test_after_its_time_everything_goes(url: str, opened: OpenLedger) -> None:
    now = [1_000.0 * 86_400]
    ledger = opened(url, now=lambda: now[0])
    wrote(ledger, *(row(at=now[0], cards=(card(),)) for _ in range(1_200)))
    ledger.feedback([accepted(f"card-{number}") for number in range(700)], "a-service")
    now[0] += 101 * 86_400
    wrote(ledger, row(at=now[0]))

    purged = purging.older_than(ledger.database, now[0] - 100 * 86_400, now[0])

    assert (1_200, 1_200, 700) == (purged.decisions, purged.cards, purged.feedback)
    assert 1 == many(ledger.database, "decisions")
    assert [] == verify(ledger.database, SECRET).problems


def test_the_daily_purge_is_done_once_and_not_after_a_jump_of_the_clock(ledger: Ledger) -> None:
    day = 86_400.0
    daily: Callable[[float], object] = lambda number: purging.daily(ledger.database, 10, number * day)  # noqa: E731
    run(ledger, "INSERT INTO marks VALUES ('purged on day', '1000')")
    wrote(ledger, row(at=995 * day), row(at=1_004 * day))

    assert None is daily(1_000)
    assert purging.Purged(1, 0, 0) == daily(1_006)
    assert None is daily(1_006)
    assert None is daily(5_000)  # it may be the clock that is wrong
    assert 1 == many(ledger.database, "decisions")
    assert None is daily(1_007)
