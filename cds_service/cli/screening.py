"""The command that screens a whole population: findings, a summary and a worklist."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from cds_service import __version__
from cds_service.adapters.population import Input, Plan, inputs_of
from cds_service.cli.options import as_of_option, content_options, decisions_of, settings
from cds_service.errors import SettingsError, Unavailable
from cds_service.facts import Policy
from cds_service.rules.tuning import Tuning
from cds_service.screening.engines import NAMES, Cluster
from cds_service.screening.order import Order, rules_of
from cds_service.screening.output import Done
from cds_service.screening.progress import Progress
from cds_service.screening.run import check_complete, run, working_in
from cds_service.screening.totals import URGENT_FIRST
from cds_service.web.settings import Settings, content_folder

WORKLIST = 1_000


@click.command()
@click.option("--input", "source", required=True, metavar="DIR|URL", help="A folder of NDJSON, or a FHIR server.")
@click.option(
    "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="A folder for the files."
)
@as_of_option
@click.option("--workers", type=click.IntRange(1, 256), help="How many processes screen [default: as many processors].")
@click.option("--engine", type=click.Choice(NAMES), default=NAMES[0], show_default=True, help="Where it is screened.")
@click.option("--cluster", default="", metavar="ADDRESS", help="A Dask or Spark that runs already [default: none].")
@click.option("--without-decisions", is_flag=True, help="Rules as their files say, without what admins decided.")
@click.option("--worklist", "most", default=WORKLIST, show_default=True, help="How many patients the worklist shows.")
@click.option("--progress/--no-progress", "shows", default=None, help="Say how far it is [default: on a terminal].")
@content_options
def screen(
    source: str, output: Path, as_of: str, workers: int | None, engine: str, cluster: str, without_decisions: bool,
    most: int, shows: bool | None, content: Path | None, site: str | None,
) -> None:  # fmt: skip
    """
    Screen a whole population with the rules of patient-view.

    Reads FHIR Bulk Data NDJSON (.ndjson, .ndjson.gz, in any order), from a folder, or exported from a server
    (docs/screening.md). Writes findings as NDJSON, CSV and, with pyarrow, Parquet; problems, a summary and a worklist.
    All files hold patients' data and are made readable for their owner only. A run that was stopped, however, goes on
    where it was when the same command is given again. What admins decided in the ledger that CDS_DATABASE_URL names
    is laid over the rules, as the service does. Exit code 1 where a line or a patient could not be used.
    """
    chosen = settings(content, site)
    where = Cluster(engine, workers or len(os.sched_getaffinity(0)), cluster)
    progress = Progress(sys.stderr if shows or (shows is None and sys.stderr.isatty()) else None, time.monotonic)
    decided = [] if without_decisions else _decided(chosen)
    with _for_owner_only():
        problems = _screen(source, output, Asked(chosen, as_of, decided), where, progress, most)
    raise click.exceptions.Exit(1 if problems else 0)


class Asked(msgspec.Struct, frozen=True):
    """How records are looked at: the settings, the day as asked, and what admins decided."""

    chosen: Settings
    as_of: str
    decided: Sequence[Tuning]

    def order(self, inputs: list[Input], cluster: Cluster) -> Order:
        """Return the order to screen some files. Raises SettingsError where there are no rules."""
        chosen, where = self.chosen, content_folder(self.chosen)
        if not where.is_dir():
            raise SettingsError("There is no such content folder.", where=str(where), slug="no-content")
        asked = {
            "engine": cluster.engine,
            "other_patient": "drop" if chosen.drop_strangers else "refuse",
            "preliminary": "1" if chosen.allow_preliminary else "0",
            "fhir_bases": " ".join(sorted(chosen.fhir_bases)),
        }
        rules = rules_of(str(where.resolve()), chosen.site).fingerprint
        decided = [one.plain() for one in self.decided]
        plan = Plan(__version__, rules, chosen.site, self.as_of, asked, inputs, decided)
        policy = Policy(chosen.drop_strangers, chosen.allow_preliminary, chosen.fhir_bases)
        return Order(plan, str(where.resolve()), policy, time.time())


def _screen(source: str, output: Path, asked: Asked, cluster: Cluster, progress: Progress, most: int) -> int:
    """Carry out a run, or go on with it; return how many lines and patients could not be used."""
    kinds = asked.order([], cluster).kinds()
    with working_in(output) as working:
        if working is None:
            plan = None if _is_server(source) else asked.order(_files(source), cluster).plan
            click.echo(f"Complete: the run that began at {check_complete(plan, output)}. Nothing was done.")
            return 0
        inputs = _exported(source, working, asked.chosen, kinds) if _is_server(source) else _files(source)
        done = run(asked.order(inputs, cluster), output, working, cluster, progress, _tell, most)
    click.echo("\n".join(_lines(done, output)))
    return done.problems


def _decided(chosen: Settings) -> Sequence[Tuning]:
    """Return what admins decided. A ledger that cannot be read ends the command: nobody may read all that it says."""
    try:
        return decisions_of(chosen)
    except (SettingsError, Unavailable) as problem:
        raise SettingsError(
            f"What admins decided cannot be read: {problem.what}",
            where="CDS_DATABASE_URL",
            why=problem.why,
            remedy="Let the ledger be reached, or screen by the rule files alone: --without-decisions.",
        ) from None


def _is_server(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _files(source: str) -> list[Input]:
    path = Path(source)
    if not path.exists():
        raise click.UsageError(f"There is no file or folder {source}.")
    return inputs_of(path)


def _exported(source: str, working: Path, chosen: Settings, kinds: frozenset[str]) -> list[Input]:
    """Have a server export what the rules read, or go on with the export that was begun; return its files."""
    from cds_service.adapters.bulk import Export, Line, Places, read_client_key
    from cds_service.adapters.fhir import Origins

    allowed = Origins.read(chosen.fhir_allow, plain_http=chosen.fhir_plain_http)
    places = Places(source, allowed, chosen.smart_servers, chosen.bulk_files)
    key = read_client_key(chosen.bulk_client_id, chosen.bulk_key_file)
    line = Line(places, key, sorted(kinds), authorities=chosen.ca_file)
    return inputs_of(Export(line, sorted(kinds), working, _tell).run())


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _lines(done: Done, folder: Path) -> Iterator[str]:
    totals, problems = done.totals, done.problems
    cards = ", ".join(f"{totals.of('card', name):,} {name}" for name in URGENT_FIRST)
    yield f"{totals.patients:,} patients, {totals['with findings']:,} with findings; cards: {cards}"
    yield f"By rule book {done.ran.rule_book}, {_followed(done)}"
    if problems:
        yield f"{problems:,} lines or patients could not be used: {folder / 'problems.ndjson'}"
    yield f"Written to {folder}, for your eyes only (mode 0600): begin with {folder / 'worklist.html'}"


def _followed(done: Done) -> str:
    """Say how many decisions of admins are in these findings."""
    known = done.ran.decisions
    if not known:
        return "as its files say: no decisions of admins"
    ignored = sum(bool(one["ignored"]) for one in known)
    left_out = f" ({ignored} more not followed: summary.html)" if ignored else ""
    return f"with {len(known) - ignored} decisions of admins{left_out}"


@contextmanager
def _for_owner_only() -> Iterator[None]:
    """Whatever this process and its children write meanwhile, nobody else can read: it is about patients."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
