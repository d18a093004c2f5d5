"""
Imports run downwards only, Flask lives in the web floor, the network in the adapters.

The contracts stand in pyproject.toml; here they are run, and shown to catch what they are there for.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source import PACKAGE, ROOT, imports, python_files, shown, tree

LINT_IMPORTS = str(Path(sys.executable).with_name("lint-imports"))


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of the project in a folder."""
    command = [LINT_IMPORTS, "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Give a copy of the project, which a test may spoil. Floors not built yet stand empty in it."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(PACKAGE, tmp_path / "cds_service", ignore=shutil.ignore_patterns("__pycache__"))
    for floor in ("terminology", "protocol", "facts", "rules", "cards", "adapters", "web", "screening"):
        (tmp_path / "cds_service" / floor).mkdir(exist_ok=True)
        (tmp_path / "cds_service" / floor / "__init__.py").touch()
    return tmp_path


def plant(project: Path, module: str, line: str) -> None:
    """Add a module that holds one line."""
    (project / "cds_service" / module).write_text(f"{line}\n", encoding="utf-8")


def test_every_contract_is_kept() -> None:
    result = lint_imports(ROOT)

    assert 0 == result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("facts/planted.py", "import flask", "Flask lives in the web floor only"),
        ("cards/planted.py", "from flask_cors import CORS", "Flask lives in the web floor only"),
        ("adapters/planted.py", "import flask", "Flask lives in the web floor only"),
        ("web/planted.py", "import requests", "The network and the database live in the adapters only"),
        ("rules/planted.py", "def f():\n    import sqlalchemy", "The network and the database live in"),
        ("facts/planted.py", "import cds_service.rules", "Imports run downwards only"),
        ("terminology/planted.py", "import cds_service.protocol", "Imports run downwards only"),
        ("adapters/planted.py", "import cds_service.web", "Imports run downwards only"),
        ("planted.py", "X = 1", "Imports run downwards only"),
    ],
)
def test_a_planted_fault_breaks_its_contract(copy: Path, module: str, line: str, broken: str) -> None:
    plant(copy, module, line)

    result = lint_imports(copy)

    assert 0 != result.returncode
    verdict = next(row for row in result.stdout.splitlines() if row.startswith(broken))
    assert " BROKEN" in verdict


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("web/planted.py", "import flask"),
        ("adapters/planted.py", "import requests"),
        ("web/planted.py", "import cds_service.adapters"),
        ("facts/planted.py", "import cds_service.terminology, cds_service.protocol"),
    ],
)
def test_what_a_floor_is_for_breaks_nothing(copy: Path, module: str, line: str) -> None:
    plant(copy, module, line)

    result = lint_imports(copy)

    assert 0 == result.returncode, result.stdout


def test_fhir_models_are_r4b() -> None:
    """
    The top level of fhir.resources is R5, where a MedicationRequest of R4 does not even parse.
    """
    r5 = [
        f"{shown(path)}:{line} {name}"
        for path in python_files("cds_service", "tests", "bench")
        for _, name, line in imports(tree(path))
        if name.startswith("fhir.resources") and not name.startswith("fhir.resources.R4B")
    ]

    assert [] == r5
