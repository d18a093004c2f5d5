"""Dialysis, kidneys and medicines on the time axis: what was given or done while the results were what they were."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cds_service.cards.plain import plain
from cds_service.drawing import axis
from cds_service.drawing.model import Bar, Lane, Tick
from cds_service.facts import model
from cds_service.facts.dates import When
from cds_service.facts.kidney import DIALYSIS
from cds_service.facts.model import Facts, Medication, PastMedication
from cds_service.rules.model import Outcome
from cds_service.terminology import Terminology

# What moves calcium, phosphate and PTH, or matters in calciphylaxis (KNOWLEDGE 3), with the concepts that mean it.
MEDICINES = (
    ("Vitamin K antagonist", ("vka",)),
    ("Calcium", ("ca-binder", "ca-supp", "ca-iv")),
    ("Vitamin D", ("vitd-active", "vitd-25", "vitd-nutr")),
    ("Binder without calcium", ("nca-binder", "al-antacid", "mg-antacid")),
    ("Sodium thiosulfate", ("sts",)),
    ("Calcimimetic", ("calcimimetic",)),
)
OPERATIONS = ("ktx-proc", "ptx")
MOST_LANES, MOST_TICKS, LONGEST = 14, 400, 44
NOT_SENT = "{}: {}."


def lanes(facts: Facts, words: Terminology, outcomes: Iterable[Outcome]) -> tuple[Lane, ...]:
    """Return the lanes: dialysis, operations, medicines; a lane that stays empty says why."""
    shown = dict.fromkeys(name for outcome in outcomes for name in outcome.rule.card.show_medications)
    return (
        _dialysis(facts),
        *_operations(facts, words),
        *_medicines(facts, words, [one for name in shown for one in words.members(name)]),
    )


def beginnings(drawn: Iterable[Lane]) -> Iterator[float]:
    """Yield the moments of dialysis and operations: the picture reaches back to them, if it can."""
    yield from (tick.when.end for lane in drawn for tick in lane.ticks[-1:] if not tick.draft)


def _dialysis(facts: Facts) -> Lane:
    known = {item: None for name in (*DIALYSIS, "crrt") for item in facts.procedures.get(name, ())}
    ticks = [Tick(_said(item.display, item.concept), item.when) for item in known if item.when]
    status = [one for name in ("dialysis-status", "met-eskd") for one in facts.diagnoses.get(name, ()) if one.active]
    dated = [(one, when) for one in status if (when := one.began or one.when)]
    bars = [Bar(_said(one.display, one.concept), when.start, ahead=(when.offset, 0)) for one, when in dated]
    ticks.sort(key=lambda tick: tick.when.end, reverse=True)
    remark = "" if ticks else _absent(facts, model.PROCEDURES, "No dialysis procedure on record")
    sessions = f"{len(ticks) or 'no'} {'procedure' if len(ticks) == 1 else 'procedures'} on record"
    since = f"; {bars[0].said} since {axis.day_of(bars[0].start + bars[0].ahead[0])}" if bars and bars[0].start else ""
    label = f"Dialysis: {sessions}{since}" if ticks or bars else "Dialysis"
    return Lane(label, tuple(bars[:1]), tuple(ticks[:MOST_TICKS]), remark)


def _operations(facts: Facts, words: Terminology) -> Iterator[Lane]:
    for name in OPERATIONS:
        found = [one for one in facts.procedures.get(name, ()) if one.when]
        ticks = [Tick(_said(one.display, name), one.when) for one in found if one.when]
        if ticks:
            yield Lane(words.label(name), (), tuple(ticks))


def _medicines(facts: Facts, words: Terminology, more: Sequence[str]) -> Iterator[Lane]:
    named = {concept for _, concepts in MEDICINES for concept in concepts}
    others = [name for name in more if name not in named and words.concepts[name].whole not in named]
    groups = [*MEDICINES, *((words.label(name), (name,)) for name in others)]
    found = [lane for label, concepts in groups for lane in _medicine(facts, words, label, concepts)]
    yield from found[:MOST_LANES]
    if len(found) > MOST_LANES:
        yield Lane("More medicines", remark=f"{len(found) - MOST_LANES} more on record that are not drawn.")
    if not found:
        usual = ", ".join(label[:1].lower() + label[1:] for label, _ in MEDICINES)
        yield Lane("Medicines", remark=_absent(facts, model.MEDICATIONS, f"None on record of: {usual}"))


def _medicine(facts: Facts, words: Terminology, label: str, concepts: Sequence[str]) -> Iterator[Lane]:
    """Yield one lane for each medicine by its name: what is taken now, what ended, what is being ordered."""
    taken = [one for name in concepts for one in facts.medications.get(name, ())]
    ended = [one for name in concepts for one in facts.past_medications.get(name, ())]
    ordered = [one for one in facts.orders if one.concept in concepts]
    by_name: dict[str, list[Medication]] = {}
    for one in dict.fromkeys((*taken, *ended, *ordered)):
        by_name.setdefault(_said(one.display, one.concept, words), []).append(one)
    for name, items in by_name.items():
        bars = tuple(_bar(one, name) for one in items if one not in ordered)
        drafts = tuple(Tick(f"{name}: draft order", _now(facts), draft=True) for one in items if one in ordered)
        named = f"{label}: {name}" if name.lower() != label.lower() else label
        yield Lane(f"{named}{_times(bars, drafts, items)}", bars, drafts)


def _times(bars: Sequence[Bar], drafts: Sequence[Tick], items: Sequence[Medication]) -> str:
    """Say from when to when, where one bar says it all; and what is weaker than it looks."""
    said = f", {bars[0].times}" if len(bars) == 1 else ""
    said += ", draft order" if drafts else ""
    return f"{said} (recognised by its name)" if all(one.how == "name" for one in items) else said


def _bar(one: Medication, name: str) -> Bar:
    start, ahead = (one.when.start, one.when.offset) if one.when else (None, 0)
    if isinstance(one, PastMedication):
        end, ahead_then = (one.until.end, one.until.offset) if one.until else (None, 0)
        return Bar(name, start, end, ongoing=False, ahead=(ahead, ahead_then))
    return Bar(name, start, ahead=(ahead, 0))


def _now(facts: Facts) -> When:
    return When(facts.now, facts.now, facts.today, facts.today)


def _said(display: str, concept: str, words: Terminology | None = None) -> str:
    """Return how the record names a thing; a decision read back from the ledger has no words of the record."""
    named = plain(display, LONGEST)
    return named or (words.label(concept) if words and words.kind(concept) else concept)


def _absent(facts: Facts, kind: str, what: str) -> str:
    state = facts.state(kind)
    if state.conclusive:
        return f"{what}."
    return f"Not known: {kind}: {state.value}." if not state.loaded else f"{what}; {state.value}."
