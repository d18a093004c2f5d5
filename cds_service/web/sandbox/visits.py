"""Who works in the sandbox: one session for each browser, in memory, bounded, forgotten after a while."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from cds_service.web.sandbox.charts import OpenChart
from cds_service.web.sandbox.servers import Place

COOKIE = "cds_sandbox"
MOST_VISITS, MOST_CHARTS, IDLE = 64, 4, 2 * 3_600.0


class Visit:
    """
    One session: the charts that are open in it, and the FHIR server that was chosen.

    ``mark`` tells its EHR from those of others, so that nobody's overrides quiet somebody else's cards. ``narrow``
    shows the cards in an eighth of the screen. Only one request at a time works with it (``lock``).
    """

    def __init__(self) -> None:
        self.id, self.mark = secrets.token_urlsafe(32), secrets.token_hex(4)
        self.lock, self.narrow = Lock(), False
        self.place: Place | None = None
        self.charts: OrderedDict[str, OpenChart] = OrderedDict()
        self._opened = 0

    def keep(self, chart: OpenChart) -> OpenChart:
        """Keep a chart open; the one that was opened longest ago is closed for it."""
        self.charts[chart.key] = chart
        self.charts.move_to_end(chart.key)
        if len(self.charts) > MOST_CHARTS:
            self.charts.popitem(last=False)
        return chart

    def new_key(self) -> str:
        """Return a name for a chart of a FHIR server: no address of ours holds an id of a patient."""
        self._opened += 1
        return f"chart-{self._opened}"


class Visits:
    """The sessions. ``clock`` counts seconds and is never set back."""

    def __init__(
        self, most: int = MOST_VISITS, idle: float = IDLE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._idle, self._clock, self._lock = most, idle, clock, Lock()
        self._kept: OrderedDict[str, tuple[float, Visit]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def start(self) -> Visit:
        """Start a session; the one that was used longest ago ends for it."""
        visit = Visit()
        with self._lock:
            self._forget()
            self._kept[visit.id] = (self._clock(), visit)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return visit

    def find(self, key: str) -> Visit | None:
        """Return the session with this id, if it has not ended."""
        with self._lock:
            self._forget()
            found = self._kept.pop(key, None)
            if found is None:
                return None
            self._kept[key] = (self._clock(), found[1])
            return found[1]

    def _forget(self) -> None:
        while self._kept and self._clock() - next(iter(self._kept.values()))[0] > self._idle:
            self._kept.popitem(last=False)
