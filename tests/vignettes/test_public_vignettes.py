"""
Every public vignette, asked as an EHR asks: prefetch built from discovery, sent over HTTP.

The vignettes are not part of this repository: their folder is named by ``CDS_SHARED``, or is ``shared`` beside the
checkout.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests
from flask import Flask
from werkzeug.serving import make_server

from cds_service.adapters.ehr import LocalRecord, hook_request
from tests.build import PATIENT, ROOT, fired
from tests.vignettes.patients import Vignette, resources_of

RULES = {
    "eskd-hyperphosphatemia",
    "ca-p-product-precipitation",
    "ca-p-product-target",
    "eskd-missing-labs",
    "eskd-skin-lesion-calciphylaxis",
    "vka-calciphylaxis-risk",
    "hypercalcemia-workup",
    "calcinosis-missing-labs",
}
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


@pytest.fixture(scope="module")
def base(app: Flask) -> Iterator[str]:
    """Serve the application on a free port of this machine."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.trust_env = False
        yield opened


@pytest.fixture(scope="module")
def service(base: str, session: requests.Session) -> dict[str, Any]:
    """Ask discovery for the patient-view service."""
    services = session.get(f"{base}/cds-services", timeout=10).json()["services"]
    found: dict[str, Any] = next(one for one in services if one["hook"] == "patient-view")

    return found


def answer(vignette: Vignette, base: str, session: requests.Session, service: dict[str, Any]) -> dict[str, Any]:
    """Open the patient's chart: fill the announced templates from the record, and call the service."""
    record = LocalRecord(PATIENT, resources_of(vignette))
    call = hook_request("patient-view", record, service["prefetch"], user_id="Practitioner/dr-1")
    response = session.post(f"{base}/cds-services/{service['id']}", json=call, timeout=10)
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
@pytest.mark.parametrize("vignette", labelled([one for one in VIGNETTES if one["hook"] == "patient-view"]))
def test_a_chart_that_is_opened_gets_the_right_cards(
    vignette: Vignette, base: str, session: requests.Session, service: dict[str, Any]
) -> None:
    expected = vignette["expected"]
    cards = answer(vignette, base, session, service)["cards"]
    spoken = fired({"cards": cards})
    must = RULES & set(expected["mustFire"])

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
def test_the_chart_of_a_vignette_of_another_hook_gets_no_wrong_card(
    vignette: Vignette, base: str, session: requests.Session, service: dict[str, Any]
) -> None:
    cards = answer(vignette, base, session, service)["cards"]

    assert not (RULES & set(vignette["expected"]["mustNotFire"])) & set(fired({"cards": cards}))


@needs_vignettes
def test_all_eight_rules_are_asked_for_by_some_vignette() -> None:
    assert RULES == RULES & {topic for one in VIGNETTES for topic in one["expected"]["mustFire"]}
