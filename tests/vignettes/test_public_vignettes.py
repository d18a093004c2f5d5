"""
Every public vignette, asked as an EHR asks: prefetch built from discovery, sent over HTTP.

The vignettes are not part of this repository: their folder is named by ``CDS_SHARED``, or is ``shared`` beside the
checkout.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
import requests
from flask import Flask
from werkzeug.serving import make_server

from cds_service.adapters.ehr import LocalRecord, hook_request
from cds_service.rules.book import RuleBook, load_book
from cds_service.web import Settings, create_app
from tests.build import NOW, PATIENT, ROOT, fired
from tests.vignettes.patients import Vignette, orders_of, resources_of

INDICATORS = ["info", "warning", "critical"]
FILE = Path(os.environ.get("CDS_SHARED") or ROOT.parent / "shared") / "clinical" / "vignettes.json"


def vignettes() -> list[Vignette]:
    """Read the vignettes; none where the folder is not there."""
    found: list[Vignette] = json.loads(FILE.read_bytes())["vignettes"] if FILE.exists() else []

    return found


VIGNETTES = vignettes()
needs_vignettes = pytest.mark.skipif(
    not VIGNETTES, reason=f"there are no public vignettes at {FILE.name} of the shared folder (set CDS_SHARED)"
)


class Server(msgspec.Struct):
    """A running service with what it announces, by hook, and its rules by their number."""

    base: str
    services: dict[str, dict[str, Any]]
    numbers: dict[str, str]


@contextmanager
def served(app: Flask, book: RuleBook, session: requests.Session) -> Iterator[Server]:
    """Serve an application on a free port of this machine."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    base = f"http://127.0.0.1:{server.server_port}"
    announced = session.get(f"{base}/cds-services", timeout=10).json()["services"]
    yield Server(
        base, {one["hook"]: one for one in announced}, {rule.number: name for name, rule in book.rules.items()}
    )
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.trust_env = False
        yield opened


@pytest.fixture(scope="module")
def usual(app: Flask, book: RuleBook, session: requests.Session) -> Iterator[Server]:
    with served(app, book, session) as server:
        yield server


@pytest.fixture
def server(
    request: pytest.FixtureRequest, tmp_path: Path, usual: Server, book: RuleBook, session: requests.Session
) -> Iterator[Server]:
    """Serve the vignette of a test: where it has a configuration of its own, as a site that made it."""
    vignette: Vignette = request.getfixturevalue("vignette")
    if not vignette["config"]:
        yield usual
        return
    tuned = site_of(vignette, tmp_path / "hooks", book)
    app = create_app(Settings(auth="none"), book=tuned, clock=NOW.timestamp)
    with served(app, tuned, session) as own:
        yield own


def site_of(vignette: Vignette, content: Path, book: RuleBook) -> RuleBook:
    """Load the rules with the thresholds of a vignette, laid over them as a hospital does it: sites/<name>.yaml."""
    shutil.copytree(ROOT / "hooks", content)
    numbers = {rule.number: name for name, rule in book.rules.items()}
    pairs = [(*name.split("."), value) for name, value in vignette["config"].items()]
    said = {
        f"{numbers[number]}.{threshold}": [
            {"since": "2026-01-01", "value": value, "who": "A test", "why": "A vignette"}
        ]
        for number, threshold, value in pairs
    }
    (content / "sites").mkdir(exist_ok=True)
    (content / "sites" / "vignette.yaml").write_text(json.dumps({"site": "vignette", "thresholds": said}))

    return load_book(content, "vignette")


def answer(vignette: Vignette, server: Server, session: requests.Session, hook: str) -> dict[str, Any]:
    """Act as the patient's EHR: fill the announced templates from the record, and call the service of a hook."""
    service, record = server.services[hook], LocalRecord(PATIENT, resources_of(vignette))
    call = hook_request(hook, record, service["prefetch"], user_id="Practitioner/dr-1", about=orders_of(vignette))
    response = session.post(f"{server.base}/cds-services/{service['id']}", json=call, timeout=10)
    assert 200 == response.status_code, response.text
    found: dict[str, Any] = response.json()

    return found


def text_of(cards: list[dict[str, Any]]) -> str:
    """Return everything that cards say: summary, detail, labels of suggestions and links."""
    labels = [one["label"] for card in cards for part in ("suggestions", "links") for one in card.get(part, ())]

    return " ".join([*(card["summary"] + " " + card["detail"] for card in cards), *labels]).casefold()


def about(cards: list[dict[str, Any]], topics: set[str]) -> list[dict[str, Any]]:
    """Return the cards that speak for one of these rules."""
    return [
        card for card in cards if topics & {rule["id"] for rule in card["extension"]["org.calcinosis-cds"]["rules"]}
    ]


def labelled(chosen: list[Vignette]) -> list[Any]:
    """Return vignettes as parameters, each named by its number and title."""
    return [pytest.param(one, id=f"{one['id']} {one['title']}") for one in chosen]


@needs_vignettes
@pytest.mark.parametrize("vignette", labelled(VIGNETTES))
def test_at_its_hook_a_vignette_gets_the_right_cards(
    vignette: Vignette, server: Server, session: requests.Session
) -> None:
    expected = vignette["expected"]
    cards = answer(vignette, server, session, vignette["hook"])["cards"]
    spoken = fired({"cards": cards})
    must = set(server.numbers.values()) & set(expected["mustFire"])

    assert must <= set(spoken)
    assert not set(expected["mustNotFire"]) & set(spoken)
    assert not cards or "*" not in expected["mustNotFire"]
    if must:
        ranks = [INDICATORS.index(card["indicator"]) for card in about(cards, must)]
        assert expected["minIndicator"] is None or max(ranks) >= INDICATORS.index(expected["minIndicator"])
        assert expected["maxIndicator"] is None or max(ranks) <= INDICATORS.index(expected["maxIndicator"])
    if must and must == set(expected["mustFire"]):
        said = text_of(about(cards, must))
        assert [] == [wanted for wanted in expected["mustMention"] if wanted.casefold() not in said]


@needs_vignettes
@pytest.mark.parametrize("vignette", labelled([one for one in VIGNETTES if one["hook"] != "patient-view"]))
def test_an_order_is_not_spoken_of_when_the_chart_is_opened(
    vignette: Vignette, server: Server, session: requests.Session
) -> None:
    """
    What is only being ordered is not yet taken.
    """
    cards = answer(vignette, server, session, "patient-view")["cards"]

    assert not set(vignette["expected"]["mustNotFire"]) & set(fired({"cards": cards}))


@needs_vignettes
@pytest.mark.parametrize("vignette", labelled([one for one in VIGNETTES if one["draftOrders"]]))
def test_without_its_order_a_vignette_gets_no_card_about_orders(
    vignette: Vignette, server: Server, session: requests.Session
) -> None:
    cards = answer({**vignette, "draftOrders": []}, server, session, vignette["hook"])["cards"]

    assert [] == cards


@needs_vignettes
def test_every_rule_that_vignettes_ask_for_exists(book: RuleBook) -> None:
    assert {topic for one in VIGNETTES for topic in one["expected"]["mustFire"]} <= set(book.rules)
