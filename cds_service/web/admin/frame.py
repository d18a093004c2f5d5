"""
What all admin pages share: who is signed in, what they may do, and how a page is made.

Denied is what nobody allowed: a view that says no roles is open to none. Whatever changes something is a POST from
our own pages, with the session's token (SECURITY.md, "Admin web").
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec
from urllib.parse import urlsplit

import msgspec
from flask import Blueprint, Response, current_app, g, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.exceptions import Forbidden

from cds_service.adapters.governance import Governance, Session
from cds_service.checking import as_if_always
from cds_service.errors import UnknownRule
from cds_service.publishing.intended import INTENDED_USE
from cds_service.rules.book import RuleBook
from cds_service.rules.model import Rule
from cds_service.rules.vignettes import Vignette, read_file, vignette_paths
from cds_service.web.cds import Engine

P = ParamSpec("P")
log = logging.getLogger("cds_service")
View = Callable[P, ResponseReturnValue]
SAFE = ("GET", "HEAD", "OPTIONS")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Scripts, styles and pictures of our own only; nothing inline, no frame around it.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_OWN_PATH = re.compile(r"/admin/[A-Za-z0-9._~/?&=%+-]{0,1000}").fullmatch
NOTICE, NOTICE_SECONDS = "cds-admin-notice", 60
# Bytes of a form: of somebody who signs in, and of our own pages, unless one of them asks for more.
LOGIN_FORM, FORM = 16 * 1024, 512 * 1024
_ENDED = "Your session has ended: after 15 minutes without use, after 8 hours, or by a change of your account."
blueprint = Blueprint(
    "admin",
    __name__,
    url_prefix="/admin",
    template_folder="../templates",
    static_folder="../static",
    static_url_path="/static",
)


class Place(msgspec.Struct, frozen=True):
    """An entry of the menu; shown to those who may open it."""

    endpoint: str
    label: str


MENU = (
    Place("admin.rules", "Rules"),
    Place("admin.changes", "Changes"),
    Place("admin.explain", "Explain"),
    Place("admin.near", "Near misses"),
    Place("admin.drift", "Drift"),
    Place("admin.feedback", "Feedback"),
    Place("admin.activity", "Activity"),
    Place("admin.audit", "Audit"),
    Place("admin.exports", "Exports"),
    Place("admin.switches", "Switches"),
    Place("admin.accounts", "Accounts"),
    Place("admin.settings", "Settings"),
)


class AdminDesk(msgspec.Struct, frozen=True):
    """
    What the pages work with.

    ``cohorts`` are folders with patients to try changes on, ``approve_everything`` says that every change needs a
    second person. ``origin`` is the address of our own pages; ``secure`` that it is https.
    """

    engine: Engine
    governance: Governance
    content: Path
    cohorts: tuple[Path, ...]
    approve_everything: bool
    origin: str
    secure: bool
    notices: URLSafeTimedSerializer

    @property
    def base(self) -> RuleBook:
        """The rule book of the files."""
        return self.engine.shelf.base

    @property
    def book(self) -> RuleBook:
        """The rule book in force: the files, and what admins decided."""
        return self.engine.shelf.book

    @property
    def lasting(self) -> RuleBook:
        """The rule book in force, for records of any day: examples play in the past, and are told as of now."""
        return self.book.once(
            ("lasting", self.today), lambda: as_if_always(self.base, self.governance.decided(), self.today)
        )

    @property
    def today(self) -> date:
        """The calendar day (UTC)."""
        return datetime.fromtimestamp(self.engine.clock(), UTC).date()

    @property
    def cookie(self) -> str:
        """The name of the cookie: with "__Host-" browsers take it from no other host, and over TLS only."""
        return "__Host-cds-admin" if self.secure else "cds-admin"

    def vignettes(self) -> dict[str, list[Vignette]]:
        """Return the examples of every rule, read once per book of the files."""

        def read() -> dict[str, list[Vignette]]:
            return {name: read_file(path) for name, path in vignette_paths(self.content).items()}

        return self.base.once(("admin vignettes", self.content), read)

    def rule(self, rule_id: str) -> Rule:
        """Return a rule as it is in force. Raises UnknownRule."""
        found = self.book.rules.get(rule_id)
        if found is None:
            raise UnknownRule("There is no rule with this id.", where="/admin/rules")
        return found

    def follow(self) -> None:
        """Let what was just decided be in force in this process at once; the others follow within seconds."""
        self.engine.shelf.apply(self.governance.decided(), self.today)
        if self.engine.ledger is not None:
            self.engine.ledger.look()  # and so all know it that begin later, also while the ledger is away


def desk() -> AdminDesk:
    """Return the desk of the current application."""
    found: AdminDesk = current_app.extensions["admin"]
    return found


# --- who ------------------------------------------------------------------------------------------------------------


def me() -> Session:
    """Return the session of whoever is signed in. Raises Forbidden for nobody."""
    found: Session | None = g.get("admin_session")
    if found is None:
        raise Forbidden
    return found


def origin() -> str:
    """Return from where somebody works, for the audit: the address that our server, or its trusted proxy, saw."""
    seen = request.environ.get("REMOTE_ADDR", "")
    if desk().engine.door.proxy.trusts(seen):
        return request.headers.get("X-Forwarded-For", seen).rpartition(",")[2].strip()[:80]
    return str(seen)


def allowed(*roles: str) -> Callable[[View[P]], View[P]]:
    """Open a view to those who have one of these roles."""

    def mark(view: View[P]) -> View[P]:
        @wraps(view)
        def marked(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            return view(*args, **kwargs)

        marked.roles = frozenset(roles)  # type: ignore[attr-defined]
        return marked

    return mark


def public(view: View[P]) -> View[P]:
    """Open a view to everybody: signing in, and what that page needs."""
    view.public = True  # type: ignore[attr-defined]
    return view


def roles_of(endpoint: str) -> frozenset[str]:
    """Return the roles that may open a view; none where it does not say."""
    return getattr(current_app.view_functions.get(endpoint), "roles", frozenset())


@blueprint.before_request
def guard() -> ResponseReturnValue | None:
    """Let nobody in who may not: first who, then from where, then what."""
    here, endpoint = desk(), request.endpoint or ""
    if endpoint == "admin.static":
        return None
    is_public = getattr(current_app.view_functions.get(endpoint), "public", False)
    request.max_content_length = LOGIN_FORM if is_public else max(FORM, request.max_form_memory_size or 0)
    _check_source(here)
    token = request.cookies.get(here.cookie, "")
    g.admin_session = here.governance.sessions.find(token) if token else None
    if is_public:
        return None
    if g.admin_session is None:
        return _sign_in_first(ended=bool(token))
    if not roles_of(endpoint) & set(g.admin_session.account.roles):
        log.warning("refused", extra={"fields": {"event": "admin-refused", "endpoint": endpoint}})
        raise Forbidden
    if request.method not in SAFE and not _same(request.form.get("csrf", ""), g.admin_session.csrf):
        raise Forbidden(description="csrf")
    return None


def _check_source(here: AdminDesk) -> None:
    """Refuse what other pages than ours made the browser send (OWASP ASVS 3.5); what changes nothing may be linked."""
    if not here.origin and urlsplit(request.host_url).hostname not in LOOPBACK:
        raise Forbidden(description="host")  # a foreign name may be made to lead to this machine
    if request.method in SAFE:
        return
    site, sender = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    own = here.origin or request.host_url.rstrip("/")
    # Some browsers send "null" with forms of our own; that the page is ours, Sec-Fetch-Site says then.
    good = (None, own, "null") if site == "same-origin" else (own,)
    if site not in (None, "same-origin") or sender not in good:
        raise Forbidden(description="source")


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode(), known.encode())


def _sign_in_first(*, ended: bool) -> ResponseReturnValue:
    """Send somebody to the form; whoever was signed in is told why they are not any more."""
    if request.headers.get("HX-Request"):
        answer = make_response("", 401)
        answer.headers["HX-Redirect"] = url_for("admin.login")
        return answer
    if request.method not in SAFE:
        what = _ENDED if ended else "Nobody is signed in here."
        remedy = "Nothing was saved. Go one page back to copy what you typed, then sign in and send it again."
        return page("admin/problem.html", title="You are not signed in", what=what, remedy=remedy), 401
    is_start = request.endpoint == "admin.start"
    going = redirect(url_for("admin.login", following=None if is_start else request.full_path.rstrip("?")), 303)
    if ended:
        flash(_ENDED, "warning")
        going.delete_cookie(desk().cookie, path="/", secure=desk().secure, httponly=True, samesite="Strict")
    return going


# --- pages ----------------------------------------------------------------------------------------------------------


def page(template: str, **shown: Any) -> str:
    """Make a page: the template, who is signed in, where they may go, and notices of what was just done."""
    who: Session | None = g.get("admin_session")
    return render_template(
        template,
        me=who,
        csrf=who.csrf if who else "",
        menu=_menu(who),
        flashes=_notices(),
        fingerprint=desk().book.fingerprint,
        unfit=len(desk().engine.shelf.unfit),
        stopped=_stopped(desk()) if who else "",
        intended_use=INTENDED_USE,
        hospital=current_app.extensions.get("admin-hospital"),
        **shown,
    )


def _stopped(here: AdminDesk) -> str:
    """Say what is switched off, for every page: whoever looks at figures has to know; "" for nothing."""
    off = here.engine.ledger.switches() if here.engine.ledger else None
    if off is None or not (off.everything or off.services or off.rules):
        return ""
    if off.everything:
        return "Everything is switched off"
    many = {"service": len(off.services), "rule": len(off.rules)}
    said = " and ".join(f"{number} {one}{'s' if number > 1 else ''}" for one, number in many.items() if number)
    return f"{said} {'is' if sum(many.values()) == 1 else 'are'} switched off"


def _menu(who: Session | None) -> list[Place]:
    roles = set(who.account.roles) if who else set()
    return [one for one in MENU if roles_of(one.endpoint) & roles]


def flash(message: str, kind: str = "ok") -> None:
    """Say something on the next page, once. ``kind`` is "ok" or "warning"."""
    g.setdefault("admin_said", []).append([kind, message])


def _notices() -> list[tuple[str, str]]:
    """Return what the last page wanted to say: it came along, signed, in a cookie that ends with this answer."""
    kept = request.cookies.get(NOTICE, "")
    said: list[list[str]] = list(g.get("admin_said", []))
    g.admin_said, g.admin_told = [], bool(kept)
    if kept:
        with suppress(BadSignature):  # too old, or not ours
            said = [*desk().notices.loads(kept, max_age=NOTICE_SECONDS), *said]
    return [(kind, message) for kind, message in said]


@blueprint.after_request
def protect(response: Response) -> Response:
    """Nothing is kept, framed, or loaded from elsewhere; notices travel to the next page."""
    here = desk()
    if said := g.get("admin_said"):
        kept = here.notices.dumps(said)
        response.set_cookie(
            NOTICE, str(kept), NOTICE_SECONDS, path="/admin", secure=here.secure, httponly=True, samesite="Strict"
        )
    elif g.get("admin_told"):
        response.delete_cookie(NOTICE, path="/admin", secure=here.secure, httponly=True, samesite="Strict")
    if request.endpoint == "admin.static":
        response.headers["Cache-Control"] = "public, max-age=3600"
    response.headers["Content-Security-Policy"] = POLICY
    # With "no-referrer" browsers send "Origin: null" with our own forms (Fetch, "Origin header").
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    if here.secure:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    return response


def own_path(asked: str) -> str:
    """Return an address of the admin pages to go on to; the first page for any other (no open redirect)."""
    return asked if _OWN_PATH(asked) else url_for("admin.start")


def typed(fields: Mapping[str, str], name: str, most: int = 200) -> str:
    """Return what was typed into a field of one line: printable, with no blanks around it, and not too long."""
    return "".join(letter for letter in fields.get(name, "")[: 2 * most] if letter.isprintable()).strip()[:most]
