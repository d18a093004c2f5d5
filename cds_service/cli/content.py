"""Commands for those who write rules: is the content sound, do the vignettes hold, what is an EHR asked for."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import click

from cds_service.cli.concepts import value_set_faults
from cds_service.cli.options import book_of, content_options, settings
from cds_service.errors import CdsError
from cds_service.rules import merging
from cds_service.rules.book import RuleBook, load_book
from cds_service.rules.vignettes import Render
from cds_service.web.settings import content_folder, packaged

MARKS = {True: "✓", False: "✗"}


@click.command()
@content_options
def check(content: Path | None, site: str | None) -> None:
    """
    Check that rules, concepts and fixtures are sound.

    Errors end with exit code 1. What a careful reviewer would send back is shown as a warning or a note.
    """
    chosen = settings(content, site)
    folder = content_folder(chosen)
    try:
        book = book_of(chosen)
        reviewed = _reviewed(book, folder)
        errors = [*map(str, merging.strangers(folder, book.rules)), *_sites(folder)]
        errors += _fixtures(None if content else packaged("fixtures"))
    except CdsError as problem:
        reviewed, errors, book = [], [str(problem)], None
    for said in [*reviewed, *errors]:
        click.echo(said, err=True)
    if book is not None:
        click.echo(_counts(book, folder))
    click.echo(f"{len(errors)} errors, {len(reviewed)} remarks of a reviewer.")
    raise click.exceptions.Exit(1 if errors else 0)


def _counts(book: RuleBook, folder: Path) -> str:
    words = book.terminology
    active = sum(rule.status == "active" for rule in book.rules.values())
    tests = len(list((folder / "rules").glob("*/*.test.yaml")))
    return (
        f"{len(book.rules)} rules ({active} active), {tests} files of vignettes, {len(book.services)} services, "
        f"{len(words.analytes)} tests, {len(words.concepts)} other concepts, {len(words.orders)} orders. "
        f"Rule book {book.fingerprint}."
    )


def _reviewed(book: RuleBook, folder: Path) -> list[str]:
    from cds_service.rules import lint

    return [str(complaint) for complaint in lint.complaints(book, folder, _today())]


def _today() -> date:
    return datetime.now(UTC).date()


def _sites(folder: Path) -> Iterator[str]:
    """Load the book once for every site: a site's file must fit the rules as they are now."""
    for path in sorted((folder / "sites").glob("*.yaml")):
        try:
            load_book(folder, path.stem)
            yield from value_set_faults(folder, path.stem)
        except CdsError as problem:
            yield str(problem)


def _fixtures(folder: Path | None) -> Iterator[str]:
    if folder is None or not folder.is_dir():
        return
    from cds_service.cli.fixtures import faults

    yield from faults(folder)


@click.command()
@click.argument("pattern", default="*")
@content_options
def test(pattern: str, content: Path | None, site: str | None) -> None:
    """
    Try the vignettes that stand beside the rules.

    PATTERN chooses rules by name, for example "eskd-*".
    """
    from cds_service.rules.vignettes import run_file

    chosen = settings(content, site)
    book = book_of(chosen)
    failed = passed = 0
    for path in _vignette_files(content_folder(chosen), pattern):
        click.echo(path.name.removesuffix(".test.yaml"))
        for result in run_file(path, book, _summary_of(book)):
            click.echo(f"  {MARKS[result.passed]} {result.vignette.heading.replace('_', ' ')}: {result.vignette.name}")
            passed, failed = passed + result.passed, failed + (not result.passed)
            if not result.passed:
                click.echo("\n".join(f"      {line}" for line in str(result).splitlines()))
    click.echo(f"{passed} passed, {failed} failed.")
    raise click.exceptions.Exit(1 if failed else 0)


def _vignette_files(folder: Path, pattern: str) -> list[Path]:
    files = sorted((folder / "rules").glob("*/*.test.yaml"))
    found = [path for path in files if fnmatch.fnmatch(path.name.removesuffix(".test.yaml"), pattern)]
    if not found:
        raise click.UsageError(f'No vignettes for a rule called "{pattern}" in {folder / "rules"}.')
    return found


def _summary_of(book: RuleBook) -> Render:
    """Fill a card's summary as the service does, for vignettes that say how their card begins."""
    from cds_service.cards.wording import Voice

    return lambda outcome, facts: Voice(outcome, facts, book.terminology).summary()
