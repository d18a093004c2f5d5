"""
Source attributes of each rule: the 13 of 45 CFR 170.315(b)(11) for evidence-based interventions, and what goes with it.

KNOWLEDGE 8.2. Which data about a person a rule uses is derived from what it reads, and a test takes those data away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import msgspec

from cds_service.facts.derived import COMPUTED, DERIVED
from cds_service.facts.model import PATIENT
from cds_service.publishing import intended
from cds_service.publishing.catalogue import Limit, limit
from cds_service.publishing.logic import clauses
from cds_service.rules.book import RuleBook
from cds_service.rules.model import Citation, Rule
from cds_service.terminology import Terminology

NOT_STATED = "not stated"
# LOINC codes of eGFR by equations with a race coefficient (KNOWLEDGE 8.2).
RACE_BASED_EGFR = ("48642-3", "48643-1")
STATED, USED, NOT_USED = "stated", "used", "not used"
NAMES = (
    "Bibliographic citation of the intervention (research or guideline)",
    "Developer of the intervention",
    "Funding source of the technical implementation",
    "Release and revision dates of the intervention or reference source",
    "Use of race",
    "Use of ethnicity",
    "Use of language",
    "Use of sexual orientation",
    "Use of gender identity",
    "Use of sex",
    "Use of date of birth",
    "Use of social determinants of health data",
    "Use of health status assessment data",
)
_RACE, _SEX, _BORN = 5, 10, 11
_PERSONAL = range(5, 14)


class Publisher(msgspec.Struct, frozen=True):
    """Who develops the rules and who paid for it, as whoever runs the service says; ``software`` is its version."""

    developer: str = "Calcinosis CDS project"
    funding: str = NOT_STATED
    software: str = ""


class Attribute(msgspec.Struct, frozen=True):
    """One of the 13 attributes: its number and name, whether it is stated (or used) or not, and the value in words."""

    number: int
    name: str
    use: str
    value: tuple[str, ...]


class Intervention(msgspec.Struct, frozen=True):
    """What the rule does: when it speaks, how urgently, what it says and offers."""

    hooks: tuple[str, ...]
    indicators: tuple[str, ...]
    summary: tuple[str, ...]
    why: str
    offers: tuple[str, ...]
    medication_advice: str


class SourceAttributes(msgspec.Struct, frozen=True):
    """Everything that is said about the source of one rule."""

    id: str
    number: str
    title: str
    version: int
    status: str
    owner: str
    reviewed: date
    as_of: date
    intended_use: str
    intended_users: str
    source_attributes: tuple[Attribute, ...]
    intervention: Intervention
    cautions: tuple[str, ...]
    evidence: tuple[Citation, ...]
    thresholds: tuple[Limit, ...]
    regulatory_remarks: tuple[str, ...]
    rule_book: str
    site: str


def attributes(rule: Rule, book: RuleBook, day: date, publisher: Publisher) -> SourceAttributes:
    """Return the source attributes of a rule as it is in force on a day."""
    return SourceAttributes(
        id=rule.id,
        number=rule.number,
        title=rule.title,
        version=rule.version,
        status=rule.status,
        owner=rule.owner,
        reviewed=rule.reviewed,
        as_of=day,
        intended_use=intended.INTENDED_USE,
        intended_users=intended.INTENDED_USERS,
        source_attributes=tuple(_all(rule, book, publisher)),
        intervention=_intervention(rule, book),
        cautions=tuple(cautions(rule, day)),
        evidence=rule.evidence,
        thresholds=tuple(limit(threshold, day) for threshold in rule.thresholds.values()),
        regulatory_remarks=intended.REGULATORY_REMARKS,
        rule_book=book.fingerprint,
        site=book.site,
    )


def _all(rule: Rule, book: RuleBook, publisher: Publisher) -> Iterator[Attribute]:
    stated = (tuple(map(cited, rule.evidence)), (publisher.developer,), (publisher.funding,), _dates(rule, publisher))
    for number, value in enumerate(stated, 1):
        yield Attribute(number, NAMES[number - 1], NOT_STATED if value == (NOT_STATED,) else STATED, value)
    used = uses(rule)
    for number in _PERSONAL:
        remarks = _race_remarks(rule, book.terminology) if number == _RACE else ()
        use = USED if number in used else NOT_USED
        yield Attribute(number, NAMES[number - 1], use, (used.get(number, "No line of the rule reads it."), *remarks))


def cited(citation: Citation) -> str:
    """Write a citation with how strong it is and how it was verified."""
    strength = f"; strength: {citation.strength}" if citation.strength else ""
    return f"{citation.cite} (status: {citation.status}{strength})"


def _dates(rule: Rule, publisher: Publisher) -> tuple[str, ...]:
    """Return the dates that are on record; a release nobody recorded is said to be so."""
    days = sorted({dated.since for one in rule.thresholds.values() for dated in one.values})
    told = "; ".join(f"{since}: {', '.join(_dated(rule, since))}" for since in days)
    return (
        f"Release: {_released(rule)}",
        f"Revision: version {rule.version} of the rule, last reviewed {rule.reviewed}",
        *((f"Values of thresholds in force from: {told}",) if told else ()),
        *((f"Service: version {publisher.software}",) if publisher.software else ()),
        "Dates of the reference sources stand in the citations",
    )


def _dated(rule: Rule, since: date) -> list[str]:
    return [name for name, one in rule.thresholds.items() if any(dated.since == since for dated in one.values)]


def _released(rule: Rule) -> str:
    return str(rule.document.get("released") or "not stated in the rule")


def uses(rule: Rule) -> dict[int, str]:
    """Say which data about the person a rule uses, derived from its clauses and from the facts that they name."""
    found = {}
    words = list(clauses(rule.document["when"])) + list(clauses(rule.document["card"].get("escalate") or []))
    if any("sex" in clause for clause in words):
        found[_SEX] = "The rule reads the sex that is recorded."
    if any("age" in clause for clause in words):
        found[_BORN] = "The rule has limits of age."
    elif any(PATIENT in _read_by(clause) for clause in words):
        found[_BORN] = "The rule asks for something whose limits depend on age."
    elif rule.card.show_subtype:
        found[_BORN] = "Only for display: which type of calcinosis the record fits depends on age."
    return found


def _read_by(clause: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the derived facts and the computed measurements of a clause read."""
    named = [str(value) for value in clause.values() if isinstance(value, str)]
    facts = [DERIVED[name].reads for name in named if name in DERIVED]
    computed = [COMPUTED[name].reads for name in named if name in COMPUTED]
    return tuple(read for names in (*facts, *computed) for read in names)


def _race_remarks(rule: Rule, words: Terminology) -> tuple[str, ...]:
    """Declare race-based eGFR results, which are accepted as input."""
    read = {code for name in rule.reads | rule.helps for _, code in words.codes.get(name, ())}
    found = [code for code in RACE_BASED_EGFR if code in read]
    if not found:
        return ()
    return (f"Accepted as input: eGFR results of equations with a race coefficient (LOINC {', '.join(found)}).",)


def _intervention(rule: Rule, book: RuleBook) -> Intervention:
    card, words = rule.card, book.terminology
    offered = dict.fromkeys((*card.workup, *card.consults))
    return Intervention(
        hooks=rule.hooks,
        indicators=tuple(dict.fromkeys((card.indicator, *(one.to for one in card.escalate if one.to)))),
        summary=card.summary,
        why=" ".join(rule.why.split()),
        offers=tuple(words.orders[name].say for name in offered),
        medication_advice=" ".join(card.medication_advice.split()),
    )


def cautions(rule: Rule, day: date) -> Iterator[str]:
    """Say where the card misleads, and what about the rule is weaker than it looks."""
    yield f"The card is unhelpful when: {' '.join(rule.unhelpful_when.split())}"
    if rule.status != "active":
        yield f"The rule is {rule.status}: its card is not shown."
    yield from (f"The card is not shown: a setting is off ({means})." for means in _switched_off(rule, day))
    if "critical" in (rule.card.indicator, *(one.to for one in rule.card.escalate)):
        yield "A critical card asks for prompt review. It is no alarm: it is shown only when an EHR calls."
    if any("points" in clause for clause in clauses(rule.document["when"])):
        yield intended.UNVALIDATED_POINTS
    chosen = [name for name, one in rule.thresholds.items() if "chosen by us" in one.source]
    if chosen:
        yield f"Chosen by the authors, without a direct source: {', '.join(chosen)}. The site must approve."
    weak = [one.cite for one in rule.evidence if one.status in ("from memory", "not verified")]
    if weak:
        yield f"Cited without having been read: {'; '.join(weak)}."
    if "calcium-total" in rule.reads:
        yield "Calcium corrected for albumin is an estimate, often wrong in kidney failure; ionized calcium is better."


def _switched_off(rule: Rule, day: date) -> Iterator[str]:
    """Yield what the settings mean that are off, and without which the rule never fires."""
    for clause in rule.document["when"].get("all", ()):
        threshold = rule.thresholds.get(clause.get("enabled", ""))
        if threshold and not threshold.on(day).value:
            yield threshold.means
