"""The memory that processes share: the newest counts, what is torn is not believed, and nobody is held up."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from datetime import date
from decimal import Decimal

import pytest

from cds_service.adapters.ledger import Switches, sharing
from cds_service.adapters.ledger.sharing import Board, Learnt, Note, Standing
from cds_service.rules.tuning import Tuning

A, B = Switches(rules=frozenset({"a"})), Switches(rules=frozenset({"a", "b"}))


@pytest.fixture
def two() -> tuple[Learnt[Switches], Learnt[Switches]]:
    """Give what two processes know, which share their memory."""
    one, other = sharing.of_switches(), sharing.of_switches()
    other.board = one.board
    return one, other


def test_an_older_state_that_is_learnt_later_does_not_replace_a_newer_one(
    two: tuple[Learnt[Switches], Learnt[Switches]],
) -> None:
    """Both look at once; the one that has read less comes last."""
    one, other = two
    before = one.board.stamp
    one.learn((6,), B, before)
    other.learn((5,), A, before)
    third = sharing.of_switches()
    third.board = one.board
    third.begin()

    assert (B, B, B) == (one.known, other.known, third.known)


def test_a_newer_state_replaces_an_older_one_that_was_written_meanwhile(
    two: tuple[Learnt[Switches], Learnt[Switches]],
) -> None:
    one, other = two
    before = one.board.stamp
    one.learn((5,), A, before)
    other.learn((6,), B, before)
    one.follow()

    assert (B, B) == (one.known, other.known)


def test_what_the_ledger_says_later_counts_although_its_number_is_lower(
    two: tuple[Learnt[Switches], Learnt[Switches]],
) -> None:
    one, other = two
    one.learn((6,), B, one.board.stamp)
    other.learn((5,), A, other.board.stamp)
    one.follow()

    assert (A, A) == (one.known, other.known)
    assert (False, True) == (one.is_new(5), one.is_new(6))


def test_the_number_decides_by_how_far_both_changes_and_rulings_are() -> None:
    one = sharing.of_tunings()
    old, new = (Tuning("r", "quiet_hours", hours, date(2026, 3, 1)) for hours in (12, 24))
    before = one.board.stamp
    one.learn((10, 4), (new,), before)
    one.learn((10, 3), (old,), before)

    assert (new,) == one.known


DECISIONS = (
    Tuning("r", "phosphate_high", Decimal("6.50"), date(2026, 3, 1), "ab", "is long enough"),
    Tuning("r", "strict", True, date(2026, 3, 1)),
    Tuning("r", "status", "pilot", date(2026, 3, 1), until=date(2026, 4, 1)),
    Tuning("r", "quiet_hours", 24, date(2026, 3, 1)),
    Tuning("r", "exception.dialysis", '{"kind": "diagnosis", "of": ["calciphylaxis"]}', date(2026, 3, 1)),
    Tuning("r", "phosphate_high", "", date.max, "ab", "This version of the service cannot read it."),
)


def test_decisions_of_every_kind_arrive_as_they_were() -> None:
    one, other = sharing.of_tunings(), sharing.of_tunings()
    other.board = one.board
    one.learn((1, 1), DECISIONS, one.board.stamp)
    other.begin()

    assert DECISIONS == other.known
    assert [(type(each.value), str(each.value)) for each in DECISIONS] == [
        (type(each.value), str(each.value)) for each in other.known
    ]


@pytest.mark.parametrize("place", [8, 16, 20, 64, 70], ids=["stamp", "length", "checksum", "note", "content"])
def test_a_note_of_which_one_bit_is_wrong_is_not_read(place: int) -> None:
    board = Board(100)
    board.offer(Note((1,), b"content"), 0)
    assert board.read() is not None
    board._memory[place] ^= 4

    assert board.read() is None


def test_what_does_not_fit_is_noted_as_unknown_in_place_of_what_is_old() -> None:
    board = Board(100)
    board.offer(Note((1,), b"short"), 0)
    board.offer(Note((2,), b"x" * 200), board.stamp)

    assert Standing(2, Note((2,), None)) == board.read()
    assert Standing(2, Note((2,), None)) == board.offer(Note((2,), b"x" * 200), 2)


def test_a_process_that_ends_while_it_writes_leaves_what_stood_there_and_holds_up_nobody() -> None:
    board = Board(100)
    board.offer(Note((1,), b"before"), 0)
    child = os.fork()
    if child == 0:
        fcntl.lockf(board._gate, fcntl.LOCK_EX)
        board._memory[64 + 100 : 64 + 200] = b"x" * 100
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)

    assert Standing(1, Note((1,), b"before")) == board.read()
    assert Standing(2, Note((2,), b"after")) == board.offer(Note((2,), b"after"), 1) == board.read()


def test_a_process_that_stands_still_while_it_writes_holds_up_nobody_and_is_told() -> None:
    one = sharing.of_switches()
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        fcntl.lockf(one.board._gate, fcntl.LOCK_EX)
        os.write(told, b"1")
        time.sleep(120)
        os._exit(0)
    os.read(ready, 1)
    since = time.monotonic()
    one.learn((1,), A, 0)
    waited = time.monotonic() - since
    assert (A, False, True) == (one.known, one.is_shared, one.is_new(1))
    assert waited < 20  # and not until the other goes on
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready)
    os.close(told)

    one.learn((1,), A, one.board.stamp)
    assert (True, False) == (one.is_shared, one.is_new(1))


def test_who_reads_while_others_write_reads_what_one_of_them_wrote() -> None:
    board, writers = Board(2_000), []
    for letter in b"ab":
        child = os.fork()
        if child == 0:
            for number in range(2_000):
                board.offer(Note((number,), bytes([letter]) * (number % 1_500)), board.stamp)
            os._exit(0)
        writers.append(child)
    read = [board.read() for _ in range(3_000)]
    for child in writers:
        os.waitpid(child, 0)

    found = [one.note for one in read if one is not None]
    assert found
    assert all(
        one.content is not None and one.content in (letter * (one.number[0] % 1_500) for letter in (b"a", b"b"))
        for one in found
    )
    assert [one.stamp for one in read if one] == sorted(one.stamp for one in read if one)
