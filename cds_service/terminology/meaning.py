"""What a coded or worded concept in a record means: the step from codes to the words that rules use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import msgspec

from cds_service.terminology.codes import CodeSystems, Coding, icd_key, prefixes
from cds_service.terminology.concepts import Match, affirmed

NOT_OURS = "not-ours"
NO_SYSTEM = "code-without-system"
AMBIGUOUS = "ambiguous-code"
FAMILY_HISTORY = "family-history"
ICD = ("ICD-10-CM", "ICD-10")


class Meaning(msgspec.Struct, frozen=True, gc=False):
    """
    The concepts that a coded element means; where there are none, ``reason`` says why.

    ``display`` are the words the record uses for it: its text, or the display of its first coding that has one.
    """

    matches: tuple[Match, ...] = ()
    reason: str = ""
    seen: tuple[tuple[str, str], ...] = ()
    display: str = ""


class Row(msgspec.Struct, frozen=True, gc=False):
    """
    One entry of an index: the concept that a code means, and whether the code is shared with other diseases.

    A shared code counts with wording that confirms it: that of its concept, or ``confirm`` where it has its own.
    """

    match: Match
    generic: bool = False
    confirm: re.Pattern[str] | None = None


class Index(msgspec.Struct):
    """
    The codes of one kind of concept (diagnoses, say): exact codes, ICD-10-CM blocks, and wording.

    ``names_one_thing`` says that two codes of one system contradict each other if they share no concept: a result
    is of one test, an order of one medication, while a diagnosis may be coded from several sides.
    ``named`` are the concepts without a verified code, which are recognised by their name alone (``names_suffice``:
    all are).
    """

    exact: dict[tuple[str, str], list[Row]] = {}
    blocks: dict[tuple[str, str], list[Row]] = {}
    text: dict[str, re.Pattern[str]] = {}
    names_suffice: bool = False
    names_one_thing: bool = False
    unless: dict[str, re.Pattern[str]] = {}
    local_words: re.Pattern[str] | None = None
    excluded: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()

    def add(self, system: str, code: str, row: Row) -> None:
        """Add an exact code."""
        self.exact.setdefault((system, _key(system, code)), []).append(row)

    def add_block(self, system: str, prefix: str, row: Row) -> None:
        """Add a block: every code that begins with the prefix."""
        self.blocks.setdefault((system, _key(system, prefix)), []).append(row)

    def rows(self, system: str, code: str) -> Iterable[Row]:
        """Yield what a code means: itself, then the blocks it belongs to."""
        key = _key(system, code)
        yield from self.exact.get((system, key), ())
        if system in ("ICD-10-CM", "ATC"):
            for prefix in prefixes(key):
                yield from self.blocks.get((system, prefix), ())


def _key(system: str, code: str) -> str:
    return icd_key(code) if system in ICD else code.strip()


def read_meaning(index: Index, systems: CodeSystems, codings: Sequence[Coding | None], text: str | None) -> Meaning:
    """
    Say what a CodeableConcept means.

    A generic code (one that also covers other diseases) counts only with wording that confirms it; a name alone
    counts only where the index allows it (medications, and what has no verified code), and is marked so.
    """
    found: dict[str, Match] = {}
    seen: list[tuple[str, str]] = []
    agreed: dict[str, set[str]] = {}
    words = " ; ".join(filter(None, [text, *(coding.display for coding in codings if coding)]))
    nameless = False
    for coding in codings:
        if coding is None or not coding.code:
            continue
        system = systems.name(coding.system)
        nameless = nameless or not coding.system
        seen.append((system or coding.system or "", coding.code))
        if system:
            rows = tuple(index.rows(system, coding.code))
            _collect(found, index, rows, words)
            _agree(agreed, system, rows)
    if index.names_one_thing and not all(agreed.values()):
        return Meaning(reason=AMBIGUOUS, seen=tuple(seen))
    if not found and (index.names_suffice or index.named):
        _collect_names(found, index, words)
        if len(found) > 1 and not index.names_suffice:
            return Meaning(reason=AMBIGUOUS, seen=tuple(seen))
    if index.excluded & found.keys():
        return Meaning(reason=FAMILY_HISTORY, seen=tuple(seen))
    if found:
        return Meaning(matches=tuple(found.values()), seen=tuple(seen))
    return Meaning(reason=NO_SYSTEM if nameless else NOT_OURS, seen=tuple(seen))


def _agree(agreed: dict[str, set[str]], system: str, rows: Iterable[Row]) -> None:
    """Keep, for each system, the concepts that all of its codes agree on."""
    concepts = {row.match.concept for row in rows}
    if concepts:
        agreed[system] = agreed.get(system, concepts) & concepts


def _collect(found: dict[str, Match], index: Index, rows: Iterable[Row], words: str) -> None:
    for row in rows:
        concept = row.match.concept
        if not row.generic:
            found.setdefault(concept, row.match)
        elif confirmed(index, row, words):
            found.setdefault(concept, msgspec.structs.replace(row.match, how="text"))


def confirmed(index: Index, row: Row, words: str) -> bool:
    """Say whether the wording of a record confirms a code that other diseases share."""
    pattern = row.confirm or index.text.get(row.match.concept)
    return pattern is not None and affirmed(pattern, words)


def _collect_names(found: dict[str, Match], index: Index, words: str) -> None:
    if not words or (index.local_words and index.local_words.search(words)):
        return
    for concept, pattern in index.text.items():
        if not (index.names_suffice or concept in index.named):
            continue
        other = index.unless.get(concept)
        if affirmed(pattern, words) and not (other and other.search(words)):
            found[concept] = Match(concept=concept, how="name")


class Remembered(msgspec.Struct):
    """
    A bounded memory of what code elements mean, keyed by their bytes.

    Laboratories repeat the same few code elements thousands of times; reading each once is most of the speed.
    """

    read: Callable[[bytes], Meaning]
    kept: dict[bytes, Meaning] = {}
    limit: int = 4096

    def __call__(self, raw: bytes) -> Meaning:
        """Return the meaning of a code element given as JSON bytes."""
        meaning = self.kept.get(raw)
        if meaning is None:
            meaning = self.read(raw)
            if len(self.kept) >= self.limit:
                self.kept.clear()
            if len(raw) < 4096:
                self.kept[bytes(raw)] = meaning
        return meaning
