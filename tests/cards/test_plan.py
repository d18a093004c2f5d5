"""
The workup on a card: labs, imaging, biopsy with its stains, referrals; only what is missing or stale (KNOWLEDGE 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from cds_service.cards import plan
from cds_service.facts.evidence import YES, Judgement
from cds_service.facts.model import Draft, Facts
from cds_service.rules.book import RuleBook
from cds_service.rules.model import Outcome, Rule
from tests.build import LEFT_OUT, NECROSIS, Resource, condition, observation, prescription, procedure
from tests.conftest import Ask, TakeIn

LABS = ["phosphate", "calcium-total", "albumin", "pth", "alp"]
VIEW = "eskd-hyperphosphatemia"


def card(book: RuleBook, rule: str = VIEW, **members: Any) -> Rule:
    """Return a rule of the project whose card offers something else."""
    known = book.rules[rule]

    return msgspec.structs.replace(known, card=msgspec.structs.replace(known.card, **members))


def planned(
    book: RuleBook, facts: Facts, *rules: Rule, absent: str = "", calciphylaxis: bool = False
) -> tuple[list[str], list[str]]:
    """Return what the card of these rules suggests, and the lines of its plan."""
    found = [
        Outcome(rule, Judgement(YES, "", absent=absent), {"lookback_days": 90, "lab_days": 180}, "warning")  # type: ignore[dict-item]
        for rule in rules
    ]
    result = plan.plan(plan.offers(rules, book.terminology), found, facts, calciphylaxis=calciphylaxis)

    return [offer.order.id for offer in result.suggested], result.lines


def test_what_is_fresh_is_not_suggested_and_what_is_stale_is(book: RuleBook, facts: TakeIn) -> None:
    chart = facts(observation("calcium-total", 9, days=90), observation("albumin", 4, days=91), observation("pth", 200))
    rule = card(book, workup=tuple(LABS), consults=(), repeat=(), fresh_within="")

    assert ["phosphate", "albumin", "alp"] == planned(book, chart, rule)[0]


def test_a_test_to_repeat_is_suggested_although_it_is_fresh(book: RuleBook, facts: TakeIn) -> None:
    rule = card(book, workup=("phosphate",), consults=(), repeat=("phosphate",))
    suggested, lines = planned(book, facts(observation(days=1)), rule)

    assert ["phosphate"] == suggested
    assert ["Labs: Phosphate (repeat)"] == lines


@pytest.mark.parametrize(("days", "known"), [(179, True), (181, False)])
def test_a_rule_says_itself_how_fresh_what_it_reads_must_be(
    book: RuleBook, facts: TakeIn, days: int, *, known: bool
) -> None:
    """
    KNOWLEDGE 2: calcium counts for 180 days in calcinosis, for 90 in kidney failure.
    """
    rule = card(book, "calcinosis-missing-labs", workup=("calcium-total",), consults=(), fresh_within="lab_days")
    chart = facts(observation("calcium-total", 9, days=days))

    assert known is ([] == planned(book, chart, rule)[0])
    assert ["calcium-total"] == planned(book, chart, rule, card(book, workup=("calcium-total",), consults=()))[0]


def test_what_a_rule_found_missing_is_suggested_however_fresh_it_seems(book: RuleBook, facts: TakeIn) -> None:
    rule = card(book, workup=("calcium-total",), consults=(), repeat=())

    assert ["calcium-total"] == planned(book, facts(observation("calcium-total", 9)), rule, absent="Calcium")[0]


def test_calcium_is_known_when_the_laboratory_corrected_it(book: RuleBook, facts: TakeIn) -> None:
    rule = card(book, workup=("calcium-total",), consults=(), repeat=())

    assert [] == planned(book, facts(observation("calcium-corrected", 9)), rule)[0]


@pytest.mark.parametrize(("tests", "suggested"), [(LABS[:3], []), (LABS[:2], ["renal-panel"])])
def test_a_panel_is_known_when_its_tests_are(
    book: RuleBook, facts: TakeIn, tests: Sequence[str], suggested: list[str]
) -> None:
    rule = card(book, workup=("renal-panel",), consults=(), repeat=())

    assert suggested == planned(book, facts(*(observation(test, 4) for test in tests)), rule)[0]


@pytest.mark.parametrize(
    ("known", "suggested"),
    [
        ([], ["renal-panel", "pth"]),
        (["albumin"], ["renal-panel", "pth"]),
        (["albumin", "calcium-total"], ["phosphate", "pth"]),
        (LABS[:3], ["pth"]),
    ],
)
def test_nothing_is_ordered_twice_by_a_test_and_by_its_panel(
    book: RuleBook, facts: TakeIn, known: Sequence[str], suggested: list[str]
) -> None:
    rule = card(book, workup=("renal-panel", *LABS[:4]), consults=(), repeat=())

    assert suggested == planned(book, facts(*(observation(test, 4) for test in known)), rule)[0]


def test_a_test_to_repeat_stands_beside_the_one_that_is_missing(book: RuleBook, facts: TakeIn) -> None:
    rule = card(book, workup=("renal-panel", *LABS[:3]), consults=(), repeat=("phosphate",))
    chart = facts(observation(), observation("calcium-total", 9))

    assert ["phosphate", "albumin"] == planned(book, chart, rule)[0]


def test_an_order_wants_fresher_results(book: RuleBook, facts: TakeIn) -> None:
    rule = card(book, workup=("phosphate", "pth"), consults=(), repeat=(), fresh_within="")
    chart = facts(observation(days=8), observation("pth", 200, days=8))

    assert [] == planned(book, chart, rule)[0]
    assert ["phosphate"] == planned(book, msgspec.structs.replace(chart, about_orders=True), rule)[0]


def test_what_is_being_ordered_is_not_suggested_again(book: RuleBook, facts: TakeIn) -> None:
    orders = tuple(Draft(name, "", "", "code", "", reference=name) for name in ("alp", "nephrology"))
    chart = msgspec.structs.replace(facts(), orders=orders)
    rule = card(book, workup=("pth", "alp"), consults=("nephrology", "dietitian"), repeat=())

    assert ["pth", "dietitian"] == planned(book, chart, rule)[0]


@pytest.mark.parametrize(("days", "suggested"), [(90, ["dermatology"]), (91, ["nephrology", "dermatology"])])
def test_a_consult_that_took_place_lately_is_not_suggested(
    book: RuleBook, facts: TakeIn, days: int, suggested: list[str]
) -> None:
    """
    A consult note is an Observation here, or the referral a Procedure (KNOWLEDGE 2, cons; 5.1, CC-06).
    """
    rule = card(book, workup=(), consults=("nephrology", "dermatology"), repeat=())
    note = observation("34795-5", days=days, valueQuantity=LEFT_OUT, valueString="Seen on the ward")

    assert suggested == planned(book, facts(note), rule)[0]
    assert suggested == planned(book, facts(procedure("306286007", days=days)), rule)[0]


def test_protein_c_and_s_are_not_measured_on_a_vitamin_k_antagonist(book: RuleBook, facts: TakeIn) -> None:
    rule = card(book, workup=("inr", "protein-c", "protein-s"), consults=(), repeat=())

    assert ["inr"] == planned(book, facts(prescription()), rule)[0]
    assert ["inr", "protein-c", "protein-s"] == planned(book, facts(), rule)[0]


def test_a_plan_goes_from_labs_to_referrals(book: RuleBook, facts: TakeIn) -> None:
    rule = card(book, workup=("biopsy", "ecg", "img-xr", "pth"), consults=("woundcare", "dermatology"), repeat=())
    suggested, lines = planned(book, facts(), rule)

    assert ["pth", "img-xr", "ecg", "biopsy", "woundcare", "dermatology"] == suggested
    assert ["Labs", "Imaging", "Examinations", "Biopsy", "Consults"] == [line.partition(":")[0] for line in lines]
    assert "von Kossa or alizarin red" in lines[3]


def test_where_calciphylaxis_is_possible_a_biopsy_is_text_with_its_caution(book: RuleBook, facts: TakeIn) -> None:
    rule = card(book, workup=("biopsy", "path-skin"), consults=(), repeat=())
    suggested, [line] = planned(book, facts(), rule, calciphylaxis=True)

    assert [] == suggested
    assert "after dermatology advice (risk of a new ulcer)" in line
    assert "dermatology advice" not in planned(book, facts(), rule)[1][0]


def test_a_card_has_few_buttons_and_some_of_every_kind(book: RuleBook, facts: TakeIn) -> None:
    wide = book.rules["eskd-skin-lesion-calciphylaxis"]
    suggested, lines = planned(book, facts(), wide, calciphylaxis=True)
    steps = [book.terminology.orders[name].category for name in suggested]

    assert plan.MOST == len(suggested)
    assert {"laboratory": 4, "imaging": 1, "referral": 2, "procedure": 1} == {one: steps.count(one) for one in steps}
    assert all(book.terminology.orders[name].name in "\n".join(lines) for name in wide.card.consults)


def test_buttons_that_are_free_are_given_to_what_comes_next(book: RuleBook, facts: TakeIn) -> None:
    consults = tuple(book.rules["eskd-skin-lesion-calciphylaxis"].card.consults)

    assert [*consults] == planned(book, facts(), card(book, workup=(), consults=consults))[0]
    many = (*consults, "rheumatology", "oncology", "genetics")
    assert plan.MOST == len(planned(book, facts(), card(book, workup=(), consults=many))[0])


# --- whole cards -----------------------------------------------------------------------------------------------------

SICK = [condition(), observation(value=6.0, days=2), observation("calcium-total", 9, days=2)]


def speaking(answer: Any, rule: str) -> Resource:
    """Return the card that speaks for a rule."""
    return next(
        dict(one) for one in answer.json["cards"] if rule in str(one["extension"]["org.calcinosis-cds"]["rules"])
    )


def test_a_card_suggests_what_its_plan_says(ask: Ask) -> None:
    found = speaking(ask(*SICK), VIEW)
    labels = [one["label"] for one in found["suggestions"]]

    assert "Order serum phosphate" in labels
    assert "Order serum calcium" not in labels
    assert "- Labs: Phosphate (repeat), Albumin, PTH, ALP" in found["detail"]
    assert "- Consults: Nephrology, Dietitian" in found["detail"]


def test_no_order_is_offered_twice_where_labs_are_missing_too(ask: Ask) -> None:
    offered = [one["label"] for found in ask(*SICK).json["cards"] for one in found["suggestions"]]  # type: ignore[index]

    assert "Order intact PTH" in offered
    assert len(set(offered)) == len(offered)


def test_no_card_offers_a_biopsy_where_calciphylaxis_is_possible(ask: Ask) -> None:
    for one in ask(*SICK, condition(NECROSIS, days=5)).json["cards"]:  # type: ignore[index]
        assert "biopsy" not in str(one.get("suggestions", "")).casefold()
