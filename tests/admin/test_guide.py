"""Every button, link, field and heading that docs/admin.md names stands on a page, letter by letter."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from flask import Flask

from tests.admin.conftest import SignIn
from tests.admin.test_change import PAGE, agreed, saved, tried
from tests.admin.test_pilot import fire
from tests.build import ROOT

GUIDE = (ROOT / "docs" / "admin.md").read_text(encoding="utf-8")
# What people choose, fill in, or look for. Labels of columns and states count: a guide may point at them.
NAMED = {"a", "button", "label", "legend", "h1", "h2", "h3", "strong", "th", "span", "dt"}


class Labels(HTMLParser):
    """Collects the text of every element that may be pointed at by its words; what is hidden in it is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self._open: list[tuple[str, bool, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element."""
        if tag in NAMED:
            self._open.append((tag, "hidden" in (dict(attrs).get("class") or "").split(), []))

    def handle_endtag(self, tag: str) -> None:
        """Keep the text of an element."""
        if self._open and self._open[-1][0] == tag:
            self.found.add(" ".join("".join(self._open.pop()[2]).split()))

    def handle_data(self, data: str) -> None:
        """Give the text to every element around it, unless it is hidden."""
        if not any(hidden for _, hidden, _ in self._open):
            for _, _, words in self._open:
                words.append(data)


def labels(*pages: str) -> set[str]:
    """Return what can be pointed at on some pages."""
    reader = Labels()
    for page in pages:
        reader.feed(page)
    return reader.found


@pytest.fixture
def shown(admin_app: Flask, sign_in: SignIn) -> set[str]:
    """Walk the way of the guide: a change tried, asked for and approved, put back; a rule in pilot."""
    editor, approver = sign_in("eddie"), sign_in("anna")
    trial = tried(editor, value="6.5")
    pages = [editor.get(path).text for path in ("/admin/rules", f"{PAGE}/change/phosphate_high", trial)]
    change = saved(editor, value="6.5")
    pages += [editor.get(change).text, approver.get(change).text]
    agreed(sign_in, change)
    pages += [editor.get(change).text, editor.get(f"{PAGE}/restore/phosphate_high?to=0").text]
    saved(editor, value="5.5", base="1")
    one_person = tried(editor, f"{PAGE}/change/indicator", value="info")  # a less urgent card
    pages.append(editor.get(one_person).text)
    agreed(sign_in, saved(editor, f"{PAGE}/change/status", value="pilot"))
    fire(admin_app, "dialysis-high-phosphate")
    pages.append(editor.get(PAGE).text)
    pages += [sign_in("audrey").get("/admin/audit").text, sign_in("otto").get("/admin/switches").text]
    return labels(*pages)


def test_what_the_guide_names_stands_on_a_page(shown: set[str]) -> None:
    named = {" ".join(said.split()) for said in re.findall(r"\*\*([^*]+)\*\*", GUIDE)}
    lacking = {said for said in named if not any(label == said or label.startswith(f"{said} ") for label in shown)}

    assert len(named) > 30
    assert {"the invented population", "the calls that this service recorded"} == lacking  # held with their count below


def test_the_cohorts_that_the_guide_names_are_offered(shown: set[str]) -> None:
    for said in ("the invented population: 200 patients", "the calls that this service recorded: the newest 10,000"):
        assert said.partition(":")[0] in GUIDE
        assert any(label.startswith(said) for label in shown), said


def test_what_is_in_no_page_would_be_missed() -> None:
    assert {"Save"} == labels("<p>Try again</p><button>Save<span class='hidden'> it</span></button>") - {""}
