"""The command that prints what an EHR is asked for, as its administrators type it in."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from cds_service.cli import show
from cds_service.cli.options import book_of, content_options, hook_option, settings
from cds_service.protocol.service import Service
from cds_service.publishing.registering import EHRS, STANDARD, Ehr, answers, templates
from cds_service.replay import service_for
from cds_service.rules.book import RuleBook


@click.command()
@hook_option
@click.option("--for", "ehr", type=click.Choice([*EHRS]), default=STANDARD, help="Write them as this EHR wants them.")
@content_options
def prefetch(hook: str, ehr: str, content: Path | None, site: str | None) -> None:
    """
    Print the queries that an EHR is asked to make.

    One a line: prefetch key, tab, FHIR query. For EHRs that do not read discovery, where somebody types them in. With
    --for, lines that begin with # say where, and what was changed for that EHR and why.
    """
    book = book_of(settings(content, site))
    service = service_for(book, hook).service
    queries, left_out = templates(ehr, service.prefetch)
    for line in _remarks(EHRS[ehr], service, book) if ehr != STANDARD else ():
        click.echo(line)
    for one in queries:
        if one.remark:
            click.echo(f"# {one.key}: {one.remark}")
        click.echo(f"{one.key}\t{one.query}")
    for one in left_out:
        click.echo(f"# left out: {one.key}, since {one.remark}")


def _remarks(ehr: Ehr, service: Service, book: RuleBook) -> Iterator[str]:
    yield f"# {ehr.title}, service {service.id} (hook {service.hook})"
    fired = answers(ehr.name, [one.service.hook for one in book.services.values()])
    if service.hook not in fired:
        yield f"# {ehr.title} does not fire {service.hook}; it fires: {', '.join(fired)}"
    for text in (f"Where: {ehr.where}", *ehr.notes):
        yield from textwrap.wrap(text, show.WIDTH, initial_indent="# ", subsequent_indent="#   ")
