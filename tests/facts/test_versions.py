"""
Several versions of one resource, the same result sent twice, and any order of entries (RELIABILITY.md section 4).
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from cds_service.facts import Facts
from tests.build import (
    LEFT_OUT,
    RXNORM,
    Resource,
    ago,
    bundle,
    concept,
    condition,
    medication,
    observation,
    patient,
    prescription,
    procedure,
    quantity,
    verification,
)
from tests.conftest import TakeIn


def phosphates(found: Facts) -> list[float]:
    """List the usable phosphates, newest first."""
    return [float(result.value) for result in found.measurements.get("phosphate", ())]


def version(value: float, **members: Any) -> Resource:
    """Return one version of one result."""
    return observation(value=value, days=5, id="same", **members)


CHAINS: list[tuple[str, list[Resource], list[float]]] = [
    ("last updated", [version(7, meta={"lastUpdated": ago(3)}), version(6, meta={"lastUpdated": ago(2)})], [6]),
    ("version number", [version(7, meta={"versionId": "9"}), version(6, meta={"versionId": "10"})], [6]),
    ("one without meta", [version(7), version(6, meta={"lastUpdated": ago(2)})], [6]),
    ("corrected", [version(7), version(6, status="corrected")], [6]),
    ("amended, then corrected", [version(7, status="amended"), version(6, status="corrected"), version(5)], [6]),
    ("retracted", [version(7), version(7, status="entered-in-error")], []),
    ("retracted, then restored", [
        version(7, status="entered-in-error", meta={"lastUpdated": ago(3)}),
        version(6, meta={"lastUpdated": ago(2)}),
    ], [6]),
    ("three", [
        version(5, meta={"lastUpdated": ago(4)}),
        version(7, meta={"lastUpdated": ago(3)}),
        version(6, meta={"lastUpdated": ago(2)}),
    ], [6]),
    ("time zones", [
        version(7, meta={"lastUpdated": "2026-02-20T12:00:00+02:00"}),
        version(6, meta={"lastUpdated": "2026-02-20T11:00:00Z"}),
    ], [6]),
    ("identical", [version(7), version(7)], [7]),
    ("under other ids", [observation(value=7, days=5), observation(value=7, days=5)], [7]),
]  # fmt: skip


@pytest.mark.parametrize(("chain", "left"), [row[1:] for row in CHAINS], ids=[row[0] for row in CHAINS])
def test_only_the_newest_version_counts_in_whatever_order_they_come(
    facts: TakeIn, chain: list[Resource], left: list[float]
) -> None:
    assert {tuple(left)} == {tuple(phosphates(facts(*order))) for order in permutations(chain)}


TIES: list[tuple[str, list[Resource], list[float]]] = [
    ("corrected before amended before final", [
        observation(value=5, days=5, status="corrected"),
        observation(value=6, days=5, status="amended"),
        observation(value=7, days=5),
    ], [5, 6, 7]),
    ("then the later issue", [
        observation(value=7, days=5, issued=ago(4)),
        observation(value=6, days=5, issued=ago(3)),
    ], [6, 7]),
    ("then the later update", [
        observation(value=7, days=5, meta={"lastUpdated": ago(4)}),
        observation(value=6, days=5, meta={"lastUpdated": ago(3)}),
    ], [6, 7]),
    ("then the higher value", [observation(value=6, days=5), observation(value=7, days=5)], [7, 6]),
    ("with the bound that proves more", [
        observation(days=5, valueQuantity=quantity(7)),
        observation(days=5, valueQuantity=quantity(7, comparator=">")),
        observation(days=5, valueQuantity=quantity(7, comparator="<")),
    ], [7, 7, 7]),
    ("the time comes first", [observation(value=5, days=5, status="corrected"), observation(value=6, days=4)], [6, 5]),
    ("in any unit", [observation(value=2, unit="mmol/L", days=5), observation(value=6.1, days=5)], [6.1948, 6.1]),
    ("in any zone", [
        observation(value=5, effectiveDateTime="2026-02-20T12:00:00+02:00"),
        observation(value=6, effectiveDateTime="2026-02-20T11:00:00Z"),
    ], [6, 5]),
]  # fmt: skip


@pytest.mark.parametrize(("results", "sorted_"), [row[1:] for row in TIES], ids=[row[0] for row in TIES])
def test_results_are_in_one_order_whatever_order_they_come_in(
    facts: TakeIn, results: list[Resource], sorted_: list[float]
) -> None:
    seen = {
        tuple((float(one.value), one.comparator) for one in facts(*order).measurements["phosphate"])
        for order in permutations(results)
    }

    assert 1 == len(seen)
    assert sorted_ == [pytest.approx(value) for value, _ in seen.pop()]


@pytest.mark.parametrize(
    "retracted",
    [
        condition(id="c", verificationStatus=verification("entered-in-error")),
        condition(id="c", verificationStatus=verification("refuted")),
    ],
    ids=["entered in error", "refuted"],
)
def test_a_condition_that_was_withdrawn_is_withdrawn_in_any_order(facts: TakeIn, retracted: Resource) -> None:
    for order in permutations([condition(id="c"), retracted]):
        assert {} == facts(*order).diagnoses


@pytest.mark.parametrize("build", [prescription, procedure])
def test_what_was_entered_in_error_is_so_in_any_order(facts: TakeIn, build: Any) -> None:
    for order in permutations([build(id="x"), build(id="x", status="entered-in-error")]):
        found = facts(*order)

        assert ({}, {}) == (found.medications, found.procedures)


def test_a_medication_has_its_newest_code_in_any_order(facts: TakeIn) -> None:
    request = prescription(medicationCodeableConcept=LEFT_OUT, medicationReference={"reference": "Medication/m"})
    older = medication(id="m", meta={"lastUpdated": ago(9)})
    newer = medication("1049621", RXNORM, id="m", meta={"lastUpdated": ago(1)})

    for order in permutations([older, newer]):
        assert {} == facts(request, *order).medications


def test_the_patient_is_read_in_their_newest_version(facts: TakeIn) -> None:
    older = patient(gender="male", meta={"lastUpdated": ago(9)})
    newer = patient(meta={"lastUpdated": ago(1)})

    for order in permutations([older, newer]):
        assert "female" == facts(values={"patient": bundle(*order)}).person.sex


def test_the_wording_of_a_diagnosis_does_not_depend_on_the_order(facts: TakeIn) -> None:
    twice = [
        condition(concept("46177005", "http://snomed.info/sct", text), id=text) for text in ("ESRD", "Kidney failure")
    ]

    seen = {tuple(item.display for item in facts(*order).diagnoses["met-eskd"]) for order in permutations(twice)}

    assert 1 == len(seen)
