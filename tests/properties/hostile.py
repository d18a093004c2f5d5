"""Strategies for hostile input: values that break readers, and honest calls with something broken in them."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from tests.build import (
    CALCINOSIS,
    NECROSIS,
    PATIENT,
    SERVER,
    Resource,
    ago,
    bundle,
    call,
    condition,
    entry,
    family,
    medication,
    observation,
    outcome,
    patient,
    prefetch,
    prescription,
    procedure,
    statement,
)

Path = tuple[Any, ...]
NASTY = [
    "",
    " ",
    "\x00",
    "\u202e\u2066\u200b\ufeff",
    "\ud800",
    "\U000e0041",
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "https://evil.example/?q=1",
    "Patient/pat-2",
    "#",
    "urn:uuid:",
    "NaN",
    "1e400",
    "2026-02-30",
    "9999-12-31T23:59:59-14:00",
    "0000",
    "entered-in-error",
    "final",
    "null",
    "{{context.patientId}}",
    "../../etc/passwd",
    "' OR 1=1 --",
    "%s%n",
    "a" * 5_000,
    "\u0301" * 200,
    "2777-1",
    "http://loinc.org",
    "mg/dL",
    "<",
    "Bundle",
    "Observation",
    "OperationOutcome",
]
HUGE = [10**400, -(10**400), 10**30, -1, 0, 2**63, 2**64, 1e308, 1e-308, -0.0, 0.1 + 0.2]

texts = st.one_of(st.sampled_from(NASTY), st.text(max_size=30))
scalars = st.one_of(st.none(), st.booleans(), st.sampled_from(HUGE), st.integers(), st.floats(allow_nan=True), texts)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)


def honest() -> Resource:
    """Return a call with everything in it that the service reads."""
    pth = {"code": observation("pth")["code"], "valueQuantity": {"value": 300, "unit": "pg/mL"}}
    observations = [
        observation(value=8.1),
        observation("calcium-total", 10.9, note=[{"text": "ok"}], issued=ago(9), meta={"versionId": "2"}),
        observation("albumin", 3.0, effectiveDateTime=None, effectivePeriod={"start": ago(11), "end": ago(10)}),
        observation("24362-6", component=[pth], valueQuantity=None),
        observation("egfr", 9, contained=[{"resourceType": "Specimen", "id": "s"}], specimen={"reference": "#s"}),
    ]
    by_reference = prescription(medicationCodeableConcept=None, medicationReference={"reference": "Medication/m"})
    dosed = prescription(
        dosageInstruction=[{"route": {"text": "oral"}, "timing": {"repeat": {"boundsPeriod": {"start": ago(30)}}}}],
        dispenseRequest={"validityPeriod": {"start": ago(30), "end": ago(-30)}},
    )
    warned = [entry(statement()), entry(outcome("warning"), search={"mode": "outcome"})]
    found = prefetch(
        patient(link=[{"other": {"reference": "Patient/old"}, "type": "replaces"}], deceasedBoolean=False),
        *observations,
        condition(onsetDateTime="2020", category=[{"coding": [{"code": "problem-list-item"}]}]),
        condition(NECROSIS, days=5),
        condition(CALCINOSIS, abatementPeriod={"end": ago(-5)}),
        family(),
        dosed,
        by_reference,
        procedure(performedPeriod={"start": ago(3), "end": ago(2)}),
        statements=bundle(*warned, total=1, link=[{"relation": "self", "url": "x"}]),
    )
    found["medications"]["entry"].append(entry(medication(id="m"), search={"mode": "include"}))
    context = {"userId": "Practitioner/dr-1", "patientId": PATIENT, "encounterId": "enc-1"}
    token = {
        "access_token": "x",
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "x",
        "subject": "x",
        "patient": PATIENT,
    }

    return call(found, context=context, fhirServer=SERVER, fhirAuthorization=token, extension={"com.epic.x": "1"})


def paths(value: Any, here: Path = ()) -> list[Path]:
    """List the path to every member and item in a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()

    return [path for key, item in inner for path in ((*here, key), *paths(item, (*here, key)))]


HONEST = honest()
PATHS = paths(HONEST)


@st.composite
def broken_calls(draw: st.DrawFn) -> Resource:
    """Return an honest call in which a few members are replaced, renamed, doubled or taken away."""
    broken = deepcopy(HONEST)
    for _ in range(draw(st.integers(1, 5))):
        path = draw(st.sampled_from(PATHS))
        break_member(broken, path, draw)

    return broken


def break_member(broken: Resource, path: Path, draw: st.DrawFn) -> None:
    """Do something to one member, if it is still there."""
    holder: Any = broken
    for step in path[:-1]:
        try:
            holder = holder[step]
        except (KeyError, IndexError, TypeError):
            return
    last = path[-1]
    there = (isinstance(holder, dict) and last in holder) or (
        isinstance(holder, list) and isinstance(last, int) and last < len(holder)
    )
    if not there:
        return
    deed = draw(st.sampled_from(["replace", "replace", "replace", "take away", "wrap", "double", "move"]))
    if deed == "replace":
        holder[last] = draw(values)
    elif deed == "take away":
        del holder[last]
    elif deed == "wrap":
        holder[last] = [holder[last]]
    elif deed == "double" and isinstance(holder, list):
        holder.append(deepcopy(holder[last]))
    elif isinstance(holder, dict):
        holder[draw(texts)] = holder.pop(last)


def as_bytes(value: Any, *, escaped: bool) -> bytes:
    """Write any value as JSON; what is not text comes as an escape, or as bytes that are no UTF-8."""
    return json.dumps(value, ensure_ascii=escaped, separators=(",", ":")).encode("utf-8", "surrogatepass")
