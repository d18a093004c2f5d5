"""``cds-service backtest``: what would another number do, on the patients of a folder, before anybody saves it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from cds_service.backtest import Backtest
from cds_service.cli import show
from cds_service.cli.options import FILE, as_of_option, book_of, content_options, hook_option, settings, strict_option
from cds_service.errors import CdsError
from cds_service.facts import Policy, take_in
from cds_service.facts.intake import Reader
from cds_service.protocol import HookRequest
from cds_service.rules.book import RuleBook
from cds_service.rules.model import INDICATORS
from cds_service.rules.tuning import read_assignment, tuned
from cds_service.screening import open_cases
from cds_service.screening.local import moment_of
from cds_service.web.settings import packaged

LONG_AGO = date(1900, 1, 1)


@click.command()
@click.option("--set", "assignments", multiple=True, required=True, metavar="RULE.THRESHOLD=VALUE", help="Repeatable.")
@click.option("--cohort", type=FILE, help="A folder of Bundles or NDJSON; without it the invented population.")
@as_of_option
@hook_option
@strict_option
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--show", "most", default=20, show_default=True, type=click.IntRange(0, 10_000), help="Patients to list.")
@content_options
def backtest(
    assignments: tuple[str, ...], cohort: Path | None, as_of: str, hook: str, strict_status: bool, as_json: bool,
    most: int, content: Path | None, site: str | None,
) -> None:  # fmt: skip
    """
    Compare the rules as they are with rules as they could be.

    Every patient of the cohort is answered with both: cards per 100 patients before and after, and who gains or loses
    a card. Nothing is saved.
    """
    chosen = settings(content, site)
    before = book_of(chosen)
    # From long ago on: the change is to hold for whatever day the cohort is looked at.
    after = tuned(before, [read_assignment(one, before, LONG_AGO) for one in assignments], datetime.now(UTC).date())
    compared = Backtest(before, after, hook)
    started = time.perf_counter()
    policy = Policy(chosen.drop_strangers, chosen.allow_preliminary, chosen.fhir_bases)
    refused = _run(compared, before, cohort or packaged("fixtures") / "population", as_of, hook, strict_status, policy)
    seconds = time.perf_counter() - started
    if as_json:
        click.echo(json.dumps(_figures(compared, assignments, refused, seconds), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(compared, assignments, refused, seconds, most)))


def _run(
    compared: Backtest, book: RuleBook, cohort: Path, as_of: str, hook: str, strict_status: bool, policy: Policy
) -> int:
    """Answer every patient with both books; return how many calls the service would have refused."""
    reader, refused = Reader(book.terminology), 0
    with open_cases(cohort, book, hook=hook, lenient_status=not strict_status) as found:
        hidden = not sys.stderr.isatty()
        with click.progressbar(found, length=len(found), label="Patients", file=sys.stderr, hidden=hidden) as cases:
            for case in cases:
                try:
                    request = HookRequest.parse(case.call, case.service.service.hook)
                    facts = take_in(request, reader, moment_of(case.record, as_of, time.time), policy)
                except CdsError:
                    refused += 1
                    continue
                compared.add(case.patient_id, facts)
    return refused


def _lines(compared: Backtest, assignments: Sequence[str], refused: int, seconds: float, most: int) -> list[str]:
    rate = compared.patients / seconds if seconds else 0.0
    lines = [
        f"{compared.patients} patients in {seconds:.1f} s ({rate:.0f} per second); with {', '.join(assignments)}",
        "",
        "Cards per 100 patients",
        *show.indented(show.table(("", "before", "after"), _card_rows(compared))),
        "",
        "Findings",
        *show.indented(show.table(("rule", "before", "after"), _rule_rows(compared))),
    ]
    if refused:
        lines.append(f"{refused} patients could not be read, or not be evaluated at all.")
    lines += ["", f"{len(compared.changed)} patients for whom it makes a difference"]
    for one in compared.changed[:most]:
        gains, loses = " ".join(f"+{rule}" for rule in one.gains), " ".join(f"-{rule}" for rule in one.loses)
        lines.append(f"  {show.plain(one.patient)}: {gains} {loses}".rstrip() if gains or loses else _urgency(one))
    if len(compared.changed) > most:
        lines.append(f"  and {len(compared.changed) - most} more (--show)")
    return lines


def _urgency(one: Any) -> str:
    before = ", ".join(indicator for _, indicator in one.before)
    return f"  {show.plain(one.patient)}: {before} becomes {', '.join(indicator for _, indicator in one.after)}"


def _card_rows(compared: Backtest) -> list[tuple[str | int, ...]]:
    return [
        (name, f"{compared.per_hundred(0, name):.1f}", f"{compared.per_hundred(1, name):.1f}")
        for name in reversed(INDICATORS)
    ]


def _rule_rows(compared: Backtest) -> list[tuple[str | int, ...]]:
    before, after = compared.fired
    changed = [rule for rule in sorted({*before, *after}) if before[rule] != after[rule]]
    return [(rule, before[rule], after[rule]) for rule in changed] or [("no rule speaks more or less often", "", "")]


def _figures(compared: Backtest, assignments: Sequence[str], refused: int, seconds: float) -> dict[str, Any]:
    return {
        "set": list(assignments),
        "patients": compared.patients,
        "refused": refused,
        "seconds": round(seconds, 3),
        "cards": {"before": dict(compared.cards[0]), "after": dict(compared.cards[1])},
        "findings": {"before": dict(compared.fired[0]), "after": dict(compared.fired[1])},
        "changed": [{"patient": one.patient, "gains": one.gains, "loses": one.loses} for one in compared.changed],
    }
