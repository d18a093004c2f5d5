"""Changing one thing about a rule: the form, what it would do, and saving it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from flask import redirect, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from cds_service.adapters.governance import Change, Conflict
from cds_service.errors import ContentError
from cds_service.publishing.parts import Line, Part, difference, part, typed, worded
from cds_service.rules.tuning import EXCEPTED, Tuning, excepted, kind_of, needs_approval
from cds_service.rules.tuning_check import USERS, diagnoses
from cds_service.web.admin import rule_view
from cds_service.web.admin.change_form import EXCEPTION, Typed, read_change
from cds_service.web.admin.figures import figures
from cds_service.web.admin.frame import AdminDesk, allowed, blueprint, desk, flash, me, origin, page
from cds_service.web.admin.ground import cohort_choices, ground, jobs
from cds_service.web.admin.rules import books
from cds_service.web.admin.trying import NONE, POPULATION, UNTRIED, Asked

NOTHING = "That is in force already: nothing would change."
KINDS_OF_EXCEPTION = {
    "diagnosis": "patients who have one of these diagnoses (the names are listed below)",
    "user": f"kinds of user ({', '.join(USERS)})",
    "client": "EHRs, by the name with which they sign their calls (issuer)",
    "patients": "patients, by their pseudonym",
    "none": "nobody any more: end this exception now",
}


def asked_part(here: AdminDesk, rule_id: str, name: str) -> Part:
    """Return what is to be changed. Raises NotFound where there is no such thing, or it follows another."""
    rule = here.rule(rule_id)
    if name == EXCEPTION:
        return Part(rule.id, name, EXCEPTION, "new exception", "none", "", "", "at most 180 days", "none", "none")
    try:
        found = part(rule_id, name, here.base, here.book, here.today)
    except (ContentError, KeyError):
        raise NotFound from None
    if found.borrowed or found.fixed:
        raise NotFound
    return found


@blueprint.get("/rules/<rule_id>/change/<name>")
@allowed("editor")
def change_form(rule_id: str, name: str) -> ResponseReturnValue:
    """Show the form."""
    here = desk()
    one = asked_part(here, rule_id, name)
    fields = Typed({"value": one.number, "since": here.today.isoformat()} | _of_exception(one, here))
    return _form(here, one, fields, base=here.governance.newest(rule_id, name))


def _of_exception(one: Part, here: AdminDesk) -> dict[str, str]:
    """Return the fields of an exception that is in force."""
    if one.kind != EXCEPTION or not one.number:
        return {}
    kind, of = excepted(Tuning(one.rule, one.name, one.number, here.today))
    return {"kind": kind, "of": "\n".join(of)}


def _form(here: AdminDesk, one: Part, fields: Typed, base: int, status: int = 200) -> ResponseReturnValue:
    shown = page(
        "admin/change/form.html",
        rule=here.rule(one.rule),
        part=one,
        typed=fields,
        base=base,
        scale=rule_view.scale(one, books(here)),
        cohorts=cohort_choices() if one.kind not in UNTRIED else [],
        kinds={kind: KINDS_OF_EXCEPTION[kind] for kind in (*EXCEPTED, *(("none",) if one.number else ()))},
        diagnoses=_diagnoses(here) if one.kind == EXCEPTION else [],
    )
    return shown, status


def _diagnoses(here: AdminDesk) -> list[tuple[str, str]]:
    words = here.base.terminology
    return sorted((name, words.label(name)) for name in diagnoses(words))


@blueprint.post("/rules/<rule_id>/change/<name>")
@allowed("editor")
def try_change(rule_id: str, name: str) -> ResponseReturnValue:
    """See what it would do: begin to try it, and go to where that is shown."""
    here = desk()
    one = asked_part(here, rule_id, name)
    fields = read_change(request.form, rule_id, name, here.base, here.today)
    cohort = _cohort(fields, one)
    base = number_of(request.form, "base")
    if fields.tuning is None or fields.errors:
        return _form(here, one, fields, base, 422)
    tuning = msgspec.structs.replace(fields.tuning, who=me().account.name)
    if ground(here).in_force(tuning):
        fields.wrong("value", NOTHING)
        return _form(here, one, fields, base, 422)
    return begin(here, Asked(tuning.plain(), base, cohort))


def _cohort(fields: Typed, one: Part) -> str:
    if one.kind in UNTRIED:
        return NONE
    chosen = fields["cohort"]
    if chosen not in dict(cohort_choices()):
        fields.wrong("cohort", "Choose the patients to try it on.")
    return chosen


def begin(here: AdminDesk, asked: Asked) -> ResponseReturnValue:
    """Begin to try a change, and go to the page that shows how far it is."""
    number = here.governance.trials.start(me().account.name, msgspec.to_builtins(asked))
    if not jobs().start(ground(here), asked, number):
        here.governance.trials.fail(number, "This process works on other back-tests. Try again in a minute.")
    return redirect(url_for("admin.trial", number=number), 303)


def number_of(form: Mapping[str, str], field: str) -> int:
    """Return a number that a page put into a form; one that somebody changed is as good as none."""
    text = form.get(field, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else 0


# --- saving ----------------------------------------------------------------------------------------------------------


def save(here: AdminDesk, tuning: Tuning, base: int, restores: int, trial: dict[str, Any] | None) -> Change:
    """Keep a decision, and let this process follow at once. Raises Conflict where somebody else was faster."""
    asks = approval(here, tuning)
    made = here.governance.propose(
        tuning, base=base, asks=asks, restores=restores, trial=trial, role="editor", origin=origin()
    )
    here.follow()
    said = f"Change {made.number} waits for approval: {asks}." if asks else f"Change {made.number} is saved."
    flash(said, "warning" if asks else "ok")
    return made


def approval(here: AdminDesk, tuning: Tuning) -> str:
    """Return why a second person has to agree; "" where nobody has to."""
    silently = figures(here).of_rule(tuning.rule, 0).pilot_evaluated
    everything = here.approve_everything
    return needs_approval(tuning, here.book, here.today, silently, files=here.base, everything=everything)


class Clash(msgspec.Struct, frozen=True):
    """Two people changed the same thing: what it was, what the other made of it, what is asked for now."""

    current: Change
    theirs: tuple[Line, ...]
    mine: tuple[Line, ...]


def conflict(here: AdminDesk, problem: Conflict, tuning: Tuning, asked: Asked) -> ResponseReturnValue:
    """Show what the other person did, and offer to try again on top of it (409)."""
    newest = problem.current
    rule = here.base.rules[tuning.rule]
    before = here.governance.change(asked.base) if asked.base else None
    was = rule_view.words_of(before, here.base) if before else rule_view.file_words(newest, here.base)
    theirs, mine = rule_view.words_of(newest, here.base), worded(rule, tuning.name, tuning.value, here.base)
    label = rule_view.label_of(newest, books(here))
    clash = Clash(newest, difference(label, was, theirs), difference(label, theirs, mine))
    again = _again(tuning, newest.number, asked.cohort)
    shown = page("admin/change/conflict.html", rule=rule, label=label, clash=clash, tuning=tuning, again=again)
    return shown, 409


def _again(tuning: Tuning, base: int, cohort: str) -> dict[str, str]:
    """Return the fields of the form that tries the same on top of what the other person did."""
    value = typed(tuning.value)
    fields = {"value": value, "since": tuning.since.isoformat(), "base": str(base)}
    fields |= {"until": tuning.until.isoformat()} if tuning.until else {}
    fields["cohort"] = POPULATION if cohort == NONE else cohort
    if kind_of(tuning.name) != EXCEPTION:
        return fields
    kind, of = excepted(tuning) if value else ("none", ())
    return fields | {"kind": kind, "of": "\n".join(of)}
