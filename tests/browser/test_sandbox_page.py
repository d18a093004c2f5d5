"""The sandbox as a person sees it: wide and narrow, light and dark, with keyboard, without script, on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.browser

PAGES = ("", "dialysis-high-phosphate", "warfarin-and-necrosis", "messy-record")
LOOK = Path(__file__).with_name("look.js").read_text(encoding="utf-8")
SIZES = {"wide": (1280, 900), "narrow": (390, 844)}


@pytest.fixture(params=[(size, scheme) for size in SIZES for scheme in ("light", "dark")], ids="-".join)
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    size, scheme = request.param
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def complaints(page: Page) -> list[str]:
    """Collect what the browser complains of: errors, refused requests, violations of the content security policy."""
    found: list[str] = []
    page.on("console", lambda message: found.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("requestfailed", lambda request: found.append(f"not loaded: {request.url}"))
    page.on("response", lambda answer: found.append(f"{answer.status}: {answer.url}") if answer.status >= 400 else None)
    return found


@pytest.mark.parametrize("name", PAGES, ids=lambda name: name or "list")
def test_a_page_reads_well(
    page: Page,
    complaints: list[str],
    address: str,
    screenshots: Path,
    request: pytest.FixtureRequest,
    name: str,
) -> None:
    page.goto(f"{address}/sandbox/{name}")
    page.screenshot(path=screenshots / f"{request.node.callspec.id}.png", full_page=True)

    assert [] == page.evaluate(LOOK)
    assert [] == complaints


def test_the_look_finds_what_it_is_there_for(page: Page, address: str) -> None:
    page.goto(f"{address}/sandbox/healthy")
    page.evaluate("document.querySelector('h1').outerHTML = '<h4 id=advice>Grace</h4>'")
    page.evaluate("document.querySelector('.banner').style.cssText = 'color: #999; background: #fff; font-size: 8px'")
    page.evaluate("document.querySelector('table').style.width = '3000px'")
    found = " ".join(page.evaluate(LOOK))

    assert all(
        fault in found
        for fault in ("contrast 2.8", "8px is too small", "an id stands twice", "not exactly one <h1>", "wider than")
    )


def test_everything_that_folds_reads_well_unfolded(page: Page, complaints: list[str], address: str) -> None:
    page.goto(f"{address}/sandbox/warfarin-and-necrosis")
    for summary in page.locator("summary").all():
        summary.click()

    assert 0 == page.locator("details:not([open])").count()
    assert [] == page.evaluate(LOOK)
    assert [] == complaints


@pytest.fixture
def still(browser: Browser) -> Iterator[Page]:
    """Give a page that runs no script."""
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


def test_a_card_is_reached_from_the_list_without_script(still: Page, address: str) -> None:
    still.goto(f"{address}/sandbox/")
    still.get_by_role("link", name="Paula Invented").click()

    assert (
        still.get_by_role("heading", level=3).first.inner_text().startswith("Kidney failure with phosphate 7.1 mg/dL")
    )
    assert "warning" == still.locator("article .label").first.inner_text().lower()


def test_the_trail_request_response_and_command_are_one_click_away(still: Page, address: str) -> None:
    still.goto(f"{address}/sandbox/dialysis-high-phosphate")
    for summary, shows in (
        ("evidence trail", "latest Phosphate within 90 days"),
        ("Request", '"hook": "patient-view"'),
        ("Response", '"indicator": "warning"'),
        ("curl", "cds-services/calcinosis-patient-view"),
    ):
        opened = still.locator("details", has=still.locator("summary", has_text=summary)).last
        opened.locator("summary").click()

        assert opened.locator("pre", has_text=shows).first.is_visible()


def test_the_cards_stand_in_the_first_view_of_a_wide_screen(still: Page, address: str) -> None:
    still.goto(f"{address}/sandbox/dialysis-high-phosphate")
    card = still.locator("article.card").first.bounding_box()

    assert card is not None
    assert card["x"] > 640
    assert card["y"] < 300


def test_the_keyboard_reaches_what_can_be_opened(page: Page, address: str) -> None:
    page.goto(f"{address}/sandbox/dialysis-high-phosphate")
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim().split('\\n')[0]"))
    page.locator("summary", has_text="Request").focus()
    page.keyboard.press("Enter")

    assert "Skip to the content" == reached[0]
    assert any(text.startswith("Reasons to decline") for text in reached)
    assert page.locator("pre", has_text='"hook": "patient-view"').is_visible()


def test_paper_shows_chart_and_cards_and_leaves_the_machinery_out(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}/sandbox/dialysis-high-phosphate")
    page.emulate_media(media="print")

    assert page.locator("article.card").first.is_visible()
    assert not page.locator(".behind").is_visible()
    page.close()
