"""The command line: ``cds-service serve | demo | check | test | explain | evaluate | fire | prefetch | rules ...``."""

from __future__ import annotations

from typing import Any

import click

from cds_service import __version__
from cds_service.cli.accounts import account, audit
from cds_service.cli.backtesting import backtest
from cds_service.cli.collection import collection
from cds_service.cli.concepts import concepts
from cds_service.cli.content import check, test
from cds_service.cli.doctor import doctor
from cds_service.cli.ehr import fire
from cds_service.cli.ledger import ledger, switch
from cds_service.cli.linting import lint_request
from cds_service.cli.patients import evaluate, explain
from cds_service.cli.prefetching import prefetch
from cds_service.cli.publish import export, rules
from cds_service.cli.screening import screen
from cds_service.cli.serving import demo, serve
from cds_service.cli.tuning import tuning
from cds_service.errors import CdsError

USAGE = 2


class _Commands(click.Group):
    """Commands whose errors say what, where, why and what to do, without a trace."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what is wrong with the input ends it with exit code 2."""
        try:
            return super().invoke(ctx)
        except CdsError as problem:
            click.echo(str(problem), err=True)
            ctx.exit(USAGE)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="cds-service")
def main() -> None:
    """
    Find calcinosis and its causes in a patient's chart, by rules that clinicians can read.

    Settings come from environment variables (CDS_AUTH, CDS_CONTENT, CDS_SITE ...). Exit codes: 0 all is well,
    1 something was found wrong, 2 the command was not understood or its input cannot be read.
    """


_RUN = (serve, demo, doctor, ledger, switch, tuning, account, audit)
_WRITE = (check, test, explain, evaluate, screen, backtest, rules, export, concepts)
_CONNECT = (prefetch, fire, lint_request, collection)
for command in (*_RUN, *_WRITE, *_CONNECT):
    main.add_command(command)
