"""The application factory: the only place where the parts meet, and the only one that reads the clock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from flask import Flask, Response, has_request_context, request
from flask_cors import CORS

from cds_service.adapters.auth import Issuers, KeyStore, ReplaysInMemory, Verifier, read_issuers
from cds_service.adapters.fhir import Completing, Origins
from cds_service.adapters.quiet_memory import QuietMemory
from cds_service.errors import SettingsError
from cds_service.facts import Policy
from cds_service.protocol.profile import Profile
from cds_service.rules.book import RuleBook, Shelf, load_book
from cds_service.rules.quiet import QuietState
from cds_service.web import catalogue, cds, problems, sandbox
from cds_service.web.door import Door
from cds_service.web.express import Express
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
    quiet: QuietState | None = None,
) -> Flask:
    """
    Build the application.

    ``clock`` gives seconds since 1970 (UTC), ``new_id`` the uuids of cards, ``quiet`` remembers what was shown and
    overridden (in memory, under a key of this process, unless told otherwise); tests pass their own. Raises
    ContentError where the rule book does not load.
    """
    app = Flask("cds_service.web", static_folder=None)
    # One byte more than is allowed: of a chunked body Werkzeug silently returns what fits.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY + 1
    shelf = Shelf(book or load_book(content_folder(settings), settings.site))
    policy = Policy(settings.drop_strangers, settings.allow_preliminary, settings.fhir_bases)
    remembering = quiet or QuietMemory(os.urandom(32))
    app.extensions["cds"] = cds.Engine(
        shelf,
        policy,
        clock,
        new_id,
        _door(settings, clock, shelf.book.clients),
        _public_url(settings),
        remembering,
        _completing(settings),
    )
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
    catalogue.register(app, app.extensions["cds"], content_folder(settings), settings.developer, settings.funding)
    problems.register(app)
    app.after_request(_protect)
    if settings.public_url or not settings.sandbox:  # else the links on cards come from Flask's request
        app.wsgi_app = Express(app.extensions["cds"], app.wsgi_app)  # type: ignore[method-assign]
    return app


def _door(settings: Settings, clock: Callable[[], float], profiles: Mapping[str, Profile]) -> Door:
    """Build the door: open, or with the issuers that were listed. Raises SettingsError."""
    if settings.auth == "none":
        return Door(open_to_all=True)
    if not settings.issuers:
        return Door()
    issuers = read_issuers(Path(settings.issuers))
    if not settings.public_url and not all(issuer.audiences for issuer in issuers.entries):
        raise SettingsError(
            "CDS_PUBLIC_URL is missing: tokens are made for the address under which clients know the service.",
            where="CDS_PUBLIC_URL",
            slug="bad-setting",
            remedy="Set it to https://cds.hospital.example, or give every issuer its audiences.",
        )
    _check_profiles(issuers, profiles)
    return Door(
        Verifier(issuers, KeyStore(), ReplaysInMemory(), clock), public_url=settings.public_url, profiles=profiles
    )


def _check_profiles(issuers: Issuers, profiles: Mapping[str, Profile]) -> None:
    """Refuse an issuer of a kind that no file of hooks/clients describes: it would be answered as another."""
    for issuer in issuers.entries:
        if issuer.profile not in profiles:
            raise SettingsError(
                f'The issuer {issuer.iss} has the profile "{issuer.profile}", which there is not.',
                where="CDS_ISSUERS",
                slug="unknown-profile",
                remedy=f"The profiles are: {', '.join(sorted(profiles))}.",
            )


def _completing(settings: Settings) -> Completing | None:
    origins = Origins.read(settings.fhir_allow)
    return Completing(origins, settings.fhir_budget_ms / 1000) if origins.allowed else None


def _public_url(settings: Settings) -> Callable[[], str]:
    """
    Say where cards may link to: the address that was set; in the sandbox, else, the one that was called.

    A service that patients depend on never believes a Host header.
    """

    def called() -> str:
        return request.url_root.rstrip("/") if has_request_context() else ""

    return called if settings.sandbox and not settings.public_url else lambda: settings.public_url


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
