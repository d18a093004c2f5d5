"""The detail of a card: why you see this, the values, what is missing, what to consider, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from cds_service.cards import numbers, whole
from cds_service.cards.fixed import Fixed
from cds_service.cards.plain import plain
from cds_service.cards.plan import Plan
from cds_service.cards.wording import Voice, by_name_only, one_line
from cds_service.facts import subtype
from cds_service.facts.derived import COMPUTED
from cds_service.facts.model import Diagnosis, Facts, Measurement, Medication
from cds_service.terminology import Terminology
from cds_service.terminology.units import spelled

T = TypeVar("T")


def write(voices: Sequence[Voice], always: Fixed, workup: Plan) -> str:
    """Write the detail of a card that speaks for one or more findings, the most urgent first."""
    told: set[str] = set()
    parts = [part for voice in voices for part in _finding(voice, told)]
    parts += _once("**Values**", [line for voice in voices for line in _values(voice)])
    parts += _once("**Type of calcinosis** (what the record fits, for display only)", _subtype(voices))
    parts += _once("**Medications and diagnoses on record**", [line for voice in voices for line in _on_record(voice)])
    parts += _once("**Not known**", list(_unknown(voices)))
    parts += _once("**Consider**", [line for voice in voices for line in _advice(voice)])
    parts += _once("**Plan** (what is missing or not recent)", workup.lines)
    return "\n\n".join([*parts, always.ending])


def _once(title: str, lines: Sequence[str]) -> list[str]:
    """Return a list under a title, every line once; nothing where there are no lines."""
    distinct = list(dict.fromkeys(lines))
    return [f"{title}\n" + "\n".join(f"- {line}" for line in distinct)] if distinct else []


def _finding(voice: Voice, told: set[str]) -> Iterator[str]:
    """Say why a rule fired; a reason that an earlier finding of the same card gave is not repeated."""
    reasons = [line for line in dict.fromkeys(voice.reasons()) if line not in told]
    told.update(reasons)
    if reasons:
        yield f"**Why you see this: {voice.outcome.rule.title}**\n" + "\n".join(f"- {line}" for line in reasons)
    body = voice.fill(one_line(voice.outcome.rule.card.detail))
    if body:
        yield body


def _values(voice: Voice) -> Iterator[str]:
    for name in voice.outcome.rule.card.show:
        results = voice.series(name)
        if voice.answers(name):
            yield f"{numbers.label(voice.words, name)}: {whole.trend(voice.answers(name))}"
        elif results:
            notes = f" - {'; '.join(results[0].notes)}" if results[0].notes else ""
            parts = _parts(voice.words, results[0].parts) if name in COMPUTED else ""
            yield f"{numbers.label(voice.words, name)}: {numbers.trend(voice.words, results)}{parts}{notes}"


def _parts(words: Terminology, parts: Sequence[Measurement]) -> str:
    """Show what a computed value was computed from."""
    shown = [f"{numbers.label(words, part.analyte)} {numbers.dated(words, part)}" for part in parts]
    return f" from {' and '.join(shown)}" if len(shown) > 1 else ""


def _on_record(voice: Voice) -> Iterator[str]:
    card, facts = voice.outcome.rule.card, voice.facts
    yield from (_medication(item) for item in _members(facts.medications, voice.words, card.show_medications))
    yield from (_diagnosis(item) for item in _members(facts.diagnoses, voice.words, card.show_diagnoses) if item.active)
    for item in by_name_only(voice.resting()):
        yield f"{plain(item.display)} was recognised by its name only: check that it is what the rule means"


def _members(facts: Mapping[str, tuple[T, ...]], words: Terminology, names: Sequence[str]) -> list[T]:
    return [item for name in names for concept in words.members(name) for item in facts.get(concept, ())]


def _medication(item: Medication) -> str:
    since = f", since {item.when.day}" if item.when else ""
    return f"{plain(item.display) or item.concept}{since}{' (recognised by name)' if item.how == 'name' else ''}"


def _diagnosis(item: Diagnosis) -> str:
    return f"{plain(item.display) or item.concept}{f', {item.when.day}' if item.when else ''}"


def _subtype(voices: Sequence[Voice]) -> list[str]:
    """Say to which types of calcinosis the record points, where a rule of the card wants it said."""
    asked = next((voice for voice in voices if voice.outcome.rule.card.show_subtype), None)
    readings = subtype.read(asked.facts, asked.words) if asked else ()
    return ["; ".join(spelled(plain(str(reading), 160)) for reading in readings)] if readings else []


def _unknown(voices: Sequence[Voice]) -> Iterator[str]:
    """Say what the card would have shown, had it been there."""
    absent = dict.fromkeys(
        numbers.label(voice.words, name)
        for voice in voices
        for name in voice.outcome.rule.card.show
        if not (voice.answers(name) or voice.series(name))
    )
    if absent:
        yield "no usable result: " + ", ".join(absent)
    yield from (f"{kind}: {state}" for kind, state in _gaps(voices[0].facts))


def _gaps(facts: Facts) -> list[tuple[str, str]]:
    return [(kind, state.value) for kind, state in facts.states.items() if not state.conclusive]


def _advice(voice: Voice) -> Iterator[str]:
    card = voice.outcome.rule.card
    advice = voice.fill(one_line(card.medication_advice)) if card.medication_advice else None
    if advice:
        yield advice
