"""Strategies for whole charts whose numbers lie well away from every limit, and for changes that mean nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any

from hypothesis import strategies as st

from tests.build import (
    AKI,
    CALCINOSIS,
    ICD10CM,
    KEYS,
    NECROSIS,
    PATIENT,
    SERVER,
    TRANSPLANT,
    Resource,
    bundle,
    call,
    clinical,
    concept,
    condition,
    entry,
    observation,
    patient,
    prescription,
    procedure,
    statement,
    verification,
)

Chart = list[Resource]

CONDITIONS: list[Callable[[], Resource]] = [
    condition,
    lambda: condition("N18.6", ICD10CM),
    lambda: condition("N18.4", ICD10CM),
    lambda: condition(AKI),
    lambda: condition(NECROSIS, days=5),
    lambda: condition("L97.122", ICD10CM, days=20),
    lambda: condition("L89.154", ICD10CM, days=20),
    lambda: condition("95319004", days=8),
    lambda: condition("301364008", days=8),
    lambda: condition(CALCINOSIS),
    lambda: condition(TRANSPLANT, days=900),
    lambda: condition(NECROSIS, days=5, verificationStatus=verification("refuted")),
    lambda: condition(clinicalStatus=clinical("resolved")),
]
# Values far enough from 5.5, 7, 10.5, 12, 14, 55, 70, 1.15, 1.33, 15 and 30 that no rounding can carry them across.
VALUES: dict[str, tuple[float, ...]] = {
    "phosphate": (3.2, 4.4, 6.2, 8.1, 11.0),
    "calcium-total": (8.3, 9.4, 11.3, 13.0, 15.2),
    "albumin": (2.4, 3.1, 4.5),
    "calcium-ionized": (1.02, 1.24, 1.5),
    "pth": (22.0, 310.0, 1200.0),
    "egfr": (8.0, 22.0, 62.0),
    "alp": (90.0, 400.0),
    "creatinine": (0.9, 6.4),
}
# What a value is in another unit of its test; each factor as KNOWLEDGE gives it.
UNITS: dict[str, list[tuple[str, str, float]]] = {
    "2777-1": [("mg/dL", "mmol/L", 3.0974)],
    "17861-6": [("mg/dL", "mmol/L", 4.008), ("mg/dL", "meq/L", 2.004)],
    "1995-0": [("mmol/L", "mg/dL", 1 / 4.008)],
    "1751-7": [("g/dL", "g/L", 0.1)],
    "2731-8": [("pg/mL", "pmol/L", 9.43), ("pg/mL", "ng/L", 1.0)],
    "6768-6": [("U/L", "ukat/L", 60.0)],
    "2160-0": [("mg/dL", "umol/L", 1 / 88.40)],
}

results = st.sampled_from(sorted(VALUES)).flatmap(
    lambda test: st.builds(
        lambda value, days, sign: _result(test, value, days, sign),
        st.sampled_from(VALUES[test]),
        st.sampled_from([0.5, 1, 2, 10, 40, 85, 100, 200]),
        st.sampled_from(["", "", "", "", ">", "<"]),
    )
)
others = st.sampled_from([
    prescription,
    lambda: prescription(status="stopped"),
    lambda: statement("B01AA03", "http://www.whocc.no/atc"),
    lambda: procedure(days=3),
    lambda: procedure("233580005", days=3),
    lambda: procedure("70536003", days=1_000),
])  # fmt: skip
charts = st.builds(
    lambda conditions, labs, more: [*(make() for make in conditions), *labs, *(make() for make in more)],
    st.lists(st.sampled_from(CONDITIONS), max_size=4),
    st.lists(results, max_size=8),
    st.lists(others, max_size=3),
)


def _result(test: str, value: float, days: float, sign: str) -> Resource:
    made = observation(test, value, days=days)
    if sign:
        made["valueQuantity"]["comparator"] = sign
    return made


# --- asking ----------------------------------------------------------------------------------------------------------


def by_key(chart: Chart) -> dict[str, list[Resource]]:
    """Sort a chart by prefetch key; every key is there."""
    kinds: dict[str, list[Resource]] = {key: [] for key in KEYS.values() if key != "patient"}
    for one in chart:
        if one["resourceType"] != "Patient":
            kinds[KEYS.get(one["resourceType"], "conditions")].append(one)

    return kinds


def chart_call(chart: Chart, **members: Any) -> Resource:
    """Return the call that opens a chart."""
    people = [one for one in chart if one["resourceType"] == "Patient"] or [patient()]

    return call({"patient": people[0], **{key: bundle(*several) for key, several in by_key(chart).items()}}, **members)


# --- changes that mean nothing ---------------------------------------------------------------------------------------

Change = Callable[[Chart, Random], Resource]


def shuffled(chart: Chart, random: Random) -> Resource:
    """Put the entries, and the members of every object, in another order."""
    mixed = random.sample(chart, len(chart))

    return _mixed(chart_call(mixed), random)


def _mixed(members: Resource, random: Random) -> Resource:
    return {key: _mix(members[key], random) for key in random.sample(list(members), len(members))}


def _mix(value: Any, random: Random) -> Any:
    if isinstance(value, dict):
        return _mixed(value, random)
    return [_mix(one, random) for one in value] if isinstance(value, list) else value


def doubled(chart: Chart, random: Random) -> Resource:
    """Send some resources twice, and some results again under another id."""
    again = [deepcopy(one) for one in chart if random.random() < 0.5]
    for one in again:
        if random.random() < 0.5:
            one["id"] = f"again-{one['id']}"

    return chart_call([*chart, *again])


def converted(chart: Chart, random: Random) -> Resource:
    """Report every result in another unit where its test has one."""
    changed = deepcopy(chart)
    for one in changed:
        quantity = one.get("valueQuantity")
        code = one.get("code", {}).get("coding", [{}])[0].get("code")
        choices = UNITS.get(code) if quantity else None
        if quantity and choices:
            _, unit, factor = random.choice(choices)
            quantity.update(value=round(quantity["value"] / factor, 6), unit=unit, code=unit)

    return chart_call(changed)


def elsewhere(chart: Chart, random: Random) -> Resource:
    """Write every instant in another time zone."""

    def move(found: re.Match[str]) -> str:
        moment = datetime.fromisoformat(found.group())
        zone = timezone(timedelta(minutes=random.choice([-720, -300, -210, 0, 60, 345, 570, 840])))
        return moment.astimezone(zone).isoformat(timespec=random.choice(["seconds", "milliseconds"]))

    return _rewrite(chart_call(chart), lambda text: re.sub(r"^\d{4}-\d{2}-\d{2}T[\d:]+Z$", move, text))


def renamed(chart: Chart, random: Random) -> Resource:
    """Give the patient and every resource another id, everywhere it is named."""
    new = f"p.{random.randrange(10**9)}-x"
    changed = chart_call(chart, context={"userId": "Practitioner/1", "patientId": PATIENT})
    for key, value in changed["prefetch"].items():
        for one in value.get("entry", ()) if key != "patient" else ():
            one["resource"]["id"] = f"{random.randrange(10**9)}"

    return _rewrite(changed, lambda text: re.sub(rf"^(Patient/)?{PATIENT}$", rf"\g<1>{new}", text))


def referred(chart: Chart, random: Random) -> Resource:
    """Refer to the patient by absolute and by versioned URLs."""
    forms = [f"Patient/{PATIENT}", f"{SERVER}/Patient/{PATIENT}", f"Patient/{PATIENT}/_history/3"]
    changed = chart_call(chart, fhirServer=SERVER)

    return _rewrite(changed, lambda text: random.choice(forms) if text == f"Patient/{PATIENT}" else text)


UNRELATED: list[tuple[str, Resource]] = [
    ("observations", observation("2345-7", 100)),
    ("observations", observation("1988-5", 12, "mg/L")),
    ("observations", observation(code=concept("PHOS", "urn:oid:1.2.3", "Phosphate"), value=19)),
    ("observations", observation("2021-4", 30)),
    ("conditions", condition("44054006")),
    ("conditions", condition("I10", ICD10CM)),
    ("conditions", condition(concept(text="ESRD on HD"))),
    ("medications", prescription("1049621")),
    ("procedures", procedure("80146002")),
    ("conditions", {"resourceType": "AllergyIntolerance", "id": "a", "patient": {"reference": f"Patient/{PATIENT}"}}),
    ("procedures", {"resourceType": "Immunization", "id": "i", "patient": {"reference": f"Patient/{PATIENT}"}}),
]


def padded(chart: Chart, random: Random) -> Resource:
    """Add resources that have nothing to do with any rule, and members that nobody knows."""
    changed = chart_call(chart, colour="blue", extension={"org.example": {"a": [1]}})
    for key, one in random.sample(UNRELATED, random.randint(1, len(UNRELATED))):
        value = changed["prefetch"][key]
        value.setdefault("entry", []).insert(0, entry(deepcopy(one)))
        value["total"] += 1

    return changed


def split(chart: Chart, random: Random) -> Resource:
    """Send one kind of data in two values, the second under a key of the EHR's own."""
    changed = chart_call(chart)
    key = random.choice([key for key, several in by_key(chart).items() if several] or ["conditions"])
    entries = changed["prefetch"][key].get("entry", [])
    cut = random.randint(0, len(entries))
    changed["prefetch"][key] = bundle(*entries[:cut])
    changed["prefetch"][f"more-{key}"] = bundle(*entries[cut:])

    return changed


def _rewrite(request: Resource, change: Callable[[str], str]) -> Resource:
    """Return a call with every text in it changed."""
    return {key: _change(one, change) for key, one in request.items()}


def _change(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return _rewrite(value, change)
    if isinstance(value, list):
        return [_change(one, change) for one in value]
    return change(value) if isinstance(value, str) else value


CHANGES: dict[str, Change] = {
    change.__name__: change for change in (shuffled, doubled, converted, elsewhere, renamed, referred, padded, split)
}
