"""
The public CDS Hooks sandbox (github.com/cds-hooks/sandbox) as the EHR, in a browser.

It is not in any package registry, and building it takes 1,455 npm packages and some minutes, so this is no part of CI:
build it as docs/interop.md says, and set CDS_PUBLIC_SANDBOX to its build folder.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from werkzeug.serving import make_server

from cds_service.adapters.sandbox_server import NAME, SandboxServer, installed
from tests.browser.conftest import CHROMIUM
from tests.fixtures import calls
from tests.interop.conftest import need
from tests.interop.test_healthchain import Quiet

BUILT = Path(os.environ.get("CDS_PUBLIC_SANDBOX") or "not built")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (BUILT / "app.bundle.js").exists(), reason="CDS_PUBLIC_SANDBOX names no built sandbox"),
]


class Files(SimpleHTTPRequestHandler):
    """Serves the sandbox's files."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    """Serve the sandbox, our service, and a FHIR server that asks for no token; give the sandbox's address."""
    need(there=installed(), what=NAME)
    service = make_server("127.0.0.1", 0, calls.client().application, threaded=True, request_handler=Quiet)
    files = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(BUILT)))
    for server in (service, files):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    with SandboxServer(open_to_all=True) as fhir:
        cast = calls.cast()
        fhir.load([one for member in cast.members for one in cast.record(member).resources])
        discovery = f"http://127.0.0.1:{service.port}/cds-services"
        yield f"http://127.0.0.1:{files.server_port}/?" + urlencode(
            {"fhirServiceUrl": fhir.base, "serviceDiscoveryURL": discovery}
        )
    for server in (service, files):
        server.shutdown()
        server.server_close()


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1500, "height": 1100})
        browser.close()


@pytest.mark.parametrize("patient", ["dialysis-high-phosphate", "warfarin-and-necrosis", "messy-record"])
def test_the_public_sandbox_shows_the_cards(sandbox: str, page: Page, patient: str) -> None:
    """It reads discovery, fills our prefetch from the FHIR server, calls, and shows what came."""
    answers: list[Any] = []
    page.on("response", lambda one: answers.append(one) if "/cds-services/calcinosis-" in one.url else None)

    page.goto(f"{sandbox}&{urlencode({'patientId': patient})}")

    for card in calls.answer(calls.call(patient))["cards"]:
        expect(page.get_by_text(card["summary"], exact=True).first).to_be_visible(timeout=30_000)
    assert {200} == {one.status for one in answers}


def test_choosing_an_order_asks_the_order_service(sandbox: str, page: Page) -> None:
    page.goto(f"{sandbox}&{urlencode({'patientId': 'dialysis-high-phosphate'})}")
    with page.expect_response(lambda one: "calcinosis-order-select" in one.url, timeout=30_000) as answered:
        page.get_by_text("Rx View", exact=True).click()

    assert 200 == answered.value.status
