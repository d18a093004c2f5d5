"""
Every hook call in fixtures/requests gets the answer that stands in fixtures/responses.

Where an answer changes on purpose: `make fixtures`, read the diff as a clinician would, commit it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from fhir.resources.R4B.bundle import Bundle

from cds_service.schemas import validator
from tests.fixtures import calls
from tests.fixtures.generated import everything, written

ACCEPT = "If this is meant: `make fixtures`, read the diff, commit it."
REQUESTS = calls.FIXTURES / "requests"
RESPONSES = calls.FIXTURES / "responses"
NAMES = sorted(f"{path.parent.name}/{path.stem}" for path in REQUESTS.glob("*/*.json"))


def read(folder: Any, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / f"{name}.json").read_bytes())
    return loaded


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def golden(name: str) -> dict[str, Any]:
    return read(RESPONSES, name)


def test_the_answer_is_the_golden_one(name: str, golden: dict[str, Any]) -> None:
    answer = calls.answer(read(REQUESTS, name))

    assert written(golden) == written(answer), ACCEPT


def test_what_make_fixtures_writes_is_committed() -> None:
    """
    Requests follow discovery and the cast; the population follows its generator.
    """
    stale = [
        name
        for name, text in everything().items()
        if not (path := calls.FIXTURES / name).exists() or path.read_text(encoding="utf-8") != text
    ]

    assert [] == stale, ACCEPT


def test_no_request_or_answer_is_left_over() -> None:
    expected = {name for name in everything() if not name.startswith("population")}
    clients = (calls.FIXTURES / "clients").glob("*/*/*")
    paths = [*REQUESTS.glob("*/*"), *RESPONSES.glob("*/*"), *clients]
    found = {path.relative_to(calls.FIXTURES).as_posix() for path in paths}

    assert expected == found


@pytest.mark.parametrize("member", calls.cast().members, ids=lambda member: member.patient)
def test_the_cast_gets_the_cards_its_story_asks_for(member: Any) -> None:
    """
    The story says by hand what must be seen; the golden answer alone would only say what was.
    """
    cards = read(RESPONSES, f"{calls.HOOK}/{member.patient}")["cards"]

    assert list(member.cards) == [
        " ".join([card["indicator"], *(rule["id"] for rule in card["extension"]["org.calcinosis-cds"]["rules"])])
        for card in cards
    ]


def test_every_patient_is_in_the_cast() -> None:
    files = sorted(path.stem for path in (calls.FIXTURES / "patients").glob("*.json"))

    assert files == sorted(member.patient for member in calls.cast().members)


def test_the_readme_lists_the_cast_in_its_order() -> None:
    lines = (calls.FIXTURES / "README.md").read_text(encoding="utf-8").splitlines()
    listed = [line.split("`")[1] for line in lines if line.startswith("| `") and "/" not in line.split("`")[1]]

    assert [member.patient for member in calls.cast().members] == [name for name in listed if "." not in name]


def test_the_answer_has_the_shape_of_cds_hooks(golden: dict[str, Any]) -> None:
    errors = [f"{error.json_path}: {error.message}" for error in validator("response").iter_errors(golden)]

    assert [] == errors


def test_no_member_is_empty(golden: dict[str, Any]) -> None:
    """
    CDS Hooks allows no null, "", [] or {}, but for `cards: []` (CHECKLIST A4).
    """
    assert [] == [where for where in empty(golden, "") if where != "/cards"]


def empty(node: Any, where: str) -> Iterator[str]:
    if node in (None, "", [], {}):
        yield where
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from empty(child, f"{where}/{key}")


def test_every_suggestion_creates_a_valid_draft_for_this_patient(name: str, golden: dict[str, Any]) -> None:
    patient = read(REQUESTS, name)["context"]["patientId"]

    for action in (one for one in actions(golden) if one["type"] != "delete"):
        resource = action["resource"]
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
        assert ("create", "draft", "proposal") == (action["type"], resource["status"], resource["intent"])
        assert f"Patient/{patient}" == resource["subject"]["reference"]


def actions(golden: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every action that an answer suggests."""
    return [one for card in golden["cards"] for offer in card.get("suggestions", ()) for one in offer["actions"]]


def test_only_an_order_of_the_call_can_be_taken_away(name: str, golden: dict[str, Any]) -> None:
    drafts = read(REQUESTS, name)["context"].get("draftOrders") or read(REQUESTS, name)["context"].get("medications")
    entries = [one["resource"] for one in (drafts or {}).get("entry", ())]
    known = {f"{one['resourceType']}/{one['id']}" for one in entries}

    assert known >= {one["resourceId"] for one in actions(golden) if one["type"] == "delete"}


@pytest.mark.parametrize("hook", sorted({entry.service.hook for entry in calls.book().services.values()}))
def test_every_hook_has_fixtures(hook: str) -> None:
    assert 2 <= len([name for name in NAMES if name.startswith(f"{hook}/")])


def test_every_uuid_is_used_once(golden: dict[str, Any]) -> None:
    uuids = [one["uuid"] for card in golden["cards"] for one in (card, *card.get("suggestions", ()))]

    assert len(uuids) == len(set(uuids))


def test_no_text_of_a_record_comes_back_alive(golden: dict[str, Any]) -> None:
    """
    The messy record carries HTML, links, images and characters that hide: none of it may leave as what it is.
    """
    texts = [text for card in golden["cards"] for text in (card["summary"], card["detail"])]

    for text in texts:
        assert not any(sign in text for sign in ("<script", "<img", "](", "http", "www.", "\u202e", "\u200b", "`"))


@pytest.mark.parametrize("path", sorted((calls.FIXTURES / "patients").glob("*.json")), ids=lambda path: path.stem)
def test_every_patient_is_valid_fhir(path: Any) -> None:
    Bundle.model_validate_json(path.read_bytes())
    bundle = json.loads(path.read_bytes())

    assert ("collection", path.stem) == (bundle["type"], bundle["entry"][0]["resource"]["id"])
    assert all(entry["fullUrl"].endswith(f"/{entry['resource']['id']}") for entry in bundle["entry"])


def test_everybody_is_invented() -> None:
    """
    Names and numbers say so themselves.
    """
    for path in (calls.FIXTURES / "patients").glob("*.json"):
        person = json.loads(path.read_bytes())["entry"][0]["resource"]

        assert person["identifier"][0]["value"].startswith("SYNTHETIC-")
        assert not {"telecom", "address", "photo", "contact"} & person.keys()


def test_the_population_is_valid_fhir() -> None:
    files = (calls.FIXTURES / "population").glob("*.ndjson")
    lines = [line for path in files for line in path.read_bytes().splitlines()]

    for line in lines[::7]:
        get_fhir_model_class(json.loads(line)["resourceType"]).model_validate_json(line)
    assert 200 == sum(b'"resourceType":"Patient"' in line for line in lines)
    assert 1_500_000 > sum(map(len, lines))
