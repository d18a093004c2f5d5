"""One token of a client, verified step by step; why it was refused is for the log, never for the caller."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

import jwt

from cds_service.adapters.auth.issuers import Issuer, Issuers
from cds_service.adapters.auth.keys import KeyStore, usable
from cds_service.adapters.auth.replays import Replays

MAX_TOKEN = 8 * 1024
LEEWAY, LIFETIME = 60, 3_600
_FITS = {"ES": "EC", "RS": "RSA", "PS": "RSA"}
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}


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
        entries = [(issuer.iss, entry) for issuer in issuers.entries for entry in issuer.keys]
        self._given = {(iss, str(entry.get("kid") or "")): usable(entry) for iss, entry in entries}

    def verify(self, token: str, audiences: Collection[str]) -> tuple[Issuer, str]:
        """
        Return the issuer and the tenant of a token that was made for one of these addresses.

        Raises Refused, and KeysUnavailable where the issuer's keys cannot be had.
        """
        header, claims = _unverified(token)
        issuer = self._issuer(header, claims)
        now = self._clock()
        _check_audience(claims, {*map(normal, audiences)}, issuer)
        expires = _check_times(claims, now)
        tenant = _tenant(claims, issuer)
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= 256:
            raise Refused("jti")
        self._check_signature(token, header, issuer)
        if self._replays.seen(issuer.iss, jti, expires + LEEWAY, now):
            raise Refused("replayed")
        return issuer, tenant

    def _issuer(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> Issuer:
        iss, jku = claims.get("iss"), header.get("jku", "")
        if not isinstance(iss, str) or not isinstance(jku, str):
            raise Refused("iss")
        issuer = self.issuers.find(iss, jku)
        if issuer is None:
            raise Refused("iss")
        if header.get("alg") not in issuer.algorithms:
            raise Refused("alg")
        return issuer

    def _check_signature(self, token: str, header: Mapping[str, Any], issuer: Issuer) -> None:
        kid, algorithm = header.get("kid", ""), str(header["alg"])
        if not isinstance(kid, str):
            raise Refused("kid")
        key = self._keys.find(issuer.jku, kid) if issuer.jku else self._given.get((issuer.iss, kid))
        if key is None:
            raise Refused("kid")
        if not _fits(key, algorithm):
            raise Refused("alg")
        try:
            jwt.decode(token, key, algorithms=[algorithm], options=_SIGNATURE_ONLY)
        except (jwt.PyJWTError, ValueError, TypeError):
            raise Refused("signature") from None


_SIGNATURE_ONLY: Any = {
    **dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_iss", "verify_sub"), False),
    "verify_jti": False,
}


def _unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    if len(token) > MAX_TOKEN or token.count(".") != 2 or not token.isascii():
        raise Refused("shape")
    try:
        complete = jwt.api_jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise Refused("shape") from None
    header, claims = complete["header"], complete["payload"]
    if not isinstance(claims, dict) or "crit" in header:
        raise Refused("shape")
    if header.get("typ") is not None and str(header["typ"]).upper() not in ("JWT", "AT+JWT"):
        raise Refused("typ")
    return header, claims


def _check_audience(claims: Mapping[str, Any], accepted: set[str], issuer: Issuer) -> None:
    aud = claims.get("aud")
    named = [aud] if isinstance(aud, str) else aud if isinstance(aud, list) else []
    texts = [one for one in named if isinstance(one, str)]
    if not any(normal(one) in accepted or one in issuer.audiences for one in texts):
        raise Refused("aud")


def normal(url: str) -> str:
    """Return an address in one spelling: scheme and host in lower case, no default port, no slash at the end."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return url
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return url
    usual = {"http": 80, "https": 443}[parts.scheme.lower()]
    shown = f":{port}" if port is not None and port != usual else ""
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme.lower()}://{parts.hostname}{shown}{parts.path.rstrip('/')}{query}"


def _check_times(claims: Mapping[str, Any], now: float) -> float:
    expires, issued = _moment(claims, "exp"), _moment(claims, "iat")
    starts = _moment(claims, "nbf") if "nbf" in claims else issued
    if expires <= now - LEEWAY:
        raise Refused("expired")
    if issued > now + LEEWAY or starts > now + LEEWAY:
        raise Refused("not-yet")
    if expires - issued > LIFETIME:
        raise Refused("lives-too-long")
    return expires


def _moment(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Refused(name)
    if not 0 <= value < 1e11:
        raise Refused(name)
    return float(value)


def _tenant(claims: Mapping[str, Any], issuer: Issuer) -> str:
    tenant = claims.get("tenant", "")
    if not isinstance(tenant, str) or (issuer.tenants and tenant not in issuer.tenants):
        raise Refused("tenant")
    return tenant if issuer.tenants else ""


def _fits(key: jwt.PyJWK, algorithm: str) -> bool:
    """Say whether a key may be used with an algorithm: of the right type and curve, and not meant for another."""
    if key.key_type != _FITS.get(algorithm[:2]):
        return False
    named = key._jwk_data.get("alg")  # noqa: SLF001 - PyJWT has no other way to ask what the key itself says
    curve = getattr(getattr(key.key, "curve", None), "name", "")
    return named in (None, algorithm) and _CURVES.get(algorithm, "") in ("", curve)
