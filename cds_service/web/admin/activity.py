"""Activity: what was asked and answered lately, how long it took, and each recorded call told again, then and now."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec
from flask import request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from cds_service.adapters.governance import Change
from cds_service.adapters.ledger import reading
from cds_service.insight import Call
from cds_service.insight.events import as_date, read_content
from cds_service.insight.handing import moment
from cds_service.insight.spark import spark
from cds_service.insight.travelling import Travel, travel
from cds_service.recording import DecisionRow, facts_from
from cds_service.rules.book import RuleBook
from cds_service.rules.tuning import tuned
from cds_service.web.admin.figures import chosen_days, figures, spans
from cds_service.web.admin.frame import AdminDesk, allowed, blueprint, desk, page

EVERYONE = ("viewer", "editor", "approver", "operator", "auditor")
PAGE = 50
# How many decisions one look for rare ones reads at most.
FARTHEST = 2_000
APPROVED = "approved"


class Wanted(msgspec.Struct, frozen=True):
    """Which calls are listed: before a number (0: from the newest), of a hook, with a rule that fired, with a card."""

    before: int = 0
    hook: str = ""
    rule: str = ""
    shown: bool = False

    def fits(self, call: Call) -> bool:
        """Say whether a call is wanted."""
        content = call.content
        fired = {one.rule for said in (content, content.pilot) for one in said.fired}
        return (
            self.hook in ("", content.hook)
            and (not self.rule or self.rule in fired)
            and (not self.shown or bool(content.cards))
        )


@blueprint.get("/activity", endpoint="activity")
@allowed(*EVERYONE)
def listed() -> ResponseReturnValue:
    """List recorded calls, newest first, with the figures of each hook."""
    here, days = desk(), chosen_days()
    counted = figures(here)
    wanted = _wanted()
    calls, further = _calls(here, wanted)
    hooks = counted.hooks(days)
    return page(
        "admin/insight/activity.html",
        hooks=[(one, spark(one.per_day, here.today, f"hook-{one.hook}", "calls")) for one in hooks],
        burden=counted.burden(days),
        total=counted.rows,
        calls=calls,
        further=further,
        wanted=wanted,
        rules=sorted(here.book.rules.values(), key=lambda rule: rule.number),
        days=days,
        spans=spans(),
        moment=moment,
    )


def _wanted() -> Wanted:
    asked = request.args
    before = asked.get("before", "0")
    number = int(before) if before.isascii() and before.isdecimal() and len(before) < 16 else 0
    return Wanted(number, asked.get("hook", "")[:80], asked.get("rule", "")[:120], asked.get("shown") == "1")


def _calls(here: AdminDesk, wanted: Wanted) -> tuple[list[Call], int]:
    """Return a page of calls, and the number before which the next one begins; 0 where there is none."""
    assert here.engine.ledger is not None  # noqa: S101 - the admin pages are there only with a ledger
    found, before, looked = list[Call](), wanted.before, 0
    while len(found) <= PAGE and looked < FARTHEST:
        calls = reading.newest(here.engine.ledger.database, before, 200)
        if not calls:
            return found[:PAGE], found[PAGE - 1].number if len(found) > PAGE else 0
        looked, before = looked + len(calls), calls[-1].number
        found += [call for call in calls if wanted.fits(call)]
    return found[:PAGE], found[PAGE - 1].number if len(found) > PAGE else before


@blueprint.get("/activity/<number>", endpoint="decision")
@allowed(*EVERYONE)
def decision(number: str) -> ResponseReturnValue:
    """Tell a recorded call again: what was said, what the book of that day says, what today's says."""
    here = desk()
    assert here.engine.ledger is not None  # noqa: S101 - as above
    row = here.engine.ledger.decision(number)
    if row is None:
        raise NotFound
    content = read_content(msgspec.json.encode(row.content))
    return page(
        "admin/insight/decision.html",
        row=row,
        content=content,
        told=_travel(here, row),
        at=moment(row.at),
        day=as_date(int(row.at // 86_400)),
        titles={rule.id: rule.title for rule in here.book.rules.values()},
    )


def _travel(here: AdminDesk, row: DecisionRow) -> Travel | None:
    """Return the call told again; None where its facts are not kept, or cannot be read any more."""
    if not row.facts:
        return None
    content = read_content(msgspec.json.encode(row.content))
    try:
        facts = facts_from(row)
    except (msgspec.DecodeError, msgspec.ValidationError, zlib.error):
        return None
    return travel(content, facts, (book_at(here, row.at), here.book), row.service, here.today)


def book_at(here: AdminDesk, at: float) -> RuleBook:
    """
    Return the book of a moment: today's files with the decisions that had been made, and approved, by then.

    What the files said then is not kept: the fingerprint tells whether they are the same.
    """
    then = decided_at(here.governance.history(), at)
    return tuned(here.base, [one.tuning for one in then], as_date(int(at // 86_400))) if then else here.base


def decided_at(history: Sequence[Change], at: float) -> list[Change]:
    """Return the changes that counted at a moment, oldest first."""
    return sorted((one for one in history if _counts(one, at)), key=lambda one: one.number)


def _counts(one: Change, at: float) -> bool:
    if one.at > at:
        return False
    ruling = one.ruling if one.ruling and one.ruled_at <= at else ""
    return ruling == APPROVED or not (one.asks or ruling)
