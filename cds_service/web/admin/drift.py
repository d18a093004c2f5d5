"""Drift: rules that went silent or jumped, codes and units that were sent and mean nothing here."""

from __future__ import annotations

import msgspec
from flask import request
from flask.typing import ResponseReturnValue

from cds_service.drawing.told import reason_in_words
from cds_service.insight.alarms import Alarm
from cds_service.insight.events import as_date, as_day
from cds_service.insight.seen import KINDS, Unmatched, Unusable
from cds_service.rules.model import Rule
from cds_service.terminology import Terminology
from cds_service.terminology.units import spelled
from cds_service.web.admin.figures import figures
from cds_service.web.admin.frame import allowed, blueprint, desk, page
from cds_service.web.sandbox.marking import visible

EVERYONE = ("viewer", "editor", "approver", "operator", "auditor")
LISTED = 100
# What was first seen so many days ago is new.
NEW = 14
# What stands for a code that may be words, and is not kept (recording.snapshot).
WITHHELD = "other"
_RUNNING = ("active", "pilot")


blueprint.add_app_template_filter(spelled, "spelled")
blueprint.add_app_template_filter(visible, "visible")


@blueprint.app_template_filter("day")
def day_shown(day: int) -> str:
    """Show a day that is counted from 1970-01-01."""
    return as_date(day).isoformat()


class Told(msgspec.Struct, frozen=True):
    """An alarm, and the rule it is about."""

    alarm: Alarm
    rule: Rule


class Seen(msgspec.Struct, frozen=True):
    """A code or unit that meant nothing, in words."""

    what: str
    system: str
    code: str
    times: int
    calls: int
    first: str
    last: str
    new: bool


class Dropped(msgspec.Struct, frozen=True):
    """What no rule could use, in words."""

    what: str
    reason: str
    times: int
    calls: int
    first: str
    last: str
    new: bool


@blueprint.get("/drift", endpoint="drift")
@allowed(*EVERYONE)
def listed() -> ResponseReturnValue:
    """Show alarms, then what was sent and not matched."""
    here = desk()
    counted, day, words = figures(here), as_day(here.today), here.book.terminology
    running = [rule.id for rule in here.book.rules.values() if rule.status in _RUNNING]
    kind = request.args.get("kind", "")
    unmatched = [one for one in counted.seen.unmatched() if kind in ("", one.kind)]
    unusable = counted.seen.unusable()
    return page(
        "admin/insight/drift.html",
        alarms=[Told(one, here.book.rules[one.rule]) for one in counted.alarms(running)],
        watched=len(running),
        kinds={name: said for name, said in KINDS.items() if any(one.kind == name for one in counted.seen.unmatched())},
        kind=kind,
        unmatched=[_seen(one, words, day) for one in unmatched[:LISTED]],
        more=max(0, len(unmatched) - LISTED),
        unusable=[_dropped(one, words, day) for one in unusable[:LISTED]],
        more_unusable=max(0, len(unusable) - LISTED),
        left_out=counted.seen.left_out,
        total=counted.rows,
        new_days=NEW,
    )


def _seen(one: Unmatched, words: Terminology, today: int) -> Seen:
    system, code = one.system or "no code system", one.code or "no code"
    if one.kind == "units":
        system = f"unit of {words.label(one.system)}" if words.kind(one.system) else one.system
    elif WITHHELD in (one.system, one.code):
        code = "not kept: it may be words" if one.code == WITHHELD else code
        system = "not kept: it may be words" if one.system == WITHHELD else system
    return Seen(one.what, system, code, one.times, one.calls, *_days(one, today))


def _dropped(one: Unusable, words: Terminology, today: int) -> Dropped:
    what = words.label(one.what) if words.kind(one.what) else KINDS.get(one.what, one.what)
    return Dropped(what, reason_in_words(one.reason), one.times, one.calls, *_days(one, today))


def _days(one: Unmatched | Unusable, today: int) -> tuple[str, str, bool]:
    return as_date(one.first).isoformat(), as_date(one.last).isoformat(), today - one.first < NEW
