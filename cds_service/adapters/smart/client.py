"""
The two things an app asks: where the authorization server is, and a token for a code (SMART App Launch 2.2).

Both only of servers that were listed. The token is handed to the caller and kept nowhere.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import requests

from cds_service import decoding
from cds_service.adapters import outbound
from cds_service.adapters.addresses import Origin, parse
from cds_service.adapters.deadline import Deadline
from cds_service.adapters.fhir import Origins
from cds_service.adapters.outbound import Errand, Failed
from cds_service.errors import MalformedJson, SettingsError
from cds_service.protocol.fields import FHIR_ID
from cds_service.protocol.wire import Body

WELL_KNOWN = ".well-known/smart-configuration"
LIMIT = 64 * 1024
# For how long a configuration is believed, in seconds.
KEPT = 600.0
PKCE = "S256"
_JSON = re.compile(r"application/(?:json|fhir\+json)\s*(?:;|\Z)", re.IGNORECASE)
_HEADERS = {"Accept": "application/json"}


class Refused(Exception):
    """A launch that goes no further; ``reason`` is one of a fixed list, and quotes nothing that came."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SmartServer(msgspec.Struct, frozen=True):
    """The authorization server of one FHIR server; ``version`` is how it writes scopes (1: .read, 2: .rs)."""

    iss: str
    authorize: str
    token: str
    at: Origin
    version: int = 2


class Token(msgspec.Struct, frozen=True):
    """What a launch gives: access to one patient, for a short time. It is never shown."""

    access_token: str
    patient: str
    app_context: str = ""
    seconds: float | None = None

    def __repr__(self) -> str:
        """Show nothing of it."""
        return "Token(...)"


class _Configuration(msgspec.Struct):
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    code_challenge_methods_supported: list[str] = []
    capabilities: list[str] = []


class _Answer(msgspec.Struct):
    access_token: str = ""
    token_type: str = ""
    patient: str = ""
    appContext: Any = ""
    expires_in: float | None = None


class SmartClient:
    """
    A public client (no secret): what protects the code is PKCE, as SMART App Launch 2 asks for.

    ``origins`` are the FHIR servers that may launch (CDS_FHIR_ALLOW), ``servers`` authorization servers on other
    hosts than theirs. ``clock`` counts seconds and is never set back.
    """

    def __init__(
        self,
        client_id: str,
        origins: Origins,
        servers: str = "",
        *,
        authorities: str = "",
        clock: Callable[[], float] = time.monotonic,
        session: requests.Session | None = None,
    ) -> None:
        self.client_id, self._origins, self._clock = client_id, origins, clock
        self._others = _servers(servers)
        self._session = session or outbound.new_session(4, authorities)
        self._kept: dict[str, tuple[float, SmartServer]] = {}
        self._lock = threading.Lock()

    @property
    def listed(self) -> Sequence[Origin]:
        """The FHIR servers that may launch."""
        return self._origins.allowed

    def allows(self, iss: str) -> Origin | None:
        """Return the entry of the list that an ``iss`` is, to the letter but for a slash at its end; else None."""
        asked, known = parse(iss), self._origins.find(iss)
        entries = (one for one in self._origins.allowed if asked and one.url == asked.url)
        return known if known is not None and next(entries, None) is not None else None

    def server(self, iss: str, deadline: Deadline) -> SmartServer:
        """Return the authorization server of a FHIR server. Raises Refused."""
        origin = self.allows(iss)
        if origin is None:
            raise Refused("iss")
        kept = self._kept.get(origin.url)
        if kept is not None and self._clock() - kept[0] < KEPT:
            return kept[1]
        raw = self._ask(f"{origin.url}/{WELL_KNOWN}", origin, deadline)
        found = self._server(origin, _decoded(raw, _Configuration, "configuration"))
        with self._lock:
            self._kept[origin.url] = (self._clock(), found)
        return found

    def exchange(self, server: SmartServer, code: str, verifier: str, redirect: str, deadline: Deadline) -> Token:
        """Return the token for a code. Raises Refused; the code is spent either way, so it is asked once."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "client_id": self.client_id,
            "code_verifier": verifier,
        }
        answer = _decoded(self._ask(server.token, server.at, deadline, form), _Answer, "token")
        if not re.fullmatch(r"[\x21-\x7e]{1,16384}", answer.access_token) or answer.token_type.lower() != "bearer":
            raise Refused("token")
        if not FHIR_ID.fullmatch(answer.patient):
            raise Refused("no-patient")
        context = answer.appContext if isinstance(answer.appContext, str) else ""
        return Token(answer.access_token, answer.patient, context[:2_000], answer.expires_in)

    def _ask(self, url: str, origin: Origin, deadline: Deadline, form: dict[str, str] | None = None) -> bytes:
        errand = Errand(deadline, LIMIT)
        try:
            raw = outbound.fetch(
                self._session, url, origin, errand, _HEADERS, limit=LIMIT, is_type=_JSON.match, form=form
            )
            Body(raw).check_whole()
        except Failed as problem:
            raise Refused(f"server-{problem.reason}") from None
        except MalformedJson:
            raise Refused("server-not-json") from None
        return raw

    def _server(self, origin: Origin, found: _Configuration) -> SmartServer:
        if PKCE not in found.code_challenge_methods_supported:
            raise Refused("no-pkce")  # SMART App Launch 2: servers SHALL support it
        at, authorize = self._listed(found.token_endpoint, origin), self._listed(found.authorization_endpoint, origin)
        if at is None or authorize is None:
            raise Refused("server-not-permitted")
        version = 2 if "permission-v2" in found.capabilities or "permission-v1" not in found.capabilities else 1
        return SmartServer(origin.url, authorize.url, at.url, at, version)

    def _listed(self, url: str, origin: Origin) -> Origin | None:
        """Return an endpoint taken apart, if it stands on the FHIR server's own host or on one that was listed."""
        asked = parse(url)
        if asked is None:
            return None
        own = (asked.scheme, asked.host, asked.port) == (origin.scheme, origin.host, origin.port)
        entry = origin if own else next((one for one in self._others if one.covers(asked)), None)
        return msgspec.structs.replace(asked, private=entry.private) if entry else None


def _servers(setting: str) -> Sequence[Origin]:
    try:
        return Origins.read(setting).allowed
    except SettingsError:
        raise SettingsError(
            "CDS_SMART_SERVERS has an entry that is no base URL of an authorization server.",
            where="CDS_SMART_SERVERS",
            slug="bad-setting",
            remedy="Write https://login.hospital.example/oauth2, several separated by commas.",
        ) from None


def _decoded(raw: bytes, shape: type[Any], what: str) -> Any:
    try:
        return decoding.decode(raw, shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(what) from None
