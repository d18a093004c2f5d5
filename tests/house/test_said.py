"""
A run of the tests fails where the service said something that names a patient or is a secret (SECURITY.md 6).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import said
from tests.build import ROOT

QUIET = 'log.info("x", extra={"fields": {"event": "call", "kind": "ZeroDivisionError"}})'
LOUD = 'log.info("x", extra={"fields": {"event": "call", "kind": "%s"}})'
HEADERS = '[("Content-Type", "application/json")]'
REFUSED = f'Client(lambda environ, start: start("400 no", {HEADERS}) and None or [b"%s"]).get("/")'
JWT = "eyJhbGciOiJFUzM4NCJ9.eyJpc3MiOiJodHRwcyJ9.c2lnbmF0dXJlLg"


def after(folder: Path, line: str) -> tuple[int, str]:
    """Run one test that does this, as a whole run; return its exit code and what it printed."""
    (folder / "test_one.py").write_text(
        "import logging\nfrom werkzeug.test import Client\nlog = logging.getLogger('cds_service')\n"
        f"def test_one():\n    {line}\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.said",
        "-p",
        "no:cacheprovider",
        f"--rootdir={folder}",
    ]
    done = subprocess.run([*command, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_run_in_which_nothing_was_said_passes(tmp_path: Path) -> None:
    assert 0 == after(tmp_path, QUIET)[0]


@pytest.mark.parametrize("line", [LOUD, REFUSED], ids=["logged", "refused"])
@pytest.mark.parametrize("word", ["Paula", JWT])
def test_a_run_in_which_a_patient_or_a_secret_was_said_fails(tmp_path: Path, line: str, word: str) -> None:
    code, printed = after(tmp_path, line % word)

    assert 1 == code
    assert "SAID what names a patient" in printed


def test_what_is_no_name_is_none() -> None:
    text = 'Invented patients only.\neyJ is not a token, nor is a.b.c\nBearer\n{"request":"MARKED","instance":""}'

    assert [] == said.found(text, ["Paula", "SYNTHETIC-0001"])


def test_the_names_are_those_of_the_cast() -> None:
    names = set(said.names((ROOT / "fixtures" / "patients").glob("*.json")))

    assert {"Paula", "SYNTHETIC-0001"} <= names
    assert 30 < len(names)
