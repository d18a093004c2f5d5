"""What a new user does after `make run`: opens the address that was printed, sees a card, accepts a suggestion."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.browser

COMMAND = str(Path(sys.executable).with_name("cds-service"))
# From the command to the card; most of it is the start of two servers on two slow cores.
PATIENCE = 60.0


@pytest.fixture
def printed() -> Iterator[tuple[str, float]]:
    """Start the demo as `make run` does; give the address that it prints, and when it was started."""
    started = time.monotonic()
    process = subprocess.Popen(
        [COMMAND, "demo", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ
    )
    try:
        assert process.stdout is not None
        found = next((match[0] for line in process.stdout if (match := re.search(r"http://\S+/sandbox/\S+", line))), "")
        assert found, "the demo ended without printing an address"
        yield found, started
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_from_the_command_to_a_card_to_an_order_and_its_feedback(
    browser: Browser, printed: tuple[str, float], record_property: Callable[[str, object], None]
) -> None:
    address, started = printed
    page = browser.new_page()
    page.goto(address)
    expect(page.get_by_role("heading", name=re.compile("Kidney failure with phosphate 7.1"))).to_be_visible()
    seconds = time.monotonic() - started
    record_property("seconds from command to card", round(seconds, 1))
    print(f"from command to card: {seconds:.1f} s")  # noqa: T201 - a number for the README

    page.get_by_role("button", name="Order serum phosphate").click()

    expect(page.locator("#orders .lines")).to_contain_text("Phosphate")
    expect(page.get_by_text("Feedback sent.")).to_be_visible()
    assert seconds < PATIENCE
    page.close()
