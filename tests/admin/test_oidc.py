"""Signing in at the hospital: a fake provider that checks what a real one has to check, and one that lies."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import msgspec
import pytest
from flask import Flask, Response, jsonify, request
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import TestResponse

from cds_service.adapters.ledger import Ledger
from cds_service.errors import SettingsError
from cds_service.rules.book import RuleBook
from cds_service.web import Settings, create_app
from cds_service.web.admin.oidc import read_roles
from tests.adapters.auth import signing
from tests.admin.conftest import PASSWORD, Admin, Clock
from tests.build import NOW

CLIENT, SECRET, OWN = "calcinosis admin", "s3cret/with:odd+signs", "http://127.0.0.1:8321"
BACK = f"{OWN}/admin/oidc/callback"
ROLES = "cds-editors=viewer+editor, cds-duty=operator"
SECONDS = int(NOW.timestamp())


class Quiet(WSGIRequestHandler):
    """A test has no use for access logs."""

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """Say nothing."""


class Hospital:
    """A fake provider: what it says can be changed, what it was asked is kept."""

    def __init__(self) -> None:
        app = Flask("hospital")
        self.server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
        self.issuer = f"http://127.0.0.1:{self.server.port}"
        self.codes: dict[str, dict[str, str]] = {}
        self.says: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {"kid": "rs256-hospital"}
        self.sign: Callable[[dict[str, Any]], str] = self.signed
        self.asked: list[dict[str, str]] = []
        app.add_url_rule("/.well-known/openid-configuration", view_func=self.configured)
        app.add_url_rule("/token", view_func=self.token, methods=["POST"])
        app.add_url_rule("/keys", view_func=lambda: Response(signing.key_set(signing.public("rs256-hospital"))))

    def configured(self) -> Response:
        there = self.issuer
        said = {
            "issuer": there,
            "authorization_endpoint": f"{there}/authorize",
            "token_endpoint": f"{there}/token",
            "jwks_uri": f"{there}/keys",
        }
        return jsonify(said | self.says)

    def authorize(self, address: str) -> str:
        """Sign somebody in as the provider's page does; return where the browser is sent back to."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query, strict_parsing=True).items()}
        assert (CLIENT, BACK, "code", "S256") == (
            query["client_id"],
            query["redirect_uri"],
            query["response_type"],
            query["code_challenge_method"],
        )
        self.codes["code-1"] = query
        return f"/admin/oidc/callback?code=code-1&state={query['state']}"

    def token(self) -> tuple[Response, int] | Response:
        form = request.form.to_dict()
        self.asked.append(form | {"authorization": request.headers.get("Authorization", "")})
        begun = self.codes.pop(form.get("code", ""), None)
        if begun is None:
            return jsonify(error="invalid_grant"), 400
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != begun["code_challenge"]:
            return jsonify(error="invalid_grant"), 400
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": "4711",
            "iat": SECONDS,
            "exp": SECONDS + 300,
            "nonce": begun["nonce"],
            "preferred_username": "Erin",
            "groups": ["staff", "cds-editors"],
        }
        told = {name: value for name, value in (claims | self.claims).items() if value is not None}
        return jsonify(id_token=self.sign(told), access_token="unused", token_type="Bearer")

    def signed(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, signing.key("rs256-hospital"), "RS256", headers=self.header)


@pytest.fixture
def hospital() -> Iterator[Hospital]:
    there = Hospital()
    thread = threading.Thread(target=there.server.serve_forever)
    thread.start()
    yield there
    there.server.shutdown()
    thread.join()
    there.server.server_close()


@pytest.fixture
def chosen(hospital: Hospital, tmp_path: Path) -> Settings:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    return Settings(
        auth="none",
        admin=True,
        public_url=OWN,
        oidc_issuer=hospital.issuer,
        oidc_client_id=CLIENT,
        oidc_secret_file=str(secret),
        oidc_roles=ROLES,
    )


@pytest.fixture
def browser(chosen: Settings, book: RuleBook, ledger: Ledger, clock: Clock) -> Admin:
    return Admin(create_app(chosen, book=book, clock=clock, ledger=ledger))


def got_in(browser: Admin, hospital: Hospital, more: str = "") -> TestResponse:
    """Go all the way: our page, the provider, and back."""
    left = browser.get("/admin/oidc")
    assert 303 == left.status_code, left.text
    return browser.get(hospital.authorize(left.headers["Location"]) + more)


def is_in(browser: Admin) -> bool:
    return browser.get("/admin/rules").status_code == 200


# --- the way in ------------------------------------------------------------------------------------------------------


def test_whoever_the_hospital_vouches_for_is_in_with_the_roles_of_the_groups(
    browser: Admin, hospital: Hospital, ledger: Ledger
) -> None:
    assert 'href="/admin/oidc"' in browser.get("/admin/login").text
    answer = got_in(browser, hospital)

    assert 200 == answer.status_code
    assert 'content="0; url=/admin/"' in answer.text
    account = ledger.governance.accounts.find("erin@127.0.0.1")
    assert account is not None
    assert ("viewer", "editor") == account.roles
    assert is_in(browser)
    assert ["sign in", "make account"] == [one.action for one in ledger.governance.audit.page(limit=2)]


def test_the_code_is_asked_for_with_our_secret_and_the_verifier(browser: Admin, hospital: Hospital) -> None:
    got_in(browser, hospital)
    [asked] = hospital.asked

    name, _, secret = base64.b64decode(asked["authorization"].removeprefix("Basic ")).decode().partition(":")
    assert ("calcinosis%20admin", "s3cret%2Fwith%3Aodd%2Bsigns") == (name, secret)
    assert ("authorization_code", BACK) == (asked["grant_type"], asked["redirect_uri"])


def test_the_cookie_of_the_try_comes_back_from_the_provider_and_is_gone_then(
    browser: Admin, hospital: Hospital
) -> None:
    left = browser.get("/admin/oidc")
    [kept] = left.headers.getlist("Set-Cookie")
    back = browser.get(hospital.authorize(left.headers["Location"]))
    told = back.headers.getlist("Set-Cookie")

    assert {"HttpOnly", "SameSite=Lax", "Max-Age=600"} <= set(kept.split("; "))
    assert any(one.startswith("cds-admin-oidc=;") for one in told)
    assert any(one.startswith("cds-admin=") and "SameSite=Strict" in one for one in told)


def test_one_goes_on_where_one_wanted_to(browser: Admin, hospital: Hospital) -> None:
    form = browser.get("/admin/login?following=/admin/changes").text
    link = re.search(r'href="(/admin/oidc[^"]*)"', form)
    assert link is not None
    left = browser.get(link[1])

    assert "url=/admin/changes" in browser.get(hospital.authorize(left.headers["Location"])).text


def test_roles_follow_the_groups_at_the_next_sign_in(browser: Admin, hospital: Hospital, ledger: Ledger) -> None:
    got_in(browser, hospital)
    hospital.claims = {"groups": ["cds-duty"]}
    got_in(browser, hospital)
    account = ledger.governance.accounts.find("erin@127.0.0.1")

    assert account is not None
    assert ("operator",) == account.roles
    assert "change roles" in [one.action for one in ledger.governance.audit.page()]


def test_no_password_fits_an_account_of_the_hospital(browser: Admin, hospital: Hospital) -> None:
    got_in(browser, hospital)

    for password in ("", "outside", "correct horse battery"):
        sent = {"name": "erin@127.0.0.1", "password": password}
        assert 401 == browser.client.post("/admin/login", data=sent, headers={"Origin": OWN}).status_code


# --- what is refused -------------------------------------------------------------------------------------------------


def with_odd_algorithm(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, "x" * 64, "HS256", headers={"kid": "rs256-hospital"})


def with_public_key_as_secret(claims: dict[str, Any]) -> str:
    """The oldest trick (CVE-2022-29217): HMAC with what everybody knows."""
    public = json.dumps(signing.public("rs256-hospital")).encode()
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"rs256-hospital"}').rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
    made = hmac.digest(public, head + b"." + body, "sha256")
    return b".".join([head, body, base64.urlsafe_b64encode(made).rstrip(b"=")]).decode()


def unsigned(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, "", "none", headers={"kid": "rs256-hospital"})


def of_another_key(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, signing.key("rs256-other"), "RS256", headers={"kid": "rs256-hospital"})


@pytest.mark.parametrize(
    "sign", [with_odd_algorithm, with_public_key_as_secret, unsigned, of_another_key, lambda _: "x"]
)
def test_a_token_that_the_hospital_did_not_sign_lets_nobody_in(
    browser: Admin, hospital: Hospital, sign: Callable[[dict[str, Any]], str]
) -> None:
    hospital.sign = sign

    assert 503 == got_in(browser, hospital).status_code
    assert not is_in(browser)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "another client"},
        {"aud": [CLIENT, "another"]},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"azp": "another"},
        {"nonce": "of another try"},
        {"nonce": None},
        {"exp": SECONDS - 61},
        {"exp": None},
        {"exp": "tomorrow"},
        {"iat": SECONDS + 61},
        {"nbf": SECONDS + 61},
        {"sub": None},
    ],
    ids=str,
)
def test_a_token_for_somebody_else_or_another_time_lets_nobody_in(
    browser: Admin, hospital: Hospital, claims: dict[str, Any]
) -> None:
    hospital.claims = claims

    assert 503 == got_in(browser, hospital).status_code
    assert not is_in(browser)


@pytest.mark.parametrize(
    "claims", [{}, {"aud": [CLIENT]}, {"aud": [CLIENT, "b"], "azp": CLIENT}, {"exp": SECONDS - 59}]
)
def test_a_token_for_us_and_now_does(browser: Admin, hospital: Hospital, claims: dict[str, Any]) -> None:
    hospital.claims = claims

    assert 200 == got_in(browser, hospital).status_code
    assert is_in(browser)


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"groups": ["staff"]}, "None of your groups"),
        ({"groups": "cds-editors"}, "None of your groups"),
        ({"groups": None}, "None of your groups"),
        ({"groups": [["cds-editors"]]}, "None of your groups"),
        ({"preferred_username": None}, "does not say who you are"),
        ({"preferred_username": ""}, "does not say who you are"),
        ({"preferred_username": "<script>"}, "does not say who you are"),
        ({"preferred_username": ["erin"]}, "does not say who you are"),
    ],
    ids=str,
)
def test_without_a_role_or_a_name_nobody_is_let_in(
    browser: Admin, hospital: Hospital, claims: dict[str, Any], said: str
) -> None:
    hospital.claims = claims
    answer = got_in(browser, hospital)

    assert (403, True) == (answer.status_code, said in answer.text)
    assert not is_in(browser)


def test_an_answer_that_was_begun_in_another_browser_lets_nobody_in(browser: Admin, hospital: Hospital) -> None:
    """Or somebody could be made to work in the account of another (login CSRF)."""
    other = Admin(browser.app)
    back = hospital.authorize(other.get("/admin/oidc").headers["Location"])
    browser.get("/admin/oidc")

    assert 400 == browser.get(back).status_code
    assert not is_in(browser)
    assert [] == hospital.asked


def test_an_answer_is_good_for_one_time_and_ten_minutes(
    browser: Admin, hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = browser.get("/admin/oidc")
    back = hospital.authorize(left.headers["Location"])
    browser.get(back)
    assert 400 == browser.get(back).status_code

    left = browser.get("/admin/oidc")
    now = time.time()
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now + 601)
    assert 400 == browser.get(hospital.authorize(left.headers["Location"])).status_code


@pytest.mark.parametrize("more", ["&iss=https://other.example", "&error=access_denied"])
def test_an_answer_of_another_provider_or_an_error_lets_nobody_in(
    browser: Admin, hospital: Hospital, more: str
) -> None:
    assert got_in(browser, hospital, more).status_code in (403, 503)
    assert [] == hospital.asked


@pytest.mark.parametrize(
    "says",
    [
        {"issuer": "https://other.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": ""},
    ],
    ids=str,
)
def test_a_configuration_that_leads_astray_is_not_followed(
    browser: Admin, hospital: Hospital, says: dict[str, Any]
) -> None:
    hospital.says = says

    assert 503 == browser.get("/admin/oidc").status_code


def test_a_provider_that_is_gone_is_said_so_and_passwords_still_work(
    chosen: Settings, book: RuleBook, ledger: Ledger, clock: Clock
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    gone = msgspec.structs.replace(chosen, oidc_issuer=f"http://127.0.0.1:{port}")
    browser = Admin(create_app(gone, book=book, clock=clock, ledger=ledger))
    answer = browser.get("/admin/oidc")
    sent = {"name": "vera", "password": PASSWORD}

    assert 503 == answer.status_code
    assert "hospital&#39;s sign-in did not answer" in answer.text
    assert 303 == browser.client.post("/admin/login", data=sent, headers={"Origin": OWN}).status_code


def test_a_disabled_account_stays_out(browser: Admin, hospital: Hospital, ledger: Ledger) -> None:
    got_in(browser, hospital)
    ledger.governance.accounts.disable("erin@127.0.0.1")
    answer = got_in(browser, hospital)

    assert (403, True) == (answer.status_code, "disabled" in answer.text)
    assert not is_in(browser)


def test_an_account_with_a_password_is_never_taken_over(browser: Admin, hospital: Hospital, ledger: Ledger) -> None:
    ledger.governance.accounts.create("erin@127.0.0.1", "correct horse battery", ["auditor"])

    assert 403 == got_in(browser, hospital).status_code
    assert not is_in(browser)


# --- the settings ----------------------------------------------------------------------------------------------------


def test_without_a_provider_there_is_no_such_page(nobody: Admin) -> None:
    assert 404 == nobody.get("/admin/oidc").status_code
    assert "/admin/oidc" not in nobody.get("/admin/login").text


def test_groups_give_roles() -> None:
    assert {"cds-editors": ("viewer", "editor"), "cn=duty": ("operator",)} == read_roles(
        "cds-editors=viewer+editor, cn=duty=operator,"
    )


@pytest.mark.parametrize("roles", ["", "cds", "cds=", "=viewer", "cds=boss", "cds=viewer+boss"])
def test_a_table_of_roles_that_is_not_understood_stops_the_start(roles: str) -> None:
    with pytest.raises(SettingsError, match="CDS_OIDC_ROLES"):
        read_roles(roles)


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_issuer": "http://login.hospital.example"},
        {"oidc_issuer": "https://login.hospital.example/?x=1"},
        {"oidc_client_id": ""},
        {"oidc_roles": ""},
        {"oidc_secret_file": "not-there"},
    ],
    ids=str,
)
def test_settings_that_cannot_be_safe_stop_the_start(
    chosen: Settings, book: RuleBook, ledger: Ledger, wrong: dict[str, str]
) -> None:
    with pytest.raises(SettingsError, match="CDS_OIDC"):
        create_app(msgspec.structs.replace(chosen, **wrong), book=book, ledger=ledger)
