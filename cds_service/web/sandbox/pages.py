"""The pages of the sandbox, and the forms on them. Everything works without a script; one makes it smoother."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
from flask import Blueprint, Flask, Response, abort, current_app, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from cds_service.adapters.ehr import hook_request
from cds_service.adapters.fhir import Origins
from cds_service.protocol.access import Access
from cds_service.web.cast import Cast, Member, moved, read_cast
from cds_service.web.cds import Engine
from cds_service.web.chart import named, order_line, read_chart
from cds_service.web.sandbox import behind
from cds_service.web.sandbox.charts import OpenChart
from cds_service.web.sandbox.choices import USER, Choices, read_choices
from cds_service.web.sandbox.deeds import DEEDS, Doing, look
from cds_service.web.sandbox.marking import dated, folded, followed, visible
from cds_service.web.sandbox.servers import Place, Servers
from cds_service.web.sandbox.visits import COOKIE, Visit, Visits

HOOK = "patient-view"
SERVICE = f"calcinosis-{HOOK}"
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
AT_HOME = ("127.0.0.1", "::1")
HOME_NAMES = ("127.0.0.1", "localhost", "[::1]")

blueprint = Blueprint(
    "sandbox",
    __name__,
    url_prefix="/sandbox",
    template_folder="../templates",
    static_folder="../static",
    static_url_path="/static",
)


class Room(msgspec.Struct, frozen=True):
    """What the sandbox works with; of the engine only its clock, and what is behind a call that was made."""

    cast: Cast
    engine: Engine
    choices: Choices
    servers: Servers
    visits: Visits

    @property
    def days(self) -> int:
        """By how many days the stories of the cast are moved to play today."""
        return self.cast.days_until(self.engine.clock())

    @property
    def today(self) -> date:
        """The calendar day (UTC)."""
        return datetime.fromtimestamp(self.engine.clock(), UTC).date()


def register(app: Flask, engine: Engine, fixtures: Path) -> None:
    """Add the sandbox to an application."""
    origins = engine.completing.origins if engine.completing else Origins()
    choices = read_choices(fixtures, engine.shelf.book.terminology)
    app.extensions["sandbox"] = Room(read_cast(fixtures), engine, choices, Servers(origins), Visits())
    app.register_blueprint(blueprint)
    app.jinja_env.filters |= {"folded": folded, "visible": visible, "dated": dated, "followed": followed}
    app.jinja_env.filters |= {"order_line": order_line}


def room() -> Room:
    """Return the sandbox of the current application."""
    found: Room = current_app.extensions["sandbox"]
    return found


def visit() -> Visit | None:
    """Return the session of whoever asks."""
    return room().visits.find(request.cookies.get(COOKIE, ""))


def started() -> Visit:
    """Return the session of whoever asks; without one it begins now."""
    found = visit()
    if found is None:
        found = g.new_visit = room().visits.start()
    return found


def at_home() -> bool:
    """Say whether somebody at this machine asks, by an address that leads nowhere else (DNS rebinding)."""
    host = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdigit() else request.host
    return request.remote_addr in AT_HOME and host in HOME_NAMES


@blueprint.get("/")
def patients() -> str:
    """List the cast, with what the service should say of each, and the way to other patients."""
    here = room()
    members = [(one, read_chart(_resources(here, one), here.today, _words(here))) for one in here.cast.members]
    servers = [url for url in here.servers.urls() if url != _own_url()] if _may_read_servers() else []
    return _page(
        "list", members=members, servers=servers, own=_own_url(), at_home=at_home(), ended="ended" in request.args
    )


@blueprint.post("/server")
def choose_server() -> AnyResponse:
    """Choose a FHIR server."""
    url, token = request.form.get("url", "").strip().rstrip("/"), request.form.get("token", "").strip()
    own = _own_server()
    if own is not None and own.server == url:
        token = own.token
    if not (_may_read_servers() and room().servers.may_read(url, at_home=at_home())):
        return Response(_page("refused", url=url[:200], at_home=at_home()), 403)
    here = started()
    with here.lock:
        here.place = Place(url, token)
    return redirect(url_for(".server"), 303)


@blueprint.get("/server")
def server() -> str | AnyResponse:
    """List the patients of the FHIR server that was chosen."""
    here = visit()
    if here is None or here.place is None:
        return redirect(url_for(".patients", ended=1), 303)
    name = request.args.get("name", "").strip()[:80]
    found, problem = room().servers.patients(here.place, name)
    listed = [(one.id, named(one.resource), one.resource) for one in found]
    return _page("server", place=here.place, found=listed, problem=problem, name=name)


@blueprint.post("/server/open")
def open_from_server() -> AnyResponse:
    """Open a chart of the FHIR server."""
    here, servers = visit(), room().servers
    place = here.place if here else None
    if here is None or place is None:
        return redirect(url_for(".patients", ended=1), 303)
    resources, gaps = servers.chart(place, request.form.get("patient", ""))
    if not resources:
        return Response(_page("server", place=place, found=[], problem="; ".join(gaps), name=""), 502)
    with here.lock:
        chart = OpenChart(
            here.new_key(),
            resources,
            place.url,
            ask=lambda templates, context: servers.prefetch(place, templates, context),
            token=place.token,
        )
        chart.gaps = tuple(gaps)
        look(_doing(here.keep(chart)))
    return redirect(url_for(".chart", key=chart.key), 303)


@blueprint.post("/view")
def view() -> AnyResponse:
    """Show the cards in an eighth of the screen, or in a third again."""
    here, key = visit(), request.form.get("key", "")
    if here is None or key not in here.charts:
        return redirect(url_for(".patients", ended=1), 303)
    here.narrow = request.form.get("width") == "eighth"
    return redirect(url_for(".chart", key=key, _anchor="advice"), 303)


@blueprint.get("/<key>")
def chart(key: str) -> str:
    """Show a chart; a patient of the cast is opened, if that is not yet so."""
    here = visit()
    member = room().cast.member(key)
    if member is None and (here is None or key not in here.charts):
        abort(404)
    here = here or started()
    with here.lock:
        shown = here.charts.get(key) or (_open(here, member) if member else None)
        if shown is None:
            abort(404)
        return _chart_page(here, shown)


@blueprint.get("/<key>/request.json")
def hook_call(key: str) -> Response:
    """Give the hook call of a patient of the cast, with its dates moved to today: for whoever has only curl."""
    here = room()
    member = here.cast.member(key)
    if member is None:
        abort(404)
    templates = here.engine.shelf.book.services[SERVICE].service.prefetch
    text = msgspec.json.encode(hook_request(HOOK, here.cast.record(member), templates, user_id=USER)).decode()
    return Response(moved(text, here.days), mimetype="application/json")


@blueprint.get("/<key>/calls/<int:number>")
def call(key: str, number: int) -> str:
    """Show what is behind a call: the answer of every rule, request, response, and the command."""
    here = visit()
    shown = here.charts.get(key) if here else None
    found = next((one for one in shown.calls if one.number == number), None) if shown else None
    if shown is None or found is None:
        abort(404)
    engine = room().engine
    return _page(
        "call",
        chart_key=key,
        name=named(shown.resources[0]),
        call=found,
        trail=behind.trail(engine, found),
        sent=behind.document(found.request),
        answer=behind.document(found.answer),
        command=behind.command(found, request.host_url.rstrip("/"), token=not engine.door.open_to_all),
        verdicts=behind.VERDICTS,
    )


@blueprint.post("/<key>/close")
def close(key: str) -> AnyResponse:
    """Close a chart: what was done in it is forgotten."""
    here = visit()
    if here is not None:
        with here.lock:
            here.charts.pop(key, None)
    return redirect(url_for(".patients"), 303)


@blueprint.post("/<key>/<deed>")
def do(key: str, deed: str) -> AnyResponse:
    """Do something in a chart, and show it again."""
    here, doing = visit(), DEEDS.get(deed)
    if doing is None:
        abort(404)
    shown = here.charts.get(key) if here else None
    if here is None or shown is None:
        return redirect(url_for(".patients", ended=1), 303)
    with here.lock:
        shown.look = doing(_doing(shown))
        return redirect(url_for(".chart", key=key, _anchor=shown.look), 303)


@blueprint.errorhandler(404)
def missing(_problem: Exception) -> tuple[str, int]:
    """Say that there is no such patient."""
    return _page("missing"), 404


@blueprint.before_request
def only_our_forms() -> None:
    """Refuse a form that another site's page sent (the cookie is not sent then either)."""
    foreign = request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
    origin = request.headers.get("Origin", "")
    if request.method == "POST" and (foreign or (origin and origin != request.host_url.rstrip("/"))):
        abort(403)


@blueprint.after_request
def protect(response: Response) -> Response:
    """Nothing from elsewhere, no frame, no inline script; and the session's cookie, if the session is new."""
    response.headers["Content-Security-Policy"] = POLICY
    # Not "no-referrer": browsers would then hide the origin of our own forms as well.
    response.headers["Referrer-Policy"] = "same-origin"
    new: Visit | None = g.pop("new_visit", None)
    if new is not None:
        response.set_cookie(COOKIE, new.id, path="/sandbox", httponly=True, samesite="Strict", secure=request.is_secure)
    return response


def _own_server() -> Access | None:
    """Return the FHIR server that runs beside the demo, with its token."""
    found: Access | None = current_app.extensions.get("sandbox_fhir")
    return found


def _own_url() -> str:
    own = _own_server()
    return own.server if own and _may_read_servers() else ""


def _may_read_servers() -> bool:
    """Records of FHIR servers are for whom the service lets in: here it can only be everybody, or who sits here."""
    return room().engine.door.open_to_all or at_home()


def _open(here: Visit, member: Member) -> OpenChart:
    """Open the chart of a patient of the cast: the hook fires."""
    base = f"https://ehr.example.org/{here.mark}/fhir"
    opened = OpenChart(member.patient, _resources(room(), member), base)
    opened.story = member.story
    look(_doing(here.keep(opened)))
    return opened


def _doing(chart: OpenChart) -> Doing:
    here = room()
    return Doing(chart, request.form, here.choices, here.engine.clock())


def _resources(here: Room, member: Member) -> list[dict[str, Any]]:
    return here.cast.resources(member, here.days)


def _words(here: Room) -> Any:
    return here.engine.shelf.book.terminology


def _chart_page(here: Visit, shown: OpenChart) -> str:
    """Show a chart. What is new, and where to look, is told once."""
    unfolded = shown.unfolded()
    news, place, shown.news, shown.look = shown.news, shown.look, "", ""
    book = room().engine.shelf.book
    return _page(
        "chart",
        visit=here,
        open=shown,
        chart=read_chart(shown.shown(), room().today, book.terminology),
        choices=room().choices,
        rules=book.rules,
        news=news,
        look=place,
        unfolded=unfolded,
        reads_server=shown.ask is not None,
    )


def _page(template: str, /, **shown: Any) -> str:
    return render_template(f"sandbox/{template}.html", day=room().today, **shown)
