"""The ledger from the shell: is it whole, what is in it, what is to be forgotten; and the kill switches."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from cds_service.cli.options import book_of, content_options, settings
from cds_service.errors import SettingsError

if TYPE_CHECKING:
    from cds_service.adapters.ledger import Database, Key, Switch

DAY, SHELL = 86_400, "shell"
FOREVER = 1e12
_MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])


old_keys_option = click.option(
    "--key-file",
    "key_files",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="A key of before ledger new-key; repeat.",
)


def old_keys(files: Iterable[Path]) -> list[Key]:
    """Read keys of before ``ledger new-key``."""
    from cds_service.adapters.ledger import read_key

    return [read_key({"CDS_PSEUDONYM_KEY_FILE": str(one)}, "") for one in files]


@click.group()
def ledger() -> None:
    """Look after the ledger that CDS_DATABASE_URL names."""


def opened() -> tuple[Database, Key]:
    """Open the ledger with its key; the service may run meanwhile."""
    from cds_service.adapters.ledger import check_key, read_key

    database = _database()
    key = read_key(os.environ, settings().database_url)
    check_key(database, key)
    return database, key


def _database() -> Database:
    """Open the ledger's database as it is: only the service makes one, or changes its tables."""
    from cds_service.adapters.ledger import Database
    from cds_service.adapters.ledger.migrating import check_version

    database = Database(settings().database_url, make=False)
    check_version(database)
    return database


@ledger.command()
@old_keys_option
def verify(key_files: tuple[Path, ...]) -> None:
    """
    Compute every hash anew, and look for gaps; exit code 1 where something is wrong.

    What was purged is no gap. Rows that a process could not store before it was killed never were in the chain. What
    admins did is looked at too: the audit, and every decision against what it tells.
    """
    from cds_service.adapters.ledger.verifying import verify as look

    report = look(*opened(), *old_keys(key_files))
    for problem in report.problems:
        click.echo(problem)
    click.echo(
        f"{report.decisions} decisions in {report.chains} chains ({report.purged} purged), {report.feedback} answers, "
        f"{report.entries} entries of the audit: "
        f"{'in order' if not report.problems else f'{len(report.problems)} problem(s)'}."
    )
    if report.problems:
        raise click.exceptions.Exit(1)


@ledger.command()
@click.argument("what", type=click.Choice(["decisions", "cards", "feedback", "switches", "changes", "audit"]))
@click.option("--format", "form", type=click.Choice(["ndjson", "csv"]), default="ndjson", show_default=True)
@click.option("--since", type=_MOMENT, help="From this moment on (UTC).")
@click.option("--until", type=_MOMENT, help="Up to, and not with, this moment (UTC).")
@click.option("--facts", is_flag=True, help="With the facts of each decision (ndjson only).")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file, made 0600 [default: output].")
def export(what: str, form: str, since: datetime | None, until: datetime | None, facts: bool, out: Path | None) -> None:
    """
    Write what the ledger holds, oldest first.

    Patients, users and encounters are pseudonyms. The comments of clinicians are what they typed: treat the file as
    patient data. In CSV a cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    from cds_service.adapters.ledger import exporting

    if facts and form == "csv":
        raise click.UsageError("--facts is for ndjson.")
    database, _ = opened()
    rows = exporting.export(database, what, _seconds(since, 0.0), _seconds(until, FOREVER), facts=facts)
    with file_of(out) as file:
        many = exporting.write_lines(rows, file) if form == "ndjson" else exporting.write_csv(rows, what, file)
    click.echo(f"{many} rows.", err=True)


def _seconds(moment: datetime | None, otherwise: float) -> float:
    return moment.replace(tzinfo=UTC).timestamp() if moment else otherwise


def file_of(out: Path | None) -> TextIO:
    """Make a file that only its owner can read; or take the output."""
    if out is None:
        return os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", newline="")
    try:
        descriptor = os.open(out, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as failure:
        raise SettingsError(
            f"The file cannot be made: {failure.strerror}.", where=str(out), remedy="Name a file that is not there."
        ) from None
    return os.fdopen(descriptor, "w", encoding="utf-8", newline="")


@ledger.command()
@click.option("--days", type=click.IntRange(1), help="Older than so many days [default: CDS_RETENTION_DAYS].")
@click.option("--patient", metavar="ID", help="All about this patient (Patient.id); the id is not stored anywhere.")
@click.option("--server", "servers", multiple=True, metavar="URL", help="FHIR server the patient is known by; repeat.")
@click.option(
    "--key-file", type=click.Path(exists=True, path_type=Path), help="An older key, of before ledger new-key."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(days: int | None, patient: str | None, servers: tuple[str, ...], key_file: Path | None, yes: bool) -> None:
    """
    Delete what has passed its time, or all about one patient: decisions, cards, and answers to them.

    The service does the first by itself once a day. Backups are not touched. A patient goes by a pseudonym that is
    made of the FHIR server and the id: without --server all that CDS_FHIR_ALLOW and CDS_FHIR_BASES name are tried,
    and calls without one.
    """
    from cds_service.adapters.ledger import purging

    if (days is None) == (patient is None) and patient is not None:
        raise click.UsageError("Give --days or --patient, not both.")
    database, key = opened()
    if key_file is not None:
        [key] = old_keys((key_file,))
    if not yes:
        click.confirm("What is deleted cannot be brought back. Go on?", abort=True)
    if patient is not None:
        found = purging.patient(database, _pseudonyms(patient, servers, key), time.time())
    else:
        found = purging.older_than(database, time.time() - _days(days) * DAY, time.time())
    click.echo(f"Deleted: {found.decisions} decisions, {found.cards} cards, {found.feedback} answers.")


def _days(days: int | None) -> int:
    kept = days or settings().retention_days
    if not kept:
        raise click.UsageError("CDS_RETENTION_DAYS is 0, so nothing has passed its time; give --days.")
    return kept


def _pseudonyms(patient: str, servers: Iterable[str], key: Key) -> list[str]:
    from cds_service.adapters.ledger.quiet import LedgerQuiet

    chosen = settings()
    known = {*servers} or {"", *chosen.fhir_bases, *(one.strip() for one in chosen.fhir_allow.split(","))}
    quiet = LedgerQuiet(key.purpose("pseudonym"))
    return [quiet.pseudonym("patient", server.rstrip("/"), patient.removeprefix("Patient/")) for server in known]


@ledger.command("new-key")
def new_key() -> None:
    """
    Go on with another key: patients get new pseudonyms, and quiet times begin anew.

    Keep the old key: purges and "ledger verify" need it for what is older.
    """
    from cds_service.adapters.governance import Governance
    from cds_service.adapters.ledger import check_key, read_key
    from cds_service.cli.accounts import whoever

    database, key = _database(), read_key(os.environ, settings().database_url)
    check_key(database, key, accept=True)
    Governance(database, key, time.time).audit.adopt(whoever(), "shell")
    click.echo("The ledger goes on with the key that is set now.")


@ledger.command("set-aside")
@click.option("--yes", is_flag=True, help="Do not ask.")
def set_aside(yes: bool) -> None:
    """Move a damaged SQLite ledger out of the way; stop the service first. The next start makes an empty one."""
    from cds_service.adapters.ledger.database import address

    target = address(settings().database_url)
    if target.get_backend_name() != "sqlite":
        raise click.UsageError("Only a SQLite file can be set aside.")
    if not yes:
        click.confirm("Kill switches and quiet times are in it too, and will be forgotten. Go on?", abort=True)
    path = Path(str(target.database))
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for one in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        if one.exists():
            one.rename(one.with_name(one.name.replace(path.name, f"{path.name}.aside-{stamp}", 1)))
    click.echo(f"It is now {path.name}.aside-{stamp}.")


# --- switches --------------------------------------------------------------------------------------------------------


@click.group()
def switch() -> None:
    """
    Switch a rule, a service or everything off, or on again.

    All running processes follow within 5 seconds, without a restart, and after one. Hook calls are answered all the
    same: without the cards, and with every rule named that was not asked.
    """


def _turn(switched: Switch, content: Path | None, site: str | None) -> None:
    """Write a switch down. It needs no key: whoever has to stop a rule may not have it at hand."""
    if switched.scope != "all" and switched.off:
        book = book_of(settings(content, site))
        known = book.rules if switched.scope == "rule" else book.services
        if switched.name not in known:
            raise SettingsError(
                f'There is no {switched.scope} "{switched.name}".',
                slug=f"unknown-{switched.scope}",
                remedy=f"There are: {', '.join(sorted(known))}.",
            )
    database = _database()
    _write(database, switched)
    database.close()
    click.echo(_shown(switched))


def _write(database: Database, one: Switch) -> None:
    from cds_service.adapters.governance import Governance
    from cds_service.adapters.ledger import known_key, switches

    key = known_key(os.environ, database)
    if key is not None:
        Governance(database, key, lambda: one.at).switch(one.scope, one.name, one.off, one.who, one.why, SHELL, SHELL)
        return
    with database.writing() as connection:
        switches.write(connection, one)
    click.echo("It is in force, but not in the audit: the key of the ledger is not at hand.", err=True)


def _switch(off: bool, scope: str, name: str, who: str, why: str) -> Switch:
    from cds_service.adapters.ledger import Switch

    if (scope == "all") == bool(name):
        raise click.UsageError('Name the rule or service; "all" takes no name.')
    return Switch(scope, name, off, time.time(), who[:120], why[:2_000])


@switch.command("off")
@click.argument("scope", type=click.Choice(["rule", "service", "all"]))
@click.argument("name", default="")
@click.option("--who", required=True, help="Who decided this.")
@click.option("--why", required=True, help="Why, in words that need no patient.")
@content_options
def off(scope: str, name: str, who: str, why: str, content: Path | None, site: str | None) -> None:
    """Switch something off: cds-service switch off rule ID --who ... --why ..."""
    _turn(_switch(True, scope, name, who, why), content, site)


@switch.command("on")
@click.argument("scope", type=click.Choice(["rule", "service", "all"]))
@click.argument("name", default="")
@click.option("--who", required=True, help="Who decided this.")
@click.option("--why", required=True, help="Why, in words that need no patient.")
@content_options
def on(scope: str, name: str, who: str, why: str, content: Path | None, site: str | None) -> None:
    """Switch something on again."""
    _turn(_switch(False, scope, name, who, why), content, site)


@switch.command("list")
@click.option("--history", is_flag=True, help="Every time that something was switched, oldest first.")
def listing(history: bool) -> None:
    """Show what is switched off."""
    from cds_service.adapters.ledger import switches

    with _database().reading() as connection:
        switched = switches.history(connection)
    shown = switched if history else [one for one in switches.in_force(switched) if one.off]
    for one in shown:
        click.echo(_shown(one))
    if not shown:
        click.echo("Nothing is switched off.")


def _shown(one: Switch) -> str:
    when = datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return (
        f"{when}  {'off' if one.off else 'on '}  {' '.join(filter(None, (one.scope, one.name)))}  {one.who}: {one.why}"
    )
