"""
Lint: what is not wrong enough to keep a book from loading, but what a careful reviewer would send back.

Each check is one small function over one rule; a complaint says where, what, and what to do about it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from cds_service.facts.derived import COMPUTED
from cds_service.rules import placeholders, source
from cds_service.rules.book import RuleBook, rule_paths
from cds_service.rules.measuring import label_of, unit_of
from cds_service.rules.model import INDICATORS, Rule
from cds_service.rules.vignettes import HEADINGS, Vignette, read_file, vignette_paths
from cds_service.schemas.strict_yaml import Mapping, Sequence
from cds_service.terminology import Terminology

WARNING, NOTE = "warning", "note"
LONGEST_SUMMARY = 139
REVIEW_YEARS = 2
# How long a name from a record usually is: "Phenprocoumon 3 mg Tabletten", "Ulcer of lower extremity (disorder)".
WHOLE = {"finding": 28, "abnormality": 28, "disease": 36, "drugs": 40, "exposure": 28, "n": 1, "points": 2}
TYPICAL = {"drug": 28, "lesion": 36, "calcium": len("calcium 11.2 mg/dL"), **WHOLE}
_DOSE = re.compile(r"\b\d+(\.\d+)?\s?(mg|g|mcg|ug|IU|units?|mmol)\b(?!\s?/\s?d?L)", re.IGNORECASE)


class Complaint(msgspec.Struct, frozen=True, order=True):
    """Something a reviewer would send back: how grave, where, what, and what to do."""

    where: str
    level: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        """Show as the other messages about content are shown: place first."""
        return f"{self.where}\n  {self.level}: {self.what}" + (f"\n  {self.remedy}" if self.remedy else "")


class Case(msgspec.Struct):
    """One rule under review, with its file, its vignettes, and everything around it."""

    rule: Rule
    document: Mapping
    vignettes: list[Vignette]
    book: RuleBook
    today: date

    def complain(self, level: str, key: str, what: str, remedy: str = "") -> Complaint:
        """Make a complaint about a key of the rule's file (or of its card)."""
        card = self.document["card"]
        line = self.document.lines.get(key) or card.lines.get(key) or self.document.line
        return Complaint(f"{self.rule.place}:{line}", level, what, remedy)


def complaints(book: RuleBook, content: Path, today: date) -> list[Complaint]:
    """Return every complaint about the rules of a book, in the order of their files."""
    paths, tests = rule_paths(content), vignette_paths(content)
    found = [
        Complaint(f"rules/{path.parent.name}/{path.name}:1", WARNING, f'There is no rule "{name}" for these vignettes.')
        for name, path in tests.items()
        if name not in book.rules
    ]
    for name, rule in book.rules.items():
        vignettes = read_file(tests[name]) if name in tests else []
        case = Case(rule, source.read_rule(paths[name], rule.place), vignettes, book, today)
        found += [complaint for check in CHECKS for complaint in check(case)]
    return sorted(found)


def untried(case: Case) -> Iterator[Complaint]:
    """Every rule has a vignette under each of the three headings."""
    headings = {vignette.heading for vignette in case.vignettes}
    lacking = [heading for heading in HEADINGS if heading not in headings]
    if lacking and case.rule.status != "retired":
        file = f"{case.rule.place.removesuffix('.yaml')}.test.yaml"
        yield Complaint(
            f"{file}:1", WARNING, f"No vignette under {', '.join(lacking)}.", "Add at least one under each."
        )


def unchecked_indicator(case: Case) -> Iterator[Complaint]:
    """Every indicator that a card can have is expected by some vignette."""
    card = case.rule.card
    shown = {vignette.scene["card"].split(" ")[0] for vignette in case.vignettes if "card" in vignette.scene}
    for indicator in sorted({card.indicator, *(one.to for one in card.escalate if one.to)} - shown):
        yield case.complain(
            NOTE,
            "indicator",
            f"No vignette expects a card that is {indicator}.",
            f"Write card: {indicator} under fires.",
        )


def idle_escalation(case: Case) -> Iterator[Complaint]:
    """An escalation raises the indicator."""
    usual = INDICATORS.index(case.rule.card.indicator)
    for one in case.rule.card.escalate:
        if one.to and INDICATORS.index(one.to) <= usual:
            yield case.complain(
                WARNING,
                "escalate",
                f"The escalation to {one.to} never raises a card that is {case.rule.card.indicator}.",
            )


def unused_threshold(case: Case) -> Iterator[Complaint]:
    """A number that nothing uses is a number that somebody will tune in vain."""
    used = set(_words_of(case.document["when"])) | set(_words_of(case.document["card"])) | {case.rule.pairing}
    lent = {
        threshold.borrowed[1]
        for rule in case.book.rules.values()
        for threshold in rule.thresholds.values()
        if threshold.borrowed and threshold.borrowed[0] == case.rule.id
    }
    lines = (case.document.get("thresholds") or Mapping()).lines if case.rule.thresholds else {}
    for name in case.rule.thresholds:
        if name not in used | lent:
            yield Complaint(
                f"{case.rule.place}:{lines[name]}",
                WARNING,
                f'The threshold "{name}" is never used.',
                "Use it in when:, in the card, or take it away.",
            )


def _words_of(node: Any) -> Iterator[str]:
    """Yield every word of the texts below a node: the names of thresholds are among them."""
    if isinstance(node, str):
        yield from re.findall(r"[a-z][a-z0-9_]*", node)
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from _words_of(value)
    elif isinstance(node, Sequence):
        for value in node:
            yield from _words_of(value)


def unasked(case: Case) -> Iterator[Complaint]:
    """Every hook that a rule names has a service that asks it."""
    answered = {entry.service.hook for entry in case.book.services.values()}
    for hook in case.rule.hooks if case.rule.status in ("active", "pilot") else ():
        if hook not in answered:
            key = "hooks" if "hooks" in case.document else "status"
            yield case.complain(WARNING, key, f"No service answers {hook}.", f"Add {hook}/service.yaml.")


def no_override_reasons(case: Case) -> Iterator[Complaint]:
    """A clinician who declines a card can say why."""
    if not case.rule.card.override_reasons:
        yield case.complain(
            WARNING, "card", "The card offers no override reasons.", "See hooks/concepts/override-reasons.yaml."
        )


def _summaries(rule: Rule) -> list[tuple[str, ...]]:
    """Return the lists of summaries of a rule: the usual one, and those of its escalations."""
    return [rule.card.summary, *(escalation.summary for escalation in rule.card.escalate if escalation.summary)]


def last_wording(case: Case) -> Iterator[Complaint]:
    """The last wording of a summary can always be filled."""
    if any(placeholders.holes(wordings[-1]) for wordings in _summaries(case.rule)):
        yield case.complain(
            WARNING, "summary", "The last wording of the summary has placeholders.", "End with a wording without any."
        )


def long_summary(case: Case) -> Iterator[Complaint]:
    """A wording fits with the values it usually gets (CDS Hooks: below 140 characters)."""
    for wording in chain.from_iterable(_summaries(case.rule)):
        length = len(placeholders.HOLE.sub(lambda hole: "x" * _typical(hole[1], case), wording))
        if length > LONGEST_SUMMARY:
            yield case.complain(
                WARNING,
                "summary",
                f'A summary of about {length} characters is too long: "{wording[:40]}...".',
                f"Keep it at {LONGEST_SUMMARY} characters or less.",
            )


def _typical(hole: str, case: Case) -> int:
    """Return how long a filled placeholder usually is."""
    if hole in TYPICAL:
        return TYPICAL[hole]
    if hole in case.rule.thresholds:
        return max(len(str(dated.value)) for dated in case.rule.thresholds[hole].values)
    if hole == "missing":
        return len(", ".join(_absent(case.document["when"], case.book.terminology)))
    if hole.endswith(".date"):
        return len("2026-11-21")
    if case.book.terminology.kind(hole) in placeholders.NAMED:
        return TYPICAL["lesion"]
    return len("12.3 ") + len(unit_of(case.book.terminology, hole))


def _absent(node: Any, words: Terminology) -> Iterator[str]:
    if isinstance(node, Mapping):
        if "not_done" in node:
            yield label_of(words, words.members(node["not_done"])[0])
        for value in node.values():
            yield from _absent(value, words)
    elif isinstance(node, Sequence):
        for value in node:
            yield from _absent(value, words)


def unfillable(case: Case) -> Iterator[Complaint]:
    """A placeholder for what was found stands only where something of the kind can be found."""
    words, card, named = case.book.terminology, case.rule.card, case.rule.reads | case.rule.orders
    can = {
        "missing": any(_absent(case.document["when"], words)),
        "lesion": any(name.startswith("les-") for name in case.rule.reads),
        "drug": any(words.kind(name) == "medication" for name in named if name not in COMPUTED),
    }
    texts = (*chain.from_iterable(_summaries(case.rule)), card.detail)
    for hole in sorted({hole for text in texts for hole in placeholders.holes(text)}):
        if words.kind(hole) in placeholders.NAMED:
            can[hole] = not named.isdisjoint(words.members(hole))
        if not can.get(hole, True):
            yield case.complain(WARNING, "card", f"Nothing that the rule reads can fill {{{hole}}}.")


def advice(case: Case) -> Iterator[Complaint]:
    """Medication advice gives options, never a dose, and asks to consider (KNOWLEDGE 8.1, criterion 3)."""
    text = case.rule.card.medication_advice
    if _DOSE.search(text):
        yield case.complain(WARNING, "medication_advice", "The medication advice names a dose.", "Give options only.")
    if text and "consider" not in text.casefold():
        yield case.complain(
            WARNING, "medication_advice", "The medication advice reads as an order.", 'Word it as "consider ...".'
        )


def weak_citation(case: Case) -> Iterator[Complaint]:
    """A citation that nobody has read is said to be one."""
    for citation, line in zip(case.rule.evidence, case.document["evidence"].lines, strict=True):
        if citation.status in ("from memory", "not verified"):
            yield Complaint(
                f"{case.rule.place}:{line}",
                NOTE,
                f'The citation "{citation.cite}" is {citation.status}.',
                "Read the source, then change its status.",
            )


def overdue(case: Case) -> Iterator[Complaint]:
    """A rule is reviewed every two years."""
    reviewed = case.rule.reviewed
    due = date(reviewed.year + REVIEW_YEARS, reviewed.month, min(reviewed.day, 28))
    if case.today > due and case.rule.status != "retired":
        yield case.complain(
            WARNING, "reviewed", f"The last review was on {reviewed}, more than {REVIEW_YEARS} years ago."
        )


def same_number(case: Case) -> Iterator[Complaint]:
    """A number belongs to one rule: EHRs remember overrides by it."""
    for other in case.book.rules.values():
        if other.number == case.rule.number and other.id != case.rule.id:
            yield case.complain(WARNING, "number", f"{other.id} has the number {other.number} too.")


CHECKS: tuple[Callable[[Case], Iterator[Complaint]], ...] = (
    untried,
    unchecked_indicator,
    idle_escalation,
    unused_threshold,
    unasked,
    no_override_reasons,
    last_wording,
    long_summary,
    unfillable,
    advice,
    weak_citation,
    overdue,
    same_number,
)
