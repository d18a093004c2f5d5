"""
What each kind of EHR is given: the same advice in the members, words and codes it knows (EHRS.md, CHECKLIST F).
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cds_service.protocol import Action, Card, Coding, Link, Response, Source, Suggestion
from cds_service.protocol.profile import STANDARD, Profile
from cds_service.protocol.shaping import shaped_for
from tests.build import ICD10CM, LOINC, RXNORM, concept

OID = "urn:oid:2.16.840.1.113883.6.88"
PREFERENCE = Coding("4711", "urn:com.epic.cdshooks.action.code.system.preference-list-item", "PHOSPHATE")
BINDER = {"resourceType": "MedicationRequest", "medicationCodeableConcept": concept("214824", RXNORM)}
LAB = {"resourceType": "ServiceRequest", "code": concept("2777-1", LOINC)}
TWO = Suggestion("Both", "v-1", [Action("create", "Order phosphate", LAB), Action("create", "Order sevelamer", BINDER)])
RULES = Link("Source and evidence", "https://cds.example/base/rules/one/source-attributes", "absolute")
APP = Link("Open the chart", "https://app.example/launch", "smart", "patient=1")
CARD = Card(
    uuid="u",
    summary="Phosphate is high",
    indicator="warning",
    source=Source("label", "", Coding("CC01", "https://x", "Topic")),
    detail="**Values**\n- Phosphate: 7.1 mg/dL, 2026-02-19 - repeat it - then act\n\nText of a rule.",
    suggestions=[TWO],
    selection_behavior="any",
    override_reasons=[Coding("known-stable", "https://x", "Known and stable")],
    links=[RULES, APP],
    extension={"org.example": {"a": 1}},
)


def shaped(card: Card = CARD, **members: Any) -> Card:
    """Return a card as a client with these differences gets it."""
    [found] = shaped_for(Response([card]), Profile(name="of-a-test", **members)).cards
    return found


def test_the_standard_changes_nothing() -> None:
    response = Response([CARD])

    assert shaped_for(response, STANDARD) is response
    assert shaped() == CARD


@pytest.mark.parametrize(
    ("accepted", "said"),
    [(("any", "at-most-one"), "any"), (("any",), "any"), (("at-most-one",), "at-most-one"), ((), "")],
)
def test_how_many_suggestions_may_be_chosen_is_said_as_the_client_knows_it(
    accepted: tuple[str, ...], said: str
) -> None:
    assert said == shaped(selection=accepted).selection_behavior


def test_without_suggestions_nothing_is_said_of_choosing() -> None:
    assert "" == shaped(replace(CARD, suggestions=[]), selection=("at-most-one",)).selection_behavior
    assert "" == shaped(omits=("suggestions",)).selection_behavior


def test_a_suggestion_with_two_actions_becomes_two_with_ids_of_their_own() -> None:
    first, second = shaped(one_action=True).suggestions

    assert ["Order phosphate", "Order sevelamer"] == [first.label, second.label]
    assert [[one] for one in TWO.actions] == [first.actions, second.actions]
    assert "v-1" == first.uuid
    assert second.uuid == shaped(one_action=True).suggestions[1].uuid != first.uuid


def test_a_suggestion_with_one_action_stays_as_it_is() -> None:
    alone = replace(TWO, actions=TWO.actions[:1])

    assert [alone] == shaped(replace(CARD, suggestions=[alone]), one_action=True).suggestions


@pytest.mark.parametrize(
    ("members", "kept"),
    [
        ({"links": ("absolute",)}, [RULES]),
        ({"links": ()}, []),
        ({"listed_links": ("/rules/",)}, [RULES]),
        ({"listed_links": ("/apps/",)}, []),
        ({"app_context": False}, [RULES, replace(APP, app_context="")]),
        ({"omits": ("links",)}, []),
    ],
)
def test_links_of_types_and_addresses_that_the_client_shows(members: dict[str, Any], kept: list[Link]) -> None:
    assert kept == shaped(**members).links


def test_the_client_is_told_how_the_detail_is_written() -> None:
    told: dict[str, Any] = {"detail_extension": "com.example.content-type"}

    assert {"org.example": {"a": 1}, "com.example.content-type": "text/markdown"} == shaped(**told).extension
    assert CARD.extension == shaped(replace(CARD, detail=""), **told).extension


def test_a_client_without_markdown_gets_plain_text() -> None:
    assert CARD.detail.replace("**", "") == shaped(detail_type="text/plain").detail


def test_short_lines_stay_in_their_list_and_begin_no_other() -> None:
    phosphate = ["- Phosphate: 7.1 mg/dL,", "  2026-02-19 - repeat it -", "  then act"]

    lines = shaped(line_length=30).detail.split("\n")

    assert ["**Values**", *phosphate, "", "Text of a rule."] == lines


@given(st.lists(st.sampled_from(["-", "+", "*", "#", "1.", "2)", ">", "word", "of", "calcium,", "10.5"]), max_size=40))
def test_breaking_lines_keeps_every_word_and_opens_nothing(words: list[str]) -> None:
    text = " ".join(["Begin", *words])

    broken = shaped(replace(CARD, detail=f"- {text}"), line_length=30).detail

    first, *others = broken.split("\n")
    assert text.split() == broken.removeprefix("- ").split()
    assert first.startswith("- Begin")
    assert all(line.startswith("  ") and line.split()[0] in ("word", "of", "calcium,", "10.5") for line in others)


def test_labels_are_cut_to_what_the_client_shows() -> None:
    long = replace(CARD, links=[replace(RULES, label="Source and evidence: " + "very " * 20)])

    assert "Source and evidence: very very very\u2026" == shaped(long, label_limit=36).links[0].label


def test_code_systems_are_spelled_as_the_client_spells_them_and_ours_stay_as_they_are() -> None:
    actions = shaped(spelling={RXNORM: OID, ICD10CM: "urn:oid:1"}).suggestions[0].actions

    assert [LAB, {**BINDER, "medicationCodeableConcept": concept("214824", OID)}] == [one.resource for one in actions]
    assert concept("214824", RXNORM) == BINDER["medicationCodeableConcept"]


def test_the_clients_own_code_of_an_order_stands_first() -> None:
    order, _ = shaped(own_codes={(LOINC, "2777-1"): PREFERENCE}).suggestions[0].actions

    assert order.resource is not None
    [own, ours] = order.resource["code"]["coding"]
    assert {"code": "4711", "system": PREFERENCE.system, "display": "PHOSPHATE"} == own
    assert LAB["code"]["coding"] == [ours]  # type: ignore[index]


def test_override_reasons_may_have_codes_of_the_client_or_be_left_out() -> None:
    own = Coding("12", "urn:oid:1.2", "Stable")

    assert [own] == shaped(override_reasons={"known-stable": own}).override_reasons
    assert CARD.override_reasons == shaped(override_reasons={"other": own}).override_reasons
    assert [] == shaped(omits=("override_reasons",)).override_reasons


@pytest.mark.parametrize(("service", "client", "most"), [(3, 0, 3), (3, 2, 2), (3, 5, 3)])
def test_a_client_may_show_fewer_cards_than_a_service_allows(service: int, client: int, most: int) -> None:
    assert most == Profile(card_limit=client).most_cards(service)
