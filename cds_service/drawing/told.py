"""What stands around the picture: why each rule of a card spoke, what was set aside, values, thresholds, sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date

import msgspec

from cds_service.cards.plain import plain
from cds_service.decide import day_of
from cds_service.drawing import axis
from cds_service.drawing.model import Aside, Panel, Picture
from cds_service.drawing.trends import picture
from cds_service.facts import age, model
from cds_service.facts.evidence import UNKNOWN, Judgement
from cds_service.facts.model import Facts, SetAside
from cds_service.facts.observations import words_for
from cds_service.publishing import phrases
from cds_service.publishing.catalogue import Limit, limit
from cds_service.rules.book import RuleBook
from cds_service.rules.model import Citation, Outcome
from cds_service.terminology import Terminology
from cds_service.terminology.units import spelled

# A rule's trail is as deep as its file; a value table as long as somebody reads.
DEEPEST, MOST_ROWS, LONGEST = 12, 60, 240
_REASONS = {
    "misfit": "it is not the kind of resource that was asked for, or cannot be read",
    "stranger": "it belongs to another patient, and was dropped",
    "modifier-extension": "a modifier extension may turn its meaning round",
    "unresolved": "what it refers to was not sent",
    "other-fhir-version": "it is written in another version of FHIR",
    "not-an-order": "it is a proposal or a plan, not an order",
    "do-not-perform": "it says that it is not to be done",
    "not-systemic": "it does not reach the blood (ointment, eye drops, dialysis fluid)",
    "many-ingredients": "it has too many ingredients to count as this medicine",
    "family-history": "it is about a relative",
    "ended": "its time is over",
}


class Line(msgspec.Struct, frozen=True):
    """One line of a trail: its verdict in words, what was judged and found, and the lines below it."""

    verdict: str
    text: str
    lines: tuple[Line, ...] = ()


class Told(msgspec.Struct, frozen=True):
    """One rule: what it said of this patient and why, its thresholds with who set them, its sources."""

    id: str
    number: str
    title: str
    version: int
    verdict: str
    indicator: str
    why: str
    trail: Line
    missing: tuple[str, ...]
    limits: tuple[Limit, ...]
    evidence: tuple[Citation, ...]


class Row(msgspec.Struct, frozen=True):
    """One value of the table below the picture."""

    day: str
    value: str
    kind: str
    notes: tuple[str, ...]
    rests: bool


class Table(msgspec.Struct, frozen=True):
    """The values of one panel, newest first; ``left_out`` counts older ones that are not listed."""

    label: str
    unit: str
    rows: tuple[Row, ...]
    remark: str
    left_out: int


class Dropped(msgspec.Struct, frozen=True):
    """Things of one kind that were set aside for one reason; ``letter`` is that of its mark in the picture."""

    letter: str
    what: str
    day: str
    reason: str
    times: int


class View(msgspec.Struct, frozen=True):
    """The whole page, but for its address."""

    who: str
    moment: str
    day: date
    rules: tuple[Told, ...]
    picture: Picture
    description: str
    tables: tuple[Table, ...]
    aside: tuple[Dropped, ...]
    loaded: tuple[tuple[str, str], ...]
    fingerprint: str
    site: str


def view(facts: Facts, outcomes: Sequence[Outcome], book: RuleBook) -> View:
    """Tell what some rules said of a patient, most urgent first, as the card has them."""
    drawn, day = picture(facts, outcomes, book), day_of(facts)
    return View(
        who=_who(facts),
        moment=_moment(facts.now),
        day=day,
        rules=tuple(_told(outcome, day) for outcome in outcomes),
        picture=drawn,
        description=describe(drawn),
        tables=tuple(map(_table, drawn.panels)),
        aside=tuple(_aside(facts, drawn, book.terminology)),
        loaded=tuple(_loaded(facts)),
        fingerprint=book.fingerprint,
        site=book.site,
    )


def glance(facts: Facts, words: Terminology) -> tuple[str, tuple[Dropped, ...], tuple[tuple[str, str], ...]]:
    """Return whom facts are about without naming anybody, what was set aside, and what was there to be looked at."""
    counted = Counter((*_named(one, words), _reason(one)) for one in facts.set_aside)
    dropped = tuple(Dropped("", what, day, reason, times) for (what, day, reason), times in counted.items())
    return _who(facts), dropped, tuple(_loaded(facts))


def _who(facts: Facts) -> str:
    """Say who it is about without naming anybody: sex and age."""
    born, sex = facts.person.born, facts.person.sex or "sex not recorded"
    if born is None:
        return f"{sex}, age not recorded"
    least, greatest = age.years(born, facts.today)
    if greatest < 2:
        return f"{sex}, {age.days(born, facts.today)[0]} days"
    return f"{sex}, {least} years" if least == greatest else f"{sex}, {least} to {greatest} years"


def _moment(now: float) -> str:
    minutes = int(now // 60)
    return f"{axis.day_of(now)}, {minutes // 60 % 24:02}:{minutes % 60:02} UTC"


def _told(outcome: Outcome, day: date) -> Told:
    rule = outcome.rule
    return Told(
        id=rule.id,
        number=rule.number,
        title=rule.title,
        version=rule.version,
        verdict=outcome.verdict.value.upper(),
        indicator=outcome.indicator,
        why=spelled(" ".join(rule.why.split())),
        trail=trail(outcome.judgement),
        missing=tuple(plain(name, 80) for name in outcome.judgement.missing) if outcome.verdict is UNKNOWN else (),
        limits=tuple(limit(threshold, day) for threshold in rule.thresholds.values()),
        evidence=rule.evidence,
    )


def trail(judgement: Judgement, depth: int = 0) -> Line:
    """Return a trail as lines; words of the record in it are harmless."""
    said = spelled(plain(judgement.label, LONGEST))
    below = judgement.children if depth < DEEPEST else ()
    return Line(
        judgement.verdict.value.upper(), said[:1].upper() + said[1:], tuple(trail(child, depth + 1) for child in below)
    )


def describe(drawn: Picture) -> str:
    """Describe a picture in sentences, for those who do not see it."""
    lanes = "; ".join(lane.label if lane.bars or lane.ticks else f"{lane.label}: {lane.remark}" for lane in drawn.lanes)
    panels = " ".join(_sentence(panel) for panel in drawn.panels)
    return f"From {axis.day_of(drawn.start)} to {axis.day_of(drawn.now)}. {panels} On the same axis: {lanes}"


def _sentence(panel: Panel) -> str:
    if panel.newest is None:
        return f"{panel.label}: {panel.remark}"
    (trace, mark), number = panel.newest, len(panel.marks)
    limits = ", ".join(f"{limit.sign} {limit.said}" for limit in panel.limits)
    against = f"; thresholds {limits}" if limits else ""
    return (
        f"{panel.label}: {number} {'result' if number == 1 else 'results'}, newest {mark.said}"
        f"{f' ({trace.label})' if trace.label else ''} on {mark.when.day}{against}."
    )


def _table(panel: Panel) -> Table:
    found = [(trace, mark) for trace in panel.traces for mark in trace.marks]
    found.sort(key=lambda one: one[1].when.start, reverse=True)
    rows = [Row(mark.when.day, mark.said, trace.label, mark.notes, mark.rests) for trace, mark in found]
    return Table(panel.label, panel.unit, tuple(rows[:MOST_ROWS]), panel.remark, max(0, len(rows) - MOST_ROWS))


def _aside(facts: Facts, drawn: Picture, words: Terminology) -> Iterator[Dropped]:
    """List what was set aside: what has a mark in the picture one by one, the rest counted."""
    for one in drawn.asides:
        yield Dropped(one.letter, one.what, one.when.day if one.when else "undated", one.reason, 1)
    marked = Counter((one.what, _day(one), one.reason) for one in drawn.asides)
    others = Counter((*_named(one, words), _reason(one)) for one in facts.set_aside)
    for (what, day, reason), times in (others - marked).items():
        yield Dropped("", what, day, reason, times)


def _named(one: SetAside, words: Terminology) -> tuple[str, str]:
    kind = phrases.KINDS.get(one.kind, one.kind)
    what = words.label(one.concept) if one.concept and words.kind(one.concept) else kind
    return what, _day(one)


def _day(one: SetAside | Aside) -> str:
    return one.when.day if one.when else "undated"


def _reason(one: SetAside) -> str:
    return reason_in_words(one.reason)


def reason_in_words(reason: str) -> str:
    """Say why something was set aside."""
    return _REASONS.get(reason) or words_for(reason)


def _loaded(facts: Facts) -> Iterable[tuple[str, str]]:
    """Say of each kind of data whether it was there to be looked at."""
    for kind in (*model.KINDS, model.PAST_MEDICATIONS):
        if kind in facts.states or kind != model.PAST_MEDICATIONS:
            yield phrases.KINDS[kind], facts.state(kind).value
