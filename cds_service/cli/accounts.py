"""Who may use the admin pages, and what they did: ``cds-service account`` and ``cds-service audit``."""

from __future__ import annotations

import getpass
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from cds_service.cli.ledger import file_of, old_keys, old_keys_option, opened

if TYPE_CHECKING:
    from cds_service.adapters.governance import Governance

ROLES = ("viewer", "editor", "approver", "operator", "auditor")
ORIGIN = "shell"
_roles = click.option(
    "--role", "roles", multiple=True, required=True, type=click.Choice(ROLES), help="Repeatable; at least one."
)


def _governance() -> Governance:
    from cds_service.adapters.governance import Governance

    return Governance(*opened(), time.time)


def whoever() -> str:
    """Return who works here, for the audit."""
    try:
        return f"shell: {getpass.getuser()}"
    except (KeyError, OSError):  # a container may run as a number that has no name
        return f"shell: {os.getuid()}"


def _password() -> str:
    """Ask for a password twice, or read it from a pipe; never from the command line, which others can see."""
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


@click.group()
def account() -> None:
    """Look after the accounts of the admin pages."""


@account.command()
@click.argument("name")
@_roles
def add(name: str, roles: tuple[str, ...]) -> None:
    """Make an account. The password is asked for, or read from a pipe."""
    made = _governance().accounts.create(name, _password(), roles, whoever(), ORIGIN)
    click.echo(f"{made.name} may sign in: {', '.join(made.roles)}.")


@account.command()
@click.argument("name")
def password(name: str) -> None:
    """Give an account another password; whoever is signed in with it is signed out."""
    _governance().accounts.set_password(name, _password(), whoever(), ORIGIN)
    click.echo("The password is changed.")


@account.command("roles")
@click.argument("name")
@_roles
def set_roles(name: str, roles: tuple[str, ...]) -> None:
    """Give an account other roles; whoever is signed in with it is signed out."""
    _governance().accounts.set_roles(name, roles, whoever(), ORIGIN)
    click.echo(f"{name}: {', '.join(roles)}.")


@account.command()
@click.argument("name")
def disable(name: str) -> None:
    """Let nobody sign in with an account any more."""
    _governance().accounts.disable(name, whoever(), ORIGIN)
    click.echo(f"{name} is disabled.")


@account.command()
@click.argument("name")
def enable(name: str) -> None:
    """Let an account be used again."""
    _governance().accounts.enable(name, whoever(), ORIGIN)
    click.echo(f"{name} may sign in again.")


@account.command("list")
def listed() -> None:
    """List the accounts with their roles."""
    found = _governance().accounts.all()
    for one in found:
        click.echo(f"{one.name}  {', '.join(one.roles)}{'  disabled' if one.disabled else ''}")
    if not found:
        click.echo("There is no account. Make one: cds-service account add NAME --role editor")


@click.group()
def audit() -> None:
    """Look at what admins did."""


@audit.command()
@old_keys_option
def verify(key_files: tuple[Path, ...]) -> None:
    """Compute every hash of the audit anew, and look at what was decided; exit code 1 where it is not whole."""
    kept = _governance().audit
    problems = kept.verify(*(one.purpose("audit") for one in old_keys(key_files)))
    for one in problems:
        click.echo(one)
    click.echo(f"{kept.count()} entries: {'in order' if not problems else f'{len(problems)} problem(s)'}.")
    if problems:
        raise click.exceptions.Exit(1)


@audit.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file, made 0600 [default: output].")
def export(out: Path | None) -> None:
    """Write the audit, oldest first, one JSON object a line."""
    entries = list(_governance().audit.all())
    with file_of(out) as file:
        for entry in entries:
            when = datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="seconds")
            file.write(msgspec.json.encode({**msgspec.structs.asdict(entry), "when": when}).decode() + "\n")
    click.echo(f"{len(entries)} entries.", err=True)
