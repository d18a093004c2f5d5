"""What several commands share: the content they work with, and the day they look at."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cds_service.errors import SettingsError, Unavailable
from cds_service.replay import NEWEST, TODAY
from cds_service.rules.book import RuleBook, load_book
from cds_service.rules.tuning import Tuning, tuned
from cds_service.web.settings import Settings, content_folder

if TYPE_CHECKING:
    from cds_service.adapters.ledger import Ledger

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(exists=True, path_type=Path)


class Moment(click.ParamType[str]):
    """A day (2026-03-01), "newest" (the day of each patient's newest result) or "today"."""

    name = "DATE|newest|today"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check that the words mean a moment."""
        if value in (NEWEST, TODAY):
            return value
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            self.fail(f'"{value}" is neither a day like 2026-03-01, nor newest, nor today.', param, ctx)


as_of_option = click.option(
    "--as-of",
    type=Moment(),
    default=TODAY,
    show_default=True,
    help="The day to look at the record: newest is the day of each patient's newest result.",
)
hook_option = click.option("--hook", default="patient-view", show_default=True, help="The hook to fire for a patient.")
strict_option = click.option(
    "--strict-status",
    is_flag=True,
    help="Leave out Conditions without a clinicalStatus, as a real server's search does; without this they count.",
)


def content_options(command: F) -> F:
    """Add the options that choose the content."""
    command = click.option("--site", metavar="NAME", help="Apply hooks/sites/NAME.yaml [default: CDS_SITE].")(command)
    return click.option(
        "--content",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Another content folder [default: CDS_CONTENT, or the one that comes with the service].",
    )(command)


def settings(content: Path | None = None, site: str | None = None, **more: str) -> Settings:
    """Read the settings from the environment, with what the command line says instead."""
    said = {"CDS_CONTENT": str(content) if content else None, "CDS_SITE": site, **more}
    return Settings.read({**os.environ, **{name: value for name, value in said.items() if value is not None}})


def ledger_of(chosen: Settings) -> Ledger:
    """Open the ledger that the settings name, with the key that the environment names."""
    from cds_service.adapters.ledger import Ledger, read_key

    url = chosen.database_url
    return Ledger.open(url, read_key(os.environ, url), retention_days=chosen.retention_days)


def book_of(chosen: Settings) -> RuleBook:
    """Load the rule book that the settings name."""
    folder = content_folder(chosen)
    if not folder.is_dir():
        raise SettingsError(
            "There is no such content folder.",
            where=str(folder),
            slug="no-content",
            remedy="Name another with --content or CDS_CONTENT.",
        )
    return load_book(folder, chosen.site)


def book_in_force(chosen: Settings, today: date) -> RuleBook:
    """
    Return the rule book that the service answers with: the files, and what admins decided, if there is a ledger.

    A ledger that cannot be read is said so, and left out.
    """
    from cds_service.adapters.ledger.database import address

    book = book_of(chosen)
    address(chosen.database_url)  # one that nobody can mean is refused, not left out
    try:
        return tuned(book, decisions_of(chosen), today)
    except (SettingsError, Unavailable) as problem:
        click.echo(f"Without the decisions of admins: {problem.what}", err=True)
        return book


def decisions_of(chosen: Settings) -> Sequence[Tuning]:
    """
    Return what admins decided, oldest first; nothing where there is no ledger yet.

    Raises SettingsError or Unavailable where there is one that cannot be read.
    """
    from cds_service.adapters.governance import Governance
    from cds_service.adapters.ledger import Database, read_key
    from cds_service.adapters.ledger.database import address
    from cds_service.adapters.ledger.migrating import check_version

    target = address(chosen.database_url)
    if target.get_backend_name() == "sqlite" and not Path(str(target.database)).exists():
        return []
    database = Database(chosen.database_url, make=False)
    try:
        check_version(database)
        return Governance(database, read_key(os.environ, chosen.database_url), time.time).decided()
    finally:
        database.close()  # a process that forks holds no connection
