"""Whether the specimen of a result is said to be hemolysed (KNOWLEDGE 2.2: phosphate and potassium are unusable)."""

from __future__ import annotations

import re

from cds_service.facts.records import Lab

_MENTION = re.compile(rb"h(?:a)?emoly[sz]\w*", re.IGNORECASE)
# Directly before the word: "no", "not visibly", "without any evidence of", "negative for", "non-". Every repetition is
# bounded, and only so much text is looked at as the longest of them takes: a note may have 100 kB.
_DENIED_BEFORE = re.compile(
    rb"\b(?:non[ -]?|(?:no|not|without|negative for) {1,3}(?:any {1,3})?(?:visibl[ey] {1,3})?"
    rb"(?:(?:evidence|signs?) of {1,3})?(?:visible {1,3})?)\Z",
    re.IGNORECASE,
)
_BEFORE = 80
# Directly after it: "Hemolysis: none", "Hemolysis index = 0", "Hemolyzed? No". A bare "no" must end there, or be
# followed by the next item of a form: "hemolyzed no charge" denies nothing.
_DENIED_AFTER = re.compile(
    rb" {0,3}(?:\(? ?ind(?:ex|ices) ?\)?)? {0,3}[:=?]? {0,3}"
    rb"(?:(?:none|negative|absent|nil)\b|0(?:[.,]0{1,9})?(?![.,]?\d)"
    rb"|no(?= {0,3}(?:[\"\\.,;)/]|\Z|\w{1,20} {0,3}[:=?])))",
    re.IGNORECASE,
)
# "Fasting: no Hemolyzed: yes": here the "no" before it belongs to another item.
_AFFIRMED_AFTER = re.compile(rb" {0,3}[:=?] {0,3}(?:yes|positive|present|[1-9+])", re.IGNORECASE)
# HL7 v2-0493, specimen condition: HEM means hemolyzed.
_CODE = re.compile(rb'"code" *: *"HEM"')


def hemolysed(record: Lab) -> bool:
    """Say whether the specimen, a note or a contained Specimen of a result speaks of hemolysis without denying it."""
    texts = (bytes(record.specimen), bytes(record.note), bytes(record.contained))
    if not texts[2] and b"emoly" not in b"".join(texts).lower():
        return False  # As nearly always: this is found out faster than by the patterns.
    return any(map(_said, texts)) or _CODE.search(texts[2]) is not None


def _said(text: bytes) -> bool:
    """Say whether any mention in a JSON text is not denied; each is judged by itself."""
    # A new line is a new statement; as JSON writes it, its "n" would be part of the word that follows.
    lines = text.replace(b"\\n", b". ").replace(b"\\r", b". ").replace(b"\\t", b" ")
    return any(not _denied(lines, found) for found in _MENTION.finditer(lines))


def _denied(text: bytes, found: re.Match[bytes]) -> bool:
    if _DENIED_AFTER.match(text, found.end()):
        return True
    if _AFFIRMED_AFTER.match(text, found.end()):
        return False
    return _DENIED_BEFORE.search(text[max(0, found.start() - _BEFORE) : found.start()]) is not None
