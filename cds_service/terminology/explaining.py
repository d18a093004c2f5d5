"""What a code or a text would match, and why: for the person who wonders why a record does or does not count."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

import msgspec

from cds_service.terminology.book import Terminology
from cds_service.terminology.codes import icd_key
from cds_service.terminology.concepts import affirmed
from cds_service.terminology.listing import Listed
from cds_service.terminology.meaning import ICD, Index, Row

KINDS = ("measurement", "diagnosis", "procedure", "medication")
SYSTEMIC = ("oral", "injection", "rectal")
NEAREST = 3


class Finding(msgspec.Struct, frozen=True):
    """One thing that a code or text could mean. ``counts`` says whether a record that holds it counts, by itself."""

    kind: str
    concept: str
    counts: bool
    why: str


def of_code(
    words: Terminology, listed: Iterable[Listed], code: str, system: str | None = None, kind: str | None = None
) -> list[Finding]:
    """Say what a code means, in the system that is named, or in whichever has it."""
    rows = tuple(listed)
    systems = [system] if system else words.systems.names()
    found = [
        one
        for each in ([kind] if kind else KINDS)
        for name in systems
        for one in _rows(words, rows, words.indexes[each], each, name, code)
    ]
    also = [one for one in _idle(rows, code, systems) if not kind or one.kind in (kind, "order")]
    return found + [one for one in also if (one.kind, one.concept) not in {(seen.kind, seen.concept) for seen in found}]


def _rows(
    words: Terminology, listed: tuple[Listed, ...], index: Index, kind: str, system: str, code: str
) -> Iterator[Finding]:
    """Yield what an index makes of a code; the first row of a concept is the one that counts."""
    rows = tuple(index.rows(system, code))
    excluded = any(row.match.concept in index.excluded for row in rows)
    seen: set[str] = set()
    for row in rows:
        concept = row.match.concept
        if concept in seen:
            continue
        seen.add(concept)
        counts, why = _judged(words, index, kind, row)
        if excluded:
            counts, why = False, "a family history code: it never counts for the patient"
        yield Finding(kind, concept, counts, f"{_source(listed, row, system, code)}{why}")


def _source(listed: tuple[Listed, ...], row: Row, system: str, code: str) -> str:
    """Say which entry of the content it was: the listed code, a block, a class, a product, or a code of the site."""
    key = (row.match.concept, row.match.system, _key(system, row.match.code))
    one = next((each for each in listed if (each.concept, each.system, _key(system, each.code)) == key), None)
    if one is None:
        return f"listed code of {system}; "
    named = {"block": f"in the block {one.code}", "class": f"in the ATC class {one.code}", "site": "added by the site"}
    beneath = _key(system, code) != _key(system, one.code)
    said = named.get(one.how, "listed code") if one.how != "class" or beneath else "listed class"
    return f'{said} of {one.system}, "{one.display}" (read in: {one.verified}); '


def _judged(words: Terminology, index: Index, kind: str, row: Row) -> tuple[bool, str]:
    if row.generic:
        return False, _needs_words(words, index, row)
    if kind != "medication":
        return True, "it counts"
    concept, match = words.concepts[row.match.concept], row.match
    allowed = concept.routes or SYSTEMIC
    said = f"route {match.route}, " if match.route else ""
    said += f"{match.ingredients} ingredient{'s' if match.ingredients > 1 else ''}" if match.how == "product" else ""
    if match.route and match.route not in allowed:
        return False, f"{said}: only {' or '.join(allowed)} counts"
    if match.ingredients > concept.max_ingredients:
        return False, f"{said}: at most {concept.max_ingredients} count (a mix or a multivitamin is no such order)"
    unless = "" if match.route else f", unless the order says another route than {' or '.join(allowed)}"
    return True, f"{said}: it counts{unless}" if said else f"it counts{unless}"


def _needs_words(words: Terminology, index: Index, row: Row) -> str:
    """Say which wording confirms a shared code, if any does."""
    if row.confirm is None and row.match.concept not in index.text:
        return "generic: other diseases share it, and no wording confirms it, so it never counts"
    said = ", ".join(words.concepts[row.match.concept].text[:4])
    site = ", or the body site that goes with it" if row.confirm else ""
    return f"generic: other diseases share it, so it counts only with words such as: {said}{site}"


def _idle(listed: tuple[Listed, ...], code: str, systems: list[str]) -> Iterator[Finding]:
    """Yield where a code is known without meaning anything in a record."""
    for one in listed:
        if one.system not in systems or _key(one.system, one.code) != _key(one.system, code):
            continue
        if one.how == "order":
            why = f'"{one.display}" ({one.system}) is what cards order "{one.concept}" by; no rule reads it in a record'
            yield Finding("order", one.concept, False, why)
        elif one.how == "unverified":
            why = f"unverified: nobody has read what {one.system} {one.code} is, so it never counts; its name does"
            yield Finding(one.kind, one.concept, False, why)


def nearest(listed: Iterable[Listed], code: str, systems: Iterable[str] = ()) -> list[Listed]:
    """Return the codes that look most like one that nobody knows: a digit left out, two swapped."""
    asked = set(systems)
    known = {icd_key(one.code): one for one in listed if not asked or one.system in asked}
    return [known[key] for key in difflib.get_close_matches(icd_key(code), known, n=NEAREST, cutoff=0.75)]


# --- texts -----------------------------------------------------------------------------------------------------------


def of_text(words: Terminology, text: str, kind: str | None = None) -> list[Finding]:
    """Say what a text without a code we know would mean."""
    found = []
    for each in [kind] if kind else KINDS:
        index = words.indexes[each]
        for concept, pattern in index.text.items():
            hit = pattern.search(text)
            if hit:
                found.append(_said(index, each, concept, hit.group(0), text))
    return found


def _said(index: Index, kind: str, concept: str, name: str, text: str) -> Finding:
    other, local = index.unless.get(concept), index.local_words
    stop = other.search(text) if other else None
    place = local.search(text) if local else None
    if not affirmed(index.text[concept], text):
        return Finding(kind, concept, False, f'it names "{name}", but denies it, doubts it, or speaks of the past')
    if not (index.names_suffice or concept in index.named):
        why = f'"{name}" confirms a generic code of it; a {kind} in words alone is no evidence'
        return Finding(kind, concept, False, why)
    if stop:
        return Finding(kind, concept, False, f'it names "{name}", but "{stop.group(0)}" says that it is something else')
    if place:
        return Finding(kind, concept, False, f'it names "{name}", but "{place.group(0)}" is local use, not systemic')
    if kind == "medication":
        return Finding(kind, concept, True, f'by the name "{name}": said on the card, and never critical by itself')
    return Finding(kind, concept, True, f'by the name "{name}": no code of it is verified')


def nearest_names(words: Terminology, text: str, kind: str | None = None) -> list[str]:
    """Return the names that look most like a text that names nothing."""
    names = [
        name.casefold() for one in words.concepts.values() if kind in (None, one.kind) for name in (one.name, *one.text)
    ]
    return difflib.get_close_matches(text.casefold(), dict.fromkeys(names), n=NEAREST, cutoff=0.7)


def _key(system: str, code: str) -> str:
    return icd_key(code) if system in ICD else code.strip()
