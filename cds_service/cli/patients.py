"""Commands that look at patients in files: why did a rule fire or not, and what would a whole population get."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import click

from cds_service.cli import report, show
from cds_service.cli.options import FILE, as_of_option, book_of, content_options, hook_option, settings, strict_option
from cds_service.errors import SettingsError
from cds_service.facts import Policy, subtype
from cds_service.facts.evidence import MARKS
from cds_service.facts.model import Draft
from cds_service.protocol import to_json
from cds_service.replay import Replayer
from cds_service.rules.book import RuleBook
from cds_service.rules.model import Outcome
from cds_service.rules.scope import meant
from cds_service.screening import Case, Cases, Screened, Screening, Tally, open_cases
from cds_service.terminology import Terminology
from cds_service.web.settings import Settings

alias_option = click.option(
    "--system-alias",
    "aliases",
    multiple=True,
    metavar="URI=NAME",
    help="Read a local code system as one that concepts know, for example http://local/icd=ICD-10-CM. Repeatable.",
)


@click.command()
@click.argument("file", type=FILE)
@click.option("--patient", help="The patient's id, where the file holds several.")
@click.option("--rule", help="Only this rule.")
@as_of_option
@hook_option
@alias_option
@strict_option
@content_options
def explain(
    file: Path, patient: str | None, rule: str | None, as_of: str, hook: str, aliases: tuple[str, ...],
    strict_status: bool, content: Path | None, site: str | None,
) -> None:  # fmt: skip
    """
    Show why each rule fired for a patient, or did not.

    FILE is a complete hook call, a Bundle, or a folder of Bundles or NDJSON.
    """
    chosen = settings(content, site)
    book = _book(chosen, aliases)
    if rule and rule not in book.rules:
        raise click.UsageError(f'There is no rule "{rule}".{meant(rule, book.rules)}')
    with open_cases(file, book, hook=hook, lenient_status=not strict_status) as cases:
        screened = _screening(book, chosen, as_of).screen(_chosen(cases, patient))
    for line in _explained(screened, rule, book.terminology):
        click.echo(line)
    raise click.exceptions.Exit(1 if screened.failed or screened.replayed.refused else 0)


def _chosen(cases: Cases, patient: str | None) -> Case:
    """Return the patient that was asked for, or the only one."""
    if patient is None and len(cases) != 1:
        shown = ", ".join(case.patient_id for case, _ in zip(cases, range(5), strict=False))
        raise click.UsageError(f"The file holds {len(cases)} patients: choose one with --patient, for example {shown}.")
    found = next((case for case in cases if patient in (None, case.patient_id)), None)
    if found is None:
        raise click.UsageError(f'There is no patient "{patient}" in this file.')
    return found


def _explained(screened: Screened, rule: str | None, words: Terminology) -> Iterator[str]:
    day = datetime.fromtimestamp(screened.now, UTC).strftime("%Y-%m-%d %H:%M")
    yield f"Patient {screened.case.patient_id}, as of {day} UTC, service {screened.case.service.service.id}"
    if screened.failed:
        yield f"The evaluation failed: {screened.failed}. This is a fault of the service; please report it."
    if screened.replayed.refused is not None:
        yield f"\nThe EHR would get no cards:\n{screened.replayed.refused}"
    if screened.facts is None or screened.replayed.decision is None:
        return
    yield "\nWhat was sent"
    yield from (f"  {key}: {state.value}" for key, state in screened.facts.states.items())
    yield from (f"\nType of calcinosis: {show.plain(str(one))}" for one in subtype.read(screened.facts, words))
    if screened.facts.about_orders:
        yield "\nOrders of the call"
        yield from (f"  {_ordered(draft)}" for draft in screened.facts.orders)
    for outcome in (*screened.replayed.decision.outcomes, *screened.replayed.decision.silent):
        if rule in (None, outcome.rule.id):
            yield from _trail(outcome)
    if rule is None:
        yield from _leftovers(screened)


def _ordered(draft: Draft) -> str:
    chosen = "" if draft.selected else ", not selected"
    said = f"{show.plain(draft.display)} ({draft.concept})" if draft.concept else f"cannot be read: {draft.how}"
    return f"{show.plain(draft.reference)}: {said}{chosen}"


def _trail(outcome: Outcome) -> Iterator[str]:
    one = outcome.rule
    yield f"\n{MARKS[outcome.verdict]} {one.id}: {one.title} ({one.number}, {one.status}, version {one.version})"
    yield from (f"    {show.plain(line)}" for line in outcome.judgement.lines())
    if outcome.indicator:
        yield f"    indicator: {outcome.indicator}"
    if outcome.judgement.missing:
        yield f"    missing: {', '.join(outcome.judgement.missing)}"


def _leftovers(screened: Screened) -> Iterator[str]:
    facts = screened.facts
    if facts is None:
        return
    aside = Counter((one.kind, one.concept, one.reason) for one in facts.set_aside)
    if aside:
        yield "\nSet aside (no rule may use it)"
        yield from show.indented(show.table(("kind", "concept", "reason", "count"), _counted(aside)))
    if facts.seen:
        yield "\nCodes seen that mean nothing to the rules"
        yield from show.indented(show.table(("kind", "system", "code", "count"), _counted(facts.seen)))


def _counted(counts: Mapping[tuple[str, str, str], int]) -> list[tuple[str | int, ...]]:
    return [(*key, count) for key, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


@click.command()
@click.argument("path", type=FILE)
@as_of_option
@hook_option
@alias_option
@strict_option
@click.option("--cards", is_flag=True, help="Show every patient's cards too.")
@click.option("--json", "as_json", is_flag=True, help="Print the tables as JSON.")
@content_options
def evaluate(
    path: Path, as_of: str, hook: str, aliases: tuple[str, ...], strict_status: bool, cards: bool, as_json: bool,
    content: Path | None, site: str | None,
) -> None:  # fmt: skip
    """
    Evaluate many patients and count what the rules say.

    PATH is a complete hook call, a Bundle, or a folder of Bundles or NDJSON (Bulk Data). For each patient the hook
    call is built as an EHR builds it from discovery, and answered as the service answers it. Exit code 1 where a
    call failed or would have been refused.
    """
    chosen = settings(content, site)
    book = _book(chosen, aliases)
    tally = Tally(book)
    screening = _screening(book, chosen, as_of)
    with open_cases(path, book, hook=hook, lenient_status=not strict_status) as found:
        hidden = not sys.stderr.isatty() or len(found) < 20
        with click.progressbar(found, length=len(found), label="Patients", file=sys.stderr, hidden=hidden) as patients:
            for case in patients:
                screened = screening.screen(case)
                tally.add(screened)
                if cards:
                    click.echo("\n".join(_cards(screened)))
    if as_json:
        click.echo(json.dumps(tally.as_json(), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(report.lines(tally, book)))
    raise click.exceptions.Exit(0 if tally.sound else 1)


def _cards(screened: Screened) -> Iterator[str]:
    yield f"=== Patient {screened.case.patient_id}"
    if screened.replayed.response is not None:
        yield from show.cards(json.loads(to_json(screened.replayed.response)))
    elif screened.replayed.refused is not None:
        yield f"Refused: {screened.replayed.refused.what}"


def _screening(book: RuleBook, chosen: Settings, as_of: str) -> Screening:
    policy = Policy(chosen.drop_strangers, chosen.allow_preliminary, chosen.fhir_bases)
    return Screening(Replayer(book, lambda: str(uuid4()), policy), as_of, time.time, time.perf_counter)


def _book(chosen: Settings, aliases: tuple[str, ...]) -> RuleBook:
    """Load the rule book, and let it read local code systems as ones it knows."""
    book = book_of(chosen)
    pairs = dict(alias.rpartition("=")[::2] for alias in aliases)
    known = book.terminology.systems
    for uri, name in pairs.items():
        if not uri or name not in known.names():
            raise SettingsError(
                f'"{name}" is not a code system that concepts are written in.',
                slug="unknown-system",
                remedy=f"Write URI=NAME; the names are: {', '.join(known.names())}.",
            )
    book.terminology.systems = known.with_aliases(pairs)
    return book
