"""The command that looks at what an EHR sends, from all sides."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import click

from cds_service.adapters.ehr.files import hook_of, read_bytes
from cds_service.cli import show
from cds_service.cli.options import FILE, Moment, book_of, content_options, settings
from cds_service.errors import UnknownService
from cds_service.linting import Problem, Report
from cds_service.linting.problems import ERROR, NOTE, SERVICE, WARNING
from cds_service.replay import TODAY, service_for
from cds_service.rules.book import RuleBook, ServiceRules

HEADINGS = {
    ERROR: "Errors: the call is refused, or a whole kind of data is lost",
    WARNING: "Warnings: something that was sent is not used, or not whole",
    NOTE: "Notes",
}


@click.command("lint-request")
@click.argument("file", type=FILE)
@click.option("--service", "service_id", help="The service's id [default: the one that answers the call's hook].")
@click.option("--as-of", type=Moment(), default=TODAY, show_default=True, help="The day on which the call is answered.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@content_options
def lint_request(
    file: Path, service_id: str | None, as_of: str, as_json: bool, content: Path | None, site: str | None
) -> None:
    """
    Find everything that is wrong with an EHR's hook call, or with its prefetch.

    FILE is a hook call, the prefetch of one (an object of keys and values), or a FHIR resource. Each problem is told
    once, with the JSON Pointer of its first place: found by our own readers and by fhir.resources R4B, with what would
    be set aside and why, keys that were renamed, and codes that are nearly ours. Exit code 1 where there is an error
    or a warning.
    """
    from cds_service.linting import lint

    book = book_of(settings(content, site))
    report = lint(read_bytes(file), book, _service(book, service_id, hook_of(file)), _moment(as_of))
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(lines(report)))
    raise click.exceptions.Exit(0 if report.sound else 1)


def _service(book: RuleBook, service_id: str | None, hook: str) -> ServiceRules:
    if service_id is None:
        hooks = {one.service.hook for one in book.services.values()}
        return service_for(book, hook if hook in hooks else "patient-view")
    if service_id not in book.services:
        raise UnknownService(
            "There is no service with this id.", remedy=f"The services are: {', '.join(book.services)}."
        )
    return book.services[service_id]


def _moment(as_of: str) -> float:
    if as_of == TODAY:
        return datetime.now(UTC).timestamp()
    return datetime.combine(datetime.fromisoformat(as_of), time(23, 59, 59), UTC).timestamp()


def lines(report: Report) -> Iterator[str]:
    """Lay a report out for a terminal."""
    yield f"Service {report.service}"
    yield from textwrap.wrap(show.plain(report.answer), show.WIDTH)
    if report.keys:
        yield "\nPrefetch"
        rows: list[tuple[Any, ...]] = [(one.key, one.sent_as, one.state, one.entries) for one in report.keys]
        yield from show.indented(show.table(("key", "sent as", "what is known", "resources"), rows))
    heading = ""
    for severity, finder, problems in report.groups():
        if HEADINGS[severity] != heading:
            heading = HEADINGS[severity]
            yield f"\n{heading}"
        if finder != SERVICE:
            yield f"  Found by {finder}"
        for one in problems:
            yield from _problem(one)
    yield "\n" + ", ".join(map(report.counted, HEADINGS)) + "."


def _problem(one: Problem) -> Iterator[str]:
    more = f"  ({one.times} times)" if one.times > 1 else ""
    yield show.plain(f"  {one.pointer or '(the whole)'}{more}")
    for start, text in (("    ", f"{one.what} {one.why}".strip()), ("    > ", one.todo)):
        if text:
            yield from textwrap.wrap(show.plain(text), show.WIDTH, initial_indent=start, subsequent_indent="      ")
    if one.also:
        yield show.plain(f"      also at {', '.join(one.also)}{' ...' if one.times > len(one.also) + 1 else ''}")
