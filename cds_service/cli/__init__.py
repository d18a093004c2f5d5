"""The command line: ``cds-service serve | demo | check | test | explain | evaluate | fire | prefetch | rules ...``."""

from __future__ import annotations

import gc
from importlib import import_module
from typing import Any

import click

from cds_service import __version__
from cds_service.errors import CdsError

USAGE = 2
# Which module holds which commands. Only that of the command that was asked for is imported: the service starts in
# half the time, and its workers do not carry what only other commands need.
_MODULES = {
    "serving": ("serve", "demo"),
    "doctor": ("doctor",),
    "ledger": ("ledger", "switch"),
    "tuning": ("tuning",),
    "accounts": ("account", "audit"),
    "content": ("check", "test"),
    "patients": ("explain", "evaluate"),
    "screening": ("screen",),
    "backtesting": ("backtest",),
    "publish": ("rules", "export"),
    "concepts": ("concepts",),
    "prefetching": ("prefetch",),
    "ehr": ("fire",),
    "linting": ("lint-request",),
    "collection": ("collection",),
}
_MODULE_OF = {command: module for module, commands in _MODULES.items() for command in commands}


class _Commands(click.Group):
    """Commands whose errors say what, where, why and what to do, without a trace."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of all commands."""
        return sorted(_MODULE_OF)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Return a command; its module is imported now."""
        if cmd_name not in _MODULE_OF:
            return None
        gc.disable()  # what is imported stays: looking for garbage among it takes a tenth of the time
        try:
            module = import_module(f"cds_service.cli.{_MODULE_OF[cmd_name]}")
        finally:
            gc.enable()
        found: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return found

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
