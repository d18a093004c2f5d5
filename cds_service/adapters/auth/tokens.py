"""One token of a client, verified step by step; why it was refused is for the log, never for the caller."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jwt
import msgspec

from cds_service import decoding
from cds_service.adapters.auth.issuers import ANY_TENANT, Issuer, Issuers
from cds_service.adapters.auth.keys import ALGORITHMS, Key, KeyStore, KeysUnavailable
from cds_service.adapters.auth.replays import Replays
from cds_service.errors import MalformedJson
from cds_service.protocol.urls import normal
from cds_service.protocol.wire import Body

MAX_TOKEN = 8 * 1024
LEEWAY, LIFETIME = 60, 3_600
_PARTS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
# What would change how the token is to be read: nothing we know, so it is no token for us (RFC 7515 4.1.11, 7797).
_UNKNOWN = ("crit", "b64", "enc", "zip")
_SHORT = 256
# Seconds since 1970; beyond the year 5000 it is no date.
_LATEST = 1e11
_signatures = jwt.PyJWS(algorithms=list(ALGORITHMS))
Part = dict[str, Any]


class Refused(Exception):
    """A token that is not accepted; ``reason`` is one of a fixed list."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Verifier:
    """
    Verifies client tokens (CDS Hooks 2.0.1, "Trusting CDS Clients"; RFC 8725).

    ``clock`` gives seconds since 1970 (UTC). Leeway 60 s, life at most an hour (Epic's tokens live 15 minutes).
    """

    def __init__(self, issuers: Issuers, keys: KeyStore, replays: Replays, clock: Callable[[], float]) -> None:
        self.issuers, self._keys, self._replays, self._clock = issuers, keys, replays, clock

    @property
    def ready(self) -> bool:
        """Say whether the keys of every issuer are there."""
        return self._keys.ready(self.issuers.key_addresses)

    def verify(self, token: str, audiences: Collection[str], certificate: str = "") -> tuple[Issuer, str]:
        """
        Return the issuer and the tenant of a token that was made for one of these addresses.

        ``certificate`` is what the proxy saw of the client's certificate. Raises Refused, and KeysUnavailable where
        the issuer's keys cannot be had. A token is used up when everything else about it is right.
        """
        header, claims = _unverified(token)
        accepted = {normal(one) for one in audiences}
        problem: Refused | KeysUnavailable = Refused("iss")
        for issuer in self._candidates(header, claims):
            try:
                tenant, expires = self._checked(token, header, claims, issuer, accepted, certificate)
            except (Refused, KeysUnavailable) as one:
                problem = problem if isinstance(problem, KeysUnavailable) else one
                continue
            if self._replays.seen(issuer.iss, claims["jti"], expires + LEEWAY, self._clock()):
                raise Refused("replayed")
            return issuer, tenant
        raise problem

    def _candidates(self, header: Part, claims: Part) -> list[Issuer]:
        iss, jku = claims.get("iss"), header.get("jku", "")
        return self.issuers.find(iss, jku) if isinstance(iss, str) and isinstance(jku, str) else []

    def _checked(
        self, token: str, header: Part, claims: Part, issuer: Issuer, accepted: set[str], certificate: str
    ) -> tuple[str, float]:
        if header.get("alg") not in issuer.algorithms:
            raise Refused("alg")
        _check_audience(claims, accepted, issuer)
        expires = _check_times(claims, self._clock())
        tenant = _tenant(claims, issuer)
        if not _is_short(claims.get("jti")):
            raise Refused("jti")
        if issuer.certificate and issuer.certificate != certificate:
            raise Refused("certificate")
        self._check_signature(token, header, issuer)
        return tenant, expires

    def _check_signature(self, token: str, header: Part, issuer: Issuer) -> None:
        kid, algorithm = header.get("kid"), header["alg"]
        if not isinstance(kid, str) or not kid:
            raise Refused("kid")
        given = tuple(key for key in issuer.keys if key.kid == kid)
        keys = self._keys.find(issuer.jku, kid) if issuer.jku else given
        problem = _problem(token, keys, algorithm)
        if problem and keys and issuer.jku:
            newer = self._keys.renewed(issuer.jku, kid, keys)
            problem = _problem(token, newer, algorithm) if newer else problem
        if problem:
            raise problem


def _problem(token: str, keys: Collection[Key], algorithm: str) -> Refused | None:
    """Return why the token is refused if these are the keys with its key id; None where one of them has signed it."""
    if not keys:
        return Refused("kid")
    fitting = [key for key in keys if key.fits(algorithm)]
    if not fitting:
        return Refused("alg")
    return None if any(_has_signed(key, token, algorithm) for key in fitting) else Refused("signature")


def _has_signed(key: Key, token: str, algorithm: str) -> bool:
    try:
        _signatures.decode_complete(token, key.public, [algorithm])
    except (jwt.PyJWTError, ValueError, TypeError):
        return False
    return True


def _unverified(token: str) -> tuple[Part, Part]:
    """Return header and claims of a token in the one spelling that a token has."""
    parts = _PARTS.fullmatch(token) if len(token) <= MAX_TOKEN else None
    if parts is None:
        raise Refused("shape")
    _bytes(parts[3])
    header, claims = _part(parts[1]), _part(parts[2])
    if any(name in header for name in _UNKNOWN):
        raise Refused("shape")
    typ = header.get("typ", "JWT")
    if not isinstance(typ, str) or typ.upper() != "JWT":
        raise Refused("typ")
    return header, claims


def _part(text: str) -> Part:
    """Read one part: an object in which no member stands twice, so that nobody reads another token than we do."""
    raw = _bytes(text)
    try:
        Body(raw).check_whole()
        return decoding.decode(raw, Part)
    except (MalformedJson, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused("shape") from None


def _bytes(text: str) -> bytes:
    """Undo base64url; several texts may stand for the same bytes, and only one of them is right."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise Refused("shape") from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != text.encode():
        raise Refused("shape")
    return raw


def _check_audience(claims: Mapping[str, Any], accepted: set[str], issuer: Issuer) -> None:
    aud = claims.get("aud")
    named = [aud] if isinstance(aud, str) else aud if isinstance(aud, list) else []
    texts = [one for one in named if isinstance(one, str)]
    if not any(normal(one) in accepted or one in issuer.audiences for one in texts):
        raise Refused("aud")


def _check_times(claims: Mapping[str, Any], now: float) -> float:
    expires, issued = _moment(claims, "exp"), _moment(claims, "iat")
    starts = _moment(claims, "nbf") if "nbf" in claims else issued
    if expires <= now - LEEWAY:
        raise Refused("expired")
    if issued > now + LEEWAY or starts > now + LEEWAY:
        raise Refused("not-yet")
    if not 0 <= expires - issued <= LIFETIME:
        raise Refused("lifetime")
    return expires


def _moment(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LATEST:
        raise Refused(name)
    return float(value)


def _tenant(claims: Mapping[str, Any], issuer: Issuer) -> str:
    """Return the tenant; a token of one that was not listed is refused, and so is one without, where some are."""
    tenant = claims.get("tenant", "")
    if not isinstance(tenant, str) or len(tenant) > _SHORT:
        raise Refused("tenant")
    if ANY_TENANT not in issuer.tenants and tenant not in (issuer.tenants or ("",)):
        raise Refused("tenant")
    return tenant


def _is_short(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= _SHORT
