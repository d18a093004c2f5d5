"""
Cards on the wire: no null, "", [] or {} where CDS Hooks does not allow them (CHECKLIST.md A4, A5 and F).
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from cds_service.protocol import Action, Card, Coding, Link, Response, Source, Suggestion, to_json
from cds_service.schemas import validator
from tests.build import CALCINOSIS, NECROSIS, Resource, condition, observation, prescription
from tests.conftest import Ask

BARE = Card(uuid="u", summary="s", indicator="info", source=Source("label"))
FULL = Card(
    uuid="u",
    summary="s",
    indicator="critical",
    source=Source("label", "https://x", Coding("CC01", "https://x", "Topic")),
    detail="d",
    suggestions=[
        Suggestion(
            label="l",
            uuid="v",
            actions=[Action("create", "d", {"resourceType": "ServiceRequest"})],
            is_recommended=True,
        )
    ],
    selection_behavior="any",
    override_reasons=[Coding("r", "https://x", "Reason")],
    links=[Link("l", "https://x", "absolute")],
    extension={"org.example": {"a": 1}},
)


def empties(value: Any, path: str = "") -> list[str]:
    """List every member that is null, "", [] or {}."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [path] if value is None or value in ("", [], {}) else []

    return found + [one for key, item in inner for one in empties(item, f"{path}/{key}")]


def test_no_advice_is_an_empty_list_of_cards_and_nothing_else() -> None:
    assert b'{"cards":[]}' == to_json(Response([]))


def test_what_a_card_does_not_have_is_left_out() -> None:
    written = json.loads(to_json(Response([BARE])))

    assert {"cards": [{"uuid": "u", "summary": "s", "indicator": "info", "source": {"label": "label"}}]} == written


def test_members_are_spelt_as_cds_hooks_spells_them() -> None:
    [written] = json.loads(to_json(Response([FULL])))["cards"]

    assert {
        "uuid",
        "summary",
        "indicator",
        "source",
        "detail",
        "suggestions",
        "selectionBehavior",
        "overrideReasons",
        "links",
        "extension",
    } == set(written)
    assert {"label", "uuid", "actions", "isRecommended"} == set(written["suggestions"][0])
    assert {"type", "description", "resource"} == set(written["suggestions"][0]["actions"][0])
    assert {"label": "l", "url": "https://x", "type": "absolute"} == written["links"][0]


def test_a_deletion_names_its_resource() -> None:
    action = Action("delete", "d", resource_id="Basic/1")
    suggesting = Card("u", "s", "info", Source("x"), suggestions=[Suggestion("l", "v", [action])])
    [card] = json.loads(to_json(Response([suggesting])))["cards"]

    assert {"type": "delete", "description": "d", "resourceId": "Basic/1"} == card["suggestions"][0]["actions"][0]


PATIENTS: list[tuple[str, list[Resource]]] = [
    ("kidney failure with phosphate", [condition(), observation(value=8.1), prescription()]),
    (
        "everything at once",
        [
            condition(),
            condition(NECROSIS, days=5),
            condition(CALCINOSIS),
            observation(value=9),
            observation("calcium-total", 11),
            prescription(),
        ],
    ),
    ("hypercalcemia", [observation("calcium-total", 14.5)]),
    ("calcinosis without labs", [condition(CALCINOSIS)]),
]


@pytest.mark.parametrize("resources", [row[1] for row in PATIENTS], ids=[row[0] for row in PATIENTS])
def test_real_answers_hold_nothing_empty_and_have_their_published_shape(ask: Ask, resources: list[Resource]) -> None:
    answer = ask(*resources).json or {}

    assert answer["cards"]
    assert [] == empties(answer)
    assert [] == [error.message for error in validator("response").iter_errors(answer)]
