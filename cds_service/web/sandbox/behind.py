"""What is behind a call: what every rule said and why, what of the record no rule may use, the call as a command."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from typing import Any

import msgspec

from cds_service import decide
from cds_service.adapters.deadline import Deadline
from cds_service.errors import CdsError
from cds_service.facts import take_in
from cds_service.facts.intake import Reader
from cds_service.facts.model import Facts
from cds_service.protocol import HookRequest
from cds_service.rules.book import ServiceRules
from cds_service.rules.model import Outcome
from cds_service.web.cds import Engine
from cds_service.web.completion import completed, in_our_names
from cds_service.web.sandbox.calling import JSON, Call, decoded

VERDICTS = {"yes": "fired", "unknown": "not evaluated", "no": "did not fire"}
_ORDER = tuple(VERDICTS)
HIDDEN = "(not shown)"


class Trail(msgspec.Struct, frozen=True):
    """What every rule said of one call, those that fired first, and what was set aside with how often."""

    outcomes: tuple[Outcome, ...]
    set_aside: tuple[tuple[str, str, int], ...]


def trail(engine: Engine, call: Call) -> Trail | None:
    """Ask the rules again, with what the call sent; None for a call that no rule could read."""
    book = engine.shelf.book
    service = book.services.get(call.service)
    if service is None or call.hook == "feedback":
        return None
    try:
        facts = _facts(engine, call, service, engine.reader(book))
        decision = decide.decide(facts, book, service)
    except CdsError:
        return None
    aside = Counter((one.concept or one.kind, one.reason) for one in facts.set_aside)
    outcomes = sorted((*decision.outcomes, *decision.silent), key=lambda one: _ORDER.index(one.verdict.value))
    return Trail(tuple(outcomes), tuple((what, why, number) for (what, why), number in aside.items()))


def _facts(engine: Engine, call: Call, service: ServiceRules, reader: Reader) -> Facts:
    """Take in what the call sent, and what the service reads of the FHIR server where something lacks."""

    def read(sent: HookRequest) -> Facts:
        return take_in(sent, reader, engine.clock(), engine.policy)

    sent = in_our_names(HookRequest.parse(call.request, service.service.hook), service.service)
    facts = read(sent)
    if engine.completing is None or sent.access is None:
        return facts
    deadline = Deadline(engine.completing.budget)
    return completed(sent, facts, service.service, engine.completing, deadline, read)[1]


def document(body: bytes) -> str:
    """Show a JSON body for reading, without the token that may stand in it."""
    found = decoded(body)
    if found is None:
        return body.decode("utf-8", "replace")
    return msgspec.json.format(msgspec.json.encode(_without_token(found)), indent=2).decode()


def command(call: Call, address: str, *, token: bool) -> str:
    """Return the command that makes the same call again; a shell reads its body from the lines that follow."""
    # ASCII: whatever hides or turns text around in a record is written as its escape.
    body = json.dumps(_without_token(decoded(call.request)), separators=(",", ":"))
    bearer = ' \\\n  -H "Authorization: Bearer $TOKEN"' if token else ""
    url = shlex.quote(f"{address}{call.path}")
    return f"curl -s {url} \\\n  -H 'Content-Type: {JSON}'{bearer} --data-binary @- <<'CALL'\n{body}\nCALL"


def _without_token(found: Any) -> Any:
    authorization = found.get("fhirAuthorization") if isinstance(found, dict) else None
    if not isinstance(authorization, dict):
        return found
    return found | {"fhirAuthorization": authorization | {"access_token": HIDDEN}}
