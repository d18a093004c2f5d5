"""
The page for those who connect an EHR: where the services are, what to register, and what is wrong with a call.

It holds nothing about patients. What is pasted is looked at in memory and forgotten; nothing of it is stored or logged.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Sequence
from typing import Any

import msgspec
from flask import Blueprint, Flask, Response, abort, current_app, render_template, request
from werkzeug.exceptions import RequestEntityTooLarge

from cds_service import __version__, decoding
from cds_service.linting import Report, lint
from cds_service.protocol.access import Access
from cds_service.protocol.service import Service
from cds_service.publishing.intended import INTENDED_USE
from cds_service.publishing.registering import EHRS, STANDARD, answers, templates
from cds_service.rules.book import ServiceRules
from cds_service.web.cds import Engine

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Linting takes much longer than answering: a small call, few resources, one at a time in a process.
LIMIT, MOST = 512 * 1024, 400
EXAMPLE = "calcinosis-patient-view"
UNKNOWN_ADDRESS = "https://cds.hospital.example"
HEADINGS = {
    "error": "Errors: the call is refused, or a whole kind of data is lost",
    "warning": "Warnings: something that was sent is not used, or not whole",
    "note": "Notes",
}

blueprint = Blueprint(
    "integrate",
    __name__,
    url_prefix="/integrate",
    template_folder="templates",
    static_folder="static",
    static_url_path="/static",
)


class Counter(msgspec.Struct, frozen=True):
    """What the page works with: the live engine, and whether calls may be pasted here (``lints``)."""

    engine: Engine
    lints: bool
    one: Any

    @property
    def address(self) -> str:
        """Where clients reach the service; "" where that was not set, since no Host header is believed."""
        return self.engine.public_url().rstrip("/")

    @property
    def services(self) -> list[Service]:
        """Every service that is announced."""
        return [one.service for one in self.engine.shelf.book.services.values()]


def register(app: Flask, engine: Engine, *, lints: bool) -> None:
    """Add the page to an application."""
    app.extensions["integrate"] = Counter(engine, lints, threading.Lock())
    app.register_blueprint(blueprint)


def counter() -> Counter:
    """Return the counter of the current application."""
    found: Counter = current_app.extensions["integrate"]
    return found


@blueprint.get("/", strict_slashes=False)
def page() -> str:
    """Show what to register, for one EHR or for any."""
    return _page()


def _page(**shown: Any) -> str:
    here = counter()
    ehr = request.args.get("for", STANDARD)
    if ehr not in EHRS:
        abort(404)
    access: Access | None = current_app.extensions.get("sandbox_fhir")
    base = here.address or UNKNOWN_ADDRESS
    return render_template(
        "integrate/page.html",
        **{"report": None, "pasted": "", "refused": "", "chosen": EXAMPLE, **shown},
        base=base,
        address=here.address,
        ehrs=EHRS.values(),
        ehr=EHRS[ehr],
        services=[(one, *templates(ehr, one.prefetch)) for one in _fired(here.services, ehr)],
        silent=[one.hook for one in here.services if one not in _fired(here.services, ehr)],
        every=here.services,
        examples=_examples(base, here),
        access=access,
        lints=here.lints,
        limit=LIMIT // 1024,
        headings=HEADINGS,
        open_to_all=here.engine.door.open_to_all,
        version=__version__,
        fingerprint=here.engine.shelf.book.fingerprint,
        intended_use=INTENDED_USE,
    )


def _fired(services: Sequence[Service], ehr: str) -> list[Service]:
    hooks = answers(ehr, [one.hook for one in services])
    return [one for one in services if one.hook in hooks]


def _examples(base: str, here: Counter) -> list[tuple[str, str]]:
    """Return commands that somebody without an EHR can try."""
    token = "" if here.engine.door.open_to_all else ' -H "Authorization: Bearer $TOKEN"'
    send = "curl -s -H 'Content-Type: application/json' --data-binary @call.json"
    found = [
        ("What is announced", f"curl -s {shlex.quote(f'{base}/cds-services')}"),
        ("A hook call", f"{send}{token} {shlex.quote(f'{base}/cds-services/{EXAMPLE}')}"),
    ]
    if here.lints:
        found.append(("What is wrong with a call", f"{send} {shlex.quote(f'{base}/integrate/lint')}"))
    return [*found, ("The same, on your machine", "cds-service lint-request call.json")]


# --- linting ---------------------------------------------------------------------------------------------------------


@blueprint.post("/", strict_slashes=False)
def pasted() -> tuple[str, int]:
    """Look at a call that was pasted into the form, or uploaded."""
    request.max_content_length = request.max_form_memory_size = LIMIT
    try:
        text, sent = request.form.get("call", ""), request.files.get("file")
        raw = sent.read() if sent and sent.filename else text.encode("utf-8", "surrogatepass")
    except RequestEntityTooLarge:
        return _page(refused=f"This is more than {LIMIT // 1024} kB. Leave some resources out."), 413
    again = {"pasted": text, "chosen": request.form.get("service", EXAMPLE)}
    if not raw.strip():
        return _page(refused="There is nothing to look at: paste a call, or choose a file."), 400
    report = _looked_at(raw)
    if report is None:
        return _page(refused="Somebody else's call is being looked at. Try again in a moment.", **again), 503
    return _page(report=report, **again), 200


@blueprint.post("/lint")
def lint_json() -> Response:
    """Look at a call that was sent as JSON, and answer in JSON."""
    request.max_content_length = LIMIT
    report = _looked_at(request.get_data(cache=False))
    if report is None:
        abort(503)
    return Response(msgspec.json.encode(report.as_json()), mimetype="application/json")


def _looked_at(raw: bytes) -> Report | None:
    """Return what is wrong with a call; None while another one is being looked at."""
    here = counter()
    if not here.lints:
        abort(404)
    if not here.one.acquire(blocking=False):
        return None
    try:
        return lint(raw, here.engine.shelf.book, _service(here, raw), here.engine.clock(), MOST)
    finally:
        here.one.release()


class _Hook(msgspec.Struct):
    hook: str = ""


def _service(here: Counter, raw: bytes) -> ServiceRules:
    """Return the service that was chosen, or else the one that answers the hook of the call."""
    services = here.engine.shelf.book.services
    named = request.values.get("service", "")
    if named and named not in services:
        abort(404)
    if named:
        return services[named]
    try:
        hook = decoding.decode(raw, _Hook).hook
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        hook = ""
    return next((one for one in services.values() if one.service.hook == hook), services[EXAMPLE])


@blueprint.after_request
def protect(response: Response) -> Response:
    """No script, no frame, nothing from elsewhere, and forms that lead here only."""
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
