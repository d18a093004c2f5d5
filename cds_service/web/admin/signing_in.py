"""Signing in and out, and the own password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Response, current_app, g, make_response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import MethodNotAllowed, NotFound

from cds_service.adapters.governance import ROLES, Account, Refused
from cds_service.errors import TooManyRequests
from cds_service.web.admin.frame import (
    MENU,
    Place,
    allowed,
    blueprint,
    desk,
    flash,
    me,
    origin,
    own_path,
    page,
    public,
    roles_of,
    typed,
)
from cds_service.web.requests import Guard

# So many passwords are tried at once in one process.
AT_ONCE = 3


@blueprint.get("/", strict_slashes=False)
@allowed(*ROLES)
def start() -> ResponseReturnValue:
    """Go to the first page that may be seen."""
    mine = set(me().account.roles)
    first = next(one.endpoint for one in (*MENU, Place("admin.password", "")) if roles_of(one.endpoint) & mine)
    return redirect(url_for(first), 303)


@blueprint.get("/login")
@public
def login() -> ResponseReturnValue:
    """Show the form to sign in."""
    if g.admin_session is not None:
        return redirect(own_path(request.args.get("following", "")), 303)
    return page("admin/login.html", following=request.args.get("following", ""), name="", problem="")


@blueprint.post("/login")
@public
def sign_in() -> ResponseReturnValue:
    """Sign in: a new session every time, whatever cookie came along."""
    name, following = typed(request.form, "name", 80), request.form.get("following", "")
    try:
        account = tried(name, request.form.get("password", ""))
    except TooManyRequests as problem:
        minutes = max(1, round(problem.wait / 60))
        said = f"There were too many tries. Wait {minutes} minute{'s' if minutes > 1 else ''}, and try again."
        return page("admin/login.html", following=following, name=name, problem=said), 429
    if account is None:
        said = "Name and password do not fit together, or the account is disabled."
        return page("admin/login.html", following=following, name=name, problem=said), 401
    return entered(account, redirect(own_path(following), 303))


def entered(account: Account, body: ResponseReturnValue) -> Response:
    """Begin a new session, whatever cookie came along, and end the one before."""
    here, answer = desk(), make_response(body)
    if old := request.cookies.get(here.cookie):
        here.governance.sessions.close(old)
    token = here.governance.sessions.open(account)
    # No lifetime: it ends with the browser, and on our side after 15 idle minutes or 8 hours.
    answer.set_cookie(here.cookie, token, path="/", secure=here.secure, httponly=True, samesite="Strict")
    return answer


@contextmanager
def trying() -> Iterator[None]:
    """
    Take one of the few places for somebody who signs in. Raises Unavailable where all are taken.

    A password takes 128 MB for a moment, a provider seconds: a flood must not take the room of hook calls.
    """
    guard: Guard = current_app.extensions.setdefault("admin-trying", Guard(AT_ONCE, AT_ONCE))
    with guard.place():
        yield


def tried(name: str, password: str, deed: str = "sign in") -> Account | None:
    """Return whose password it is, else None. Raises TooManyRequests, Unavailable."""
    with trying():
        return desk().governance.accounts.authenticate(name, password, origin(), deed)


@blueprint.post("/logout")
@allowed(*ROLES)
def logout() -> ResponseReturnValue:
    """Sign out: the session is over on our side, not only in this browser."""
    here = desk()
    here.governance.sessions.close(request.cookies[here.cookie])
    here.governance.audit.append("sign out", f"account {me().account.name}", me().account.name, "account", origin())
    flash("You are signed out.")
    return _left()


def _left() -> Response:
    """Go to the form; the cookie is of no use any more."""
    here, answer = desk(), make_response(redirect(url_for("admin.login"), 303))
    answer.delete_cookie(here.cookie, path="/", secure=here.secure, httponly=True, samesite="Strict")
    return answer


@blueprint.get("/password")
@allowed(*ROLES)
def password() -> ResponseReturnValue:
    """Show the form for another password."""
    return page("admin/password.html", problem="")


@blueprint.post("/password")
@allowed(*ROLES)
def change_password() -> ResponseReturnValue:
    """Take another password, if whoever is here knows the old one; all sessions of the account end."""
    here, name = desk(), me().account.name
    new, problem = request.form.get("new", ""), ""
    try:
        if tried(name, request.form.get("old", ""), "confirm password") is None:
            problem = "The old password is not right."
        elif new != request.form.get("again", ""):
            problem = "The new password was typed in two ways."
        else:
            here.governance.accounts.set_password(name, new, name, origin())
    except Refused as refused:
        problem = refused.what
    except TooManyRequests:
        problem = "There were too many tries. Wait some minutes."
    if problem:
        return page("admin/password.html", problem=problem), 422
    flash("Your password is changed. Sign in with it.")
    return _left()


@blueprint.route("/<path:_rest>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
@allowed(*ROLES)
def nothing(_rest: str) -> ResponseReturnValue:
    """Say in words that there is no such page, or that this cannot be done there."""
    if request.method not in ("GET", "HEAD", "POST"):
        raise MethodNotAllowed(["GET", "POST"])
    raise NotFound
