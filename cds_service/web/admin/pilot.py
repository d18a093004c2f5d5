"""A rule in pilot, as its page shows it: of whom it would have spoken, and whether that is enough to let it speak."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import islice

import msgspec

from cds_service.adapters.ledger import reading
from cds_service.insight import Call, Figures
from cds_service.rules.model import Rule
from cds_service.rules.tuning import Tuning, needs_approval
from cds_service.web.admin.frame import AdminDesk

# So many calls are listed, and so many of the newest looked through for them.
LISTED, FARTHEST, _AT_ONCE = 5, 2_000, 200


class Pilot(msgspec.Struct, frozen=True):
    """
    What the page says of a rule that runs silently, or did.

    ``since`` is the first day of the pilot that runs, as far as an admin began it. ``asks`` says why a second person
    has to agree before the rule shows cards; "" where nobody has to. ``calls`` are the newest of which it would have
    spoken.
    """

    running: bool
    since: date | None
    asks: str
    calls: tuple[Call, ...]


def pilot(rule: Rule, here: AdminDesk, counted: Figures) -> Pilot | None:
    """Return what is known of a pilot; None for a rule that never ran silently. Raises Unavailable."""
    running = rule.status == "pilot"
    ever = counted.of_rule(rule.id, 0).pilot_evaluated
    if not running and not ever:
        return None
    live = Tuning(rule.id, "status", "active", here.today)
    asks = needs_approval(live, here.book, here.today, ever, files=here.base, everything=here.approve_everything)
    found = islice(_silent(here, rule.id), LISTED) if ever else ()
    return Pilot(running, rule.status_since if running else None, asks if running else "", tuple(found))


def _silent(here: AdminDesk, rule: str) -> Iterator[Call]:
    """Yield the newest calls in which a rule fired silently."""
    assert here.engine.ledger is not None  # noqa: S101 - the admin pages are there only with a ledger
    before = looked = 0
    while looked < FARTHEST and (calls := reading.newest(here.engine.ledger.database, before, _AT_ONCE)):
        looked, before = looked + len(calls), calls[-1].number
        yield from (call for call in calls if any(one.rule == rule for one in call.content.pilot.fired))
