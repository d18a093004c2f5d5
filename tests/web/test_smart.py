"""
The evidence view as a SMART app, against a fake EHR: its authorization server checks what a real one has to check.

Hostile launches end before anything is asked or shown, hostile answers before anything is believed.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask, Response, jsonify, request
from flask.testing import FlaskClient
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import TestResponse

from cds_service.adapters.deadline import Deadline
from cds_service.adapters.ehr import LocalRecord
from cds_service.adapters.fhir import Origins
from cds_service.adapters.smart import Refused, SmartClient, Token
from cds_service.errors import SettingsError
from cds_service.rules.book import RuleBook
from cds_service.web import Settings, create_app
from cds_service.web.smart import challenge, scopes
from tests.build import (
    ESKD,
    NOW,
    PATIENT,
    SERVICE,
    STRANGER,
    body,
    condition,
    observation,
    patient,
    prescription,
)
from tests.faults.servers import Asked, fhir

PUBLIC = "https://cds.hospital.example/cds"
CLIENT = "calcinosis-evidence"
NAME = "Marker-7f3a"
SICK = (
    patient(name=[{"given": ["Ada"], "family": NAME}]),
    condition(ESKD),
    observation("phosphate", 6.4, days=40),
    observation("phosphate", 7.1, days=10),
    observation("calcium-total", 9, days=10),
    prescription(),
)


class Quiet(WSGIRequestHandler):
    """A test has no use for access logs."""

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """Say nothing."""


class Ehr:
    """A fake EHR: what it answers can be changed, what it was asked is kept."""

    def __init__(self) -> None:
        self.app = Flask("ehr")
        self.server = make_server("127.0.0.1", 0, self.app, threaded=True, request_handler=Quiet)
        self.base = f"http://127.0.0.1:{self.server.port}"
        self.iss = f"{self.base}/fhir"
        self.codes: dict[str, dict[str, str]] = {}
        self.tokens: set[str] = set()
        self.posted: list[dict[str, str]] = []
        self.read: list[Asked] = []
        self.reset()
        self.app.add_url_rule("/fhir/.well-known/smart-configuration", view_func=self.configured)
        self.app.add_url_rule("/token", view_func=self.token, methods=["POST"])
        self.app.add_url_rule("/fhir/<path:path>", view_func=self.fhir)

    def reset(self) -> None:
        self.patient, self.records = PATIENT, [LocalRecord(PATIENT, list(SICK))]
        self.configuration: dict[str, Any] = {
            "authorization_endpoint": f"{self.base}/authorize",
            "token_endpoint": f"{self.base}/token",
            "code_challenge_methods_supported": ["S256"],
            "capabilities": ["launch-ehr", "permission-v2"],
        }
        self.more: dict[str, Any] = {}
        self.open, self.posted, self.read, self.asked_for = False, [], [], 0

    def configured(self) -> Response:
        self.asked_for += 1
        return jsonify(self.configuration)

    def approve(self, address: str) -> str:
        """Do what the login page does when a clinician may see the chart: check the request, and give a code."""
        query = {name: value[0] for name, value in parse_qs(urlsplit(address).query).items()}
        assert ("code", CLIENT, "S256") == (query["response_type"], query["client_id"], query["code_challenge_method"])
        assert self.iss == query["aud"]
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        return f"{query['redirect_uri']}?code={code}&state={query['state']}"

    def token(self) -> Response:
        form = dict(request.form)
        self.posted.append(form)
        asked = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if (
            asked is None
            or form["grant_type"] != "authorization_code"
            or form["redirect_uri"] != asked["redirect_uri"]
            or form["client_id"] != asked["client_id"]
            or proof != asked["code_challenge"]
        ):
            return Response('{"error":"invalid_grant"}', 400, mimetype="application/json")
        given = secrets.token_urlsafe(16)
        self.tokens.add(given)
        usual = {"access_token": given, "token_type": "Bearer", "expires_in": 300, "patient": self.patient}
        return jsonify({name: value for name, value in {**usual, **self.more}.items() if value is not None})

    def fhir(self, path: str) -> Response:
        asked = Asked("GET", request.full_path.rstrip("?"), {"host": request.host})
        self.read.append(asked)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens and not self.open:
            return Response("{}", 401, mimetype="application/fhir+json")
        reply = fhir(*self.records)(asked)
        return Response(
            reply.written().partition(b"\r\n\r\n")[2],
            reply.status,
            mimetype="application/fhir+json",
        )


@pytest.fixture(scope="module")
def running() -> Iterator[Ehr]:
    made = Ehr()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def ehr(running: Ehr) -> Ehr:
    running.reset()
    return running


class Clock:
    """A clock that a test sets."""

    now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(book: RuleBook, ehr: Ehr, clock: Clock) -> Flask:
    return create_app(settings(ehr), book=book, clock=clock)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def settings(ehr: Ehr, **more: Any) -> Settings:
    usual = {"auth": "none", "public_url": PUBLIC, "fhir_allow": ehr.iss, "smart_client_id": CLIENT}
    return Settings(**{**usual, **more})


def browser(app: Flask) -> FlaskClient:
    return app.test_client()


def launch(client: FlaskClient, iss: str, launch: str = "xyz") -> TestResponse:
    return client.get(
        "/smart/launch", query_string={"iss": iss, "launch": launch}, base_url=PUBLIC.removesuffix("/cds")
    )


def back(client: FlaskClient, address: str) -> TestResponse:
    """Follow the EHR's redirect to our callback; a proxy takes /cds away."""
    parts = urlsplit(address)
    assert address.startswith(f"{PUBLIC}/smart/callback?")
    client_path = parts.path.removeprefix("/cds")
    for cookie in list(getattr(client, "_cookies", {}).values()):
        # What the proxy takes off the path it would have to put before it: the test does as the browser sees it.
        client.set_cookie(cookie.key, cookie.value, path="/smart/callback", domain=cookie.domain)
    return client.get(client_path, query_string=parts.query, base_url=PUBLIC.removesuffix("/cds"))


def opened(client: FlaskClient, ehr: Ehr, rules: str | None = None) -> TestResponse:
    if rules is not None:
        ehr.more["appContext"] = rules
    begun = launch(client, ehr.iss)
    assert 302 == begun.status_code, begun.text
    return back(client, ehr.approve(begun.headers["Location"]))


# --- a launch as it should be ---------------------------------------------------------------------------------------


def test_an_ehr_launches_the_page_of_the_patient_in_its_chart(client: FlaskClient, ehr: Ehr) -> None:
    page = opened(client, ehr)

    assert 200 == page.status_code, page.text
    for said in (f"Ada {NAME}, born 1967-11-20", "Kidney failure with high phosphate", "7.1 mg/dL", "Why you see this"):
        assert said in page.text, said


def test_the_card_names_its_rules_and_nothing_else(client: FlaskClient, ehr: Ehr) -> None:
    call = body(*SICK, fhirServer=ehr.iss)
    found = client.post(SERVICE, data=call, content_type="application/json").get_json()["cards"]

    for card in found:
        [link] = [one for one in card["links"] if one["type"] == "smart"]
        assert f"{PUBLIC}/smart/launch" == link["url"]
        rules = [rule["id"] for rule in card["extension"]["org.calcinosis-cds"]["rules"]]
        assert rules == link["appContext"].split(",")


@pytest.mark.parametrize("server", ["", "https://elsewhere.example/fhir"])
def test_only_an_ehr_that_may_launch_gets_a_link_to_launch(client: FlaskClient, server: str) -> None:
    members: dict[str, Any] = {"fhirServer": server} if server else {}
    call = body(*SICK, **members)
    found = client.post(SERVICE, data=call, content_type="application/json").get_json()["cards"]

    assert found
    assert not [link for card in found for link in card["links"] if link["type"] == "smart"]


def test_the_rules_of_the_card_come_first(client: FlaskClient, ehr: Ehr) -> None:
    page = opened(client, ehr, "vka-calciphylaxis-risk")

    assert 'id="rule-vka-calciphylaxis-risk"' in page.text
    assert 'id="rule-eskd-hyperphosphatemia"' not in page.text


@pytest.mark.parametrize("context", ["", "no-such-rule", "<script>", "a" * 5_000, "../../etc", ",,,"])
def test_a_context_that_names_no_rule_shows_what_fires(client: FlaskClient, ehr: Ehr, context: str) -> None:
    page = opened(client, ehr, context)

    assert 200 == page.status_code
    assert 'id="rule-eskd-hyperphosphatemia"' in page.text
    assert "<script" not in page.text


def test_the_login_asks_for_reading_one_patient_only(client: FlaskClient, ehr: Ehr) -> None:
    query = parse_qs(urlsplit(launch(client, ehr.iss).headers["Location"]).query)
    [scope] = query["scope"]

    assert ["launch"] == [one for one in scope.split() if not one.startswith("patient/")]
    assert all(one.endswith(".rs") for one in scope.split()[1:])
    assert "offline_access" not in scope
    assert "openid" not in scope
    assert [f"{PUBLIC}/smart/callback"] == query["redirect_uri"]


def test_an_older_server_is_asked_in_its_own_words() -> None:
    asked = {"patient": "Patient/{{context.patientId}}", "observations": "Observation?patient=x"}

    assert "launch patient/Patient.read patient/Observation.read" == scopes(asked, 1)
    assert "launch patient/Patient.rs patient/Observation.rs" == scopes(asked, 2)


def test_the_challenge_is_that_of_rfc_7636() -> None:
    assert "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" == challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")


def test_the_record_is_read_with_the_queries_of_discovery(client: FlaskClient, ehr: Ehr, book: RuleBook) -> None:
    opened(client, ehr)
    templates = book.services["calcinosis-patient-view"].service.prefetch.values()

    assert {query.replace("{{context.patientId}}", PATIENT) for query in templates} == {
        one.target.removeprefix("/fhir/").partition("&_include=")[0] for one in ehr.read
    }


def test_the_configuration_of_a_server_is_asked_once(client: FlaskClient, ehr: Ehr) -> None:
    for _ in range(3):
        launch(client, ehr.iss)

    assert 1 == ehr.asked_for


def test_two_launches_at_once_do_not_disturb_each_other(client: FlaskClient, ehr: Ehr) -> None:
    first, second = (ehr.approve(launch(client, ehr.iss).headers["Location"]) for _ in range(2))

    assert [200, 200] == [back(client, second).status_code, back(client, first).status_code]


# --- hostile launches -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "iss",
    [
        "",
        "https://evil.example/fhir",
        "{base}/fhir/more",
        "{base}/fhirx",
        "{base}",
        "{base}/fhir/../fhir",
        "{base}/FHIR",
        "http://user@{host}/fhir",
        "{base}/fhir?x=1",
        "{base}/fhir#x",
        "{base}\\fhir",
        "file:///etc/passwd",
    ],
)
def test_an_iss_that_is_not_listed_to_the_letter_is_refused(client: FlaskClient, ehr: Ehr, iss: str) -> None:
    answer = launch(client, iss.replace("{base}", ehr.base).replace("{host}", ehr.base[7:]))

    assert 403 == answer.status_code
    assert "may not launch" in answer.text
    assert (0, []) == (ehr.asked_for, ehr.read)


@pytest.mark.parametrize("token", ["", "a b", "x" * 5_000, "\u2603"])
def test_a_launch_without_a_launch_token_is_none(client: FlaskClient, ehr: Ehr, token: str) -> None:
    assert 400 == launch(client, ehr.iss, token).status_code


def test_a_server_that_does_not_announce_pkce_is_refused(client: FlaskClient, ehr: Ehr) -> None:
    for methods in ([], ["plain"], None):
        ehr.configuration["code_challenge_methods_supported"] = methods

        assert 502 == launch(client, ehr.iss).status_code


@pytest.mark.parametrize("endpoint", ["authorization_endpoint", "token_endpoint"])
@pytest.mark.parametrize(
    "address", ["https://evil.example/token", "http://127.0.0.1:1/token", "javascript:alert(1)", "", "/token"]
)
def test_endpoints_elsewhere_are_refused(client: FlaskClient, ehr: Ehr, endpoint: str, address: str) -> None:
    """Neither the browser nor the code goes to a server that nobody listed."""
    ehr.configuration[endpoint] = address

    assert 502 == launch(client, ehr.iss).status_code


def test_an_authorization_server_elsewhere_can_be_listed(book: RuleBook, ehr: Ehr, clock: Clock) -> None:
    ehr.configuration["authorization_endpoint"] = "https://login.ehr.example/oauth2/authorize"
    listed = settings(ehr, smart_servers="https://login.ehr.example/oauth2")
    answer = launch(create_app(listed, book=book, clock=clock).test_client(), ehr.iss)

    assert answer.headers["Location"].startswith("https://login.ehr.example/oauth2/authorize?")


@pytest.mark.parametrize("answer", ["[]", "{", '{"token_endpoint": 1}', "null", '{"a":1,"a":2}', "x" * 100_000])
def test_a_configuration_that_is_none_is_refused(client: FlaskClient, ehr: Ehr, answer: str) -> None:
    ehr.app.view_functions["configured"], usual = (
        lambda: Response(answer, mimetype="application/json"),
        ehr.app.view_functions["configured"],
    )
    try:
        assert 502 == launch(client, ehr.iss).status_code
    finally:
        ehr.app.view_functions["configured"] = usual


# --- hostile callbacks ----------------------------------------------------------------------------------------------


def test_a_state_works_once(client: FlaskClient, ehr: Ehr) -> None:
    begun = launch(client, ehr.iss).headers["Location"]
    first, second = ehr.approve(begun), ehr.approve(begun)
    kept = list((client._cookies or {}).values())

    assert 200 == back(client, first).status_code
    for cookie in kept:
        client.set_cookie(cookie.key, cookie.value, path="/smart/callback", domain=cookie.domain)
    answer = back(client, second)

    assert 400 == answer.status_code
    assert "does not belong to a launch from this browser" in answer.text
    assert 1 == len(ehr.posted)


def test_a_code_that_was_used_gives_nothing(app: Flask, client: FlaskClient, ehr: Ehr) -> None:
    begun = launch(client, ehr.iss).headers["Location"]
    there = ehr.approve(begun)
    ehr.codes.clear()

    answer = back(client, there)

    assert 502 == answer.status_code
    assert [] == ehr.read


def test_a_code_of_another_login_gives_nothing(app: Flask, client: FlaskClient, ehr: Ehr) -> None:
    """Code injection: the verifier belongs to the state, so a stolen code cannot be spent in another login."""
    stolen = parse_qs(urlsplit(ehr.approve(launch(browser(app), ehr.iss).headers["Location"])).query)["code"][0]
    mine = ehr.approve(launch(client, ehr.iss).headers["Location"])
    code = parse_qs(urlsplit(mine).query)["code"][0]

    assert 502 == back(client, mine.replace(code, stolen)).status_code
    assert [] == ehr.read


def test_a_login_of_another_browser_is_not_believed(app: Flask, client: FlaskClient, ehr: Ehr) -> None:
    """Login CSRF: an attacker's callback, opened by a victim, must not show the attacker's patient as the victim's."""
    there = ehr.approve(launch(client, ehr.iss).headers["Location"])

    assert 400 == back(browser(app), there).status_code
    assert [] == ehr.posted


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state[:-1] + ("A" if state[-1] != "A" else "B"),
        lambda state: "A" + state[1:],
        lambda state: state.replace(".1", ".2", 1),
        lambda state: "",
        lambda state: "\u2603" * 10,
        lambda state: state + "x",
        lambda state: "x" * 100_000,
    ],
)
def test_a_state_that_was_changed_is_not_believed(client: FlaskClient, ehr: Ehr, change: Callable[[str], str]) -> None:
    there = ehr.approve(launch(client, ehr.iss).headers["Location"])
    state = parse_qs(urlsplit(there).query)["state"][0]
    back_with = {"code": "x", "state": change(state)}
    answer = client.get("/smart/callback", query_string=back_with, base_url=PUBLIC.removesuffix("/cds"))

    assert 400 == answer.status_code
    assert [] == ehr.posted


def test_a_login_that_takes_too_long_has_ended(client: FlaskClient, ehr: Ehr, clock: Clock) -> None:
    there = ehr.approve(launch(client, ehr.iss).headers["Location"])
    clock.now += 601

    assert 400 == back(client, there).status_code


def test_an_answer_of_another_issuer_is_not_believed(client: FlaskClient, ehr: Ehr) -> None:
    """Mix-up (RFC 9207): an iss in the answer must be the one of the launch."""
    there = ehr.approve(launch(client, ehr.iss).headers["Location"])

    assert 400 == back(client, f"{there}&iss=https%3A%2F%2Fevil.example").status_code
    assert [] == ehr.posted


def test_a_state_of_one_ehr_is_none_of_another(book: RuleBook, ehr: Ehr, clock: Clock) -> None:
    """The state is signed together with the server it was made for: taken off the list, its logins end."""
    app = create_app(settings(ehr, fhir_allow=f"https://other.example/fhir,{ehr.iss}"), book=book, clock=clock)
    smart = app.extensions["smart"]
    state = smart._state("https://gone.example/fhir")
    client = browser(app)
    client.set_cookie(
        f"calcinosis-cds-launch-{state[:8]}", smart.cookie(state), path="/smart/callback", domain="cds.hospital.example"
    )
    answer = client.get(
        "/smart/callback", query_string={"code": "x", "state": state}, base_url="https://cds.hospital.example"
    )

    assert 400 == answer.status_code


def test_an_error_of_the_ehr_is_said_in_our_words(client: FlaskClient, ehr: Ehr) -> None:
    state = parse_qs(urlsplit(launch(client, ehr.iss).headers["Location"]).query)["state"][0]
    answer = back(client, f"{PUBLIC}/smart/callback?error=access_denied&error_description=<b>evil</b>&state={state}")

    assert 403 == answer.status_code
    assert "evil" not in answer.text


def test_the_code_goes_with_verifier_client_and_the_same_redirect(client: FlaskClient, ehr: Ehr) -> None:
    opened(client, ehr)
    [form] = ehr.posted

    assert (f"{PUBLIC}/smart/callback", CLIENT) == (form["redirect_uri"], form["client_id"])
    assert 43 <= len(form["code_verifier"]) <= 128
    assert "client_secret" not in form


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"patient": None}, 400),
        ({"patient": "../Patient/other"}, 400),
        ({"patient": "x" * 300}, 400),
        ({"patient": ""}, 400),
        ({"access_token": "with blank"}, 502),
        ({"access_token": None}, 502),
        ({"token_type": "mac"}, 502),
        ({"token_type": None}, 502),
        ({"patient": {"x": 1}}, 502),
        ({"expires_in": 0}, 502),
    ],
    ids=str,
)
def test_a_token_answer_that_lacks_something_shows_nothing(
    client: FlaskClient, ehr: Ehr, more: dict[str, Any], status: int
) -> None:
    ehr.more = more

    answer = opened(client, ehr)

    assert (status, "text/html") == (answer.status_code, answer.mimetype)
    assert [] == ehr.read
    assert "7.1" not in answer.text


# --- the patient ----------------------------------------------------------------------------------------------------


def test_data_of_another_patient_show_nothing(client: FlaskClient, ehr: Ehr) -> None:
    """A server that answers with somebody else's results: nothing is shown at all."""
    stranger = observation("phosphate", 9.9, days=1, subject={"reference": f"Patient/{STRANGER}"})
    ehr.app.view_functions["fhir"], usual = _with_stranger(ehr, stranger), ehr.app.view_functions["fhir"]
    try:
        answer = opened(client, ehr)
    finally:
        ehr.app.view_functions["fhir"] = usual

    assert 412 == answer.status_code
    assert "not all of one patient" in answer.text
    assert not any(secret in answer.text for secret in (NAME, "9.9", STRANGER, PATIENT))


def _with_stranger(ehr: Ehr, stranger: dict[str, Any]) -> Callable[..., Response]:
    def answer(path: str) -> Response:
        if path.startswith("Observation"):
            bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": stranger}]}
            return Response(jsonify(bundle).get_data(), mimetype="application/fhir+json")
        return ehr.fhir(path)

    return answer


def test_a_patient_that_the_server_does_not_know_shows_nothing(client: FlaskClient, ehr: Ehr) -> None:
    ehr.patient = "nobody"

    assert 502 == opened(client, ehr).status_code


def test_a_token_that_opens_nothing_shows_nothing(client: FlaskClient, ehr: Ehr) -> None:
    ehr.more = {"access_token": "x-not-known"}

    assert 502 == opened(client, ehr).status_code


def test_the_page_is_that_of_the_patient_of_the_launch_whatever_the_card_was_about(
    client: FlaskClient, ehr: Ehr
) -> None:
    """The clinician changed charts: the app follows the EHR, and says whose page it is."""
    other = LocalRecord(
        STRANGER,
        [
            patient(id=STRANGER, name=[{"text": "Somebody Else"}]),
            observation("phosphate", 4, subject={"reference": f"Patient/{STRANGER}"}),
        ],
    )
    ehr.patient, ehr.records = STRANGER, [other]
    page = opened(client, ehr, "eskd-hyperphosphatemia")

    assert 200 == page.status_code
    assert "Somebody Else" in page.text
    assert "No rule of the card fires" in page.text
    assert NAME not in page.text


# --- what stays behind ----------------------------------------------------------------------------------------------


def test_nothing_of_the_login_stays_or_leaks(client: FlaskClient, ehr: Ehr, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "cds_service")
    page = opened(client, ehr)
    token = max(ehr.tokens, key=len)
    said = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    secrets_ = [*ehr.tokens, ehr.posted[0]["code"], ehr.posted[0]["code_verifier"], NAME, PATIENT]

    assert token not in page.text
    assert not [secret for secret in secrets_ if secret in said]
    assert "Token(...)" == repr(Token("secret", "p"))
    for name, value in (("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer")):
        assert value == page.headers[name]
    assert page.headers["Set-Cookie"].startswith("calcinosis-cds-launch-")
    assert "Max-Age=0" in page.headers["Set-Cookie"]
    # Nothing of the patient is remembered for links either.
    assert 0 == len(client.application.extensions["evidence"].memory._kept)


def test_the_cookie_is_for_the_callback_only(client: FlaskClient, ehr: Ehr) -> None:
    cookie = launch(client, ehr.iss).headers["Set-Cookie"]

    for part in ("HttpOnly", "Secure", "SameSite=Lax", "Path=/cds/smart/callback", "Max-Age=600"):
        assert part in cookie


def test_in_a_frame_the_cookie_comes_back_to_that_page_only(book: RuleBook, ehr: Ehr, clock: Clock) -> None:
    framed = settings(ehr, evidence_frames=("https://ehr.example",))
    cookie = launch(create_app(framed, book=book, clock=clock).test_client(), ehr.iss).headers["Set-Cookie"]

    assert "SameSite=None" in cookie
    assert "Partitioned" in cookie


def test_without_a_client_id_there_is_no_app(make_app: Callable[..., Flask]) -> None:
    client = make_app(public_url=PUBLIC, evidence_links=True).test_client()

    assert 404 == client.get("/smart/launch").status_code


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"fhir_allow": ""}, "needs CDS_FHIR_ALLOW"),
        ({"public_url": ""}, "needs CDS_PUBLIC_URL"),
        ({"smart_servers": "nonsense"}, "CDS_SMART_SERVERS"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_start(
    book: RuleBook, ehr: Ehr, more: dict[str, Any], name: str
) -> None:
    with pytest.raises(SettingsError, match=name):
        create_app(settings(ehr, **more), book=book)


def test_the_adapter_alone_asks_no_server_that_is_not_listed(ehr: Ehr) -> None:
    alone = SmartClient(CLIENT, Origins.read(ehr.iss))

    with pytest.raises(Refused, match="iss"):
        alone.server("https://evil.example/fhir", Deadline(1))
    assert alone.allows(f"{ehr.iss}/") is not None
