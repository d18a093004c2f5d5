"""Clinicians' comments: those with words that often tell of a broken rule first, each group newest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from cds_service.insight.counting import CardSeen
from cds_service.insight.events import Answer
from cds_service.terminology.concepts import word_pattern

MOST_WORDS, LONGEST_WORD = 500, 60


class Comment(msgspec.Struct, frozen=True):
    """A comment: its words, those of them that stand in the list, and the card it was written to, where it is known."""

    text: str
    hits: tuple[str, ...]
    answer: Answer
    card: CardSeen | None = None

    @property
    def parts(self) -> list[tuple[str, bool]]:
        """Return the text in pieces, each with whether it is one of the words."""
        pattern = word_pattern(self.hits)
        pieces = pattern.split(self.text) if pattern else [self.text]
        return [(piece, bool(place % 2)) for place, piece in enumerate(pieces) if piece]


def read_words(text: str) -> tuple[str, ...]:
    """Read a list of words: one word or phrase a line; lines that begin with # are remarks."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    words = [line.casefold() for line in lines if line and not line.startswith("#") and len(line) <= LONGEST_WORD]
    return tuple(dict.fromkeys(words))[:MOST_WORDS]


def ranked(answers: Iterable[Answer], cards: dict[str, CardSeen], words: Sequence[str]) -> list[Comment]:
    """Return the comments, those with a word of the list first, each group newest first."""
    pattern, found = word_pattern(tuple(words)), []
    for answer in answers:
        if answer.comment.strip():
            hits = pattern.findall(answer.comment) if pattern else ()
            named = tuple(dict.fromkeys(hit.casefold() for hit in hits))
            found.append(Comment(answer.comment, named, answer, cards.get(answer.card)))
    return sorted(found, key=lambda one: (not one.hits, -one.answer.at, -one.answer.number))
