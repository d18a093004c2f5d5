"""Exports: feedback, source attributes and the audit, for other tools. Each export is itself written to the audit."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from flask import Response, current_app, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from cds_service.adapters.governance import Entry
from cds_service.adapters.ledger import Ledger, reading
from cds_service.adapters.ledger.exporting import cell
from cds_service.insight import Answer
from cds_service.insight.auditing import bundle
from cds_service.insight.handing import COLUMNS, Wanted, moment, rows
from cds_service.publishing.attributes import attributes
from cds_service.terminology.concepts import word_pattern
from cds_service.web.admin.frame import AdminDesk, allowed, blueprint, desk, me, origin, page

EVERYONE = ("viewer", "editor", "approver", "operator", "auditor")
OF_FEEDBACK, OF_AUDIT = ("editor", "approver", "auditor"), ("auditor",)
AUDIT = ("number", "at", "who", "role", "action", "subject", "old", "new", "origin", "previous", "hash")
_encoder = msgspec.json.Encoder(decimal_format="number")
_JSON, _CSV, _LINES, _FHIR = "application/json", "text/csv", "application/x-ndjson", "application/fhir+json"


@blueprint.get("/exports", endpoint="exports")
@allowed(*EVERYONE)
def listed() -> ResponseReturnValue:
    """Show what can be exported, and what each column means."""
    return _page(desk())


def _page(here: AdminDesk, problem: str = "") -> ResponseReturnValue:
    return page(
        "admin/insight/exports.html",
        columns=COLUMNS,
        audit_columns=AUDIT,
        rules=sorted(here.book.rules.values(), key=lambda rule: rule.number),
        hooks=sorted({service.service.hook for service in here.book.services.values()}),
        roles=me().account.roles,
        of_feedback=OF_FEEDBACK,
        of_audit=OF_AUDIT,
        problem=problem,
        typed=request.form,
        today=here.today,
    )


# --- feedback --------------------------------------------------------------------------------------------------------


@blueprint.post("/exports/feedback", endpoint="export_feedback")
@allowed(*OF_FEEDBACK)
def feedback() -> ResponseReturnValue:
    """Hand over feedback as CSV or JSON, as the filters say."""
    here, form = desk(), request.form
    try:
        wanted = read_wanted(form)
    except ValueError as problem:
        return _page(here, str(problem))
    found = list(rows(_answers(here), reading.by_card(_ledger(here).database), wanted))
    kind = _JSON if form.get("form") == "json" else _CSV
    _told(here, "exported feedback", f"{len(found)} rows", dict(form))
    if kind == _JSON:
        return _sent(msgspec.json.encode(found), kind, f"feedback-{here.today}.json")
    return _sent(as_csv(COLUMNS, found), kind, f"feedback-{here.today}.csv")


def read_wanted(form: Mapping[str, str]) -> Wanted:
    """Read which feedback is wanted. Raises ValueError, which says what is wrong."""
    since, until = _day(form.get("since", "")), _day(form.get("until", ""))
    if since and until and until < since:
        raise ValueError("The last day lies before the first.")
    return Wanted(
        _start(since) if since else 0.0,
        _start(until + timedelta(days=1)) if until else float("inf"),
        form.get("rule", ""),
        form.get("outcome", ""),
        form.get("hook", ""),
    )


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text.strip()) if text.strip() else None
    except ValueError:
        raise ValueError(f"{text[:20]} is not a day. Write it as 2026-03-01.") from None


def _start(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _ledger(here: AdminDesk) -> Ledger:
    assert here.engine.ledger is not None  # noqa: S101 - the admin pages are there only with a ledger
    return here.engine.ledger


def _answers(here: AdminDesk) -> Iterator[Answer]:
    for batch in reading.answers(_ledger(here).database):
        yield from batch


# --- source attributes -----------------------------------------------------------------------------------------------


@blueprint.post("/exports/source-attributes", endpoint="export_sources")
@allowed(*EVERYONE)
def sources() -> ResponseReturnValue:
    """Hand over the source attributes of every rule, as JSON or CSV."""
    here = desk()
    publisher = current_app.extensions["rules"].publisher
    found = [attributes(rule, here.book, here.today, publisher) for rule in here.book.rules.values()]
    _told(here, "exported source attributes", f"{len(found)} rules", dict(request.form))
    if request.form.get("form") == "csv":
        lines = [
            {"rule": one.id, "number": item.number, "attribute": item.name, "use": item.use, "value": list(item.value)}
            for one in found
            for item in one.source_attributes
        ]
        return _sent(as_csv(("rule", "number", "attribute", "use", "value"), lines), _CSV, "source-attributes.csv")
    return _sent(_encoder.encode(found), _JSON, "source-attributes.json")


# --- audit -----------------------------------------------------------------------------------------------------------


@blueprint.post("/exports/audit", endpoint="export_audit")
@allowed(*OF_AUDIT)
def audit() -> ResponseReturnValue:
    """Hand over the audit: CSV, JSON lines, or FHIR AuditEvents. People are pseudonyms unless names are asked for."""
    here, form = desk(), request.form
    with_names, kind = form.get("names") == "1", form.get("form", "csv")
    named = _pseudonyms(here)
    _told(here, "exported the audit", kind, dict(form))
    entries = [*here.governance.audit.all()]
    entries = entries if with_names else _masked(entries, named)
    name = f"audit-{here.today}"
    if kind == "fhir":
        return _sent(msgspec.json.encode(bundle(entries, str, "Calcinosis CDS")), _FHIR, f"{name}.fhir.json")
    told = [{**msgspec.structs.asdict(one), "at": moment(one.at)} for one in entries]
    if kind == "ndjson":
        return _sent(b"".join(msgspec.json.encode(one) + b"\n" for one in told), _LINES, f"{name}.ndjson")
    if kind != "csv":
        raise BadRequest
    return _sent(as_csv(AUDIT, told), _CSV, f"{name}.csv")


def _pseudonyms(here: AdminDesk) -> Callable[[str], str]:
    """Return what gives a person a keyed pseudonym, the same one in every export."""
    quiet = _ledger(here).quiet
    return lambda who: f"person-{quiet.pseudonym('admin', who)[:12]}" if who else ""


# How the audit names the account that something was done to (adapters/governance/accounts.py).
_ACCOUNT = "account "


def _masked(entries: Sequence[Entry], named: Callable[[str], str]) -> list[Entry]:
    """Return the entries with a pseudonym wherever somebody is named who did something or has an account."""
    owners = {one.subject.removeprefix(_ACCOUNT) for one in entries if one.subject.startswith(_ACCOUNT)}
    people = word_pattern(tuple(sorted({one.who for one in entries if one.who} | owners - {""})))

    def hidden(text: str) -> str:
        return people.sub(lambda found: named(found.group()), text) if people else text

    return [
        msgspec.structs.replace(
            one, who=named(one.who), subject=hidden(one.subject), old=hidden(one.old), new=hidden(one.new)
        )
        for one in entries
    ]


# --- handing over ----------------------------------------------------------------------------------------------------


def as_csv(names: Iterable[str], lines: Iterable[Mapping[str, Any]]) -> bytes:
    """Write CSV (RFC 4180) that no spreadsheet takes for a formula."""
    file, columns = io.StringIO(), list(names)
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([cell(line[name]) for name in columns] for line in lines)
    return file.getvalue().encode()


def _told(here: AdminDesk, action: str, subject: str, form: dict[str, str]) -> None:
    """Write to the audit that something was handed over, before it is."""
    filters = {name: value for name, value in form.items() if value and name != "csrf"}
    account = me().account
    here.governance.audit.append(
        action, subject, account.name, ", ".join(account.roles), origin(), new=msgspec.json.encode(filters).decode()
    )


def _sent(body: bytes, kind: str, name: str) -> Response:
    return Response(
        body,
        content_type=f"{kind}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )
