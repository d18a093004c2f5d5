"""
Who may call: the same answer for every token that is not accepted, on both roads (SECURITY.md 1).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from cds_service.adapters.ehr import LocalRecord
from cds_service.errors import SettingsError
from tests.adapters.auth.hostile import HOSTILE
from tests.adapters.auth.signing import (
    AUDIENCE,
    EPIC_KID,
    ISSUER,
    JKU,
    PUBLIC_URL,
    SECONDS,
    claims,
    header,
    key_set,
    public,
    signed_by,
    token,
)
from tests.build import LEFT_OUT, PATIENT, SERVICE, body, condition, observation
from tests.faults.asking import SICK, always, asking, reasons
from tests.faults.servers import Reply, answering, fhir, running

Make = Callable[..., Flask]
RAW = body(condition(), observation(value=8.1))
SHORT: dict[str, Any] = {}
ORDINARY: dict[str, Any] = {"content_type": "application/json; charset=utf-8"}
ROADS = pytest.mark.parametrize("road", [SHORT, ORDINARY], ids=["short", "ordinary"])
CERTIFICATE = "CN=ehr.hospital.example,O=Hospital"


@pytest.fixture(scope="module")
def issuers(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Write a file of issuers, whose keys stand in it unless there is a jku."""
    folder = tmp_path_factory.mktemp("issuers")

    def write(**members: Any) -> str:
        keys = [public(one) for one in ("es384", "es256", "rs384", EPIC_KID)]
        entry = {"iss": ISSUER, "audiences": ["sand_man"], **({} if "jku" in members else {"keys": keys}), **members}
        path = folder / f"{len(list(folder.iterdir()))}.yaml"
        path.write_text(json.dumps({"issuers": [entry]}), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture(scope="module")
def app(make_app: Make, issuers: Callable[..., str]) -> Flask:
    return make_app(auth="jwt", issuers=issuers(), public_url=PUBLIC_URL)


def post(app: Flask, text: str | None, road: dict[str, Any], raw: bytes = RAW, path: str = SERVICE) -> TestResponse:
    headers = {} if text is None else {"Authorization": f"Bearer {text}"}
    environ = {name: value for name, value in road.items() if name.isupper()}
    usual = {"content_type": "application/json", **{name: one for name, one in road.items() if name not in environ}}
    return app.test_client().post(
        path, data=raw, headers=headers | usual.pop("headers", {}), environ_overrides=environ, **usual
    )


# --- good tokens -----------------------------------------------------------------------------------------------------


@ROADS
def test_a_good_token_is_answered_once(app: Flask, road: dict[str, Any]) -> None:
    text = token()

    assert [200, 401, 401] == [post(app, text, road).status_code for _ in range(3)]


def test_a_token_used_on_one_road_is_used_up_on_the_other(app: Flask) -> None:
    for roads in ((SHORT, ORDINARY), (ORDINARY, SHORT)):
        text = token()
        assert [200, 401] == [post(app, text, road).status_code for road in roads]


@pytest.mark.parametrize(
    "raw", [b"{", b"[]", b"{}", body(hook="order-sign"), b'{"hook":"patient-view","hook":"x"}'], ids=str
)
@ROADS
def test_what_is_wrong_with_a_call_that_was_let_in_is_said(app: Flask, road: dict[str, Any], raw: bytes) -> None:
    """
    The token is not asked for again on the ordinary road, where it would be a replay.
    """
    assert 400 == post(app, token(), road, raw).status_code


def test_other_problems_after_the_door_stay_what_they_are(app: Flask) -> None:
    other = claims(aud=f"{PUBLIC_URL}/cds-services/none")

    assert 404 == post(app, token(other), SHORT, path="/cds-services/none").status_code
    assert 415 == post(app, token(), {"content_type": "text/plain"}).status_code
    assert 412 == post(app, token(), SHORT, body(values={"observations": None}, prefetch={})).status_code


def test_an_epic_token_and_one_of_the_public_sandbox_are_answered(app: Flask) -> None:
    epic = token(claims(sub="client", nbf=SECONDS - 300, exp=SECONDS + 900), header("RS384", EPIC_KID), signer=EPIC_KID)
    sandbox = token(claims(iat=SECONDS + 0.5, exp=SECONDS + 300.5))

    assert [200, 200] == [post(app, one, SHORT).status_code for one in (epic, sandbox)]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_the_word_bearer_may_be_written_in_any_case(app: Flask, scheme: str) -> None:
    response = app.test_client().post(
        SERVICE, data=RAW, content_type="application/json", headers={"Authorization": f"{scheme} {token()}"}
    )

    assert 200 == response.status_code


# --- hostile tokens --------------------------------------------------------------------------------------------------


def said(response: TestResponse) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return all that a client is told, less the id of its request."""
    told = sorted((name, value) for name, value in response.headers if not name.lower().startswith("x-request"))
    return response.status_code, response.data, told


@pytest.fixture(scope="module")
def refused(app: Flask) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return what a client without a token is told."""
    return said(post(app, None, SHORT))


def test_a_refusal_says_nothing(refused: tuple[int, bytes, list[tuple[str, str]]]) -> None:
    status, raw, headers = refused

    assert 401 == status
    assert "Bearer" == dict(headers)["WWW-Authenticate"]
    assert {"resourceType", "issue"} == set(json.loads(raw))
    assert "not authenticated" in raw.decode()


@pytest.mark.parametrize("name", HOSTILE)
def test_every_hostile_token_gets_the_same_answer_byte_for_byte(
    app: Flask, refused: tuple[int, bytes, list[tuple[str, str]]], name: str
) -> None:
    text = HOSTILE[name]()
    if name.startswith("jku") and "jku a" not in name and "null" not in name:
        return  # the keys of this issuer were given to us: what the token says of others does not matter
    if not text.isprintable():
        text = text.replace("\n", "\t")  # no server would let a line break through
    for road in (SHORT, ORDINARY):
        assert refused == said(post(app, text, road))


@pytest.mark.parametrize(
    "sent",
    ["", "Bearer", "Bearer ", "Basic eDp5", "bearer", "Token x", "Digest x", "Bearer a b", "Bearer a,Bearer b", "\t"],
)
@ROADS
def test_what_is_no_bearer_token_gets_it_too(
    app: Flask, refused: tuple[int, bytes, list[tuple[str, str]]], sent: str, road: dict[str, Any]
) -> None:
    response = app.test_client().post(
        SERVICE, data=RAW, headers={"Authorization": sent}, **{"content_type": "application/json", **road}
    )

    assert refused == said(response)


def test_a_replay_gets_it_too(app: Flask, refused: tuple[int, bytes, list[tuple[str, str]]]) -> None:
    text = token()
    post(app, text, SHORT)

    assert refused == said(post(app, text, SHORT)) == said(post(app, text, ORDINARY))


def test_without_issuers_nobody_is_let_in(make_app: Make, refused: tuple[int, bytes, list[tuple[str, str]]]) -> None:
    assert refused == said(post(make_app(auth="jwt"), token(), SHORT))


@ROADS
def test_why_stands_in_the_log_and_the_token_does_not(
    app: Flask, caplog: pytest.LogCaptureFixture, road: dict[str, Any]
) -> None:
    text = token(claims(exp=SECONDS - 100, iat=SECONDS - 200, jti="MARKED-JTI", sub="MARKED-SUB"))
    caplog.set_level(logging.DEBUG)
    logging.getLogger("cds_service").propagate = True
    post(app, text, road)
    lines = "".join(str(record.__dict__) for record in caplog.records)

    assert "401 expired" in lines
    assert text not in lines
    assert not {"MARKED-JTI", "MARKED-SUB", text.split(".")[2]} & set(lines.split("'"))


# --- for whom --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "cds.hospital.example:8443", "localhost", ""])
@ROADS
def test_the_host_header_decides_nothing(app: Flask, host: str, road: dict[str, Any]) -> None:
    for name in ("Host", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Original-URL"):
        changed = {**road, "headers": {name: host}}
        assert 200 == post(app, token(), changed).status_code
        to_them = token(claims(aud=f"https://{host or 'x'}{SERVICE}"))
        assert 401 == post(app, to_them, changed).status_code


def test_a_token_for_one_service_does_not_open_another(app: Flask) -> None:
    other = "/cds-services/calcinosis-order-sign"

    assert 401 == post(app, token(), SHORT, path=other).status_code
    assert 401 == post(app, token(claims(aud=PUBLIC_URL + other)), SHORT).status_code


def test_a_token_for_a_service_opens_its_feedback_and_one_for_feedback_only_that(app: Flask) -> None:
    path = f"{SERVICE}/feedback"
    for_feedback = claims(aud=f"{AUDIENCE}/feedback")

    assert 401 != post(app, token(), SHORT, b"{}", path).status_code
    assert 401 != post(app, token(for_feedback), SHORT, b"{}", path).status_code
    assert 401 == post(app, token(for_feedback | {"jti": "another"}), SHORT).status_code


def test_an_audience_of_the_issuer_opens_every_service(app: Flask) -> None:
    assert 200 == post(app, token(claims(aud="sand_man")), SHORT).status_code


def test_discovery_is_open_and_health_too(app: Flask) -> None:
    client = app.test_client()

    assert [200, 200] == [client.get(path).status_code for path in ("/cds-services", "/healthz")]
    assert 200 == client.get("/cds-services", headers={"Authorization": "Bearer nonsense"}).status_code


def test_a_preflight_carries_no_token(app: Flask) -> None:
    asked = {"Origin": "https://sandbox.example", "Access-Control-Request-Method": "POST"}

    assert app.test_client().options(SERVICE, headers=asked).status_code in {200, 204}


# --- keys that cannot be had -----------------------------------------------------------------------------------------


@ROADS
def test_where_keys_were_never_had_the_answer_is_503(
    make_app: Make, issuers: Callable[..., str], road: dict[str, Any]
) -> None:
    with running(always(Reply({}, 500))) as server:
        jku = f"{server.base}/jwks.json"
        app = make_app(auth="jwt", issuers=issuers(jku=jku), public_url=PUBLIC_URL)
        response = post(app, token(None, header(jku=jku)), road)

        assert (503, "5") == (response.status_code, response.headers["Retry-After"])
        assert 1 == len(server.asked)
        assert 401 == post(app, token(claims(iss="https://evil.example"), header(jku=jku)), road).status_code


@ROADS
def test_keys_are_fetched_from_the_listed_address_only(
    make_app: Make, issuers: Callable[..., str], road: dict[str, Any]
) -> None:
    keys = always(Reply(key_set(public("es384")), kind="application/json"))
    with running(keys) as canary, running(keys) as server:
        jku = f"{server.base}/jwks.json"
        app = make_app(auth="jwt", issuers=issuers(jku=jku), public_url=PUBLIC_URL)

        for other in (f"{canary.base}/jwks.json", f"{jku}x", jku.replace("127.0.0.1", "localhost"), JKU):
            assert 401 == post(app, token(None, header(jku=other)), road).status_code
        assert (0, 0) == (canary.connections, server.connections)
        assert 200 == post(app, token(None, header(jku=jku)), road).status_code
        assert 200 == post(app, token(None, header(jku=LEFT_OUT)), road).status_code
        assert 401 == post(app, signed_by("es256", "ES256", jku=jku), road).status_code
        assert (0, 1) == (canary.connections, len(server.asked))


# --- client certificates ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def behind_proxy(make_app: Make, issuers: Callable[..., str]) -> Flask:
    return make_app(
        auth="jwt",
        issuers=issuers(certificate=CERTIFICATE),
        public_url=PUBLIC_URL,
        trusted_proxy=("10.0.0.7/32", "192.168.0.0/24", "fd00::/64"),
        client_cert_header="X-Client-Subject",
    )


@pytest.mark.parametrize(
    ("address", "subject", "status"),
    [
        ("10.0.0.7", CERTIFICATE, 200),
        ("192.168.0.200", CERTIFICATE, 200),
        ("fd00::9", CERTIFICATE, 200),
        ("::ffff:10.0.0.7", CERTIFICATE, 200),
        ("10.0.0.8", CERTIFICATE, 401),
        ("127.0.0.1", CERTIFICATE, 401),
        ("::1", CERTIFICATE, 401),
        ("", CERTIFICATE, 401),
        ("nonsense", CERTIFICATE, 401),
        ("10.0.0.7", "", 401),
        ("10.0.0.7", "CN=other", 401),
        ("10.0.0.7", f"{CERTIFICATE},{CERTIFICATE}", 401),
        ("10.0.0.7", CERTIFICATE.lower(), 401),
    ],
)
@ROADS
def test_a_client_certificate_counts_from_the_proxy_only(
    behind_proxy: Flask, road: dict[str, Any], address: str, subject: str, status: int
) -> None:
    sent = {**road, "REMOTE_ADDR": address, "headers": {"X-Client-Subject": subject, "X-Forwarded-For": "10.0.0.7"}}

    assert status == post(behind_proxy, token(), sent).status_code


def test_a_certificate_without_a_token_opens_nothing(behind_proxy: Flask) -> None:
    sent = {"REMOTE_ADDR": "10.0.0.7", "headers": {"X-Client-Subject": CERTIFICATE}}

    assert 401 == post(behind_proxy, None, sent).status_code


def test_another_header_is_not_that_header(behind_proxy: Flask) -> None:
    for name in ("X-Client-Subject-2", "Client-Subject", "X-ClientSubject"):
        sent = {"REMOTE_ADDR": "10.0.0.7", "headers": {name: CERTIFICATE}}
        assert 401 == post(behind_proxy, token(), sent).status_code


@pytest.fixture(autouse=True)
def logger_as_it_was() -> Iterator[None]:
    logger = logging.getLogger("cds_service")
    before = logger.propagate
    yield
    logger.propagate = before


# --- each issuer has its own FHIR servers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("below", "fetched"), [(["/fhir"], True), (["/fhir/"], True), (["/elsewhere"], False), ([], True)], ids=str
)
@ROADS
def test_a_client_names_its_own_fhir_servers_only(
    make_app: Make, issuers: Callable[..., str], road: dict[str, Any], below: list[str], *, fetched: bool
) -> None:
    """
    Both servers may be contacted; the token of one hospital must not reach the records of another (SECURITY.md 2).
    """
    record = fhir(LocalRecord(PATIENT, SICK))
    with running(answering(record)) as own:
        allowed = f"{own.base}/fhir,{own.base}/elsewhere"
        listed = [f"{own.base}{path}" for path in below]
        app = make_app(
            auth="jwt",
            issuers=issuers(**({"fhir": listed} if listed else {})),
            public_url=PUBLIC_URL,
            fhir_allow=allowed,
            fhir_budget_ms=5_000,
        )
        answer = post(app, token(), road, asking(own))

        assert (200 if fetched else 412) == answer.status_code
        assert fetched is bool(own.asked)
        assert (set() if fetched else {"not-permitted"}) == reasons(answer)


def test_an_issuer_whose_server_may_not_be_contacted_is_refused_at_the_start(
    make_app: Make, issuers: Callable[..., str]
) -> None:
    with pytest.raises(SettingsError, match="CDS_FHIR_ALLOW does not name"):
        make_app(
            auth="jwt",
            issuers=issuers(fhir=["https://fhir.other.example/r4"]),
            public_url=PUBLIC_URL,
            fhir_allow="https://fhir.hospital.example/r4",
        )
