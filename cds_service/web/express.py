"""The short road for the usual hook call: from the server straight to the engine, past what only other calls need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from time import perf_counter
from typing import TYPE_CHECKING, Any

from cds_service.web.cds import ANSWERED, MET, PREFIX, Engine
from cds_service.web.requests import HEADER, Note, id_of
from cds_service.web.settings import MAX_BODY

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication


class Sent(list[bytes]):
    """An answer, and what is to be done once it has left (WSGI: the server calls ``close`` then)."""

    def __init__(self, body: bytes, then: Callable[[], None]) -> None:
        super().__init__((body,))
        self._then = then

    def close(self) -> None:
        """Do it: the client has its answer."""
        self._then()


class Express:
    """
    Answer usual hook calls, and hand all others to Flask.

    Usual is a POST of JSON of known length to a service we have, from a client that is no browser. It costs a tenth
    of a millisecond less (DECISIONS.md). Nothing is refused here: whatever does not end in an answer takes the
    ordinary road, so there is one place that decides on errors. What was met here is only said there: a call that
    waited for a FHIR server does not wait twice.
    """

    def __init__(self, engine: Engine, ordinary: WSGIApplication) -> None:
        self.engine, self.ordinary = engine, ordinary

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (WSGI)."""
        path: str = environ["PATH_INFO"]
        service_id = path[len(PREFIX) :] if path.startswith(PREFIX) else ""
        if service_id in self.engine.shelf.book.services and self._is_usual(environ):
            started, note = perf_counter(), Note(id_of(environ))
            body = self._answer(service_id, environ, note)
            if body is not None:
                self.engine.tell(service_id, "200", started, note)
                named = (HEADER, note.request)
                start_response("200 OK", [*ANSWERED, ("Content-Length", str(len(body))), named])
                ledger = self.engine.ledger
                return [body] if ledger is None else Sent(body, ledger.take_down)
        return self.ordinary(environ, start_response)

    def _is_usual(self, environ: dict[str, Any]) -> bool:
        length: str = environ.get("CONTENT_LENGTH") or ""
        return (
            environ["REQUEST_METHOD"] == "POST"
            and environ.get("CONTENT_TYPE") == "application/json"
            and length.isdecimal()
            and int(length) <= MAX_BODY
            and "HTTP_ORIGIN" not in environ
            and "HTTP_CONTENT_ENCODING" not in environ
        )

    def _answer(self, service_id: str, environ: dict[str, Any], note: Note) -> bytes | None:
        """Return the answer, or None where the ordinary road has to say what is wrong."""
        length, guard = int(environ["CONTENT_LENGTH"]), self.engine.guard
        try:
            caller = self.engine.admit(environ)
            with guard.room_for(length):
                raw = _read(environ)
                environ["wsgi.input"] = BytesIO(raw)
                if len(raw) < length:
                    return None
                with guard.place(caller.issuer):
                    return self.engine.answer(service_id, raw, caller, note)
        except Exception as problem:  # noqa: BLE001 - raised again, and answered, on the ordinary road
            environ[MET] = problem
            return None


def _read(environ: dict[str, Any]) -> bytes:
    try:
        raw: bytes = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    except (OSError, EOFError, ValueError):
        return b""  # the client went away: the ordinary road finds fewer bytes than were promised
    return raw
