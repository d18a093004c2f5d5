"""Facts and findings of a card, made a picture: calcium, phosphate, their product, PTH, and what else it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from cds_service.cards import numbers
from cds_service.cards.plain import plain
from cds_service.drawing import axis, lanes
from cds_service.drawing.limits import limits
from cds_service.drawing.model import Aside, Limit, Mark, Panel, Picture, Trace
from cds_service.facts import calcium, derived
from cds_service.facts.age import ADULT, years
from cds_service.facts.dates import DAY
from cds_service.facts.derived import COMPUTED
from cds_service.facts.evidence import Item
from cds_service.facts.model import LABS, Facts, Measurement, SetAside
from cds_service.facts.observations import words_for
from cds_service.facts.ratio import PTH_RATIO
from cds_service.publishing import phrases
from cds_service.rules.book import RuleBook
from cds_service.rules.model import Outcome
from cds_service.terminology import Terminology
from cds_service.terminology.units import Quantity

CALCIUM, IONIZED, PHOSPHATE, PTH = "calcium-total", "calcium-ionized", "phosphate", "pth"
# Always drawn, with or without results: that there are none is worth knowing.
USUAL = (CALCIUM, PHOSPHATE, calcium.PRODUCT, PTH)
# Where no rule says how far apart the parts of the product may lie (KNOWLEDGE 2.3, chosen by us).
PAIRED_HOURS = 72
# So many results of one test are drawn and listed; an intensive care chart may hold thousands.
MOST, MOST_PANELS = 200, 8
LETTERS = "abcdefghijklmnopqrstuvwxyz"
Resting = frozenset[tuple[str, float, str]]


def picture(facts: Facts, outcomes: Sequence[Outcome], book: RuleBook) -> Picture:
    """Draw up what the findings of a card rest on."""
    items = [item for outcome in outcomes for item in outcome.judgement.supporting()]
    asked, resting, words = limits(outcomes, facts), _resting(items), book.terminology
    panels = [_panel(name, facts, words, asked, resting, outcomes) for name in _names(facts, items)]
    treatments = lanes.lanes(facts, words, outcomes)
    moments = [mark.when.end for panel in panels for mark in panel.marks]
    start = axis.beginning([*moments, *lanes.beginnings(treatments)], facts.now)
    return Picture(
        facts.now, start, tuple(_lettered(panels)), treatments, tuple(_notes(facts, panels, outcomes, start))
    )


def _names(facts: Facts, items: Iterable[Item]) -> list[str]:
    """Return the tests to draw: the usual ones, ionized calcium where there is any, and what else the card rests on."""
    named = [CALCIUM, *([IONIZED] if facts.measurements.get(IONIZED) else []), *USUAL[1:]]
    shown = {*named, *calcium_names(), PTH_RATIO, "cap-product"}
    others = [item.analyte for item in items if isinstance(item, Measurement) and item.analyte not in shown]
    return [*named, *dict.fromkeys(others)][:MOST_PANELS]


def calcium_names() -> tuple[str, ...]:
    """Return the tests that share the panel of calcium."""
    return (CALCIUM, calcium.CORRECTED, "calcium-corrected")


def _resting(items: Iterable[Item]) -> Resting:
    """Return what the findings rest on, with the parts that it was computed from."""

    def parts(one: Measurement) -> Iterator[Measurement]:
        yield one
        for part in one.parts:
            yield from parts(part)

    results = (part for item in items if isinstance(item, Measurement) for part in parts(item))
    return frozenset((one.analyte, one.when.end, str(one.value)) for one in results)


def _panel(
    name: str,
    facts: Facts,
    words: Terminology,
    asked: dict[str, list[Limit]],
    resting: Resting,
    outcomes: Sequence[Outcome],
) -> Panel:
    traces = tuple(_traces(name, facts, words, resting, outcomes))
    unit = numbers.label(words, name), _unit(words, name)
    tests = calcium_names() if name == CALCIUM else (name,)
    found = [limit for test in dict.fromkeys((*tests, "calcium")) for limit in asked.get(test, ())]
    asides = tuple(_aside(one, words) for one in _asides(facts, *tests)) if name != calcium.PRODUCT else ()
    known = facts.horizons.get(LABS) if not facts.state(LABS).conclusive else None
    return Panel(
        name,
        unit[0],
        unit[1],
        traces,
        tuple(_as_reported(found if name == CALCIUM else asked.get(name, []), facts, name, words)),
        asides,
        "" if any(trace.marks for trace in traces) else _missing(facts, name, bool(asides)),
        known,
    )


def _traces(
    name: str, facts: Facts, words: Terminology, resting: Resting, outcomes: Sequence[Outcome]
) -> Iterator[Trace]:
    if name == calcium.PRODUCT:
        yield _trace("", calcium.products(facts, _window(outcomes)), words, resting)
    elif name == CALCIUM:
        yield _trace("measured", facts.measurements.get(CALCIUM, ()), words, resting, second=True)
        corrected = (one for one in calcium.corrected(facts) if _is_corrected(one))
        yield _trace("corrected for albumin", corrected, words, resting)
    else:
        yield _trace("", derived.series(facts, name), words, resting)


def _is_corrected(one: Measurement) -> bool:
    """Say whether an albumin was known, or the laboratory corrected; else the measured value stands for itself."""
    return len(one.parts) > 1 or one.parts[0].analyte != CALCIUM


def _trace(
    label: str, results: Iterable[Measurement], words: Terminology, resting: Resting, *, second: bool = False
) -> Trace:
    newest_first = [_mark(one, words, resting) for one in islice(results, MOST)]
    return Trace(label, tuple(reversed(newest_first)), second)


def _mark(one: Measurement, words: Terminology, resting: Resting) -> Mark:
    notes = tuple(plain(note, 90) for note in one.notes)
    parts = [f"{numbers.label(words, part.analyte)} {numbers.dated(words, part)}" for part in one.parts]
    if len(parts) > 1:
        notes += (f"from {' and '.join(parts)}",)
    if one.status in ("amended", "corrected", "preliminary"):
        notes += (f"{one.status} result",)
    rests = (one.analyte, one.when.end, str(one.value)) in resting
    said = numbers.value(words, one)
    return Mark(one.when, one.value, said, _short(one, words), one.comparator, tuple(dict.fromkeys(notes)), rests)


def _short(one: Measurement, words: Terminology) -> str:
    """Return the number alone, in the unit of its panel, rounded as cards round it."""
    digits = COMPUTED[one.analyte].decimals if one.analyte in COMPUTED else words.analytes[one.analyte].decimals
    as_reported = not one.parts and one.reported == one.value and int(one.value.as_tuple().exponent) > -6
    return f"{one.comparator}{one.value:f}" if as_reported else Quantity(one.value, "", one.comparator).rounded(digits)


def _window(outcomes: Iterable[Outcome]) -> int:
    """Return how far apart calcium and phosphate may lie, as the first of the card's rules that multiplies says it."""
    for outcome in outcomes:
        told = outcome.rule.told.get(calcium.PRODUCT) or outcome.rule.pairing
        if told:
            return int(outcome.values[told])
    return PAIRED_HOURS


def _unit(words: Terminology, name: str) -> str:
    return phrases.unit(COMPUTED[name].unit if name in COMPUTED else words.analytes[name].unit)


def _as_reported(found: Iterable[Limit], facts: Facts, name: str, words: Terminology) -> Iterator[Limit]:
    """Say limits also in the unit of the laboratory, where that is another one."""
    newest = next(iter(facts.measurements.get(name, ())), None)
    other = newest and words.units.canonical(newest.unit)
    for limit in found:
        if newest and newest.value and other and other != words.analytes[name].unit and "(" not in limit.said:
            value = limit.value * newest.reported / newest.value
            limit = msgspec.structs.replace(limit, said=f"{limit.said} ({value:.3g} {other})")  # noqa: PLW2901
        yield limit


def _asides(facts: Facts, *tests: str) -> list[SetAside]:
    """Return what was set aside of some tests, newest first."""
    found = []
    for test in tests:
        series = facts.measurements.get(test, ())
        if len(series) >= 0:  # reads all of them: only then is known what had to be set aside
            found += list(getattr(series, "asides", ()))
    return sorted(found, key=lambda one: one.rank, reverse=True)[:MOST]


def _aside(one: SetAside, words: Terminology) -> Aside:
    return Aside(numbers.label(words, one.concept), one.when, words_for(one.reason))


def _lettered(panels: Iterable[Panel]) -> Iterator[Panel]:
    """Give what was set aside its letters, in the order in which it is drawn."""
    letters = iter(LETTERS)
    for panel in panels:
        asides = tuple(msgspec.structs.replace(one, letter=next(letters, "")) for one in reversed(panel.asides))
        yield msgspec.structs.replace(panel, asides=asides)


def _missing(facts: Facts, name: str, aside: bool) -> str:
    state = facts.state(LABS)
    if not state.loaded:
        return f"Not known: laboratory results: {state.value}."
    what = "No phosphate with a calcium near enough in time" if name == calcium.PRODUCT else "No usable result"
    if not state.conclusive:
        return f"{what} among those that were sent; {state.value}."
    return f"{what} on record{'; what there is was set aside' if aside else ''}."


def _notes(facts: Facts, panels: Sequence[Panel], outcomes: Sequence[Outcome], start: float) -> Iterator[str]:
    """Say what the picture cannot show."""
    older = sum(mark.when.end < start for panel in panels for mark in panel.marks)
    if older:
        yield f"{older} older results are left of the picture; they stand in the table."
    if any(len(trace.marks) == MOST for panel in panels for trace in panel.traces):
        yield f"Of each test the newest {MOST} results are shown."
    if any(panel.known_from is not None for panel in panels):
        day = axis.day_of(next(one.known_from for one in panels if one.known_from is not None) * DAY)
        yield f"The record has more pages than were sent: results before {day} are not known (hatched)."
    elif facts.state(LABS).loaded and not facts.state(LABS).conclusive:
        yield "The record has more pages than were sent: results may be missing anywhere."
    if any(mark.when.zoneless for panel in panels for mark in panel.marks):
        yield "Some times were recorded without a time zone, and are read as UTC."
    born = facts.person.born
    if born and years(born, facts.today)[0] < ADULT and any(panel.limits for panel in panels):
        yield "The lines are the thresholds of adults where a rule has limits by age: the reasons below say which held."
    if any(outcome.rule.told.get(calcium.PRODUCT) or outcome.rule.pairing for outcome in outcomes):
        yield f"Ca x P multiplies results at most {_window(outcomes)} hours apart."
