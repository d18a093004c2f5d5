"""A browser, and the service on a port of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Error, Page, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

from cds_service.adapters.ledger import Key, Ledger
from tests.fixtures import calls

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """
    Start Chromium. Where there is none the test is skipped, but in CI (CDS_CI) it fails.
    """
    if not CHROMIUM.exists():
        missing = f"{CHROMIUM} is not there: install the package chromium to run the browser tests"
        (pytest.fail if os.environ.get("CDS_CI") == "1" else pytest.skip)(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Quiet(WSGIRequestHandler):
    """A test has no use for access logs."""

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """Say nothing."""


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the sandbox with a ledger, on the day of the fixtures, for as long as the tests run."""
    key = Key(b"a key for tests, of which nobody need be afraid")
    ledger = Ledger.open(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db", key, lambda: calls.cast().noon)
    app = calls.client(evidence=True, ledger=ledger).application
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()
    ledger.close(1.0)


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Say where screenshots go: CDS_SCREENSHOTS, or a folder that pytest keeps for a while."""
    chosen = os.environ.get("CDS_SCREENSHOTS")
    folder = Path(chosen) if chosen else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def shoot(page: Page, path: Path, *, whole: bool = True) -> None:
    """Take a screenshot; on a busy machine Chromium at times cannot at once ("Unable to capture screenshot")."""
    for tries_left in (2, 1, 0):
        try:
            page.screenshot(path=path, full_page=whole)
            break
        except Error as failure:
            if not tries_left or "Unable to capture" not in failure.message:
                raise
            page.wait_for_timeout(500)


SIZES = {"wide": (1280, 900), "narrow": (390, 844)}


@pytest.fixture(params=[(size, scheme) for size in SIZES for scheme in ("light", "dark")], ids="-".join)
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    size, scheme = request.param
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    yield context.new_page()
    context.close()


@pytest.fixture
def complaints(page: Page) -> list[str]:
    """Collect what the browser complains of: errors, refused requests, violations of the content security policy."""
    found: list[str] = []
    page.on("console", lambda message: found.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("requestfailed", lambda request: found.append(f"not loaded: {request.url}"))
    page.on("response", lambda answer: found.append(f"{answer.status}: {answer.url}") if answer.status >= 400 else None)
    return found


def violations(page: Page) -> list[str]:
    """Return what axe finds, one line for each kind of violation."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['help']} at {[node['target'] for node in one['nodes']][:3]}" for one in found]
