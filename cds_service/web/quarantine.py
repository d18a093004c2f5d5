"""A rule that does nothing but fail is not asked any more, until the content is loaded anew."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from cds_service.rules.book import RuleBook
from cds_service.rules.model import Outcome

log = logging.getLogger("cds_service")
# So often in a row, in one process: a rule that fails on some patients and speaks for others goes on speaking.
IN_A_ROW = 20
WHY = "this rule failed again and again, and is not asked until the rules are loaded anew"


class Quarantine:
    """The rules of the book in force that failed too often in a row."""

    def __init__(self) -> None:
        self._book: RuleBook | None = None
        self._failed: dict[str, int] = {}
        self._held: dict[str, str] = {}

    def rules(self, book: RuleBook) -> Mapping[str, str]:
        """Return the rules of a book that are not to be asked, and why; another book begins with none."""
        if book is not self._book:
            self._book, self._failed, self._held = book, {}, {}
        return self._held

    def learn(self, outcomes: Iterable[Outcome]) -> None:
        """Take note of how the rules of one call ended."""
        for outcome in outcomes:
            rule = outcome.rule.id
            if not outcome.failed:
                if self._failed:
                    self._failed.pop(rule, None)
                continue
            self._failed[rule] = self._failed.get(rule, 0) + 1
            if self._failed[rule] == IN_A_ROW:
                self._held = {**self._held, rule: WHY}
                fields = {"event": "quarantine", "rules": [rule], "kind": outcome.failed}
                log.error("quarantine", extra={"fields": fields})
