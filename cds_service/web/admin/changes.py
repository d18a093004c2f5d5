"""Changes that were made: what waits for a second person, each with its difference, and the way back."""

from __future__ import annotations

import msgspec
from flask import redirect, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from cds_service.adapters.governance import Change, Conflict
from cds_service.errors import CdsError, ContentError
from cds_service.publishing.parts import difference, part, worded
from cds_service.rules.tuning import Tuning, check, check_new, current, kind_of
from cds_service.web.admin import rule_view
from cds_service.web.admin.change import NOTHING, approval, asked_part, conflict, number_of, save
from cds_service.web.admin.change_form import EXCEPTION, Typed, read_days, read_reason
from cds_service.web.admin.frame import AdminDesk, allowed, blueprint, desk, flash, me, origin, page
from cds_service.web.admin.ground import ground
from cds_service.web.admin.rules import EVERYONE, books
from cds_service.web.admin.trying import NONE, Asked

# How many of the older changes a page lists.
RECENT = 50


@blueprint.get("/changes")
@allowed(*EVERYONE)
def changes() -> ResponseReturnValue:
    """List what waits for approval, what begins on a later day, and what was decided lately."""
    here = desk()
    every = rule_view.versions(here.governance.history(), books(here))
    groups = [
        ("Waiting for a second person", [one for one in every if one.change.state == "waiting"]),
        ("Begins later", [one for one in every if one.change.state == "planned"]),
        ("Decided", [one for one in every if one.change.state not in ("waiting", "planned")][:RECENT]),
    ]
    return page("admin/change/list.html", groups=groups, rules=here.base.rules)


def asked_change(here: AdminDesk, number: int) -> Change:
    """Return a change. Raises NotFound."""
    found = here.governance.change(number)
    if found is None:
        raise NotFound
    return found


@blueprint.get("/changes/<int:number>")
@allowed(*EVERYONE)
def change(number: int) -> ResponseReturnValue:
    """Show one change: what it does, why, what the back-test said, who agreed."""
    return _shown(desk(), number)


def _shown(here: AdminDesk, number: int, problem: str = "", status: int = 200) -> ResponseReturnValue:
    found = asked_change(here, number)
    versions = rule_view.versions(here.governance.history(rule=found.tuning.rule), books(here))
    version = next(one for one in versions if one.change.number == number)
    shown = page(
        "admin/change/change.html",
        version=version,
        change=version.change,
        rule=here.base.rules.get(found.tuning.rule),
        ruled=rule_view.day_of(found.ruled_at) if found.ruled_at else "",
        own=found.tuning.who == me().account.name,
        problem=problem,
    )
    return shown, status


_REFUSALS = {"own-change": 403, "other-kind": 403, "conflict": 409}
OUTCOMES = {"approved": "approver", "rejected": "approver", "withdrawn": "editor"}


@blueprint.post("/changes/<int:number>/ruling")
@allowed("approver", "editor")
def rule_on_change(number: int) -> ResponseReturnValue:
    """Approve, reject or withdraw what waits: an approver who did not propose it, or the one who did."""
    here, outcome = desk(), request.form.get("outcome", "")
    if OUTCOMES.get(outcome) not in me().account.roles:
        return _shown(here, number, "Your account may not do that.", 403)
    why = " ".join(request.form.get("why", "").split())
    if outcome == "approved" and (refused := _refused(here, asked_change(here, number).tuning)):
        return _shown(here, number, f"It cannot be approved. {refused}", 422)
    try:
        here.governance.rule_on(number, outcome, me().account.name, why, role=OUTCOMES[outcome], origin=origin())
    except CdsError as problem:
        said = " ".join(part for part in (problem.what, problem.remedy) if part)
        return _shown(here, number, said, _REFUSALS.get(problem.slug, 422))
    here.follow()
    flash(f"Change {number} is {outcome}.", "ok")
    return redirect(url_for("admin.change", number=number), 303)


def _refused(here: AdminDesk, tuning: Tuning) -> str:
    """Say why what was proposed some time ago cannot be approved today: the files, or the examples, refuse it."""
    try:
        check(tuning, here.base)
    except ContentError as problem:
        return problem.what
    return ground(here).checks(tuning).refused


# --- the way back ----------------------------------------------------------------------------------------------------


def _restored(here: AdminDesk, rule_id: str, name: str, to: int) -> Tuning:
    """Return the decision that puts back what a change said, or (0) what the files say. Raises NotFound."""
    who = me().account.name
    if to:
        old = here.governance.change(to)
        if old is None or (old.tuning.rule, old.tuning.name) != (rule_id, name):
            raise NotFound
        return msgspec.structs.replace(old.tuning, since=here.today, who=who, why="")
    if kind_of(name) in (EXCEPTION, "reason"):
        return Tuning(rule_id, name, "", here.today, who)
    value = current(here.base, rule_id, name, here.today)
    if value is None:
        raise NotFound
    return Tuning(rule_id, name, value, here.today, who)


@blueprint.get("/rules/<rule_id>/restore/<name>")
@allowed("editor")
def restore_form(rule_id: str, name: str) -> ResponseReturnValue:
    """Show what restoring would change, and what the examples say to it."""
    here = desk()
    asked_part(here, rule_id, _known(here, rule_id, name))
    tuning = _restored(here, rule_id, name, number_of(request.args, "to"))
    until = tuning.until if tuning.until and tuning.until > here.today else None
    typed = Typed({"since": here.today.isoformat(), "until": until.isoformat() if until else ""})
    return _restoring(here, tuning, typed, number_of(request.args, "to"), here.governance.newest(rule_id, name))


def _known(here: AdminDesk, rule_id: str, name: str) -> str:
    known = {f"{EXCEPTION}.{one.key}" for one in here.rule(rule_id).exemptions}
    return EXCEPTION if kind_of(name) == EXCEPTION and name not in known else name


def _restoring(
    here: AdminDesk, tuning: Tuning, typed: Typed, to: int, base: int, status: int = 200
) -> ResponseReturnValue:
    rule = here.base.rules[tuning.rule]
    one = part(tuning.rule, tuning.name, here.base, here.book, here.today)
    lines = difference(one.label, one.value, worded(rule, tuning.name, tuning.value, here.base))
    shown = page(
        "admin/change/restore.html",
        rule=rule,
        part=one,
        lines=lines,
        to=to,
        base=base,
        typed=typed,
        checks=ground(here).checks(tuning),
        asks=approval(here, tuning),
        tuning=tuning,
    )
    return shown, status


@blueprint.post("/rules/<rule_id>/restore/<name>")
@allowed("editor")
def restore(rule_id: str, name: str) -> ResponseReturnValue:
    """Put back what was in force: a new change, which keeps what it restores."""
    here, to, base = desk(), number_of(request.form, "to"), number_of(request.form, "base")
    asked_part(here, rule_id, _known(here, rule_id, name))
    typed = read_reason(request.form)
    chosen = msgspec.structs.replace(read_days(typed, _restored(here, rule_id, name, to), here.today), why=typed["why"])
    try:
        check_new(chosen, here.base, here.today)
    except ContentError as problem:
        typed.wrong("why" if "why" in typed.errors else "save", problem)
    if refused := ground(here).checks(chosen).refused:
        typed.wrong("save", f"It cannot be saved. {refused}")
    if not typed.errors and ground(here).in_force(chosen):
        typed.wrong("save", NOTHING)
    if typed.errors:
        return _restoring(here, chosen, typed, to, base, 422)
    try:
        made = save(here, chosen, base, to, None)
    except Conflict as problem:
        return conflict(here, problem, chosen, Asked(chosen.plain(), base, NONE, to))
    return redirect(url_for("admin.change", number=made.number), 303)
