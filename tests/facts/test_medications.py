"""
Medications the patient takes now, by product and route (KNOWLEDGE.md 2.3 and 3.1, RELIABILITY.md section 4).
"""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.facts import Facts
from cds_service.protocol.prefetch import State
from tests.build import (
    ATC,
    LEFT_OUT,
    RXNORM,
    SERVER,
    WARFARIN,
    WARFARIN_TABLET,
    Resource,
    ago,
    concept,
    day,
    medication,
    prescription,
    statement,
    token,
)
from tests.conftest import TakeIn


def taken(found: Facts, name: str = "vka") -> bool:
    """Say whether a medication counts as taken."""
    return bool(found.medications.get(name))


def reasons(found: Facts) -> set[str]:
    """Return why medications were set aside."""
    return {aside.reason for aside in found.set_aside}


# --- is it taken now? ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [prescription, statement])
def test_an_active_medication_counts(facts: TakeIn, build: Any) -> None:
    assert taken(facts(build()))


@pytest.mark.parametrize(
    "status", ["on-hold", "cancelled", "completed", "entered-in-error", "stopped", "draft", "unknown"]
)
def test_a_request_of_any_other_status_does_not_count(facts: TakeIn, status: str) -> None:
    found = facts(prescription(status=status))

    assert (False, {f"status-{status}"}) == (taken(found), reasons(found))


@pytest.mark.parametrize(
    "status", ["completed", "entered-in-error", "intended", "stopped", "on-hold", "unknown", "not-taken"]
)
def test_a_statement_of_any_other_status_does_not_count(facts: TakeIn, status: str) -> None:
    assert not taken(facts(statement(status=status)))


@pytest.mark.parametrize("status", [LEFT_OUT, None, "", "Active", "recorded", token("true")], ids=repr)
def test_a_status_that_is_missing_or_unknown_does_not_count(facts: TakeIn, status: Any) -> None:
    assert not taken(facts(prescription(status=status), statement(status=status)))


@pytest.mark.parametrize(
    "intent", ["order", "original-order", "reflex-order", "filler-order", "instance-order", LEFT_OUT], ids=repr
)
def test_an_order_counts(facts: TakeIn, intent: Any) -> None:
    assert taken(facts(prescription(intent=intent)))


@pytest.mark.parametrize("intent", ["plan", "proposal", "option", "Order"])
def test_a_plan_is_not_taken(facts: TakeIn, intent: str) -> None:
    found = facts(prescription(intent=intent))

    assert (False, {"not-an-order"}) == (taken(found), reasons(found))


def test_a_medication_that_must_not_be_given_is_not_taken(facts: TakeIn) -> None:
    found = facts(prescription(doNotPerform=True))

    assert (False, {"do-not-perform"}) == (taken(found), reasons(found))


@pytest.mark.parametrize("value", ["true", 1, [True]], ids=repr)
def test_a_prohibition_of_another_shape_is_never_read_as_permission(facts: TakeIn, value: Any) -> None:
    assert not taken(facts(prescription(doNotPerform=value)))


@pytest.mark.parametrize(
    ("members", "counts"),
    [
        ({"dispenseRequest": {"validityPeriod": {"start": day(90), "end": day(2)}}}, False),
        ({"dispenseRequest": {"validityPeriod": {"start": day(90), "end": day(0)}}}, True),
        ({"dispenseRequest": {"validityPeriod": {"start": day(90)}}}, True),
        ({"dispenseRequest": {"numberOfRepeatsAllowed": 3}}, True),
        ({"dosageInstruction": [{"timing": {"repeat": {"boundsPeriod": {"end": day(2)}}}}]}, False),
        ({"dosageInstruction": [{"timing": {"repeat": {"boundsPeriod": {"end": day(-2)}}}}]}, True),
        (
            {"dosageInstruction": [{"timing": {"repeat": {"boundsPeriod": {"end": day(2)}}}}, {"text": "then 5 mg"}]},
            True,
        ),
        ({"dosageInstruction": [{"doseQuantity": {"value": 5}}]}, True),
        ({"dosageInstruction": "one a day"}, True),
        ({"dispenseRequest": "soon"}, True),
    ],
    ids=str,
)
def test_a_request_ends_with_its_period(facts: TakeIn, members: Resource, counts: bool) -> None:
    assert counts == taken(facts(prescription(**members)))


@pytest.mark.parametrize(
    ("period", "counts"),
    [
        ({"start": day(90), "end": day(2)}, False),
        ({"start": day(90)}, True),
        ({"start": day(90), "end": day(-9)}, True),
    ],
    ids=str,
)
def test_a_statement_ends_with_its_period(facts: TakeIn, period: Resource, counts: bool) -> None:
    assert counts == taken(facts(statement(effectivePeriod=period)))


@pytest.mark.parametrize(
    "one",
    [
        prescription(authoredOn="2199-01-01"),
        statement(effectivePeriod={"start": "2199-01-01"}),
        statement(effectiveDateTime="2199-01-01"),
        prescription(dosageInstruction=[{"timing": {"repeat": {"boundsPeriod": {"start": day(-9)}}}}]),
    ],
    ids=["authored", "period", "moment", "bounds"],
)
def test_a_medication_of_the_future_is_not_taken_now(facts: TakeIn, one: Resource) -> None:
    found = facts(one)

    assert (False, {"future-date"}) == (taken(found), reasons(found))


@pytest.mark.parametrize("taken_as", ["n", "unk", "na", "y"])
def test_a_statement_of_stu3_is_of_another_version(facts: TakeIn, taken_as: str) -> None:
    """
    STU3 says in ``taken`` that a patient does not take what the statement names.
    """
    found = facts(statement(taken=taken_as))

    assert (False, {"other-fhir-version"}) == (taken(found), reasons(found))


# --- which medication is it? -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [WARFARIN, WARFARIN_TABLET, "855288", "154", "8150"])
def test_ingredients_and_products_are_known_by_their_rxnorm_code(facts: TakeIn, code: str) -> None:
    assert taken(facts(prescription(code)))


def test_an_atc_code_is_known_by_its_class(facts: TakeIn) -> None:
    assert taken(facts(prescription("B01AA03", ATC)))
    assert not taken(facts(prescription("B01AF02", ATC)))


def contained(identifier: str = "m", code: str = WARFARIN_TABLET) -> Resource:
    """Return a contained Medication."""
    return {"resourceType": "Medication", "id": identifier, "code": concept(code, RXNORM)}


@pytest.mark.parametrize(
    "members",
    [
        {"contained": [contained()], "medicationReference": {"reference": "#m"}},
        {"contained": [contained("other", "1"), contained()], "medicationReference": {"reference": "#m"}},
    ],
    ids=["one", "two"],
)
def test_a_contained_medication_is_found(facts: TakeIn, members: Resource) -> None:
    assert taken(facts(prescription(medicationCodeableConcept=LEFT_OUT, **members)))


@pytest.mark.parametrize(
    ("written", "stands_as"),
    [
        ("Medication/w", LEFT_OUT),
        ("Medication/w/_history/3", LEFT_OUT),
        (f"{SERVER}/Medication/w", f"{SERVER}/Medication/w"),
        (f"{SERVER}/Medication/w", LEFT_OUT),
        ("urn:uuid:6b0f2a1e-7c1e-4a55-9e0e-0a6f2a3d1c11", "urn:uuid:6b0f2a1e-7c1e-4a55-9e0e-0a6f2a3d1c11"),
    ],
    ids=["relative", "versioned", "absolute", "absolute by base", "uuid"],
)
def test_a_medication_elsewhere_in_what_was_sent_is_found(facts: TakeIn, written: str, stands_as: Any) -> None:
    from tests.build import bundle, entry

    request = prescription(medicationCodeableConcept=LEFT_OUT, medicationReference={"reference": written})
    included = entry(medication(id="w"), fullUrl=stands_as, search={"mode": "include"})
    found = facts(values={"medications": bundle(entry(request), included, total=1)}, fhirServer=SERVER)

    assert taken(found)


@pytest.mark.parametrize(
    "written",
    [
        "Medication/elsewhere",
        "#nothing",
        "https://foreign.example/fhir/Medication/w",
        "http://169.254.169.254/latest/Medication/w",
        "Practitioner/w",
        "w",
        "",
        None,
        5,
    ],
    ids=repr,
)
def test_a_medication_that_was_not_sent_stays_unknown_and_is_never_fetched(facts: TakeIn, written: Any) -> None:
    request = prescription(medicationCodeableConcept=LEFT_OUT, medicationReference={"reference": written})
    found = facts(request, medication(id="w"), fhirServer=SERVER)

    assert not taken(found)
    assert reasons(found) <= {"unresolved", "misfit"}


@pytest.mark.parametrize("named", [{"reference": "Medication/elsewhere"}, {}, {"identifier": {"value": "5"}}], ids=str)
def test_a_medication_that_was_not_sent_is_known_by_the_name_that_the_order_shows(
    facts: TakeIn, named: Resource
) -> None:
    shown = {**named, "display": "warfarin 5 mg tablet"}
    found = facts(prescription(medicationCodeableConcept=LEFT_OUT, medicationReference=shown))

    assert ([True], set()) == ([one.how == "name" for one in found.medications["vka"]], reasons(found))


def test_a_name_that_is_none_of_ours_is_not_unknown(facts: TakeIn) -> None:
    shown = {"reference": "Medication/elsewhere", "display": "lisinopril 10 mg tablet"}
    found = facts(prescription(medicationCodeableConcept=LEFT_OUT, medicationReference=shown))

    assert (False, set(), State.COMPLETE) == (taken(found), reasons(found), found.states["medications"])


@pytest.mark.parametrize("display", [5, None, ["warfarin"], {"text": "warfarin"}, ""], ids=str)
def test_a_display_that_is_no_text_names_nothing(facts: TakeIn, display: Any) -> None:
    shown = {"reference": "Medication/elsewhere", "display": display}

    assert not taken(facts(prescription(medicationCodeableConcept=LEFT_OUT, medicationReference=shown)))


def test_a_medication_that_was_entered_in_error_names_nothing(facts: TakeIn) -> None:
    named = {"reference": "Medication/w", "display": "warfarin 5 mg tablet"}
    request = prescription(medicationCodeableConcept=LEFT_OUT, medicationReference=named)

    assert not taken(facts(request, medication(id="w", status="entered-in-error")))


def test_contained_resources_may_point_at_each_other_without_end(facts: TakeIn) -> None:
    circle = [{"resourceType": "Medication", "id": "m", "ingredient": [{"itemReference": {"reference": "#m"}}]}]
    found = facts(
        prescription(medicationCodeableConcept=LEFT_OUT, contained=circle, medicationReference={"reference": "#m"})
    )

    assert (False, {"unresolved"}) == (taken(found), reasons(found))


@pytest.mark.parametrize(
    "shape",
    [{"concept": concept(WARFARIN_TABLET, RXNORM)}, {"reference": {"reference": "Medication/w"}}],
    ids=["concept", "reference"],
)
def test_a_request_of_r5_is_of_another_version(facts: TakeIn, shape: Resource) -> None:
    found = facts(prescription(medicationCodeableConcept=LEFT_OUT, medication=shape))

    assert (False, {"other-fhir-version"}) == (taken(found), reasons(found))


# --- does it reach the blood? ----------------------------------------------------------------------------------------

CALCIUM_ACETATE, CALCIUM_CARBONATE = "214342", "1897"


@pytest.mark.parametrize(
    ("route", "counts"),
    [
        ("Oral route", True),
        ("by mouth", True),
        ("PO", True),
        ("Topical route", False),
        ("Ophthalmic use", False),
        ("Inhalation", False),
        ("Intraperitoneal route", False),
        ("as directed", True),
    ],
)
def test_an_ingredient_counts_unless_its_route_is_local(facts: TakeIn, route: str, counts: bool) -> None:
    found = facts(prescription(WARFARIN, dosageInstruction=[{"route": concept(text=route)}]))

    assert counts == taken(found)


def products(words: Any, concept_id: str) -> list[Any]:
    """Return the RxNorm products of a concept."""
    rows = words.indexes["medication"].exact.values()
    return [
        row.match
        for several in rows
        for row in several
        if row.match.concept == concept_id and row.match.how == "product"
    ]


def test_every_product_counts_exactly_when_its_route_and_its_ingredients_allow(facts: TakeIn, words: Any) -> None:
    wrong = []
    for name in ("vka", "ca-binder", "ca-supp"):
        allowed = words.concepts[name]
        for match in products(words, name):
            fits = (not match.route or match.route in allowed.routes) and match.ingredients <= allowed.max_ingredients
            if fits != taken(facts(prescription(match.code)), name):
                wrong.append((name, match.code))

    assert [] == wrong


def test_a_product_of_many_ingredients_is_no_exposure(facts: TakeIn, words: Any) -> None:
    many = [match for match in products(words, "ca-supp") if match.ingredients > 3]

    assert not any(taken(facts(prescription(match.code)), "ca-supp") for match in many)


def test_names_and_dates_are_kept_as_the_record_has_them(facts: TakeIn) -> None:
    code = concept(WARFARIN_TABLET, RXNORM, "Coumadin 5 mg")
    [item] = facts(prescription(medicationCodeableConcept=code, authoredOn=ago(30))).medications["warfarin"]

    assert ("Coumadin 5 mg", ago(30)[:10]) == (item.display, item.when.day if item.when else None)
