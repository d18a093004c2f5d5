"""The CDS Hooks endpoints: discovery, and one POST address per service."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from time import perf_counter

import msgspec
from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, Unauthorized, UnsupportedMediaType

from cds_service import decide
from cds_service.errors import CdsError, UnknownService
from cds_service.facts import Policy, take_in
from cds_service.facts.identity import STRANGER
from cds_service.facts.intake import Reader
from cds_service.facts.records import Prefetch
from cds_service.protocol import HookRequest, discovery, to_json
from cds_service.rules.book import RuleBook, ServiceRules, Shelf
from cds_service.web.settings import MAX_BODY

log = logging.getLogger("cds_service")
blueprint = Blueprint("cds", __name__)
# Answers hold patient data: nobody stores them, and no browser guesses what they are.
PROTECTED = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
ANSWERED = (("Content-Type", "application/json"), *PROTECTED)


class Engine:
    """What one application answers with: the rule book in force, the site's choices, the clock, and a tally."""

    def __init__(
        self, shelf: Shelf, policy: Policy, clock: Callable[[], float], new_id: Callable[[], str], auth: str
    ) -> None:
        self.shelf, self.policy, self.clock, self.new_id, self.auth = shelf, policy, clock, new_id, auth
        self.counted: Counter[str] = Counter()
        self._reader = (shelf.book, Reader(shelf.book.terminology))

    def reader(self, book: RuleBook) -> Reader:
        """Return the reader of a book's terminology; a new book gets a new one."""
        if self._reader[0] is not book:
            self._reader = (book, Reader(book.terminology))
        return self._reader[1]

    def answer(self, service_id: str, raw: bytes) -> bytes:
        """Answer one hook call: the life of a request, in the order in which it is lived."""
        book = self.shelf.book
        service = _service(book, service_id)
        call = HookRequest.parse(raw, service.service.hook, Prefetch)
        facts = take_in(call, self.reader(book), self.clock(), self.policy)
        decision = decide.decide(facts, book, service)
        response = decide.respond(decision, book, service, call, self.new_id)
        self._count(decision)
        return to_json(response)

    def _count(self, decision: decide.Decision) -> None:
        events = [f"{one.verdict.value} {one.rule.id}" for one in decision.outcomes]
        events += [f"silent {one.verdict.value} {one.rule.id}" for one in decision.silent]
        events += [f"failed {one.rule.id} {one.failed}" for one in decision.outcomes if one.failed]
        events += ["dropped stranger" for aside in decision.facts.unusable if aside.reason == STRANGER]
        self.counted.update(events)


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
        _authenticate(current)
        _check_media_type()
        body = current.answer(service_id, _body())
        status = "200"
        return Response(body, headers=ANSWERED)
    except (CdsError, HTTPException) as problem:
        status = problem.slug if isinstance(problem, CdsError) else f"http-{problem.code}"
        current.counted[f"refused {status}"] += 1
        raise
    finally:
        if log.isEnabledFor(logging.INFO):
            name = service_id if service_id in current.shelf.book.services else "unknown"
            spent = round((perf_counter() - started) * 1000, 2)
            log.info("call", extra={"fields": {"event": "call", "service": name, "result": status, "ms": spent}})


def _authenticate(current: Engine) -> None:
    """Let in whoever the settings let in. With "jwt" and no issuer configured that is nobody: the door stays shut."""
    if current.auth != "none":
        raise Unauthorized(www_authenticate=None)


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
