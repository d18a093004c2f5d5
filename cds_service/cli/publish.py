"""Commands that publish the rules: the catalogue for people, the export for FHIR."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cds_service.cli import show
from cds_service.cli.options import book_of, content_options, settings
from cds_service.errors import ContentError
from cds_service.rules.book import RuleBook, load_words, rule_paths
from cds_service.schemas import strict_yaml
from cds_service.web.settings import content_folder

if TYPE_CHECKING:
    from cds_service.publishing.codes import Note


@click.command()
@click.option(
    "--markdown",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write the catalogue as Markdown to this file (- for the terminal).",
)
@content_options
def rules(markdown: Path | None, content: Path | None, site: str | None) -> None:
    """
    List the rules.

    With --markdown, write the whole catalogue: logic in words, numbers, cards, evidence.
    """
    chosen = settings(content, site)
    book = book_of(chosen)
    if markdown is None:
        rows = [
            (rule.number, rule.id, rule.status, rule.version, ", ".join(rule.hooks), rule.title)
            for rule in sorted(book.rules.values(), key=lambda rule: rule.number)
        ]
        for line in show.table(("number", "id", "status", "version", "hooks", "title"), rows):
            click.echo(line)
        return
    text = catalogue_document(book, content_folder(chosen))
    with click.open_file(str(markdown), "w", encoding="utf-8") as file:
        file.write(text)


def catalogue_document(book: RuleBook, folder: Path) -> str:
    """Return the catalogue as Markdown, with the numbers of a day that does not move with the calendar."""
    from cds_service.publishing import catalogue
    from cds_service.publishing.markdown import document
    from cds_service.rules.vignettes import read_file, vignette_paths

    vignettes = {name: read_file(path) for name, path in vignette_paths(folder).items()}
    return document(catalogue.catalogue(book, catalogue.newest_review(book), vignettes))


@click.command()
@click.option(
    "--fhir",
    "target",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write to; it is made if it is not there.",
)
@content_options
def export(target: Path, content: Path | None, site: str | None) -> None:
    """
    Write the rules as FHIR R4.

    One PlanDefinition and one Library per rule, the ValueSets of the concepts they read, and a Bundle of everything.
    The logic stays in our own language: a FHIR server can show these rules, not run them.
    """
    from cds_service.publishing.catalogue import newest_review
    from cds_service.publishing.export import export as exported
    from cds_service.publishing.fhir import Edition

    chosen = settings(content, site)
    book, folder = book_of(chosen), content_folder(chosen)
    files = {name: path.read_bytes() for name, path in rule_paths(folder).items()}
    edition = Edition(chosen.developer, book.fingerprint, newest_review(book))
    try:
        written = exported(book, files, notes(folder, chosen.site), edition)
    except ValueError as wrong:
        raise ContentError("The rules cannot be written as FHIR R4.", why=str(wrong), slug="not-fhir") from None
    target.mkdir(parents=True, exist_ok=True)
    for name, raw in written.items():
        (target / name).write_bytes(raw)
    click.echo(f"{len(written)} files in {target}. Rule book {book.fingerprint}.")


def notes(folder: Path, site: str = "") -> dict[tuple[str, str, str], Note]:
    """Read what the content says of each code: its name, where that was read, and its condition."""
    from cds_service.publishing.codes import Note
    from cds_service.terminology import listing

    words, chosen = load_words(folder, site)
    conditions = _conditions(folder / "concepts" / "diagnoses.yaml")
    return {
        (one.concept, one.system, one.code): Note(one.display, one.verified, conditions.get(one.concept, ""))
        for one in listing.listed(folder / "concepts", words, chosen.extension.products)
        if one.how not in ("order", "unverified")
    }


def _conditions(path: Path) -> dict[str, str]:
    """Return the concepts whose codes count only together with another one."""
    concepts = strict_yaml.read(path)["concepts"]
    return {name: entry["only_with"] for name, entry in concepts.items() if "only_with" in entry}
