"""What is installed is what was locked, and the wheel holds the service with its content."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.house.source import PACKAGE, ROOT, imports, python_files, tree

BIN = Path(sys.executable).parent
LOCKS = (
    *("requirements.lock", "requirements-build.lock", "requirements-dev.lock", "requirements-peers.lock"),
    *("requirements-engines-build.lock", "requirements-engines.lock", "requirements-release.lock"),
)
# What has an environment of its own: it is not in that of the developers.
APART = ("peers", "engines", "engines-build", "release")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


# While the house is being built from below, what needs the roof waits for it.
with_roof = pytest.mark.skipif(not (PACKAGE / "cli").exists(), reason="the top floor is not built yet")


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command and keep what it says."""
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def canonical(requirement: str) -> str:
    """Return the normalised name of the project that a requirement asks for (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s=<>!~;\[]", requirement, maxsplit=1)[0]).lower()


def locked(name: str) -> dict[str, str]:
    """Read a lock: the text of each requirement by project, continuation lines joined."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    rows = [row for row in text.splitlines() if row and not row.lstrip().startswith("#")]
    return {canonical(row): row for row in rows}


# --- the locks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_with_hashes(lock: str) -> None:
    pinned = re.compile(r"^[a-z0-9.-]+==\S+( ; [^\\]*?)?( +--hash=sha256:[0-9a-f]{64})+\s*$")

    assert [] == [row[:60] for row in locked(lock).values() if not pinned.match(row)]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_place(lock: str) -> None:
    """
    Where packages come from is each site's own business, and often not to be published.
    """
    assert not re.search(r"://|--(extra-)?index|--find-links|@ file", (ROOT / lock).read_text(encoding="utf-8"))


def test_the_development_lock_has_the_very_versions_that_run() -> None:
    development = {name: row.split()[0] for name, row in locked("requirements-dev.lock").items()}

    running = {name: row.split()[0] for lock in LOCKS[:2] for name, row in locked(lock).items()}

    assert running.items() <= development.items()


def test_a_release_comes_with_a_list_of_what_it_consists_of(tmp_path: Path) -> None:
    """
    ``make sbom`` writes it, from the lock that a release is installed by.
    """
    commands = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    line = next(line for line in commands.splitlines() if "cyclonedx-py" in line)
    command = line.replace("dist/sbom.cdx.json", str(tmp_path / "sbom.json")).split()
    if not (ROOT / command[0]).exists():
        missing = "the tools of a release are not there: make sbom installs them"
        (pytest.fail if os.environ.get("CDS_CI") == "1" else pytest.skip)(missing)

    written = run(*command)

    assert 0 == written.returncode, written.stderr
    listed = json.loads((tmp_path / "sbom.json").read_bytes())
    assert "calcinosis-cds" == listed["metadata"]["component"]["name"]
    wanted = {name: row.split()[0].partition("==")[2] for name, row in locked("requirements.lock").items()}
    assert wanted == {canonical(one["name"]): one["version"] for one in listed["components"]}
    assert all(one["externalReferences"][0]["hashes"] for one in listed["components"])


def test_what_pyproject_asks_for_is_locked() -> None:
    """
    Whoever adds a dependency and forgets `make lock` hears it here.
    """
    groups = PYPROJECT["dependency-groups"]
    development = [
        entry for name, group in groups.items() if name not in APART for entry in group if isinstance(entry, str)
    ]

    assert {canonical(entry) for entry in PYPROJECT["project"]["dependencies"]} <= locked(LOCKS[0]).keys()
    assert {canonical(entry) for entry in groups["build"]} <= locked(LOCKS[1]).keys()
    assert {canonical(entry) for entry in development} <= locked(LOCKS[2]).keys()
    assert {canonical(entry) for entry in groups["peers"]} <= locked(LOCKS[3]).keys()
    assert {canonical(entry) for entry in groups["engines-build"]} <= locked(LOCKS[4]).keys()
    assert {canonical(entry) for entry in groups["release"]} <= locked(LOCKS[6]).keys()
    extras = PYPROJECT["project"]["optional-dependencies"]
    assert {canonical(entry) for name in ("dask", "spark") for entry in extras[name]} <= locked(LOCKS[5]).keys()


@with_roof
def test_declared_dependencies_are_those_imported() -> None:
    owners = packages_distributions()
    names = {name for path in python_files("cds_service") for _, name, _ in imports(tree(path))}
    roots = {name.partition(".")[0] for name in names} - {"cds_service"}

    imported = {canonical(owner) for root in roots for owner in set(owners.get(root, ()))}

    declared = {canonical(entry) for entry in PYPROJECT["project"]["dependencies"]}
    extra = {canonical(entry) for one in PYPROJECT["project"]["optional-dependencies"].values() for entry in one}
    # Its parts of `fhir` come with fhir.resources, and share that import name.
    assert declared == imported - {"fhir-core"} - extra
    assert "psycopg" in extra


# --- the image ------------------------------------------------------------------------------------


def compose_check(path: Path) -> subprocess.CompletedProcess[str]:
    """Check a compose file against the published schema."""
    return run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", path)


def test_the_compose_file_follows_the_compose_specification() -> None:
    result = compose_check(ROOT / "docker-compose.yml")

    assert 0 == result.returncode, result.stdout


def test_a_misspelt_compose_key_is_found(tmp_path: Path) -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    (tmp_path / "docker-compose.yml").write_text(text.replace("healthcheck:", "healthchek:"), encoding="utf-8")

    assert 1 == compose_check(tmp_path / "docker-compose.yml").returncode


def test_the_dockerfile_has_nothing_to_complain_about() -> None:
    result = run(BIN / "hadolint", ROOT / "Dockerfile")

    assert 0 == result.returncode, result.stdout


def test_an_unpinned_dockerfile_is_found(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python\nRUN pip install flask\n", encoding="utf-8")

    assert 1 == run(BIN / "hadolint", tmp_path / "Dockerfile").returncode


def test_the_image_installs_what_is_locked_and_does_not_run_as_root() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")

    assert 2 == len(re.findall(r"pip install --require-hashes -r", dockerfile))
    assert re.findall(r"^USER (\d+)", dockerfile, re.MULTILINE)[-1] != "0"


# --- the wheel ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel with what is installed: nothing is downloaded."""
    folder = tmp_path_factory.mktemp("wheel")
    result = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    assert 0 == result.returncode, result.stderr
    return next(folder.glob("*.whl"))


def content_files() -> set[str]:
    """Name every content file by its place in the wheel."""
    files = [path for folder in ("hooks", "fixtures") for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {f"cds_service/_content/{path.relative_to(ROOT).as_posix()}" for path in files}


def test_the_wheel_holds_all_the_content(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())

    assert content_files() == {name for name in names if name.startswith("cds_service/_content/")}


def test_the_wheel_installs_one_package_only(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert {"cds_service"} == {top for top in tops if not top.endswith(".dist-info")}


@with_roof
def test_the_content_is_found_from_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    """
    Outside the checkout, `cds-service check` reads the rules that the wheel brought.
    """
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    script = "import sys; sys.path.insert(0, 'site'); from cds_service.cli import main; sys.exit(main(['check']))"

    result = run(sys.executable, "-I", "-c", script, cwd=tmp_path)

    assert 0 == result.returncode, result.stdout + result.stderr
