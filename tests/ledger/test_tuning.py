"""The ledger tells each process what admins decided: at its first look, at every change, and at midnight."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import pytest

from cds_service.rules.tuning import Tuning
from tests.build import NOW
from tests.ledger.conftest import OpenLedger

DAY = 86_400
HIGHER = Tuning("eskd-hyperphosphatemia", "phosphate_high", Decimal("6.5"), date(2026, 3, 1), "ab", "is long enough")
SILENT = Tuning("eskd-hyperphosphatemia", "status", "pilot", date(2026, 3, 1), "ab", "is long enough")


class Process:
    """A process that listens; its clock can be moved."""

    def __init__(self, opened: OpenLedger, url: str) -> None:
        self.now, self.heard = NOW.timestamp(), list[list[Tuning]]()
        self.ledger = opened(url, now=lambda: self.now)
        self.ledger.on_tuning = self.hear

    def hear(self, decided: Sequence[Tuning]) -> None:
        self.heard.append(list(decided))

    def decide(self, one: Tuning) -> None:
        governance = self.ledger.governance
        governance.propose(one, base=governance.newest(one.rule, one.name), role="shell", origin="shell")


@pytest.fixture
def two(opened: OpenLedger, url: str) -> tuple[Process, Process]:
    return Process(opened, url), Process(opened, url)


def test_what_one_process_decides_the_other_learns_at_its_next_look(two: tuple[Process, Process]) -> None:
    one, other = two
    other.ledger.look()
    one.decide(HIGHER)
    other.ledger.look()

    assert [[], [HIGHER]] == other.heard
    assert (HIGHER,) == other.ledger.decided


def test_a_process_is_told_once_for_each_change(two: tuple[Process, Process]) -> None:
    one, _ = two
    one.decide(HIGHER)
    for _ in range(3):
        one.ledger.look()
    one.decide(SILENT)
    one.ledger.look()

    assert [[HIGHER], [HIGHER, SILENT]] == one.heard


def test_a_new_day_is_told_although_nothing_was_decided(two: tuple[Process, Process]) -> None:
    one, _ = two
    one.decide(HIGHER)
    one.ledger.look()
    one.now = NOW.replace(hour=23, minute=59, second=59).timestamp()
    one.ledger.look()
    assert 1 == len(one.heard)

    one.now += 1
    one.ledger.look()
    assert [[HIGHER], [HIGHER]] == one.heard


def test_a_process_is_told_in_its_first_look_after_a_fork(opened: OpenLedger, sqlite_url: str) -> None:
    parent = Process(opened, sqlite_url)
    parent.decide(HIGHER)
    parent.ledger.look()
    parent.ledger.start()

    assert [[HIGHER], [HIGHER]] == parent.heard


def test_what_waits_for_a_second_person_is_told_when_it_was_agreed(two: tuple[Process, Process]) -> None:
    one, other = two
    asked = one.ledger.governance.propose(SILENT, base=0, asks="kill", role="shell", origin="shell")
    other.ledger.look()
    one.ledger.governance.rule_on(asked.number, "approved", "anna", "agreed in the meeting", "shell", "shell")
    other.ledger.look()

    assert [[], [SILENT]] == other.heard


def test_a_listener_that_fails_stops_no_look(two: tuple[Process, Process]) -> None:
    one, _ = two

    def fail(_decided: Sequence[Tuning]) -> None:
        raise RuntimeError

    one.ledger.on_tuning = fail
    one.decide(HIGHER)
    one.ledger.look()
    one.ledger.on_tuning = one.hear
    one.decide(SILENT)
    one.ledger.look()

    assert 1 == one.ledger.counted["trouble RuntimeError"]
    assert [[HIGHER, SILENT]] == one.heard
