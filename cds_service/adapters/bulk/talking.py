"""One question to a server of an export: signed in, and asked again while the server wants to be left alone."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime
from uuid import uuid4

import msgspec
import requests

from cds_service import decoding
from cds_service.adapters import outbound
from cds_service.adapters.bulk.client import ClientKey, Token, form_of, token_in
from cds_service.adapters.bulk.places import Place, Places
from cds_service.adapters.deadline import Deadline
from cds_service.adapters.outbound import Errand, Failed
from cds_service.errors import CdsError

# How long nothing may come, how long one short answer may take, and how large it may be.
SILENCE, SHORT, SMALL = 60.0, 120.0, 16 * 1024 * 1024
# How often something is tried again, after how long at first and at most, where the server does not say (seconds).
TRIES, PAUSE, LONGEST = 6, 1.0, 300.0
# A token is renewed so long before it ends.
MARGIN = 30.0
_JSON = re.compile(r"application/(?:json|fhir\+json)\s*(?:;|\Z)", re.IGNORECASE)
_BUSY = (429, 503)


class ExportFailed(CdsError):
    """An export goes no further; what came from the server is never quoted."""

    slug = "export-failed"


class _Configuration(msgspec.Struct):
    token_endpoint: str = ""
    capabilities: list[str] = []


class Answer(msgspec.Struct, frozen=True):
    """A short answer: status, headers by their names in lower case, and body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Line:
    """
    Talks to the servers of one export.

    ``sleep`` waits, ``clock`` counts seconds and is never set back, ``now`` is the time of day (seconds since 1970).
    """

    def __init__(
        self,
        places: Places,
        key: ClientKey | None,
        kinds: list[str],
        *,
        authorities: str = "",
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.places, self._key, self._kinds = places, key, kinds
        self._session: requests.Session = outbound.new_session(4, authorities)
        self.sleep, self.clock, self.now = sleep, clock, now
        self._token: Token | None = None

    def ask(
        self, place: Place, *, method: str = "GET", signed: bool = True, accept: str = "application/json",
        begins: bool = False,
    ) -> Answer:  # fmt: skip
        """
        Ask, and ask again while the server is busy or cannot be reached; ``begins`` asks for an answer later on.

        Raises ExportFailed.
        """
        for pause in pauses():
            errand = Errand(Deadline(SHORT, self.clock), SMALL)
            try:
                with self.opened(place, errand, method=method, signed=signed, accept=accept, begins=begins) as response:
                    body = b"".join(outbound.pieces(response, errand, SMALL))
                    headers = {name.lower(): value for name, value in response.headers.items()}
                    answer = Answer(response.status_code, headers, body)
            except Failed as problem:
                self._wait_or_fail(problem.reason, pause)
                continue
            if answer.status in _BUSY:
                self._wait_or_fail(f"status-{answer.status}", pause, answer.headers.get("retry-after", ""))
            elif answer.status == 401 and signed and self._token is not None:
                self._token = None  # it ended sooner than was said
            else:
                return answer
        raise failed("not-let-in", "The server takes no token of ours. Does it know our client id and public key?")

    @contextmanager
    def opened(
        self, place: Place, errand: Errand, *, method: str = "GET", signed: bool = True,
        accept: str = "application/json", begins: bool = False,
    ) -> Iterator[requests.Response]:  # fmt: skip
        """Send one request and give the answer as it begins. Raises Failed."""
        headers = {"Accept": accept} | ({"Prefer": "respond-async"} if begins else {})
        if signed and self._key is not None:
            headers["Authorization"] = f"Bearer {self._signed_in().value}"
        with outbound.asked(
            self._session, place.url, place.origin, errand, headers, method=method, patience=SILENCE
        ) as response:
            yield response

    def sign_out(self) -> None:
        """Forget the token: the server no longer takes it."""
        self._token = None

    def _wait_or_fail(self, reason: str, pause: float, asked: str = "") -> None:
        if pause < 0 or reason in ("not-permitted", "address-not-permitted", "tls", "too-large"):
            raise failed(reason)
        self.sleep(wait_of(asked, self.now(), pause))

    def _signed_in(self) -> Token:
        if self._token is None or self._token.until - MARGIN < self.clock():
            self._token = self._new_token()
        return self._token

    def _new_token(self) -> Token:
        assert self._key is not None  # noqa: S101 - only then is anything signed
        server = self.places.server
        known = self._decoded(Place(f"{server.url}/.well-known/smart-configuration", server))
        place = self.places.token(known.token_endpoint)
        if place is None:
            raise failed("token-endpoint-not-permitted", "Add it to CDS_SMART_SERVERS, if it may be asked.")
        version = "rs" if "permission-v2" in known.capabilities else "read"
        scopes = " ".join(f"system/{kind}.{version}" for kind in self._kinds)
        form = form_of(self._key, scopes, place, self.now(), lambda: str(uuid4()))
        errand = Errand(Deadline(SHORT, self.clock), SMALL)
        accept = {"Accept": "application/json"}
        try:
            raw = outbound.fetch(
                self._session, place.url, place.origin, errand, accept, limit=SMALL, is_type=_JSON.match, form=form
            )
        except Failed as problem:
            raise failed(f"token-{problem.reason}", "Does the server know our client id and public key?") from None
        token = token_in(raw, self.clock())
        if token is None:
            raise failed("token-odd")
        return token

    def _decoded(self, place: Place) -> _Configuration:
        answer = self.ask(place, signed=False)
        try:
            return decoding.decode(answer.body if answer.status == 200 else b"", _Configuration)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise failed(
                "smart-configuration", "Without CDS_BULK_CLIENT_ID a server without tokens is asked."
            ) from None


def pauses() -> Iterator[float]:
    """Yield how long to wait after each try, longer and longer; after the last one nothing is waited for (-1)."""
    for number in range(TRIES - 1):
        yield PAUSE * 2**number
    yield -1.0


def wait_of(asked: str, now: float, usual: float) -> float:
    """Return how many seconds a Retry-After asks for (a number, or a date), within bounds; else the usual."""
    if asked.isascii() and asked.isdecimal():
        return min(max(float(asked[:9]), PAUSE), LONGEST)
    try:
        at = parsedate_to_datetime(asked)
    except (TypeError, ValueError):
        return usual
    return min(max((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now, PAUSE), LONGEST)


def failed(reason: str, remedy: str = "") -> ExportFailed:
    """Say that the export goes no further; ``reason`` is one of a fixed list."""
    return ExportFailed(
        "The export from the FHIR server failed.",
        why=f"Reason: {reason}.",
        remedy=remedy or "The same command goes on where it was.",
    )
