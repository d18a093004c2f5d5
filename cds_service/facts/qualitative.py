"""
Qualitative results: positive, negative, or reported in a way that cannot be read.

What an Observation says in several ways must agree: a text "positive" beside an interpretation "negative" is
neither. A number is positive above the upper limit of normal that came with it, and says nothing without one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cds_service import decoding
from cds_service.facts.dates import parse
from cds_service.facts.loosely import decoded, elements
from cds_service.facts.model import Answer, SetAside
from cds_service.facts.numbers import decimal
from cds_service.facts.observations import unusable
from cds_service.facts.ranges import upper_limits
from cds_service.facts.records import Component, Lab, Quantity, Raw, meta_of_bytes, present
from cds_service.facts.series import Waiting, moment_of
from cds_service.facts.shared import Desk, codings_of
from cds_service.terminology import Analyte

POSITIVE, NEGATIVE, UNREADABLE = "positive", "negative", ""
# HL7 ObservationInterpretation. A number that is low or normal is no presence of an antibody.
INTERPRETATIONS = {
    **dict.fromkeys(("POS", "DET", "RR", "WR", "A", "AA", "H", "HH", "HU"), POSITIVE),
    **dict.fromkeys(("NEG", "ND", "NR", "N", "L", "LL", "LU"), NEGATIVE),
}
_DOUBT = re.compile(
    r"\b(equivocal|indeterminate|inconclusive|borderline|questionable|false|pending|cancel\w*|see (note|comment)|"
    r"not (done|tested|performed|available|reported)|repeat|unknown)\b|\?",
    re.IGNORECASE,
)
_NEGATIVE = re.compile(
    r"\b(negativ\w*|neg|(not|non|none|never)[ -]?(detected|reactive|present|positiv\w*|found|seen)|"
    r"undetect(ed|able)|absent|no (\w+ ){0,3}(detected|found|seen|present)|no (evidence|antibod)\w*)\b",
    re.IGNORECASE,
)
_POSITIVE = re.compile(r"\b(positiv\w*|pos|detected|reactive|present)\b|^\s*\++\s*$", re.IGNORECASE)
_text = decoding.decoder(str)
_yes_no = decoding.decoder(bool)


def meaning_of(words: str) -> str | None:
    """
    Return what the words of a laboratory mean: negation counts, and what is doubtful or both means neither.

    None where they do not speak of it at all ("1:640").
    """
    if _DOUBT.search(words):
        return UNREADABLE
    rest = _NEGATIVE.sub(" ", words)
    positive, negative = bool(_POSITIVE.search(rest)), rest != words
    if positive == negative:
        return UNREADABLE if positive else None
    return POSITIVE if positive else NEGATIVE


class Results:
    """The qualitative results of one test, newest first, read when somebody asks."""

    def __init__(self, waiting: list[Waiting], desk: Desk, analyte: Analyte) -> None:
        self._waiting, self._desk, self._analyte = waiting, desk, analyte
        self._read: tuple[tuple[Answer, ...], list[SetAside]] | None = None

    def newest_first(self) -> tuple[Answer, ...]:
        """Return the results that count, newest first."""
        return self._taken()[0]

    def asides(self) -> list[SetAside]:
        """Return the results that had to be set aside."""
        return self._taken()[1]

    def _taken(self) -> tuple[tuple[Answer, ...], list[SetAside]]:
        if self._read is None:
            read = [(one, _order(lab)) for lab, part in self._waiting for one in (self._result(lab, part),)]
            answers = sorted(
                ((one, order) for one, order in read if isinstance(one, Answer)),
                key=lambda pair: (*pair[0].rank, *pair[1], pair[0].meaning == POSITIVE),
                reverse=True,
            )
            self._read = tuple(one for one, _ in answers), [one for one, _ in read if isinstance(one, SetAside)]
        return self._read

    def _result(self, lab: Lab, part: Component | None) -> Answer | SetAside:
        when = moment_of(lab)
        reason = unusable(lab, self._desk, self._analyte, when) or _no_value(lab, part)
        if reason or when is None:
            return SetAside("observations", reason or "undated", self._analyte.id, when)
        said = _words(lab, part)
        name = self._desk.labs(bytes(lab.code if part is None else part.code))
        signs = {meaning_of(said), *_signs(lab, part, self._desk, self._analyte)} - {None}
        if not said and not signs:  # "anti-NXP2 negative" as the name of the test, and nothing else
            said, signs = name.display, {meaning_of(name.display)}
        meaning = (signs.pop() if len(signs) == 1 else None) or UNREADABLE
        how = next((match.how for match in name.matches if match.concept == self._analyte.id), "code")
        return Answer(
            self._analyte.id, meaning, said or meaning, when, lab.status or "", (when.end, _STANDING[lab.status]), how
        )


_STANDING: dict[str | None, int] = {"final": 0, "amended": 1, "corrected": 2, "preliminary": -1}


def _order(lab: Lab) -> tuple[float, float]:
    issued, updated = parse(lab.issued), parse(meta_of_bytes(bytes(lab.meta)).lastUpdated)
    return (issued.end if issued else 0.0, updated.end if updated else 0.0)


def _no_value(lab: Lab, part: Component | None) -> str:
    absent = lab.dataAbsentReason if part is None else part.dataAbsentReason
    if present(absent):
        return "data-absent"
    return "modifier-extension" if part is not None and present(part.modifierExtension) else ""


def _words(lab: Lab, part: Component | None) -> str:
    """Return what the value says in words: its text, or the text and displays of its code."""
    one: Lab | Component = lab if part is None else part
    text = decoded(one.valueString, _text)
    if text:
        return text[:200]
    if present(one.valueCodeableConcept):
        codings, words = codings_of(bytes(one.valueCodeableConcept))
        return "; ".join(dict.fromkeys(filter(None, (words, *(coding.display for coding in codings)))))[:200]
    return ""


def _signs(lab: Lab, part: Component | None, desk: Desk, analyte: Analyte) -> Iterator[str]:
    """Yield what is said in other ways than words: yes or no, an interpretation, a number beside its range."""
    one: Lab | Component = lab if part is None else part
    flag = decoded(one.valueBoolean, _yes_no)
    if flag is not None:
        yield POSITIVE if flag else NEGATIVE
    if one.valueQuantity is not None:
        sign = _beside_range(one.valueQuantity, one.referenceRange, desk, analyte)
        if sign:
            yield sign
    yield from _interpreted(one.interpretation)


def _beside_range(quantity: Quantity, ranges: Raw, desk: Desk, analyte: Analyte) -> str:
    highs = set(upper_limits(ranges, quantity, desk, analyte))
    value = decimal(quantity.value)
    if len(highs) != 1 or value is None:
        return ""
    high = highs.pop()
    if quantity.comparator in (">", ">="):
        return POSITIVE if value >= high else ""
    if quantity.comparator in ("<", "<="):
        return NEGATIVE if value <= high else ""
    return POSITIVE if value > high else NEGATIVE


def _interpreted(raw: Raw) -> Iterator[str]:
    for element in elements(raw):
        codings, text = codings_of(bytes(element))
        known = {INTERPRETATIONS[one.code] for one in codings if one.code in INTERPRETATIONS}
        said = {meaning_of(text or "")} - {None}
        yield from known or (one for one in said if one is not None)
