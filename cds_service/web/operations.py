"""For those who run the service: does it live, is it ready, what has it counted. And what each process does besides."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from pathlib import Path
from typing import Any

import msgspec
from flask import Blueprint, Flask, Response, current_app, request
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.exceptions import NotFound

from cds_service.errors import SettingsError, Unavailable
from cds_service.web import logs, metrics
from cds_service.web.cds import Engine
from cds_service.web.metrics import Board, Tally, key
from cds_service.web.tuning import Tidying

log = logging.getLogger("cds_service")
blueprint = Blueprint("operations", __name__)
# How long a look at an adapter may take, and how often what was counted is shared, in seconds.
PING, SHARE = 1.0, 1.0
# With these the service answers no hook call as it should; with the others it does, and somebody has to look after it.
STOPS_CALLS = ("stopping", "keys-missing", "all-switched-off", "no-services")
_FORWARDED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_REAL_IP", "HTTP_VIA")


class Operations:
    """What one process does besides answering calls: it shares what it counts, and looks after its adapters."""

    def __init__(self, engine: Engine, token: str = "") -> None:
        self.engine, self.token, self.board = engine, token, Board()
        self.tally = Tally(self.board, self.counts, self.gauges, engine.told)
        self._over = threading.Event()
        self._pinging: Future[str] | None = None
        self._pinger = ThreadPoolExecutor(1, "ping")

    # --- the life of a process ---------------------------------------------------------------------------------------

    def share(self, board: Board) -> None:
        """Count on a board that all processes see: before they are forked."""
        self.board = self.tally.board = board

    def start(self, place: int | None) -> None:
        """Begin, in a process that was just forked and counts at a place of the board."""
        self._over, self._pinging, self._pinger = threading.Event(), None, ThreadPoolExecutor(1, "ping")
        logs.start()
        self.tally.begin(place)
        if self.engine.ledger is not None:
            self.engine.ledger.start()
        threading.Thread(target=self._run, name="metrics", daemon=True).start()

    def stop(self, seconds: float = 5.0) -> None:
        """End: the ledger is on disk, what was counted is shared, and the last lines are written."""
        self._over.set()
        if self.engine.ledger is not None:
            self.engine.ledger.close(seconds)
        self.tally.flush()
        logs.stop()

    def _run(self) -> None:
        tidying = Tidying()
        while not self._over.wait(SHARE):
            try:
                self.tally.flush()
                tidying.look(self.engine.guard.running)
            except Exception as problem:  # noqa: BLE001 - the thread has to live on
                log.warning("metrics", extra={"fields": {"event": "metrics", "kind": type(problem).__name__}})

    # --- is it ready -------------------------------------------------------------------------------------------------

    def reasons(self) -> list[str]:
        """Return why somebody should look after the service, as codes; none: all is well."""
        engine, found = self.engine, list[str]()
        if self.board.stopping:
            found.append("stopping")
        if not engine.shelf.book.services:
            found.append("no-services")
        if engine.shelf.stale is not None:
            found.append("rules-stale")
        if engine.shelf.unfit:
            found.append("tuning-unfit")
        if engine.door.verifier is not None and not engine.door.verifier.ready:
            found.append("keys-missing")
        if engine.ledger is not None and engine.ledger.switches().everything:
            found.append("all-switched-off")
        if engine.completing is not None and self._open_breakers():
            found.append("fhir-breaker-open")
        return found + ([trouble] if (trouble := self._ledger_trouble()) else [])

    def _ledger_trouble(self) -> str:
        """Ask the ledger, but do not wait for it for long; one question at a time."""
        if self.engine.ledger is None:
            return ""
        if self._pinging is None or self._pinging.done():
            self._pinging = self._pinger.submit(_ping, self.engine.ledger.ping)
        try:
            return self._pinging.result(PING)
        except TooLate:
            return "ledger-slow"

    def _open_breakers(self) -> int:
        guarding = self.engine.completing
        return sum(breaker.is_open for breaker in list(guarding.breakers.values())) if guarding else 0

    # --- what it has counted -----------------------------------------------------------------------------------------

    def counts(self) -> Mapping[str, float]:
        """Return what is counted elsewhere in this process, by the names of the metrics."""
        engine, found = self.engine, Counter[str]()
        for event, number in dict(engine.counted).items():
            if not event.startswith("refused "):  # told call by call, and counted there
                found[_series(event)] += number
        if engine.completing is not None:
            for reason, number in dict(engine.completing.counted).items():
                found[key("cds_fhir_failures", reason)] += number
        if engine.ledger is not None:
            for event, number in engine.ledger.state().counted.items():
                found[key("cds_ledger_events", event)] += number
        found["cds_log_lines_lost"] += logs.lost()
        return found

    def gauges(self) -> Mapping[str, float]:
        """Return how this process is now, by the names of the metrics."""
        engine, found = self.engine, metrics.of_process()
        found["cds_calls_running"] = engine.guard.running
        found["cds_rules_stale"] = int(engine.shelf.stale is not None)
        found["cds_tunings_unfit"] = len(engine.shelf.unfit)
        if engine.completing is not None:
            bulkhead = engine.completing.bulkhead
            found |= {"cds_fhir_places_taken": bulkhead.taken, "cds_fhir_places": bulkhead.places}
            found["cds_fhir_breakers_open"] = self._open_breakers()
        if engine.ledger is not None:
            state = engine.ledger.state()
            found |= {"cds_ledger_waiting": state.waiting, "cds_ledger_trouble": int(bool(state.trouble))}
        return found


def _ping(ping: Callable[[], None]) -> str:
    try:
        ping()
    except Unavailable as problem:
        return f"ledger-{problem.slug.removeprefix('ledger-')}"
    except Exception as problem:  # noqa: BLE001 - whatever it is, the answer is that it does not work
        log.warning("ping", extra={"fields": {"event": "ping", "kind": type(problem).__name__}})
        return "ledger-broken"
    return ""


def _series(event: str) -> str:
    """Name the series of something that the engine counts (Engine.counted)."""
    match event.split(" "):
        case ["yes" | "no" | "unknown" as verdict, rule]:
            return key("cds_verdicts", rule, verdict)
        case ["silent", verdict, rule]:
            return key("cds_pilot_verdicts", rule, verdict)
        case ["failed", rule, kind]:
            return key("cds_rule_failures", rule, kind)
        case _:
            return key("cds_events", event)


# --- the addresses ---------------------------------------------------------------------------------------------------


def operations() -> Operations:
    """Return the operations of the current application."""
    found: Operations = current_app.extensions["operations"]
    return found


@blueprint.get("/healthz")
def health() -> Response:
    """Say that the process lives, and which rule book it answers with."""
    shelf = operations().engine.shelf
    return _json({"status": "ok", "rule_book": shelf.book.fingerprint, "stale": shelf.stale is not None})


@blueprint.get("/readyz")
def ready() -> Response:
    """
    Say whether all is well: 503 with the reasons where it is not.

    ``answers`` says whether hook calls are answered all the same; with ``?calls`` only that decides on the status, for
    those who send calls elsewhere on a 503.
    """
    reasons = operations().reasons()
    answers = not any(reason in STOPS_CALLS for reason in reasons)
    status = "stopping" if "stopping" in reasons else "degraded" if reasons else "ready"
    well = answers if "calls" in request.args else not reasons
    answer = _json({"status": status, "answers": answers, "reasons": reasons}, 200 if well else 503)
    if not well:
        answer.headers["Retry-After"] = "5"
    return answer


@blueprint.get("/metrics")
def counted() -> Response:
    """Give the metrics to who may see them; to others there is nothing here."""
    if not _may_see(request.environ, operations().token):
        raise NotFound
    return Response(operations().tally.text(), content_type=CONTENT_TYPE_LATEST)


def _may_see(environ: Mapping[str, Any], token: str) -> bool:
    """Say whether a request may read the metrics: with the token; else from this machine, and not through a proxy."""
    scheme, _, sent = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if token:
        return scheme.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), token.encode())
    try:
        here = ipaddress.ip_address(environ.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
    return here and not any(name in environ for name in _FORWARDED)


def _json(content: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status=status, mimetype="application/json")


def register(app: Flask, engine: Engine, token_file: str) -> None:
    """Add the addresses. Raises SettingsError where the file of the token is not usable."""
    app.extensions["operations"] = Operations(engine, _token(token_file))
    app.register_blueprint(blueprint)


def _token(path: str) -> str:
    if not path:
        return ""
    try:
        found = Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeError):
        found = ""
    if len(found) < 16 or not found.isprintable() or " " in found:
        raise SettingsError(
            "The file with the token for /metrics cannot be read, or does not hold one word of at least 16 letters.",
            where="CDS_METRICS_TOKEN_FILE",
            slug="bad-setting",
            remedy="head -c 32 /dev/urandom | base64 > the file, for the service and Prometheus to read.",
        )
    return found
