"""
The evidence view: the page behind a card's link. Which picture it shows is found by an opaque id, signed, that ends.

With a ledger the page is made of the recorded decision, so that every process can show it, also after a restart;
without one, of what this process remembers: a bounded number of its last decisions.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec
from flask import Blueprint, Flask, Response, current_app, render_template, request

from cds_service import decide
from cds_service.adapters.ledger import Ledger
from cds_service.cards.fixed import EXTENSION
from cds_service.drawing import svg
from cds_service.drawing.axis import day_of
from cds_service.drawing.naming import named
from cds_service.drawing.told import View, view
from cds_service.errors import Unavailable
from cds_service.protocol.cards import Card, Link
from cds_service.publishing.intended import INTENDED_USE
from cds_service.recording import DecisionRow, facts_from
from cds_service.rules.book import RuleBook
from cds_service.rules.model import Outcome
from cds_service.web.requests import Guard, id_of
from cds_service.web.signing import Pointer, Signer

log = logging.getLogger("cds_service")
LABEL = "Trend, reasons and sources"
SMART_LABEL = "Trend, reasons and sources, read anew from the chart"
# What one process remembers without a ledger: so many decisions, and so many bytes of hook calls behind them.
MOST, ROOM = 500, 16 * 1024 * 1024
# How many pages one process draws at once: hook calls come first.
PAGES = 4
POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors "
_GONE = (
    "The process that answered the card has forgotten it, or another process was asked. Loading the page once more may "
    "reach the right one."
)
_NOT_YET = (
    "It may be written down in a moment: load the page once more. If that does not help, it was purged, or the ledger "
    "could not be written."
)
PROBLEMS = {
    "unknown": (404, "This is no address of ours", "It is incomplete, or was changed on the way."),
    "expired": (410, "This link has ended", "Links from cards end after some hours."),
    "gone": (404, "What this link showed is not here", _GONE),
    "not-yet": (404, "This decision is not on record", _NOT_YET),
    "busy": (503, "The page cannot be drawn now", "The service is busy, or its ledger cannot be read."),
}

blueprint = Blueprint("evidence", __name__, template_folder="templates")


class Kept(msgspec.Struct, frozen=True):
    """A decision as it was made; nothing is worked out until somebody opens its page."""

    book: RuleBook
    decision: decide.Decision
    cards: Sequence[Card]
    weight: int
    until: float


class Memory:
    """The last decisions of this process, the oldest forgotten first; ``room`` bounds the hook calls behind them."""

    def __init__(self, most: int = MOST, room: int = ROOM) -> None:
        self.most, self.room, self.taken = most, room, 0
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, number: str, kept: Kept) -> None:
        """Remember a decision."""
        with self._lock:
            self._kept[number] = kept
            self.taken += kept.weight
            while len(self._kept) > self.most or (self.taken > self.room and len(self._kept) > 1):
                self.taken -= self._kept.popitem(last=False)[1].weight

    def find(self, number: str, now: float) -> Kept | None:
        """Return a decision, if it is remembered and its time is not over; forget those whose time is."""
        with self._lock:
            for name in [name for name, kept in self._kept.items() if kept.until < now]:
                self.taken -= self._kept.pop(name).weight
            return self._kept.get(number)


class Shown(msgspec.Struct, frozen=True):
    """One page: what stands at its top, what it shows, and what the reader must know about how it was made."""

    heading: str
    indicator: str
    view: View
    notes: tuple[str, ...] = ()
    until: str = ""
    person: str = ""


class Evidence:
    """
    Makes the links of cards, and finds what they point at.

    ``hours`` is how long a link lives, ``frames`` the origins whose pages may hold ours, ``launch`` says whether an
    EHR may launch the SMART app; ``links`` is off where only that app shows the page.
    """

    def __init__(
        self,
        signer: Signer,
        clock: Callable[[], float],
        hours: int,
        book: Callable[[], RuleBook],
        *,
        ledger: Ledger | None = None,
        frames: Sequence[str] = (),
        links: bool = True,
        launch: Callable[[str], object] = lambda _server: None,
    ) -> None:
        self.signer, self.clock, self.seconds, self.book = signer, clock, hours * 3600, book
        self.ledger, self.frames, self.links, self.launch = ledger, " ".join(frames), links, launch
        self.memory, self.guard = Memory(), Guard(PAGES)

    def of_cards(
        self, base: str, number: str, made: tuple[RuleBook, decide.Decision, Sequence[Card]], server: str, weight: int
    ) -> list[list[Link]]:
        """Return the links of each card of a decision, and remember it where there is no ledger."""
        book, decision, cards = made
        if not base or not cards:
            return []
        until = int(self.clock()) + self.seconds
        if self.links and self.ledger is None:
            self.memory.keep(number, Kept(book, decision, cards, weight, until))
        smart = bool(server) and self.launch(server) is not None
        return [self._links(base, Pointer(number, place, until), card, smart) for place, card in enumerate(cards, 1)]

    def _links(self, base: str, pointer: Pointer, card: Card, smart: bool) -> list[Link]:
        links = [Link(LABEL, self.signer.address(base, pointer), "absolute")] if self.links else []
        if smart:
            links.append(Link(SMART_LABEL, f"{base}/smart/launch", "smart", ",".join(_rules_of(card))))
        return links

    def shown(self, pointer: Pointer) -> Shown | str:
        """Return the page that a pointer leads to, or which of PROBLEMS keeps it from being shown."""
        if pointer.until < self.clock():
            return "expired"
        if self.ledger is not None:
            row = self.ledger.decision(pointer.decision)
            return self._recorded(row, pointer) if row is not None and row.facts else "not-yet"
        kept = self.memory.find(pointer.decision, self.clock())
        if kept is None or pointer.card > len(kept.cards):
            return "gone"
        card = kept.cards[pointer.card - 1]
        outcomes = chosen(kept.decision.outcomes, _rules_of(card))
        told = view(kept.decision.facts, outcomes, kept.book)
        return Shown(card.summary, card.indicator, told, until=_until(pointer))

    def _recorded(self, row: DecisionRow, pointer: Pointer) -> Shown | str:
        """Make the page of a recorded decision: its facts, asked once more; a record holds no words of the chart."""
        cards, book = row.content.get("cards", []), self.book()
        service = book.services.get(row.service)
        if pointer.card > len(cards) or service is None:
            return "gone"
        card, facts = cards[pointer.card - 1], named(facts_from(row), book.terminology)
        outcomes = chosen(decide.decide(facts, book, service).outcomes, card["rules"])
        notes = ["Made from the recorded decision: names of diagnoses and medicines are those of the catalogue."]
        if row.content.get("book") != book.fingerprint:
            notes.append(
                "THE RULES HAVE CHANGED since this card was shown: the values are those of the card, the reasons and "
                "thresholds are those in force now."
            )
        heading = outcomes[0].rule.title if outcomes else "The rules of this card are no longer in the rule book"
        return Shown(heading, card["indicator"], view(facts, outcomes, book), tuple(notes), _until(pointer))


def chosen(outcomes: Sequence[Outcome], rules: Sequence[str]) -> list[Outcome]:
    """Return what some rules said, in the order in which they are named."""
    found = {outcome.rule.id: outcome for outcome in outcomes}
    return [found[name] for name in rules if name in found]


def _rules_of(card: Card) -> list[str]:
    return [one["id"] for one in card.extension[EXTENSION]["rules"]]


def _until(pointer: Pointer) -> str:
    return f"{day_of(pointer.until)}, {datetime.fromtimestamp(pointer.until, UTC):%H:%M} UTC"


def register(app: Flask, evidence: Evidence) -> None:
    """Add the page to an application."""
    app.extensions["evidence"] = evidence
    app.register_blueprint(blueprint)


def desk() -> Evidence:
    """Return the evidence view of the current application."""
    found: Evidence = current_app.extensions["evidence"]
    return found


@blueprint.get("/evidence/<decision>")
def page(decision: str) -> tuple[str, int]:
    """Show what a card rests on."""
    here = desk()
    pointer = here.signer.read(decision, request.args)
    if pointer is None:
        return problem("unknown")
    try:
        with here.guard.place():
            found = here.shown(pointer)
            return problem(found) if isinstance(found, str) else (written(found), 200)
    except Unavailable:
        return problem("busy")


def written(shown: Shown) -> str:
    """Write a page."""
    tell("shown")
    drawn = {
        name: svg.draw(shown.view.picture, sheet, name, shown.view.description)
        for name, sheet in (("wide", svg.WIDE), ("narrow", svg.NARROW))
    }
    return render_template("evidence/page.html", shown=shown, view=shown.view, drawn=drawn, intended_use=INTENDED_USE)


def problem(reason: str) -> tuple[str, int]:
    """Say why there is no page, and what to do."""
    status, what, why = PROBLEMS[reason]
    tell(reason)
    return render_template("evidence/problem.html", what=what, why=why, intended_use=INTENDED_USE), status


def tell(result: str) -> None:
    """Log how a page was asked for: nothing of it names a patient, and the address is not written down."""
    if log.isEnabledFor(logging.INFO):
        fields = {"event": "evidence", "result": result, "request": id_of(request.environ)}
        log.info("evidence", extra={"fields": fields})


@blueprint.after_request
def protect(response: Response) -> Response:
    """Nobody stores it, finds it, frames it or learns from where somebody came."""
    response.headers["Content-Security-Policy"] = POLICY + (desk().frames or "'none'")
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex, nofollow, noarchive"
    response.headers["Cache-Control"] = "no-store"
    return response
