"""Which of the codes that mean nothing to the rules are worded like something that the rules read."""

from __future__ import annotations

import re

from cds_service.facts import model
from cds_service.rules.book import RuleBook
from cds_service.rules.needs import concepts

# What a resource may be about, and so which of our words its wording may resemble.
_KINDS = {
    model.LABS: "measurement",
    model.CONDITIONS: "diagnosis",
    model.MEDICATIONS: "medication",
    model.STATEMENTS: "medication",
    model.PROCEDURES: "procedure",
}
_NOT_A_WORD = re.compile(r"[^a-z0-9]+")


class Likeness:
    """
    The names of everything that the rules read.

    A code worded like one of them is for a terminologist to look at; it is never counted as that.
    """

    def __init__(self, book: RuleBook) -> None:
        words = book.terminology
        self._phrases: dict[tuple[str, str], str] = {}
        for name in concepts(book.rules.values()):
            known = words.concepts.get(name)
            for text in (words.label(name), *(known.text if known else ())):
                self._phrases.setdefault((words.kind(name) or "", _plain(text)), name)

    def of(self, kind: str, wording: str) -> str:
        """Return the concept that the wording of a kind of resource resembles, or ""."""
        plain = _plain(wording)
        found = [key for key in self._phrases if key[0] == _KINDS.get(kind) and key[1] in plain]
        return self._phrases[max(found, key=lambda key: len(key[1]))] if found else ""


def _plain(text: str) -> str:
    """Return the words of a text between blanks, so that whole words can be found in it."""
    return f" {_NOT_A_WORD.sub(' ', text.casefold()).strip()} "
