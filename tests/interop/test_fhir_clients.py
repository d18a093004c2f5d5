"""Our FHIR export, read by clients that others wrote: fhirclient (SMART) from the files, fhirpy from a FHIR server."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cds_service.adapters.sandbox_server import SandboxServer
from cds_service.cli import main
from tests.fixtures import calls
from tests.interop.conftest import need_package

RULE = "eskd-hyperphosphatemia"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export the rules as a user does."""
    folder = tmp_path_factory.mktemp("export")
    result = CliRunner().invoke(main, ["export", "--fhir", str(folder)])
    assert 0 == result.exit_code, result.output
    return folder


def bundle(folder: Path) -> dict[str, Any]:
    """Read the Bundle of everything."""
    found: dict[str, Any] = json.loads((folder / "Bundle-calcinosis-cds.json").read_bytes())
    return found


def test_fhirclient_reads_every_resource_strictly(exported: Path) -> None:
    """Its models are of FHIR R4, made from the definitions of HL7; strict raises for every member that is not."""
    need_package("fhirclient")
    from fhirclient.models.bundle import Bundle  # type: ignore[import-untyped]

    document = bundle(exported)
    read = Bundle(document, strict=True)

    assert len(read.entry) == len(document["entry"]) > 37
    assert document == read.as_json()


def test_fhirclient_finds_the_rules_on_a_fhir_server(exported: Path, fhir: SandboxServer) -> None:
    """The Bundle is loaded into a server, and a SMART client reads a rule and the ValueSets from there."""
    need_package("fhirclient")
    from fhirclient.client import FHIRClient  # type: ignore[import-untyped]
    from fhirclient.models.plandefinition import PlanDefinition  # type: ignore[import-untyped]

    fhir.load(entry["resource"] for entry in bundle(exported)["entry"])
    smart = FHIRClient(settings={"app_id": "calcinosis-cds-test", "api_base": fhir.base})
    smart.server.session.headers["Authorization"] = f"Bearer {fhir.token}"
    smart.server.session.trust_env = False

    plan = PlanDefinition.read(RULE, smart.server)

    assert calls.book().rules[RULE].title == plan.title
    assert plan.library


def test_fhirpy_searches_the_rules_on_a_fhir_server(exported: Path, fhir: SandboxServer) -> None:
    need_package("fhirpy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fhirpy import SyncFHIRClient

    fhir.load(entry["resource"] for entry in bundle(exported)["entry"])
    client = SyncFHIRClient(fhir.base, authorization=f"Bearer {fhir.token}")

    plans = client.resources("PlanDefinition").limit(100).fetch_all()

    assert {one["id"] for one in plans} == {
        entry["resource"]["id"]
        for entry in bundle(exported)["entry"]
        if entry["resource"]["resourceType"] == "PlanDefinition"
    }


def test_fhirpy_reads_the_patient_that_we_read(fhir: SandboxServer) -> None:
    """The same search of the same server, by their client and by our prefetch."""
    need_package("fhirpy")
    from fhirpy import SyncFHIRClient

    client = SyncFHIRClient(fhir.base, authorization=f"Bearer {fhir.token}")
    found = client.resources("Observation").search(patient="healthy", code="2777-1").sort("-date").fetch_all()

    ours = calls.record("healthy").answer("Observation?patient=healthy&code=2777-1&_sort=-date", {})
    assert ours is not None
    assert [entry["resource"]["id"] for entry in ours["entry"]] == [one["id"] for one in found]
