"""The guard of the admin pages, from outside: every role at every address, how long one stays, what is too much."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.routing import Rule

from cds_service.adapters.governance import ROLES
from cds_service.adapters.ledger import Ledger
from cds_service.rules.book import RuleBook
from cds_service.web import Settings, create_app
from cds_service.web.admin import frame
from cds_service.web.settings import SETTINGS
from tests.admin.conftest import ORIGIN, PEOPLE, Admin, Clock, SignIn
from tests.build import SERVICE

PUBLIC = {"admin.login", "admin.sign_in", "admin.static", "admin.leave_for_oidc", "admin.back_from_oidc"}
SAMPLE = {"rule_id": "eskd-hyperphosphatemia", "name": "phosphate_high", "filename": "base.css", "_rest": "nowhere"}
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
MINUTE = 60


def address(rule: Rule) -> str:
    """Return an address of a route; its numbers are of things that are not there."""
    found = rule.build({name: SAMPLE.get(name, 999_999) for name in rule.arguments}, append_unknown=False)
    assert found is not None
    return found[1]


def deeds(app: Flask) -> Iterator[tuple[str, str, str]]:
    """Return what can be done at every address: endpoint, method, address."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("admin."):
            for method in sorted((rule.methods or set()) & METHODS):
                yield rule.endpoint, method, address(rule)


# --- deny by default -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", PEOPLE)
def test_each_role_opens_what_it_may_and_nothing_else(admin_app: Flask, sign_in: SignIn, who: str) -> None:
    """
    Without the token nothing is done; which refusal comes back tells whether the role would have been enough.
    """
    admin, wrong, seen = sign_in(who), [], 0
    for endpoint, method, path in deeds(admin_app):
        if endpoint in PUBLIC | {"admin.logout", "admin.nothing"}:
            continue
        with admin_app.app_context():
            may = bool(frame.roles_of(endpoint) & set(PEOPLE[who]))
        answer = admin.client.open(path, method=method, headers={"Origin": ORIGIN})
        refused = answer.status_code == 403 and "You may not do that" in answer.text
        seen += 1
        if refused == may or answer.status_code >= 500:
            wrong.append((method, path, answer.status_code))

    assert [] == wrong
    assert seen > 20


@pytest.mark.parametrize("who", PEOPLE)
def test_the_menu_leads_only_where_its_reader_may_go(sign_in: SignIn, who: str) -> None:
    admin = sign_in(who)
    shown = admin.get("/admin/password").text
    menu = re.findall(r'<a href="([^"]+)"', shown.partition('class="menu"')[2].partition("</nav>")[0])

    assert len(menu) >= 8
    for path in menu:
        assert 200 == admin.get(path).status_code, path


def test_a_view_that_allows_nobody_is_open_to_nobody(admin_app: Flask, sign_in: SignIn) -> None:
    admin = sign_in("erin")
    admin_app.view_functions["admin.rules"] = lambda: "forgotten"

    assert 403 == admin.get("/admin/rules").status_code


def test_opening_a_page_changes_nothing(admin_app: Flask, sign_in: SignIn, ledger: Ledger) -> None:
    """Every GET, by everybody: the audit, the switches, the changes and the accounts stay as they are."""
    people = [sign_in(who) for who in PEOPLE]
    governance = ledger.governance

    def state() -> object:
        return governance.audit.count(), governance.history(), ledger.switched(), governance.accounts.all()

    before = state()
    for endpoint, method, path in deeds(admin_app):
        if method == "GET" and endpoint != "admin.static":
            for one in people:
                one.get(path)

    assert before == state()


def test_no_page_holds_script_or_style_of_its_own(admin_app: Flask, sign_in: SignIn) -> None:
    admin = sign_in("erin")
    inline = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|hx-on|javascript:")
    for endpoint, method, path in deeds(admin_app):
        if method == "GET" and endpoint != "admin.static":
            assert not inline.search(admin.get(path).text), path


def test_without_an_address_of_ours_a_foreign_name_is_refused(nobody: Admin) -> None:
    """A page elsewhere may let its own name lead to this machine (DNS rebinding)."""
    refused = nobody.client.get("/admin/login", headers={"Host": "evil.example"})

    assert 403 == refused.status_code
    assert "CDS_PUBLIC_URL" in refused.text
    assert 200 == nobody.client.get("/admin/login", headers={"Host": "127.0.0.1:8321"}).status_code


def test_signing_in_is_taken_from_our_own_page_only(nobody: Admin) -> None:
    answer = nobody.client.post("/admin/login", data={"name": "vera"}, headers={"Origin": "https://evil.example"})

    assert 403 == answer.status_code
    assert "did not come from here" in answer.text


# --- how long one stays ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("idle", "stays"), [(14 * MINUTE, True), (16 * MINUTE, False)])
def test_fifteen_idle_minutes_end_a_session_and_the_page_says_so(
    sign_in: SignIn, clock: Clock, idle: int, stays: bool
) -> None:
    admin = sign_in("vera")
    clock.now += idle
    shown = admin.get("/admin/password", follow_redirects=True).text

    assert stays is ("Change your password" in shown)
    assert stays is ("15 minutes without use" not in shown)


def test_that_a_session_ended_is_said_once(sign_in: SignIn, clock: Clock) -> None:
    admin = sign_in("vera")
    clock.now += 16 * MINUTE
    assert "15 minutes without use" in admin.get("/admin/rules", follow_redirects=True).text

    assert "15 minutes without use" not in admin.get("/admin/rules", follow_redirects=True).text


def test_eight_hours_end_a_session_that_was_never_idle(sign_in: SignIn, clock: Clock) -> None:
    admin = sign_in("vera")
    for _ in range(8 * 6 - 1):
        clock.now += 10 * MINUTE
        assert 200 == admin.get("/admin/password").status_code
    clock.now += 11 * MINUTE

    assert 303 == admin.get("/admin/password").status_code


def test_a_page_that_refreshes_a_part_goes_to_the_form_as_a_whole(nobody: Admin) -> None:
    answer = nobody.get("/admin/rules", headers={"HX-Request": "true"})

    assert (401, "/admin/login") == (answer.status_code, answer.headers["HX-Redirect"])


def test_after_signing_in_the_question_of_the_address_is_kept(nobody: Admin) -> None:
    form = nobody.get(nobody.get("/admin/audit?who=anna").headers["Location"]).text
    following = re.search(r'name="following" value="([^"]*)"', form)
    assert following is not None

    assert "/admin/audit?who=anna" == nobody.sign_in("audrey", following=following[1]).headers["Location"]


@pytest.mark.parametrize("following", ["/admin/\r\nSet-Cookie: a=b", "/admin/x\x00", "/admin/" + "x" * 2_000])
def test_what_no_address_of_ours_looks_like_leads_to_the_first_page(nobody: Admin, following: str) -> None:
    answer = nobody.sign_in("vera", following=following)

    assert "/admin/" == answer.headers["Location"]
    assert "a=b" not in str(answer.headers)


@pytest.mark.parametrize("name", ["vera\x00", "\r\nvera", "x" * 5_000, "\u202evera", "'; drop table accounts; --"])
def test_a_name_of_any_shape_is_nobody_and_nothing_breaks(nobody: Admin, name: str) -> None:
    assert 401 == nobody.sign_in(name, "wrong password").status_code


# --- how much is too much --------------------------------------------------------------------------------------------


def test_more_passwords_at_once_than_there_is_memory_for_are_refused(admin_app: Flask, nobody: Admin) -> None:
    nobody.sign_in("vera", "wrong password")
    guard = admin_app.extensions["admin-trying"]
    with guard.place(), guard.place(), guard.place():
        busy = nobody.sign_in("vera")

    assert 503 == busy.status_code
    assert "Retry-After" in busy.headers
    assert 303 == nobody.sign_in("vera").status_code


def test_a_form_that_is_too_long_is_not_read(sign_in: SignIn, nobody: Admin) -> None:
    answer = sign_in("otto").post("/admin/switches", why="x" * (frame.FORM + 1))
    assert (413, "text/html") == (answer.status_code, answer.mimetype)
    assert "This is too large" in answer.text

    assert 413 == nobody.sign_in("vera", "x" * (frame.LOGIN_FORM + 1)).status_code


def test_only_the_page_that_takes_hook_calls_takes_a_long_form(sign_in: SignIn) -> None:
    admin = sign_in("vera")

    assert 200 == admin.post("/admin/explain", call="{" + " " * (frame.FORM + 1)).status_code


# --- what is wrong, as a page ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/admin/rules/nobodys", 404, "There is no rule with this id."),
        ("POST", "/admin/rules", 404, "There is no such page"),
        ("PUT", "/admin/rules", 405, "This cannot be done here"),
        ("GET", "/admin/accounts", 403, "You may not do that"),
        ("GET", "/admin/audit?before=" + "9" * 40, 403, "You may not do that"),
    ],
)
def test_errors_are_pages_with_the_menu_that_say_what_to_do(
    sign_in: SignIn, method: str, path: str, status: int, said: str
) -> None:
    admin = sign_in("vera")
    answer = admin.client.open(path, method=method, data={"csrf": admin.csrf()}, headers={"Origin": ORIGIN})

    assert (status, "text/html") == (answer.status_code, answer.mimetype)
    assert said in answer.text
    assert '<nav class="menu"' in answer.text


def test_what_was_sent_is_not_repeated(sign_in: SignIn) -> None:
    assert "alert(1)" not in sign_in("vera").get("/admin/<script>alert(1)</script>").text


def test_the_address_without_its_slash_leads_in(nobody: Admin) -> None:
    assert "/admin/login" == nobody.get("/admin").headers["Location"]


def test_what_nobody_thought_of_is_a_503_without_a_trace(admin_app: Flask, sign_in: SignIn) -> None:
    admin = sign_in("vera")

    def broken() -> str:
        raise ValueError("Doe, John")

    broken.roles = frozenset(ROLES)  # type: ignore[attr-defined]
    admin_app.view_functions["admin.rules"] = broken
    answer = admin.get("/admin/rules")

    assert (503, "text/html") == (answer.status_code, answer.mimetype)
    assert "Doe" not in answer.text


# --- accounts, audit, switches ---------------------------------------------------------------------------------------


def test_everything_can_be_switched_off_and_the_next_call_gets_no_card(
    admin_app: Flask, sign_in: SignIn, ledger: Ledger
) -> None:
    otto, client = sign_in("otto"), admin_app.test_client()
    assert 303 == otto.post("/admin/switches", what="all", to="off", why="a wrong card was reported").status_code
    answer = client.post(SERVICE, json={})
    assert (200, []) == (answer.status_code, answer.get_json()["cards"])
    assert ledger.switches().everything
    assert "Everything is switched off." in otto.get("/admin/settings").text
    otto.post("/admin/switches", what="all", to="on", why="the card was right after all")

    assert 400 == client.post(SERVICE, json={}).status_code
    told = ledger.governance.audit.page(who="otto", subject="all")
    assert ["switch on", "switch off"] == [one.action for one in told]
    assert ["the card was right after all", "a wrong card was reported"] == [one.new for one in told]


def test_a_rule_that_is_gone_from_the_files_can_be_switched_on_again(sign_in: SignIn, ledger: Ledger) -> None:
    ledger.switch("rule", "of-another-year", True, "otto", "it was wrong in those days")
    otto, what = sign_in("otto"), "rule of-another-year"
    assert "Rule of-another-year" in otto.get("/admin/switches").text
    assert "1 rule is switched off" in otto.get("/admin/settings").text

    assert 303 == otto.post("/admin/switches", what=what, to="on", why="there is no such rule").status_code
    assert "1 rule is switched off" not in otto.get("/admin/settings").text


def test_settings_are_shown_as_they_are_in_force(book: RuleBook, ledger: Ledger, clock: Clock) -> None:
    chosen = Settings(
        auth="none", sandbox=True, admin=True, rate=70, fhir_bases=frozenset({"https://b.example", "https://a.example"})
    )
    admin = Admin(create_app(chosen, book=book, clock=clock, ledger=ledger))
    admin.sign_in("vera")
    shown = re.sub(r"<[^>]+>|\s+", " ", admin.get("/admin/settings").text)
    said = re.sub(r" +", " ", shown)

    for expected in (
        "CDS_RATE 70 set",
        "CDS_AUTH none set",
        "CDS_SANDBOX yes set",
        "CDS_EVIDENCE_HOURS 8 For",
        "CDS_OTHER_PATIENT refuse Data",
    ):
        assert expected in said
    assert "CDS_FHIR_BASES https://a.example, https://b.example set" in said
    assert f"Rule book in force {book.fingerprint}" in said
    assert all(f" {one.name} " in said for one in SETTINGS)


def test_an_account_that_is_not_there_is_not_found(sign_in: SignIn) -> None:
    assert 404 == sign_in("otto").post("/admin/accounts/nobody", deed="disable").status_code


def test_an_auditor_sees_accounts_but_changes_none(sign_in: SignIn) -> None:
    audrey = sign_in("audrey")
    shown = audrey.get("/admin/accounts").text

    assert all(name in shown for name in PEOPLE)
    assert "Disable" not in shown
    assert 403 == audrey.post("/admin/accounts/vera", deed="disable").status_code


@pytest.mark.parametrize("question", ["before=" + "9" * 40, "before=-1", "before=x", "who=%00", "subject=%25_%27"])
def test_any_question_to_the_audit_has_an_answer(sign_in: SignIn, question: str) -> None:
    assert 200 == sign_in("audrey").get(f"/admin/audit?{question}").status_code


def test_the_audit_page_says_when_an_entry_was_changed(sign_in: SignIn, ledger: Ledger, tmp_path: Path) -> None:
    import sqlite3

    audrey = sign_in("audrey")
    path = ledger.database.path
    assert path is not None
    with sqlite3.connect(path) as raw:
        triggers = [name for (name,) in raw.execute("select name from sqlite_master where type='trigger'")]
        for name in triggers:
            raw.execute(f'drop trigger "{name}"')
        raw.execute("update audit set who = 'somebody else' where number = 2")
    raw.close()

    assert "Entry 2 was changed." in audrey.post("/admin/audit/verify").text
