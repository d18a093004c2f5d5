"""What the pages of rules show, made from the books, the decisions and the figures; reads nothing by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec

from cds_service.adapters.governance import Change
from cds_service.checking.checks import said
from cds_service.drawing.scales import Ruler, draw_scale
from cds_service.drawing.svg import Drawn
from cds_service.facts.intake import Reader
from cds_service.publishing import phrases
from cds_service.publishing.parts import HEADINGS, Line, Part, difference, file_value, part, worded
from cds_service.rules.book import RuleBook
from cds_service.rules.model import Rule, Threshold
from cds_service.rules.tuning import kind_of
from cds_service.rules.vignettes import HEADINGS as VIGNETTES
from cds_service.rules.vignettes import Vignette, run

# A review is due after a year (Sigma and ADMIN.md speak of 300 days and more; guidelines change yearly at most).
REVIEW_DAYS = 365


class Books(msgspec.Struct, frozen=True):
    """The book of the files, the same with what admins decided, and the day on which both are looked at."""

    base: RuleBook
    book: RuleBook
    today: date


class Row(msgspec.Struct, frozen=True):
    """A thing that can be decided, as a row of the rule's page: its scale, and what waits for it."""

    part: Part
    scale: Drawn | str = ""
    waiting: tuple[Change, ...] = ()
    since: date | None = None
    who: str = ""
    until: date | None = None


class Tried(msgspec.Struct, frozen=True):
    """An example with what the rule says to it now."""

    name: str
    heading: str
    says: str
    passed: bool
    wrong: tuple[str, ...]
    trail: tuple[str, ...]


class Version(msgspec.Struct, frozen=True):
    """
    A decision in the history of a rule: what it replaced, and what it said.

    ``before`` is the change it followed; ``usual`` says that the files say the same.
    """

    change: Change
    label: str
    lines: tuple[Line, ...]
    day: str
    before: int = 0
    usual: bool = False


def row(one: Part, books: Books, waiting: Sequence[Change]) -> Row:
    """Return a part with its scale and with what waits for approval or for its day."""
    rule = books.book.rules[one.rule]
    held = rule.thresholds.get(one.name)
    mine = tuple(change for change in waiting if change.tuning.name == one.name)
    if held is None:
        return Row(one, waiting=mine)
    now = held.on(books.today)
    ahead = [dated.since for dated in held.values if dated.since > books.today]
    by_admin = now.layer == "admin"
    until = min(ahead, default=None) if by_admin else None
    return Row(one, scale(one, books), mine, now.since if now.layer != "rule" else None, now.who, until)


def scale(one: Part, books: Books, tried: Decimal | None = None, key: str = "") -> Drawn | str:
    """Draw a number on its scale; "" for a switch and for a number that is fixed."""
    threshold = books.book.rules[one.rule].thresholds.get(one.name)
    if threshold is None or isinstance(threshold.low, bool) or isinstance(threshold.high, bool) or one.fixed:
        return ""
    ruler = Ruler(one.means, one.unit, threshold.low, threshold.high, *_marks(one, threshold, books), tried)
    return draw_scale(ruler, key or one.name)


def _marks(one: Part, threshold: Threshold, books: Books) -> tuple[Decimal, Decimal]:
    guideline = file_value(books.base, one.rule, one.name, books.today)
    return Decimal(str(guideline)), Decimal(threshold.on(books.today).value)


def tried(rule: Rule, book: RuleBook, vignettes: Sequence[Vignette]) -> list[Tried]:
    """Try the examples of a rule now."""
    reader = Reader(book.terminology)
    return [_tried(one, book, reader) for one in vignettes if one.rule == rule.id]


def _tried(one: Vignette, book: RuleBook, reader: Reader) -> Tried:
    result = run(one, book, reader=reader)
    return Tried(one.name, one.heading, said(result), result.passed, result.wrong, result.trail)


def by_heading(examples: Iterable[Tried]) -> list[tuple[str, list[Tried]]]:
    """Return the examples under their headings, as the file has them."""
    found = list(examples)
    grouped = [(heading, [one for one in found if one.heading == heading]) for heading in VIGNETTES]
    return [(phrases.HEADINGS[heading], some) for heading, some in grouped if some]


def versions(history: Sequence[Change], books: Books) -> list[Version]:
    """Return the history of a rule, newest first, each decision with what it replaced."""
    found: list[Version] = []
    before: dict[tuple[str, str], tuple[int, str]] = {}
    for change in sorted(history, key=lambda one: one.number):
        place = (change.tuning.rule, change.tuning.name)
        number, old = before.get(place) or (0, file_words(change, books.base))
        new, label = words_of(change, books.base), label_of(change, books)
        usual = new == file_words(change, books.base)
        found.append(Version(change, label, difference(label, old, new), day_of(change.at), number, usual))
        if change.ruling not in ("rejected", "withdrawn"):
            before[place] = change.number, new
    return found[::-1]


def words_of(change: Change, base: RuleBook) -> str:
    """Say the value of a decision in words, and until when it holds."""
    tuning = change.tuning
    rule = base.rules.get(tuning.rule)
    until = f" (until {tuning.until})" if tuning.until else ""
    known = rule is not None and (kind_of(tuning.name) != "threshold" or tuning.name in rule.thresholds)
    return (worded(rule, tuning.name, tuning.value, base) if rule and known else str(tuning.value)) + until


def file_words(change: Change, base: RuleBook) -> str:
    """Say what the files say of the thing that a decision is about."""
    tuning = change.tuning
    rule = base.rules.get(tuning.rule)
    if rule is None or (kind_of(tuning.name) == "threshold" and tuning.name not in rule.thresholds):
        return "not in the rule files any more"
    return worded(rule, tuning.name, file_value(base, tuning.rule, tuning.name, tuning.since), base)


def label_of(change: Change, books: Books) -> str:
    """Name the thing that a decision is about."""
    tuning = change.tuning
    if tuning.rule not in books.base.rules:
        return tuning.place
    if kind_of(tuning.name) == "threshold" and tuning.name not in books.base.rules[tuning.rule].thresholds:
        return tuning.place
    return part(tuning.rule, tuning.name, books.base, books.book, books.today).label


def day_of(at: float) -> str:
    """Write a moment as people read it, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def overdue(rule: Rule, today: date) -> bool:
    """Say whether somebody should review the rule again."""
    return (today - rule.reviewed).days > REVIEW_DAYS


def grouped(rows: Sequence[Row]) -> Mapping[str, list[Row]]:
    """Return the rows by what they are about: numbers, then status and urgency, wordings, exceptions."""
    kinds = ("threshold", "status", "indicator", "quiet_hours", "rollout", "reason", "exception")
    return {HEADINGS[kind]: [one for one in rows if one.part.kind == kind] for kind in kinds}
