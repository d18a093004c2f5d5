"""What clinicians did with cards (CDS Hooks 2.0.1, "Feedback"): stored on disk before the EHR is told that it was."""

from __future__ import annotations

import logging
from time import perf_counter

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from cds_service.errors import CdsError, Unavailable
from cds_service.protocol.caller import Caller
from cds_service.protocol.feedback import read_feedback
from cds_service.web.cds import Engine, check_media_type, ended, engine, read_body, service_of
from cds_service.web.requests import id_of

log = logging.getLogger("cds_service")
blueprint = Blueprint("feedback", __name__)


@blueprint.post("/cds-services/<service_id>/feedback")
def tell(service_id: str) -> Response:
    """Take feedback: all of a message, or none of it; the same twice is stored once."""
    started, current = perf_counter(), engine()
    status, many = "unexpected", 0
    try:
        caller = current.admit(request.environ)
        check_media_type()
        service = service_of(current.shelf.book, service_id).service.id
        raw = read_body()
        # A store that is slow holds up feedback, never hook calls.
        with current.guard.place("feedback", current.guard.calls // 4 or 1):
            many = _store(current, raw, service, caller)
        status = "200"
        return Response(b"{}", mimetype="application/json")
    except (CdsError, HTTPException) as problem:
        status = ended(problem)
        current.counted[f"feedback refused {status}"] += 1
        raise
    finally:
        spent = round((perf_counter() - started) * 1000, 2)
        fields = {"event": "feedback", "result": status, "count": many, "ms": spent}
        log.info("feedback", extra={"fields": fields | {"request": id_of(request.environ)}})


def _store(current: Engine, raw: bytes, service: str, caller: Caller) -> int:
    """
    Store a message; return how many of its items were new.

    Without a ledger nothing is stored, so nothing is acknowledged. While used tokens cannot be looked up feedback
    waits (SECURITY.md 1), though hooks are answered.
    """
    items = read_feedback(raw)
    if current.ledger is None:
        raise Unavailable("This service keeps no ledger.", slug="no-ledger")
    if caller.issuer and not current.ledger.replays.healthy:
        raise Unavailable("Used tokens cannot be looked up now.", slug="replays-unavailable")
    new = current.ledger.feedback(items, service, caller.issuer)
    current.counted.update({"feedback": len(items), "feedback repeated": len(items) - new})
    return new
