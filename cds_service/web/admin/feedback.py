"""Feedback: what clinicians answered to cards, by rule and by form of a rule; their reasons; their words."""

from __future__ import annotations

import msgspec
from flask import request
from flask.typing import ResponseReturnValue

from cds_service.adapters.ledger import reading
from cds_service.insight import Figures, RuleFigures
from cds_service.insight.comments import Comment, ranked, read_words
from cds_service.insight.editions import EditionFigures
from cds_service.insight.equity import SMALLEST
from cds_service.insight.handing import moment
from cds_service.insight.intervals import ENOUGH
from cds_service.rules.model import Rule
from cds_service.web.admin.figures import chosen_days, figures, spans
from cds_service.web.admin.frame import AdminDesk, allowed, blueprint, desk, page

EVERYONE = ("viewer", "editor", "approver", "operator", "auditor")
WORDS = "comment-words.txt"
# So many comments are ranked, the newest; and so many are listed.
READ, LISTED = 2_000, 100


class Row(msgspec.Struct, frozen=True):
    """A rule with its figures, and its forms where there are several."""

    rule: Rule
    figures: RuleFigures
    editions: list[EditionFigures]

    @property
    def notes(self) -> list[str]:
        """What is worth knowing of changes between forms of the rule."""
        return [one.note for one in self.editions if one.note]


@blueprint.get("/feedback", endpoint="feedback")
@allowed(*EVERYONE)
def listed() -> ResponseReturnValue:
    """Show answers to cards, reasons, comments, and who was shown cards."""
    here, days = desk(), chosen_days()
    counted = figures(here)
    rule = request.args.get("rule", "")
    rule = rule if rule in here.book.rules else ""
    typed = request.args.get("words", "")[:20_000]
    words = read_words(typed or standing_words(here))
    rows = _rows(here, counted, days)
    comments = _comments(here, counted, words, rule)
    return page(
        "admin/insight/feedback.html",
        all=counted.all_cards(days),
        burden=counted.burden(days),
        unknown=counted.unknown_answers(),
        rows=[row for row in rows if row.figures.shown],
        changed=[row for row in rows if len(row.editions) > 1],
        reasons=_reasons(rows),
        displays={one.code: one.display for one in here.book.terminology.override_reasons.values()},
        comments=comments[:LISTED],
        read=len(comments),
        words=words,
        words_file=WORDS,
        groups=counted.equity(days, rule),
        smallest=SMALLEST,
        enough=ENOUGH,
        rule=rule,
        rules=sorted(here.book.rules.values(), key=lambda one: one.number),
        days=days,
        spans=spans(),
        moment=moment,
    )


def _rows(here: AdminDesk, counted: Figures, days: int) -> list[Row]:
    rules = sorted(here.book.rules.values(), key=lambda rule: rule.number)
    found = [Row(rule, counted.of_rule(rule.id, days), counted.editions(rule.id, days)) for rule in rules]
    return sorted(found, key=lambda row: -row.figures.shown)


def _reasons(rows: list[Row]) -> list[tuple[Rule, dict[str, int]]]:
    return [(row.rule, row.figures.reasons) for row in rows if row.figures.reasons]


def _comments(here: AdminDesk, counted: Figures, words: tuple[str, ...], rule: str) -> list[Comment]:
    ledger = here.engine.ledger
    if ledger is None:
        return []
    with counted.counts.lock:
        found = ranked(reading.commented(ledger.database, READ), counted.counts.cards, words)
    return [one for one in found if not rule or (one.card is not None and rule in one.card.rules)]


def standing_words(here: AdminDesk) -> str:
    """Return the list of words that stands in the content folder, read anew each time; "" where there is none."""
    path = here.content / WORDS
    return path.read_text("utf-8") if path.is_file() else ""
