"""The page for integrators as a person sees it: wide and narrow, light and dark, with axe, and without script."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.build import ROOT

pytestmark = pytest.mark.browser

LOOK = Path(__file__).with_name("look.js").read_text(encoding="utf-8")
SIZES = {"wide": (1280, 900), "narrow": (390, 844)}
EPIC = ROOT / "fixtures" / "requests" / "patient-view" / "epic-open-chart.json"


def faulty() -> str:
    """Return a call with a problem of every severity, found by both readers."""
    call: dict[str, Any] = json.loads(EPIC.read_bytes())
    del call["context"]["userId"]
    value = call["prefetch"]["observations-user"]["entry"][0]["resource"]["valueQuantity"]
    for name in ("unit", "code", "system"):
        value.pop(name, None)
    return json.dumps(call)


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
    """Return what axe finds."""
    return [one["id"] for one in Axe().run(page).response["violations"]]


@pytest.mark.parametrize("ehr", ["standard", "oracle-health"])
def test_the_page_reads_well(
    page: Page, complaints: list[str], address: str, screenshots: Path, request: pytest.FixtureRequest, ehr: str
) -> None:
    page.goto(f"{address}/integrate/?for={ehr}")
    page.screenshot(path=screenshots / f"integrate-{request.node.callspec.id}.png", full_page=True)

    assert [] == page.evaluate(LOOK)
    assert [] == complaints
    assert [] == violations(page)


def test_a_report_reads_well(
    page: Page, complaints: list[str], address: str, screenshots: Path, request: pytest.FixtureRequest
) -> None:
    page.goto(f"{address}/integrate/")
    page.get_by_label("JSON, up to 512 kB").fill(faulty())
    page.get_by_role("button", name="Look at it").click()
    page.screenshot(path=screenshots / f"integrate-report-{request.node.callspec.id}.png", full_page=True)

    assert page.get_by_role("heading", name="What was found").is_visible()
    assert page.get_by_text('The member "userId" is missing.').is_visible()
    assert page.get_by_text("MedicationRequest.category: Input should be a valid list").is_visible()
    assert [] == page.evaluate(LOOK)
    assert [] == complaints
    assert [] == violations(page)


def test_everything_works_without_script_by_keyboard(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{address}/integrate/")
    page.keyboard.press("Tab")

    assert "Skip to the content" == page.locator(":focus").inner_text()

    page.get_by_role("link", name="Epic", exact=True).press("Enter")
    assert page.get_by_text("OPA (LGL)").is_visible()

    page.get_by_label("or a file").set_input_files(EPIC)
    page.get_by_role("button", name="Look at it").press("Enter")
    assert page.get_by_text('The key "observations-user" is read as "observations"').is_visible()
    context.close()
