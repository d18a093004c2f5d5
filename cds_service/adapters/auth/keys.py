"""Public keys of issuers: fetched from the listed addresses only, seldom, and never lost to a failed fetch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import jwt
import msgspec
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from cds_service import decoding
from cds_service.adapters import outbound
from cds_service.adapters.addresses import Origin, parse
from cds_service.adapters.deadline import Deadline
from cds_service.adapters.outbound import Errand

# Asymmetric signatures only (CDS Hooks 2.0.1, "Trusting CDS Clients"): never none, never HS*.
ALGORITHMS = ("ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_FITS = {"ES": "EC", "RS": "RSA", "PS": "RSA"}
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_PUBLIC = ("kty", "kid", "alg", "use", "crv", "x", "y", "n", "e")
_RSA_BITS, _KID = range(2048, 8193), 512
LIMIT, PATIENCE = 256 * 1024, 2.0
REFRESH, INTERVAL, STALE = 600.0, 30.0, 24 * 3600.0
# So old is a set only where nobody called for a while, or where the fetch fails: it may hold a key that was withdrawn.
LATE = 2 * REFRESH
# Keys that were never had are worth asking for more often than keys that are only missing one.
RETRY = 5.0
Fetch = Callable[[str], bytes]


class Key(msgspec.Struct, frozen=True):
    """A public key for signatures; ``algorithm`` is the only one it may be used with, "" where it does not say."""

    kid: str
    kind: str
    curve: str
    algorithm: str
    public: Any

    def fits(self, algorithm: str) -> bool:
        """Say whether the key may be used with an algorithm: of the right type and curve, not meant for another."""
        return (
            self.kind == _FITS.get(algorithm[:2])
            and _CURVES.get(algorithm, self.curve) == self.curve
            and self.algorithm in ("", algorithm)
        )


class KeysUnavailable(Exception):
    """The keys of an issuer were never loaded, or are too old to be believed: nobody can be told apart now (503)."""


class _Flight:
    """A fetch under way; however many wait for it, nobody does so longer than ``PATIENCE`` from its begin."""

    def __init__(self) -> None:
        self._over, self._deadline = threading.Event(), Deadline(PATIENCE)

    def wait(self) -> None:
        self._over.wait(self._deadline.remaining())

    def end(self) -> None:
        self._over.set()


class _Kept:
    """The keys of one address, when they were fetched, when a fetch was begun or failed, and the fetch under way."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[Key, ...]] = {}
        self.fetched = self.tried = self.failed = float("-inf")
        self.flight: _Flight | None = None


class KeyStore:
    """
    The keys behind every ``jku``.

    An unknown key id makes us look again, but at most every 30 s, and once at a time; meanwhile, and when the fetch
    fails, the keys we have stay valid for a day. Keys are renewed beside the calls: only a call that has no key waits,
    and the first one after twenty minutes without a fetch. ``clock`` counts seconds and is never set back.
    """

    def __init__(
        self, fetch: Fetch | None = None, clock: Callable[[], float] = time.monotonic, *, authorities: str = ""
    ) -> None:
        self._fetch, self._clock = fetch or _Fetching(authorities), clock
        self._kept: dict[str, _Kept] = {}
        self._guard = threading.Lock()

    def find(self, jku: str, kid: str) -> tuple[Key, ...]:
        """Return the keys with an id, fetching if that may help. Raises KeysUnavailable."""
        kept = self._of(jku)
        waits = kid not in kept.keys or self._is_late(kept)
        if waits or self._age(kept) > REFRESH:
            flight = self._begin(jku, kept)
            if flight is not None and waits:
                flight.wait()
        if self._age(kept) > STALE:
            raise KeysUnavailable
        return kept.keys.get(kid, ())

    def renewed(self, jku: str, kid: str, tried: tuple[Key, ...]) -> tuple[Key, ...]:
        """
        Return the keys with an id where they are not those that were tried (any more), else none.

        An issuer may replace a key and keep its id. Looked for as seldom as an unknown id: a stranger's signatures,
        however many, cause no more fetches.
        """
        kept = self._of(jku)
        if kept.keys.get(kid, ()) == tried and (flight := self._begin(jku, kept)) is not None:
            flight.wait()
        found = kept.keys.get(kid, ())
        return () if found == tried else found

    def ready(self, addresses: Iterable[str]) -> bool:
        """Say whether the keys of these addresses can be used; those that cannot are asked for, beside the call."""
        lacking = [one for one in addresses if self._age(self._of(one)) > STALE]
        for address in lacking:
            self._begin(address, self._of(address))
        return not lacking

    def _age(self, kept: _Kept) -> float:
        return self._clock() - kept.fetched

    def _is_late(self, kept: _Kept) -> bool:
        """Say whether a call should wait for newer keys; not again and again where the address does not answer."""
        age = self._age(kept)
        return age > STALE or (age > LATE and self._clock() - kept.failed > REFRESH)

    def _of(self, jku: str) -> _Kept:
        with self._guard:
            return self._kept.setdefault(jku, _Kept())

    def _begin(self, jku: str, kept: _Kept) -> _Flight | None:
        """Return the fetch under way, begun now if the last one is long enough ago; else None."""
        with self._guard:
            interval = INTERVAL if kept.keys else RETRY
            if kept.flight is not None or self._clock() - kept.tried < interval:
                return kept.flight
            kept.tried, flight = self._clock(), _Flight()
            with suppress(RuntimeError):  # no thread can be started: the next call tries again
                threading.Thread(target=self._fly, args=(jku, kept, flight), name="keys", daemon=True).start()
                kept.flight = flight
            return kept.flight

    def _fly(self, jku: str, kept: _Kept, flight: _Flight) -> None:
        try:
            keys = read_keys(self._fetch(jku))
            kept.keys, kept.fetched = keys, self._clock()
        except Exception:  # noqa: BLE001 - whatever an address answers, the keys we have stay
            kept.failed = self._clock()
        finally:
            with self._guard:
                kept.flight = None
            flight.end()


def read_keys(raw: bytes) -> dict[str, tuple[Key, ...]]:
    """Return the usable keys of a JSON Web Key Set by their ids. Raises ValueError where it has none."""
    try:
        found = decoding.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("not a key set") from None
    entries = found.get("keys") if isinstance(found, dict) else None
    keys = [key for entry in entries if (key := usable(entry))] if isinstance(entries, list) else []
    if not keys:
        raise ValueError("no usable key")
    return {one.kid: tuple(key for key in keys if key.kid == one.kid) for one in keys}


def usable(entry: Any) -> Key | None:
    """Return a public key for signatures; None for secrets, for encryption keys, and for RSA below 2,048 bits."""
    if not isinstance(entry, Mapping) or entry.get("kty") not in ("EC", "RSA") or not _for_signatures(entry):
        return None
    kid, algorithm = entry.get("kid"), entry.get("alg") or ""
    if not isinstance(kid, str) or not 0 < len(kid) <= _KID or algorithm not in ("", *ALGORITHMS):
        return None
    reader = ECAlgorithm.from_jwk if entry["kty"] == "EC" else RSAAlgorithm.from_jwk
    with suppress(jwt.PyJWTError, ValueError, TypeError, KeyError):
        public: Any = reader({name: value for name, value in entry.items() if name in _PUBLIC})
        curve = public.curve.name if entry["kty"] == "EC" else ""
        if curve in _CURVES.values() or (entry["kty"] == "RSA" and public.key_size in _RSA_BITS):
            return Key(kid, entry["kty"], curve, algorithm, public)
    return None


def _for_signatures(entry: Mapping[str, Any]) -> bool:
    operations = entry.get("key_ops")
    able = operations is None or (isinstance(operations, list) and "verify" in operations)
    return able and entry.get("use") in (None, "sig")


def location(url: str) -> Origin | None:
    """Return where a key set lies; None for an address in which anything is unusual."""
    base, _, query = url.partition("?")
    return parse(base) if query.isascii() and query.isprintable() and not set(query) & set(' #\\"<>') else None


class _Fetching:
    """Fetches key sets: without redirects, proxies or passwords of this machine, up to 256 kB, within 2 s."""

    def __init__(self, authorities: str) -> None:
        self._session = outbound.new_session(4, authorities)

    def __call__(self, url: str) -> bytes:
        """Return what stands at an address. Raises outbound.Failed."""
        origin = location(url)
        if origin is None:
            raise outbound.Failed("not-permitted")
        errand = Errand(Deadline(PATIENCE), LIMIT)
        end = threading.Timer(PATIENCE, errand.end)
        end.start()
        try:
            # The address stands in our own settings, whoever sent the token: it may lie in an inner network.
            private = msgspec.structs.replace(origin, private=True)
            return outbound.fetch(self._session, url, private, errand, {"Accept": "application/json"}, limit=LIMIT)
        finally:
            end.cancel()
