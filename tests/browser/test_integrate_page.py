"""The page for integrators as a person sees it: wide and narrow, light and dark, with axe, and without script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import shoot, violations
from tests.build import ROOT

pytestmark = pytest.mark.browser

LOOK = Path(__file__).with_name("look.js").read_text(encoding="utf-8")
EPIC = ROOT / "fixtures" / "requests" / "patient-view" / "epic-open-chart.json"


def faulty() -> str:
    """Return a call with a problem of every severity, found by both readers."""
    call: dict[str, Any] = json.loads(EPIC.read_bytes())
    del call["context"]["userId"]
    value = call["prefetch"]["observations-user"]["entry"][0]["resource"]["valueQuantity"]
    for name in ("unit", "code", "system"):
        value.pop(name, None)
    return json.dumps(call)


@pytest.mark.parametrize("ehr", ["standard", "oracle-health"])
def test_the_page_reads_well(
    page: Page, complaints: list[str], address: str, screenshots: Path, request: pytest.FixtureRequest, ehr: str
) -> None:
    page.goto(f"{address}/integrate/?for={ehr}")
    shoot(page, screenshots / f"integrate-{request.node.callspec.id}.png")

    assert [] == page.evaluate(LOOK)
    assert [] == complaints
    assert [] == violations(page)


def test_a_report_reads_well(
    page: Page, complaints: list[str], address: str, screenshots: Path, request: pytest.FixtureRequest
) -> None:
    page.goto(f"{address}/integrate/")
    page.get_by_label("JSON, up to 512 kB").fill(faulty())
    page.get_by_role("button", name="Look at it").click()
    shoot(page, screenshots / f"integrate-report-{request.node.callspec.id}.png")

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
