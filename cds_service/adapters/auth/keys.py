"""Public keys of issuers: fetched from the listed addresses only, seldom, and never lost to a failed fetch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import jwt
import msgspec
import requests

LIMIT, PATIENCE = 256 * 1024, 2.0
REFRESH, INTERVAL, STALE = 600.0, 30.0, 24 * 3600.0
_RSA_BITS = 2048
Fetch = Callable[[str], bytes]


class KeysUnavailable(Exception):
    """The keys of an issuer were never loaded, or are too old to be believed: nobody can be told apart now (503)."""


class _Kept(msgspec.Struct):
    """The keys of one address, when they were fetched, and when a fetch was last tried."""

    keys: dict[str, jwt.PyJWK] = {}
    fetched: float = float("-inf")
    tried: float = float("-inf")


class KeyStore:
    """
    The keys behind every ``jku``, and those that were given in the file.

    An unknown key id makes us look again, but at most every 30 s, and one thread at a time; meanwhile, and when the
    fetch fails, the keys we have stay valid for a day. ``clock`` counts seconds and is never set back.
    """

    def __init__(self, fetch: Fetch | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch, self._clock = fetch or fetch_keys, clock
        self._kept: dict[str, _Kept] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def find(self, jku: str, kid: str) -> jwt.PyJWK | None:
        """Return a key by its id, fetching if that may help. Raises KeysUnavailable."""
        kept = self._kept.get(jku)
        now = self._clock()
        if kept is None or kid not in kept.keys or now - kept.fetched > REFRESH:
            kept = self._refreshed(jku, wait=kept is None or kid not in kept.keys)
        if now - kept.fetched > STALE:
            raise KeysUnavailable
        return kept.keys.get(kid)

    def ready(self, addresses: Iterable[str]) -> bool:
        """Say whether the keys of these addresses were loaded at least once."""
        return all(address in self._kept and self._kept[address].keys for address in addresses)

    def _refreshed(self, jku: str, *, wait: bool) -> _Kept:
        with self._guard:
            lock = self._locks.setdefault(jku, threading.Lock())
            kept = self._kept.setdefault(jku, _Kept())
        if not lock.acquire(blocking=wait):
            return kept  # somebody else is fetching, and the key we have will do
        try:
            if self._clock() - kept.tried >= INTERVAL:
                kept.tried = self._clock()
                with suppress(requests.RequestException, ValueError, OSError):
                    kept.keys, kept.fetched = read_keys(self._fetch(jku)), self._clock()
        finally:
            lock.release()
        return kept


def read_keys(raw: bytes) -> dict[str, jwt.PyJWK]:
    """Return the usable keys of a JSON Web Key Set by their ids. Raises ValueError where it is none."""
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("not a key set") from None
    entries = found.get("keys") if isinstance(found, dict) else None
    entries = entries if isinstance(entries, list) else []
    keys = {str(entry.get("kid") or ""): key for entry in entries if (key := usable(entry)) is not None}
    if not keys:
        raise ValueError("no usable key")
    return keys


def usable(entry: Any) -> jwt.PyJWK | None:
    """Return a public key for signatures; None for secrets, for encryption keys, and for RSA below 2,048 bits."""
    if not isinstance(entry, Mapping) or entry.get("kty") not in ("EC", "RSA"):
        return None
    operations = entry.get("key_ops") or ["verify"]
    if entry.get("use", "sig") != "sig" or "verify" not in operations:
        return None
    public = {name: value for name, value in entry.items() if name in _PUBLIC}
    with suppress(jwt.PyJWTError, ValueError, TypeError, KeyError):
        key = jwt.PyJWK(public)
        size = getattr(key.key, "key_size", 0)
        return key if entry["kty"] == "EC" or size >= _RSA_BITS else None
    return None


_PUBLIC = ("kty", "kid", "alg", "use", "crv", "x", "y", "n", "e")


def fetch_keys(url: str) -> bytes:
    """Fetch a key set: without redirects, proxies or passwords of this machine, up to 256 kB, within 2 s."""
    started = time.monotonic()
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        with session.get(url, timeout=PATIENCE, allow_redirects=False, stream=True, headers=headers) as answer:
            if answer.status_code != 200 or answer.headers.get("Content-Encoding", "identity") != "identity":
                raise ValueError("no key set")
            raw = b""
            while piece := answer.raw.read1(16_384):
                raw += piece
                if len(raw) > LIMIT or time.monotonic() - started > PATIENCE:
                    raise ValueError("no key set")
    return raw
