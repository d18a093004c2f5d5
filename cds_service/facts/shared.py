"""What every reader needs at hand: terminology with its memory, the site's choices, the moment, and a tally."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from cds_service import decoding
from cds_service.facts.numbers import decimal
from cds_service.facts.records import CodeableConcept, Quantity, Raw, Record
from cds_service.facts.series import Waiting
from cds_service.protocol.wire import no_twins
from cds_service.terminology import Analyte, Coding, Terminology
from cds_service.terminology.meaning import Meaning, Remembered, read_meaning

_concept = decoding.decoder(CodeableConcept)
_coding = decoding.decoder(Coding)
_WRONG = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


COMPARATORS = ("<", "<=", ">", ">=")
# So many amounts are remembered, each of so many letters at most: some 3 MB.
MOST_AMOUNTS, LONGEST_AMOUNT = 5_000, 200


class Policy(msgspec.Struct, frozen=True):
    """What a site may choose about reading records. The defaults are the safer choices."""

    drop_strangers: bool = False
    allow_preliminary: bool = False
    bases: frozenset[str] = frozenset()


class Amount(msgspec.Struct, frozen=True, gc=False):
    """A number of a result: in the unit of its analyte, and as reported; or the reason why it cannot be used."""

    problem: str
    value: Decimal = Decimal(0)
    reported: Decimal = Decimal(0)
    unit: str = ""


class Reader:
    """Terminology as the readers use it: bytes of a code element in, meaning out, remembered."""

    def __init__(self, terminology: Terminology) -> None:
        self.terminology = terminology
        self.labs = self._remembered("measurement")
        self.diagnoses = self._remembered("diagnosis")
        self.medications = self._remembered("medication")
        self.procedures = self._remembered("procedure")
        self.orders: dict[tuple[str, str], list[str]] = {}
        self.ranges: dict[tuple[str, str | None, str | None, str | None, bytes], Decimal | None] = {}
        for order in terminology.orders.values():
            self.orders.setdefault((order.system, order.code), []).append(order.id)
        self._units: dict[tuple[str | None, str | None, str | None, str], tuple[str, str]] = {}
        self._amounts: dict[tuple[str, bytes, str | None, str | None, str | None, str | None], Amount] = {}

    def _remembered(self, kind: str) -> Remembered:
        index, systems = self.terminology.indexes[kind], self.terminology.systems

        def read(raw: bytes) -> Meaning:
            codings, text = codings_of(raw)
            meaning = read_meaning(index, systems, codings, text)
            return msgspec.structs.replace(meaning, display=_spoken(codings, text))

        return Remembered(read, {})

    def documents(self, raw: bytes) -> list[tuple[str, str, str, str]]:
        """Return the notes and images that a LOINC code means: concept, system, code, and how the record words it."""
        meaning = self.procedures(raw)
        matches = [one for one in meaning.matches if one.system == "LOINC"]
        return [(one.concept, one.system, one.code, meaning.display) for one in matches]

    def means_more(self, raw: Raw) -> bool:
        """Say whether the code of an Observation that is no test of ours means a diagnosis, a note or an image."""
        code = bytes(raw)
        return bool(self.diagnoses(code).matches or self.documents(code))

    def amount(self, quantity: Quantity, analyte: Analyte) -> Amount:
        """Return what a quantity says, remembered: of each test the same few numbers come all day."""
        number, known = bytes(quantity.value), self._amounts
        key = (analyte.id, number, quantity.unit, quantity.code, quantity.system, quantity.comparator)
        found = known.get(key)
        if found is None:
            found = self._read_amount(quantity, analyte)
            if not found.problem and sum(map(len, filter(None, key))) < LONGEST_AMOUNT:
                if len(known) > MOST_AMOUNTS:
                    known.clear()
                known[key] = found
        return found

    def _read_amount(self, quantity: Quantity, analyte: Analyte) -> Amount:
        reported = decimal(quantity.value)
        if reported is None:
            return Amount("not-numeric")
        if quantity.comparator and quantity.comparator not in COMPARATORS:
            return Amount("comparator-unknown")
        unit, problem = self.unit(quantity.code, quantity.unit, quantity.system, analyte)
        if problem:
            return Amount(problem)
        above, below = analyte.factors[unit]
        value = reported * above / below
        problem = "" if analyte.plausible(value) else "implausible"
        return Amount(problem, value, reported, quantity.unit or quantity.code or unit)

    def unit(self, code: str | None, text: str | None, system: str | None, analyte: Analyte) -> tuple[str, str]:
        """Return the unit of a result and "", or "" and the reason why its unit cannot be used (never guessed)."""
        key = (code, text, system, analyte.id)
        found = self._units.get(key)
        if found is None:
            if len(self._units) > 10_000:
                self._units.clear()
            found = self._units[key] = self._read_unit(code, text, system, analyte)
        return found

    def _read_unit(self, code: str | None, text: str | None, system: str | None, analyte: Analyte) -> tuple[str, str]:
        if not code and not text:
            return "", "unit-missing"
        units = self.terminology.units
        named = self.terminology.systems.name(system)
        ucum = units.canonical(code) if named in ("UCUM", None) else None
        worded = units.canonical(text)
        if ucum and worded and analyte.factors.get(ucum) != analyte.factors.get(worded):
            return "", "unit-conflict"
        if code and named == "UCUM" and worded and not ucum:
            return "", "unit-conflict"  # the code is a unit that we do not know, so it is not the one in the text
        unit = ucum or worded
        return (unit, "") if unit in analyte.factors and unit is not None else ("", "unit-unknown")


class Desk(msgspec.Struct):
    """The desk at which one request is read."""

    reader: Reader
    policy: Policy
    now: float
    seen: dict[tuple[str, str, str], int]
    labs: Callable[[bytes], Meaning]
    unit: Callable[[str | None, str | None, str | None, Analyte], tuple[str, str]]
    analytes: dict[str, Analyte]
    medication_texts: dict[str, Raw] = {}
    others: list[list[Waiting]] = []
    find: Callable[[str], Record | None] = lambda _reference: None

    def unmatched(self, kind: str, meaning: Meaning, times: int = 1) -> None:
        """Count codes that were met and mean nothing here: the drift list."""
        for system, code in meaning.seen or (("", meaning.reason),):
            key = (kind, system, code)
            self.seen[key] = self.seen.get(key, 0) + times

    def odd_unit(self, analyte: Analyte, unit: str) -> None:
        """Count units that a test of ours was reported in and that cannot be used."""
        key = ("units", analyte.id, unit)
        self.seen[key] = self.seen.get(key, 0) + 1


def codings_of(raw: bytes) -> tuple[list[Coding], str | None]:
    """
    Read the codings of a CodeableConcept; a coding of the wrong shape is passed over.

    Raises MalformedJson where a member stands twice in it.
    """
    if not raw:
        return [], None
    no_twins(raw)
    try:
        concept = _concept.decode(raw)
    except _WRONG:
        return [], None
    return [coding for item in concept.coding if (coding := _one_coding(item))], concept.text


def _one_coding(raw: Raw) -> Coding | None:
    try:
        return _coding.decode(raw)
    except _WRONG:
        return None


def display_of(raw: bytes) -> str:
    """Return the words a record uses for a code: its text, or the display of its first coding that has one."""
    return _spoken(*codings_of(raw))


def _spoken(codings: list[Coding], text: str | None) -> str:
    return text or next((coding.display for coding in codings if coding.display), "")
