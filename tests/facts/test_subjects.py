"""
Whose data are these? A card built from another patient's data must be impossible (RELIABILITY.md section 4).
"""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.errors import WrongPatient
from cds_service.facts import Facts, Policy
from cds_service.protocol.prefetch import State
from tests.build import (
    LEFT_OUT,
    NECROSIS,
    PATIENT,
    SERVER,
    STRANGER,
    Resource,
    ago,
    bundle,
    condition,
    entry,
    family,
    observation,
    patient,
    prescription,
    procedure,
    reference,
    statement,
)
from tests.conftest import TakeIn

UUID = "urn:uuid:0f3b4e5a-2c1d-4e5f-8a9b-0c1d2e3f4a5b"
DROP = Policy(drop_strangers=True)


def count(found: Facts) -> int:
    """Count everything that rules could use."""
    several = (found.measurements, found.diagnoses, found.medications, found.procedures)
    return sum(len(items) for kind in several for items in kind.values())


# --- every form of reference to the hook's patient -------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        f"Patient/{PATIENT}",
        f"Patient/{PATIENT}/_history/7",
        f"{SERVER}/Patient/{PATIENT}",
        f"{SERVER}/Patient/{PATIENT}/_history/7",
    ],
)
def test_the_patient_is_known_in_any_form_of_reference(facts: TakeIn, written: str) -> None:
    found = facts(observation(subject={"reference": written}), fhirServer=SERVER)

    assert 1 == count(found)


@pytest.mark.parametrize("server", [SERVER, SERVER + "/"])
def test_a_slash_at_the_end_of_the_server_makes_no_difference(facts: TakeIn, server: str) -> None:
    found = facts(observation(subject={"reference": f"{SERVER}/Patient/{PATIENT}"}), fhirServer=server)

    assert 1 == count(found)


def test_a_site_may_name_further_bases_of_its_server(facts: TakeIn) -> None:
    subject = {"reference": f"https://inside.example/r4/Patient/{PATIENT}"}
    found = facts(
        observation(subject=subject),
        fhirServer=SERVER,
        policy=Policy(bases=frozenset({"https://inside.example/r4"})),
    )

    assert 1 == count(found)


def test_a_uuid_is_followed_to_the_patient_in_the_bundle(facts: TakeIn) -> None:
    whole = bundle(
        entry(patient(), fullUrl=UUID), entry(observation(subject={"reference": UUID}), fullUrl="urn:uuid:1")
    )

    assert 1 == count(facts(values={"observations": whole}))


def test_the_patient_may_stand_under_another_key_than_what_refers_to_it(facts: TakeIn) -> None:
    found = facts(observation(subject={"reference": UUID}), values={"patient": bundle(entry(patient(), fullUrl=UUID))})

    assert 1 == count(found)


def test_the_patient_id_of_the_hook_may_carry_its_type(facts: TakeIn) -> None:
    found = facts(observation(), context={"userId": "Practitioner/1", "patientId": f"Patient/{PATIENT}"})

    assert 1 == count(found)


@pytest.mark.parametrize("long", ["e" * 100, "eAbc.def-ghi" * 10])
def test_ids_longer_than_fhir_allows_are_known(facts: TakeIn, long: str) -> None:
    """
    Epic's ids have up to 200 characters, with dots (EHRS.md).
    """
    found = facts(
        observation(subject=reference(long)),
        values={"patient": patient(id=long)},
        context={"userId": "Practitioner/1", "patientId": long},
    )

    assert 1 == count(found)


# --- nobody's data ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "subject",
    [
        LEFT_OUT,
        None,
        {},
        {"identifier": {"system": "urn:oid:1.2.3", "value": "MRN-1"}},
        {"display": "Rossi, Anna"},
        {"reference": None},
        {"reference": ""},
        {"reference": "#p"},
        {"reference": UUID},
        {"reference": PATIENT},
        {"reference": "Patient/"},
        {"reference": f"Group/{PATIENT}"},
        {"reference": f"Device/{PATIENT}"},
        {"reference": f"patient/{PATIENT}"},
        {"reference": f"XPatient/{PATIENT}"},
        {"reference": f"Practitioner/{PATIENT}"},
    ],
    ids=str,
)
@pytest.mark.parametrize("build", [observation, condition, prescription, statement, procedure])
def test_data_that_do_not_name_the_patient_are_set_aside(facts: TakeIn, build: Any, subject: Any) -> None:
    """
    That the EHR searched for this patient is no proof.
    """
    found = facts(build(subject=subject))

    assert (0, {"no-subject"}) == (count(found), {aside.reason for aside in found.set_aside})


@pytest.mark.parametrize("subject", [f"Patient/{PATIENT}", [reference()], 5, {"reference": 5}], ids=str)
def test_a_subject_of_another_shape_names_nobody(facts: TakeIn, subject: Any) -> None:
    found = facts(observation(subject=subject))

    assert 0 == count(found)
    assert {aside.reason for aside in found.set_aside} <= {"no-subject", "misfit"}


def test_the_same_id_on_another_server_is_not_used(facts: TakeIn) -> None:
    subject = {"reference": f"https://other.example/fhir/Patient/{PATIENT}"}
    found = facts(observation(subject=subject), fhirServer=SERVER)

    assert (0, {"unrelated-server"}) == (count(found), {aside.reason for aside in found.set_aside})


@pytest.mark.parametrize(
    ("known", "written"),
    [
        ("https://ehr.example/fhir", "https://EHR.example/fhir"),
        ("https://EHR.Example:443/fhir", "https://ehr.example/fhir"),
        ("http://ehr.example/fhir/", "http://ehr.example:80/fhir"),
        ("https://[2001:db8::1]/fhir", "https://[2001:DB8::1]:443/fhir"),
    ],
)
def test_a_server_is_the_same_however_its_address_is_spelt(facts: TakeIn, known: str, written: str) -> None:
    found = facts(observation(subject={"reference": f"{written}/Patient/{PATIENT}"}), fhirServer=known)

    assert 1 == count(found)


@pytest.mark.parametrize(
    "written",
    [
        "http://ehr.example/fhir",
        "https://ehr.example:8443/fhir",
        "https://ehr.example/FHIR",
        "https://ehr.example.org/fhir",
        "https://me@ehr.example/fhir",
        "https://ehr.example/fhir?x=/",
        "https://[ehr.example/fhir",
        "https://ehr.example:no/fhir",
    ],
)
def test_another_address_is_another_server(facts: TakeIn, written: str) -> None:
    found = facts(
        observation(subject={"reference": f"{written}/Patient/{PATIENT}"}), fhirServer="https://ehr.example/fhir"
    )

    assert (0, {"unrelated-server"}) == (count(found), {aside.reason for aside in found.set_aside})


def test_a_patient_under_an_address_elsewhere_does_not_make_that_server_ours(facts: TakeIn) -> None:
    """Somebody else may have that id there."""
    elsewhere = f"https://other.example/fhir/Patient/{PATIENT}"
    whole = bundle(entry(patient(), fullUrl=elsewhere))
    found = facts(observation(subject={"reference": elsewhere}), values={"patient": whole}, fhirServer=SERVER)

    assert (0, {"unrelated-server"}) == (count(found), {aside.reason for aside in found.set_aside})


# --- what is set aside is not known to be absent ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "kind"),
    [
        (observation(subject=LEFT_OUT), "observations"),
        (observation(subject={"reference": f"https://other.example/fhir/Patient/{PATIENT}"}), "observations"),
        (observation(modifierExtension=[{"url": "https://example.org/not", "valueBoolean": True}]), "observations"),
        (condition(subject={"identifier": {"value": "MRN-1"}}), "conditions"),
        (procedure(subject=LEFT_OUT), "procedures"),
        (statement(subject=LEFT_OUT), "statements"),
        (prescription(subject=LEFT_OUT), "medications"),
        (prescription(subject=LEFT_OUT), "pastMedications"),
        (prescription(medicationCodeableConcept=LEFT_OUT, medicationReference={"reference": "x/1"}), "medications"),
        (prescription(medicationCodeableConcept=LEFT_OUT, medication={"concept": {"text": "x"}}), "medications"),
    ],
    ids=str,
)
def test_what_is_set_aside_unread_leaves_its_kind_incomplete(facts: TakeIn, one: Resource, kind: str) -> None:
    """Silence must not look like safety (RELIABILITY.md 2): nobody knows what it would have said."""
    usual = facts(values={"pastMedications": bundle()})
    found = facts(one, values={"pastMedications": bundle()}, fhirServer=SERVER)

    assert {kind} <= {name for name, state in found.states.items() if state == State.TRUNCATED}
    assert State.TRUNCATED not in usual.states.values()
    assert kind not in found.horizons


def test_a_stranger_that_a_site_drops_says_nothing_of_what_is_known_of_the_patient(facts: TakeIn) -> None:
    found = facts(observation(), observation(subject=reference(STRANGER)), policy=DROP)

    assert State.COMPLETE == found.states["observations"]


def test_a_contained_patient_is_not_the_hooks_patient(facts: TakeIn) -> None:
    found = facts(observation(contained=[patient()], subject={"reference": f"#{PATIENT}"}))

    assert 0 == count(found)


# --- somebody else's data --------------------------------------------------------------------------------------------

STRANGERS: list[tuple[str, Resource]] = [
    ("a result", observation(subject=reference(STRANGER))),
    ("a condition", condition(NECROSIS, subject=reference(STRANGER))),
    ("a prescription", prescription(subject=reference(STRANGER))),
    ("a statement", statement(subject=reference(STRANGER))),
    ("a procedure", procedure(subject=reference(STRANGER))),
    ("a family history", family(patient=reference(STRANGER))),
    ("a version", observation(subject={"reference": f"Patient/{STRANGER}/_history/1"})),
    ("an absolute URL", observation(subject={"reference": f"{SERVER}/Patient/{STRANGER}"})),
    ("another server", observation(subject={"reference": f"https://other.example/Patient/{STRANGER}"})),
    ("a similar id", observation(subject=reference(PATIENT + "0"))),
    ("another case", observation(subject=reference(PATIENT.upper()))),
    ("a subject and a patient", condition(patient=reference(STRANGER))),
    ("a retracted result", observation(subject=reference(STRANGER), status="entered-in-error")),
    ("an unknown code", observation("0000-0", subject=reference(STRANGER))),
]


@pytest.mark.parametrize("one", [one for _, one in STRANGERS], ids=[name for name, _ in STRANGERS])
def test_data_of_another_patient_refuse_the_call(facts: TakeIn, one: Resource) -> None:
    with pytest.raises(WrongPatient):
        facts(observation(), one, fhirServer=SERVER)


@pytest.mark.parametrize("one", [one for _, one in STRANGERS], ids=[name for name, _ in STRANGERS])
def test_a_site_may_drop_data_of_another_patient_instead(facts: TakeIn, one: Resource) -> None:
    found = facts(observation(), one, fhirServer=SERVER, policy=DROP)

    assert (1, ["stranger"]) == (count(found), [aside.reason for aside in found.set_aside])


@pytest.mark.parametrize(
    "other",
    [
        patient(id=STRANGER),
        patient(id=LEFT_OUT),
        patient(id=STRANGER, subject=reference()),
        patient(id=STRANGER, birthDate=5),
        bundle(patient(), patient(id=STRANGER)),
    ],
    ids=["another", "without an id", "that claims to be about ours", "of another shape", "beside ours"],
)
def test_another_patient_refuses_the_call(facts: TakeIn, other: Resource) -> None:
    with pytest.raises(WrongPatient):
        facts(values={"patient": other})


def test_another_patient_who_is_dropped_tells_us_nothing(facts: TakeIn) -> None:
    found = facts(values={"patient": patient(id=STRANGER, gender="male", deceasedBoolean=True)}, policy=DROP)

    assert ("", False) == (found.person.sex, found.person.deceased)


def test_a_patient_who_came_along_in_a_search_is_passed_over(facts: TakeIn) -> None:
    """
    The mother of a newborn may be included by the EHR's search; she is not asked about.
    """
    mother = entry(patient(id=STRANGER, gender="male"), search={"mode": "include"})
    found = facts(values={"observations": bundle(entry(observation()), mother, total=1)})

    assert (1, "female") == (count(found), found.person.sex)


def test_a_stranger_cannot_hide_behind_a_newer_version_of_the_same_id(facts: TakeIn) -> None:
    older = observation(id="same", subject=reference(STRANGER), meta={"lastUpdated": ago(9)})
    newer = observation(id="same", meta={"lastUpdated": ago(1)})

    with pytest.raises(WrongPatient):
        facts(older, newer)


@pytest.mark.parametrize(
    "full_url", [f"Patient/{STRANGER}", f"{SERVER}/Patient/{STRANGER}", f"https://x/Patient/{STRANGER}"]
)
def test_a_full_url_cannot_make_another_patient_ours(facts: TakeIn, full_url: str) -> None:
    liar = entry(patient(), fullUrl=full_url)

    with pytest.raises(WrongPatient):
        facts(observation(subject={"reference": full_url}), values={"patient": bundle(liar)}, fhirServer=SERVER)


def test_the_refusal_names_no_patient(facts: TakeIn) -> None:
    with pytest.raises(WrongPatient) as refused:
        facts(observation(subject=reference(STRANGER)))

    assert not {PATIENT, STRANGER} & set(str(refused.value).replace("/", " ").split())


# --- merged patients, the dead ---------------------------------------------------------------------------------------


def merged(kind: str, other: str = "old-id") -> Resource:
    """Return our Patient with a link to another record of the same person."""
    return patient(link=[{"other": {"reference": f"Patient/{other}"}, "type": kind}])


@pytest.mark.parametrize("kind", ["replaces", "replaced-by"])
def test_data_of_a_record_that_was_merged_with_the_patients_count(facts: TakeIn, kind: str) -> None:
    found = facts(observation(subject=reference("old-id")), values={"patient": merged(kind)})

    assert 1 == count(found)


@pytest.mark.parametrize("kind", ["refer", "seealso"])
def test_a_mere_cross_reference_is_no_merger(facts: TakeIn, kind: str) -> None:
    with pytest.raises(WrongPatient):
        facts(observation(subject=reference("old-id")), values={"patient": merged(kind)})


def test_only_the_hooks_patient_can_name_merged_records(facts: TakeIn) -> None:
    other = patient(id=STRANGER, link=[{"other": reference(PATIENT), "type": "replaces"}])

    with pytest.raises(WrongPatient):
        facts(observation(subject=reference(STRANGER)), values={"patient": bundle(patient(), other)})


@pytest.mark.parametrize(
    "link", [None, 5, [5], [None], [{"other": 5, "type": "replaces"}], [{"type": "replaces"}]], ids=str
)
def test_a_link_of_another_shape_merges_nothing(facts: TakeIn, link: Any) -> None:
    assert "female" == facts(values={"patient": patient(link=link)}).person.sex


@pytest.mark.parametrize(
    ("members", "deceased"),
    [
        ({}, False),
        ({"deceasedBoolean": False}, False),
        ({"deceasedBoolean": True}, True),
        ({"deceasedDateTime": ago(3)}, True),
        ({"deceasedDateTime": "2025"}, True),
        ({"deceasedDateTime": "last winter"}, True),
        ({"deceasedDateTime": ago(-3)}, False),
        ({"deceasedBoolean": None, "deceasedDateTime": None}, False),
        ({"active": False}, False),
    ],
    ids=str,
)
def test_whether_the_patient_is_recorded_as_deceased(facts: TakeIn, members: Resource, deceased: bool) -> None:
    assert deceased == facts(values={"patient": patient(**members)}).person.deceased


@pytest.mark.parametrize("written", [LEFT_OUT, None, "2199-01-01", "1967-02-30", "unknown", ""], ids=repr)
def test_a_birth_date_that_cannot_be_is_unknown(facts: TakeIn, written: Any) -> None:
    assert None is facts(values={"patient": patient(birthDate=written)}).person.born


@pytest.mark.parametrize(("written", "days"), [("1967", 365), ("1967-11", 30), ("1967-11-20", 1)])
def test_a_birth_date_is_as_precise_as_it_was_recorded(facts: TakeIn, written: str, days: int) -> None:
    born = facts(values={"patient": patient(birthDate=written)}).person.born

    assert born is not None
    assert days == born.last - born.first + 1


@pytest.mark.parametrize(
    "members", [{"modifierExtension": [{"url": "http://x"}]}, {"implicitRules": "http://x"}], ids=str
)
def test_a_patient_that_may_mean_the_opposite_tells_nothing(facts: TakeIn, members: Resource) -> None:
    found = facts(values={"patient": patient(**members)})

    assert ("", None) == (found.person.sex, found.person.born)
