"""Where the time of a call goes: its parts one by one, inside one process, without a server around it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import msgspec

from bench.payloads import payload
from bench.served import NOW
from cds_service import decide
from cds_service.facts import take_in
from cds_service.facts.records import Prefetch
from cds_service.protocol import HookRequest, to_json
from cds_service.recording import Answered, decision_row
from cds_service.web import Settings, create_app
from cds_service.web.tuning import settle

SERVICE = "calcinosis-patient-view"
BODIES, TIMES = 40, 15


class Section(msgspec.Struct):
    """A part of the work, and how long it takes in microseconds."""

    name: str
    microseconds: float


class _Watch:
    """Keeps, for each part and body, the shortest time: what others do on the machine only makes it longer."""

    def __init__(self) -> None:
        self.shortest: dict[str, dict[int, float]] = {}

    def take(self, part: str, body: int, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        done = work()
        spent, known = time.perf_counter() - began, self.shortest.setdefault(part, {})
        known[body] = min(spent, known.get(body, spent))
        return done


def asked() -> str:
    """Say how many rules there are, and how many of them are asked in these calls."""
    book = create_app(Settings(auth="none"), clock=lambda: NOW).extensions["cds"].shelf.book
    return f"{len(book.rules)} rules, of which patient-view asks {len(book.services[SERVICE].rules)}"


def measure(observations: int) -> list[Section]:
    """Return the parts of a call with so many results, in their order."""
    engine = create_app(Settings(auth="none"), clock=lambda: NOW).extensions["cds"]
    settle()
    bodies, watch = [payload(observations, seed) for seed in range(BODIES)], _Watch()
    for _ in range(TIMES):
        for number, raw in enumerate(bodies):
            _one(engine, raw, watch, number)
    return [Section(part, statistics.mean(times.values()) * 1e6) for part, times in watch.shortest.items()]


def _one(engine: Any, raw: bytes, watch: _Watch, body: int) -> None:
    book, hook = engine.shelf.book, "patient-view"
    service, reader = book.services[SERVICE], engine.reader(book)
    take = watch.take
    call = take("read the request", body, lambda: HookRequest.parse(raw, hook, Prefetch))
    facts = take("sort the record into facts", body, lambda: take_in(call, reader, NOW, engine.policy))
    decision = take("ask the rules", body, lambda: decide.decide(facts, book, service, trails=False))
    response = take(
        "write the cards", body, lambda: decide.respond(decision, book, service, call, engine.new_id, engine.quiet)
    )
    take("encode the answer", body, lambda: to_json(response))
    answered = Answered.of(call, (book, service, decision, response), id="0", ms=1.0)
    take("(ledger, in its own thread) make the row", body, lambda: decision_row(answered, engine.quiet.pseudonym))
