"""Addresses that only we can make, and that end: an opaque id, a card's number, a moment, and a signature over them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping

import msgspec

_ID = re.compile(r"[A-Za-z0-9-]{16,64}")
_SIGNATURE = re.compile(r"[A-Za-z0-9_-]{32}")
_NUMBER = re.compile(r"[1-9][0-9]{0,11}")
# Bytes of a signature: nobody finds one of 2**192 by trying.
_LENGTH = 24


class Pointer(msgspec.Struct, frozen=True):
    """What an address points at: a decision by its random id, one of its cards, and until when (seconds, UTC)."""

    decision: str
    card: int
    until: int


class Signer:
    """Signs pointers with HMAC-SHA-256, and recognises its own."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def address(self, base: str, pointer: Pointer) -> str:
        """Return the address of a pointer; it holds nothing that comes from a patient."""
        query = f"card={pointer.card}&until={pointer.until}&signature={self._sign(pointer)}"
        return f"{base}/evidence/{pointer.decision}?{query}"

    def read(self, decision: str, query: Mapping[str, str]) -> Pointer | None:
        """Return the pointer of an address, if it is one of ours, expired or not; else None."""
        card, until, signature = (query.get(name, "") for name in ("card", "until", "signature"))
        if not (_ID.fullmatch(decision) and _NUMBER.fullmatch(card) and _NUMBER.fullmatch(until)):
            return None
        pointer = Pointer(decision, int(card), int(until))
        sound = _SIGNATURE.fullmatch(signature) and hmac.compare_digest(signature, self._sign(pointer))
        return pointer if sound else None

    def _sign(self, pointer: Pointer) -> str:
        text = f"{pointer.decision} {pointer.card} {pointer.until}"
        return self.mac("evidence", text)

    def mac(self, purpose: str, text: str) -> str:
        """Return a keyed digest of a text for one purpose, in the letters of a URL."""
        digest = hmac.digest(self._key, f"{purpose} {text}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest[:_LENGTH]).decode()
