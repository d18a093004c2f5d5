"""What a change would do: how far the back-test is, what it found, each patient's trail in both books, and saving."""

from __future__ import annotations

import msgspec
from flask import redirect, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from cds_service import decoding
from cds_service.adapters.governance import Conflict, Trial
from cds_service.backtest import Backtest, Changed, by_urgency
from cds_service.drawing.pairs import Pair, draw_pairs
from cds_service.publishing.parts import difference, worded
from cds_service.rules.model import INDICATORS
from cds_service.rules.tuning import Tuning, describe
from cds_service.web.admin import rule_view
from cds_service.web.admin.change import approval, asked_part, begin, conflict, number_of, save
from cds_service.web.admin.change_form import EXCEPTION, Typed, read_days, read_reason
from cds_service.web.admin.frame import AdminDesk, allowed, blueprint, desk, me, origin, page
from cds_service.web.admin.ground import cohort_choices, ground
from cds_service.web.admin.rules import books
from cds_service.web.admin.trying import Asked, Tried, trails

READERS = ("viewer", "editor", "approver")
# How many patients a page lists; the others are counted.
LISTED = 200


def asked_trial(here: AdminDesk, number: str) -> tuple[Trial, Asked, Tuning]:
    """Return what was tried. Raises NotFound."""
    found = here.governance.trials.get(number)
    if found is None:
        raise NotFound
    asked = decoding.convert(found.request, Asked)
    tuning = asked.decision()
    if tuning.rule not in here.base.rules:
        raise NotFound
    return found, asked, tuning


@blueprint.get("/trials/<number>")
@allowed(*READERS)
def trial(number: str) -> ResponseReturnValue:
    """Show a trial: while it runs how far it is, then what it found, with the form that saves."""
    here = desk()
    found, asked, tuning = asked_trial(here, number)
    if found.state != "done":
        return page("admin/change/running.html", trial=found, **_about(here, asked, tuning))
    typed = Typed({"since": tuning.since.isoformat(), "until": tuning.until.isoformat() if tuning.until else ""})
    return _result(here, found, asked, typed)


@blueprint.get("/trials/<number>/progress")
@allowed(*READERS)
def trial_progress(number: str) -> ResponseReturnValue:
    """Say how far a trial is, for the page that asks; when it has ended that page is loaded anew."""
    here = desk()
    found, _, _ = asked_trial(here, number)
    shown = page("admin/change/progress.html", trial=found)
    return (shown, 200, {"HX-Refresh": "true"}) if found.state != "running" else shown


def _about(here: AdminDesk, asked: Asked, tuning: Tuning) -> dict[str, object]:
    """Return what every page of a trial says of it."""
    rule = here.base.rules[tuning.rule]
    one = asked_part(here, tuning.rule, _name(here, tuning))
    tried = worded(rule, tuning.name, tuning.value, here.base)
    return {
        "rule": here.rule(tuning.rule),
        "part": one,
        "tuning": tuning,
        "asked": asked,
        "cohort": dict(cohort_choices()).get(asked.cohort, ""),
        "lines": difference(one.label, one.value, tried),
        "described": describe(tuning, here.base),
    }


def _name(here: AdminDesk, tuning: Tuning) -> str:
    """Return under which name a thing is shown: an exception that is not there yet has none of its own."""
    known = {f"{EXCEPTION}.{one.key}" for one in here.book.rules[tuning.rule].exemptions}
    return EXCEPTION if tuning.name.startswith(f"{EXCEPTION}.") and tuning.name not in known else tuning.name


def _result(here: AdminDesk, found: Trial, asked: Asked, typed: Typed, status: int = 200) -> ResponseReturnValue:
    tuning, told = asked.decision(), decoding.convert(found.result, Tried)
    about = _about(here, asked, tuning)
    number = tuning.value if not isinstance(tuning.value, bool | str | int) else None
    shown = page(
        "admin/change/result.html",
        trial=found,
        told=told,
        typed=typed,
        scale=rule_view.scale(asked_part(here, tuning.rule, _name(here, tuning)), books(here), number),
        bars=_bars(told.backtest) if told.backtest else "",
        figures=_figures(told.backtest) if told.backtest else [],
        findings=_findings(told.backtest) if told.backtest else [],
        listed=LISTED,
        rules=here.base.rules,
        asks=approval(here, tuning),
        **about,
    )
    return shown, status


def _bars(found: Backtest) -> object:
    pairs = [Pair(name, found.per_hundred(0, name), found.per_hundred(1, name)) for name in reversed(INDICATORS)]
    return draw_pairs(pairs, "cards", "Cards per 100 calls, before and after")


def _figures(found: Backtest) -> list[tuple[str, int, int, float, float]]:
    """Return a row for each urgency: how many cards, and how many per 100 calls, before and after."""
    after = dict(by_urgency(found.after.cards))
    return [
        (name, many, after[name], found.per_hundred(0, name), found.per_hundred(1, name))
        for name, many in by_urgency(found.before.cards)
    ]


def _findings(found: Backtest) -> list[tuple[str, int, int, int]]:
    """Return how often each rule that changes speaks: before, after, and with both."""
    names = sorted({*found.before.fired, *found.after.fired})
    rows = [(name, found.before.fired.get(name, 0), found.after.fired.get(name, 0)) for name in names]
    moved = {rule for one in found.changed for rule in (*one.gains, *one.loses)}
    return [(name, old, new, found.both.get(name, 0)) for name, old, new in rows if old != new or name in moved]


@blueprint.get("/trials/<number>/patients/<int:place>")
@allowed(*READERS)
def trial_patient(number: str, place: int) -> ResponseReturnValue:
    """Show why a patient gains or loses a card: the trail of each rule in both books."""
    here = desk()
    found, asked, tuning = asked_trial(here, number)
    one = _changed(found, place)
    subject = f"trial {number} patient {place}"
    here.governance.audit.append("read trail", subject, me().account.name, "viewer", origin())
    told = trails(ground(here), asked, one)
    return page("admin/change/patient.html", trial=found, one=one, trails=told, **_about(here, asked, tuning))


def _changed(found: Trial, place: int) -> Changed:
    told = decoding.convert(found.result, Tried) if found.state == "done" else None
    if told is None or told.backtest is None or not 0 <= place < len(told.backtest.changed):
        raise NotFound
    return told.backtest.changed[place]


@blueprint.post("/trials/<number>/again")
@allowed("editor")
def trial_again(number: str) -> ResponseReturnValue:
    """Try the same once more: on what is in force now, or because it was stopped."""
    here = desk()
    _, asked, _ = asked_trial(here, number)
    base = number_of(request.form, "base") or asked.base
    return begin(here, msgspec.structs.replace(asked, base=base))


@blueprint.post("/trials/<number>/save")
@allowed("editor")
def save_trial(number: str) -> ResponseReturnValue:
    """Save what was tried, with a reason; checked once more, since the rules may have moved on."""
    here = desk()
    found, asked, tuning = asked_trial(here, number)
    if found.state != "done":
        return redirect(url_for("admin.trial", number=number), 303)
    typed = read_reason(request.form)
    chosen = msgspec.structs.replace(read_days(typed, tuning, here.today), who=me().account.name, why=typed["why"])
    told = decoding.convert(found.result, Tried)
    fresh = ground(here).checks(chosen)
    if fresh.refused:
        typed.wrong("save", f"It cannot be saved. {fresh.refused}")
    elif fresh.turned and typed["seen"] != str(len(fresh.turned)):
        typed.wrong("seen", "Say that you have seen which examples change.")
    if typed.errors:
        return _result(here, found, asked, typed, 422)
    try:
        made = save(here, chosen, asked.base, asked.restores, told.summary | {"id": number, "cohort": asked.cohort})
    except Conflict as problem:
        return conflict(here, problem, chosen, asked)
    return redirect(url_for("admin.change", number=made.number), 303)
