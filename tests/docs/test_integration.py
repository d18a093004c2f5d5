"""The documents for integrators: every command in them runs, every version is the one that is installed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner, Result

from cds_service.adapters.sandbox_server import NAME, installed
from cds_service.cli import main
from cds_service.publishing.registering import EHRS
from tests.build import ROOT
from tests.cli.test_serving import serving
from tests.interop.conftest import need

DOCUMENTS = ("epic.md", "oracle-health.md", "hapi.md", "interop.md")
# Both say what they find by their exit code: 1 is "something was found", and no failure of the command.
FINDERS = ("doctor", "lint-request")


def commands(document: str) -> list[str]:
    """Return every command of a document: the lines of its blocks of shell."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command as a user does, with no settings in the environment but those given."""
    for name in ("CDS_AUTH", "CDS_CONTENT", "CDS_SITE", "CDS_FHIR_ALLOW"):
        monkeypatch.delenv(name, raising=False)

    def command(*words: str, **environment: str) -> Result:
        return CliRunner().invoke(main, list(words), env=environment)

    return command


LISTED = [(document, line) for document in DOCUMENTS for line in commands(document)]


@pytest.fixture(scope="module")
def demo() -> Iterator[tuple[str, str, str]]:
    """Run the demo; give its address, that of its FHIR server, and the token."""
    need(there=installed(), what=NAME)
    with serving("demo", "--port", "0") as (url, process, _):
        assert process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            said += process.stdout.readline()
        found = re.search(r"(http://127\.0\.0\.1:\d+/fhir)\s+Authorization: Bearer (\S+)", said)
        assert found, said
        yield url, found[1], found[2]


@pytest.mark.parametrize(("document", "line"), LISTED, ids=[f"{one[0]}: {one[1][:60]}" for one in LISTED])
def test_a_command_of_a_document_runs(
    run: Run, demo: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: str, line: str
) -> None:
    url, fhir, token = demo
    line = line.replace("http://127.0.0.1:8390/fhir", fhir).replace("http://127.0.0.1:8321", url)
    line = line.replace("/tmp/calcinosis-export", str(tmp_path)).replace("collection docs", f"collection {tmp_path}")
    words = shlex.split(line)
    settings = {"CDS_DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db", "CDS_FHIR_TOKEN": token}
    while "=" in words[0]:
        name, _, settings[name] = words.pop(0).partition("=")
    monkeypatch.chdir(ROOT)

    assert "cds-service" == words[0]
    result = run(*words[1:], **settings)

    expected = (0, 1) if words[1] in FINDERS else (0,)
    assert result.exit_code in expected, result.output
    assert "Traceback" not in result.output
    if words[1] == "fire":
        assert "Kidney failure with phosphate 7.1 mg/dL" in result.output


def test_the_doctor_finds_nothing_wrong_with_the_demos_server(run: Run, demo: tuple[str, str, str]) -> None:
    """What hapi.md says of any FHIR server, tried on one: all that we ask of it, it says it can do."""
    result = run("doctor", CDS_AUTH="none", CDS_FHIR_ALLOW=demo[1], CDS_DATABASE_URL="sqlite:////tmp/none/x.db")

    assert 0 == result.exit_code, result.output
    assert "SEKMET FHIR R4 Tester" in result.output


@pytest.mark.parametrize("ehr", [name for name in EHRS if name != "standard"])
def test_every_ehr_has_its_document(ehr: str) -> None:
    text = (ROOT / "docs" / f"{ehr}.md").read_text(encoding="utf-8")

    assert "**Honestly:**" in text
    assert f"cds-service prefetch --for {ehr}" in text


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)", text) if "://" not in target]

    assert [] == [target for target in targets if not (ROOT / "docs" / target).exists()]


@pytest.mark.parametrize("package", ["sekmet-fhir", "fhirclient", "fhirpy", "fhir.resources"])
def test_the_versions_are_those_that_are_tried(package: str) -> None:
    try:
        running = version(package)
    except PackageNotFoundError:
        need(there=False, what=package)
        return

    text = (ROOT / "docs" / "interop.md").read_text(encoding="utf-8")
    assert re.search(rf"{re.escape(package)}.*?\| {re.escape(running)} \|", text)


def test_the_tests_that_are_named_are_there() -> None:
    text = (ROOT / "docs" / "interop.md").read_text(encoding="utf-8")
    named = {one.rpartition("/")[2] for one in re.findall(r"`((?:tests/interop/)?test_\w+\.py)`", text)}

    assert len(named) >= 5
    assert [] == [name for name in sorted(named) if not (ROOT / "tests" / "interop" / name).exists()]


def test_the_pages_that_are_named_answer(demo: tuple[str, str, str]) -> None:
    for path in ("/integrate/", "/integrate/?for=epic"):
        assert 200 == requests.get(f"{demo[0]}{path}", timeout=20).status_code
