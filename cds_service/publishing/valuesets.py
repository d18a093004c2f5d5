"""The ValueSets of the concepts that rules read: codes by system, blocks as filters, verification carried along."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from cds_service.publishing import fhir
from cds_service.publishing.codes import BLOCK, Code
from cds_service.publishing.fhir import Edition, Json
from cds_service.terminology import Terminology

NOT_ALONE = "-not-alone"
_COPYRIGHT = {
    "SNOMED CT": "SNOMED CT needs an affiliate licence (in the US free by way of the NLM).",
    "LOINC": "LOINC is free, with attribution to the Regenstrief Institute.",
    "RxNorm": "RxNorm is free, with attribution to the US National Library of Medicine.",
    "ATC": "ATC is copyright of the WHO, with limits to commercial use.",
}


def valuesets(concept: str, codes: Sequence[Code], words: Terminology, edition: Edition) -> Iterator[Json]:
    """Yield the ValueSet of the codes that suffice, and one of the codes that never suffice alone, if there are any."""
    label = words.label(concept)
    alone, not_alone = [one for one in codes if one.alone], [one for one in codes if not one.alone]
    if alone:
        yield _valueset(concept, label, f"Codes that mean: {label}.", alone, words, edition)
    if not_alone:
        said = (
            f"Codes that cover other things besides: {label}. None of them suffices: each counts only with wording in "
            "the record that names it, or with what its extension names. Never use this set by itself."
        )
        yield _valueset(f"{concept}{NOT_ALONE}", f"{label}: never alone", said, not_alone, words, edition)


def identifiers(concept: str, codes: Sequence[Code]) -> list[str]:
    """Return the ids of the ValueSets that a concept has."""
    alone = [concept] if any(one.alone for one in codes) else []
    return [*alone, f"{concept}{NOT_ALONE}"] if any(not one.alone for one in codes) else alone


def _valueset(
    identifier: str, title: str, description: str, codes: Sequence[Code], words: Terminology, edition: Edition
) -> Json:
    systems = dict.fromkeys(one.system for one in codes)
    return fhir.known(
        resourceType="ValueSet",
        id=identifier,
        url=fhir.canonical("ValueSet", identifier),
        version=edition.version,
        name=fhir.machine_name(identifier),
        title=title,
        status="active",
        experimental=False,
        date=edition.day.isoformat(),
        publisher=edition.publisher,
        description=f"{description} Where each code was read stands in an extension; check them before use.",
        copyright=" ".join(_COPYRIGHT[system] for system in systems if system in _COPYRIGHT),
        compose={"include": list(_includes(codes, words))},
    )


def _includes(codes: Sequence[Code], words: Terminology) -> Iterator[Json]:
    """Yield the exact codes of a system together, each block by itself: filters of one include narrow each other."""
    for (system, shape), group in groupby(codes, lambda one: (one.system, one.shape)):
        uri = words.systems.uri(system)
        if shape == BLOCK:
            yield from (_block(one, uri) for one in group)
        else:
            yield {"system": uri, "concept": [_concept(one) for one in group]}


def _concept(one: Code) -> Json:
    return fhir.known(extension=_marks(one), code=one.code, display=one.note.display)


def _block(one: Code, uri: str) -> Json:
    """Return a block: a category of ICD-10-CM or ATC with all that is below it. We match it by prefix, and say so."""
    return {
        "extension": [*fhir.extension(fhir.PREFIX, one.code), *_marks(one)],
        "system": uri,
        "filter": [{"property": "concept", "op": "is-a", "value": one.code}],
    }


def _marks(one: Code) -> list[Json]:
    only_with = one.note.only_with or ("" if one.alone else "wording that names it")
    return [*fhir.extension(fhir.VERIFICATION, one.note.verified), *fhir.extension(fhir.CONDITION, only_with)]
