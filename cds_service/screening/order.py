"""What is to be screened, by which rules and as of when: enough for another process or machine to do the same."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import msgspec

from cds_service import decoding
from cds_service.adapters.population import Plan
from cds_service.errors import SettingsError
from cds_service.facts import Policy
from cds_service.replay import service_for
from cds_service.rules.book import RuleBook, ServiceRules, load_book
from cds_service.rules.tuning import Tuning, tuned
from cds_service.screening.one import Screener, kinds_of

# Patients are asked about as when their chart is opened; rules about an order of the moment have nothing to speak of.
HOOK = "patient-view"


class Order(msgspec.Struct, frozen=True):
    """
    One run: the plan, which names the files, and where the rules are.

    ``moment`` is when the run was begun, in seconds since 1970 (UTC).
    """

    plan: Plan
    content: str
    policy: Policy
    moment: float

    @property
    def day(self) -> date:
        """The day (UTC) on which the run was begun: decisions of admins are those of this day."""
        return datetime.fromtimestamp(self.moment, UTC).date()

    def book(self) -> RuleBook:
        """Return the rules that are asked: those of the files, with the decisions of admins laid over them."""
        return _laid(self.content, self.plan.site, msgspec.json.encode(self.plan.decided), self.day)

    def screener(self) -> Screener:
        """Return what screens patients here. Raises SettingsError where the rules are not those of the plan."""
        if rules_of(self.content, self.plan.site).fingerprint != self.plan.rules:
            raise SettingsError(
                "The rules on this machine are not those that the run was begun with.",
                slug="other-rules",
                why="Every machine of a cluster has to screen by the same rules.",
                remedy="Install the same version with the same content everywhere.",
            )
        book = self.book()
        return Screener(book, service_of(book), self.policy, self.plan.as_of, self.moment)

    def kinds(self) -> frozenset[str]:
        """Return the kinds of resources that have to be read."""
        return kinds_of(service_of(self.book()))


@cache
def rules_of(content: str, site: str) -> RuleBook:
    """Load a rule book once per process."""
    return load_book(Path(content), site)


@cache
def _laid(content: str, site: str, decided: bytes, day: date) -> RuleBook:
    """Lay decisions over a rule book, once per process."""
    made = [Tuning.of_plain(one) for one in decoding.decode(decided)]
    return tuned(rules_of(content, site), made, day)


def service_of(book: RuleBook) -> ServiceRules:
    """Return the service whose rules are asked."""
    return service_for(book, HOOK)
