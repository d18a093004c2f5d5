"""How one kind of EHR differs from the standard, as data (../hooks/clients/*.yaml)."""

from __future__ import annotations

import msgspec

from cds_service.protocol.cards import Coding


class Profile(msgspec.Struct, frozen=True):
    """
    What a client supports; the defaults are CDS Hooks 2.0.1, and change nothing.

    ``selection`` are the values of selectionBehavior it accepts, the preferred one first (none: the member is left
    out); ``one_action`` says that a suggestion may have one action only. ``links`` are the types of links it shows,
    ``listed_links`` the paths of ours that were registered with it (none: no list is kept). ``omits`` are members of
    a card that it does not know.

    ``detail_type`` is how it renders the detail of a card, ``detail_extension`` the member that tells it so, and
    ``line_length`` where lines are broken (0: never). ``label_limit`` is the longest label of a button or link,
    ``card_limit`` how many cards it shows (0: as the service says).

    ``code_systems`` are its own names of code systems, by what they mean here. ``spelling`` is how it wants a code
    system written in suggestions, ``own_codes`` its own code of what we suggest, both by our URI (and code).
    ``override_reasons`` are its own codes of our reasons. Feedback needs nothing here: every spelling is read.
    """

    name: str = "standard"
    selection: tuple[str, ...] = ("any", "at-most-one")
    one_action: bool = False
    links: tuple[str, ...] = ("absolute", "smart")
    listed_links: tuple[str, ...] = ()
    app_context: bool = True
    omits: tuple[str, ...] = ()
    detail_type: str = "text/markdown"
    detail_extension: str = ""
    line_length: int = 0
    label_limit: int = 0
    card_limit: int = 0
    code_systems: dict[str, str] = {}
    spelling: dict[str, str] = {}
    own_codes: dict[tuple[str, str], Coding] = {}
    override_reasons: dict[str, Coding] = {}

    def most_cards(self, limit: int) -> int:
        """Return how many cards may show where a service allows so many."""
        return min(limit, self.card_limit) if self.card_limit else limit


STANDARD = Profile()
