"""Explain: one call, pasted or picked, answered as the rules would; nothing of it is stored, logged or counted."""

from __future__ import annotations

from datetime import date
from functools import cache
from itertools import count
from pathlib import Path

import msgspec
from flask import request
from flask.typing import ResponseReturnValue

from cds_service import decoding
from cds_service.cards.fixed import EXTENSION
from cds_service.decide import OFF, Decision, respond
from cds_service.errors import CdsError
from cds_service.facts import take_in
from cds_service.facts.dates import DAY
from cds_service.insight.events import as_day
from cds_service.insight.explaining import Explained, explain
from cds_service.protocol import HookRequest
from cds_service.protocol.cards import Card
from cds_service.replay import service_for
from cds_service.rules.book import RuleBook, ServiceRules
from cds_service.web.admin.frame import AdminDesk, allowed, blueprint, desk, page
from cds_service.web.cast import read_cast
from cds_service.web.completion import in_our_names
from cds_service.web.sandbox.marking import Clean, folded
from cds_service.web.settings import MAX_BODY, packaged

EVERYONE = ("viewer", "editor", "approver", "operator", "auditor")
_NOON, PATIENT_VIEW, PASTED = DAY // 2, "patient-view", "admin.explain_pasted"


class Example(msgspec.Struct, frozen=True):
    """An invented call that can be picked."""

    hook: str
    name: str

    @property
    def key(self) -> str:
        """What names it in an address."""
        return f"{self.hook}/{self.name}"

    @property
    def title(self) -> str:
        """Its name in words."""
        return self.name.replace("-", " ")


class Shown(msgspec.Struct, frozen=True):
    """A card as an EHR shows it: ``first`` stands open, ``rest`` is folded away."""

    card: Card
    first: Clean
    rest: Clean


class Answer(msgspec.Struct, frozen=True):
    """What an EHR would get: cards and what was held back, or why it would be refused; and what is behind it."""

    day: date
    hook: str
    cards: tuple[Shown, ...] = ()
    held: tuple[dict[str, str], ...] = ()
    told: Explained | None = None
    refused: CdsError | None = None


@cache
def examples() -> dict[str, Example]:
    """Return the invented calls, by their keys."""
    folder = packaged("fixtures") / "requests"
    found = [Example(path.parent.name, path.stem) for path in sorted(folder.glob("*/*.json"))]
    return {one.key: one for one in sorted(found, key=lambda one: (one.hook != "patient-view", one.hook, one.name))}


@cache
def stories_day() -> date:
    """Return the day on which the stories of the invented calls play."""
    return read_cast(packaged("fixtures")).day


@blueprint.before_app_request
def make_room() -> None:
    """Let a pasted call be as long as one that is sent; other forms stay short. It is held in memory only."""
    if request.endpoint == PASTED:
        request.max_form_memory_size = MAX_BODY


@blueprint.get("/explain", endpoint="explain")
@allowed(*EVERYONE)
def asked() -> ResponseReturnValue:
    """Show the form, and what the rules say of the invented call that was picked."""
    chosen = examples().get(request.args.get("example", ""))
    if chosen is None:
        return _page(desk())
    raw = _read(packaged("fixtures") / "requests" / chosen.hook / f"{chosen.name}.json")
    return _page(desk(), answered(desk(), raw, stories_day(), desk().lasting), chosen)


@blueprint.post("/explain", endpoint="explain_pasted")
@allowed(*EVERYONE)
def pasted() -> ResponseReturnValue:
    """Say what the rules say of a call that was pasted."""
    text = request.form.get("call", "")
    if not text.strip():
        return _page(desk(), problem="Paste a hook call first, or pick one of the invented ones.")
    try:
        day = date.fromisoformat(request.form["day"]) if request.form.get("day") else desk().today
    except ValueError:
        return _page(desk(), text=text, problem=f"{request.form['day'][:20]} is not a day. Write it as 2026-03-01.")
    return _page(desk(), answered(desk(), text.encode("utf-8", "replace"), day), text=text)


def _page(
    here: AdminDesk, answer: Answer | None = None, chosen: Example | None = None, text: str = "", problem: str = ""
) -> ResponseReturnValue:
    hooks: dict[str, list[Example]] = {}
    for one in examples().values():
        hooks.setdefault(one.hook, []).append(one)
    return page(
        "admin/insight/explain.html",
        hooks=hooks,
        answer=answer,
        chosen=chosen,
        text=text,
        problem=problem,
        day=answer.day if answer else here.today,
    )


def _read(path: Path) -> bytes:
    return path.read_bytes()


def answered(here: AdminDesk, raw: bytes, day: date, lasting: RuleBook | None = None) -> Answer:
    """
    Answer a call as of noon of a day, or as of now on the day of today.

    Nothing is fetched, kept quiet or remembered: it shows what the rules say of what stands in the call. The numbers
    are those of that day, or those of ``lasting``.
    """
    book, hook = lasting or here.book, _hook(raw)
    now = here.engine.clock() if day == here.today else float(as_day(day) * DAY + _NOON)
    try:
        service = service_for(book, hook)
        call = in_our_names(HookRequest.parse(raw, hook), service.service)
        facts = take_in(call, here.engine.reader(book), now, here.engine.policy)
    except CdsError as problem:
        return Answer(day, hook, refused=problem)
    ledger = here.engine.ledger
    off = dict.fromkeys(ledger.switches().rules, OFF) if ledger else {}
    told = explain(facts, book, service, off)
    return _with_cards(Answer(day, hook, told=told), call, told.decision, book, service)


def _with_cards(answer: Answer, call: HookRequest, decision: Decision, book: RuleBook, service: ServiceRules) -> Answer:
    numbers = count(1)
    try:
        response = respond(decision, book, service, call, lambda: f"explained-{next(numbers)}")
    except CdsError as problem:
        return msgspec.structs.replace(answer, refused=problem)
    held = response.extension.get(EXTENSION, {}).get("held_back", [])
    cards = tuple(Shown(card, *folded(card.detail)) for card in response.cards)
    return msgspec.structs.replace(answer, cards=cards, held=tuple(held))


class _Hook(msgspec.Struct):
    hook: str = ""


def _hook(raw: bytes) -> str:
    """Return the hook that a call says it is of; where it cannot be read, the parser of any hook says why."""
    try:
        return decoding.decode(raw, _Hook).hook
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return PATIENT_VIEW
