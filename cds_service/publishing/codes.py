"""The codes that mean a concept, as they are matched: exact codes, blocks, and those that never suffice alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from cds_service.facts.medications import SYSTEMIC
from cds_service.rules.model import Rule
from cds_service.terminology import Terminology
from cds_service.terminology.meaning import Row

CODE, BLOCK = "code", "block"


class Note(msgspec.Struct, frozen=True):
    """What the content says of a code besides its meaning: its name, where it was read, and its condition."""

    display: str = ""
    verified: str = ""
    only_with: str = ""


# By concept, system and code, or prefix of a block.
Notes = Mapping[tuple[str, str, str], Note]
_NO_NOTE = Note()


class Code(msgspec.Struct, frozen=True, order=True):
    """
    A code of a concept.

    ``shape`` is an exact code, or a block: every code that begins with it. One that is not ``alone`` covers other
    things too, and counts only with wording that names the concept, or with what ``note.only_with`` names.
    """

    system: str
    shape: str
    code: str
    concept: str
    alone: bool
    route: str = ""
    note: Note = _NO_NOTE


def codes_of(words: Terminology, concepts: Iterable[str], notes: Notes) -> dict[str, tuple[Code, ...]]:
    """Return the codes that mean each concept, in a steady order; a concept that has only words has none."""
    found: dict[str, set[Code]] = {name: set() for name in concepts}
    for index in words.indexes.values():
        for shape, table in ((CODE, index.exact), (BLOCK, index.blocks)):
            for rows in table.values():
                for row in rows:
                    if row.match.concept in found and _counts(words, row):
                        found[row.match.concept].add(_code(row, shape, notes))
    return {name: tuple(sorted(codes)) for name, codes in found.items()}


def _counts(words: Terminology, row: Row) -> bool:
    """Leave products out that no rule counts: by their route, or among too many other ingredients (KNOWLEDGE 3.1)."""
    concept, match = words.concepts.get(row.match.concept), row.match
    if concept is None or concept.kind != "medication":
        return True
    wrong_route = match.route and match.route not in (concept.routes or SYSTEMIC)
    return not wrong_route and match.ingredients <= concept.max_ingredients


def _code(row: Row, shape: str, notes: Notes) -> Code:
    match = row.match
    note = notes.get((match.concept, match.system, match.code), _NO_NOTE)
    alone = not row.generic and not note.only_with
    return Code(match.system, shape, match.code, match.concept, alone, match.route, note)


def concepts_of(rule: Rule, words: Terminology) -> tuple[str, ...]:
    """Return the concepts that a rule reads, shows or asks of an order, in a steady order."""
    named = rule.reads | rule.helps | rule.orders | frozenset(rule.about_order)
    return tuple(sorted(name for name in named if words.kind(name)))
