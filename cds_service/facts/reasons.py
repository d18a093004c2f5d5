"""What a medicine was ordered for: the diagnoses that its reasonCode and reasonReference mean."""

from __future__ import annotations

from cds_service import decoding
from cds_service.facts.conditions import NOT_A_DIAGNOSIS, code_of
from cds_service.facts.loosely import decoded, elements
from cds_service.facts.records import Record, Reference, present
from cds_service.facts.shared import Desk, codings_of
from cds_service.terminology.concepts import affirmed, word_pattern

_references = decoding.decoder(list[Reference])
_record = decoding.decoder(Record)
# A reason is often written in words only; only this one is asked for (KNOWLEDGE 5.1, CC-29).
BY_NAME, CALCINOSIS = "calcinosis-cutis", word_pattern(("calcinosis", "calcinosis cutis"))


def reasons_of(record: Record, desk: Desk) -> tuple[str, ...]:
    """Return the diagnoses, by concept, that an order names as its reasons; most orders name none."""
    if not (present(record.reasonCode) or present(record.reasonReference)):
        return ()
    codes = [bytes(one) for one in elements(record.reasonCode)]
    codes += [bytes(one.code) for one in _conditions(record, desk) if code_of(one.verificationStatus) not in _NOT]
    return tuple(dict.fromkeys(concept for code in codes for concept in _meant(code, desk)))


_NOT = NOT_A_DIAGNOSIS | {"?"}


def _meant(code: bytes, desk: Desk) -> list[str]:
    found = [match.concept for match in desk.reader.diagnoses(code).matches]
    codings, text = codings_of(code)
    words = " ; ".join(filter(None, [text, *(one.display for one in codings)]))
    return found if found or CALCINOSIS is None or not affirmed(CALCINOSIS, words) else [BY_NAME]


def _conditions(record: Record, desk: Desk) -> list[Record]:
    """Return the Conditions that reasonReference refers to, in what was sent; nothing is fetched."""
    named = [one.reference for one in decoded(record.reasonReference, _references) or () if one.reference]
    found = [_inside(record, one[1:]) if one.startswith("#") else desk.find(one) for one in named]
    return [one for one in found if one is not None and one.resourceType == "Condition"]


def _inside(record: Record, identifier: str) -> Record | None:
    inside = (decoded(raw, _record) for raw in elements(record.contained))
    return next((one for one in inside if one is not None and one.id == identifier), None)
