"""Signing in with the hospital's own accounts (OpenID Connect). The groups of the hospital give the roles."""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from flask import Response, current_app, make_response, redirect, request
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.exceptions import NotFound

from cds_service.adapters.governance import ROLES
from cds_service.adapters.governance import Refused as NotAdmitted
from cds_service.adapters.oidc import Provider, Refused, Try
from cds_service.errors import SettingsError
from cds_service.web.admin.frame import LOOPBACK, blueprint, desk, origin, own_path, page, public, typed
from cds_service.web.admin.signing_in import entered, trying
from cds_service.web.cds import Engine
from cds_service.web.settings import Settings

log = logging.getLogger("cds_service")
# How long somebody may take at the provider, in seconds.
LONGEST = 600
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,60}")


class Hospital(msgspec.Struct, frozen=True):
    """
    The hospital's sign-in: the provider, the address it sends people back to, and what its claims mean for us.

    ``roles`` gives the roles of each group; whoever is in none of these groups is not let in.
    """

    provider: Provider
    redirect: str
    name: str
    groups: str
    roles: Mapping[str, tuple[str, ...]]
    sealed: URLSafeTimedSerializer

    def account(self, claims: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        """Return the name and roles of whoever the provider speaks of. Raises Refused."""
        name, groups = claims.get(self.name), claims.get(self.groups)
        if not isinstance(name, str) or not _NAME.fullmatch(name.casefold()):
            raise Refused("name")
        if self.name == "email" and claims.get("email_verified") is not True:
            raise Refused("email")
        named = {one for one in groups if isinstance(one, str)} if isinstance(groups, list) else set[str]()
        given = {role for group in named for role in self.roles.get(group, ())}
        if not given:
            raise Refused("no-role")
        # With the provider's host, so that nobody there is taken for somebody who has a password here.
        return f"{name.casefold()}@{self.provider.host}", tuple(role for role in ROLES if role in given)


def hospital() -> Hospital:
    """Return the hospital's sign-in. Raises NotFound where there is none."""
    found: Hospital | None = current_app.extensions.get("admin-hospital")
    if found is None:
        raise NotFound
    return found


def _cookie() -> str:
    return f"{desk().cookie}-oidc"


@blueprint.get("/oidc")
@public
def leave_for_oidc() -> ResponseReturnValue:
    """Send the browser to the provider; what has to come back with it stays in a cookie, signed."""
    there, tried = hospital(), Try.new()
    try:
        with trying():
            address = there.provider.address(tried, there.redirect)
    except Refused as problem:
        return _refused(problem.reason)
    answer = make_response(redirect(address, 303))
    kept = there.sealed.dumps([*msgspec.structs.astuple(tried), typed(request.args, "following", 1_000)])
    # Lax: the provider's page leads back to ours, and a Strict cookie would stay behind.
    answer.set_cookie(_cookie(), str(kept), LONGEST, path="/", secure=desk().secure, httponly=True, samesite="Lax")
    return answer


@blueprint.get("/oidc/callback")
@public
def back_from_oidc() -> ResponseReturnValue:
    """Take somebody in whom the provider vouches for."""
    there = hospital()
    try:
        tried, following = _returned(there)
        with trying():
            claims = there.provider.claims(tried, request.args.get("code", ""), there.redirect)
        name, roles = there.account(claims)
        account = desk().governance.accounts.admit(name, roles, origin())
    except Refused as problem:
        return _refused(problem.reason)
    except NotAdmitted:
        return _refused("local-account")
    if account is None:
        return _refused("disabled")
    # A page, not a redirect: what another site led to would arrive without our Strict cookie.
    answer = entered(account, page("admin/entered.html", following=own_path(following)))
    return _without_cookie(answer)


def _returned(there: Hospital) -> tuple[Try, str]:
    """Return the try that an answer belongs to: begun in this browser, not long ago. Raises Refused."""
    try:
        *parts, following = there.sealed.loads(request.cookies.get(_cookie(), ""), max_age=LONGEST)
    except (BadSignature, ValueError):
        raise Refused("state") from None
    tried = Try(*parts)
    if not hmac.compare_digest(request.args.get("state", "").encode("utf-8", "replace"), tried.state.encode()):
        raise Refused("state")
    # RFC 9207: where the answer says from whom it is, it has to be the one that was asked.
    if request.args.get("iss", there.provider.issuer) != there.provider.issuer:
        raise Refused("other-issuer")
    if "error" in request.args:
        raise Refused("denied")
    return tried, str(following)


_SAID = {
    "state": (400, "This sign-in was not begun in this browser, or took longer than ten minutes."),
    "denied": (403, "The hospital's sign-in did not let you through."),
    "no-role": (403, "None of your groups has a role in this service."),
    "disabled": (403, "Your account is disabled here."),
    "name": (403, "The hospital's sign-in does not say who you are in a way that can be used here."),
    "email": (403, "Your address is not confirmed at the hospital's sign-in."),
    "local-account": (403, "There is an account of your name here already, with a password."),
}
_ELSE = (503, "The hospital's sign-in did not answer as it should.")


def _refused(reason: str) -> ResponseReturnValue:
    """Say why somebody is not let in; the exact reason is for the log."""
    log.warning("oidc", extra={"fields": {"event": "admin-oidc", "kind": reason}})
    status, what = _SAID.get(reason, _ELSE)
    remedy = "Try again. If it does not help, ask whoever looks after this service; the log names the reason."
    shown = page("admin/problem.html", title="You are not signed in", what=what, remedy=remedy)
    return _without_cookie(make_response(shown, status))


def _without_cookie(answer: Response) -> Response:
    answer.delete_cookie(_cookie(), path="/", secure=desk().secure, httponly=True, samesite="Lax")
    return answer


# --- the settings ----------------------------------------------------------------------------------------------------


def read_hospital(settings: Settings, engine: Engine, key: bytes) -> Hospital | None:
    """Return the hospital's sign-in as the settings have it; None where they name none. Raises SettingsError."""
    issuer = settings.oidc_issuer
    if not issuer:
        return None
    parts = urlsplit(issuer)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise _bad("CDS_OIDC_ISSUER", "CDS_OIDC_ISSUER must begin with https://.")
    if not (settings.public_url and settings.oidc_client_id):
        raise _bad("CDS_OIDC_CLIENT_ID", "CDS_OIDC_ISSUER needs CDS_OIDC_CLIENT_ID and CDS_PUBLIC_URL.")
    secret = _secret(settings.oidc_secret_file)
    try:
        provider = Provider(issuer, settings.oidc_client_id, secret, clock=engine.clock, authorities=settings.ca_file)
    except Refused:
        raise _bad("CDS_OIDC_ISSUER", "CDS_OIDC_ISSUER is no address of a provider.") from None
    return Hospital(
        provider,
        f"{settings.public_url}/admin/oidc/callback",
        settings.oidc_name,
        settings.oidc_groups,
        read_roles(settings.oidc_roles),
        URLSafeTimedSerializer(key, salt="admin-oidc"),
    )


def read_roles(text: str) -> dict[str, tuple[str, ...]]:
    """Read which group has which roles: "cds-editors=viewer+editor, cds-duty=operator". Raises SettingsError."""
    found: dict[str, tuple[str, ...]] = {}
    for one in filter(None, (part.strip() for part in text.split(","))):
        group, _, named = one.rpartition("=")
        roles = tuple(named.split("+"))
        if not group or not set(roles) <= set(ROLES):
            raise _bad("CDS_OIDC_ROLES", f"CDS_OIDC_ROLES must be like group=viewer+editor; roles: {', '.join(ROLES)}.")
        found[group] = found.get(group, ()) + roles
    if not found:
        raise _bad("CDS_OIDC_ROLES", "CDS_OIDC_ISSUER needs CDS_OIDC_ROLES: without a role nobody is let in.")
    return found


def _secret(path: str) -> str:
    if not path:
        return ""
    try:
        found = Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeError):
        found = ""
    if not found or not found.isprintable():
        raise _bad("CDS_OIDC_SECRET_FILE", "The file of CDS_OIDC_SECRET_FILE cannot be read, or holds no secret.")
    return found


def _bad(name: str, what: str) -> SettingsError:
    return SettingsError(what, where=name, slug="bad-setting", remedy="docs/admin.md says how it is set up.")
