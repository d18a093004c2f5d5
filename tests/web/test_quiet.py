"""
Less noise over HTTP: nothing repeated in an encounter unless it changed, quiet after an override (KNOWLEDGE.md 5.0.5).
"""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from cds_service.adapters.quiet_memory import QuietMemory
from cds_service.rules.book import RuleBook
from cds_service.web import Settings, create_app
from tests.build import (
    NECROSIS,
    NOW,
    PATIENT,
    RXNORM,
    SERVER,
    SNOMED,
    Resource,
    body,
    concept,
    condition,
    fired,
    observation,
    to_json,
)
from tests.orders import draft, order_call

EXTENSION = "org.calcinosis-cds"
HOUR, DAY = 3_600, 86_400
KIDNEY = [condition(), observation(value=6.0), observation("calcium-total", 9.0), observation("pth", 300)]
PHOSPHATE, LESION = "eskd-hyperphosphatemia", "eskd-skin-lesion-calciphylaxis"


class Ward:
    """A service with a clock that can be moved, asked by users about patients in encounters."""

    def __init__(self, book: RuleBook) -> None:
        self.now = NOW.timestamp()
        self.memory = QuietMemory(b"a key of a test")
        app = create_app(Settings(auth="none"), book=book, clock=lambda: self.now, quiet=self.memory)
        self.client = app.test_client()

    def ask(
        self,
        *resources: Resource,
        hook: str = "patient-view",
        user: str = "Practitioner/dr-1",
        encounter: str = "enc-1",
        **members: Any,
    ) -> Resource:
        """Return the answer to a call."""
        context = {"userId": user, "patientId": PATIENT, **({"encounterId": encounter} if encounter else {})}
        raw = body(*(resources or KIDNEY), hook=hook, context=context, **members)
        response = self.client.post(f"/cds-services/calcinosis-{hook}", data=raw, content_type="application/json")
        assert 200 == response.status_code, response.text
        return dict(response.json or {})

    def override(self, answer: Resource) -> None:
        """Answer every card with an override."""
        for card in answer["cards"]:
            assert self.memory.overridden(card["uuid"], self.now)


@pytest.fixture
def ward(book: RuleBook) -> Ward:
    return Ward(book)


def held(answer: Resource) -> dict[str, str]:
    """Return the rules that were held back, each with the reason."""
    said = answer.get("extension", {}).get(EXTENSION, {}).get("held_back", ())

    return {one["rule"]: one["reason"] for one in said}


# --- the same encounter ----------------------------------------------------------------------------------------------


def test_what_opening_the_chart_showed_is_not_repeated_in_the_encounter(ward: Ward) -> None:
    assert PHOSPHATE in fired(ward.ask())
    answer = ward.ask(hook="encounter-start")

    assert [] == answer["cards"]
    assert "shown earlier in this encounter" == held(answer)[PHOSPHATE]


def test_a_chart_that_is_opened_again_shows_its_cards_again(ward: Ward) -> None:
    assert fired(ward.ask()) == fired(ward.ask())


@pytest.mark.parametrize(
    "difference",
    [
        {"user": "Practitioner/dr-2"},
        {"encounter": "enc-2"},
        {"fhirServer": SERVER},
    ],
    ids=str,
)
def test_another_user_encounter_or_server_sees_the_card(ward: Ward, difference: dict[str, Any]) -> None:
    ward.ask()

    assert PHOSPHATE in fired(ward.ask(hook="encounter-start", **difference))


def test_a_new_result_is_shown_again(ward: Ward) -> None:
    ward.ask()
    answer = ward.ask(*KIDNEY, observation(value=6.0, days=0.1), hook="encounter-start")

    assert PHOSPHATE in fired(answer)


def test_only_what_changed_is_shown_again(ward: Ward) -> None:
    product = [*KIDNEY[:1], observation(value=7.9), observation("calcium-total", 9.5), observation("pth", 300)]
    shown = fired(ward.ask(*product))
    answer = ward.ask(*product, condition(NECROSIS, days=3), hook="encounter-start")

    assert {PHOSPHATE, "ca-p-product-precipitation"} <= set(shown)
    assert LESION in fired(answer)
    assert PHOSPHATE in held(answer)


def test_the_next_day_it_is_shown_again(ward: Ward) -> None:
    ward.ask()
    ward.now += DAY

    assert PHOSPHATE in fired(ward.ask(hook="encounter-start"))


def test_an_answer_that_never_came_is_given_again(ward: Ward) -> None:
    """
    An EHR that timed out asks the same hook again: it must not meet silence.
    """
    assert PHOSPHATE in fired(ward.ask(hook="encounter-start"))
    assert PHOSPHATE in fired(ward.ask(hook="encounter-start"))


def test_a_chart_opened_outside_an_encounter_keeps_nothing_quiet_in_one(ward: Ward) -> None:
    ward.ask(encounter="")

    assert PHOSPHATE in fired(ward.ask(hook="encounter-start"))


def test_what_the_limit_held_back_was_not_shown(book: RuleBook) -> None:
    view = structs.replace(book.services["calcinosis-patient-view"], card_limit=1)
    ward = Ward(structs.replace(book, services={**book.services, "calcinosis-patient-view": view}, memo={}))
    sick = [*KIDNEY, condition(NECROSIS, days=5)]
    answer = ward.ask(*sick)

    assert {PHOSPHATE: "beyond the limit of 1 cards"} == held(answer)
    assert [PHOSPHATE] == list(fired(ward.ask(*sick, hook="encounter-start")))


# --- overrides -------------------------------------------------------------------------------------------------------


def test_after_an_override_the_card_is_quiet_for_everybody_and_says_until_when(ward: Ward) -> None:
    ward.override(ward.ask())
    ward.now += 10 * DAY
    answer = ward.ask(user="Practitioner/dr-2", encounter="another")

    assert PHOSPHATE not in fired(answer)
    assert "overridden on 2026-03-01, quiet until 2026-03-31" == held(answer)[PHOSPHATE]


def test_when_the_quiet_time_is_over_the_card_speaks_again(ward: Ward) -> None:
    ward.override(ward.ask())
    ward.now += 30 * DAY

    assert PHOSPHATE in fired(ward.ask())


@pytest.mark.parametrize(
    ("value", "speaks"),
    [(6.1, False), (6.9, False), (7.0, True), (7.4, True), (5.9, False)],
    ids=["+0.1", "+0.9", "+1.0", "over the severe limit", "lower"],
)
def test_a_result_that_rises_ends_the_quiet_time(ward: Ward, value: float, speaks: bool) -> None:
    ward.override(ward.ask())
    ward.now += DAY
    answer = ward.ask(*KIDNEY, observation(value=value, days=-0.5))

    assert speaks is (PHOSPHATE in fired(answer))


def test_crossing_a_limit_ends_the_quiet_time_however_small_the_step(ward: Ward) -> None:
    before = [KIDNEY[0], observation(value=6.9), *KIDNEY[2:]]
    ward.override(ward.ask(*before))

    assert PHOSPHATE in fired(ward.ask(*before, observation(value=7.1, days=0.1)))


def test_a_critical_card_is_quiet_for_a_week_at_most_and_not_where_a_lesion_is_new(ward: Ward) -> None:
    sick = [*KIDNEY, condition(NECROSIS, days=5)]
    answer = ward.ask(*sick)
    assert "critical" == fired(answer)[LESION]
    ward.override(answer)

    ward.now += 6 * DAY
    assert LESION in held(ward.ask(*sick))
    assert LESION in fired(ward.ask(*sick, condition(concept(NECROSIS, SNOMED, "Necrosis of the arm"), days=1)))
    ward.now += DAY
    assert LESION in fired(ward.ask(*sick))


def test_a_card_that_grew_more_urgent_is_never_quiet(ward: Ward) -> None:
    pain = condition("L89.159", "http://hl7.org/fhir/sid/icd-10-cm", days=5)
    answer = ward.ask(*KIDNEY, pain)
    assert "warning" == fired(answer)[LESION]
    ward.override(answer)

    assert LESION in held(ward.ask(*KIDNEY, pain))
    assert "critical" == fired(ward.ask(*KIDNEY, pain, condition(NECROSIS, days=5)))[LESION]


# --- orders ----------------------------------------------------------------------------------------------------------

HIGH = (condition(), observation(value=8.0, days=2), observation("calcium-total", 9.0, days=2))
ORDER = "calcium-vitd-order-high-product"


def order(ward: Ward, hook: str = "order-select", **members: Any) -> Resource:
    """Return the answer to a call in which calcitriol is being ordered."""
    calcitriol = draft(concept("1894", RXNORM, display="Calcitriol"), **members)
    raw = to_json(order_call(hook, calcitriol, record=HIGH))
    response = ward.client.post(f"/cds-services/calcinosis-{hook}", data=raw, content_type="application/json")
    assert 200 == response.status_code, response.text

    return dict(response.json or {})


def test_an_override_keeps_the_same_order_quiet_for_a_day_while_it_is_chosen(ward: Ward) -> None:
    assert ORDER in fired(order(ward, id="draft-1"))
    answer = order(ward, id="draft-1")
    assert ORDER in fired(answer)
    ward.override(answer)

    assert ORDER in held(order(ward, id="draft-1"))
    assert ORDER in fired(order(ward, id="draft-2"))
    ward.now += DAY
    assert ORDER in fired(order(ward, id="draft-1"))


def test_every_signature_is_asked_anew(ward: Ward) -> None:
    ward.override(order(ward, "order-sign", id="draft-1"))
    ward.override(order(ward, id="draft-1"))

    assert ORDER in fired(order(ward, "order-sign", id="draft-1"))


def test_without_a_memory_nothing_is_quiet(book: RuleBook) -> None:
    """
    Replays and screenings know nobody who has seen a card.
    """
    ward = Ward(book)
    ward.client.application.extensions["cds"].quiet = None
    ward.ask()

    assert PHOSPHATE in fired(ward.ask(hook="encounter-start"))


def test_no_id_of_the_record_is_kept(ward: Ward) -> None:
    ward.override(ward.ask(*KIDNEY, condition(NECROSIS, days=5)))
    kept = repr([vars(part) for part in vars(ward.memory).values() if hasattr(part, "_kept")])

    assert PHOSPHATE in kept
    assert not any(known in kept for known in (PATIENT, "dr-1", "enc-1", NECROSIS))
