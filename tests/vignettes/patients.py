"""A vignette's patient as FHIR resources, dated back from the moment of evaluation."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.build import (
    CALCINOSIS,
    LEFT_OUT,
    LOINC,
    NOW,
    PATIENT,
    SNOMED,
    Resource,
    clinical,
    concept,
    condition,
    day,
    family,
    observation,
    patient,
    prescription,
    procedure,
    quantity,
    statement,
    verification,
)

Vignette = dict[str, Any]


def resources_of(vignette: Vignette) -> list[Resource]:
    """Return the resources of a vignette's patient."""
    parts = (
        (_condition, "conditions"),
        (_observation, "observations"),
        (_medication, "medications"),
        (_procedure, "procedures"),
        (_family, "familyHistory"),
    )

    return [_patient(vignette["patient"]), *(make(one) for make, name in parts for one in vignette[name])]


def orders_of(vignette: Vignette) -> list[Resource]:
    """Return the orders of a vignette that are not yet signed."""
    return [_order(number, one) for number, one in enumerate(vignette["draftOrders"])]


def _order(number: int, told: Vignette) -> Resource:
    dosage: Resource = {"route": {"text": told["route"]}} if "route" in told else {}
    if "doseMgPerDay" in told:
        dosage["timing"] = {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}
        dosage["doseAndRate"] = [{"doseQuantity": quantity(told["doseMgPerDay"], "mg")}]
    reason = [concept(CALCINOSIS, SNOMED)] if told.get("reason") == "calcinosis" else LEFT_OUT
    return prescription(
        id=f"draft-{number}",
        status=told["status"],
        medicationCodeableConcept=_code(told),
        authoredOn=LEFT_OUT,
        dosageInstruction=[dosage] if dosage else LEFT_OUT,
        reasonCode=reason,
    )


def _patient(told: Vignette) -> Resource:
    days = told["ageDays"] if "ageDays" in told else told["ageYears"] * 365.25 + 100

    return patient(id=PATIENT, gender=told["sex"], birthDate=day(days))


def _code(told: Vignette) -> Resource:
    return concept(told["code"], told["system"], display=told["display"])


def _condition(told: Vignette) -> Resource:
    return condition(
        _code(told),
        clinicalStatus=clinical(told["clinicalStatus"]),
        verificationStatus=verification(told["verificationStatus"]),
        onsetDateTime=day(told["onsetDaysAgo"]),
        recordedDate=day(told["onsetDaysAgo"]),
    )


def _observation(told: Vignette) -> Resource:
    moment = NOW - timedelta(days=told["daysAgo"])
    hours, minutes = told.get("effectiveTime", "08:00").split(":")
    when = moment.replace(hour=int(hours), minute=int(minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    if "localCode" in told:
        return observation(
            code=concept(told["localCode"], "https://laboratory.example/codes", told["display"]),
            status=told["status"],
            effectiveDateTime=when,
            valueQuantity=LEFT_OUT,
            valueString=told["valueString"],
        )
    value = quantity(told["value"], told["unit"] or LEFT_OUT, comparator=told.get("comparator", LEFT_OUT))

    return observation(
        code=concept(told["loinc"], LOINC), status=told["status"], effectiveDateTime=when, valueQuantity=value
    )


def _medication(told: Vignette) -> Resource:
    started = day(told["startedDaysAgo"])
    if told["resourceType"] == "MedicationRequest":
        return prescription(medicationCodeableConcept=_code(told), status=told["status"], authoredOn=started)
    period = {"start": started, **({"end": day(told["stoppedDaysAgo"])} if "stoppedDaysAgo" in told else {})}

    return statement(medicationCodeableConcept=_code(told), status=told["status"], effectivePeriod=period)


def _procedure(told: Vignette) -> Resource:
    return procedure(_code(told), status=told["status"], performedDateTime=day(told["daysAgo"]))


def _family(told: Vignette) -> Resource:
    return family(
        relationship=concept(text=told["relationship"]),
        condition=[{"code": concept(told["code"], text=told["display"])}],
    )
