"""What is drawn: every usable result where rules saw it, every limit in force, everything that was set aside."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from cds_service.drawing import svg
from cds_service.drawing.limits import limits
from cds_service.drawing.model import Panel, Picture
from cds_service.drawing.trends import picture
from cds_service.facts import Facts
from cds_service.facts.calcium import products
from cds_service.rules.book import RuleBook
from cds_service.rules.evaluation import evaluate
from tests.build import (
    ATC,
    ESKD,
    LEFT_OUT,
    NOW,
    bundle,
    concept,
    condition,
    day,
    observation,
    outcome,
    patient,
    prescription,
    procedure,
    quantity,
)
from tests.drawing.conftest import Draw, Tell

SICK = (
    condition(ESKD),
    observation("phosphate", 6.2, days=70),
    observation("phosphate", 6.6, days=40),
    observation("phosphate", 7.1, days=10),
    observation("calcium-total", 9.0, days=40),
    observation("calcium-total", 9.0, days=10),
    observation("albumin", 3.5, days=10),
    observation("pth", 342, days=10),
)


def panel(picture: Picture, name: str) -> Panel:
    return next(one for one in picture.panels if one.name == name)


def test_the_usual_panels_are_always_there(drawn: Draw) -> None:
    assert ["calcium-total", "phosphate", "ca-p-product", "pth"] == [one.name for one in drawn(*SICK).panels]
    assert ["calcium-total", "calcium-ionized", "phosphate", "ca-p-product", "pth"] == [
        one.name for one in drawn(*SICK, observation("calcium-ionized", 1.2, days=3)).panels
    ]


def test_every_usable_result_is_drawn_oldest_first(drawn: Draw) -> None:
    marks = panel(drawn(*SICK), "phosphate").marks

    assert [Decimal("6.2"), Decimal("6.6"), Decimal("7.1")] == [mark.value for mark in marks]
    assert [False, False, True] == [mark.rests for mark in marks]


def test_calcium_is_drawn_as_measured_and_as_corrected(drawn: Draw) -> None:
    measured, corrected = panel(drawn(*SICK), "calcium-total").traces

    assert ("measured", "corrected for albumin") == (measured.label, corrected.label)
    assert [Decimal("9.0"), Decimal("9.0")] == [mark.value for mark in measured.marks]
    # Only the newer calcium has an albumin within seven days: 9.0 + 0.8 x (4.0 - 3.5).
    assert [Decimal("9.40")] == [mark.value for mark in corrected.marks]
    assert any("estimate" in note for note in corrected.marks[0].notes)


def test_the_product_is_drawn_of_every_pair_and_not_of_the_newest_three_only(
    drawn: Draw, taken: Callable[..., Facts]
) -> None:
    many = [
        one
        for days in range(5, 80, 10)
        for one in (observation("phosphate", 6, days=days), observation("calcium-total", 9, days=days))
    ]

    assert 8 == len(panel(drawn(condition(ESKD), *many), "ca-p-product").marks)
    assert 8 == len(products(taken(condition(ESKD), *many), 72))
    # A calcium three days and an hour away is no pair for a window of 72 hours.
    assert [] == list(
        products(taken(observation("phosphate", 6, days=1), observation("calcium-total", 9, days=4.1)), 72)
    )


def test_a_reported_product_stands_in_where_none_can_be_computed(taken: Callable[..., Facts]) -> None:
    [one] = products(taken(observation("cap-product", 71, days=3)), 72)

    assert "product reported by the laboratory" in one.notes


def test_a_bound_stays_a_bound(drawn: Draw) -> None:
    value = quantity(12, "mg/dL", comparator=">")
    [mark] = panel(drawn(condition(ESKD), observation(valueQuantity=value)), "phosphate").marks

    assert (">", ">12", ">12 mg/dL") == (mark.comparator, mark.short, mark.said)


def test_values_of_another_unit_stand_in_ours_and_are_said_in_both(drawn: Draw) -> None:
    phosphate = panel(drawn(condition(ESKD), observation("phosphate", 2.31, "mmol/L")), "phosphate")

    assert Decimal("7.15") == phosphate.marks[0].value.quantize(Decimal("0.01"))
    assert "2.31 mmol/L (7.2 mg/dL)" == phosphate.marks[0].said
    assert "5.5 mg/dL (1.78 mmol/L)" == phosphate.limits[0].said


def test_what_was_set_aside_has_a_letter_and_a_reason(drawn: Draw) -> None:
    found = drawn(
        *SICK,
        observation("phosphate", 9, days=5, status="preliminary"),
        observation("phosphate", 9, days=4, status="entered-in-error"),
        observation("calcium-total", 9, days=3, valueQuantity=quantity(9, LEFT_OUT)),
    )

    assert [("a", "Calcium", "its unit is missing")] == [
        (one.letter, one.what, one.reason) for one in panel(found, "calcium-total").asides
    ]
    assert [("b", "it is preliminary"), ("c", "it is entered in error")] == [
        (one.letter, one.reason) for one in panel(found, "phosphate").asides
    ]


# --- limits ---------------------------------------------------------------------------------------------------------


def test_limits_are_the_thresholds_in_force_with_their_rules(drawn: Draw) -> None:
    phosphate, product = (panel(drawn(*SICK), name).limits for name in ("phosphate", "ca-p-product"))

    # Above the second the card calls it marked.
    assert [(Decimal("5.5"), ">", "5.5 mg/dL", ("CC-01",)), (Decimal("7.0"), ">", "7 mg/dL", ("CC-01",))] == [
        (one.value, one.sign, one.said, one.rules) for one in phosphate
    ]
    # "above 55 and at most 70" is one band between two lines.
    assert [(Decimal(55), ">", True, Decimal(70)), (Decimal(70), "\u2264", False, None)] == [
        (one.value, one.sign, one.shaded, one.to) for one in product
    ]


def test_every_limit_of_the_picture_is_one_of_the_rule_book(book: RuleBook, drawn: Draw) -> None:
    known = {
        Decimal(dated.value)
        for rule in book.rules.values()
        for one in rule.thresholds.values()
        for dated in one.values
        if not isinstance(dated.value, bool)
    }

    assert {one.value for shown in drawn(*SICK).panels for one in shown.limits} <= known


def test_pth_limits_are_multiples_of_the_laboratorys_own_limit(drawn: Draw) -> None:
    high = observation("pth", 1100, days=10, referenceRange=[{"high": quantity(100, "pg/mL")}])
    shown = panel(drawn(condition(ESKD), observation("phosphate", 5), high), "pth").limits

    assert [(Decimal(200), "200 pg/mL (2 x ULN)"), (Decimal(900), "900 pg/mL (9 x ULN)")] == [
        (one.value, one.said) for one in shown
    ]


@pytest.mark.parametrize(
    ("born", "found"),
    [
        ("1967-11-20", ["10.5", "12", "14"]),
        ("2025-12-20", ["10.5", "11", "12", "14"]),
        ("2025", ["10.5", "11", "12", "14"]),
    ],
)
def test_limits_of_an_age_that_the_patient_surely_does_not_have_are_left_out(
    book: RuleBook, taken: Callable[..., Facts], born: str, found: list[str]
) -> None:
    """In the first year of life a calcium counts as high above 11 mg/dL only (KNOWLEDGE 2.1)."""
    rule = book.rules["hypercalcemia-workup"]
    facts = taken(patient(birthDate=born), observation("calcium-total", 15))
    shown = limits([evaluate(rule, facts, book.values(rule, NOW.date()))], facts)

    assert found == [f"{one.value.normalize():f}" for one in shown["corrected-calcium"]]


def test_what_a_rule_asks_not_to_be_is_a_line_without_shade(book: RuleBook, taken: Callable[..., Facts]) -> None:
    """ "not advanced CKD" compares the eGFR; "not (in the first year and not above 11)" turns round twice."""
    rule = book.rules["hypercalcemia-workup"]
    facts = taken(patient(birthDate="2025-12-20"), observation("calcium-total", 15))
    shown = limits([evaluate(rule, facts, book.values(rule, NOW.date()))], facts)

    assert [False] == [one.shaded for one in shown["egfr"]]
    assert [True] * 4 == [one.shaded for one in shown["corrected-calcium"]]


def test_every_rule_can_be_drawn(book: RuleBook, taken: Callable[..., Facts]) -> None:
    """Whatever a rule compares, its limits have a number, a unit and a meaning."""
    facts, drawn = taken(*SICK), 0
    for rule in book.rules.values():
        outcome = evaluate(rule, facts, book.values(rule, NOW.date()))
        for shown in limits([outcome], facts).values():
            drawn += len(shown)
            assert all(one.value > 0 and one.said and one.means and one.rules == (rule.number,) for one in shown)

    assert drawn > 50


# --- missing --------------------------------------------------------------------------------------------------------


def test_a_test_without_results_says_so(drawn: Draw) -> None:
    assert "No usable result on record." == panel(drawn(condition(ESKD), observation()), "pth").remark


def test_results_that_were_not_loaded_are_not_called_missing(taken: Callable[..., Facts], book: RuleBook) -> None:
    shown = picture(taken(condition(ESKD), values={"observations": outcome()}), [], book)

    assert all("the EHR could not load it" in one.remark for one in shown.panels)


def test_before_the_first_day_that_is_known_nothing_is_known(drawn: Draw) -> None:
    page = bundle(observation(days=3), observation(days=40), link=[{"relation": "next", "url": "https://x/y"}])
    shown = drawn(condition(ESKD), values={"observations": page})

    assert all(one.known_from is not None for one in shown.panels)
    assert any("not known (hatched)" in note for note in shown.notes)


# --- treatments -----------------------------------------------------------------------------------------------------


def test_medicines_and_dialysis_share_the_time_axis(drawn: Draw) -> None:
    shown = drawn(
        *SICK,
        procedure(days=2),
        procedure(days=4),
        prescription(authoredOn=day(30)),
        prescription(
            "V03AE02", ATC, authoredOn=LEFT_OUT, medicationCodeableConcept=concept("V03AE02", ATC, "Sevelamer")
        ),
    )
    dialysis, warfarin, sevelamer = shown.lanes

    assert (2, 1) == (len(dialysis.ticks), len(dialysis.bars))
    assert warfarin.label.startswith("Vitamin K antagonist")
    assert warfarin.label.endswith("since 30 Jan 2026")
    assert (None, True) == (sevelamer.bars[0].start, sevelamer.bars[0].ongoing)
    assert "start not recorded" in sevelamer.label


def test_what_ended_ends(drawn: Draw) -> None:
    ended = prescription(
        status="completed",
        dosageInstruction=[{"timing": {"repeat": {"boundsPeriod": {"start": day(80), "end": day(20)}}}}],
    )
    shown = drawn(*SICK, values={"pastMedications": bundle(ended)})
    [bar] = next(lane for lane in shown.lanes if "Vitamin K" in lane.label).bars

    assert not bar.ongoing


def test_no_medicine_and_no_dialysis_is_said(drawn: Draw) -> None:
    dialysis, medicines = drawn(condition("21323007"), observation()).lanes

    assert "No dialysis procedure on record." == dialysis.remark
    assert medicines.remark.startswith("None on record of: vitamin K antagonist, calcium")


def test_medicines_that_were_not_loaded_are_not_called_missing(drawn: Draw) -> None:
    shown = drawn(condition(ESKD), observation(), values={"medications": LEFT_OUT})

    assert any("Not known: medications: not sent." == lane.remark for lane in shown.lanes)


# --- words ----------------------------------------------------------------------------------------------------------


def test_the_view_tells_the_trail_the_thresholds_and_the_sources(told: Tell) -> None:
    found = told(*SICK)
    first = found.rules[0]

    assert "female, 58 years" == found.who
    assert "1 Mar 2026, 12:00 UTC" == found.moment
    assert ("eskd-hyperphosphatemia", "YES", "YES") == (first.id, first.verdict, first.trail.verdict)
    assert {"YES", "NO"} <= {line.verdict for top in first.trail.lines for line in (top, *top.lines)}
    assert first.evidence
    assert any(one.value == "5.5 mg/dL" for one in first.limits)


def test_the_description_says_what_the_picture_shows(told: Tell) -> None:
    said = told(*SICK).description

    assert "Phosphate: 3 results, newest 7.1 mg/dL on 2026-02-19; thresholds > 5.5 mg/dL, > 7 mg/dL." in said
    assert "newest 9.4 mg/dL (corrected for albumin)" in said


def test_what_was_set_aside_elsewhere_is_counted_with_its_reason(told: Tell) -> None:
    refuted = condition("95347000", verificationStatus=concept("refuted"))
    found = told(*SICK, refuted, observation("phosphate", 9, days=5, status="preliminary"))

    assert [("a", "it is preliminary"), ("", "it is refuted")] == [(one.letter, one.reason) for one in found.aside]


def test_words_of_the_record_are_harmless(told: Tell) -> None:
    evil = concept(ESKD, "http://snomed.info/sct", "<script>alert(1)</script> [x](http://evil.example) \u202eabc")
    found = told(condition(code=evil), *SICK[1:])
    said = str(found)

    assert not any(sign in said for sign in ("<script", "http://evil", "\u202e"))


def test_of_many_results_the_newest_are_drawn_and_fewer_listed(told: Tell) -> None:
    many = [observation("phosphate", 5 + number % 3, days=number / 10) for number in range(600)]
    found = told(condition(ESKD), *many)

    assert 200 == len(panel(found.picture, "phosphate").marks)
    assert any("newest 200" in note for note in found.picture.notes)
    assert (60, 140) == (len(found.tables[1].rows), found.tables[1].left_out)


def test_days_are_those_that_were_written_and_moments_keep_their_order(told: Tell) -> None:
    """
    20:00 in California is after midnight of the next day in UTC; a medicine and the newest result are told so too.
    """
    found = told(
        condition(ESKD),
        prescription(authoredOn="2026-02-17T20:00:00-08:00"),
        observation("phosphate", 7.1, effectiveDateTime="2026-02-17T20:00:00-08:00"),
        observation("phosphate", 6.6, effectiveDateTime="2026-02-18T03:00:00Z"),
    )
    rows = next(table.rows for table in found.tables if table.rows)

    assert [("2026-02-17", "7.1 mg/dL"), ("2026-02-18", "6.6 mg/dL")] == [(row.day, row.value) for row in rows]
    assert "on 2026-02-17" in found.description
    assert "since 17 Feb 2026" in found.description
    drawn = svg.draw(found.picture, svg.WIDE, "k", "said")

    assert "17 Feb 2026" in drawn
    assert "18 Feb 2026" not in found.description + drawn
