"""The rule catalogue and the source attributes as a person sees them: wide and narrow, light and dark, on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import shoot

pytestmark = pytest.mark.browser

SAMPLE = "eskd-skin-lesion-calciphylaxis"
PAGES = {"list": "/rules/", "rule": f"/rules/{SAMPLE}", "attributes": f"/rules/{SAMPLE}/source-attributes"}
LOOK = Path(__file__).with_name("look.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_reads_well(
    page: Page,
    complaints: list[str],
    address: str,
    screenshots: Path,
    request: pytest.FixtureRequest,
    name: str,
) -> None:
    page.goto(f"{address}{PAGES[name]}")
    shoot(page, screenshots / f"rules-{request.node.callspec.id}.png")

    assert [] == page.evaluate(LOOK)
    assert [] == complaints


@pytest.fixture
def still(browser: Browser) -> Iterator[Page]:
    """Give a page that runs no script."""
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


def test_from_a_card_to_its_evidence_and_to_all_rules_without_script(still: Page, address: str) -> None:
    still.goto(f"{address}/sandbox/dialysis-high-phosphate")
    with still.expect_popup() as opened:
        still.get_by_role("link", name="Source and evidence").first.click()
    attributes = opened.value
    attributes.wait_for_load_state()

    assert attributes.get_by_role("heading", level=1).inner_text().startswith("Source attributes")

    attributes.get_by_role("link", name="The rule in words").click()

    assert attributes.get_by_role("heading", name="The rule fires when").is_visible()

    attributes.get_by_role("link", name="All rules").click()

    assert attributes.get_by_role("heading", name="What this service asks, and why").is_visible()


def test_the_keyboard_comes_to_the_content_first(still: Page, address: str) -> None:
    still.goto(f"{address}/rules/{SAMPLE}")
    still.keyboard.press("Tab")

    assert "Skip to the content" == still.locator(":focus").inner_text()


def test_paper_shows_the_vignettes_and_leaves_the_way_out(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}/rules/{SAMPLE}")
    page.emulate_media(media="print")

    assert page.locator("details li").first.evaluate("one => one.getBoundingClientRect().height")
    assert not page.get_by_role("link", name="All rules").is_visible()
    page.close()
