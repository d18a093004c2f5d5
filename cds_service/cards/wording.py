"""Card texts: the wording of a rule with the patient's values filled in, and the reasons behind it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache

import msgspec

from cds_service.cards import numbers, whole
from cds_service.cards.plain import plain
from cds_service.facts import derived
from cds_service.facts.derived import COMPUTED
from cds_service.facts.evidence import YES, Item, Judgement
from cds_service.facts.model import Answer, Diagnosis, Facts, Measurement, Medication
from cds_service.rules.model import Outcome
from cds_service.rules.placeholders import NAMED
from cds_service.terminology import Terminology
from cds_service.terminology.units import spelled

# CDS Hooks asks for fewer than 140 characters; a line of 100 is read at a glance.
SHORT_SUMMARY, SUMMARY_LIMIT = 100, 139
_CALCIUM = {"corrected-calcium": "calcium", "calcium-ionized": "ionized calcium"}
# A name from a record that is longer than this is cut to its ingredient: "warfarin sodium 5 MG Oral Tablet".
LONG_NAME = 28
_STRENGTH = re.compile(r"\s(?=[\d.,]+\s?(?:mg|g|mcg|ug|ml|unt|iu|units?|%)\b)", re.IGNORECASE)
# "taking warfarin: Warfarin (RxNorm 11289)" and "no PTH within 180 days: none on record", as the trail says them.
_NAMED_TWICE = re.compile(r"^(has |had |taking |ordering |done )?([^:]+): \2(?= \()", re.IGNORECASE)
_NOT_FOUND = re.compile(r"no (.+) within (\d+) days: none on record")
_HOLE = re.compile(r"\{([a-z0-9_.-]+)\}")


class Voice(msgspec.Struct):
    """What a card needs to speak about one finding."""

    outcome: Outcome
    facts: Facts
    words: Terminology
    known: dict[str, Sequence[Measurement]] = {}
    rests_on: tuple[Item, ...] | None = None

    def series(self, name: str) -> Sequence[Measurement]:
        """Return the results of a measurement, newest first, paired as the rule pairs them."""
        found = self.known.get(name)
        if found is None:
            told = self.outcome.rule.told.get(name) or self.outcome.rule.pairing
            found = derived.series(self.facts, name, Decimal(self.outcome.values[told]) if told else None)
            self.known[name] = found
        return found

    def answers(self, name: str) -> tuple[Answer, ...]:
        """Return the qualitative results of a test, newest first."""
        return self.facts.answers[name].newest_first() if name in self.facts.answers else ()

    def resting(self) -> tuple[Item, ...]:
        """Return the facts that the finding rests on."""
        if self.rests_on is None:
            self.rests_on = tuple(self.outcome.judgement.supporting())
        return self.rests_on

    def result(self, name: str) -> Measurement | None:
        """Return the result that the finding rests on, else the newest one."""
        for item in self.resting():
            if isinstance(item, Measurement) and item.analyte == name:
                return item
        return next(iter(self.series(name)), None)

    def fill(self, template: str) -> str | None:
        """Fill the holes of a wording; None where one of them cannot be filled."""
        pieces = list(_pieces(template))
        for place in range(1, len(pieces), 2):
            text = self._hole(pieces[place])
            if text is None:
                return None
            pieces[place] = text
        return "".join(pieces)

    def _hole(self, hole: str) -> str | None:
        name, _, part = hole.partition(".")
        if name in whole.WHOLE:
            return whole.tell(name, self.resting(), self.outcome.judgement, self.words, self._called)
        if name in self.outcome.values:
            return (
                f"{self.outcome.values[name]:f}"
                if not isinstance(self.outcome.values[name], bool)
                else str(self.outcome.values[name])
            )
        if name == "missing":
            return ", ".join(_spoken(name) for name in self.missing()) or None
        if name in ("lesion", "drug", "calcium") or self.words.kind(name) in NAMED:
            return self._calcium(part) if name == "calcium" else self._named(name)
        return self._measured(name, part)

    def _measured(self, name: str, part: str) -> str | None:
        """Return the value of a test, in numbers or in words, or its day."""
        if name not in COMPUTED and name not in self.words.analytes:
            return None
        result = next(iter(self.answers(name)), None) or self.result(name)
        if result is None or part == "date":
            return result.when.day if result else None
        return whole.answered(result) if isinstance(result, Answer) else numbers.value(self.words, result)

    def _found(self, kind: type[Diagnosis | Medication]) -> str | None:
        items = [item for item in self.resting() if isinstance(item, kind)]
        lesions = [item for item in items if item.concept.startswith("les-")]
        chosen = lesions or (items if kind is Medication else [])
        return self._called(chosen[0]) if chosen else None

    def _named(self, name: str) -> str | None:
        """Return how the record names the diagnosis, medicine or procedure that the finding rests on."""
        if name in ("lesion", "drug"):
            return self._found(Diagnosis if name == "lesion" else Medication)
        members = self.words.members(name)
        item = next((one for one in self.resting() if getattr(one, "concept", "") in members), None)
        return None if item is None else self._called(item)

    def _called(self, item: Item) -> str:
        """Return how the record calls what was found; of a long product name the ingredient or brand is enough."""
        called = plain(getattr(item, "display", "") or self.words.label(getattr(item, "concept", "")))
        if not isinstance(item, Medication) or len(called) <= LONG_NAME or item.concept not in self.words.concepts:
            return called
        names = sorted(self.words.concepts[item.concept].text, key=len, reverse=True)
        found = (re.search(rf"\b{re.escape(name)}\b", called, re.IGNORECASE) for name in names)
        return next((one[0] for one in found if one), _STRENGTH.split(called)[0].rstrip(" ,(") or called)

    def _calcium(self, part: str) -> str | None:
        """Return the calcium that the finding rests on, corrected or ionized: never an older one of the other kind."""
        items = (item for item in self.resting() if isinstance(item, Measurement))
        found = next((item for item in items if item.analyte in _CALCIUM), None)
        if found is None:
            return None
        return found.when.day if part == "date" else f"{_CALCIUM[found.analyte]} {numbers.value(self.words, found)}"

    def missing(self) -> list[str]:
        """Return the measurements whose absence is part of the finding."""
        return list(
            dict.fromkeys(node.absent for node in self.outcome.judgement.walk() if node.absent and node.verdict is YES)
        )

    def summary(self) -> str:
        """Return the first wording that can be filled and is short, else the first that fits, else the last, cut."""
        filled: list[str] = []
        for template in self.outcome.wordings:
            text = self.fill(template)
            if text is not None and len(text) <= SHORT_SUMMARY:
                return capital(text)
            filled += [] if text is None else [text]
        last = filled[-1] if filled else self.outcome.rule.title
        cut = last[: SUMMARY_LIMIT - 1].rstrip() + "\u2026"
        return capital(next((text for text in filled if len(text) <= SUMMARY_LIMIT), cut))

    def reasons(self) -> list[str]:
        """Say why the rule fired: what is true of its trail and rests on something; each fact is told once."""
        told: list[Item] = []
        lines: list[str] = []
        for node in _true_leaves(self.outcome.judgement):
            if not node.items or any(item not in told for item in node.items):
                lines.append(node.label)
                told += node.items
        return [spelled(plain(_plainly(line), 240)) for line in _gathered(lines)]


def capital(text: str) -> str:
    """Begin a line with a capital letter; eGFR stays as it is."""
    return text if text[1:2].isupper() else text[:1].upper() + text[1:]


def _plainly(line: str) -> str:
    """Say a line of the trail as a clinician would: what is on record, without saying its name twice."""
    told = _NAMED_TWICE.sub(r"\1\2", line) if " (" in line else line
    return capital(told.removeprefix("has ").replace("{1.73_m2}", "1.73m2"))


def _gathered(lines: Sequence[str]) -> list[str]:
    """Say in one line, where the first of them stood, which tests were not found in the same time."""
    found = {line: _NOT_FOUND.fullmatch(line) if line.startswith("no ") else None for line in lines}
    tests: dict[str, list[str]] = {}
    for match in filter(None, found.values()):
        tests.setdefault(match[2], []).append(match[1])
    said = {line: f"none on record within {match[2]} days: {', '.join(tests[match[2]])}" if match else line
            for line, match in found.items()}  # fmt: skip
    return list(dict.fromkeys(said.values()))


@lru_cache(maxsize=4096)
def _pieces(template: str) -> tuple[str, ...]:
    """Cut a wording into its text and, at every second place, the name of a hole."""
    return tuple(_HOLE.split(spelled(template)))


@lru_cache(maxsize=4096)
def one_line(text: str) -> str:
    """Return a text of a rule file on one line."""
    return spelled(" ".join(text.split()))


def _spoken(name: str) -> str:
    return name if name.isupper() or name[:2].isupper() else name[:1].lower() + name[1:]


def _true_leaves(judgement: Judgement) -> list[Judgement]:
    if judgement.verdict is not YES:
        return []
    if not judgement.children:
        return [judgement] if judgement.items or judgement.absent else []
    return [leaf for child in judgement.children for leaf in _true_leaves(child)]


def by_name_only(items: Iterable[Item]) -> list[Medication]:
    """Return the medications that were recognised by their name alone, which the card must say."""
    return [item for item in items if isinstance(item, Medication) and item.how == "name"]
