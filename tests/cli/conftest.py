"""What the tests of the command line share."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cds_service.cli import main
from tests.build import ROOT, bundle

Run = Callable[..., Result]
HOOKS = ROOT / "hooks"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command as a user does, with no settings in the environment but those given."""
    for name in ("CDS_AUTH", "CDS_CONTENT", "CDS_SITE", "CDS_SANDBOX", "CDS_ALLOW_UNAUTHENTICATED"):
        monkeypatch.delenv(name, raising=False)

    def command(*words: str | Path, **environment: str) -> Result:
        result = CliRunner().invoke(main, [str(word) for word in words], env=environment)
        # click turns its own endings into SystemExit; anything else is a trace that a user would see.
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return command


@pytest.fixture
def content(tmp_path: Path) -> Path:
    """Give a copy of the content, which a test may spoil."""
    return Path(shutil.copytree(HOOKS, tmp_path / "hooks"))


@pytest.fixture
def chart(tmp_path: Path) -> Callable[..., Path]:
    """Write a record as a Bundle file."""

    def write(*resources: Any, name: str = "chart.json") -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(bundle(*resources)), encoding="utf-8")
        return path

    return write
