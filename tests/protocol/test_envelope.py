"""
The request, read once at the door: complete, or refused with the place and the remedy (CHECKLIST.md A, C, J, M).
"""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.errors import InvalidRequest, MalformedJson, RequestError
from cds_service.protocol import HookRequest
from tests.build import LEFT_OUT, PATIENT, Resource, call, prefetch, to_json, without

CONTEXT = {"userId": "Practitioner/dr-1", "patientId": PATIENT}
PADDING = {"padding": "x" * 40_000}


def parse(value: Any) -> HookRequest:
    """Parse a request."""
    return HookRequest.parse(to_json(value), "patient-view")


def refused(value: Any) -> RequestError:
    """Return why a request was refused."""
    with pytest.raises(RequestError) as refusal:
        parse(value)

    return refusal.value


# --- what is accepted ------------------------------------------------------------------------------------------------

TOKEN = {
    "access_token": "secret",
    "token_type": "Bearer",
    "expires_in": 300,
    "scope": "user/Patient.read",
    "subject": "client",
}
EPIC = {
    "extension": {
        "com.epic.cdshooks.request.bpa-trigger-action": 60,
        "com.epic.cdshooks.request.cds-hooks-specification-version": "1.1",
        "com.epic.cdshooks.request.fhir-version": "R4",
        "internal.epic.cdshooks.request.epic-emp-id": "1234",
    },
    "fhirServer": "https://ehr.example/interconnect/api/FHIR/R4",
    "fhirAuthorization": {**TOKEN, "scope": "PATIENT.READ (R4) (Unsigned Order) ONE.TWO", "patient": PATIENT},
}
GOOD: list[tuple[str, Resource]] = [
    ("1.0", call({}, fhirServer="https://ehr.example/fhir", fhirAuthorization=TOKEN)),
    ("1.0 draft, with user", call({}, user="Practitioner/dr-1")),
    ("1.1", call({}, fhirServer="https://ehr.example/fhir", fhirAuthorization=TOKEN, extension={})),
    ("2.0.1", call({}, fhirServer="https://ehr.example/fhir", fhirAuthorization={**TOKEN, "patient": PATIENT})),
    (
        "3.0 ballot",
        call({}, version="3.0.0", hookVersion="1.0", extension={"davinci-crd.configuration": {"max-cards": 5}}),
    ),
    ("Epic", call({}, **EPIC)),
    ("no prefetch", call()),
    ("prefetch null", call(None)),
    ("no instance but a long one", call({}, hookInstance="x" * 256)),
    ("unknown members", call({}, colour="blue", list=[1, {"a": None}], nothing=None)),
    ("unknown context", call({}, context={**CONTEXT, "encounterId": "enc89284", "selections": [], "x": None})),
    ("extension that is a list", call({}, extension=[{"url": "http://x"}])),
    ("a token without a patient", call({}, fhirAuthorization={})),
    ("a token without a server", call({}, fhirAuthorization=TOKEN)),
    ("null where something is optional", call({}, fhirServer=None, fhirAuthorization=None, extension=None)),
    ("an encounter that is null", call({}, context={**CONTEXT, "encounterId": None})),
    ("an encounter that is empty", call({}, context={**CONTEXT, "encounterId": ""})),
]


@pytest.mark.parametrize("value", [value for _, value in GOOD], ids=[name for name, _ in GOOD])
@pytest.mark.parametrize("padding", [{}, PADDING], ids=["small", "large"])
def test_what_clients_of_all_versions_send_is_accepted(value: Resource, padding: Resource) -> None:
    request = parse({**value, **padding})

    assert ("patient-view", PATIENT, "Practitioner/dr-1") == (request.hook, request.patient_id, request.user_id)


@pytest.mark.parametrize(
    "user", ["Practitioner/1", "PractitionerRole/a.b-c", "Patient/p", "RelatedPerson/r", "Practitioner/" + "e" * 200]
)
def test_users_of_every_kind_are_accepted(user: str) -> None:
    assert user == parse(call({}, context={**CONTEXT, "userId": user})).user_id


def test_the_server_is_kept_without_its_last_slash() -> None:
    assert "https://ehr.example/fhir" == parse(call({}, fhirServer="https://ehr.example/fhir/")).fhir_server


@pytest.mark.parametrize("encounter", ["enc-1", "Encounter/enc-1"])
def test_the_encounter_is_kept_as_an_id(encounter: str) -> None:
    assert "enc-1" == parse(call({}, context={**CONTEXT, "encounterId": encounter})).encounter_id


def test_prefetch_values_are_kept_as_they_came() -> None:
    request = parse(call({"a": None, "b": {"resourceType": "Bundle"}, "c": 7}))

    assert {"a": b"null", "b": b'{"resourceType":"Bundle"}', "c": b"7"} == {
        key: bytes(value) for key, value in request.prefetch.items()
    }


def test_a_request_without_prefetch_has_none() -> None:
    assert ({}, {}) == (parse(call()).prefetch, parse(call(None)).prefetch)


# --- what is refused -------------------------------------------------------------------------------------------------

WRONG: list[tuple[str, Any, str]] = [
    ("a list", [call({})], ""),
    ("text", "patient-view", ""),
    ("null", None, ""),
    ("nothing at all", {}, "/hook"),
    ("no hook", call({}, hook=LEFT_OUT), "/hook"),
    ("hook null", call({}, hook=None), "/hook"),
    ("hook of another type", call({}, hook=["patient-view"]), "/hook"),
    ("another hook", call({}, hook="order-sign"), "/hook"),
    ("hook in another case", call({}, hook="Patient-View"), "/hook"),
    ("hook empty", call({}, hook=""), "/hook"),
    ("no instance", call({}, hookInstance=LEFT_OUT), "/hookInstance"),
    ("instance null", call({}, hookInstance=None), "/hookInstance"),
    ("instance empty", call({}, hookInstance=""), "/hookInstance"),
    ("instance a number", call({}, hookInstance=1), "/hookInstance"),
    ("instance endless", call({}, hookInstance="x" * 257), "/hookInstance"),
    ("no context", call({}, context=LEFT_OUT), "/context"),
    ("context null", call({}, context=None), "/context"),
    ("context a list", call({}, context=[CONTEXT]), "/context"),
    ("context text", call({}, context="patient"), "/context"),
    ("no patient", call({}, context={"userId": "Practitioner/1"}), "/context/patientId"),
    ("patient null", call({}, context={**CONTEXT, "patientId": None}), "/context/patientId"),
    ("patient a number", call({}, context={**CONTEXT, "patientId": 1}), "/context/patientId"),
    ("patient empty", call({}, context={**CONTEXT, "patientId": ""}), "/context/patientId"),
    ("patient a path", call({}, context={**CONTEXT, "patientId": "../Patient/1"}), "/context/patientId"),
    ("patient a query", call({}, context={**CONTEXT, "patientId": "1?_include=*"}), "/context/patientId"),
    ("patient with a line break", call({}, context={**CONTEXT, "patientId": "1\n"}), "/context/patientId"),
    ("patient a script", call({}, context={**CONTEXT, "patientId": "<script>"}), "/context/patientId"),
    ("patient with NUL", call({}, context={**CONTEXT, "patientId": "1\u0000"}), "/context/patientId"),
    ("patient endless", call({}, context={**CONTEXT, "patientId": "1" * 300}), "/context/patientId"),
    ("no user", call({}, context={"patientId": PATIENT}), "/context/userId"),
    ("user null", call({}, context={**CONTEXT, "userId": None}), "/context/userId"),
    ("user without a type", call({}, context={**CONTEXT, "userId": "dr-1"}), "/context/userId"),
    ("user a URL", call({}, context={**CONTEXT, "userId": "https://x/Practitioner/1"}), "/context/userId"),
    ("user with a line break", call({}, context={**CONTEXT, "userId": "Practitioner/1\n"}), "/context/userId"),
    ("encounter a number", call({}, context={**CONTEXT, "encounterId": 5}), "/context/encounterId"),
    ("encounter a script", call({}, context={**CONTEXT, "encounterId": "<script>"}), "/context/encounterId"),
    ("encounter a path", call({}, context={**CONTEXT, "encounterId": "../../Patient/2"}), "/context/encounterId"),
    ("encounter of another kind", call({}, context={**CONTEXT, "encounterId": "Patient/2"}), "/context/encounterId"),
    ("server a number", call({}, fhirServer=5), "/fhirServer"),
    ("server a list", call({}, fhirServer=["https://x"]), "/fhirServer"),
    ("token text", call({}, fhirAuthorization="Bearer x"), "/fhirAuthorization"),
    ("token of another patient", call({}, fhirAuthorization={**TOKEN, "patient": "2"}), "/fhirAuthorization/patient"),
    ("token of a patient that is a number", call({}, fhirAuthorization={"patient": 5}), "/fhirAuthorization/patient"),
    ("prefetch a list", call([]), "/prefetch"),
    ("prefetch text", call("x"), "/prefetch"),
    ("prefetch a number", call(5), "/prefetch"),
]


@pytest.mark.parametrize(("value", "where"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_refused_with_its_place(value: Any, where: str) -> None:
    refusal = refused(value)

    assert isinstance(refusal, InvalidRequest)
    assert where == refusal.where


@pytest.mark.parametrize(("value", "where"), [row[1:] for row in WRONG[3:]], ids=[row[0] for row in WRONG[3:]])
def test_what_is_wrong_is_refused_in_a_large_body_too(value: Any, where: str) -> None:
    assert where == refused({**value, **PADDING}).where


@pytest.mark.parametrize("value", [row[1] for row in WRONG], ids=[row[0] for row in WRONG])
def test_every_refusal_says_what_why_and_what_to_do(value: Any) -> None:
    refusal = refused(value)

    assert all((refusal.what, refusal.why, refusal.remedy, refusal.slug))


def test_a_refusal_never_repeats_what_was_sent() -> None:
    marked = call({}, hook="HOOK-MARK", context={"userId": "USER-MARK", "patientId": "PATIENT MARK"})

    assert "MARK" not in str(refused(marked))
    assert "MARK" not in str(refused({**marked, "hook": "patient-view"}))


@pytest.mark.parametrize(
    "raw", [b"", b" ", b"{", b'{"hook"', b"not json", b"{'hook': 1}", b'{"hook":"patient-view",}', b"\x00"]
)
def test_what_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedJson):
        HookRequest.parse(raw, "patient-view")


def test_the_fullest_request_is_read_completely() -> None:
    request = parse(call(prefetch(), **EPIC, context={**CONTEXT, "encounterId": "e"}))

    assert without(encounter="e", keys=6) == {"encounter": request.encounter_id, "keys": len(request.prefetch)}
