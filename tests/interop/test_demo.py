"""The demo with its FHIR server: started with it, filled, read by the service for real, and gone with it."""

from __future__ import annotations

import re
import signal
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import requests

from cds_service.adapters import sandbox_server
from cds_service.adapters.sandbox_server import NAME, SandboxFailed, SandboxServer, installed
from cds_service.cli import sandbox
from tests.build import ROOT
from tests.cli.test_serving import JSON, SERVICE, serving
from tests.interop.conftest import need
from tests.interop.test_without_prefetch import without_prefetch

FIXTURES = ROOT / "fixtures"
PATIENT = "dialysis-high-phosphate"


@pytest.fixture
def read_until_ready() -> Any:
    """Read what the demo says, to its end."""

    def read(process: Any) -> str:
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        return said

    return read


def test_the_demo_fetches_what_prefetch_lacks_and_takes_its_server_along(read_until_ready: Any) -> None:
    need(there=installed(), what=NAME)
    with serving("demo", "--port", "0") as (url, process, _):
        said = read_until_ready(process)
        found = re.search(r"(http://127\.0\.0\.1:\d+/fhir)\s+Authorization: Bearer (\S+)", said)
        assert found, said
        call = requests.get(f"{url}/sandbox/{PATIENT}/request.json", timeout=20).json()
        server = type("Server", (), {"base": found[1], "token": found[2]})()
        answer = requests.post(
            f"{url}/cds-services/{SERVICE}", json=without_prefetch(call, server), headers=JSON, timeout=20
        )
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)

    assert 200 == answer.status_code, answer.text
    assert "Kidney failure with phosphate 7.1 mg/dL" in answer.json()["cards"][0]["summary"]
    assert "not_fetched" not in answer.json().get("extension", {}).get("org.calcinosis-cds", {})
    assert gone(found[1])


def gone(base: str) -> bool:
    """Say whether nobody answers any more; a server may take a moment to end."""
    for _ in range(50):
        try:
            requests.get(f"{base}/metadata", timeout=1)
        except requests.ConnectionError:
            return True
        time.sleep(0.1)
    return False


def test_a_demo_that_is_killed_leaves_no_server_behind(read_until_ready: Any, tmp_path: Path) -> None:
    need(there=installed(), what=NAME)
    with serving("demo", "--port", "0", TMPDIR=str(tmp_path)) as (_, process, _):
        base = re.findall(r"http://127\.0\.0\.1:\d+/fhir", read_until_ready(process))[0]
        process.kill()
        process.wait(timeout=20)

    assert gone(base)


def test_without_the_server_the_demo_says_so_and_works(read_until_ready: Any) -> None:
    with serving("demo", "--port", "0", "--no-fhir-server") as (url, process, _):
        said = read_until_ready(process)
        call = requests.get(f"{url}/sandbox/{PATIENT}/request.json", timeout=20).content
        answer = requests.post(f"{url}/cds-services/{SERVICE}", data=call, headers=JSON, timeout=20)

    assert "No FHIR server: it was not asked for." in said
    assert "warning" == answer.json()["cards"][0]["indicator"]


def test_a_missing_package_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "installed", lambda: False)

    with sandbox.beside(wanted=True) as beside:
        beside.fill(FIXTURES, date(2026, 3, 1))
        said = "\n".join(beside.lines())

    assert beside.access is None
    assert f"{NAME} is not installed" in said
    assert "calcinosis-cds[sandbox]" in said
    assert "prefetch" in said
    assert "https://ehr.example/fhir" == beside.allowed(" https://ehr.example/fhir")


class Broken:
    """A server that takes nothing."""

    access = None
    base, token, stopped = "http://127.0.0.1:1/fhir", "x", False

    def load(self, _resources: object) -> int:
        raise SandboxFailed("The sandbox FHIR server does not start.", why="It said why.")

    def stop(self) -> None:
        self.stopped = True


def test_a_server_that_does_not_start_does_not_stop_the_demo() -> None:
    broken = Broken()
    beside = sandbox.Beside(broken)  # type: ignore[arg-type]

    beside.fill(FIXTURES, date(2026, 3, 1))

    assert broken.stopped
    assert "It said why." in "\n".join(beside.lines())


def test_a_server_that_ends_at_once_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    need(there=installed(), what=NAME)
    monkeypatch.setattr(sandbox_server, "_SETTINGS", "base_url: [")

    with SandboxServer() as server, pytest.raises(SandboxFailed, match="does not start"):
        server.load([])

    assert not server.folder.exists()


def test_the_cast_is_told_as_if_it_were_another_day() -> None:
    resources = sandbox.cast_of(FIXTURES, date(2026, 3, 11))
    dates = [one["effectiveDateTime"][:10] for one in resources if one.get("id") == f"{PATIENT}-phosphate-0"]
    original = sandbox.cast_of(FIXTURES, date(2026, 3, 1))

    assert len(original) == len(resources) > 200
    assert resources != original
    assert all(day <= "2026-03-11" for day in dates)
