"""Who we are to an authorization server (SMART Backend Services): a signed assertion, for a token of minutes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import msgspec

from cds_service import decoding
from cds_service.adapters.bulk.places import Place
from cds_service.errors import SettingsError

# SMART Backend Services: these two, and an assertion that is valid for five minutes at most.
ALGORITHMS = {"RSA": "RS384", "EC": "ES384"}
VALID = 240
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_SETTING = "CDS_BULK_KEY_FILE"
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")


class ClientKey(msgspec.Struct, frozen=True):
    """Our client id at the server, and the private key whose public half it knows. The key is never shown."""

    client_id: str
    key_id: str
    algorithm: str
    secret: Any

    def __repr__(self) -> str:
        """Show nothing of the key."""
        return f"ClientKey({self.client_id!r})"

    def assertion(self, place: Place, now: float, unique: str) -> str:
        """Sign who we are, for one token endpoint, at a moment (seconds since 1970); ``unique`` is never used again."""
        claims: dict[str, str | int] = {"iss": self.client_id, "sub": self.client_id, "aud": place.url, "jti": unique}
        claims |= {"iat": int(now), "exp": int(now) + VALID}
        return jwt.encode(claims, self.secret, self.algorithm, {"kid": self.key_id, "typ": "JWT"})


def read_client_key(client_id: str, file: str) -> ClientKey | None:
    """
    Read the private key as a JWK, from a file that nobody else can read; None where no client id is set.

    Raises SettingsError; what stands in the file is never quoted.
    """
    if not client_id:
        return None
    path = Path(file)
    try:
        if path.stat().st_mode & 0o077:
            raise _bad("The file with the client's key can be read by others: make it 0600.")
        found = decoding.decode(path.read_bytes(), dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        raise _bad("The file with the client's key cannot be read as JSON.") from None
    keys = found.get("keys", [found])
    algorithm = ALGORITHMS.get(keys[0].get("kty", "")) if len(keys) == 1 and isinstance(keys[0], dict) else None
    if algorithm is None or not isinstance(keys[0].get("kid"), str) or "d" not in keys[0]:
        raise _bad("The file with the client's key holds no private key with a kid.")
    try:
        secret = jwt.PyJWK.from_dict(keys[0], algorithm).key
        jwt.encode({}, secret, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        raise _bad(f"The client's key cannot be used for {algorithm}.") from None
    return ClientKey(client_id, keys[0]["kid"], algorithm, secret)


def _bad(what: str) -> SettingsError:
    return SettingsError(
        what, where=_SETTING, slug="bad-key", remedy="SMART Backend Services want RS384, or ES384 on P-384, as a JWK."
    )


class _Answer(msgspec.Struct):
    access_token: str = ""
    token_type: str = ""
    expires_in: float = 300.0


class Token(msgspec.Struct, frozen=True):
    """What lets us in until ``until``, by a clock that nobody sets."""

    value: str
    until: float

    def __repr__(self) -> str:
        """Show nothing of it."""
        return "Token(...)"


def token_in(raw: bytes, now: float) -> Token | None:
    """Return the token that an authorization server sent; None where it is none."""
    try:
        answer = decoding.decode(raw, _Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not _TOKEN.fullmatch(answer.access_token) or answer.token_type.lower() != "bearer":
        return None
    return Token(answer.access_token, now + answer.expires_in)


def form_of(key: ClientKey, scopes: str, place: Place, now: float, new_id: Callable[[], str]) -> dict[str, str]:
    """Return the form that asks for a token."""
    return {
        "grant_type": "client_credentials",
        "scope": scopes,
        "client_assertion_type": ASSERTION,
        "client_assertion": key.assertion(place, now, new_id()),
    }
