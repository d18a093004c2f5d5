"""The rules as admins see them: a list with figures, and a page for each with all that can be decided about it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from flask.typing import ResponseReturnValue

from cds_service.adapters.governance import Change
from cds_service.drawing.svg import Drawn
from cds_service.insight import Figures, RuleFigures, spark
from cds_service.insight.handing import moment
from cds_service.publishing.catalogue import CHAPTERS, entry
from cds_service.publishing.parts import parts
from cds_service.rules.model import Rule
from cds_service.rules.vignettes import Vignette
from cds_service.web.admin import rule_view
from cds_service.web.admin.figures import figures
from cds_service.web.admin.frame import AdminDesk, allowed, blueprint, desk, page
from cds_service.web.admin.pilot import pilot
from cds_service.web.admin.preview import Preview, preview
from cds_service.web.admin.rule_view import Books, Tried
from cds_service.web.sandbox.marking import Clean, folded

EVERYONE = ("viewer", "editor", "approver", "operator", "auditor")


class Listed(msgspec.Struct, frozen=True):
    """A rule in the list."""

    rule: Rule
    figures: RuleFigures
    spark: Drawn
    overdue: bool
    changed: int
    waiting: int


class Shown(msgspec.Struct, frozen=True):
    """The card of a rule for one of its examples, as an EHR would show it."""

    preview: Preview
    first: Clean
    rest: Clean


def books(here: AdminDesk) -> Books:
    """Return the books of a desk, with its day."""
    return Books(here.base, here.book, here.today)


def waiting(history: Sequence[Change]) -> list[Change]:
    """Return what is not in force yet: it waits for approval, or for its day."""
    return [one for one in history if one.state in ("waiting", "planned")]


@blueprint.get("/rules", endpoint="rules")
@allowed(*EVERYONE)
def listed() -> ResponseReturnValue:
    """List the rules with what they did in the last eight weeks."""
    here, counted = desk(), figures(desk())
    history = here.governance.history()
    rows = [_listed(rule, here, counted, [one for one in history if one.tuning.rule == rule.id]) for rule in _all(here)]
    chapters = [(title, [row for row in rows if row.rule.chapter == name]) for name, title in CHAPTERS.items()]
    others = [row for row in rows if row.rule.chapter not in CHAPTERS]
    shown = [(title, some) for title, some in [*chapters, ("Others", others)] if some]
    return page("admin/rules/list.html", chapters=shown, day=here.today, off=_switched_off(here))


def _switched_off(here: AdminDesk) -> frozenset[str]:
    """Return the rules that an operator has switched off by themselves; services are told at the head of each page."""
    return frozenset(here.engine.ledger.switches().rules) if here.engine.ledger else frozenset()


def _all(here: AdminDesk) -> list[Rule]:
    return sorted(here.book.rules.values(), key=lambda rule: rule.number)


def _listed(rule: Rule, here: AdminDesk, counted: Figures, history: Sequence[Change]) -> Listed:
    found = counted.of_rule(rule.id)
    shown = spark(found.per_day, here.today, rule.id)
    changed = [one for one in parts(rule, here.base, here.book, here.today) if one.changed]
    return Listed(rule, found, shown, rule_view.overdue(rule, here.today), len(changed), len(waiting(history)))


@blueprint.get("/rules/<rule_id>", endpoint="rule")
@allowed(*EVERYONE)
def shown(rule_id: str) -> ResponseReturnValue:
    """Show one rule: why, logic, numbers on their scales, card, examples, figures, history."""
    here = desk()
    rule = here.rule(rule_id)
    history = here.governance.history(rule=rule_id)
    rows = [rule_view.row(one, books(here), waiting(history)) for one in parts(rule, here.base, here.book, here.today)]
    every = figures(here)
    counted = every.of_rule(rule_id)
    examples = here.vignettes().get(rule_id, ())
    return page(
        "admin/rules/rule.html",
        rule=rule,
        entry=entry(rule, here.book, here.today, examples),
        groups=rule_view.grouped(rows),
        changed=any(row.part.changed and not row.part.borrowed for row in rows),
        figures=counted,
        pilot=pilot(rule, here, every),
        moment=moment,
        off=rule_id in _switched_off(here),
        spark=spark(counted.per_day, here.today, rule_id),
        examples=rule_view.by_heading(_tried(rule, here, examples)),
        card=_card(rule, here, examples),
        versions=rule_view.versions(history, books(here)),
        overdue=rule_view.overdue(rule, here.today),
        reviewed_after=rule_view.REVIEW_DAYS,
    )


def _tried(rule: Rule, here: AdminDesk, examples: Sequence[Vignette]) -> list[Tried]:
    """Return the examples with what the rule says to them, tried once for each book."""
    book = here.lasting
    return book.once(("tried", rule.id), lambda: rule_view.tried(rule, book, examples))


def _card(rule: Rule, here: AdminDesk, examples: Sequence[Vignette]) -> Shown | None:
    book = here.lasting
    found = book.once(("preview", rule.id), lambda: preview(book.rules[rule.id], book, examples))
    return Shown(found, *folded(found.card.detail)) if found else None
