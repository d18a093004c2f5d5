"""What is wrong, as a page that says what, why and what to do. Nothing of what was sent is repeated."""

from __future__ import annotations

import math

from flask import make_response
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from cds_service.adapters.governance import Conflict, Refused
from cds_service.errors import CdsError, TooManyRequests, Unavailable
from cds_service.web import problems
from cds_service.web.admin.frame import blueprint, page

_HTTP = {
    400: ("This cannot be read", "Something in the form is not as this page sends it.", "Open the page again."),
    403: ("You may not do that", "Your account has no role for this.", "Ask for the role, or go on with another page."),
    404: ("There is no such page", "The address leads nowhere.", "Begin again from the menu."),
    405: ("This cannot be done here", "The address does not take that.", "Begin again from the menu."),
    413: ("This is too large", "It is longer than this page takes.", "Send a smaller file or text."),
}
_REFUSED = {
    "csrf": ("This form is too old", "It does not belong to your session.", "Open the page again, and send it anew."),
    "host": (
        "Not under this name",
        "CDS_PUBLIC_URL is not set, so these pages answer under the names of this machine only.",
        "Open http://127.0.0.1 with the port, or set CDS_PUBLIC_URL.",
    ),
    "source": ("This did not come from here", "Another page sent it.", "Open the admin pages, and do it there."),
}


@blueprint.errorhandler(HTTPException)
def http(problem: HTTPException) -> ResponseReturnValue:
    """Say what HTTP has a number for."""
    status = problem.code or 400
    title, what, remedy = _REFUSED.get(problem.description or "", _HTTP.get(status, _HTTP[400]))
    if status >= 500:
        return unavailable()
    return page("admin/problem.html", title=title, what=what, remedy=remedy), status


@blueprint.errorhandler(CdsError)
def ours(problem: CdsError) -> ResponseReturnValue:
    """Say what is one of our own errors."""
    if isinstance(problem, Unavailable):
        return unavailable()
    status = 409 if isinstance(problem, Conflict) else 403 if isinstance(problem, Refused) else _status(problem)
    shown = page(
        "admin/problem.html", title="This was not done", what=problem.what, why=problem.why, remedy=problem.remedy
    )
    answer = make_response(shown, status)
    if isinstance(problem, TooManyRequests):
        answer.headers["Retry-After"] = str(math.ceil(problem.wait))
    return answer


def _status(problem: CdsError) -> int:
    status = problems.status_of(problem)
    return 422 if status >= 500 else status


@blueprint.errorhandler(Exception)
def unexpected(problem: Exception) -> ResponseReturnValue:
    """Never a trace: its kind and place are logged, its text, which may quote patient data, is not."""
    problems.note(problem)
    return unavailable()


def unavailable() -> ResponseReturnValue:
    """Say that something of ours is not there at the moment."""
    shown = page(
        "admin/problem.html",
        title="This cannot be shown now",
        what="The service, or its ledger, cannot answer at the moment. Nothing was changed.",
        remedy="Try again in a few seconds.",
    )
    answer = make_response(shown, 503)
    answer.headers["Retry-After"] = problems.RETRY_AFTER
    return answer
