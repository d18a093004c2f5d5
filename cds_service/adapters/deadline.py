"""One deadline for everything that a call waits for."""

from __future__ import annotations

import time
from collections.abc import Callable


class Deadline:
    """
    The moment by which a call must be answered.

    ``seconds`` from now, by a clock that nobody sets (``time.monotonic``): a corrected system clock neither hurries
    nor stops a call.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.at = clock() + seconds

    def remaining(self) -> float:
        """Return the seconds that are left, never less than 0."""
        return max(0.0, self.at - self._clock())

    @property
    def passed(self) -> bool:
        """Say whether the time is up."""
        return self.remaining() <= 0.0
