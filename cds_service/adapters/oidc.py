"""
Signing in with the hospital's own accounts: OpenID Connect, authorization code with PKCE (RFC 6749, 7636, 9700).

The provider is one that an operator listed. What comes back is believed only with its signature, for our client, for
this one try; nothing of it is kept, logged or quoted.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import jwt
import msgspec
import requests

from cds_service import decoding
from cds_service.adapters import outbound
from cds_service.adapters.addresses import Origin, parse
from cds_service.adapters.auth.keys import ALGORITHMS, KeyStore, KeysUnavailable
from cds_service.adapters.deadline import Deadline
from cds_service.adapters.outbound import Errand, Failed
from cds_service.errors import MalformedJson
from cds_service.protocol.wire import Body

WELL_KNOWN, SCOPE = ".well-known/openid-configuration", "openid profile email"
# Bytes of an answer; seconds that a configuration is believed, and that asking the provider may take.
LIMIT, KEPT, PATIENCE = 64 * 1024, 600.0, 5.0
# Seconds by which clocks may differ, and bytes of chance in what protects one try.
LEEWAY, _CHANCE = 60.0, 32
_JSON = re.compile(r"application/json\s*(?:;|\Z)", re.IGNORECASE)
_CODE = re.compile(r"[\x21-\x7e]{1,4096}")


class Refused(Exception):
    """A sign-in that goes no further; ``reason`` is one of a fixed list, and quotes nothing that came."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Try(msgspec.Struct, frozen=True):
    """What belongs to one try to sign in, and has to come back to the same browser."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> Try:
        """Begin a try."""
        return cls(*(secrets.token_urlsafe(_CHANCE) for _ in range(3)))

    @property
    def challenge(self) -> str:
        """Return what the provider is told of the verifier (PKCE, S256)."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class _Configuration(msgspec.Struct):
    issuer: str = ""
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    jwks_uri: str = ""


class _Answer(msgspec.Struct):
    id_token: str = ""


class Provider:
    """
    One provider of identities, and what we are called there.

    ``clock`` gives seconds since 1970 (UTC), ``steady`` seconds that are never set back.
    """

    def __init__(
        self,
        issuer: str,
        client_id: str,
        secret: str = "",
        *,
        clock: Callable[[], float],
        steady: Callable[[], float] = time.monotonic,
        authorities: str = "",
        session: requests.Session | None = None,
    ) -> None:
        found = parse(issuer)
        if found is None:
            raise Refused("issuer")
        # It stands in our own settings, so it may lie in the hospital's inner network.
        self.issuer, self._origin = issuer, msgspec.structs.replace(found, private=True)
        self.client_id, self._secret, self._clock, self._steady = client_id, secret, clock, steady
        self._session = session or outbound.new_session(4, authorities)
        self._keys = KeyStore(clock=steady, authorities=authorities)
        self._kept: tuple[float, _Configuration] | None = None

    @property
    def host(self) -> str:
        """The name of the provider, as people know it."""
        return self._origin.host

    def address(self, tried: Try, redirect: str) -> str:
        """Return where the browser is sent to sign in. Raises Refused."""
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": redirect,
            "scope": SCOPE,
            "state": tried.state,
            "nonce": tried.nonce,
            "code_challenge": tried.challenge,
            "code_challenge_method": "S256",
        }
        return f"{self._configuration(Deadline(PATIENCE)).authorization_endpoint}?{urlencode(query)}"

    def claims(self, tried: Try, code: str, redirect: str) -> dict[str, Any]:
        """Return what the provider says of whoever signed in, for a code. Raises Refused; a code is asked once."""
        if not _CODE.fullmatch(code):
            raise Refused("code")
        deadline = Deadline(PATIENCE)
        found = self._configuration(deadline)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "client_id": self.client_id,
            "code_verifier": tried.verifier,
        }
        answer = _decoded(self._ask(found.token_endpoint, deadline, form), _Answer)
        return self._verified(answer.id_token, tried.nonce, found.jwks_uri)

    # --- the provider ------------------------------------------------------------------------------------------------

    def _configuration(self, deadline: Deadline) -> _Configuration:
        kept = self._kept
        if kept is not None and self._steady() - kept[0] < KEPT:
            return kept[1]
        base = self.issuer.removesuffix("/")
        found: _Configuration = _decoded(self._ask(f"{base}/{WELL_KNOWN}", deadline), _Configuration)
        if found.issuer != self.issuer:
            raise Refused("other-issuer")  # OpenID Connect Discovery 4.3: exactly the same
        for endpoint in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
            self._endpoint(endpoint)
        self._kept = (self._steady(), found)
        return found

    def _endpoint(self, url: str) -> Origin:
        """Return an endpoint taken apart: on the provider's own host, or on a public one over TLS. Raises Refused."""
        found, own = parse(url), self._origin
        if found is None:
            raise Refused("endpoint")
        if (found.scheme, found.host, found.port) == (own.scheme, own.host, own.port):
            return msgspec.structs.replace(found, private=True)
        if found.scheme != "https":
            raise Refused("endpoint")
        return found

    def _ask(self, url: str, deadline: Deadline, form: dict[str, str] | None = None) -> bytes:
        errand = Errand(deadline, LIMIT)
        end = threading.Timer(deadline.remaining(), errand.end)
        end.start()
        headers = {"Accept": "application/json"}
        if form is not None and self._secret:
            headers["Authorization"] = f"Basic {self._basic()}"
        try:
            raw = outbound.fetch(
                self._session, url, self._endpoint(url), errand, headers, limit=LIMIT, is_type=_JSON.match, form=form
            )
            Body(raw).check_whole()
        except Failed as problem:
            raise Refused(f"provider-{problem.reason}") from None
        except MalformedJson:
            raise Refused("provider-not-json") from None
        finally:
            end.cancel()
        return raw

    def _basic(self) -> str:
        """Return name and secret as RFC 6749, 2.3.1 has them: each form-encoded, then both in base64."""
        pair = f"{quote(self.client_id, safe='')}:{quote(self._secret, safe='')}"
        return base64.b64encode(pair.encode()).decode()

    # --- what it says ------------------------------------------------------------------------------------------------

    def _verified(self, token: str, nonce: str, keys: str) -> dict[str, Any]:
        """Return the claims of an ID token (OpenID Connect Core 3.1.3.7). Raises Refused."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise Refused("token") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS or "crit" in header:
            raise Refused("algorithm")
        try:
            found = self._keys.find(keys, kid) if isinstance(kid, str) else ()
        except KeysUnavailable:
            raise Refused("keys") from None
        fitting = [one for one in found if one.fits(algorithm)]
        if not fitting:
            raise Refused("key")
        claims = self._decode(token, fitting[0].public, algorithm)
        self._check_times(claims)
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode("utf-8", "replace"), nonce.encode()):
            raise Refused("nonce")
        return claims

    def _decode(self, token: str, key: Any, algorithm: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self.client_id,
                issuer=self.issuer,
                # Times are checked with our own clock.
                options={
                    "require": ["iss", "aud", "exp", "iat", "sub"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError):
            raise Refused("token") from None
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", "" if several else self.client_id) != self.client_id:
            raise Refused("azp")
        return claims

    def _check_times(self, claims: dict[str, Any]) -> None:
        now = self._clock()
        moments = [claims["exp"], claims["iat"], claims.get("nbf", claims["iat"])]
        if any(isinstance(one, bool) or not isinstance(one, int | float) for one in moments):
            raise Refused("times")
        expires, issued, starts = moments
        if expires <= now - LEEWAY or issued > now + LEEWAY or starts > now + LEEWAY:
            raise Refused("times")


def _decoded(raw: bytes, shape: type[Any]) -> Any:
    try:
        return decoding.decode(raw, shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused("provider-not-json") from None
