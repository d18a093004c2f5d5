"""The CDS Hooks endpoints: discovery, and one POST address per service."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from functools import cache
from time import perf_counter
from typing import Any

import msgspec
from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, UnsupportedMediaType

from cds_service import decide
from cds_service.adapters.deadline import Deadline
from cds_service.adapters.fhir import Completing
from cds_service.adapters.ledger import Ledger, Switches
from cds_service.cards.fixed import EXTENSION
from cds_service.decide import OFF
from cds_service.errors import CdsError, NotAuthenticated, UnknownService
from cds_service.facts import Policy, take_in
from cds_service.facts.identity import STRANGER
from cds_service.facts.intake import Reader
from cds_service.facts.records import Prefetch
from cds_service.protocol import HookRequest, discovery, to_json
from cds_service.protocol.caller import ANYONE, Caller
from cds_service.protocol.cards import Response as Answer
from cds_service.protocol.profile import STANDARD, Profile
from cds_service.protocol.shaping import shaped_for
from cds_service.publishing.links import linked
from cds_service.recording import Answered
from cds_service.rules.book import RuleBook, ServiceRules
from cds_service.rules.quiet import QuietState
from cds_service.rules.shelf import Shelf
from cds_service.terminology import Terminology
from cds_service.web import problems
from cds_service.web.completion import completed, in_our_names
from cds_service.web.door import Door
from cds_service.web.evidence import Evidence
from cds_service.web.logs import say
from cds_service.web.metrics import Told
from cds_service.web.quarantine import Quarantine
from cds_service.web.requests import DISCOVERY, Guard, Note, Pace, id_of
from cds_service.web.settings import MAX_BODY

blueprint = Blueprint("cds", __name__)
# Answers hold patient data: nobody stores them, and no browser guesses what they are.
PROTECTED = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
PREFIX = "/cds-services/"
ANSWERED = (("Content-Type", "application/json"), *PROTECTED)
# Where the short road leaves the problem it met, for the ordinary one to say.
MET = "calcinosis_cds.problem"
NOTHING_OFF = Switches()


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
        ledger: Ledger | None = None,
        evidence: Evidence | None = None,
    ) -> None:
        self.shelf, self.policy, self.clock, self.new_id, self.door = shelf, policy, clock, new_id, door
        self.public_url, self.quiet, self.completing, self.ledger = public_url, quiet, completing, ledger
        self.evidence = evidence
        self.counted: Counter[str] = Counter()
        self.told = deque[Told](maxlen=100_000)
        self.guard, self.pace, self.quarantine = Guard(), Pace(), Quarantine()

    def reader(self, book: RuleBook, profile: Profile = STANDARD) -> Reader:
        """Return the reader of a book's terminology, which knows the client's own names of code systems too."""
        own = tuple(sorted(profile.code_systems.items()))
        return book.once(("reader", own), lambda: Reader(_widened(book.terminology, dict(own))))

    def admit(self, environ: MutableMapping[str, Any]) -> Caller:
        """Return who calls. Raises NotAuthenticated, Unavailable, TooManyRequests: once decided, for both roads."""
        caller = self.door.admit(environ["PATH_INFO"], environ)
        if self.pace.rate:
            self.pace.check_once(caller.issuer or environ.get("REMOTE_ADDR", ""), environ)
        return caller

    def answer(self, service_id: str, raw: bytes, caller: Caller = ANYONE, note: Note | None = None) -> bytes:
        """Answer one hook call: the life of a request, in the order in which it is lived."""
        note = note or Note()
        book, now, started = self.shelf.book, self.clock(), perf_counter()
        service, profile = service_of(book, service_id), book.clients.get(caller.profile.name, caller.profile)
        off = self.ledger.switches() if self.ledger else NOTHING_OFF
        if off.stops(service_id):
            self.counted["switched off"] += 1
            return to_json(decide.stopped(service))
        reader = self.reader(book, profile)
        deadline = Deadline(self.completing.budget if self.completing else 0.0)
        call = in_our_names(HookRequest.parse(raw, service.service.hook, Prefetch), service.service)
        note.called(call.hook_instance)
        facts, gaps = take_in(call, reader, now, self.policy), dict[str, str]()
        if self.completing is not None and call.access is not None:
            call, facts, gaps = completed(
                call,
                facts,
                service.service,
                self.completing,
                deadline,
                lambda whole: take_in(whole, reader, now, self.policy),
                caller.fhir,
            )
            note.left = deadline.remaining()
        off_now = {**self.quarantine.rules(book), **dict.fromkeys(off.rules, OFF)}
        decision = decide.decide(facts, book, service, off_now, trails=False)
        shown = service.showing(profile.most_cards(service.card_limit))
        response = decide.respond(decision, book, shown, call, self.new_id, self.quiet, gaps, caller.issuer)
        self._count(decision)
        note.cards, note.held = tuple([card.indicator for card in response.cards]), _held(response)
        number = self.new_id() if self.ledger is not None or self.evidence is not None else ""
        base, seen = self.public_url(), (book, decision, response.cards)
        shows = self.evidence.of_cards(base, number, seen, call.fhir_server, len(raw)) if self.evidence else ()
        answer = to_json(shaped_for(linked(response, book, base, shows), profile))
        if self.ledger is not None:
            spent = round((perf_counter() - started) * 1000, 2)
            decided = (book, service, decision, response)
            handed = Answered.of(call, decided, id=number, ms=spent, issuer=caller.issuer, gaps=gaps)
            self.ledger.record(handed, len(raw))
        return answer

    def tell(self, service_id: str, result: str, started: float, note: Note, status: int = 200) -> None:
        """Log and count that a call was answered: which service, how it ended, how long it took since ``started``."""
        name, spent = service_id if service_id in self.shelf.book.services else "unknown", perf_counter() - started
        self.told.append(Told(name, status, "" if status == 200 else result, spent, note.cards, note.held))
        fields = {"event": "call", "service": name, "result": result, "status": status, "ms": round(spent * 1e3, 2)}
        fields |= {"request": note.request, "instance": note.instance, "cards": len(note.cards)}
        if note.left is not None:
            fields["budget_left"] = round(note.left * 1e3)
        say(fields)

    def _count(self, decision: decide.Decision) -> None:
        events = [_event(one.judgement.verdict.word, one.rule.id) for one in decision.outcomes]
        events += [_event(f"silent {one.verdict.word}", one.rule.id) for one in decision.silent]
        events += [f"failed {one.rule.id} {one.failed}" for one in decision.outcomes if one.failed]
        events += ["dropped stranger" for aside in decision.facts.unusable if aside.reason == STRANGER]
        self.counted.update(events)
        self.quarantine.learn(decision.outcomes)


def _held(response: Answer) -> tuple[str, ...]:
    said = response.extension.get(EXTENSION)
    return tuple([one["reason"] for one in said.get("held_back", ())]) if said else ()


def _widened(words: Terminology, own: dict[str, str]) -> Terminology:
    return msgspec.structs.replace(words, systems=words.systems.with_aliases(own)) if own else words


@cache
def _event(what: str, rule: str) -> str:
    """Name an event that is counted; there are three for each rule."""
    return f"{what} {rule}"


def service_of(book: RuleBook, service_id: str) -> ServiceRules:
    """Return a service of a rule book. Raises UnknownService."""
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
    """List the services (CDS Hooks, "Discovery"). Open to all, but paced: it holds nothing about patients."""
    current = engine()
    current.pace.check(f"discovery {request.remote_addr}", DISCOVERY)
    services = [entry.service for entry in current.shelf.book.services.values()]
    return Response(discovery(services), mimetype="application/json")


@blueprint.post("/cds-services/<service_id>")
def call(service_id: str) -> Response:
    """Answer a hook call."""
    started, current = perf_counter(), engine()
    result, status, note = "unexpected", 503, Note(id_of(request.environ))
    try:
        if MET in request.environ:
            raise request.environ.pop(MET)  # else both would hold each other until the garbage collector comes
        caller = current.admit(request.environ)
        check_media_type()
        with body_in(current.guard) as raw, current.guard.place(caller.issuer):
            body = current.answer(service_id, raw, caller, note)
        result, status = "200", 200
        return Response(body, headers=ANSWERED)
    except (CdsError, HTTPException) as problem:
        result, status = ended(problem), problems.status_of(problem)
        current.counted[f"refused {result}"] += 1
        raise
    finally:
        current.tell(service_id, result, started, note, status)


def ended(problem: CdsError | HTTPException) -> str:
    """Name how a call ended, for the log: there, and only there, stands why a client was not let in."""
    if isinstance(problem, NotAuthenticated):
        return f"401 {problem.reason}"
    return problem.slug if isinstance(problem, CdsError) else f"http-{problem.code}"


def check_media_type() -> None:
    """Refuse a body that is not JSON, or packed."""
    usual = request.environ.get("CONTENT_TYPE") == "application/json"
    if not usual and request.mimetype != "application/json":
        raise UnsupportedMediaType
    if request.environ.get("HTTP_CONTENT_ENCODING", "identity") != "identity":
        raise UnsupportedMediaType


@contextmanager
def body_in(guard: Guard) -> Iterator[bytes]:
    """Read the body, and take room for it as long as it is needed."""
    length = request.content_length
    if length is None:  # it came in chunks, which the server has collected: how much that is is known when it is read
        raw = read_body()
        with guard.room_for(len(raw)):
            yield raw
    else:
        with guard.room_for(0 if length > MAX_BODY else length):
            yield read_body()


def read_body() -> bytes:
    """Read the body; one that ends early, or whose chunks do not add up, is the client's mistake."""
    length = request.content_length
    if length is not None and length > MAX_BODY:
        raise RequestEntityTooLarge
    try:
        # In one piece where its length is known: get_data reads pieces of 64 kB and copies each of them three times.
        raw: bytes = request.get_data(cache=False) if length is None else request.environ["wsgi.input"].read(length)
    except HTTPException:
        raise
    except Exception:  # noqa: BLE001 - each server has its own errors for chunks that do not add up
        raise BadRequest from None
    if len(raw) > MAX_BODY:
        raise RequestEntityTooLarge
    if length is not None and len(raw) < length:
        raise BadRequest
    return raw
