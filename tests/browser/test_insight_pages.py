"""The pages about figures as a person sees them: wide and narrow, light and dark; nothing that axe complains of."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from werkzeug.serving import make_server

from tests.browser.conftest import Quiet, shoot
from tests.insight.conftest import site_of
from tests.insight.life import Life, population

pytestmark = pytest.mark.browser

LOOK = Path(__file__).with_name("look.js").read_text(encoding="utf-8")
SIZES = {"wide": (1280, 900), "narrow": (390, 844)}
PAGES = {
    "explain": "/admin/explain?example=patient-view/dialysis-high-phosphate",
    "drift": "/admin/drift",
    "near": "/admin/near",
    "feedback": "/admin/feedback?days=0",
    "activity": "/admin/activity",
    "decision": "/admin/activity/{decision}",
    "exports": "/admin/exports",
}


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    lived = Life(tmp_path_factory.mktemp("life"))
    lived.live(list(population()))
    yield lived
    lived.ledger.close(1.0)


@pytest.fixture(scope="module")
def admin_address(life: Life) -> Iterator[str]:
    """Serve the admin pages over the made-up life."""
    server = make_server("127.0.0.1", 0, site_of(life), threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=[(size, scheme) for size in SIZES for scheme in ("light", "dark")], ids="-".join)
def page(browser: Browser, life: Life, admin_address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Give a page of somebody who is signed in and may see everything."""
    size, scheme = request.param
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    governance = life.ledger.governance
    account = governance.accounts.find("audrey")
    assert account is not None
    token = governance.sessions.open(account)
    context.add_cookies([{"name": "cds-admin", "value": token, "url": admin_address}])
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_about_figures_reads_well(
    page: Page, life: Life, admin_address: str, screenshots: Path, request: pytest.FixtureRequest, name: str
) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("response", lambda one: complaints.append(f"{one.status}: {one.url}") if one.status >= 400 else None)
    page.goto(admin_address + PAGES[name].format(decision=life.decision))
    shoot(page, screenshots / f"insight-{request.node.callspec.id}.png")

    assert [] == Axe().run(page).response["violations"]
    assert [] == page.evaluate(LOOK)
    assert [] == complaints
