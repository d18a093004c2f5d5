"""Who may see and do what in the admin pages: denied unless allowed, over the whole table of addresses."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from werkzeug.routing import Rule

from cds_service.adapters.governance import ROLES
from cds_service.adapters.ledger import Ledger
from cds_service.errors import SettingsError
from cds_service.rules.book import RuleBook
from cds_service.web import Settings, create_app
from tests.admin.conftest import ORIGIN, PASSWORD, Admin, Clock, SignIn

# What signing in needs: with a password, or at the hospital.
PUBLIC = ("admin.login", "admin.sign_in", "admin.static", "admin.leave_for_oidc", "admin.back_from_oidc")
# One person for each role alone, so that the table shows what the role opens.
ALONE = {"viewer": "vera", "operator": "otto", "auditor": "audrey"}
VALUES = {
    "rule_id": "eskd-hyperphosphatemia",
    "name": "phosphate_high",
    "number": "1",
    "place": "0",
    "_rest": "nowhere",
    "filename": "admin.css",
    "what": "feedback",
    "suffix": "json",
}


def routes(app: Flask) -> list[Rule]:
    return [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("admin.")]


def address(rule: Rule) -> str:
    path = re.sub(r"<(?:[^:>]+:)?([^>]+)>", lambda found: VALUES.get(found[1], "1"), rule.rule)
    assert "<" not in path
    return path


def test_every_address_says_who_may_open_it(admin_app: Flask) -> None:
    """
    An address that says nothing is open to none; the only public ones are those that signing in needs.
    """
    views = admin_app.view_functions
    public = {rule.endpoint for rule in routes(admin_app) if getattr(views[rule.endpoint], "public", False)}
    silent = {
        rule.endpoint
        for rule in routes(admin_app)
        if not getattr(views[rule.endpoint], "roles", None) and rule.endpoint not in {*public, "admin.static"}
    }

    assert set(PUBLIC) - {"admin.static"} == public
    assert set() == silent
    assert 30 < len(routes(admin_app))


def test_nobody_sees_anything_without_signing_in(admin_app: Flask, nobody: Admin) -> None:
    for rule in routes(admin_app):
        if rule.endpoint in PUBLIC:
            continue
        if "GET" in (rule.methods or ()):
            answer = nobody.get(address(rule))
            assert (303, True) == (answer.status_code, "/admin/login" in answer.headers["Location"]), rule
        if "POST" in (rule.methods or ()):
            assert 401 == nobody.post(address(rule), csrf="").status_code, rule


@pytest.mark.parametrize("role", ALONE)
def test_a_role_opens_what_names_it_and_nothing_else(admin_app: Flask, sign_in: SignIn, role: str) -> None:
    one = sign_in(ALONE[role])
    token = one.csrf()
    for rule in routes(admin_app):
        roles = getattr(admin_app.view_functions[rule.endpoint], "roles", None)
        if roles is None or rule.endpoint in ("admin.logout", "admin.password", "admin.change_password"):
            continue
        for method in {"GET", "POST"} & set(rule.methods or ()):
            answer = one.get(address(rule)) if method == "GET" else one.post(address(rule), csrf=token)
            assert (answer.status_code == 403) == (role not in roles), (rule, method, answer.status_code)
            assert answer.status_code < 500, (rule, method)


def test_roles_are_those_of_the_accounts(admin_app: Flask) -> None:
    named = {
        role for rule in routes(admin_app) for role in getattr(admin_app.view_functions[rule.endpoint], "roles", ())
    }

    assert set(ROLES) == named


def test_an_editor_cannot_operate_and_an_operator_cannot_edit(sign_in: SignIn) -> None:
    refused = sign_in("eddie").post("/admin/switches", what="all", to="off", why="to see whether I may")

    assert 403 == refused.status_code
    assert 403 == sign_in("otto").post("/admin/rules/eskd-hyperphosphatemia/change/phosphate_high").status_code


# --- where a form comes from ------------------------------------------------------------------------------------------

OWN, OTHER = {"Origin": ORIGIN}, {"Origin": "https://evil.example"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (OWN, 303),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        (OWN | {"Sec-Fetch-Site": "same-origin"}, 303),
        (OTHER, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 303),
        ({"Origin": "null", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://localhost:81"}, 403),
        ({"Origin": "https://localhost"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        (OWN | {"Sec-Fetch-Site": "cross-site"}, 403),
        (OTHER | {"Sec-Fetch-Site": "same-origin"}, 403),
        ({}, 403),
    ],
)
def test_a_form_is_taken_from_our_own_pages_only(sign_in: SignIn, headers: dict[str, str], status: int) -> None:
    otto = sign_in("otto")
    what = {"what": "rule eskd-hyperphosphatemia", "to": "off", "why": "to see whether I may"}

    assert status == otto.post("/admin/switches", headers, **what).status_code


@pytest.mark.parametrize("token", ["", "x", "0" * 43])
def test_a_form_without_the_token_of_the_session_does_nothing(sign_in: SignIn, ledger: Ledger, token: str) -> None:
    answer = sign_in("otto").post("/admin/switches", csrf=token, what="all", to="off", why="to see whether I may")

    assert 403 == answer.status_code
    assert "too old" in answer.text
    assert not ledger.switches().everything


def test_the_token_of_another_session_does_not_do(sign_in: SignIn) -> None:
    other = sign_in("otto").csrf()

    assert 403 == sign_in("otto").post("/admin/switches", csrf=other, what="all").status_code


# --- signing in -------------------------------------------------------------------------------------------------------


def cookie_of(admin: Admin) -> str:
    found = admin.client.get_cookie("cds-admin")
    return found.value if found else ""


def test_signing_in_begins_a_new_session_whatever_cookie_came_along(nobody: Admin) -> None:
    nobody.client.set_cookie("cds-admin", "chosen-by-somebody-else")
    nobody.sign_in("vera")
    first = cookie_of(nobody)
    nobody.client.set_cookie("cds-admin", first)
    nobody.sign_in("vera")

    assert "chosen-by-somebody-else" != first != cookie_of(nobody)


def test_the_old_session_is_over_after_signing_in_again(sign_in: SignIn, nobody: Admin) -> None:
    vera = sign_in("vera")
    old = cookie_of(vera)
    vera.sign_in("vera")
    nobody.client.set_cookie("cds-admin", old)

    assert 303 == nobody.get("/admin/settings").status_code
    assert 200 == vera.get("/admin/settings").status_code


def test_a_cookie_kept_from_before_signing_out_opens_nothing(sign_in: SignIn) -> None:
    vera = sign_in("vera")
    kept = cookie_of(vera)
    assert 303 == vera.post("/admin/logout").status_code
    vera.client.set_cookie("cds-admin", kept)

    assert 303 == vera.get("/admin/settings").status_code


def test_the_cookie_is_for_our_server_and_no_script(nobody: Admin) -> None:
    [said] = [one for one in nobody.sign_in("vera").headers.getlist("Set-Cookie") if one.startswith("cds-admin=")]

    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(said.split("; "))
    assert "Expires" not in said


def test_over_tls_the_cookie_is_for_this_host_and_tls_only(book: RuleBook, ledger: Ledger, clock: Clock) -> None:
    settings = Settings(auth="none", admin=True, public_url="https://cds.hospital.example")
    app = create_app(settings, book=book, clock=clock, ledger=ledger)
    sent = {"name": "vera", "password": PASSWORD}
    answer = app.test_client().post(
        "/admin/login",
        data=sent,
        headers={"Origin": "https://cds.hospital.example"},
        base_url="https://cds.hospital.example",
    )
    [said] = [one for one in answer.headers.getlist("Set-Cookie") if "cds-admin=" in one]

    assert 303 == answer.status_code
    assert said.startswith("__Host-cds-admin=")
    assert "Secure" in said.split("; ")
    assert "max-age" in answer.headers["Strict-Transport-Security"]


@pytest.mark.parametrize(
    "following",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "/admin/\\evil",
        "javascript:x",
        "/sandbox/",
        "/adminx",
        "",
    ],
)
def test_signing_in_leads_to_our_own_pages_only(nobody: Admin, following: str) -> None:
    assert "/admin/" == nobody.sign_in("vera", following=following).headers["Location"]


def test_after_signing_in_one_is_where_one_wanted_to_go(nobody: Admin) -> None:
    asked = nobody.get("/admin/settings").headers["Location"]
    page = nobody.get(asked).text

    assert 'name="following" value="/admin/settings"' in page
    assert "/admin/settings" == nobody.sign_in("vera", following="/admin/settings").headers["Location"]


def test_wrong_name_and_wrong_password_are_told_the_same(nobody: Admin) -> None:
    answers = [nobody.sign_in("vera", "wrong password"), nobody.sign_in("nobody", "wrong password")]

    assert [401, 401] == [one.status_code for one in answers]
    assert answers[0].text.replace("vera", "X") == answers[1].text.replace("nobody", "X")
    assert "wrong password" not in answers[0].text


def test_after_five_tries_one_is_told_how_long_to_wait(nobody: Admin) -> None:
    ended = [nobody.sign_in("vera", "wrong password").status_code for _ in range(6)]
    answer = nobody.sign_in("vera")

    assert [401] * 5 + [429] == ended
    assert (429, True) == (answer.status_code, "Wait 5 minutes" in answer.text)


def test_an_idle_session_ends_and_what_was_typed_is_not_done(sign_in: SignIn, clock: Clock, ledger: Ledger) -> None:
    otto = sign_in("otto")
    token = otto.csrf()
    clock.now += 16 * 60
    answer = otto.post("/admin/switches", csrf=token, what="all", to="off", why="to see whether I may")

    assert 401 == answer.status_code
    assert "session has ended" in answer.text
    assert not ledger.switches().everything


def test_whoever_knows_the_old_password_takes_a_new_one(sign_in: SignIn, nobody: Admin) -> None:
    vera = sign_in("vera")
    new = "another few words"
    assert 422 == vera.post("/admin/password", old="wrong", new=new, again=new).status_code
    assert 422 == vera.post("/admin/password", old=PASSWORD, new=new, again="typed otherwise").status_code
    assert 422 == vera.post("/admin/password", old=PASSWORD, new="short", again="short").status_code
    assert 303 == vera.post("/admin/password", old=PASSWORD, new=new, again=new).status_code

    assert 401 == nobody.sign_in("vera").status_code
    assert 303 == nobody.sign_in("vera", new).status_code


# --- pages ------------------------------------------------------------------------------------------------------------


def test_every_answer_is_protected(sign_in: SignIn) -> None:
    vera = sign_in("vera")
    for path in ("/admin/rules", "/admin/settings", "/admin/nowhere", "/admin/audit"):
        headers = vera.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert ("no-store", "nosniff", "same-origin") == (
            headers["Cache-Control"],
            headers["X-Content-Type-Options"],
            headers["Referrer-Policy"],
        )


def test_the_script_is_the_one_that_was_looked_at(nobody: Admin) -> None:
    """
    htmx 2.0.11 as npm has it: dist/htmx.min.js of the package htmx.org (licence 0BSD).
    """
    import hashlib

    with nobody.get("/admin/static/htmx.min.js") as answer:
        assert SHA256 == hashlib.sha256(answer.data).hexdigest()


SHA256 = "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"


def test_an_address_that_leads_nowhere_is_said_as_a_page(sign_in: SignIn) -> None:
    answer = sign_in("vera").get("/admin/nowhere")

    assert (404, "text/html") == (answer.status_code, answer.mimetype)
    assert "no such page" in answer.text


def test_a_ledger_that_is_not_there_is_a_503_and_no_trace(sign_in: SignIn, ledger: Ledger) -> None:
    vera = sign_in("vera")
    path = ledger.database.path
    assert path is not None
    ledger.database.close()
    path.rename(path.with_suffix(".away"))
    answer = vera.get("/admin/rules")

    assert (503, "text/html") == (answer.status_code, answer.mimetype)
    assert answer.headers["Retry-After"]
    path.with_suffix(".away").rename(path)


def test_a_notice_is_shown_once(sign_in: SignIn) -> None:
    otto = sign_in("otto")
    otto.post("/admin/switches", what="rule eskd-hyperphosphatemia", to="off", why="to see whether I may")

    assert "is switched off; every process" in otto.get("/admin/switches").text
    assert "is switched off; every process" not in otto.get("/admin/switches").text


def test_a_forged_notice_is_not_shown(sign_in: SignIn) -> None:
    vera = sign_in("vera")
    vera.client.set_cookie("cds-admin-notice", "WyJvayIsICJmb3JnZWQiXQ.x.y", path="/admin")

    assert "forged" not in vera.get("/admin/settings").text


def test_settings_show_no_secret(book: RuleBook, ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CDS_PSEUDONYM_KEY", "CDS_DATABASE_URL", "CDS_METRICS_TOKEN_FILE"):
        monkeypatch.setenv(name, "MARKED-SECRET")
    app = create_app(Settings(auth="none", sandbox=True, admin=True), book=book, clock=clock, ledger=ledger)
    one = Admin(app)
    one.sign_in("vera")

    text = one.get("/admin/settings").text
    assert "MARKED-SECRET" not in text
    assert 3 == text.count("set, not shown")
    assert book.fingerprint in text


# --- switches, accounts, audit ----------------------------------------------------------------------------------------


def test_a_switch_stops_the_rule_and_stands_in_the_audit(sign_in: SignIn, ledger: Ledger) -> None:
    otto, rule = sign_in("otto"), "eskd-hyperphosphatemia"
    assert 422 == otto.post("/admin/switches", what=f"rule {rule}", to="off", why="short").status_code
    assert 422 == otto.post("/admin/switches", what="rule nothing", to="off", why="to see whether I may").status_code
    assert not ledger.switches().rules
    otto.post("/admin/switches", what=f"rule {rule}", to="off", why="to see whether I may")
    assert {rule} == set(ledger.switches().rules)
    otto.post("/admin/switches", what=f"rule {rule}", to="on", why="it was only a test")

    assert not ledger.switches().rules
    assert ["switch on", "switch off"] == [one.action for one in ledger.governance.audit.page(who="otto")[:2]]


def test_an_operator_disables_an_account_but_not_the_own_one(sign_in: SignIn, nobody: Admin) -> None:
    otto, vera = sign_in("otto"), sign_in("vera")
    assert 403 == otto.post("/admin/accounts/otto", deed="disable").status_code
    assert 400 == otto.post("/admin/accounts/vera", deed="delete").status_code
    assert 303 == otto.post("/admin/accounts/vera", deed="disable").status_code
    assert 303 == vera.get("/admin/settings").status_code, "signed out"
    assert 401 == nobody.sign_in("vera").status_code
    otto.post("/admin/accounts/vera", deed="enable")

    assert 303 == nobody.sign_in("vera").status_code


def test_the_audit_can_be_searched_paged_and_checked(sign_in: SignIn, ledger: Ledger) -> None:
    for number in range(120):
        ledger.governance.audit.append("look", f"page {number}", "somebody", "viewer", "192.0.2.1")
    audrey = sign_in("audrey")
    first = audrey.get("/admin/audit?who=somebody")
    older = re.search(r'href="(/admin/audit\?before=[^"]+)"', first.text)
    assert older
    second = audrey.get(older[1].replace("&amp;", "&")).text
    checked = audrey.post("/admin/audit/verify").text

    assert "page 119" in first.text
    assert "page 5<" not in first.text
    assert "page 5<" in second
    assert "entries are in order" in checked


def test_what_is_said_in_a_reason_is_text_and_no_markup(sign_in: SignIn) -> None:
    otto = sign_in("otto")
    otto.post("/admin/switches", what="all", to="on", why="<script>alert(1)</script> and more")

    for path in ("/admin/switches", "/admin/audit"):
        assert "<script>alert" not in otto.get(path).text


# --- it runs only where it is safe ------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["", "http://cds.hospital.example"])
def test_it_does_not_run_where_passwords_would_go_unprotected(book: RuleBook, ledger: Ledger, address: str) -> None:
    with pytest.raises(SettingsError, match="CDS_PUBLIC_URL"):
        create_app(Settings(auth="none", admin=True, public_url=address), book=book, ledger=ledger)


def test_it_does_not_run_without_a_ledger(book: RuleBook) -> None:
    with pytest.raises(SettingsError, match="ledger"):
        create_app(Settings(auth="none", sandbox=True, admin=True), book=book)


def test_it_is_off_unless_switched_on(make_app: object, book: RuleBook, ledger: Ledger) -> None:
    app = create_app(Settings(auth="none"), book=book, ledger=ledger)

    assert 404 == app.test_client().get("/admin/login").status_code
