"""The CDS Hooks endpoints: discovery, and one POST address per service."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from functools import cache
from time import perf_counter

import msgspec
from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, UnsupportedMediaType

from cds_service import decide
from cds_service.adapters.deadline import Deadline
from cds_service.adapters.fhir import Completing
from cds_service.errors import CdsError, NotAuthenticated, UnknownService
from cds_service.facts import Policy, take_in
from cds_service.facts.identity import STRANGER
from cds_service.facts.intake import Reader
from cds_service.facts.records import Prefetch
from cds_service.protocol import HookRequest, discovery, to_json
from cds_service.protocol.caller import ANYONE, Caller
from cds_service.protocol.profile import STANDARD, Profile
from cds_service.protocol.shaping import shaped_for
from cds_service.publishing.links import linked
from cds_service.rules.book import RuleBook, ServiceRules, Shelf
from cds_service.rules.quiet import QuietState
from cds_service.terminology import Terminology
from cds_service.web.completion import completed, in_our_names
from cds_service.web.door import Door
from cds_service.web.settings import MAX_BODY

log = logging.getLogger("cds_service")
blueprint = Blueprint("cds", __name__)
# Answers hold patient data: nobody stores them, and no browser guesses what they are.
PROTECTED = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
PREFIX = "/cds-services/"
ANSWERED = (("Content-Type", "application/json"), *PROTECTED)


class Engine:
    """What one application answers with: the rule book in force, the site's choices, the clock, and a tally."""

    def __init__(
        self,
        shelf: Shelf,
        policy: Policy,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        door: Door,
        public_url: Callable[[], str] = str,
        quiet: QuietState | None = None,
        completing: Completing | None = None,
    ) -> None:
        self.shelf, self.policy, self.clock, self.new_id, self.door = shelf, policy, clock, new_id, door
        self.public_url, self.quiet, self.completing = public_url, quiet, completing
        self.counted: Counter[str] = Counter()

    def reader(self, book: RuleBook, profile: Profile = STANDARD) -> Reader:
        """Return the reader of a book's terminology, which knows the client's own names of code systems too."""
        own = tuple(sorted(profile.code_systems.items()))
        return book.once(("reader", own), lambda: Reader(_widened(book.terminology, dict(own))))

    def answer(self, service_id: str, raw: bytes, caller: Caller = ANYONE) -> bytes:
        """Answer one hook call: the life of a request, in the order in which it is lived."""
        book, now = self.shelf.book, self.clock()
        service, profile = _service(book, service_id), book.clients.get(caller.profile.name, caller.profile)
        reader = self.reader(book, profile)
        deadline = Deadline(self.completing.budget if self.completing else 0.0)
        call = in_our_names(HookRequest.parse(raw, service.service.hook, Prefetch), service.service)
        facts, gaps = take_in(call, reader, now, self.policy), dict[str, str]()
        if self.completing is not None and call.access is not None:
            call, facts, gaps = completed(
                call,
                facts,
                service.service,
                self.completing,
                deadline,
                lambda whole: take_in(whole, reader, now, self.policy),
            )
        decision = decide.decide(facts, book, service)
        shown = service.showing(profile.most_cards(service.card_limit))
        response = decide.respond(decision, book, shown, call, self.new_id, self.quiet, gaps)
        self._count(decision)
        return to_json(shaped_for(linked(response, book, self.public_url()), profile))

    def tell(self, service_id: str, status: str, started: float) -> None:
        """Log that a call was answered: which service, how it ended, and how long it took since ``started``."""
        if log.isEnabledFor(logging.INFO):
            name = service_id if service_id in self.shelf.book.services else "unknown"
            spent = round((perf_counter() - started) * 1000, 2)
            log.info("call", extra={"fields": {"event": "call", "service": name, "result": status, "ms": spent}})

    def _count(self, decision: decide.Decision) -> None:
        events = [_event(one.verdict.value, one.rule.id) for one in decision.outcomes]
        events += [_event(f"silent {one.verdict.value}", one.rule.id) for one in decision.silent]
        events += [f"failed {one.rule.id} {one.failed}" for one in decision.outcomes if one.failed]
        events += ["dropped stranger" for aside in decision.facts.unusable if aside.reason == STRANGER]
        self.counted.update(events)


def _widened(words: Terminology, own: dict[str, str]) -> Terminology:
    return msgspec.structs.replace(words, systems=words.systems.with_aliases(own)) if own else words


@cache
def _event(what: str, rule: str) -> str:
    """Name an event that is counted; there are three for each rule."""
    return f"{what} {rule}"


def _service(book: RuleBook, service_id: str) -> ServiceRules:
    found = book.services.get(service_id)
    if found is None:
        raise UnknownService(
            "There is no service with this id.",
            where="/cds-services",
            remedy="GET /cds-services lists the services and their ids.",
        )
    return found


def engine() -> Engine:
    """Return the engine of the current application."""
    found: Engine = current_app.extensions["cds"]
    return found


@blueprint.get("/cds-services")
def discover() -> Response:
    """List the services (CDS Hooks, "Discovery"). Open to all: it holds nothing about patients."""
    services = [entry.service for entry in engine().shelf.book.services.values()]
    return Response(discovery(services), mimetype="application/json")


@blueprint.post("/cds-services/<service_id>")
def call(service_id: str) -> Response:
    """Answer a hook call."""
    started = perf_counter()
    current = engine()
    status = "unexpected"
    try:
        caller = current.door.admit(request.path, request.environ)
        _check_media_type()
        body = current.answer(service_id, _body(), caller)
        status = "200"
        return Response(body, headers=ANSWERED)
    except (CdsError, HTTPException) as problem:
        status = _ended(problem)
        current.counted[f"refused {status}"] += 1
        raise
    finally:
        current.tell(service_id, status, started)


def _ended(problem: CdsError | HTTPException) -> str:
    """Name how a call ended, for the log: there, and only there, stands why a client was not let in."""
    if isinstance(problem, NotAuthenticated):
        return f"401 {problem.reason}"
    return problem.slug if isinstance(problem, CdsError) else f"http-{problem.code}"


def _check_media_type() -> None:
    usual = request.environ.get("CONTENT_TYPE") == "application/json"
    if not usual and request.mimetype != "application/json":
        raise UnsupportedMediaType
    if request.environ.get("HTTP_CONTENT_ENCODING", "identity") != "identity":
        raise UnsupportedMediaType


def _body() -> bytes:
    """Read the body; one that ends early, or whose chunks do not add up, is the client's mistake."""
    length = request.content_length
    if length is not None and length > MAX_BODY:
        raise RequestEntityTooLarge
    try:
        # In one piece where its length is known: get_data reads pieces of 64 kB and copies each of them three times.
        raw: bytes = request.get_data(cache=False) if length is None else request.environ["wsgi.input"].read(length)
    except (OSError, EOFError, ValueError):
        raise BadRequest from None
    if len(raw) > MAX_BODY:
        raise RequestEntityTooLarge
    if length is not None and len(raw) < length:
        raise BadRequest
    return raw


@blueprint.get("/healthz")
def health() -> Response:
    """Say that the process lives, and which rule book it answers with."""
    shelf = engine().shelf
    state = {"status": "ok", "rule_book": shelf.book.fingerprint, "stale": shelf.stale is not None}
    return Response(msgspec.json.encode(state), mimetype="application/json")
