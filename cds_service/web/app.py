"""The application factory: the only place where the parts meet, and the only one that reads the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import uuid4

from flask import Flask, Response
from flask_cors import CORS

from cds_service.facts import Policy
from cds_service.rules.book import RuleBook, Shelf, load_book
from cds_service.web import cds, problems, sandbox
from cds_service.web.settings import MAX_BODY, Settings, content_folder, packaged


def create_app(
    settings: Settings,
    *,
    book: RuleBook | None = None,
    clock: Callable[[], float] = time.time,
    new_id: Callable[[], str] = lambda: str(uuid4()),
) -> Flask:
    """
    Build the application.

    ``clock`` gives seconds since 1970 (UTC), ``new_id`` the uuids of cards; tests pass their own. Raises
    ContentError where the rule book does not load.
    """
    app = Flask("cds_service.web", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
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
    if settings.sandbox:
        sandbox.register(app, app.extensions["cds"], packaged("fixtures"))
    problems.register(app)
    app.after_request(_protect)
    return app


def _protect(response: Response) -> Response:
    """Answers hold patient data: nobody stores them, and no browser guesses what they are."""
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response
