"""
What the rules are and where they come from: the catalogue at /rules/, and each rule's source attributes.

Open to all, like discovery: it holds nothing about patients, and no address of it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
from flask import Blueprint, Flask, Response, abort, current_app, render_template, request

from cds_service import __version__
from cds_service.errors import UnknownRule
from cds_service.publishing import catalogue as catalogues
from cds_service.publishing import phrases
from cds_service.publishing.attributes import Publisher, attributes
from cds_service.publishing.catalogue import Catalogue
from cds_service.publishing.intended import INTENDED_USE
from cds_service.publishing.logic import HOW_TO_READ
from cds_service.rules.book import RuleBook
from cds_service.rules.model import Rule
from cds_service.rules.vignettes import Vignette, read_file, vignette_paths
from cds_service.web.cds import Engine

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HTML, JSON = "text/html", "application/json"
FORMATS = {"html": HTML, "json": JSON}
_encoder = msgspec.json.Encoder(decimal_format="number")

blueprint = Blueprint(
    "rules",
    __name__,
    url_prefix="/rules",
    template_folder="templates",
    static_folder="static",
    static_url_path="/static",
)


class Desk(msgspec.Struct, frozen=True):
    """What the pages are made from: the live engine, where its content lies, and who publishes it."""

    engine: Engine
    content: Path
    publisher: Publisher

    @property
    def book(self) -> RuleBook:
        """The rule book in force."""
        return self.engine.shelf.book

    @property
    def today(self) -> date:
        """The calendar day (UTC) on which thresholds are looked up."""
        return datetime.fromtimestamp(self.engine.clock(), UTC).date()

    def vignettes(self) -> Mapping[str, Sequence[Vignette]]:
        """Return the vignettes of every rule, read once per book."""

        def read() -> dict[str, list[Vignette]]:
            return {name: read_file(path) for name, path in vignette_paths(self.content).items()}

        return self.book.once(("vignettes", self.content), read)

    def catalogue(self) -> Catalogue:
        """Return the catalogue of today."""
        book, day = self.book, self.today
        return book.once(("catalogue", day), lambda: catalogues.catalogue(book, day, self.vignettes()))

    def rule(self, rule_id: str) -> Rule:
        """Return one rule. Raises UnknownRule."""
        found = self.book.rules.get(rule_id)
        if found is None:
            raise UnknownRule(
                "There is no rule with this id.", where="/rules", remedy="GET /rules/ lists the rules and their ids."
            )
        return found


def register(app: Flask, engine: Engine, content: Path, developer: str, funding: str) -> None:
    """Add the pages to an application."""
    app.extensions["rules"] = Desk(engine, content, Publisher(developer, funding, __version__))
    app.register_blueprint(blueprint)


def desk() -> Desk:
    """Return the desk of the current application."""
    found: Desk = current_app.extensions["rules"]
    return found


@blueprint.get("/", strict_slashes=False)
@blueprint.get("/index.<suffix>")
def rules(suffix: str = "") -> Response:
    """List the rules."""
    shown = desk().catalogue()
    if _wanted(suffix, HTML) == JSON:
        return _json(shown)
    return _page("rules/list.html", catalogue=shown, how_to_read=HOW_TO_READ)


@blueprint.get("/<rule_id>")
@blueprint.get("/<rule_id>.<suffix>")
def rule(rule_id: str, suffix: str = "") -> Response:
    """Show one rule."""
    here = desk()
    found = here.rule(rule_id)
    entry = next(one for one in here.catalogue().entries if one.id == found.id)
    if _wanted(suffix, HTML) == JSON:
        return _json(entry)
    return _page("rules/rule.html", entry=entry, headings=phrases.HEADINGS, day=here.today, site=here.book.site)


@blueprint.get("/<rule_id>/source-attributes")
@blueprint.get("/<rule_id>/source-attributes.<suffix>")
def source_attributes(rule_id: str, suffix: str = "") -> Response:
    """Give the source attributes of a rule: JSON, or to a browser a page that can be printed."""
    here = desk()
    shown = attributes(here.rule(rule_id), here.book, here.today, here.publisher)
    if _wanted(suffix, JSON) == HTML:
        return _page("rules/attributes.html", shown=shown)
    return _json(shown)


def _wanted(suffix: str, usual: str) -> str:
    """Return the media type to answer with: what the address says, else what the client prefers, else the usual one."""
    named = suffix or request.args.get("format", "")
    if named:
        if named not in FORMATS:
            abort(404)
        return FORMATS[named]
    other = next(one for one in FORMATS.values() if one != usual)
    accepted = request.accept_mimetypes
    return other if accepted[other] > accepted[usual] else usual


def _json(document: Any) -> Response:
    return _negotiated(Response(_encoder.encode(document), mimetype=JSON))


def _page(template: str, **shown: Any) -> Response:
    return _negotiated(Response(render_template(template, intended_use=INTENDED_USE, **shown), mimetype=HTML))


def _negotiated(response: Response) -> Response:
    response.vary.add("Accept")
    return response


@blueprint.after_request
def protect(response: Response) -> Response:
    """No script, no frame, nothing from elsewhere."""
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
