"""The frame of the admin pages in a browser: wide and narrow, light and dark, by keyboard, without script, on paper."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect
from werkzeug.serving import make_server

from cds_service.adapters.governance import Cost, Governance
from cds_service.adapters.ledger import Key, Ledger
from cds_service.rules.book import RuleBook
from cds_service.web import Settings, create_app
from tests.browser.conftest import Quiet, shoot
from tests.build import NOW

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery"
LOOK = Path(__file__).with_name("look.js").read_text(encoding="utf-8")
SIZES = {"wide": (1280, 900), "phone": (320, 640)}
ROLES = ("viewer", "editor", "approver", "operator", "auditor")
PAGES = {
    "password": "/admin/password",
    "switches": "/admin/switches",
    "rules": "/admin/rules",
    "accounts": "/admin/accounts",
    "audit": "/admin/audit",
    "settings": "/admin/settings",
    "nowhere": "/admin/nowhere",
}
# WCAG 2.2, 2.5.8: 24 px, or a link in the middle of a sentence.
SMALL_TARGETS = """() => [...document.querySelectorAll("a, button, input, select, textarea, summary")]
  .filter((one) => one.checkVisibility() && !one.matches(".skip, [type=hidden], p a, li a, dd a, td a, th a, small a"))
  .filter((one) => { const box = (one.closest("label") || one).getBoundingClientRect();
                     return box.width && (box.height < 24 || box.width < 24); })
  .map((one) => one.outerHTML.slice(0, 90))"""


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Open a ledger in which something happened: switches, failed tries, accounts that nobody uses any more."""
    key = Key(b"a key for tests, of which nobody need be afraid")
    opened = Ledger.open(f"sqlite:///{tmp_path_factory.mktemp('frame')}/ledger.db", key, NOW.timestamp)
    governance = opened.governance = Governance(opened.database, key, NOW.timestamp, Cost(2, 8, 1))
    governance.accounts.create("erin", PASSWORD, ROLES)
    for name, roles in {"anna": ("approver", "viewer"), "otto": ("operator",), "vera": ("viewer",)}.items():
        governance.accounts.create(name, PASSWORD, roles)
    governance.accounts.disable("vera")
    governance.accounts.authenticate("otto", "a wrong one", "192.0.2.7")
    why = "A nephrologist reported a card for a patient in hospice; under review since Monday."
    governance.switch("rule", "eskd-missing-labs", True, "otto", why, "operator", "192.0.2.7")
    governance.switch("service", "calcinosis-order-sign", True, "otto", "Order entry is being tested.", "operator", "")
    opened.look()
    yield opened
    opened.close(1.0)


@pytest.fixture(scope="module")
def admin_address(book: RuleBook, ledger: Ledger) -> Iterator[str]:
    """Serve the admin pages."""
    app = create_app(Settings(auth="none", sandbox=True, admin=True), book=book, clock=NOW.timestamp, ledger=ledger)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


def entered(context: BrowserContext, address: str) -> Page:
    """Sign erin in, as a person does it."""
    page = context.new_page()
    page.goto(f"{address}/admin/")
    page.get_by_label("Name").fill("erin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/admin/rules")
    return page


@pytest.fixture(params=[(size, scheme) for size in SIZES for scheme in ("light", "dark")], ids="-".join)
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    size, scheme = request.param
    width, height = SIZES[size]
    made = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    yield made
    made.close()


def complaints(page: Page) -> list[str]:
    """Say what a reader would stumble over, what axe finds, and which targets are too small."""
    found = [str(one) for one in page.evaluate(LOOK)]
    violations = Axe().run(page).response["violations"]
    found += [json.dumps([one["id"], [node["html"] for node in one["nodes"]][:3]]) for one in violations]
    return found + [f"too small: {one}" for one in page.evaluate(SMALL_TARGETS)]


@pytest.mark.timeout(240)
def test_every_page_of_the_frame_reads_well(
    context: BrowserContext, admin_address: str, screenshots: Path, request: pytest.FixtureRequest
) -> None:
    said: list[str] = []
    look = request.node.callspec.id
    page = context.new_page()
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.goto(f"{admin_address}/admin/login")
    shoot(page, screenshots / f"admin-login-{look}.png")
    found = {"login": complaints(page)}
    page.get_by_label("Name").fill("erin")
    page.get_by_label("Password").fill("not this one")
    page.get_by_role("button", name="Sign in").click()
    shoot(page, screenshots / f"admin-login-refused-{look}.png")
    found["refused"] = complaints(page)
    page.close()
    page = entered(context, admin_address)
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    for name, path in PAGES.items():
        page.goto(f"{admin_address}{path}")
        shoot(page, screenshots / f"admin-{name}-{look}.png")
        found[name] = complaints(page)

    assert {name: [] for name in found} == found
    # The browser tells of the answers 401 and 404 that were asked for; of nothing else.
    assert [] == [one for one in said if "401" not in one and "404" not in one]


def test_a_service_is_switched_off_and_on_without_script(browser: Browser, admin_address: str, ledger: Ledger) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = entered(context, admin_address)
    page.get_by_role("link", name="Switches").click()
    page.get_by_label("What", exact=True).select_option("service calcinosis-patient-view")
    page.get_by_label("Why", exact=True).fill("the cards are being looked through")
    page.get_by_role("button", name="Switch off").click()
    expect(page.get_by_role("status")).to_contain_text("calcinosis-patient-view is switched off")
    assert "calcinosis-patient-view" in ledger.switches().services
    page.get_by_role("link", name="Rules", exact=True).click()
    expect(page.get_by_role("main")).to_contain_text("2 services and 1 rule are switched off")
    page.get_by_role("link", name="Why, since when").click()
    page.get_by_text("Switch on again: Service calcinosis-patient-view").click()
    page.get_by_label("Why is it safe again?").locator("visible=true").fill("the cards were looked through")
    page.get_by_role("button", name="Switch on").click()
    expect(page.get_by_role("status")).to_contain_text("calcinosis-patient-view is switched on")

    assert "calcinosis-patient-view" not in ledger.switches().services
    page.get_by_role("link", name="Audit").click()
    expect(page.get_by_role("main")).to_contain_text("switch on")
    context.close()


def test_the_keyboard_comes_to_the_content_first_and_its_focus_is_seen(browser: Browser, admin_address: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = entered(context, admin_address)
    page.goto(f"{admin_address}/admin/settings")
    page.keyboard.press("Tab")
    assert "Skip to the content" == page.locator(":focus").inner_text()

    unseen = []
    for _ in range(20):
        page.keyboard.press("Tab")
        width = page.evaluate("() => parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
        if width < 2:
            unseen.append(page.evaluate("() => document.activeElement.outerHTML.slice(0, 80)"))

    assert [] == unseen
    context.close()


@pytest.mark.parametrize("path", ["/admin/rules", "/admin/rules/eskd-hyperphosphatemia", "/admin/audit"])
def test_paper_is_white_for_those_who_work_in_the_dark(browser: Browser, admin_address: str, path: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="dark")
    page = entered(context, admin_address)
    page.goto(f"{admin_address}{path}")
    page.emulate_media(media="print", color_scheme="dark")
    grounds = page.evaluate(
        "() => [...document.querySelectorAll('body, .panel, .bar')].map((one) => getComputedStyle(one).backgroundColor)"
    )

    assert {"rgb(255, 255, 255)"} == set(grounds)
    assert [] == page.evaluate(LOOK)
    context.close()


def test_the_audit_comes_out_on_paper_whole_and_without_the_menu(browser: Browser, admin_address: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = entered(context, admin_address)
    page.goto(f"{admin_address}/admin/audit")
    page.emulate_media(media="print")

    assert not page.get_by_role("navigation").is_visible()
    assert not page.get_by_role("button", name="Sign out").is_visible()
    assert page.get_by_role("table").is_visible()
    context.close()
