"""The figures of the ledger, kept by each process: read whole once, afterwards only what is new."""

from __future__ import annotations

import threading
from datetime import date
from typing import Protocol
from weakref import WeakKeyDictionary

from flask import request

from cds_service.adapters.ledger import Ledger, reading
from cds_service.insight import Figures
from cds_service.insight.events import as_day
from cds_service.insight.figures import DAYS


class _Engine(Protocol):
    ledger: Ledger | None


class Desk(Protocol):
    """What of an admin's desk is needed here."""

    @property
    def engine(self) -> _Engine:
        """The engine of the application."""

    @property
    def today(self) -> date:
        """The day on which periods end."""


class Keeper:
    """The figures of one ledger."""

    def __init__(self) -> None:
        self.lock, self.figures = threading.Lock(), Figures()
        self._call = self._answer = self._purge = self._oldest = 0

    def current(self, ledger: Ledger, today: int) -> Figures:
        """Return the figures, brought up to date. Raises Unavailable."""
        with self.lock:
            purge, oldest = reading.deleted(ledger.database)
            # That there was no answer, and now is an oldest one, deletes nothing.
            if purge != self._purge or (self._oldest and oldest != self._oldest):
                self.figures, self._call, self._answer = Figures(), 0, 0
            self._purge, self._oldest = purge, oldest
            self._read(ledger)
            self.figures.today = today
            return self.figures

    def _read(self, ledger: Ledger) -> None:
        for calls in reading.calls(ledger.database, self._call):
            self.figures.take(calls)
            self._call = calls[-1].number
        for answers in reading.answers(ledger.database, self._answer):
            self.figures.take(answers=answers)
            self._answer = answers[-1].number


_keepers: WeakKeyDictionary[Ledger, Keeper] = WeakKeyDictionary()
_making = threading.Lock()


def figures(desk: Desk) -> Figures:
    """Return the figures of the ledger as of now, periods ending today. Raises Unavailable."""
    ledger = desk.engine.ledger
    if ledger is None:  # the admin pages need a ledger; without one there is nothing to count
        return Figures(as_day(desk.today))
    with _making:
        keeper = _keepers.setdefault(ledger, Keeper())
    return keeper.current(ledger, as_day(desk.today))


# Which times can be chosen: days, and what they are called; 0 is everything on record.
SPANS = {7: "the last 7 days", 28: "the last 28 days", 56: "the last 56 days", 0: "everything on record"}


def chosen_days() -> int:
    """Return which time was chosen in the address; 56 days where none was."""
    asked = request.args.get("days", "")
    return next((days for days in SPANS if str(days) == asked), DAYS)


def spans() -> dict[int, str]:
    """Return the times that can be chosen."""
    return SPANS
