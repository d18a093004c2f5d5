"""Where a call says that its patient's record can be read."""

from __future__ import annotations

import msgspec


class Access(msgspec.Struct, frozen=True):
    """
    The EHR's FHIR server, and a token for it that is good for this call only.

    ``seconds`` is how long the token said it would live. The token is never shown, logged or kept.
    """

    server: str
    token: str = ""
    seconds: float | None = None

    def __repr__(self) -> str:
        """Show neither address nor token."""
        return "Access(...)"
