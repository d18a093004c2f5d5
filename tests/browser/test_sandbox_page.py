"""The sandbox as a person sees it: wide and narrow, light and dark, with keyboard, without script, on paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import shoot, violations

pytestmark = pytest.mark.browser

LOOK = Path(__file__).with_name("look.js").read_text(encoding="utf-8")
SIZES = {"wide": (1440, 900), "narrow": (390, 844)}
FLAGSHIP = "dialysis-high-phosphate"
Step = Callable[[Page, str], None]


def listed(page: Page, address: str) -> None:
    page.goto(f"{address}/sandbox/")


def opened(page: Page, address: str) -> None:
    page.goto(f"{address}/sandbox/{FLAGSHIP}")


def critical(page: Page, address: str) -> None:
    page.goto(f"{address}/sandbox/warfarin-and-necrosis")


def messy(page: Page, address: str) -> None:
    page.goto(f"{address}/sandbox/messy-record")


def choose(page: Page, order: str) -> None:
    page.get_by_label("New order").select_option(label=order)
    page.get_by_role("button", name="Choose").click()
    expect(page.locator("#orders .lines")).to_contain_text(order)


def signing(page: Page, address: str) -> None:
    opened(page, address)
    choose(page, "Warfarin 5 mg tablet")
    choose(page, "Sodium phosphate enema")
    page.get_by_role("button", name="Sign 2 orders").click()
    expect(page.get_by_role("button", name="Sign now")).to_be_visible()


def eighth(page: Page, address: str) -> None:
    page.set_viewport_size({"width": max(1280, page.viewport_size["width"]), "height": 900})  # type: ignore[index]
    signing(page, address)
    page.get_by_role("button", name="1/8 width").click()
    expect(page.locator(".screen.eighth")).to_be_visible()


def answered(page: Page, address: str) -> None:
    opened(page, address)
    page.get_by_role("button", name="Order serum phosphate").click()
    expect(page.get_by_text("✓ Order serum phosphate")).to_be_visible()


def behind(page: Page, address: str) -> None:
    opened(page, address)
    page.get_by_role("link", name="why, and why not").click()
    expect(page.get_by_role("heading", name="Why, and why not")).to_be_visible()


def server(page: Page, address: str) -> None:
    listed(page, address)
    page.get_by_label("Base URL").fill("http://127.0.0.1:1/fhir")
    page.get_by_role("button", name="Show its patients").click()
    expect(page.get_by_text("nobody answers at this address")).to_be_visible()


STEPS = (listed, opened, critical, messy, signing, eighth, answered, behind, server)


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
def plain(browser: Browser) -> Iterator[Page]:
    """Give a page on a wide screen in the light."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


@pytest.fixture
def still(browser: Browser) -> Iterator[Page]:
    """Give a page that runs no script."""
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_a_page_reads_well(
    page: Page, complaints: list[str], address: str, screenshots: Path, request: pytest.FixtureRequest, step: Step
) -> None:
    step(page, address)
    shoot(page, screenshots / f"sandbox-{request.node.callspec.id}.png")

    assert [] == page.evaluate(LOOK)
    assert [] == violations(page)
    assert [] == complaints


def test_the_picture_of_the_readme(browser: Browser, address: str, screenshots: Path) -> None:
    """
    Made anew by: CDS_SCREENSHOTS=docs pytest tests/browser -k picture_of_the_readme
    """
    context = browser.new_context(viewport={"width": 1180, "height": 860})
    page = context.new_page()
    critical(page, address)  # the first call of a process takes longest
    opened(page, address)
    shoot(page, screenshots / "first-card.png", whole=False)

    assert page.locator("article.warning").is_visible()
    context.close()


def test_everything_that_folds_reads_well_unfolded(page: Page, complaints: list[str], address: str) -> None:
    signing(page, address)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")

    assert [] == page.evaluate(LOOK)
    assert [] == violations(page)
    assert [] == complaints


def test_the_look_finds_what_it_is_there_for(plain: Page, address: str) -> None:
    plain.goto(f"{address}/sandbox/healthy")
    plain.evaluate("document.querySelector('h1').outerHTML = '<h4 id=advice>Grace</h4>'")
    plain.evaluate("document.querySelector('.facts').style.cssText = 'color: #999; background: #fff; font-size: 8px'")
    plain.evaluate("document.querySelector('table').style.width = '3000px'")
    found = " ".join(plain.evaluate(LOOK))

    assert all(
        fault in found
        for fault in ("contrast 2.8", "8px is too small", "an id stands twice", "not exactly one <h1>", "wider than")
    )


# --- one road for both: with a script that swaps the page's content, and without any ----------------------------------


@pytest.fixture(params=["script", "no script"])
def either(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """Give a page with and without script."""
    script = request.param == "script"
    context = browser.new_context(java_script_enabled=script, viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


def test_from_the_list_to_a_card_to_an_order_and_its_feedback(either: Page, address: str) -> None:
    either.goto(f"{address}/sandbox/")
    either.get_by_role("link", name="Paula Invented").click()

    expect(either.get_by_role("heading", name=re.compile("Kidney failure with phosphate 7.1"))).to_be_visible()

    either.get_by_role("button", name="Order serum phosphate").click()

    expect(either.locator("#orders .lines")).to_contain_text("Phosphate")
    expect(either.get_by_text("Feedback sent.")).to_be_visible()
    expect(either.get_by_role("link", name="feedback Accepted: Order serum phosphate")).to_be_visible()


def test_a_harmful_order_is_chosen_and_its_card_takes_it_away(either: Page, address: str) -> None:
    opened(either, address)
    choose(either, "Sodium phosphate enema")

    expect(either.locator("article.critical h4")).to_contain_text("Sodium phosphate enema ordered with phosphate 7.1")

    either.get_by_role("button", name="Remove the order: Sodium phosphate enema").click()

    expect(either.get_by_text("removed Sodium phosphate enema")).to_be_visible()
    expect(either.locator("#orders")).not_to_contain_text("Sign 1 order")


def test_a_card_is_overridden_with_a_reason(either: Page, address: str) -> None:
    critical(either, address)
    card = either.locator("article.critical").first
    card.locator("summary", has_text="Override").click()
    card.get_by_role("radio").first.check()
    card.get_by_label("Comment").fill("seen by dermatology")
    card.get_by_role("button", name="Override this card").click()

    expect(either.locator("article.done")).to_contain_text("seen by dermatology")
    expect(either.get_by_text("Feedback sent.")).to_be_visible()


def test_trail_request_response_and_command_are_one_click_away(either: Page, address: str) -> None:
    opened(either, address)
    either.get_by_role("link", name="why, and why not").click()

    for shown in (
        "latest Phosphate within 90 days",
        '"hook": "patient-view"',
        '"indicator": "warning"',
    ):
        expect(either.locator("pre", has_text=shown).first).to_be_visible()
    assert "cds-services/calcinosis-patient-view" in either.locator("#command").input_value()


def test_links_of_a_card_are_followed(either: Page, address: str) -> None:
    opened(either, address)
    with either.context.expect_page() as opening:
        either.get_by_role("link", name="Source and evidence").first.click()

    expect(opening.value.get_by_role("heading", level=1)).to_contain_text("Source attributes")


def test_a_patient_is_admitted_and_discharged(either: Page, address: str) -> None:
    opened(either, address)
    either.get_by_role("button", name="Admit").click()
    either.get_by_role("button", name="Discharge").click()
    either.get_by_role("button", name="Complete discharge").click()

    expect(either.locator(".banner")).to_contain_text("not admitted")
    for hook in ("encounter-start", "encounter-discharge"):
        expect(either.locator(".calls")).to_contain_text(hook)


# --- what only a script, a keyboard or paper can show -----------------------------------------------------------------


def test_news_are_announced_and_the_focus_goes_to_them(plain: Page, address: str) -> None:
    opened(plain, address)
    plain.get_by_label("New order").select_option("warfarin")
    plain.get_by_role("button", name="Choose").focus()
    plain.keyboard.press("Enter")

    expect(plain.get_by_role("status")).to_contain_text("order-select: 1 card. warning: Warfarin")
    assert "advice" == plain.evaluate("document.activeElement.id")


def test_without_script_the_page_opens_where_the_news_are(still: Page, address: str) -> None:
    opened(still, address)
    choose(still, "Warfarin 5 mg tablet")

    assert still.url.endswith("#advice")


def test_the_command_can_be_copied(plain: Page, address: str) -> None:
    plain.context.grant_permissions(["clipboard-read", "clipboard-write"])
    behind(plain, address)
    plain.get_by_role("button", name="Copy").click()
    expect(plain.get_by_role("button", name="Copied")).to_be_visible()

    assert plain.evaluate("navigator.clipboard.readText()").startswith("curl -s http://127.0.0.1")


def test_the_cards_stand_in_the_first_view_of_a_wide_screen(still: Page, address: str) -> None:
    opened(still, address)
    card = still.locator("article.card").first.bounding_box()

    assert card is not None
    assert card["x"] > 640
    assert card["y"] < 300


def test_in_an_eighth_of_the_screen_nothing_sticks_out(plain: Page, address: str) -> None:
    eighth(plain, address)
    box = plain.locator(".advice").bounding_box()

    assert box is not None
    assert 1280 / 8 - 1 <= box["width"] <= 1280 / 8 + 1
    assert (
        plain.evaluate(
            "[...document.querySelectorAll('.advice *')].filter(one => !one.closest('.hidden') && one.clientWidth > 0"
            " && one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display != 'inline')"
            ".map(one => one.outerHTML.slice(0, 80))"
        )
        == []
    )


def test_the_keyboard_alone_orders_signs_and_overrides(plain: Page, address: str) -> None:
    opened(plain, address)
    reached: list[str] = []
    for _ in range(40):
        plain.keyboard.press("Tab")
        reached.append(plain.evaluate("(document.activeElement.textContent || '').trim().split('\\n')[0]"))

    assert "Skip to the content" == reached[0]
    for words in ("Admit", "why, and why not", "Order serum phosphate", "Override", "Choose", "Refill"):
        assert any(text.startswith(words) for text in reached), words


def test_paper_shows_chart_and_cards_and_leaves_the_machinery_out(plain: Page, address: str) -> None:
    opened(plain, address)
    plain.emulate_media(media="print")

    assert plain.locator("article.card").first.is_visible()
    assert not plain.locator(".behind").is_visible()
    assert not plain.get_by_role("button").first.is_visible()
