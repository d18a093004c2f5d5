"""What admins may be refused, besides what is wrong with a tuning itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cds_service.errors import CdsError

if TYPE_CHECKING:
    from cds_service.adapters.governance.changes import Change


class Refused(CdsError):
    """It may not be done, or not by this person (403)."""

    slug = "refused"


class Conflict(CdsError):
    """Somebody else decided the same thing meanwhile (409); ``current`` is what they decided."""

    slug = "conflict"

    def __init__(self, current: Change) -> None:
        super().__init__(
            "Somebody else has changed this meanwhile.",
            where=current.tuning.place,
            why=f"Change {current.number} was made by {current.tuning.who} after this page was opened.",
            remedy="Look at both, and decide again.",
        )
        self.current = current


def clean(text: str) -> str:
    """Return a text without what no database stores (NUL, half a character) and no page shows (control characters)."""
    whole = text.encode("utf-8", "replace").decode()
    return "".join(one for one in whole if one in "\n\t" or one.isprintable() or one == "\u00a0")
