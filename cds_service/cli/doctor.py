"""The command that looks whether everything the service depends on is as it should be."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from cds_service.cli import show
from cds_service.cli.options import book_of, content_options, settings
from cds_service.errors import CdsError, ContentError
from cds_service.linting import judge, needs
from cds_service.linting.capability import Need
from cds_service.linting.problems import ERROR, NOTE, WARNING
from cds_service.rules.book import RuleBook
from cds_service.web.settings import Settings, content_folder

OK = "ok"
MARKS = {OK: "✓", NOTE: "·", WARNING: "!", ERROR: "✗"}
# Tokens are believed up to a minute early or late (SECURITY.md 1); half of that is time to act.
SKEW = 30.0


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was looked at: ``status`` is ok, note, warning or error."""

    about: str
    status: str
    said: str
    why: str = ""
    todo: str = ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@content_options
def doctor(as_json: bool, content: Path | None, site: str | None) -> None:
    """
    Look whether everything the service needs is there.

    Settings, content, issuers and their keys, FHIR servers and what they can be searched by, the clocks, the database.
    Nothing is changed, and no patient is read. Exit code 1 where something is wrong; warnings alone are 0.
    """
    checks = list(examined(content, site))
    failed = sum(one.status == ERROR for one in checks)
    if as_json:
        click.echo(json.dumps({"sound": not failed, "checks": msgspec.to_builtins(checks)}, indent=2))
    else:
        for one in checks:
            click.echo("\n".join(_lines(one)))
        warned = sum(one.status == WARNING for one in checks)
        click.echo(f"\n{len(checks)} looked at, {failed} wrong, {warned} to be looked after.")
    raise click.exceptions.Exit(1 if failed else 0)


def _lines(one: Check) -> Iterator[str]:
    yield from textwrap.wrap(
        show.plain(f"{MARKS[one.status]} {one.about}: {one.said}"), show.WIDTH, subsequent_indent="    "
    )
    for start, text in (("    ", one.why), ("    > ", one.todo)):
        if text:
            yield from textwrap.wrap(show.plain(text), show.WIDTH, initial_indent=start, subsequent_indent="      ")


def examined(content: Path | None, site: str | None) -> Iterator[Check]:
    """Look at everything, one thing after the other; what cannot be looked at without another is left out."""
    try:
        chosen = settings(content, site)
    except CdsError as problem:
        yield _problem("settings", problem)
        return
    yield from _settings(chosen)
    book = None
    try:
        book = book_of(chosen)
        yield _content(book, chosen)
    except ContentError as problem:
        yield _problem("content", problem)
    yield from _issuers(chosen)
    yield from _servers(chosen, book)
    yield _database(chosen)


def _problem(about: str, problem: CdsError) -> Check:
    where = f" ({problem.where})" if problem.where else ""
    return Check(about, ERROR, f"{problem.what}{where}", problem.why, problem.remedy)


def _settings(chosen: Settings) -> Iterator[Check]:
    from cds_service.cli.serving import warnings

    yield Check("settings", OK, f"CDS_AUTH={chosen.auth}, site {chosen.site or 'none'}")
    for said in warnings(chosen):
        yield Check("settings", WARNING, said.partition("\n")[0], todo=" ".join(said.splitlines()[1:]))
    if not chosen.public_url:
        why = "Cards cannot link to their sources, and tokens have no address that they must be made for."
        yield Check("settings", WARNING, "CDS_PUBLIC_URL is not set.", why, "Set it to the address clients call.")
    if chosen.sandbox and chosen.auth != "none":
        said = "CDS_SANDBOX=1 beside CDS_AUTH=jwt: the sandbox of invented patients is open to everybody."
        yield Check("settings", WARNING, said, todo="Leave CDS_SANDBOX out in production.")


def _content(book: RuleBook, chosen: Settings) -> Check:
    active = sum(rule.status == "active" for rule in book.rules.values())
    said = f"{len(book.rules)} rules ({active} active), {len(book.services)} services, rule book {book.fingerprint}"
    return Check("content", OK, f"{said}, from {content_folder(chosen)}")


# --- who may call ----------------------------------------------------------------------------------------------------


def _issuers(chosen: Settings) -> Iterator[Check]:
    from cds_service.adapters.auth import read_issuers

    if chosen.auth == "none" or not chosen.issuers:
        return
    try:
        issuers = read_issuers(Path(chosen.issuers))
    except CdsError as problem:
        yield _problem("issuers", problem)
        return
    fixed = sum(bool(one.keys) for one in issuers.entries)
    yield Check("issuers", OK, f"{len(issuers.entries)} accepted, {fixed} of them with keys in the file")
    for url in issuers.key_addresses:
        yield from _keys(url, chosen)


def _keys(url: str, chosen: Settings) -> Iterator[Check]:
    from cds_service.adapters import checkup

    about, cost = f"keys of {url}", "Tokens of its issuer get 503 until they can be read."
    found = checkup.look(url, authorities=chosen.ca_file)
    if found.trouble or found.status != 200:
        said = found.trouble or f"it answers with status {found.status}"
        yield Check(about, ERROR, f"Not to be had: {said}.", cost, "Check jku, the firewall, and CDS_CA_FILE.")
        return
    try:
        ids = checkup.key_ids(found.body)
    except ValueError:
        yield Check(
            about, ERROR, "No key in it can be used.", cost, "It needs EC or RSA keys for signatures, with kid."
        )
        return
    yield Check(about, OK, f"{len(ids)} usable, in {found.milliseconds:.0f} ms")
    yield from _clock(about, found.ahead)


# --- FHIR servers ----------------------------------------------------------------------------------------------------


def _servers(chosen: Settings, book: RuleBook | None) -> Iterator[Check]:
    from cds_service.adapters.fhir import Origins

    origins = Origins.read(chosen.fhir_allow, plain_http=chosen.fhir_plain_http)
    if not origins.allowed:
        why = "What an EHR does not send is never fetched; its rules answer that they do not know."
        yield Check("FHIR servers", NOTE, "None is allowed (CDS_FHIR_ALLOW is empty).", why)
    services = book.services.values() if book else ()
    wanted = needs(query for one in services for query in one.service.prefetch.values())
    for origin in origins.allowed:
        yield from _server(origin.url, chosen, wanted)


def _server(url: str, chosen: Settings, wanted: dict[str, Need]) -> Iterator[Check]:
    from cds_service.adapters import checkup

    about, found = f"FHIR {url}", checkup.look(f"{url}/metadata", authorities=chosen.ca_file)
    if found.trouble or found.status != 200:
        said = found.trouble or f"/metadata answers with status {found.status}"
        why = "What prefetch lacks cannot be fetched; after five failures in 30 s it is not tried for a while."
        yield Check(about, ERROR, f"Cannot be asked: {said}.", why, "Check the address, the firewall, CDS_CA_FILE.")
        return
    problems = judge(found.document, wanted)
    for one in problems:
        yield Check(about, one.severity, one.what, one.why, one.todo)
    if not any(one.severity == ERROR for one in problems):
        software = found.document.get("software") or {}
        name = " ".join(str(software[part]) for part in ("name", "version") if software.get(part))
        yield Check(about, OK, f"{name or 'It'} says that it can be asked what we ask, in {found.milliseconds:.0f} ms")
    if found.milliseconds > chosen.fhir_budget_ms:
        why = f"It took {found.milliseconds:.0f} ms to answer; a call waits {chosen.fhir_budget_ms} ms at most."
        yield Check(about, WARNING, "It is slower than the budget of a call.", why, "Ask the EHR for more prefetch.")
    yield from _clock(about, found.ahead)


def _clock(about: str, ahead: float | None) -> Iterator[Check]:
    if ahead is not None and abs(ahead) > SKEW:
        which = "ahead of" if ahead > 0 else "behind"
        said = f"Its clock is {abs(ahead):.0f} s {which} ours."
        why = "Tokens are refused beyond a minute, and results can seem to be of tomorrow."
        yield Check(about, ERROR, said, why, "Set this machine's clock by NTP, or theirs.")


# --- the database ----------------------------------------------------------------------------------------------------


def _database(chosen: Settings) -> Check:
    from cds_service.adapters import checkup

    about = "database"
    try:
        about = f"database {checkup.safe(chosen.database_url)}"
        trouble = checkup.database_trouble(chosen.database_url)
    except CdsError as problem:
        return _problem(about, problem)
    if not trouble:
        return Check(about, OK, "ready")
    made = trouble.startswith("not made")
    todo = "" if made else "Give the service a folder that it may write to, or set CDS_DATABASE_URL."
    return Check(about, NOTE if made else ERROR, f"{trouble[:1].upper()}{trouble[1:]}.", todo=todo)
