"""The rule catalogue: each rule as a clinician or an auditor wants to read it, as data for pages and documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal

import msgspec

from cds_service.facts import model
from cds_service.publishing import phrases
from cds_service.publishing.logic import Step, Teller, clauses
from cds_service.rules.book import RuleBook
from cds_service.rules.model import Citation, Dated, Refire, Rule, Threshold
from cds_service.rules.placeholders import HOLE
from cds_service.rules.vignettes import HEADINGS, Vignette
from cds_service.terminology import Terminology

Vignettes = Mapping[str, Sequence[Vignette]]
CHAPTERS = {
    "calciphylaxis": "Calciphylaxis",
    "metastatic": "Metastatic: calcium or phosphate out of order",
    "dystrophic": "Dystrophic: damaged tissue",
    "iatrogenic": "Iatrogenic: treatment or procedure",
    "idiopathic": "Idiopathic",
    "order-safety": "Order safety",
    "monitoring": "Missing laboratory tests",
}


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value of a threshold from one day on: by whom (the rule, or a site with a name and a reason)."""

    since: date
    value: str
    layer: str
    who: str = ""
    why: str = ""


class Limit(msgspec.Struct, frozen=True):
    """A threshold as the catalogue shows it. ``number`` is the value in force, ``value`` the same with its unit."""

    name: str
    means: str
    value: str
    number: str
    unit: str
    since: date
    allowed: str
    source: str
    layer: str
    borrowed: str
    history: tuple[Change, ...]

    @property
    def by_site(self) -> tuple[Change, ...]:
        """What sites changed."""
        return tuple(change for change in self.history if change.layer != "rule")


class Offer(msgspec.Struct, frozen=True):
    """An order that a card suggests, with its code."""

    name: str
    say: str
    system: str
    code: str
    verified: str


class Urgency(msgspec.Struct, frozen=True):
    """How urgent the card is, when, and what it then says."""

    indicator: str
    when: Step | None
    summary: tuple[str, ...]


class Entry(msgspec.Struct, frozen=True):
    """One rule in the catalogue."""

    id: str
    number: str
    title: str
    chapter: str
    status: str
    version: int
    owner: str
    reviewed: date
    hooks: tuple[str, ...]
    why: str
    unhelpful_when: str
    about_order: tuple[str, ...]
    logic: Step
    terms: tuple[tuple[str, str], ...]
    reads: tuple[str, ...]
    urgencies: tuple[Urgency, ...]
    detail: str
    shows: tuple[str, ...]
    thresholds: tuple[Limit, ...]
    workup: tuple[Offer, ...]
    consults: tuple[Offer, ...]
    medication_advice: str
    alternatives: tuple[str, ...]
    removes_draft: bool
    override_reasons: tuple[str, ...]
    quiet_for: tuple[str, ...]
    quiet_unless: tuple[str, ...]
    evidence: tuple[Citation, ...]
    vignettes: dict[str, tuple[str, ...]]
    place: str

    @property
    def tried(self) -> int:
        """How many vignettes there are."""
        return sum(map(len, self.vignettes.values()))


class Catalogue(msgspec.Struct, frozen=True):
    """All rules, by chapter, as they are in force on a day."""

    day: date
    fingerprint: str
    site: str
    chapters: tuple[tuple[str, tuple[Entry, ...]], ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every rule, in the order of the chapters."""
        return tuple(entry for _, entries in self.chapters for entry in entries)


def catalogue(book: RuleBook, day: date, vignettes: Vignettes) -> Catalogue:
    """Make the catalogue of a rule book, with the thresholds in force on a day."""
    entries = [entry(rule, book, day, vignettes.get(rule.id, ())) for rule in book.rules.values()]
    known = [*CHAPTERS, *sorted({one.chapter for one in entries} - CHAPTERS.keys())]
    chapters = [
        (CHAPTERS.get(name, name), tuple(sorted((one for one in entries if one.chapter == name), key=_number)))
        for name in known
    ]
    return Catalogue(day, book.fingerprint, book.site, tuple(chapter for chapter in chapters if chapter[1]))


def newest_review(book: RuleBook) -> date:
    """Return the day of the newest review: a day for documents that must not change with the calendar."""
    return max((rule.reviewed for rule in book.rules.values()), default=date.min)


def _number(one: Entry) -> str:
    return one.number


def entry(rule: Rule, book: RuleBook, day: date, vignettes: Sequence[Vignette] = ()) -> Entry:
    """Describe one rule as it is in force on a day."""
    words = book.terminology
    teller = Teller(rule, words, book.values(rule, day))
    return Entry(
        id=rule.id,
        number=rule.number,
        title=rule.title,
        chapter=rule.chapter,
        status=rule.status,
        version=rule.version,
        owner=rule.owner,
        reviewed=rule.reviewed,
        hooks=rule.hooks,
        why=_line(rule.why),
        unhelpful_when=_line(rule.unhelpful_when),
        about_order=_labels(rule.document.get("about_order"), words),
        logic=teller.tell(rule.document["when"]),
        terms=(*_facts(rule), *_groups(rule, words)),
        reads=reads(rule, words),
        urgencies=_urgencies(rule, teller),
        detail=_filled(rule.card.detail, teller),
        shows=_shows(rule, teller),
        thresholds=tuple(limit(threshold, day) for threshold in rule.thresholds.values()),
        workup=_offers(rule.card.workup, words),
        consults=_offers(rule.card.consults, words),
        medication_advice=_filled(rule.card.medication_advice, teller),
        alternatives=_labels(rule.card.alternatives, words),
        removes_draft=rule.card.remove_draft,
        override_reasons=tuple(
            rule.reasons.get(name) or words.override_reasons[name].display for name in rule.card.override_reasons
        ),
        quiet_for=tuple(_quiet(rule.card.quiet.hours_by_hook)),
        quiet_unless=tuple(_refire(one, teller) for one in rule.card.quiet.unless),
        evidence=rule.evidence,
        vignettes={heading: tuple(one.name for one in vignettes if one.heading == heading) for heading in HEADINGS},
        place=rule.place,
    )


def reads(rule: Rule, words: Terminology) -> tuple[str, ...]:
    """Name the kinds of data without which the rule may be unable to tell."""
    kinds = {phrases.READ_FROM.get(words.kind(name) or "") for name in rule.reads}
    kinds |= {name for name in rule.reads if name in phrases.KINDS}
    if model.MEDICATIONS in kinds:
        kinds.add(model.STATEMENTS)
    told = [said for kind, said in phrases.KINDS.items() if kind in kinds]
    return (*told, "the orders being made") if rule.orders or rule.about_order else tuple(told)


def limit(threshold: Threshold, day: date) -> Limit:
    """Describe a threshold with the value in force on a day, and every value it had or will have."""
    now = threshold.on(day)
    return Limit(
        name=threshold.name,
        means=threshold.means,
        value=phrases.quantity(now.value, threshold.unit),
        number=phrases.number(now.value),
        unit=phrases.unit(threshold.unit),
        since=now.since,
        allowed=_allowed(threshold),
        source=threshold.source,
        layer=now.layer,
        borrowed=".".join(threshold.borrowed or ()),
        history=tuple(_change(dated) for dated in threshold.values),
    )


def _change(dated: Dated) -> Change:
    return Change(dated.since, phrases.number(dated.value), dated.layer, dated.who, dated.why)


def _allowed(threshold: Threshold) -> str:
    if isinstance(threshold.low, bool):
        return "on or off"
    low, high = phrases.number(threshold.low), phrases.number(threshold.high)
    return f"{low} to {high}" if low != high else f"{low} (fixed)"


def _urgencies(rule: Rule, teller: Teller) -> tuple[Urgency, ...]:
    raised = zip(rule.card.escalate, rule.document["card"].get("escalate") or (), strict=True)
    usual = Urgency(rule.card.indicator, None, _wordings(rule.card.summary, teller))
    return (
        usual,
        *(
            Urgency(one.to or rule.card.indicator, teller.tell(written["when"]), _wordings(one.summary, teller))
            for one, written in raised
        ),
    )


def _wordings(summary: Sequence[str], teller: Teller) -> tuple[str, ...]:
    return tuple(_filled(wording, teller) for wording in summary)


def _filled(text: str, teller: Teller) -> str:
    """Fill in the thresholds of a text; what only a patient's record can fill stays in braces."""
    values = teller.values
    return HOLE.sub(lambda hole: phrases.number(values[hole[1]]) if hole[1] in values else hole[0], _line(text))


def _quiet(hours_by_hook: Mapping[str, int]) -> Iterator[str]:
    """Say for how long a card stays quiet after it was declined."""
    for hook, hours in hours_by_hook.items():
        number, unit = (hours, "hours") if hours % 24 else (hours // 24, "days")
        time = phrases.quantity(Decimal(number), unit) if hours else "not at all: each order is looked at anew"
        yield f"{hook}: {time}" if hook else f"elsewhere: {time}" if len(hours_by_hook) > 1 else time


def _refire(one: Refire, teller: Teller) -> str:
    """Say what ends the quiet time early."""
    if one.kind == "new":
        return f"a new {one.about if one.about == 'lesion' else teller.label(one.about)} is recorded"
    if one.kind == "crosses":
        return f"{teller.label(one.about)} crosses {teller.amount(one.limit)}"
    return f"{teller.label(one.about)} {one.kind} by {teller.amount(one.limit)} or more"


def _facts(rule: Rule) -> tuple[tuple[str, str], ...]:
    """Return what the derived facts of a rule mean."""
    named = dict.fromkeys(clause["is"] for clause in clauses(rule.document) if isinstance(clause.get("is"), str))
    return tuple(phrases.FACTS[name] for name in named if name in phrases.FACTS)


def _groups(rule: Rule, words: Terminology) -> Iterator[tuple[str, str]]:
    """Return what the groups of concepts stand for that the logic names."""
    inside = clauses([rule.document["when"], rule.document["card"].get("escalate") or []])
    named = dict.fromkeys(value for clause in inside for value in clause.values() if isinstance(value, str))
    for name in named:
        if name in words.groups:
            yield words.label(name), "; ".join(map(words.label, words.members(name)))


def _shows(rule: Rule, teller: Teller) -> tuple[str, ...]:
    card = rule.card
    return tuple(teller.label(name) for name in (*card.show, *card.show_medications, *card.show_diagnoses))


def _offers(names: Sequence[str], words: Terminology) -> tuple[Offer, ...]:
    orders = [words.orders[name] for name in names]
    return tuple(Offer(one.name, one.say, one.system, one.code, one.verified) for one in orders)


def _labels(names: Sequence[str] | None, words: Terminology) -> tuple[str, ...]:
    return tuple(words.orders[name].name if name in words.orders else words.label(name) for name in names or ())


def _line(text: str) -> str:
    """Return a text of several lines as one."""
    return " ".join(text.split())
