"""
A client that proves who it is gets the answer of its kind: from the token by its issuer to the members on the card.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask
from jwt.algorithms import RSAAlgorithm
from msgspec.structs import replace
from werkzeug.test import TestResponse

from cds_service.errors import SettingsError
from cds_service.protocol.caller import Caller
from cds_service.protocol.profile import Profile
from cds_service.rules.book import RuleBook
from cds_service.web import Settings, create_app
from tests.build import NECROSIS, SERVICE, body, call, condition, fired, observation, prefetch, prescription, to_json
from tests.fixtures.calls import FIXTURES, cast

PUBLIC = "https://cds.hospital.example"
ISSUER = "https://epic.hospital.example/api/FHIR/R4"
CONTENT_TYPE = "com.epic.cdshooks.card.detail.content-type"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def issuers(folder: Path, key: rsa.RSAPrivateKey, profile: str) -> str:
    """Write a file of one issuer of this kind, with its key."""
    public = {**json.loads(RSAAlgorithm.to_jwk(key.public_key())), "kid": "one", "alg": "RS384", "use": "sig"}
    entry = {"iss": ISSUER, "keys": [public], "audiences": ["as an analyst typed it"], "profile": profile}
    path = folder / "issuers.json"
    path.write_text(json.dumps({"issuers": [entry]}), encoding="utf-8")
    return str(path)


Send = Callable[[str, bytes], TestResponse]


@pytest.fixture
def send(tmp_path: Path, key: rsa.RSAPrivateKey, book: RuleBook) -> Callable[[str], Send]:
    """Build a service that knows one issuer of a kind, and post to it as that issuer: a token for every call."""

    def build(profile: str) -> Send:
        settings = Settings(auth="jwt", issuers=issuers(tmp_path, key, profile), public_url=PUBLIC)
        app = create_app(settings, book=book, clock=lambda: cast().noon)
        used: list[str] = []

        def post(service: str, raw: bytes) -> TestResponse:
            used.append(service)
            now = int(cast().noon)
            claims = {"iss": ISSUER, "sub": "client", "aud": "as an analyst typed it", "jti": f"id-{len(used)}"}
            token = jwt.encode({**claims, "iat": now, "exp": now + 300}, key, "RS384", headers={"kid": "one"})
            headers = {"Authorization": f"Bearer {token}"}
            return app.test_client().post(service, data=raw, content_type="application/json", headers=headers)

        return post

    return build


def test_an_epic_chart_opened_by_epic(send: Callable[[str], Send]) -> None:
    """
    The request is the one of fixtures/requests: extension, odd scopes, long ids, prefetch keys that were renamed.
    """
    raw = (FIXTURES / "requests" / "patient-view" / "epic-open-chart.json").read_bytes()

    response = send("epic")("/cds-services/calcinosis-patient-view", raw)

    assert 200 == response.status_code
    [card, *_] = response.get_json()["cards"]
    assert ("any", "text/markdown") == (card["selectionBehavior"], card["extension"][CONTENT_TYPE])
    assert all(len(offer["actions"]) == 1 and offer["uuid"] for offer in card["suggestions"])
    assert card["source"]["topic"]["code"].isalnum()


def test_the_same_call_of_another_kind_of_client(send: Callable[[str], Send]) -> None:
    raw = (FIXTURES / "requests" / "patient-view" / "dialysis-high-phosphate.json").read_bytes()
    expected = json.loads((FIXTURES / "clients/oracle-health/patient-view/dialysis-high-phosphate.json").read_bytes())

    response = send("oracle-health")("/cds-services/calcinosis-patient-view", raw)

    assert [card["detail"] for card in expected["cards"]] == [one["detail"] for one in response.get_json()["cards"]]


def test_an_issuer_of_an_unknown_kind_is_refused_at_start(send: Callable[[str], Send]) -> None:
    with pytest.raises(SettingsError, match="epik") as refusal:
        send("epik")

    assert "unknown-profile" == refusal.value.slug
    assert "epic" in refusal.value.remedy


def ask(app: Flask, raw: bytes, profile: Profile) -> dict[str, Any]:
    """Ask an application as a client with a profile of its own."""
    answered: dict[str, Any] = json.loads(
        app.extensions["cds"].answer(SERVICE.rpartition("/")[2], raw, Caller(profile=profile))
    )
    return answered


def test_a_clients_own_names_of_code_systems_are_read(app: Flask, book: RuleBook) -> None:
    """
    An alias holds for the client that has it, and for nobody else.
    """
    local = "urn:oid:1.2.840.114350.1.13.1.7.2.768282"
    phosphate = observation(value=8.0)
    phosphate["code"]["coding"][0]["system"] = local
    raw = to_json(call(prefetch(condition(), phosphate)))
    knowing = replace(book.clients["epic"], name="our-epic", code_systems={local: "LOINC"})

    assert "eskd-hyperphosphatemia" in fired(ask(app, raw, knowing))
    assert "eskd-hyperphosphatemia" not in fired(ask(app, raw, book.clients["epic"]))
    assert "eskd-hyperphosphatemia" not in fired(ask(app, raw, Profile()))


def test_a_client_that_shows_one_card_gets_one_and_the_rest_is_named(app: Flask) -> None:
    raw = body(condition(), observation(value=8.0), condition(NECROSIS, id="necrosis"), prescription())
    usual = ask(app, raw, Profile())

    narrow = ask(app, raw, Profile(name="narrow", card_limit=1))

    critical = [card for card in usual["cards"] if card["indicator"] == "critical"]
    assert len(usual["cards"]) > len(narrow["cards"]) >= max(1, len(critical))
    assert "beyond the limit of 1 cards" in json.dumps(narrow["extension"]["org.calcinosis-cds"]["held_back"])
