"""Near misses: how many patients lie close to each limit, on either side."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import date
from weakref import WeakKeyDictionary

import msgspec
from flask.typing import ResponseReturnValue

from cds_service.adapters.ledger import Ledger, reading
from cds_service.facts.dates import DAY
from cds_service.insight.events import as_day
from cds_service.insight.figures import DAYS
from cds_service.insight.near import NEAR, Hits, Near, Probe, counted, hits, probes
from cds_service.recording import facts_from
from cds_service.rules.book import RuleBook
from cds_service.web.admin.frame import AdminDesk, allowed, blueprint, desk, page

EVERYONE = ("viewer", "editor", "approver", "operator", "auditor")
# So many charts are looked at: the newest of each patient at each service.
MOST = 5_000


class Looked:
    """What is known of the charts of one ledger, with one book on one day: each chart is looked at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._of: tuple[str, date] | None = None
        self._known: dict[int, Hits] = {}

    def look(self, ledger: Ledger, book: RuleBook, today: date) -> tuple[list[Near], int]:
        """Return patients near limits, and how many patients were looked at. Raises Unavailable."""
        with self.lock:
            if self._of != (book.fingerprint, today):
                self._of, self._known = (book.fingerprint, today), {}
            since = float((as_day(today) - DAYS + 1) * DAY)
            tried = {name: probes(book, service, today) for name, service in book.services.items()}
            charts = reading.latest_facts(ledger.database, since, MOST)
            known: dict[int, Hits] = {}
            by_patient: dict[str, list[Hits]] = {}
            for number, patient, service, packed in charts:
                known[number] = self._known.get(number) or _hits(packed, tried.get(service, []))
                by_patient.setdefault(patient, []).append(known[number])
            self._known = known
            found = counted((_joined(one) for one in by_patient.values()), _every(tried))
            return found, len(by_patient)


def _hits(packed: bytes, tried: list[Probe]) -> Hits:
    try:
        return hits(facts_from(packed), tried)
    except (msgspec.DecodeError, ValueError):
        return Hits()


def _joined(of_services: list[Hits]) -> Hits:
    """Count a patient once, however many services were asked; newest facts of each."""
    return Hits(
        frozenset().union(*(one.nearly for one in of_services)),
        frozenset().union(*(one.barely for one in of_services)),
    )


def _every(tried: dict[str, list[Probe]]) -> Iterator[Probe]:
    for some in tried.values():
        yield from some


_looked: WeakKeyDictionary[Ledger, Looked] = WeakKeyDictionary()
_making = threading.Lock()


def near(here: AdminDesk) -> tuple[list[Near], int]:
    """Return patients near limits, and how many patients were looked at. Raises Unavailable."""
    ledger = here.engine.ledger
    if ledger is None:
        return [], 0
    with _making:
        known = _looked.setdefault(ledger, Looked())
    return known.look(ledger, here.book, here.today)


@blueprint.get("/near", endpoint="near")
@allowed(*EVERYONE)
def listed() -> ResponseReturnValue:
    """List the limits that patients lie close to."""
    here = desk()
    found, patients = near(here)
    return page("admin/insight/near.html", rows=found, patients=patients, days=DAYS, percent=int(NEAR * 100), most=MOST)
