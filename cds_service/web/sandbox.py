"""
The sandbox: a chart as an EHR shows it, and beside it the cards as this service answers them. Invented patients only.

Off unless the settings say otherwise. The charts play on the fixed day of the cast; the cards are what the
application's own engine answers to a hook call that was built as an EHR builds it from discovery.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

import msgspec
import nh3
from flask import Blueprint, Flask, Response, abort, current_app, render_template, request
from markdown_it import MarkdownIt

from cds_service import decide
from cds_service.adapters.ehr import hook_request
from cds_service.errors import CdsError
from cds_service.facts import take_in
from cds_service.protocol import HookRequest
from cds_service.rules.model import Outcome
from cds_service.web import problems
from cds_service.web.cast import Cast, Member, moved, read_cast
from cds_service.web.cds import Engine
from cds_service.web.chart import Chart, read_chart

HOOK = "patient-view"
SERVICE = f"calcinosis-{HOOK}"
USER = "Practitioner/invented-nephrologist"
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
EXTENSION = "org.calcinosis-cds"
# Links and images would need a reader's trust that a card from a record has not earned.
_TAGS = {*("p", "strong", "em", "ul", "ol", "li", "code", "br"), *("h1", "h2", "h3", "h4")}
_TAGS |= {"table", "thead", "tbody", "tr", "th", "td"}
_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")

blueprint = Blueprint(
    "sandbox",
    __name__,
    url_prefix="/sandbox",
    template_folder="templates",
    static_folder="static",
    static_url_path="/static",
)


class Room(msgspec.Struct, frozen=True):
    """What the sandbox works with: the cast, the live engine, and one like it whose clock stands still."""

    cast: Cast
    live: Engine
    still: Engine


class Opened(msgspec.Struct, frozen=True):
    """A chart that was opened: the hook call that was made, and what came back."""

    member: Member
    chart: Chart
    call: dict[str, Any]
    answer: dict[str, Any]
    milliseconds: float
    outcomes: tuple[Outcome, ...]
    set_aside: tuple[tuple[str, str, int], ...]
    refused: str = ""


class Clean(str):
    """HTML that has been cleaned: templates show it as it is, and escape everything else."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return the HTML, as templates ask for it."""
        return str(self)


def register(app: Flask, engine: Engine, fixtures: Path) -> None:
    """Add the sandbox to an application."""
    cast = read_cast(fixtures)
    still = Engine(engine.shelf, engine.policy, lambda: cast.noon, engine.new_id, engine.door, engine.public_url)
    app.extensions["sandbox"] = Room(cast, engine, still)
    app.register_blueprint(blueprint)
    app.jinja_env.filters |= {"folded": folded, "visible": visible}


def folded(detail: str) -> tuple[Clean, Clean]:
    """Render a card's detail in two parts: its first titled section, and what an EHR may fold away below it."""
    titled = [found.start() for found in re.finditer(r"^\*\*", detail, re.MULTILINE)]
    fold = titled[1] if len(titled) > 1 else len(detail)
    return _rendered(detail[:fold]), _rendered(detail[fold:])


def visible(text: str) -> str:
    """Show characters that hide or turn text around as their escapes: what stands in a record can be seen as it is."""
    return "".join(one if one == "\n" or unicodedata.category(one)[0] != "C" else f"\\u{ord(one):04x}" for one in text)


def _rendered(markdown: str) -> Clean:
    """Render Markdown as an EHR should: without HTML, then everything cleaned away that is not plain text."""
    return Clean(nh3.clean(_markdown.render(markdown), tags=_TAGS, attributes={}, link_rel=None))


def room() -> Room:
    """Return the sandbox of the current application."""
    found: Room = current_app.extensions["sandbox"]
    return found


@blueprint.get("/")
def patients() -> str:
    """List the cast, with what the service says of each."""
    here = room()
    opened = [_open(here, member) for member in here.cast.members]
    return render_template("sandbox/list.html", opened=opened, day=here.cast.day)


@blueprint.get("/<patient>")
def chart(patient: str) -> str:
    """Open one chart."""
    here = room()
    member = here.cast.member(patient)
    if member is None:
        abort(404)
    opened = _open(here, member)
    return render_template(
        "sandbox/chart.html",
        opened=opened,
        day=here.cast.day,
        rules=here.still.shelf.book.rules,
        card_limit=here.still.shelf.book.services[SERVICE].card_limit,
        said=opened.answer.get("extension", {}).get(EXTENSION, {}),
        request_json=_pretty(opened.call),
        response_json=_pretty(opened.answer),
        curl=_curl(member, "none" if here.live.door.open_to_all else "jwt"),
        service=f"/cds-services/{SERVICE}",
    )


@blueprint.get("/<patient>/request.json")
def hook_call(patient: str) -> Response:
    """Give the hook call with its dates moved, since the running service lives today and not on the day of the cast."""
    here = room()
    member = here.cast.member(patient)
    if member is None:
        abort(404)
    today = datetime.fromtimestamp(here.live.clock(), UTC).date()
    text = msgspec.json.encode(_call(here, member)).decode()
    return Response(moved(text, (today - here.cast.day).days), mimetype="application/json")


@blueprint.errorhandler(404)
def missing(_problem: Exception) -> tuple[str, int]:
    """Say that there is no such patient."""
    return render_template("sandbox/missing.html"), 404


@blueprint.after_request
def protect(response: Response) -> Response:
    """No script, no frame, nothing from elsewhere."""
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _call(here: Room, member: Member) -> dict[str, Any]:
    templates = here.still.shelf.book.services[SERVICE].service.prefetch
    return hook_request(HOOK, here.cast.record(member), templates, user_id=USER, hook_instance=str(uuid4()))


def _open(here: Room, member: Member) -> Opened:
    call = _call(here, member)
    raw = msgspec.json.encode(call)
    started = perf_counter()
    answer, refused = _answer(here.still, raw)
    milliseconds = (perf_counter() - started) * 1000
    outcomes, set_aside = _behind(here.still, raw) if not refused else ((), ())
    words = here.still.shelf.book.terminology
    chart = read_chart(here.cast.record(member).resources, here.cast.day, words)
    return Opened(member, chart, call, answer, milliseconds, outcomes, set_aside, refused)


def _answer(engine: Engine, raw: bytes) -> tuple[dict[str, Any], str]:
    """Return the service's answer, or the OperationOutcome of a refusal and what it says."""
    try:
        answer: dict[str, Any] = msgspec.json.decode(engine.answer(SERVICE, raw))
    except CdsError as problem:
        outcome: dict[str, Any] = msgspec.json.decode(problems.of(problem).get_data())
        return outcome, problem.what
    return answer, ""


def _behind(engine: Engine, raw: bytes) -> tuple[tuple[Outcome, ...], tuple[tuple[str, str, int], ...]]:
    """Return what is behind an answer: what every rule said, and what of the record no rule may use."""
    book = engine.shelf.book
    call = HookRequest.parse(raw, HOOK)
    facts = take_in(call, engine.reader(book), engine.clock(), engine.policy)
    decision = decide.decide(facts, book, book.services[SERVICE])
    aside = Counter((one.concept or one.kind, one.reason) for one in facts.set_aside)
    return (*decision.outcomes, *decision.silent), tuple((what, why, number) for (what, why), number in aside.items())


def _pretty(document: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def _curl(member: Member, auth: str) -> str:
    """Return the command that sends this chart's hook call to the running service."""
    base = request.host_url.rstrip("/")
    token = ' -H "Authorization: Bearer $TOKEN"' if auth != "none" else ""
    fetch = f"curl -s {shlex.quote(f'{base}/sandbox/{member.patient}/request.json')}"
    send = f"curl -s {shlex.quote(f'{base}/cds-services/{SERVICE}')} -H 'Content-Type: application/json'{token}"
    return f"{fetch} |\n  {send} --data-binary @-"
