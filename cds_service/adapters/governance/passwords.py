"""Passwords: kept as scrypt says, so that who reads the database can try none in a lifetime (OWASP, ASVS 6.3)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
import unicodedata

import msgspec

from cds_service.adapters.governance.errors import Refused
from cds_service.errors import Unavailable

SHORTEST, LONGEST = 12, 256
# What is typed may be longer than what counts: a letter and its accent are two characters until they are composed.
LONGEST_TYPED = 4 * LONGEST
# Words that guessers begin with; what is left of a password without them has to be worth something.
_EASY: tuple[str, ...] = (
    "password",
    "passwort",
    "qwertyuiop",
    "qwerty",
    "1234567890",
    "123456789",
    "12345678",
    "123456",
)
_EASY += ("administrator", "admin", "letmein", "welcome", "changeme", "iloveyou", "calcinosis", "hospital")
# Different characters that have to be left.
_VARIETY = 6
# One try takes 128 MB: a process works on one at a time, and lets the others wait so long (seconds).
_TURN, PATIENCE = threading.BoundedSemaphore(), 10.0


class Cost(msgspec.Struct, frozen=True):
    """What one try costs: scrypt's N, r and p."""

    n: int
    r: int
    p: int


# OWASP Password Storage Cheat Sheet: N = 2^17 (128 MB), r = 8, p = 1.
STRONG = Cost(2**17, 8, 1)


def plain(password: str) -> str:
    """Return a password as it counts, however the keyboard composed its letters (NIST SP 800-63B, NFKC)."""
    return unicodedata.normalize("NFKC", password)


def check(name: str, password: str) -> None:
    """Refuse a password that others would try first. Length is what counts; no rules of composition."""
    chosen = plain(password)
    if not SHORTEST <= len(chosen) <= LONGEST:
        raise Refused(f"A password has {SHORTEST} to {LONGEST} characters.", where="password", slug="bad-password")
    left = chosen.casefold()
    for word in (name.casefold(), *_EASY):
        left = left.replace(word, "")
    if len(set(left)) < _VARIETY:
        raise Refused(
            "This password is too easy to guess.",
            where="password",
            slug="bad-password",
            why="It is the name of the account, a word that everybody tries, or a few characters repeated.",
        )


def sealed(password: str, cost: Cost) -> str:
    """Return what is kept of a password."""
    salt = secrets.token_bytes(16)
    parts = (cost.n, cost.r, cost.p, _text(salt), _text(_scrypt(password, salt, cost)))
    return "$".join(["scrypt", *map(str, parts)])


def nobodys(cost: Cost) -> str:
    """Return what no password matches, and takes as long to find out."""
    return "$".join(["scrypt", *map(str, (cost.n, cost.r, cost.p, _text(bytes(16)), _text(bytes(32))))])


def matches(password: str, kept: str) -> bool:
    """Say whether a password is the one that was kept. Raises Unavailable where too many others are being tried."""
    _, _, _, _, salt, digest = kept.split("$")
    made = _scrypt(password[:LONGEST_TYPED], base64.b64decode(salt), cost_of(kept))
    return hmac.compare_digest(made, base64.b64decode(digest))


def cost_of(kept: str) -> Cost:
    """Return what it cost to make what was kept."""
    _, n, r, p, *_ = kept.split("$")
    return Cost(int(n), int(r), int(p))


def _scrypt(password: str, salt: bytes, cost: Cost) -> bytes:
    typed = plain(password).encode("utf-8", "surrogatepass")
    room = 128 * cost.r * (cost.n + cost.p + 2)
    if not _TURN.acquire(timeout=PATIENCE):
        raise Unavailable("Too many people sign in at once.", slug="busy")
    try:
        return hashlib.scrypt(typed, salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=room, dklen=32)
    finally:
        _TURN.release()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
