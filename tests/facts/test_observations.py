"""
Laboratory results: what counts, what is set aside, and why (RELIABILITY.md section 4, KNOWLEDGE.md 2.2).
"""

from __future__ import annotations

from decimal import Decimal
from time import process_time
from typing import Any

import pytest

from cds_service.facts import Facts, Policy
from tests.build import LEFT_OUT, LOINC, UCUM, Resource, ago, concept, observation, quantity, reasons, token
from tests.conftest import TakeIn


def values(found: Facts, test: str = "phosphate") -> list[Decimal]:
    """List the usable values of a test, newest first."""
    return [result.value for result in found.measurements.get(test, ())]


# --- status ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["final", "amended", "corrected"])
def test_final_and_corrected_results_count(facts: TakeIn, status: str) -> None:
    assert [Decimal("7.1")] == values(facts(observation(status=status)))


@pytest.mark.parametrize("status", ["registered", "preliminary", "cancelled", "entered-in-error", "unknown"])
def test_other_statuses_are_set_aside_under_their_name(facts: TakeIn, status: str) -> None:
    found = facts(observation(status=status))

    assert ([], [f"status-{status}"]) == (values(found), reasons(found))


@pytest.mark.parametrize("status", ["Final", "FINAL", "draft", "", LEFT_OUT], ids=repr)
def test_a_status_that_fhir_does_not_know_is_not_trusted(facts: TakeIn, status: Any) -> None:
    found = facts(observation(status=status))

    assert ([], ["status-unknown"]) == (values(found), reasons(found))


def test_a_site_may_let_preliminary_results_count_and_they_say_so(facts: TakeIn) -> None:
    [result] = facts(observation(status="preliminary"), policy=Policy(allow_preliminary=True)).measurements["phosphate"]

    assert "preliminary" in result.notes


def test_letting_preliminary_results_count_lets_no_other_status_count(facts: TakeIn) -> None:
    found = facts(observation(status="registered"), policy=Policy(allow_preliminary=True))

    assert [] == values(found)


def test_a_preliminary_result_is_never_newer_than_a_final_one_of_the_same_moment(facts: TakeIn) -> None:
    found = facts(
        observation(value=9.9, status="preliminary", issued=ago(1)),
        observation(value=5.0, issued=ago(2)),
        policy=Policy(allow_preliminary=True),
    )

    assert Decimal("5.0") == values(found)[0]


# --- what a number is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("7.1", "7.1"),
        ("7.10", "7.10"),
        ("7", "7"),
        ("71e-1", "7.1"),
        ("0.71E1", "7.1"),
        ("2.8645540033345416", "2.8645540033345416"),
        ("7.123456789012345678901234567890", "7.123456789012345678901234567890"),
    ],
)
def test_a_number_is_read_digit_by_digit(facts: TakeIn, written: str, read: str) -> None:
    [result] = facts(observation(value=token(written))).measurements["phosphate"]

    assert Decimal(read) == result.reported


@pytest.mark.parametrize(
    "written",
    ['"7.1"', "true", "false", "[7.1]", '{"value":7.1}', "1e400", "-1e400", "1" * 50, "7." + "1" * 60, "1e999999999"],
)
def test_what_is_no_plain_number_is_set_aside(facts: TakeIn, written: str) -> None:
    found = facts(observation(value=token(written)))

    assert [] == values(found)
    assert reasons(found)[0] in {"not-numeric", "misfit"}


@pytest.mark.parametrize("value", [-5, 0, 0.29, 25.1, 104, 7100])
def test_a_value_that_no_living_patient_has_is_set_aside(facts: TakeIn, value: float) -> None:
    found = facts(observation(value=value))

    assert ([], ["implausible"]) == (values(found), reasons(found))


def test_zero_counts_where_it_is_possible(facts: TakeIn) -> None:
    assert [Decimal(0)] == values(facts(observation("egfr", 0)), "egfr")


def test_an_implausible_value_is_judged_after_conversion(facts: TakeIn) -> None:
    """
    104 mg/dL is the usual slip for 10.4; 2.6 mmol/L is 10.4 mg/dL and fine.
    """
    assert ["implausible"] == reasons(facts(observation("calcium-total", 104)))
    assert [] == reasons(facts(observation("calcium-total", 2.6, "mmol/L")))


# --- comparators -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", ["<", "<=", ">", ">="])
def test_a_comparator_is_kept(facts: TakeIn, sign: str) -> None:
    [result] = facts(observation(valueQuantity=quantity(7.1, comparator=sign))).measurements["phosphate"]

    assert sign == result.comparator


@pytest.mark.parametrize("sign", ["ad", "~", "=", "≥", "<<", " <"])
def test_an_unknown_comparator_makes_the_result_unusable(facts: TakeIn, sign: str) -> None:
    found = facts(observation(valueQuantity=quantity(7.1, comparator=sign)))

    assert ([], ["comparator-unknown"]) == (values(found), reasons(found))


# --- other kinds of value --------------------------------------------------------------------------------------------

OTHER_VALUES: list[tuple[str, Any]] = [
    ("valueString", "8.6"),
    ("valueString", "8,6"),
    ("valueString", "<0.1"),
    ("valueString", "8.6 H"),
    ("valueString", "hemolyzed"),
    ("valueInteger", 8),
    ("valueBoolean", True),
    ("valueCodeableConcept", concept(text="high")),
    ("valueRange", {"low": {"value": 1}}),
    ("valueRatio", {"numerator": {"value": 1}}),
    ("valueSampledData", {"data": "1 2"}),
    ("valueTime", "10:00:00"),
    ("valueDateTime", "2026-01-01"),
    ("valuePeriod", {"start": "2026-01-01"}),
]


@pytest.mark.parametrize(("member", "value"), OTHER_VALUES, ids=[f"{name}={value}" for name, value in OTHER_VALUES])
def test_only_a_quantity_is_a_number(facts: TakeIn, member: str, value: Any) -> None:
    found = facts(observation(valueQuantity=LEFT_OUT, **{member: value}))

    assert ([], ["not-numeric"]) == (values(found), reasons(found))


@pytest.mark.parametrize(("member", "value"), OTHER_VALUES, ids=[f"{name}={value}" for name, value in OTHER_VALUES])
def test_two_values_at_once_are_ambiguous(facts: TakeIn, member: str, value: Any) -> None:
    found = facts(observation(**{member: value}))

    assert ([], ["ambiguous"]) == (values(found), reasons(found))


def test_a_result_without_a_value_is_set_aside(facts: TakeIn) -> None:
    assert ["no-value"] == reasons(facts(observation(valueQuantity=LEFT_OUT)))


def test_a_quantity_without_a_number_is_set_aside(facts: TakeIn) -> None:
    found = facts(observation(valueQuantity={"unit": "mg/dL"}))

    assert ([], ["not-numeric"]) == (values(found), reasons(found))


@pytest.mark.parametrize("value", [LEFT_OUT, quantity(7.1)], ids=["alone", "beside a value"])
def test_a_reason_for_absence_makes_the_result_unusable(facts: TakeIn, value: Any) -> None:
    found = facts(observation(valueQuantity=value, dataAbsentReason=concept("error")))

    assert ([], ["data-absent"]) == (values(found), reasons(found))


def test_null_members_are_as_good_as_left_out(facts: TakeIn) -> None:
    found = facts(observation(valueString=None, dataAbsentReason=None, modifierExtension=None, implicitRules=None))

    assert [Decimal("7.1")] == values(found)


# --- dates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dated", "shown"),
    [
        ({"effectiveDateTime": "2026-02-17T10:00:00Z"}, "2026-02-17"),
        ({"effectiveDateTime": LEFT_OUT, "effectiveInstant": "2026-02-17T10:00:00Z"}, "2026-02-17"),
        (
            {"effectiveDateTime": LEFT_OUT, "effectivePeriod": {"start": "2026-02-15", "end": "2026-02-17"}},
            "2026-02-17",
        ),
        ({"effectiveDateTime": LEFT_OUT, "effectivePeriod": {"start": "2026-02-15"}}, "2026-02-15"),
        ({"effectiveDateTime": LEFT_OUT, "effectivePeriod": {"end": "2026-02-17"}}, "2026-02-17"),
        ({"effectiveDateTime": LEFT_OUT, "issued": "2026-02-17T10:00:00Z"}, "2026-02-17"),
    ],
    ids=["dateTime", "instant", "end of period", "start of open period", "period with an end only", "issued"],
)
def test_a_result_is_dated_by_the_best_that_is_known(facts: TakeIn, dated: Resource, shown: str) -> None:
    [result] = facts(observation(**dated)).measurements["phosphate"]

    assert shown == result.when.day


def test_a_result_dated_by_when_it_was_issued_says_so(facts: TakeIn) -> None:
    found = facts(observation(effectiveDateTime=LEFT_OUT, issued=ago(3)))

    assert "dated by when it was issued" in found.measurements["phosphate"][0].notes


def test_a_time_without_a_zone_is_read_as_utc_and_says_so(facts: TakeIn) -> None:
    [result] = facts(observation(effectiveDateTime="2026-02-17T10:00:00")).measurements["phosphate"]

    assert "time zone not recorded, read as UTC" in result.notes


@pytest.mark.parametrize(
    "dated",
    [
        {"effectiveDateTime": "2026-02-30"},
        {"effectiveDateTime": "2026-02-30", "issued": "2026-02-17T10:00:00Z"},
        {"effectiveDateTime": "yesterday"},
        {"effectiveDateTime": LEFT_OUT, "effectivePeriod": {"start": "2026-02-17", "end": "2026-02-15"}},
        {"effectiveDateTime": LEFT_OUT, "effectivePeriod": {"start": "2026-02-15", "end": "2026-02-31"}},
        {"effectiveDateTime": LEFT_OUT, "issued": "2026-02-30T10:00:00Z"},
    ],
    ids=["no such day", "no such day, but issued", "words", "end before start", "no such end", "no such issue"],
)
def test_a_date_that_is_none_sets_the_result_aside(facts: TakeIn, dated: Resource) -> None:
    found = facts(observation(**dated))

    assert ([], ["bad-date"]) == (values(found), reasons(found))


@pytest.mark.parametrize(
    "dated",
    [
        {"effectiveDateTime": LEFT_OUT},
        {"effectiveDateTime": LEFT_OUT, "effectivePeriod": {}},
        {"effectiveDateTime": LEFT_OUT, "effectiveTiming": {"event": ["2026-02-17"]}, "issued": "2026-02-17T10:00:00Z"},
    ],
    ids=["no date", "empty period", "a schedule"],
)
def test_a_result_without_a_date_is_set_aside(facts: TakeIn, dated: Resource) -> None:
    found = facts(observation(**dated))

    assert [] == values(found)
    assert reasons(found)[0] in {"undated", "bad-date"}


@pytest.mark.parametrize(("when", "counts"), [(ago(-0.9), True), (ago(-1.1), False), ("2199-01-01", False)])
def test_a_result_may_lie_one_day_ahead_and_no_more(facts: TakeIn, when: str, counts: bool) -> None:
    """
    One day is room for time zones and clocks that go wrong.
    """
    found = facts(observation(effectiveDateTime=when))

    assert ([] if counts else ["future-date"]) == reasons(found)


# --- components ------------------------------------------------------------------------------------------------------


def panel(*parts: Resource, **members: Any) -> Resource:
    """Return a renal function panel with these components."""
    return observation("24362-6", component=list(parts), **{"valueQuantity": LEFT_OUT, **members})


def part(code: str, value: Any, unit: str = "mg/dL", **members: Any) -> Resource:
    """Return a component of a panel."""
    return {"code": concept(code, LOINC), "valueQuantity": quantity(value, unit), **members}


def test_the_results_of_a_panel_come_from_its_components(facts: TakeIn) -> None:
    found = facts(panel(part("2777-1", 7.1), part("17861-6", 9.0)))

    assert ([Decimal("7.1")], [Decimal("9.0")]) == (values(found), values(found, "calcium-total"))


def test_a_panel_without_a_value_of_its_own_is_not_a_miss(facts: TakeIn) -> None:
    assert [] == reasons(facts(panel(part("2777-1", 7.1))))


def test_the_value_of_a_panel_is_never_that_of_its_component(facts: TakeIn) -> None:
    found = facts(panel({"code": concept("2777-1", LOINC)}, valueQuantity=quantity(7.1)))

    assert [] == values(found)


def test_a_cancelled_panel_cancels_its_components(facts: TakeIn) -> None:
    found = facts(panel(part("2777-1", 7.1), status="cancelled"))

    assert ([], ["status-cancelled"]) == (values(found), reasons(found))


@pytest.mark.parametrize(
    "members",
    [
        {"dataAbsentReason": concept("error")},
        {"modifierExtension": [{"url": "http://x"}]},
        {"valueString": "hemolyzed"},
    ],
    ids=["absent", "modified", "ambiguous"],
)
def test_a_component_is_as_strict_as_a_result(facts: TakeIn, members: Resource) -> None:
    assert [] == values(facts(panel(part("2777-1", 7.1, **members))))


def test_a_component_that_fits_no_shape_does_not_hide_the_others(facts: TakeIn) -> None:
    found = facts(panel({"code": concept("17861-6", LOINC), "valueQuantity": "9.0"}, part("2777-1", 7.1)))

    assert [Decimal("7.1")] == values(found)


# --- specimens -------------------------------------------------------------------------------------------------------

HEMOLYSED = {
    "resourceType": "Specimen",
    "id": "s",
    "condition": [concept("HEM", "http://terminology.hl7.org/CodeSystem/v2-0493")],
}


@pytest.mark.parametrize(
    "members",
    [
        {"note": [{"text": "Specimen hemolyzed"}]},
        {"note": [{"text": "gross HAEMOLYSIS"}]},
        {"note": [{"text": "probe hemolysed, repeat"}]},
        {"note": [{"text": "no hemolysis"}, {"text": "second tube hemolyzed"}]},
        {"note": [{"text": "Fasting: no"}, {"text": "hemolyzed"}]},
        {"specimen": {"reference": "#s", "display": "Serum, hemolyzed"}},
        {"specimen": {"reference": "#s"}, "contained": [HEMOLYSED]},
    ],
    ids=[
        "note",
        "British note",
        "British spelling",
        "one note of two",
        "no before it",
        "specimen",
        "contained specimen",
    ],
)
def test_the_phosphate_of_a_hemolysed_specimen_is_not_used(facts: TakeIn, members: Resource) -> None:
    found = facts(observation(**members))

    assert ([], ["hemolysed"]) == (values(found), reasons(found))


@pytest.mark.parametrize(
    "text",
    [
        "Non-fasting specimen hemolyzed",
        "No charge - hemolyzed specimen",
        "Specimen not labelled and hemolyzed",
        "Not fasting, hemolyzed",
        "No hemolysis in first tube. Second tube grossly hemolyzed.",
        "Hemolyzed. No hemolysis in the second tube",
        "Specimen hemolyzed no charge",
        "Hemolyzed: no result possible",
        "Fasting: no Hemolyzed: yes",
        "Fasting: no\nhemolyzed",
        "Hemolysis index: 3",
        "Hemolysis index: 0.5",
        "Hemolysis: 10",
        "Hemolysis 2+, lipemia none",
        "casino hemolysis",
        "no visible clot, hemolyzed",
    ],
)
def test_only_what_stands_directly_beside_hemolysis_denies_it(facts: TakeIn, text: str) -> None:
    found = facts(observation(note=[{"text": text}]))

    assert ([], ["hemolysed"]) == (values(found), reasons(found))


def test_notes_of_100_kb_about_hemolysis_are_read_in_time_that_grows_with_their_length(facts: TakeIn) -> None:
    """
    Eight times the text may take sixteen times the time, not sixty-four.
    """
    for words in ("no ", "hemoly", "no hemolysis, ", "hemolysis index ", "no visible evidence of ", "   "):
        assert 16 > _seconds(facts, words * 100_000, 160_000) / _seconds(facts, words * 100_000, 20_000)


def _seconds(facts: TakeIn, text: str, length: int) -> float:
    """Return the least CPU time that three readings of so much text took, and a ms for all that is not reading."""
    one, spent = observation(note=[{"text": text[:length]}]), []
    for _ in range(3):
        begun = process_time()
        facts(one).measurements["phosphate"][:1]
        spent.append(process_time() - begun)
    return min(spent) + 0.001


@pytest.mark.parametrize(
    "text",
    [
        "no hemolysis",
        "Specimen not hemolyzed.",
        "non-hemolysed",
        "nonhemolyzed",
        "negative for hemolysis",
        "without haemolysis",
        "no evidence of hemolysis",
        "No visible hemolysis",
        "without any signs of hemolysis",
        "not visibly hemolyzed",
        "Received\nNo hemolysis",
        "Hemolysis: none",
        "Hemolysis index: 0",
        "Hemolysis index 0",
        "Hemolysis (index) = 0.0",
        "Hemolysis: 0. Lipemia: 1+",
        "Hemolysis negative",
        "Hemolysis absent",
        "Haemolysis: nil",
        "Hemolyzed? No",
        "Hemolysis: no, icterus: no",
        "Hemolysis: No Icterus: Yes",
        "H index 5 (no hemolysis)",
        "No hemolysis. Hemolysis index: 0",
    ],
)
def test_a_specimen_that_is_said_not_to_be_hemolysed_is_fine(facts: TakeIn, text: str) -> None:
    assert [Decimal("7.1")] == values(facts(observation(note=[{"text": text}])))


def test_hemolysis_does_not_touch_calcium(facts: TakeIn) -> None:
    found = facts(observation("calcium-total", 9.0, note=[{"text": "hemolyzed"}]))

    assert [Decimal("9.0")] == values(found, "calcium-total")


# --- what a reader must not use --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "members",
    [{"modifierExtension": [{"url": "http://x", "valueBoolean": True}]}, {"implicitRules": "http://x/rules"}],
    ids=lambda members: next(iter(members)),
)
def test_a_resource_that_may_mean_the_opposite_is_not_used(facts: TakeIn, members: Resource) -> None:
    found = facts(observation(**members))

    assert [] == values(found)
    assert 1 == len(reasons(found))


def test_a_contained_resource_is_no_result(facts: TakeIn) -> None:
    inner = observation(value=9.9)
    inner["contained"] = [observation(value=8.8)]
    found = facts(observation(contained=[inner]))

    assert [Decimal("7.1")] == values(found)


def test_text_in_the_unit_stays_text(facts: TakeIn) -> None:
    """
    The unit as the laboratory wrote it is shown; nothing of it is interpreted.
    """
    written = {"value": 7.1, "unit": "mg/dL <script>", "system": UCUM, "code": "mg/dL"}
    found = facts(observation(valueQuantity=written))

    assert ["mg/dL <script>"] == [result.unit for result in found.measurements.get("phosphate", ())] or reasons(found)


@pytest.mark.parametrize(
    ("dates", "newest"),
    [
        (("2026-02", "2026-02-20"), "2026-02"),
        (("2026-02-20", "2026-02"), "2026-02"),
        (("2026-01", "2026-02-20"), "2026-02-20"),
        (("2026-02-20T08:00:00Z", "2026-02-20T08:30:00+01:00"), "2026-02-20T08:00:00Z"),
        (("2026-02-20T08:30:00+01:00", "2026-02-20T08:00:00Z"), "2026-02-20T08:00:00Z"),
        (("2026-02-20T08:30:00+01:00", "2026-02-20T09:00:00+01:00"), "2026-02-20T09:00:00+01:00"),
    ],
)
def test_the_newest_result_is_the_one_that_ends_last(facts: TakeIn, dates: tuple[str, ...], newest: str) -> None:
    """
    Dates sort as text only where all are written alike: a month ends after its days, and zones differ.
    """
    results = [observation(value=4 + place, effectiveDateTime=when) for place, when in enumerate(dates)]

    assert 4 + dates.index(newest) == facts(*results).measurements["phosphate"][0].value
