"""Where the rule book in force lies: the files, with the decisions of admins laid over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from threading import Lock

from cds_service.errors import ContentError
from cds_service.rules.book import RuleBook, load_book
from cds_service.rules.tuning import Tuning, tuned, unfit


class Shelf:
    """
    The book in force, replaced whole by one assignment; a broken book never replaces a good one.

    ``base`` is the book of the files, ``book`` the same with the decisions of admins. ``unfit`` are the decisions that
    these files refuse, and why: they are not in force, and somebody has to look at them.
    """

    def __init__(self, book: RuleBook) -> None:
        self.base = self.book = book
        self.stale: ContentError | None = None
        self.unfit: tuple[tuple[Tuning, str], ...] = ()
        self._decided: tuple[Tuning, ...] = ()
        self._day: date | None = None
        self._lock = Lock()

    def reload(self, content: Path, site: str = "", check: Callable[[RuleBook], None] = lambda _book: None) -> bool:
        """Load the content anew; on any error, also one of ``check``, keep the book in force and remember the error."""
        try:
            new = load_book(content, site)
            check(new)
            with self._lock:
                self._lay(new, self._decided, self._day)
            self.stale = None
        except ContentError as failure:
            self.stale = failure
        except Exception as failure:  # noqa: BLE001 - content of any shape must not take the book in force away
            self.stale = ContentError(f"The content cannot be read ({type(failure).__name__}).", where=content.name)
        return self.stale is None

    def apply(self, decided: Sequence[Tuning], today: date) -> None:
        """Lay these decisions over the files, in their order, as of a day (UTC); nothing is done where all is so."""
        with self._lock:
            if (tuple(decided), today) != (self._decided, self._day):
                self._lay(self.base, tuple(decided), today)

    def _lay(self, base: RuleBook, decided: tuple[Tuning, ...], day: date | None) -> None:
        self.book = tuned(base, decided, day) if decided and day else base
        self.base, self.unfit = base, tuple(unfit(base, decided))
        self._decided, self._day = decided, day
