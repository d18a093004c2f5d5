"""The evidence view as a person sees it: wide and narrow, light and dark, on paper, and with a screen reader."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from werkzeug.serving import make_server

from tests.browser.conftest import Quiet, shoot
from tests.fixtures import calls

# A browser that goes away before the icon has come leaves its file open for a moment (werkzeug).
pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

LOOK = Path(__file__).with_name("look.js").read_text(encoding="utf-8")
FEW = ("messy-record", "hypercalcemia-severe-14")
CASES = ("dialysis-high-phosphate", "messy-record", "si-units-europe", "hypercalcemia-severe-14", "dialysis-no-labs")
# Inner size of the page in CSS pixels, less margins of 13 mm.
PAPER = {"A4": (184 / 25.4 * 96, 271 / 25.4 * 96), "Letter": (189.9 / 25.4 * 96, 253.4 / 25.4 * 96)}


@pytest.fixture(scope="module")
def evidence() -> Iterator[str]:
    """Serve the sandbox with links to evidence, on the day of the fixtures."""
    app = calls.client(evidence=True).application
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


def link(address: str, slug: str) -> str:
    """Return the first link of the first card of a patient, as the service answers it."""
    raw = json.dumps(calls.call(slug)).encode()
    asked = urllib.request.Request(f"{address}{calls.SERVICE}", raw, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked) as answer:
        found: str = json.load(answer)["cards"][0]["links"][0]["url"]
    return found


@pytest.mark.parametrize("slug", CASES)
def test_a_page_reads_well(
    page: Page, complaints: list[str], evidence: str, screenshots: Path, request: pytest.FixtureRequest, slug: str
) -> None:
    page.goto(link(evidence, slug))
    shoot(page, screenshots / f"evidence-{request.node.callspec.id}.png")

    assert [] == page.evaluate(LOOK)
    assert [] == complaints
    assert 1 == page.locator("figure svg[role=img]:visible").count()


@pytest.mark.parametrize("slug", FEW)
def test_axe_finds_nothing(page: Page, evidence: str, slug: str) -> None:
    page.goto(link(evidence, slug))
    found = Axe().run(page)

    assert 0 == found.violations_count, found.generate_report()


def test_axe_finds_nothing_on_a_page_that_says_no(page: Page, evidence: str) -> None:
    page.goto(f"{evidence}/evidence/nothing")

    assert 0 == Axe().run(page).violations_count
    assert [] == page.evaluate(LOOK)


def covering(page: Page) -> list[str]:
    """List the pairs of words in the visible picture that cover each other."""
    found: list[str] = page.evaluate(
        """() => {
          const texts = [...document.querySelectorAll("figure > svg text")];
          const boxes = texts.filter((one) => one.getClientRects().length)
            .map((one) => [one.textContent.trim(), one.getBoundingClientRect()]);
          const found = [];
          boxes.forEach(([said, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
            const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (wide > 2 && high > 4) found.push(`${said} | ${other}`);
          }));
          return found;
        }"""
    )
    return found


@pytest.mark.parametrize("slug", ["dialysis-high-phosphate", "si-units-europe", "hypercalcemia-severe-14"])
def test_words_in_the_picture_do_not_cover_each_other(page: Page, evidence: str, slug: str) -> None:
    """On a phone the labels of limits stand in the plot, where a value may come close: there only heads are held."""
    page.goto(link(evidence, slug))
    narrow = page.viewport_size is not None and page.viewport_size["width"] < 500
    pairs = [one for one in covering(page) if not (narrow and re.search(r"[<>\u2264\u2265] ", one))]

    assert [] == pairs


@pytest.mark.parametrize("slug", FEW)
def test_the_picture_stays_inside_its_frame(page: Page, evidence: str, slug: str) -> None:
    page.goto(link(evidence, slug))
    outside = page.evaluate(
        """() => [...document.querySelectorAll("figure > svg")].flatMap((svg) => {
          if (!svg.getClientRects().length) return [];
          const frame = svg.getBoundingClientRect();
          return [...svg.querySelectorAll("text, rect, circle, path, polyline")]
            .filter((one) => !one.closest("defs"))
            .map((one) => [one.getBoundingClientRect(), one.textContent || one.getAttribute("class")])
            .filter(([box]) => box.right > frame.right + 1 || box.left < frame.left - 1)
            .map(([, said]) => said);
        })"""
    )

    assert [] == outside


@pytest.mark.parametrize("paper", PAPER)
@pytest.mark.parametrize("slug", ["dialysis-high-phosphate", "messy-record"])
def test_paper_holds_the_picture_on_its_first_page(
    browser: Browser, evidence: str, screenshots: Path, paper: str, slug: str
) -> None:
    width, height = (int(one) for one in PAPER[paper])
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="light")
    sheet = context.new_page()
    sheet.goto(link(evidence, slug))
    sheet.emulate_media(media="print")
    shoot(sheet, screenshots / f"evidence-{slug}-{paper}.png")
    box: Any = sheet.locator("figure > svg.wide").bounding_box()

    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width + 1
    assert box["y"] + box["height"] <= height
    assert sheet.get_by_text("Patient (name or label)").is_visible()
    assert not sheet.locator("figure > svg.narrow").is_visible()
    sheet.emulate_media(media="screen")
    pdf = sheet.pdf(format=paper, path=screenshots / f"evidence-{slug}-{paper}.pdf")
    context.close()

    assert 10 >= len(re.findall(rb"/Type /Page\b", pdf))  # four rules with their trails and numbers


def test_without_script_everything_is_there(browser: Browser, evidence: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    still = context.new_page()
    still.goto(f"{evidence}/sandbox/dialysis-high-phosphate")
    still.goto(link(evidence, "dialysis-high-phosphate"))

    assert still.get_by_role("img", name="Trend of what the card rests on").is_visible()
    assert still.get_by_role("heading", name="Why you see this").is_visible()
    still.get_by_role("link", name="Source attributes of CC-01").click()
    assert still.get_by_role("heading", level=1).inner_text().startswith("Source attributes")
    context.close()


def test_the_keyboard_comes_to_the_content_first(browser: Browser, evidence: str) -> None:
    still = browser.new_page()
    still.goto(link(evidence, "dialysis-high-phosphate"))
    still.keyboard.press("Tab")

    assert "Skip to the content" == still.locator(":focus").inner_text()
    still.close()


def test_a_screen_reader_hears_the_picture_and_finds_its_values(browser: Browser, evidence: str) -> None:
    still = browser.new_page()
    still.goto(link(evidence, "dialysis-high-phosphate"))
    picture = still.locator("figure > svg.wide")

    assert "Phosphate: 3 results, newest 7.1 mg/dL" in picture.locator("desc").text_content()  # type: ignore[operator]
    for value in ("7.1 mg/dL", "6.6 mg/dL", "6.2 mg/dL", "342 pg/mL"):
        assert still.locator("table.values", has_text=value).count()
    still.close()
