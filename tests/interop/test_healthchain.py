"""HealthChain's CDS Hooks client (PyPI) calls the service, over HTTP, from an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.build import ROOT
from tests.fixtures import calls
from tests.interop.conftest import need

SCRIPT = Path(__file__).with_name("healthchain_calls.py")
# `make peers` makes it: HealthChain pins fhir.resources below the version that the service needs.
PEERS = Path(os.environ.get("CDS_PEERS") or Path(sys.prefix) / "peers") / "bin" / "python"


class Quiet(WSGIRequestHandler):
    """A test has no use for access logs."""

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Serve on the day of the fixtures."""
    server = make_server("127.0.0.1", 0, calls.client().application, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


def called(address: str, hook: str, call: Path) -> dict[str, Any]:
    """Let HealthChain call a service with the prefetch of a fixture."""
    need(there=PEERS.exists(), what="HealthChain")
    command = [str(PEERS), str(SCRIPT), f"{address}/cds-services/calcinosis-{hook}", hook, str(call)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=call.parent)
    assert 0 == result.returncode, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("name", ["dialysis-high-phosphate", "warfarin-and-necrosis", "healthy", "si-units-europe"])
def test_healthchain_gets_the_cards(address: str, name: str) -> None:
    golden = json.loads((ROOT / "fixtures" / "responses" / "patient-view" / f"{name}.json").read_bytes())

    found = called(address, "patient-view", ROOT / "fixtures" / "requests" / "patient-view" / f"{name}.json")

    assert [one["summary"] for one in golden["cards"]] == [one["summary"] for one in found["answer"].get("cards", [])]
    assert [] == found["refusals"]


@pytest.mark.parametrize(
    ("hook", "name", "missing"),
    [
        ("encounter-discharge", "necrosis-discharged", "/context/encounterId"),
        ("order-sign", "calcitriol-with-high-product", "/context/draftOrders"),
    ],
)
def test_what_its_client_leaves_out_is_named(address: str, hook: str, name: str, missing: str) -> None:
    """
    HealthChain 0.16.1 sends of every context only userId and patientId (its models drop the rest): our refusal says
    which member is missing.
    """
    found = called(address, hook, ROOT / "fixtures" / "requests" / hook / f"{name}.json")

    assert {} == found["answer"]
    assert "400" in found["refusals"][0]
    assert missing in found["refusals"][0]


def test_its_models_ask_only_for_what_cds_hooks_makes_optional(address: str) -> None:
    """
    It requires two members that CDS Hooks leaves to the service; then its client hands on the answer as it came.
    """
    found = called(address, "patient-view", ROOT / "fixtures" / "requests" / "patient-view" / "messy-record.json")

    assert set(found["complaints"]) <= {"autoLaunchable: missing", "isRecommended: missing"}
