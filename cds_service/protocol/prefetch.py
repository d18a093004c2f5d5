"""The states of a prefetch value, which mean different things and must never be confused (CHECKLIST D9 to D12)."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """
    What is known about one kind of data of this patient.

    ABSENT and FAILED leave every question about it open; EMPTY and COMPLETE answer it; in a TRUNCATED answer
    what is found counts, and what is not found proves nothing.
    """

    ABSENT = "not sent"
    FAILED = "the EHR could not load it"
    TRUNCATED = "more pages exist than were sent"
    EMPTY = "loaded, nothing there"
    COMPLETE = "loaded"

    @property
    def conclusive(self) -> bool:
        """Say whether something that was not found is really not there."""
        return self in CONCLUSIVE

    @property
    def loaded(self) -> bool:
        """Say whether anything was loaded at all."""
        return self in (State.EMPTY, State.COMPLETE, State.TRUNCATED)


CONCLUSIVE = (State.EMPTY, State.COMPLETE)
