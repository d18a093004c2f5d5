"""
Patients that others published, on a FHIR server that others wrote: fetched, they get the answer that prefetch gets.

They are not in the project (MIMIC-IV demo and Synthea, ../shared/data/server-load); their orders name medications by
reference.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from cds_service.adapters.ehr import LocalRecord, hook_request, read_patients
from cds_service.adapters.sandbox_server import NAME, SandboxServer, installed
from tests.build import ROOT
from tests.fixtures import calls
from tests.interop.conftest import need
from tests.interop.test_without_prefetch import plain, without_prefetch

DATA = ROOT.parent / "shared" / "data" / "server-load"
HOOK = "patient-view"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the patients are kept outside the project (../shared/data)")


@pytest.fixture(scope="module")
def loaded() -> Iterator[SandboxServer]:
    """Start the sandbox FHIR server with the patients of others."""
    need(there=installed(), what=NAME)
    with SandboxServer() as server:
        server.load(resources())
        yield server


def resources() -> Iterator[dict[str, Any]]:
    for path in sorted(DATA.glob("*.ndjson.gz")):
        yield from (json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines())


@pytest.fixture(scope="module")
def records() -> list[LocalRecord]:
    return list(read_patients(DATA))


def test_every_patient_gets_the_same_answer_without_prefetch(
    loaded: SandboxServer, records: list[LocalRecord], fetching_at: Callable[..., FlaskClient]
) -> None:
    templates = calls.templates(HOOK)
    differing = {}
    for record in records:
        now = record.newest()
        assert now is not None
        client = fetching_at(loaded.base, now)
        call = hook_request(HOOK, record, templates, user_id=calls.USER)
        sent, fetched = (
            client.post(f"/cds-services/calcinosis-{HOOK}", json=one).get_json()
            for one in (call, without_prefetch(call, loaded))
        )
        if plain(sent) != plain(fetched):
            differing[record.patient_id] = (plain(sent), plain(fetched))

    assert {} == differing
    assert len(records) == 14
