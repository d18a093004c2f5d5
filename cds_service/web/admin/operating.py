"""For those who run the service: accounts, the audit, and kill switches."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import msgspec
from flask import redirect, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, NotFound

from cds_service.adapters.governance import ROLES
from cds_service.adapters.governance.changes import SHORTEST_REASON
from cds_service.adapters.ledger.switches import ALL, RULE, SERVICE, Switch, in_force
from cds_service.web.admin.frame import AdminDesk, allowed, blueprint, desk, flash, me, origin, page, typed

EVERYONE = ROLES
PAGE = 100
_NUMBER = re.compile(r"[0-9]{1,15}").fullmatch
# So many of the last switches are listed.
RECENT = 50


def moment(seconds: float) -> str:
    """Write a moment (seconds since 1970) as people read it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def told(text: str) -> list[tuple[str, str]]:
    """Return what an entry of the audit says, as pairs of name and value; a plain text has no name."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return [("", text)] if text else []
    return [(str(name), _plain(value)) for name, value in found.items() if value not in (None, "", [], {})]


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


blueprint.add_app_template_filter(moment, "admin_moment")
blueprint.add_app_template_filter(told, "admin_told")


# --- accounts --------------------------------------------------------------------------------------------------------


@blueprint.get("/accounts")
@allowed("operator", "auditor")
def accounts() -> ResponseReturnValue:
    """List the accounts. They are made on the command line, so that nobody who got in here can make another."""
    return page("admin/accounts.html", accounts=desk().governance.accounts.all(), problem="")


@blueprint.post("/accounts/<name>")
@allowed("operator")
def change_account(name: str) -> ResponseReturnValue:
    """Disable an account, or let it be used again."""
    kept, deed = desk().governance.accounts, request.form.get("deed", "")
    if deed not in ("disable", "enable"):
        raise BadRequest
    if kept.find(name) is None:
        raise NotFound
    if name == me().account.name:
        said = "You cannot disable your own account: nobody might be left who can undo it."
        return page("admin/accounts.html", accounts=kept.all(), problem=said), 403
    (kept.disable if deed == "disable" else kept.enable)(name, me().account.name, origin())
    flash(f"The account {name} is {deed}d; whoever was signed in with it is signed out.")
    return redirect(url_for("admin.accounts"), 303)


# --- the audit -------------------------------------------------------------------------------------------------------


@blueprint.get("/audit")
@allowed("auditor", "approver", "operator")
def audit() -> ResponseReturnValue:
    """Show who did what, newest first; with filters, a page at a time."""
    wanted = {name: typed(request.args, name) for name in ("who", "action", "subject")}
    asked = request.args.get("before", "")
    return _audit(wanted, int(asked) if _NUMBER(asked) else None)


@blueprint.post("/audit/verify")
@allowed("auditor", "approver", "operator")
def verify_audit() -> ResponseReturnValue:
    """Compute every hash of the audit anew."""
    return _audit(dict.fromkeys(("who", "action", "subject"), ""), verified=desk().governance.audit.verify())


def _audit(wanted: dict[str, str], before: int | None = None, verified: list[str] | None = None) -> ResponseReturnValue:
    kept = desk().governance.audit
    # One more than is shown tells whether there is another page.
    found = kept.page(before, PAGE + 1, wanted["who"] or None, wanted["action"] or None, wanted["subject"] or None)
    entries = found[:PAGE]
    return page(
        "admin/audit.html",
        entries=entries,
        wanted=wanted,
        actions=kept.actions(),
        before=before,
        older=entries[-1].number if len(found) > PAGE else 0,
        count=kept.count(),
        verified=verified,
    )


# --- kill switches ---------------------------------------------------------------------------------------------------


class Off(msgspec.Struct, frozen=True):
    """What is switched off now: what it is called, and who left it so."""

    switch: Switch
    label: str

    @property
    def key(self) -> str:
        """What names it in a form."""
        return f"{self.switch.scope} {self.switch.name}".strip()


@blueprint.get("/switches")
@allowed(*EVERYONE)
def switches() -> ResponseReturnValue:
    """Show what is switched off, and what was."""
    return _switches("")


def _switches(problem: str, status: int = 200) -> ResponseReturnValue:
    here = desk()
    ledger = here.engine.ledger
    assert ledger is not None  # noqa: S101 - the admin pages are there only with a ledger
    # What is on record, not what this process knows: another may have switched a second ago.
    history = ledger.switched()
    off = [Off(one, _label(here, one.scope, one.name)) for one in in_force(history) if one.off]
    shown = page(
        "admin/switches.html",
        off=sorted(off, key=lambda one: one.key),
        history=[(one, _label(here, one.scope, one.name)) for one in reversed(history[-RECENT:])],
        rules=[one for one in here.base.rules.values() if f"rule {one.id}" not in {gone.key for gone in off}],
        services=[name for name in here.base.services if f"service {name}" not in {gone.key for gone in off}],
        problem=problem,
        shortest=SHORTEST_REASON,
        chosen=request.form,
    )
    return shown, status


def _label(here: AdminDesk, scope: str, name: str) -> str:
    rule = here.base.rules.get(name)
    if scope == RULE:
        return f"Rule {rule.number} {rule.title}" if rule else f"Rule {name}"
    return f"Service {name}" if scope == SERVICE else "Everything"


@blueprint.post("/switches")
@allowed("operator")
def switch() -> ResponseReturnValue:
    """Switch a rule, a service or everything off or on; every process follows within five seconds."""
    here, form = desk(), request.form
    scope, _, name = form.get("what", "").partition(" ")
    why = typed(form, "why", 2_000)
    known = {RULE: {*here.base.rules}, SERVICE: {*here.base.services}, ALL: {""}}.get(scope, set())
    if not (name in known or _is_off(here, scope, name)) or form.get("to") not in ("off", "on"):
        return _switches("Choose what to switch, and whether off or on.", 422)
    if len(why) < SHORTEST_REASON:
        return _switches(f"Say why, in at least {SHORTEST_REASON} characters: others will want to know.", 422)
    here.governance.switch(scope, name, form["to"] == "off", me().account.name, why, "operator", origin())
    if here.engine.ledger is not None:
        here.engine.ledger.look()
    flash(f"{_label(here, scope, name)} is switched {form['to']}; every process follows within five seconds.")
    return redirect(url_for("admin.switches"), 303)


def _is_off(here: AdminDesk, scope: str, name: str) -> bool:
    """Say whether something is switched off that is not in the files any more: it can be switched on again."""
    ledger = here.engine.ledger
    return ledger is not None and any((scope, name) == (one.scope, one.name) for one in in_force(ledger.switched()))
