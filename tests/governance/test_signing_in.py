"""Signing in under attack: many tries at once, odd characters, accounts that change meanwhile."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from cds_service.adapters.governance import Cost, Governance, Refused, Session, passwords
from cds_service.adapters.governance.accounts import Accounts
from cds_service.errors import TooManyRequests, Unavailable
from tests.governance.conftest import CHEAP, PASSWORD, Clock, Make
from tests.ledger.conftest import SECRET

HERE = "192.0.2.1"


@pytest.fixture
def kept(governance: Governance) -> Governance:
    governance.accounts.create("eddie", PASSWORD, ["editor"])
    return governance


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """Take note of what each try of a password costs."""
    made: list[tuple[int, int, int]] = []
    real = hashlib.scrypt

    def noted(*words: Any, **more: Any) -> bytes:
        made.append((more["n"], more["r"], more["p"]))
        return real(*words, **more)

    monkeypatch.setattr(hashlib, "scrypt", noted)
    return made


@pytest.mark.parametrize("name", ["eddie", "nobody", "", "x\0y", "\ud800", "e" * 10_000, "away"])
def test_each_try_costs_the_same_whoever_it_names(
    kept: Governance, tries: list[tuple[int, int, int]], name: str
) -> None:
    kept.accounts.create("away", PASSWORD, ["editor"])
    kept.accounts.disable("away")
    tries.clear()

    assert kept.accounts.authenticate(name, "a wrong password", HERE) is None
    assert [(CHEAP.n, CHEAP.r, CHEAP.p)] == tries


@pytest.mark.parametrize("password", ["", "\0" * 12, "\ud800" * 20, "x" * 1_000_000, "ﷺ" * 300])
def test_odd_passwords_are_wrong_passwords(kept: Governance, password: str) -> None:
    assert kept.accounts.authenticate("eddie", password, HERE) is None


def test_of_thirty_tries_at_once_five_are_made(make: Make, tries: list[tuple[int, int, int]]) -> None:
    many = [make() for _ in range(3)]
    many[0].accounts.create("eddie", PASSWORD, ["editor"])
    tries.clear()

    def attempt(number: int) -> str:
        try:
            found = many[number % 3].accounts.authenticate("eddie", f"wrong password {number}", HERE)
        except TooManyRequests:
            return "refused"
        return "let in" if found else "wrong"

    with ThreadPoolExecutor(10) as pool:
        ended = sorted(pool.map(attempt, range(30)))

    assert ["refused"] * 25 + ["wrong"] * 5 == ended
    assert 5 == len(tries)


def test_one_password_is_tried_at_a_time(kept: Governance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes 128 MB: a hundred at once would take the memory of the whole service."""
    monkeypatch.setattr(passwords, "PATIENCE", 0.05)
    with passwords._TURN, pytest.raises(Unavailable) as refused:
        kept.accounts.authenticate("eddie", PASSWORD, HERE)

    assert "busy" == refused.value.slug
    assert kept.accounts.authenticate("eddie", PASSWORD, HERE) is not None


def test_who_may_work_on_one_password_waits_for_seconds_not_for_ever() -> None:
    assert 1 < passwords.PATIENCE < 30


def test_a_long_password_counts_to_its_end_however_it_was_typed(governance: Governance) -> None:
    composed, typed = "ü" * 100 + "abcdef" + "ü" * 100, "u\u0308" * 100 + "abcdef" + "u\u0308" * 100
    governance.accounts.create("erin", composed, ["viewer"])

    assert governance.accounts.authenticate("erin", typed, HERE) is not None
    assert governance.accounts.authenticate("erin", typed[:-4], HERE) is None


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("eddie", "eddieeddieeddie"),
        ("eddie", "EDDIE.eddie.EDDIE"),
        ("eddie", "password1234567890"),
        ("eddie", "PasswordPassword"),
        ("eddie", "AdminAdminAdmin!"),
        ("eddie", "calcinosis-calcinosis"),
        ("eddie", "\u0065\u0064\u0064\u0069\u0065" * 4),
    ],
)
def test_what_everybody_tries_first_is_refused(governance: Governance, name: str, password: str) -> None:
    with pytest.raises(Refused) as refused:
        governance.accounts.create(name, password, ["viewer"])

    assert "bad-password" == refused.value.slug
    assert password not in str(refused.value)


def test_a_short_name_may_stand_in_a_word_of_the_password(governance: Governance) -> None:
    governance.accounts.create("ed", "wanted and needed", ["viewer"])

    assert governance.accounts.authenticate("ed", "wanted and needed", HERE) is not None


def test_when_a_try_is_to_cost_more_it_does_from_the_next_signing_in_on(kept: Governance, clock: Clock) -> None:
    dearer = Accounts(kept.database, kept.audit, SECRET.purpose("attempts"), clock, Cost(4, 8, 1))
    assert dearer.authenticate("eddie", PASSWORD, HERE) is not None
    with kept.database.reading() as connection:
        secret = str(connection.execute(text("SELECT secret FROM accounts")).scalar())

    assert Cost(4, 8, 1) == passwords.cost_of(secret)
    assert dearer.authenticate("eddie", PASSWORD, HERE) is not None


def test_confirming_a_password_is_not_signing_in(kept: Governance) -> None:
    kept.accounts.authenticate("eddie", PASSWORD, HERE, "confirm password")
    kept.accounts.authenticate("eddie", "a wrong password", HERE, "confirm password")

    assert ["failed confirm password", "confirm password"] == [one.action for one in kept.audit.page(limit=2)]


# --- accounts that change meanwhile -----------------------------------------------------------------------------------


@pytest.mark.parametrize("deed", ["set_password", "set_roles", "disable", "enable"])
def test_no_session_is_opened_for_an_account_that_changed_meanwhile(kept: Governance, deed: str) -> None:
    """The password was right, and then the account was changed: the clock of a test stands still between both."""
    account = kept.accounts.authenticate("eddie", PASSWORD, HERE)
    assert account is not None
    deeds: dict[str, Any] = {
        "set_password": lambda: kept.accounts.set_password("eddie", PASSWORD + "!"),
        "set_roles": lambda: kept.accounts.set_roles("eddie", ["viewer"]),
        "disable": lambda: kept.accounts.disable("eddie"),
        "enable": lambda: kept.accounts.enable("eddie"),
    }
    deeds[deed]()

    with pytest.raises(Refused):
        kept.sessions.open(account)


def test_every_session_has_an_id_and_a_token_of_its_own(kept: Governance) -> None:
    account = kept.accounts.find("eddie")
    assert account is not None
    tokens = [kept.sessions.open(account) for _ in range(3)]
    found = [kept.sessions.find(one) for one in tokens]

    assert 3 == len(set(tokens))
    assert 3 == len({one.csrf for one in found if isinstance(one, Session)})
    kept.sessions.close_all("EDDIE")
    assert [None] * 3 == [kept.sessions.find(one) for one in tokens]


def test_what_has_ended_is_forgotten(kept: Governance, clock: Clock) -> None:
    account = kept.accounts.find("eddie")
    assert account is not None
    kept.sessions.open(account)
    kept.accounts.authenticate("eddie", "a wrong password", HERE)
    clock.now += 8 * 3600
    kept.sessions.open(account)
    kept.accounts.authenticate("nobody", "a wrong password", HERE)
    with kept.database.reading() as connection:
        many = [connection.execute(text(f"SELECT count(*) FROM {name}")).scalar() for name in ("sessions", "attempts")]

    assert [1, 1] == many


def test_roles_are_kept_once_each(governance: Governance) -> None:
    made = governance.accounts.create("anna", PASSWORD, ["viewer", "viewer", "approver"])
    governance.accounts.set_roles("anna", ["viewer", "viewer"])

    assert ("viewer", "approver") == made.roles
    assert [("viewer",)] == [one.roles for one in governance.accounts.all()]


def test_an_unknown_account_cannot_be_changed(governance: Governance) -> None:
    for deed in (governance.accounts.disable, governance.accounts.enable):
        with pytest.raises(Refused):
            deed("nobody")
    assert governance.accounts.find("nobody") is None
    assert governance.accounts.find("no body\0") is None
