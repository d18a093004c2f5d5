"""Adding a site's codes to the concepts: each is checked, and none changes what another code means."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import msgspec

from cds_service.errors import ContentError
from cds_service.terminology.book import Terminology
from cds_service.terminology.codes import check_digit_holds
from cds_service.terminology.concepts import Match
from cds_service.terminology.meaning import Index, Row
from cds_service.terminology.site import Addition

# Which of our systems can code which kind of thing. A local system may code any.
SYSTEMS = {
    "measurement": ("LOINC", "SNOMED CT"),
    "diagnosis": ("SNOMED CT", "ICD-10-CM", "ICD-10"),
    "medication": ("RxNorm", "ATC", "NDC", "SNOMED CT"),
    "procedure": ("SNOMED CT", "LOINC"),
}


def extend(words: Terminology, additions: Iterable[Addition]) -> None:
    """
    Add a site's codes to a terminology that was just loaded.

    A code that its concept has already stays as it is: a shared (generic) code does not become sufficient by being
    named again. Raises ContentError, with the file and line of the code, for one that cannot mean the concept.
    """
    given = tuple(additions)
    _add_systems(words, given)
    places: dict[tuple[str, str, str], str] = {}
    for one in given:
        kind = _kind(words, one)
        named = msgspec.structs.replace(one, system=_system(words, one))
        _check_code(named, kind)
        for concept in (named.concept, *_whole(words, named.concept)):
            _add(words, msgspec.structs.replace(named, concept=concept), kind, places)


def _add_systems(words: Terminology, additions: Iterable[Addition]) -> None:
    """Let systems that are none of ours be known by their URI."""
    local = {one.system for one in additions if words.systems.name(one.system) is None and _is_uri(one.system)}
    if local:
        words.systems = words.systems.with_systems(local)


def _is_uri(system: str) -> bool:
    return system.startswith(("http://", "https://", "urn:"))


def _system(words: Terminology, one: Addition) -> str:
    name = one.system if one.system in words.systems.names() else words.systems.name(one.system)
    if name is None:
        raise _wrong(
            one,
            f'"{one.system}" is no code system.',
            "unknown-system",
            f"Write a URI (http://..., urn:...), or one of: {', '.join(words.systems.names())}.",
        )
    return name


def _kind(words: Terminology, one: Addition) -> str:
    if one.concept in words.groups:
        members = ", ".join(words.members(one.concept))
        raise _wrong(one, f'"{one.concept}" is a group.', "group-not-allowed", f"Name one of: {members}.")
    kind = words.kind(one.concept)
    if kind is None:
        close = difflib.get_close_matches(one.concept, [*words.analytes, *words.concepts], n=1)
        hint = f' Did you mean "{close[0]}"?' if close else ""
        raise _wrong(
            one, f'There is no concept "{one.concept}".{hint}', "unknown-concept", "cds-service concepts lists them."
        )
    return kind


def _check_code(one: Addition, kind: str) -> None:
    if not one.code or len(one.code) > 200:
        raise _wrong(one, "The code is empty or too long.", "bad-code")
    if not _is_uri(one.system) and one.system not in SYSTEMS[kind]:
        raise _wrong(
            one,
            f'{one.system} does not code a {kind}, and "{one.concept}" is one.',
            "wrong-kind",
            f"For a {kind}: {', '.join(SYSTEMS[kind])}, or a system of your own.",
        )
    if not check_digit_holds(one.system, one.code):
        raise _wrong(one, f"{one.system} {one.code} is mistyped: its check digit is wrong.", "check-digit")
    if one.route and kind != "medication":
        raise _wrong(one, f'"{one.concept}" is a {kind}: it has no route.', "wrong-kind")


def _whole(words: Terminology, concept: str) -> tuple[str, ...]:
    """Return the concept that this one is a part of: what is warfarin is a vitamin K antagonist too."""
    whole = words.concepts[concept].whole if concept in words.concepts else ""
    return (whole,) if whole else ()


def _add(words: Terminology, one: Addition, kind: str, places: dict[tuple[str, str, str], str]) -> None:
    index = words.indexes[kind]
    rows = tuple(index.rows(one.system, one.code))
    if any(row.match.concept == one.concept for row in rows):
        return
    _check_conflict(words, index, one, rows, places)
    how = "product" if one.route or one.ingredients > 1 else "code"
    match = Match(one.concept, how, one.system, one.code, one.route, one.ingredients)
    if one.system == "ATC":
        index.add_block(one.system, one.code, Row(match))
    else:
        index.add(one.system, one.code, Row(match))
    places[one.system, one.code, one.concept] = one.where
    words.codes[one.concept] = (*words.codes[one.concept], (one.system, one.code))
    words.additions = (*words.additions, one)


def _check_conflict(
    words: Terminology,
    index: Index,
    one: Addition,
    rows: tuple[Row, ...],
    places: dict[tuple[str, str, str], str],
) -> None:
    related = {*_whole(words, one.concept), *(name for name in words.concepts if one.concept in _whole(words, name))}
    others = sorted({row.match.concept for row in rows if not row.generic} - related)
    excluded = [name for name in others if name in index.excluded]
    if others and (one.concept in words.analytes or excluded or not one.shared):
        place = places.get((one.system, one.code, others[0]))
        said = f" ({place})" if place else ""
        more = "" if one.concept in words.analytes or excluded else " Where it truly means both, say shared."
        raise _wrong(
            one,
            f'{one.system} {one.code} means "{others[0]}" already{said}; it cannot mean "{one.concept}" too.',
            "code-conflict",
            f"Take it out of the table, or name it under leave_out of the value set.{more}",
        )
    if rows and not others and all(row.generic for row in rows):
        raise _wrong(
            one,
            f'{one.system} {one.code} also covers other diseases: by itself it cannot mean "{one.concept}".',
            "generic-code",
            "Take it out of the table, or name it under leave_out of the value set.",
        )


def _wrong(one: Addition, what: str, slug: str, remedy: str = "") -> ContentError:
    return ContentError(what, where=one.where, slug=slug, remedy=remedy)
