"""``cds-service tuning``: what admins decided about rules, from the shell: shown, made, reviewed as a file, undone."""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
import yaml

from cds_service.cli import show as showing
from cds_service.cli.options import FILE, book_of, content_options, settings
from cds_service.errors import ContentError, SettingsError
from cds_service.rules.book import RuleBook
from cds_service.rules.tuning import (
    Tuning,
    check_new,
    current,
    describe,
    needs_approval,
    read_assignment,
    tuned,
    unfit,
)
from cds_service.rules.tuning_files import news, read_site_file, site_file
from cds_service.rules.tuning_words import ENOUGH_EVALUATIONS
from cds_service.schemas import strict_yaml

if TYPE_CHECKING:
    from decimal import Decimal

    from cds_service.adapters.governance import Change, Governance

ROLE = ORIGIN = "shell"
_DAY = click.DateTime(["%Y-%m-%d"])
_LIVING = ("in force", "planned", "waiting")
why_option = click.option("--why", required=True, help="Why, in at least 10 characters that need no patient.")


def _me() -> str:
    """Return the name of the user, where the machine knows one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise click.UsageError("Give --who: this machine does not know your name.") from None


who_option = click.option("--who", default=_me, help="Who decides this [default: your user name].")


class Desk(msgspec.Struct, frozen=True):
    """What the commands work with: the files' book, the decisions, the day; whether everything needs two persons."""

    book: RuleBook
    governance: Any
    today: date
    approve_everything: bool = False

    @property
    def in_force(self) -> RuleBook:
        """The book that the service answers with today."""
        return tuned(self.book, self.governance.decided(), self.today)


def _desk(content: Path | None, site: str | None) -> Desk:
    from cds_service.cli.ledger import opened

    chosen = settings(content, site)
    return Desk(book_of(chosen), _governance(*opened()), datetime.now(UTC).date(), chosen.approvals == "all")


def _governance(database: Any, key: Any) -> Governance:
    from cds_service.adapters.governance import Governance

    return Governance(database, key, time.time)


@click.group()
def tuning() -> None:
    """
    Thresholds, status, quiet time, urgency, wording, rollout and exceptions, as the hospital decides them.

    All running processes follow within 5 seconds, without a restart, and after one. The ledger that CDS_DATABASE_URL
    names holds every decision; none is ever changed or deleted. Days are those of UTC.
    """


# --- looking ---------------------------------------------------------------------------------------------------------


@tuning.command()
@click.argument("rule", default="")
@click.option("--history", is_flag=True, help="Every decision, not only those in force, planned or waiting.")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
@content_options
def show(rule: str, history: bool, as_json: bool, content: Path | None, site: str | None) -> None:
    """Show what was decided, newest first: about all rules, or about one."""
    desk = _desk(content, site)
    if rule and rule not in desk.book.rules:
        raise SettingsError(f'There is no rule "{rule}".', slug="unknown-rule")
    changes = [one for one in desk.governance.history(rule or None) if history or one.state in _LIVING]
    refused = {id(one.tuning): why for one in changes for _, why in unfit(desk.book, [one.tuning])}
    if as_json:
        said = [_plain(one, refused.get(id(one.tuning), "")) for one in changes]
        click.echo(json.dumps(said, indent=2, ensure_ascii=False))
        return
    for one in changes:
        click.echo("\n".join(_lines(one, desk.book, refused.get(id(one.tuning), ""))))
    if not changes:
        click.echo("Nothing was decided: the rules are as their files say.")


def _plain(one: Change, refused: str) -> dict[str, Any]:
    plain = {"number": one.number, "state": one.state, **one.tuning.plain(), "asks": one.asks}
    return {**plain, "ruling": one.ruling, "ruled_by": one.ruled_by, "restores": one.restores, "unfit": refused}


def _lines(one: Change, book: RuleBook, refused: str) -> Iterator[str]:
    when = datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    yield showing.plain(f"{one.number}  {one.state}  {_said(one.tuning, book)}")
    yield showing.plain(f"   {when} {one.tuning.who}: {one.tuning.why}")
    if one.state == "waiting":
        yield f"   waits for a second person: {one.asks} (cds-service tuning approve {one.number})"
    if one.ruling:
        yield showing.plain(f"   {one.ruling} by {one.ruled_by}: {one.ruled_why}")
    if refused:
        yield showing.plain(f"   NOT IN FORCE, the rules refuse it: {refused}")


def _said(one: Tuning, book: RuleBook) -> str:
    try:
        return describe(one, book)
    except (ContentError, KeyError):
        return f"{one.place}={one.value}"


# --- deciding --------------------------------------------------------------------------------------------------------


@tuning.command("set")
@click.argument("assignment", metavar="RULE.NAME=VALUE")
@why_option
@who_option
@click.option("--from", "since", type=_DAY, help="The first day [default: today].")
@click.option("--until", type=_DAY, help="The first day on which it does not hold any more [default: it has no end].")
@content_options
def set_(
    assignment: str, why: str, who: str, since: datetime | None, until: datetime | None, content: Path | None,
    site: str | None,
) -> None:  # fmt: skip
    """
    Decide something: cds-service tuning set eskd-hyperphosphatemia.phosphate_high=6.0 --why ...

    NAME is a threshold of the rule, or status, indicator, quiet_hours, rollout, reason.CODE, or exception.NAME (with
    a VALUE like {"kind": "diagnosis", "of": ["calciphylaxis"]} and --until).
    """
    desk = _desk(content, site)
    begins = since.date() if since else desk.today
    read = read_assignment(assignment, desk.book, begins, who, why, until.date() if until else None)
    click.echo("\n".join(_propose(read, desk)))


def _propose(made: Tuning, desk: Desk, *, restores: int = 0) -> Iterator[str]:
    """Write a decision down; say what it means, and whether a second person is asked for."""
    book = desk.in_force
    check_new(made, book, desk.today)
    many, everything = _evaluations(made, desk), desk.approve_everything
    asks = needs_approval(made, book, made.since, many, files=desk.book, everything=everything)
    base = desk.governance.newest(made.rule, made.name)
    change = desk.governance.propose(made, base=base, asks=asks, restores=restores, role=ROLE, origin=ORIGIN)
    yield showing.plain(f"{change.number}  {describe(made, desk.book)}")
    if asks:
        yield f"It waits for a second person, because {asks}: cds-service tuning approve {change.number}"


def _evaluations(made: Tuning, desk: Desk) -> int:
    from cds_service.adapters.piloting import evaluations

    if made.name != "status" or made.value != "active":
        return 0
    return evaluations(desk.governance.database, made.rule, ENOUGH_EVALUATIONS)


@tuning.command()
@click.argument("number", type=int)
@why_option
@who_option
@click.option("--reject", is_flag=True, help="Refuse it instead.")
@click.option("--withdraw", is_flag=True, help="Take back one's own.")
def approve(number: int, why: str, who: str, reject: bool, withdraw: bool) -> None:
    """Agree, as a second person, to a decision that waits for one."""
    from cds_service.cli.ledger import opened

    if reject and withdraw:
        raise click.UsageError("Give --reject or --withdraw, not both.")
    outcome = "rejected" if reject else "withdrawn" if withdraw else "approved"
    change = _governance(*opened()).rule_on(number, outcome, who, why, ROLE, ORIGIN)
    click.echo(showing.plain(f"{change.number}  {change.tuning.place}: {outcome} by {who}"))


@tuning.command()
@click.argument("what", metavar="NUMBER|RULE.NAME")
@why_option
@who_option
@content_options
def restore(what: str, why: str, who: str, content: Path | None, site: str | None) -> None:
    """Go back to an earlier decision, by its number, or to what the files say of RULE.NAME."""
    desk = _desk(content, site)
    if not what.isdecimal():
        rule, _, name = what.partition(".")
        value = current(desk.book, rule, name, desk.today)
        made = Tuning(rule, name, "" if value is None else value, desk.today, who, why)
        click.echo("\n".join(_propose(made, desk)))
        return
    change = desk.governance.change(int(what))
    if change is None:
        raise SettingsError(f"There is no decision {what}.", slug="unknown-change", remedy="cds-service tuning show")
    until = change.tuning.until if change.tuning.until and change.tuning.until > desk.today else None
    made = msgspec.structs.replace(change.tuning, since=desk.today, until=until, who=who, why=why)
    click.echo("\n".join(_propose(made, desk, restores=change.number)))


# --- files -----------------------------------------------------------------------------------------------------------


@tuning.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False, writable=True), help="A file [default: output].")
@content_options
def export(out: Path | None, content: Path | None, site: str | None) -> None:
    """
    Write what was decided as a site file, for review in git.

    Thresholds and statuses are as in hooks/sites. What a site file cannot hold stands below tunings:, which
    cds-service tuning import reads.
    """
    desk = _desk(content, site)
    decided = desk.governance.decided()
    text = _yaml(site_file(decided, desk.book.site or "hospital", desk.today))
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
    for one, why in unfit(desk.book, decided):
        click.echo(showing.plain(f"Not in force, the rules refuse it: {one.place}: {why}"), err=True)


class _Plain(yaml.SafeDumper):
    """Writes decimals as people do."""


def _decimal(dumper: yaml.SafeDumper, value: Decimal) -> yaml.ScalarNode:
    tag = "tag:yaml.org,2002:float" if "." in str(value) else "tag:yaml.org,2002:int"
    return dumper.represent_scalar(tag, f"{value:f}")


def _yaml(document: dict[str, Any]) -> str:
    from decimal import Decimal

    _Plain.add_representer(Decimal, _decimal)
    head = "# Written by cds-service tuning export: decisions of admins, in the shape of hooks/sites.\n"
    return head + yaml.dump(document, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)


@tuning.command("import")
@click.argument("file", type=FILE)
@who_option
@click.option("--dry-run", is_flag=True, help="Only say what would be decided.")
@content_options
def import_(file: Path, who: str, dry_run: bool, content: Path | None, site: str | None) -> None:
    """
    Decide what a file says, as export wrote it or a site file has it; what is so already is left alone.

    Nothing begins in the past: what the file says since long holds from today on.
    """
    desk = _desk(content, site)
    wanted = read_site_file(strict_yaml.read(file, shown_as=file.name), file.name, desk.book, desk.today)
    found = news(wanted, desk.governance.decided(), desk.book, desk.today)
    for one in found:
        made = msgspec.structs.replace(one, who=who, why=f"{one.why} (imported; decided by {one.who})")
        click.echo("\n".join([showing.plain(describe(made, desk.book))] if dry_run else _propose(made, desk)))
    click.echo(f"{len(found)} of {len(wanted)} decisions {'would be' if dry_run else 'were'} new.")
