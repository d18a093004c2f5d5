"""Errors as OperationOutcomes. The only place that knows HTTP status codes; nothing here repeats what was received."""

from __future__ import annotations

import logging
import math

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from cds_service import errors

log = logging.getLogger("cds_service")
# FHIR issue types: http://hl7.org/fhir/R4/valueset-issue-type.html
STATUS: tuple[tuple[type[errors.CdsError], int, str], ...] = (
    (errors.UnknownService, 404, "not-found"),
    (errors.UnknownRule, 404, "not-found"),
    (errors.RequestTooLarge, 413, "too-costly"),
    (errors.MalformedJson, 400, "structure"),
    (errors.RequestError, 400, "invalid"),
    (errors.NotAuthenticated, 401, "login"),
    (errors.TooManyRequests, 429, "throttled"),
    (errors.CannotEvaluate, 412, "incomplete"),
)
HTTP = {
    400: ("structure", "The request cannot be read.", "Send one JSON object as CDS Hooks defines it."),
    401: ("login", "The client is not authenticated.", ""),
    404: (
        "not-found",
        "There is nothing at this address.",
        "The services and their addresses are listed at /cds-services.",
    ),
    405: (
        "not-supported",
        "This address does not answer that method.",
        "Discovery answers GET, a service answers POST.",
    ),
    413: ("too-long", "The body is larger than 8 MB.", "Limit the prefetch with _count."),
    415: ("not-supported", "The body must be JSON.", "Send Content-Type: application/json, without Content-Encoding."),
}
RETRY_AFTER = "5"


def outcome(
    status: int, code: str, what: str, *, where: str = "", why: str = "", remedy: str = "", slug: str = ""
) -> Response:
    """Return an OperationOutcome that says what, where, why and what to do."""
    issue: dict[str, object] = {"severity": "error", "code": code, "details": {"text": what}}
    if slug:
        issue["details"] = {
            "coding": [{"system": "https://calcinosis-cds.example/fhir/CodeSystem/problem", "code": slug}],
            "text": what,
        }
    diagnostics = " ".join(part for part in (why, remedy) if part)
    if diagnostics:
        issue["diagnostics"] = diagnostics
    if where:
        issue["expression"] = [where]
    body = msgspec.json.encode({"resourceType": "OperationOutcome", "issue": [issue]})
    return Response(body, status=status, mimetype="application/json")


def of(problem: errors.CdsError) -> Response:
    """Return the answer to one of our own errors; Unavailable is none of the table: it is a 503."""
    if isinstance(problem, errors.NotAuthenticated):
        answer = outcome(401, "login", problem.what, slug="http-401")
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer
    for kind, status, code in STATUS:
        if isinstance(problem, kind):
            answer = outcome(
                status,
                code,
                problem.what,
                where=problem.where,
                why=problem.why,
                remedy=problem.remedy,
                slug=problem.slug,
            )
            if isinstance(problem, errors.TooManyRequests):
                answer.headers["Retry-After"] = str(math.ceil(problem.wait))
            return answer
    return unavailable()


def status_of(problem: errors.CdsError | HTTPException) -> int:
    """Return the status that a problem is answered with."""
    if isinstance(problem, HTTPException):
        return problem.code or 400
    return next((status for kind, status, _ in STATUS if isinstance(problem, kind)), 503)


def unavailable() -> Response:
    """Return 503: something on our side. An EHR can go on without us; it never gets a 500 or a trace."""
    answer = outcome(
        503,
        "transient",
        "The service cannot answer now.",
        remedy="Try again later; the EHR goes on without advice.",
        slug="unavailable",
    )
    answer.headers["Retry-After"] = RETRY_AFTER
    return answer


def register(app: Flask) -> None:
    """Answer every error of the application with an OperationOutcome."""
    app.register_error_handler(errors.CdsError, of)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def _http(problem: HTTPException) -> Response:
    # It has been raised: that the request still holds it would keep both until the garbage collector comes.
    request.routing_exception = None
    status = problem.code or 400
    if status >= 500:
        return unavailable()
    if status < 400:
        status = 404  # an address that is nearly right is not redirected: a hook call may not be sent twice
    code, what, remedy = HTTP.get(status, HTTP[400])
    answer = outcome(status, code, what, remedy=remedy, slug=f"http-{status}")
    for name, value in problem.get_headers():
        if name in ("Allow", "WWW-Authenticate"):
            answer.headers[name] = value
    return answer


def _unexpected(problem: Exception) -> Response:
    note(problem)
    return unavailable()


def note(problem: Exception) -> None:
    """Log an unexpected error: its kind and place, not its text, which may quote patient data."""
    trace = problem.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace else ""
    log.error("unexpected", extra={"fields": {"event": "unexpected", "kind": type(problem).__name__, "place": place}})
