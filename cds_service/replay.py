"""One recorded hook call answered again, as of any moment: what screening, explaining and back-testing are made of."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from cds_service.decide import Decision, decide, respond
from cds_service.errors import CdsError, UnknownService
from cds_service.facts import Policy, take_in
from cds_service.facts.intake import Reader
from cds_service.protocol import HookRequest, Response
from cds_service.rules.book import RuleBook, ServiceRules

# The moments that a record may be looked at, besides a day: the day of its newest result, or now.
NEWEST, TODAY = "newest", "today"


class Replayed(msgspec.Struct, frozen=True):
    """
    The answer to one hook call as of one moment.

    ``refused`` holds the error that the EHR would have got instead of cards; the decision may be there all the same.
    """

    decision: Decision | None = None
    response: Response | None = None
    refused: CdsError | None = None


class Replayer:
    """Answers hook calls with one rule book, in the very steps in which the running service does."""

    def __init__(self, book: RuleBook, new_id: Callable[[], str], policy: Policy = Policy()) -> None:  # noqa: B008
        self.book, self.new_id, self.policy = book, new_id, policy
        self._reader = Reader(book.terminology)

    def replay(self, call: bytes, service: ServiceRules, now: float) -> Replayed:
        """Answer one hook call as of ``now`` (seconds since 1970, UTC)."""
        decision = None
        try:
            request = HookRequest.parse(call, service.service.hook)
            facts = take_in(request, self._reader, now, self.policy)
            decision = decide(facts, self.book, service)
            response = respond(decision, self.book, service, request, self.new_id)
        except CdsError as problem:
            return Replayed(decision, None, problem)
        return Replayed(decision, response)


def service_for(book: RuleBook, hook: str) -> ServiceRules:
    """Return the service that answers a hook. Raises UnknownService where there is none."""
    found = next((one for one in book.services.values() if one.service.hook == hook), None)
    if found is None:
        hooks = sorted({one.service.hook for one in book.services.values()})
        raise UnknownService(f'No service answers the hook "{hook}".', remedy=f"The hooks are: {', '.join(hooks)}.")
    return found
