"""``cds-service backtest``: what would another number do, on known patients, before anybody saves it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from cds_service import backtest as trying
from cds_service.backtest import Backtest
from cds_service.cli import compared, show
from cds_service.cli.options import as_of_option, book_in_force, content_options, hook_option, settings, strict_option
from cds_service.errors import SettingsError
from cds_service.facts import Policy
from cds_service.rules.book import RuleBook
from cds_service.rules.tuning import Tuning, read_assignment
from cds_service.web.settings import Settings, packaged

if TYPE_CHECKING:
    from cds_service.adapters.cohorts import Kept

LEDGER = "ledger"
# An exception that is only tried needs an end all the same.
_TRIED_DAYS = 180


class Asked(msgspec.Struct, frozen=True):
    """On whom a change is tried: the invented population, a path, or the ledger, and how they are looked at."""

    cohort: str
    most: int
    as_of: str
    hook: str
    strict_status: bool


@click.command()
@click.option("--set", "assignments", multiple=True, required=True, metavar="RULE.NAME=VALUE", help="Repeatable.")
@click.option(
    "--cohort",
    metavar="PATH|ledger",
    default="",
    help="A folder of Bundles or NDJSON, or the calls that the ledger recorded; without it the invented population.",
)
@click.option("--most", default=10_000, show_default=True, type=click.IntRange(1), help="Recorded calls, newest first.")
@as_of_option
@hook_option
@strict_option
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False, writable=True), help="Write a chart to a file.")
@click.option("--show", "listed", default=20, show_default=True, type=click.IntRange(0, 10_000), help="Calls to list.")
@content_options
def backtest(
    assignments: tuple[str, ...], cohort: str, most: int, as_of: str, hook: str, strict_status: bool, as_json: bool,
    svg: Path | None, listed: int, content: Path | None, site: str | None,
) -> None:  # fmt: skip
    """
    Compare the rules as they are with rules as they could be.

    Every call of the cohort is answered with both, as they are today: cards per 100 calls before and after, and who
    gains or loses a card. Nothing is saved. NAME is a threshold, status, indicator, rollout, or exception.NAME.
    """
    chosen, today = settings(content, site), datetime.now(UTC).date()
    before = book_in_force(chosen, today)
    tried = [_read(one, before, today) for one in assignments]
    after = trying.tried(before, tried, today)
    started = time.perf_counter()
    with _cohort(Asked(cohort, most, as_of, hook, strict_status), chosen, before) as found:
        compared_with = _run(before, after, found, hook, today)
    seconds = time.perf_counter() - started
    if svg is not None:
        from cds_service.drawing.compared import draw_compared

        svg.write_text(draw_compared(compared_with, [show.plain(one) for one in assignments]) + "\n", encoding="utf-8")
    report = compared.as_json if as_json else compared.as_text
    click.echo(report(compared_with, assignments, seconds, listed))


def _read(text: str, book: RuleBook, today: date) -> Tuning:
    place = text.partition("=")[0]
    until = date.fromordinal(today.toordinal() + _TRIED_DAYS) if ".exception." in place else None
    return read_assignment(text, book, today, until=until)


@contextmanager
def _cohort(asked: Asked, chosen: Settings, book: RuleBook) -> Iterator[Kept]:
    from cds_service.adapters import cohorts

    if asked.cohort == LEDGER:
        from cds_service.adapters.ledger.quiet import LedgerQuiet
        from cds_service.cli.ledger import opened

        database, key = opened()
        quiet = LedgerQuiet(key.purpose("pseudonym"))
        yield cohorts.of_ledger(
            database, book, most=asked.most, hook=asked.hook, disguise=lambda name: quiet.pseudonym("issuer", name)
        )
        return
    policy = Policy(chosen.drop_strangers, chosen.allow_preliminary, chosen.fhir_bases)
    with cohorts.of_folder(
        _path(asked.cohort),
        book,
        hook=asked.hook,
        as_of=asked.as_of,
        clock=time.time,
        policy=policy,
        lenient_status=not asked.strict_status,
    ) as found:
        yield found


def _path(named: str) -> Path:
    path = Path(named) if named else packaged("fixtures") / "population"
    if not path.exists():
        raise SettingsError(
            "There is no such file or folder of patients.",
            where=str(path),
            slug="no-cohort",
            remedy=f'Name a folder of Bundles or NDJSON, or "{LEDGER}" for the calls that the ledger recorded.',
        )
    return path


def _run(before: RuleBook, after: RuleBook, found: Kept, hook: str, today: date) -> Backtest:
    """Answer every call with both books; show how far it has come where somebody looks."""
    from cds_service.adapters import comparing

    hidden, cores = not sys.stderr.isatty(), len(os.sched_getaffinity(0))
    with click.progressbar(length=len(found), label="Calls", file=sys.stderr, hidden=hidden) as bar:

        def told(done: int, _total: int) -> None:
            bar.update(done - bar.pos)

        if cores > 1 and found.has_bodies and len(found) >= comparing.PAYS:
            return comparing.run(before, after, found, hook, day=today, progress=told, processes=min(cores, 16))
        return trying.run(before, after, found, hook, day=today, progress=told)
