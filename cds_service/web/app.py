"""The application factory: the only place where the parts meet, and the only one that reads the clock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from flask import Flask, Response, request
from flask_cors import CORS

from cds_service.facts import Policy
from cds_service.rules.book import RuleBook, Shelf, load_book
from cds_service.web import cds, problems, sandbox
from cds_service.web.settings import MAX_BODY, Settings, content_folder, packaged


def random_id() -> str:
    """Return a random UUID (RFC 9562, version 4) at less than half the cost of uuid.uuid4: a card needs up to ten."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def create_app(
    settings: Settings,
    *,
    book: RuleBook | None = None,
    clock: Callable[[], float] = time.time,
    new_id: Callable[[], str] = random_id,
) -> Flask:
    """
    Build the application.

    ``clock`` gives seconds since 1970 (UTC), ``new_id`` the uuids of cards; tests pass their own. Raises
    ContentError where the rule book does not load.
    """
    app = Flask("cds_service.web", static_folder=None)
    # One byte more than is allowed: of a chunked body Werkzeug silently returns what fits.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY + 1
    shelf = Shelf(book or load_book(content_folder(settings), settings.site))
    policy = Policy(settings.drop_strangers, settings.allow_preliminary, settings.fhir_bases)
    app.extensions["cds"] = cds.Engine(shelf, policy, clock, new_id, settings.auth)
    app.register_blueprint(cds.blueprint)
    allowed = {
        "origins": list(settings.cors_origins),
        "methods": ["GET", "POST"],
        "allow_headers": ["Authorization", "Content-Type"],
    }
    CORS(app, resources={"/cds-services*": allowed})
    _for_browsers_only(app)
    if settings.sandbox:
        sandbox.register(app, app.extensions["cds"], packaged("fixtures"))
    problems.register(app)
    app.after_request(_protect)
    return app


def _for_browsers_only(app: Flask) -> None:
    """Spare other callers what flask-cors does to every answer: only browsers send an Origin, and need its headers."""
    [cors] = app.after_request_funcs[None]
    app.after_request_funcs[None] = [lambda response: cors(response) if "HTTP_ORIGIN" in request.environ else response]


def _protect(response: Response) -> Response:
    """Every answer is protected; those to hook calls are from the start (cds.ANSWERED)."""
    if response.status_code != 200 or request.endpoint != "cds.call":
        for name, value in cds.PROTECTED:
            response.headers.setdefault(name, value)
    return response
