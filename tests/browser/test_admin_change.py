"""What docs/admin.md promises, as a person does it: from signing in to an undone change, found again in the audit."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import make_server

from cds_service.adapters.governance import Cost, Governance
from cds_service.adapters.ledger import Key, Ledger
from cds_service.rules.book import RuleBook
from cds_service.web import Settings, create_app
from tests.browser.conftest import Quiet, shoot
from tests.build import NOW, ROOT
from tests.ledger.conftest import cluster, new_database

__all__ = ["cluster"]
pytestmark = pytest.mark.browser

PASSWORD, REASON = "correct horse battery", "the target of our dialysis unit"
RULE = "eskd-hyperphosphatemia"
CALL = ROOT / "fixtures" / "requests" / "patient-view" / "dialysis-high-phosphate.json"
LOOK = Path(__file__).with_name("look.js").read_text(encoding="utf-8")
SIZES = {"wide": (1280, 900), "narrow": (390, 844)}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the address of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('admin')}/ledger.db"
    return new_database(request.getfixturevalue("cluster"))


@pytest.fixture(scope="module")
def admin_address(book: RuleBook, database_url: str) -> Iterator[str]:
    """Serve the admin pages with a ledger of their own; erin may do everything but agree to her own changes."""
    key = Key(b"a key for tests, of which nobody need be afraid")
    ledger = Ledger.open(database_url, key, NOW.timestamp)
    ledger.governance = Governance(ledger.database, key, NOW.timestamp, Cost(2, 8, 1))
    ledger.governance.accounts.create("erin", PASSWORD, ("viewer", "editor", "approver", "auditor"))
    ledger.governance.accounts.create("anna", PASSWORD, ("viewer", "approver"))
    app = create_app(Settings(auth="none", sandbox=True, admin=True), book=book, clock=NOW.timestamp, ledger=ledger)
    for path in sorted(CALL.parent.glob("*.json")):  # so that there are figures to show
        app.test_client().post(
            "/cds-services/calcinosis-patient-view", data=path.read_bytes(), content_type="application/json"
        )
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()
    ledger.close(1.0)


def open_as(page: Page, address: str, name: str) -> None:
    page.goto(f"{address}/admin/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1, name="Rules")).to_be_visible()


def cards(address: str, phosphate: float) -> list[str]:
    """Fire the hook as an EHR does, for a patient on dialysis with this phosphate; return the rules of the cards."""
    call: dict[str, Any] = json.loads(CALL.read_text(encoding="utf-8"))
    for entry in call["prefetch"]["observations"]["entry"]:
        resource = entry["resource"]
        if "Phosphate" in json.dumps(resource["code"]):
            resource["valueQuantity"]["value"] = phosphate
    sent = Request(
        f"{address}/cds-services/calcinosis-patient-view",
        json.dumps(call).encode(),
        {"Content-Type": "application/json"},
    )
    with urlopen(sent, timeout=30) as answer:
        found = json.loads(answer.read())["cards"]
    return [rule["id"] for card in found for rule in card["extension"]["org.calcinosis-cds"]["rules"]]


def try_six_and_a_half(page: Page, address: str) -> None:
    page.goto(f"{address}/admin/rules")
    page.get_by_role("link", name="CC-01 Kidney failure with high phosphate").click()
    page.get_by_role("link", name="Change phosphate that calls for review").click()
    page.get_by_label("New value in mg/dL").fill("5,5")
    page.get_by_role("button", name="See what it would do").click()
    expect(page.get_by_label("New value in mg/dL")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("alert")).to_contain_text("is not a number as people write it")
    page.get_by_label("New value in mg/dL").fill("6.5")
    page.get_by_label("the invented population").check()
    page.get_by_role("button", name="See what it would do").click()
    expect(page.get_by_role("heading", name="9 patients lose a card, 0 gain one")).to_be_visible(timeout=60_000)


def approve_as(page: Page, address: str, name: str) -> None:
    """Let a second person, in a browser of her own, approve the change that a page shows."""
    browser = page.context.browser
    assert browser is not None
    context = browser.new_context()
    other = context.new_page()
    open_as(other, address, name)
    other.goto(page.url)
    other.get_by_label("Reason").fill("agreed in the meeting")
    other.get_by_role("button", name="Approve").click()
    expect(other.get_by_role("heading", level=1)).to_contain_text("in force", ignore_case=True)
    context.close()


@pytest.fixture(params=["with script", "without script"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    context = browser.new_context(
        java_script_enabled=request.param == "with script", viewport={"width": 1280, "height": 900}
    )
    page = context.new_page()
    page.set_default_timeout(30_000)
    yield page
    context.close()


def approve(browser: Browser, address: str, change: str) -> None:
    """Let anna, whom erin asked, find the change under Changes, read its back-test, and agree."""
    context = browser.new_context()
    other = context.new_page()
    open_as(other, address, "anna")
    other.get_by_role("link", name="Changes", exact=True).click()
    other.get_by_role("link", name=change, exact=True).click()
    other.get_by_role("link", name="What it would do").click()
    expect(other.get_by_role("heading", name="9 patients lose a card, 0 gain one")).to_be_visible()
    other.go_back()
    other.get_by_label("Reason").fill("agreed with the dialysis unit")
    other.get_by_role("button", name="Approve").click()
    expect(other.get_by_role("heading", level=1)).to_contain_text("in force", ignore_case=True)
    context.close()


def test_from_signing_in_to_an_undone_change(page: Page, browser: Browser, admin_address: str) -> None:
    assert RULE in cards(admin_address, 6.0)
    open_as(page, admin_address, "erin")
    try_six_and_a_half(page, admin_address)
    page.get_by_role("link", name="Why, before and after for population-127").click()
    expect(page.locator("body")).to_contain_text("above 6.5 mg/dL: 5.9 mg/dL")
    page.get_by_role("link", name="What it would do: phosphate that calls for review").click()

    page.get_by_label("Reason").fill(REASON)
    page.get_by_label(re.compile("I have seen that 1 of the examples changes")).check()
    page.get_by_role("button", name="Ask for approval").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("waiting", ignore_case=True)
    assert RULE in cards(admin_address, 6.0)
    approve(browser, admin_address, f"Change {page.url.rpartition('/')[2]}")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_contain_text("in force", ignore_case=True)

    assert RULE not in cards(admin_address, 6.0)
    assert RULE in cards(admin_address, 6.6)

    page.get_by_role("link", name="Restore what the files say").click()
    expect(page.get_by_text("needs a second person")).to_have_count(0)
    page.get_by_label("Reason").fill("too many stay silent")
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("in force", ignore_case=True)

    assert RULE in cards(admin_address, 6.0)

    page.get_by_role("link", name="Audit").click()
    rows = page.get_by_role("row").filter(has_text=f"{RULE}.phosphate_high")
    expect(rows).not_to_have_count(0)
    told = " ".join(rows.all_text_contents())
    assert REASON in told
    assert "too many stay silent" in told
    expect(page.get_by_role("row").filter(has_text="read trail").first).to_be_visible()
    page.get_by_role("button", name=re.compile("Check all")).click()
    expect(page.get_by_text(re.compile(r"All \d+ entries are in order"))).to_be_visible()


def test_a_second_person_agrees_or_nothing_changes(browser: Browser, admin_address: str) -> None:
    erin, anna = browser.new_context(), browser.new_context()
    one, other = erin.new_page(), anna.new_page()
    open_as(one, admin_address, "erin")
    one.goto(f"{admin_address}/admin/rules/{RULE}/change/indicator")
    one.get_by_label("critical").check()
    one.get_by_role("button", name="See what it would do").click()
    one.get_by_label("Reason").fill("what the board decided", timeout=60_000)
    one.get_by_label(re.compile("I have seen")).check()
    one.get_by_role("button", name="Ask for approval").click()
    expect(one.get_by_text("somebody else has to approve it")).to_be_visible()
    address = one.url

    open_as(other, admin_address, "anna")
    other.get_by_role("link", name="Changes", exact=True).click()
    expect(other.get_by_role("heading", name="Waiting for a second person: 1")).to_be_visible()
    other.goto(address)
    other.get_by_label("Reason").fill("not before the audit")
    other.get_by_role("button", name="Reject").click()
    expect(other.get_by_role("heading", level=1)).to_contain_text("rejected", ignore_case=True)
    erin.close()
    anna.close()


@pytest.fixture(params=[(size, scheme) for size in SIZES for scheme in ("light", "dark")], ids="-".join)
def looked_at(browser: Browser, request: pytest.FixtureRequest, admin_address: str) -> Iterator[Page]:
    size, scheme = request.param
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(30_000)
    open_as(page, admin_address, "erin")
    yield page
    context.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # what a page looks like is not the database's
def test_every_page_on_the_way_reads_well(
    looked_at: Page, admin_address: str, screenshots: Path, request: pytest.FixtureRequest
) -> None:
    page, name = looked_at, request.node.callspec.id
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def look(what: str, address: str = "") -> None:
        if address:
            page.goto(f"{admin_address}{address}")
        shoot(page, screenshots / f"admin-{what}-{name}.png")

        assert [] == page.evaluate(LOOK), what
        assert [] == [one["id"] for one in Axe().run(page).response["violations"]], what

    look("rules", "/admin/rules")
    look("rule", f"/admin/rules/{RULE}")
    for kind in ("phosphate_high", "status", "quiet_hours", "reason.not-applicable", "exception"):
        look(f"change-{kind}", f"/admin/rules/{RULE}/change/{kind}")
    try_six_and_a_half(page, admin_address)
    look("result")
    page.get_by_role("link", name="Why, before and after").first.click()
    look("patient")
    look("restore", f"/admin/rules/{RULE}/restore/phosphate_high?to=0")
    look("changes", "/admin/changes")
    assert [] == [one for one in complaints if "422" not in one]
