"""What the README promises is there, and what is there stands in the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click import Context
from click.testing import CliRunner

from cds_service.cli import main
from cds_service.rules import RuleBook
from cds_service.web.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_has_its_row(setting: object) -> None:
    """An admin finds each setting, with its default, in one table."""
    name, default = getattr(setting, "name", ""), getattr(setting, "default", "")

    assert re.search(rf"^\| `{name}` \| {f'`{re.escape(default)}`' if default else ''} ?\|", README, re.MULTILINE)


def test_every_command_has_its_row_and_its_help() -> None:
    """Each command of the program is listed once, and explains itself."""
    listed = set(re.findall(r"^\| `cds-service ([a-z-]+)", README, re.MULTILINE))

    assert set(main.list_commands(Context(main))) == listed
    for name in listed:
        assert 0 == CliRunner().invoke(main, [name, "--help"]).exit_code


def test_every_rule_is_listed_with_its_number(book: RuleBook) -> None:
    """A clinician sees in the README which rules are asked."""
    listed = dict(re.findall(r"^\| `([a-z0-9-]+)` \((CC-\d\d)\)", README, re.MULTILINE))

    assert {rule.id: rule.number for rule in book.rules.values()} == listed


@pytest.mark.parametrize(
    "document", ["README.md", "hooks/README.md", "cds_service/README.md", "fixtures/README.md", "bench/README.md"]
)
def test_every_link_to_a_file_leads_somewhere(document: str) -> None:
    """No document points at a file that is not there."""
    text = (ROOT / document).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)", text) if "://" not in target]

    assert [] == [target for target in targets if not (ROOT / document).parent.joinpath(target).exists()]


def test_the_map_of_the_engine_names_every_floor() -> None:
    """The picture of the house shows every part of it."""
    engine = (ROOT / "cds_service" / "README.md").read_text(encoding="utf-8")
    parts = {
        path.name + "/" for path in (ROOT / "cds_service").iterdir() if path.is_dir() and not path.name.startswith("_")
    }
    parts |= {path.name for path in (ROOT / "cds_service").glob("*.py") if path.name != "__init__.py"}

    assert [] == sorted(part for part in parts if f"`{part}`" not in engine)
