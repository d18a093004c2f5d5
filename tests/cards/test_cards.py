"""
Whole cards, as an EHR receives them: CHECKLIST.md section F, KNOWLEDGE.md 5.0, EHRS.md.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from fhir.resources.R4B.servicerequest import ServiceRequest

from cds_service.cards import suggestions
from cds_service.rules.book import RuleBook
from tests.build import (
    CALCINOSIS,
    LEFT_OUT,
    NECROSIS,
    PATIENT,
    RXNORM,
    Resource,
    bundle,
    concept,
    condition,
    observation,
    prescription,
    quantity,
)
from tests.conftest import Ask

HOSTILE = "<img src=x onerror=alert(1)> [x](http://evil.example) `a` www!evil!example \u202e"
KIDNEY = [condition(), observation(value=8.1), observation("calcium-total", 9.5), observation("albumin", 3.0)]
EVERYTHING = [
    *KIDNEY,
    condition(concept(NECROSIS, "http://snomed.info/sct", "Necrosis of the left calf"), days=5),
    condition(CALCINOSIS),
    prescription(medicationCodeableConcept=concept("855332", RXNORM, "Warfarin 5 mg")),
]


def cards(answer: Any) -> list[Resource]:
    """Return the cards of an answer."""
    assert 200 == answer.status_code

    return list(answer.json["cards"])


@pytest.fixture(scope="module")
def all_cards(ask: Ask) -> list[Resource]:
    return cards(ask(*EVERYTHING))


def test_cards_come_with_the_most_urgent_first(all_cards: list[Resource]) -> None:
    order = ["critical", "warning", "info"]
    indicators = [card["indicator"] for card in all_cards]

    assert "critical" == indicators[0]
    assert sorted(indicators, key=order.index) == indicators


def test_a_summary_is_one_short_line(all_cards: list[Resource]) -> None:
    assert all(0 < len(card["summary"]) < 140 and "\n" not in card["summary"] for card in all_cards)


def test_every_card_and_every_suggestion_has_an_id_of_its_own(all_cards: list[Resource]) -> None:
    ids = [card["uuid"] for card in all_cards]
    ids += [one["uuid"] for card in all_cards for one in card.get("suggestions", ())]

    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", one) for one in ids)


def test_a_topic_is_static_and_of_letters_and_digits_only(ask: Ask, all_cards: list[Resource]) -> None:
    """
    Epic remembers a clinician's lockout by it.
    """
    again = cards(ask(*EVERYTHING))
    codes = [card["source"]["topic"]["code"] for card in all_cards]

    assert codes == [card["source"]["topic"]["code"] for card in again]
    assert all(re.fullmatch(r"[A-Za-z0-9]{1,100}", code) for code in codes)


def test_suggestions_may_be_taken_one_by_one(all_cards: list[Resource]) -> None:
    offering = [card for card in all_cards if card.get("suggestions")]

    assert offering
    assert {"any"} == {card["selectionBehavior"] for card in offering}
    assert {1} == {len(one["actions"]) for card in offering for one in card["suggestions"]}


def test_every_suggestion_creates_a_draft_that_fhir_accepts(all_cards: list[Resource]) -> None:
    actions = [one["actions"][0] for card in all_cards for one in card.get("suggestions", ())]

    for action in actions:
        ServiceRequest.model_validate(action["resource"])
    assert {("create", "draft", "proposal", f"Patient/{PATIENT}")} == {
        (
            action["type"],
            action["resource"]["status"],
            action["resource"]["intent"],
            action["resource"]["subject"]["reference"],
        )
        for action in actions
    }


def test_a_suggestion_belongs_to_the_encounter_of_the_call(ask: Ask) -> None:
    context = {"userId": "Practitioner/1", "patientId": PATIENT, "encounterId": "enc-1"}
    resources = [
        one["actions"][0]["resource"] for card in cards(ask(*KIDNEY, context=context)) for one in card["suggestions"]
    ]

    assert {"Encounter/enc-1"} == {resource["encounter"]["reference"] for resource in resources}


def test_every_order_in_the_content_makes_a_service_request_that_fhir_accepts(book: RuleBook) -> None:
    words = book.terminology

    for order in words.orders.values():
        ServiceRequest.model_validate(suggestions.service_request(order, words.systems.uri(order.system)))


def test_the_same_test_is_offered_once_on_a_card_of_several_findings(all_cards: list[Resource]) -> None:
    for card in all_cards:
        labels = [one["label"] for one in card.get("suggestions", ())]

        assert len(set(labels)) == len(labels)


def test_every_override_reason_has_code_system_and_display(all_cards: list[Resource]) -> None:
    reasons = [reason for card in all_cards for reason in card["overrideReasons"]]

    assert all({"code", "system", "display"} == set(reason) for reason in reasons)


def test_the_detail_says_why_and_with_which_values_from_when(ask: Ask) -> None:
    [card] = [card for card in cards(ask(*KIDNEY)) if "8.1" in card["summary"]]

    assert "Why you see this" in card["detail"]
    assert "8.1 mg/dL" in card["detail"]
    assert "2026-02-19" in card["detail"]
    assert "Clinical judgement prevails" in card["detail"]


def test_the_detail_shows_a_value_as_reported_and_converted(ask: Ask) -> None:
    [card] = cards(
        ask(
            condition(), observation(value=2.6, unit="mmol/L"), observation("calcium-total", 9), observation("pth", 300)
        )
    )

    assert "2.6 mmol/L (8.1 mg/dL)" in card["detail"]


def test_a_card_names_every_rule_that_it_speaks_for(all_cards: list[Resource]) -> None:
    rules = [rule for card in all_cards for rule in card["extension"]["org.calcinosis-cds"]["rules"]]

    assert all({"id", "version", "verdict"} == set(rule) for rule in rules)
    assert {"yes"} == {rule["verdict"] for rule in rules}
    assert len({rule["id"] for rule in rules}) == len(rules)


def test_what_could_not_be_evaluated_is_said_and_why(ask: Ask) -> None:
    answer = ask(*KIDNEY, values={"medications": LEFT_OUT, "statements": LEFT_OUT}).json or {}
    gaps = {gap["rule"]: gap["missing"] for gap in answer["extension"]["org.calcinosis-cds"]["not_evaluated"]}

    assert gaps["vka-calciphylaxis-risk"]


def test_what_was_held_back_is_said(ask: Ask) -> None:
    answer = ask(*EVERYTHING, observation("calcium-total", 13, days=3)).json or {}
    shown = {rule["id"] for card in answer["cards"] for rule in card["extension"]["org.calcinosis-cds"]["rules"]}
    held = {one["rule"] for one in answer.get("extension", {}).get("org.calcinosis-cds", {}).get("held_back", ())}

    assert not shown & held


@pytest.mark.parametrize(
    "resource",
    [
        condition(concept(NECROSIS, "http://snomed.info/sct", HOSTILE), days=5),
        condition(concept("46177005", "http://snomed.info/sct", HOSTILE)),
        prescription(medicationCodeableConcept=concept("855332", RXNORM, HOSTILE)),
        prescription(medicationCodeableConcept=concept(text=f"warfarin {HOSTILE}")),
        observation(value=8.2, days=1, valueQuantity=quantity(8.2, unit="mg/dL{" + HOSTILE[:10] + "}")),
    ],
    ids=["lesion", "kidney failure", "drug", "drug by name", "unit"],
)
def test_no_text_of_the_record_can_do_harm_in_a_card(ask: Ask, resource: Resource) -> None:
    answer = ask(condition(), observation(value=8.1), resource)
    text = " ".join(card["summary"] + card["detail"] for card in cards(answer))

    assert not re.search(r"<[a-z/!]|http|www\.|\u202e|`|\]\(", text, re.IGNORECASE)


def test_a_patient_who_died_gets_no_advice(ask: Ask) -> None:
    from tests.build import patient

    answer = ask(*EVERYTHING, values={"patient": patient(deceasedBoolean=True)}).json or {}

    assert [] == answer["cards"]
    assert 8 <= len(answer["extension"]["org.calcinosis-cds"]["not_evaluated"])


def test_nothing_to_say_is_an_empty_list(ask: Ask) -> None:
    assert [] == cards(ask())


def test_an_incomplete_list_is_said_on_the_card(ask: Ask) -> None:
    link = [{"relation": "next", "url": "https://ehr.example/fhir?page=2"}]
    [card] = cards(ask(condition(), values={"observations": bundle(observation(value=8.1), link=link)}))

    assert "more pages exist than were sent" in card["detail"]


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("warfarin sodium 5 MG Oral Tablet [Coumadin]", "Warfarin"),
        ("Jantoven 5 MG (warfarin sodium) Oral Tablet", "Warfarin"),
        ("Warfarin 5 mg", "Warfarin 5 mg"),
        ("Antivitamin-K-Präparat 5 mg Filmtabletten, 98 Stück", "Antivitamin-K-Präparat"),
    ],
)
def test_a_long_product_name_is_cut_to_what_it_is_in_the_summary_only(ask: Ask, name: str, called: str) -> None:
    drug = prescription(medicationCodeableConcept=concept("855332", RXNORM, name))
    [card] = [one for one in cards(ask(condition(), drug)) if "linked to calciphylaxis" in one["summary"]]

    assert card["summary"].startswith(f"{called} is linked")
    assert name.partition(" [")[0] in card["detail"]


def test_how_a_source_was_verified_stands_in_one_pair_of_parentheses(all_cards: list[Resource]) -> None:
    details = "".join(card["detail"] for card in all_cards)

    assert "(abstract verified, case-control)" in details
    assert "))" not in details.replace("(95347000))", "")


def test_units_are_spelled_in_one_way(ask: Ask) -> None:
    text = str(cards(ask(*KIDNEY, observation("calcium-total", 9.5, days=9.9))))

    assert "mg²/dL²" in text
    assert "mg2" not in text


def test_the_type_of_calcinosis_is_said_where_a_rule_wants_it(ask: Ask) -> None:
    details = "".join(card["detail"] for card in cards(ask(condition(CALCINOSIS), observation(value=4.0))))

    assert "**Type of calcinosis**" in details
    assert "cannot be classified" in details
