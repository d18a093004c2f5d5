"""The detail of a card: why you see this, the values, what is missing, what to consider, and where it comes from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec

from cds_service.cards import numbers, whole
from cds_service.cards.fixed import Fixed
from cds_service.cards.plain import plain
from cds_service.cards.plan import Plan
from cds_service.cards.wording import Voice, by_name_only, one_line
from cds_service.facts import subtype
from cds_service.facts.calcium import CORRECTED
from cds_service.facts.derived import COMPUTED
from cds_service.facts.model import Diagnosis, Facts, Measurement, Medication
from cds_service.terminology import Terminology
from cds_service.terminology.units import spelled

T = TypeVar("T")
TOTAL = "calcium-total"


def write(voices: Sequence[Voice], always: Fixed, workup: Plan) -> str:
    """Write the detail of a card that speaks for one or more findings, the most urgent first."""
    told: set[str] = set()
    parts = [part for voice in voices for part in _finding(voice, told)]
    parts += _once("**Values**", list(_values(voices)))
    parts += _once("**Type of calcinosis** (what the record fits, for display only)", _subtype(voices))
    recorded = [line for voice in voices for line in _on_record(voice, told)]
    parts += _once("**Medications and diagnoses on record**", recorded)
    parts += _once("**Not known**", list(_unknown(voices)))
    parts += _once("**Options**", [line for voice in voices for line in _advice(voice)])
    parts += _once("**Plan** (what is missing or not recent)", workup.lines)
    return "\n\n".join([*parts, always.ending])


def _once(title: str, lines: Sequence[str]) -> list[str]:
    """Return a list under a title, every line once; nothing where there are no lines."""
    distinct = list(dict.fromkeys(lines))
    return [f"{title}\n" + "\n".join(f"- {line}" for line in distinct)] if distinct else []


def _finding(voice: Voice, told: set[str]) -> Iterator[str]:
    """Say why a rule fired; a reason that an earlier finding of the same card gave is not repeated."""
    reasons = [line for line in voice.reasons() if line not in told]
    told.update(reasons)
    lines = "\n".join(f"- {line}" for line in reasons or ["the same as above"])
    yield f"**Why you see this: {voice.outcome.rule.title}**\n{lines}"
    body = voice.fill(one_line(voice.outcome.rule.card.detail))
    if body:
        yield body


def _values(voices: Sequence[Voice]) -> Iterator[str]:
    """Show every test once; a note that stands with one value is not repeated with what was computed from it."""
    shown: dict[str, Voice] = {}
    for voice in voices:
        shown |= {name: voice for name in voice.outcome.rule.card.show if name not in shown}
    series = {name: voice.series(name) for name, voice in shown.items()}
    newest = [results[0] for results in series.values() if results]
    as_measured = _as_measured(series)
    noted: set[str] = set()
    for name, voice in shown.items():
        label, results = numbers.label(voice.words, name), as_measured.get(name, series[name])
        if voice.answers(name):
            yield f"{label}: {whole.trend(voice.answers(name))}"
        elif results:
            notes = [note for note in results[0].notes if note not in noted]
            noted.update(notes)
            parts = _parts(voice.words, results[0].parts, newest) if name in COMPUTED else ""
            said = f" - {'; '.join(notes)}" if notes else ""
            yield f"{label}: {numbers.trend(voice.words, results)}{parts}{said}"


def _as_measured(series: Mapping[str, Sequence[Measurement]]) -> dict[str, Sequence[Measurement]]:
    """Show a calcium that was not corrected once, with the note that says so, and not again as corrected."""
    total, corrected = series.get(TOTAL) or (), series.get(CORRECTED) or ()
    same = [one.parts == (measured,) for one, measured in zip(corrected[:3], total[:3], strict=False)]
    if not same or not all(same):
        return {}
    first = msgspec.structs.replace(total[0], notes=corrected[0].notes)
    return {TOTAL: [first, *total[1:3]], CORRECTED: ()}


def _parts(words: Terminology, parts: Sequence[Measurement], newest: Sequence[Measurement]) -> str:
    """Show what a value was computed from, unless these are the very values that the card shows."""
    if len(parts) < 2 or all(any(part is one for one in newest) for part in parts):
        return ""
    return (
        f" from {' and '.join(f'{numbers.label(words, part.analyte)} {numbers.dated(words, part)}' for part in parts)}"
    )


def _on_record(voice: Voice, told: Collection[str]) -> Iterator[str]:
    """List medicines and diagnoses that the reasons do not name already."""
    card, facts = voice.outcome.rule.card, voice.facts
    medicines = _members(facts.medications, voice.words, card.show_medications)
    diagnoses = [one for one in _members(facts.diagnoses, voice.words, card.show_diagnoses) if one.active]
    yield from (_medication(item) for item in medicines if not _named(item, told))
    yield from (_diagnosis(item) for item in diagnoses if not _named(item, told))
    for item in by_name_only(voice.resting()):
        yield f"{plain(item.display)} was recognised by its name only: check that it is what the rule means"


def _named(item: Diagnosis | Medication, told: Collection[str]) -> bool:
    name = f"{plain(item.display, 240)} (" if item.display else ""
    return bool(name) and any(name in line for line in told)


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
    """Say what the card would have shown, had it been there, and does not ask for already."""
    asked = [(voice, name) for voice in voices for name in voice.outcome.rule.card.show]
    absent = {name for voice, name in asked if not (voice.answers(name) or voice.series(name))}
    told = {numbers.label(voice.words, name) for voice, name in asked if name not in absent}
    told.update(*(voice.missing() for voice in voices))
    # What is computed from a test that is lacking needs no mention.
    lacking = {
        numbers.label(voice.words, name): None
        for voice, name in asked
        if name in absent and not (name in COMPUTED and absent.intersection(COMPUTED[name].reads))
    }
    if said := [label for label in lacking if label not in told]:
        yield "no usable result: " + ", ".join(said)
    yield from (f"{kind}: {state}" for kind, state in _gaps(voices[0].facts))


def _gaps(facts: Facts) -> list[tuple[str, str]]:
    return [(kind, state.value) for kind, state in facts.states.items() if not state.conclusive]


def _advice(voice: Voice) -> Iterator[str]:
    card = voice.outcome.rule.card
    advice = voice.fill(one_line(card.medication_advice)) if card.medication_advice else None
    if advice:
        yield advice
