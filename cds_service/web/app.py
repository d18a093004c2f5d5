"""The application factory: the only place where the parts meet, and the only one that reads the clock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, Response, has_request_context, request
from flask_cors import CORS

from cds_service.adapters.auth import Issuers, KeyStore, Replays, ReplaysInMemory, Verifier, read_issuers
from cds_service.adapters.fhir import Completing, Origins
from cds_service.adapters.quiet_memory import QuietMemory
from cds_service.errors import SettingsError
from cds_service.facts import Policy
from cds_service.protocol.profile import Profile
from cds_service.rules.book import RuleBook, load_book
from cds_service.rules.quiet import QuietState
from cds_service.rules.shelf import Shelf
from cds_service.rules.tuning import Tuning
from cds_service.web import catalogue, cds, evidence, feedback, integrate, operations, problems, requests
from cds_service.web.door import Door, Proxy
from cds_service.web.express import Express
from cds_service.web.settings import MAX_BODY, Settings, content_folder, packaged
from cds_service.web.signing import Signer

if TYPE_CHECKING:
    from cds_service.adapters.ledger import Ledger
    from cds_service.adapters.smart import SmartClient


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
    ledger: Ledger | None = None,
) -> Flask:
    """
    Build the application.

    ``clock`` gives seconds since 1970 (UTC), ``new_id`` the uuids of cards, ``quiet`` remembers what was shown and
    overridden (the ledger, or else memory, under a key of this process, unless told otherwise); tests pass their own.
    Without a ``ledger`` nothing is written down, and feedback is not accepted. Raises ContentError where the rule book
    does not load.
    """
    app = Flask("cds_service.web", static_folder=None)
    # One byte more than is allowed: of a chunked body Werkzeug silently returns what fits.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY + 1
    shelf = Shelf(book or load_book(content_folder(settings), settings.site))
    policy = Policy(settings.drop_strangers, settings.allow_preliminary, settings.fhir_bases)
    remembering = quiet or (ledger.quiet if ledger else QuietMemory(os.urandom(32)))
    replays = ledger.replays if ledger else ReplaysInMemory()
    app.extensions["cds"] = cds.Engine(
        shelf,
        policy,
        clock,
        new_id,
        _door(settings, clock, shelf.book.clients, replays),
        _public_url(settings),
        remembering,
        _completing(settings),
        ledger,
    )
    if ledger is not None:
        _follow(ledger, shelf, clock)
    _show_evidence(app, app.extensions["cds"], settings)
    app.register_blueprint(cds.blueprint)
    app.register_blueprint(feedback.blueprint)
    allowed = {
        "origins": list(settings.cors_origins),
        "methods": ["GET", "POST"],
        "allow_headers": ["Authorization", "Content-Type"],
    }
    CORS(app, resources={"/cds-services*": allowed})
    _for_browsers_only(app)
    if settings.sandbox:
        from cds_service.web import sandbox

        sandbox.register(app, app.extensions["cds"], packaged("fixtures"))
    catalogue.register(app, app.extensions["cds"], content_folder(settings), settings.developer, settings.funding)
    integrate.register(app, app.extensions["cds"], lints=settings.lints)
    problems.register(app)
    operations.register(app, app.extensions["cds"], settings.metrics_token_file)
    if settings.admin:
        from cds_service.web import admin

        admin.register(app, app.extensions["cds"], settings)
    app.extensions["cds"].pace.rate = settings.rate
    app.after_request(_protect)
    if settings.public_url or not settings.sandbox:  # else the links on cards come from Flask's request
        app.wsgi_app = Express(app.extensions["cds"], app.wsgi_app)  # type: ignore[method-assign]
    return app


def _follow(ledger: Ledger, shelf: Shelf, clock: Callable[[], float]) -> None:
    """Let what admins decide be in force: now, and whenever the ledger learns of it."""

    def apply(decided: Sequence[Tuning]) -> None:
        shelf.apply(decided, datetime.fromtimestamp(clock(), UTC).date())

    apply(ledger.decided)
    ledger.on_tuning = apply


def _show_evidence(app: Flask, engine: cds.Engine, settings: Settings) -> None:
    """Add the evidence view, where cards link to it or an EHR may launch it. Raises SettingsError."""
    if not settings.evidence and not settings.smart_client_id:
        return
    _check_evidence(settings)
    client = _smart_client(settings, engine)
    signer = Signer(engine.ledger.signing if engine.ledger else os.urandom(32))
    engine.evidence = evidence.Evidence(
        signer,
        engine.clock,
        settings.evidence_hours,
        lambda: engine.shelf.book,
        ledger=engine.ledger,
        frames=settings.evidence_frames,
        links=settings.evidence,
        launch=client.allows if client else lambda _server: None,
    )
    evidence.register(app, engine.evidence)
    if client:
        from cds_service.web import smart

        replays = engine.ledger.replays if engine.ledger else ReplaysInMemory()
        smart.register(app, smart.Smart(engine, client, signer, replays, framed=bool(settings.evidence_frames)))


def _check_evidence(settings: Settings) -> None:
    """Refuse links and launches that could lead nowhere."""
    named = "CDS_SMART_CLIENT_ID" if settings.smart_client_id else "CDS_EVIDENCE_LINKS"
    if not settings.public_url and not settings.sandbox:
        raise SettingsError(
            f"{named} needs CDS_PUBLIC_URL: browsers must find the page.", where=named, slug="bad-setting"
        )
    if settings.smart_client_id and not settings.fhir_allow:
        raise SettingsError(
            f"{named} needs CDS_FHIR_ALLOW: it lists the EHRs that may launch.", where=named, slug="bad-setting"
        )


def _smart_client(settings: Settings, engine: cds.Engine) -> SmartClient | None:
    if not settings.smart_client_id or engine.completing is None:
        return None
    from cds_service.adapters.smart import SmartClient

    origins = engine.completing.origins
    return SmartClient(settings.smart_client_id, origins, settings.smart_servers, authorities=settings.ca_file)


def _door(settings: Settings, clock: Callable[[], float], profiles: Mapping[str, Profile], replays: Replays) -> Door:
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
    _check_servers(issuers, Origins.read(settings.fhir_allow, plain_http=settings.fhir_plain_http))
    verifier = Verifier(issuers, KeyStore(authorities=settings.ca_file), replays, clock)
    return Door(verifier, public_url=settings.public_url, profiles=profiles, proxy=_proxy(settings, issuers))


def _proxy(settings: Settings, issuers: Issuers) -> Proxy:
    """Say whose word counts on client certificates. Raises SettingsError where an issuer's never could be seen."""
    whole = bool(settings.trusted_proxy and settings.client_cert_header)
    asked = any(issuer.certificate for issuer in issuers.entries)
    if not whole and (asked or settings.client_cert_header):
        raise SettingsError(
            "Client certificates need both CDS_TRUSTED_PROXY and CDS_CLIENT_CERT_HEADER.",
            where="CDS_TRUSTED_PROXY",
            slug="bad-setting",
            remedy="Name the proxy's address and its header, or take certificate out of the file of issuers.",
        )
    return Proxy(tuple([ip_network(one) for one in settings.trusted_proxy]), settings.client_cert_header)


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


def _check_servers(issuers: Issuers, allowed: Origins) -> None:
    """Refuse an issuer whose FHIR server may not be contacted at all: what it lacks would never be read."""
    for issuer in issuers.entries:
        if not all(allowed.find(url) for url in issuer.fhir):
            raise SettingsError(
                f"The issuer {issuer.iss} has a FHIR server that CDS_FHIR_ALLOW does not name.",
                where="CDS_ISSUERS",
                slug="bad-issuers",
                remedy="Add it to CDS_FHIR_ALLOW, or take it out of fhir of this issuer.",
            )


def _completing(settings: Settings) -> Completing | None:
    """Build the way to FHIR servers, if one may be contacted. Raises SettingsError."""
    origins = Origins.read(settings.fhir_allow, plain_http=settings.fhir_plain_http)
    if not origins.allowed:
        return None
    budget = settings.fhir_budget_ms / 1000
    return Completing(origins, budget, settings.fhir_calls, authorities=settings.ca_file)


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
    response.headers[requests.HEADER] = requests.id_of(request.environ)
    return response
