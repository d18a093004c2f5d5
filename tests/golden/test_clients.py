"""
The same calls, answered to each kind of EHR (fixtures/clients): what differs from the standard, and what never may.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from cds_service.schemas import validator
from tests.build import RXNORM
from tests.fixtures import calls
from tests.fixtures.generated import FOR_CLIENTS, for_clients, written
from tests.golden.test_golden import ACCEPT, actions, empty

CLIENTS = calls.FIXTURES / "clients"
NAMES = sorted(path.relative_to(CLIENTS).with_suffix("").as_posix() for path in CLIENTS.glob("*/*/*.json"))


def golden(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((CLIENTS / f"{name}.json").read_bytes())
    return loaded


def standard(name: str) -> dict[str, Any]:
    """Return what a standard client is answered to the same call."""
    loaded: dict[str, Any] = json.loads((calls.FIXTURES / f"responses/{name.partition('/')[2]}.json").read_bytes())
    return loaded


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_to_a_client_is_the_golden_one(name: str) -> None:
    assert written(golden(name)) == written(for_clients()[name]), ACCEPT


def test_every_client_has_two_answers() -> None:
    assert sorted(for_clients()) == NAMES
    assert len(FOR_CLIENTS) * (len(calls.book().clients) - 1) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_has_the_shape_of_cds_hooks(name: str) -> None:
    assert [] == [f"{error.json_path}: {error.message}" for error in validator("response").iter_errors(golden(name))]
    assert [] == [where for where in empty(golden(name), "") if where != "/cards"]


@pytest.mark.parametrize("name", NAMES)
def test_every_client_is_given_the_same_advice(name: str) -> None:
    """
    Whatever a client cannot show: summary, urgency, sources and every word of the detail stay.
    """
    for card, usual in zip(golden(name)["cards"], standard(name)["cards"], strict=True):
        assert [usual[key] for key in ("summary", "indicator", "source")] == [
            card[key] for key in ("summary", "indicator", "source")
        ]
        assert usual["detail"].split() == card["detail"].split()
        assert len(usual.get("suggestions", ())) <= len(card.get("suggestions", ()))


@pytest.mark.parametrize("fixture", FOR_CLIENTS)
def test_epic_is_given_what_epic_knows(fixture: str) -> None:
    cards = golden(f"epic/{fixture}")["cards"]

    assert {"any"} == {card["selectionBehavior"] for card in cards if "suggestions" in card}
    assert {"text/markdown"} == {card["extension"]["com.epic.cdshooks.card.detail.content-type"] for card in cards}
    assert all(len(offer["actions"]) == 1 for card in cards for offer in card.get("suggestions", ()))
    systems = {
        coding["system"]
        for action in actions({"cards": cards})
        if action.get("resource", {}).get("resourceType") == "MedicationRequest"
        for coding in action["resource"]["medicationCodeableConcept"]["coding"]
    }
    assert RXNORM not in systems
    assert ("urn:oid:2.16.840.1.113883.6.88" in systems) is fixture.startswith("order-sign")


@pytest.mark.parametrize("fixture", FOR_CLIENTS)
def test_oracle_health_is_given_short_lines_and_nothing_newer_than_it_knows(fixture: str) -> None:
    cards = golden(f"oracle-health/{fixture}")["cards"]

    assert {"at-most-one"} == {card["selectionBehavior"] for card in cards if "suggestions" in card}
    assert not any("overrideReasons" in card for card in cards)
    assert all("/rules/" in link["url"] for card in cards for link in card["links"])
    assert 48 >= max(len(line) for card in cards for line in card["detail"].split("\n") if not line.startswith("**"))
