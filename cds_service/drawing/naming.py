"""Facts read back from a record have no words of the chart: here they get those of the catalogue."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from cds_service.facts.model import Diagnosis, Facts, Medication, Procedure
from cds_service.terminology import Terminology

T = TypeVar("T", bound=Diagnosis | Medication | Procedure)


def named(facts: Facts, words: Terminology) -> Facts:
    """Return the facts with the catalogue's name for whatever has none. No verdict depends on names."""

    def filled(found: dict[str, tuple[T, ...]]) -> dict[str, tuple[T, ...]]:
        return {concept: tuple(_named(one, words) for one in items) for concept, items in found.items()}

    return msgspec.structs.replace(
        facts,
        diagnoses=filled(facts.diagnoses),
        medications=filled(facts.medications),
        past_medications=filled(facts.past_medications),
        procedures=filled(facts.procedures),
        memo={},
    )


def _named(one: T, words: Terminology) -> T:
    if one.display or not words.kind(one.concept):
        return one
    return msgspec.structs.replace(one, display=words.label(one.concept))
