"""A clinician who works in the sandbox with a browser that runs no script: opens charts, and fills in forms."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from cds_service.web.sandbox.charts import OpenChart
from cds_service.web.sandbox.pages import Room
from cds_service.web.sandbox.visits import COOKIE
from tests.fixtures import calls

FLAGSHIP = "dialysis-high-phosphate"
VOID = {"meta", "link", "br", "input"}


class Page(HTMLParser):
    """What a browser would see: the elements with their attributes, and whether they are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.crossed: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))  # SVG closes its elements at once

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data

    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}


class Clinician:
    """Somebody at a chart of the sandbox."""

    def __init__(self, app: Flask | None = None, key: str = FLAGSHIP) -> None:
        self.client: FlaskClient = app.test_client() if app else calls.client()
        self.key, self.html = key, ""

    @property
    def app(self) -> Flask:
        return self.client.application

    def open(self) -> Clinician:
        """Open the chart."""
        self.html = self.client.get(f"/sandbox/{self.key}").text
        return self

    def do(self, deed: str, **form: str) -> Clinician:
        """Send one of the chart's forms, and see the chart again."""
        answer = self.client.post(f"/sandbox/{self.key}/{deed}", data=form, follow_redirects=True)
        assert answer.status_code == 200, answer.text
        self.html = answer.text
        return self

    @property
    def chart(self) -> OpenChart:
        """The chart as the server keeps it."""
        cookie = self.client.get_cookie(COOKIE, path="/sandbox")
        room: Room = self.app.extensions["sandbox"]
        visit = room.visits.find(cookie.value) if cookie else None
        assert visit is not None
        return visit.charts[self.key]

    @property
    def text(self) -> str:
        """What can be read on the page."""
        return " ".join(Page(self.html).text.split())

    def cards(self, hook: str = "patient-view") -> list[Any]:
        """Return the cards that are shown for a hook."""
        return [card for advice in self.chart.advice.values() if advice.hook == hook for card in advice.cards]

    def accept(self, label: str, hook: str) -> Clinician:
        """Accept the suggestion with this label."""
        [(card, uuid)] = [
            (card, one["uuid"])
            for card in self.cards(hook)
            for one in card.card["suggestions"]
            if one["label"] == label
        ]
        return self.do("accept", service=f"calcinosis-{hook}", card=card.uuid, suggestion=uuid)

    def sent(self) -> Any:
        """Return the body of the newest call."""
        return json.loads(self.chart.calls[0].request)
