"""
What docs/admin.md and docs/tune.md say is what pages and commands do.

A browser test walks the way through; that every label is there is held by tests/admin/test_guide.py.
"""

from __future__ import annotations

import re

import click
import pytest

from cds_service.adapters.governance import ROLES
from cds_service.cli import main
from cds_service.rules.tuning import kind_of
from cds_service.rules.tuning_check import LONGEST_REASON, MOST_HOURS, SHORTEST_WHY
from cds_service.rules.tuning_model import LONGEST_EXCEPTION
from cds_service.rules.tuning_words import ENOUGH_DAYS, ENOUGH_EVALUATIONS
from cds_service.web.admin.trying import MOST_RECORDED
from cds_service.web.settings import SETTINGS
from tests.build import ROOT

ADMIN, TUNE = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("admin.md", "tune.md"))
BROWSER = (ROOT / "tests" / "browser" / "test_admin_change.py").read_text(encoding="utf-8")


def test_every_role_has_its_row() -> None:
    assert list(ROLES) == re.findall(r"^\| (viewer|editor|approver|operator|auditor) \|", ADMIN, re.MULTILINE)


def test_the_example_is_the_one_that_the_browser_walks() -> None:
    for said in ("9 patients", "6.5", "Restore what the files say", "6.0"):
        assert said in ADMIN
        assert said in BROWSER


def test_the_limits_are_those_in_force() -> None:
    assert f"at least {SHORTEST_WHY} characters" in ADMIN
    assert f"newest {MOST_RECORDED:,}" in ADMIN
    assert f"at most {LONGEST_EXCEPTION} days" in ADMIN
    assert f"at most {LONGEST_REASON} characters" in TUNE
    assert f"at most {MOST_HOURS}" in TUNE
    assert f"less than {ENOUGH_DAYS} days and {ENOUGH_EVALUATIONS} evaluations" in " ".join(TUNE.split())


def test_the_settings_that_are_named_are_settings() -> None:
    assert set(re.findall(r"CDS_[A-Z_]+", ADMIN + TUNE)) <= {one.name for one in SETTINGS}


@pytest.mark.parametrize("line", re.findall(r"^\$ cds-service (.+)$", ADMIN + TUNE, re.MULTILINE))
def test_every_command_that_is_shown_is_one(line: str) -> None:
    """The words are commands, and what begins with two dashes are their options."""
    words = re.sub(r'"[^"]*"', "text", line).split()
    command: click.Command = main
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None, line
        command = found
    known = {name for option in command.params for name in option.opts}

    assert {word for word in words if word.startswith("--")} <= known


def test_every_name_that_can_be_decided_has_its_row() -> None:
    rows = re.findall(r"^\| `([a-z_]+)(?:\.[A-Z]+)?` \|", TUNE, re.MULTILINE)

    assert {"status", "indicator", "quiet_hours", "rollout", "reason", "exception"} == set(rows)
    assert "threshold" not in {kind_of(name) for name in rows if name not in ("reason", "exception")}
