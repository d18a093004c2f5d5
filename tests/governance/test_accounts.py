"""Who may sign in, how often they may try, and when a session ends."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from sqlalchemy import text

from cds_service.adapters.governance import STRONG, Governance, Refused, passwords
from cds_service.errors import TooManyRequests
from tests.governance.conftest import PASSWORD, Clock, Make

HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def kept(governance: Governance) -> Governance:
    governance.accounts.create("Eddie", PASSWORD, ["editor", "viewer"])
    return governance


def test_who_knows_the_password_is_let_in_and_nobody_else(kept: Governance) -> None:
    found = kept.accounts.authenticate("EDDIE ", PASSWORD, HERE)

    assert found is not None
    assert ("eddie", ("editor", "viewer")) == (found.name, found.roles)
    for name, password in [("eddie", PASSWORD + "x"), ("eddie", ""), ("nobody", PASSWORD), ("", "")]:
        assert kept.accounts.authenticate(name, password, HERE) is None


def test_a_password_counts_however_its_letters_were_composed(governance: Governance) -> None:
    governance.accounts.create("erin", "fünf Bäume im Tal", ["viewer"])

    assert governance.accounts.authenticate("erin", "fu\u0308nf Ba\u0308ume im Tal", HERE) is not None


@pytest.mark.parametrize("password", ["short", "x" * 12, "eddie eddie 1", "x" * 257, "aabbaabbaabb", ""])
def test_a_password_that_others_would_try_first_is_refused(governance: Governance, password: str) -> None:
    with pytest.raises(Refused):
        governance.accounts.create("eddie", password, ["viewer"])
    assert [] == governance.accounts.all()


@pytest.mark.parametrize(
    ("name", "roles"), [("x y", ["viewer"]), ("", ["viewer"]), ("<b>", ["viewer"]), ("eddie", []), ("eddie", ["root"])]
)
def test_an_account_needs_a_plain_name_and_a_role(governance: Governance, name: str, roles: list[str]) -> None:
    with pytest.raises(Refused):
        governance.accounts.create(name, PASSWORD, roles)


def test_a_name_is_given_once(kept: Governance) -> None:
    with pytest.raises(Refused):
        kept.accounts.create("eddie", PASSWORD, ["viewer"])


def test_the_database_holds_no_password(kept: Governance) -> None:
    with kept.database.reading() as connection:
        [(secret,)] = connection.execute(text("SELECT secret FROM accounts")).all()

    assert secret.startswith("scrypt$")
    assert PASSWORD not in secret
    assert passwords.sealed(PASSWORD, passwords.Cost(2, 8, 1)) != secret, "each has its own salt"


def test_what_is_kept_costs_128_megabytes_to_try() -> None:
    """
    OWASP's figures, and nothing less unless a test says so.
    """
    assert (2**17, 8, 1) == (STRONG.n, STRONG.r, STRONG.p)
    assert passwords.matches(PASSWORD, passwords.sealed(PASSWORD, STRONG))


def test_after_five_wrong_tries_even_the_right_password_waits(kept: Governance, clock: Clock) -> None:
    for _ in range(5):
        assert kept.accounts.authenticate("eddie", "wrong password", HERE) is None
    with pytest.raises(TooManyRequests) as refused:
        kept.accounts.authenticate("eddie", PASSWORD, HERE)
    assert 300 >= refused.value.wait > 200
    assert kept.accounts.authenticate("eddie", PASSWORD, THERE) is not None, "from elsewhere it is another matter"
    clock.now += 301

    assert kept.accounts.authenticate("eddie", PASSWORD, HERE) is not None


def test_tries_are_counted_for_names_that_nobody_has_too(make: Make) -> None:
    one, other = make(), make()
    for number in range(5):
        assert (one if number % 2 else other).accounts.authenticate("nobody", PASSWORD, HERE) is None

    with pytest.raises(TooManyRequests):
        one.accounts.authenticate("nobody", PASSWORD, HERE)


def test_success_forgives_what_was_mistyped(kept: Governance) -> None:
    for _ in range(3):
        for _ in range(4):
            kept.accounts.authenticate("eddie", "wrong password", HERE)
        assert kept.accounts.authenticate("eddie", PASSWORD, HERE) is not None


def test_it_takes_as_long_for_a_name_that_nobody_has(make: Make) -> None:
    from cds_service.adapters.governance.accounts import Accounts

    slow = make()
    cost = passwords.Cost(2**14, 8, 1)
    accounts = Accounts(slow.database, slow.audit, b"x" * 32, time.time, cost)
    accounts.create("eddie", PASSWORD, ["viewer"])
    accounts.authenticate("nobody", "warm up", THERE)

    def fastest(name: str) -> float:
        taken = []
        for number in range(4):
            since = time.process_time()
            accounts.authenticate(name, "wrong password", f"192.0.2.{number}")
            taken.append(time.process_time() - since)
        return min(taken)

    known, unknown = fastest("eddie"), fastest("nobody")

    assert 0.5 < known / unknown < 2


def test_whoever_signs_in_or_fails_to_stands_in_the_audit(kept: Governance) -> None:
    kept.accounts.authenticate("eddie", PASSWORD, HERE)
    kept.accounts.authenticate("eddie", "wrong password", HERE)
    kept.accounts.authenticate("my secret pass phrase", "eddie", HERE)
    told = kept.audit.page()[:3]

    assert ["failed sign in", "failed sign in", "sign in"] == [one.action for one in told]
    assert ["account (unknown)", "account eddie", "account eddie"] == [one.subject for one in told]
    assert "secret" not in str(told), "a password typed into the wrong field is not kept"


# --- sessions ---------------------------------------------------------------------------------------------------------


def opened(kept: Governance) -> str:
    account = kept.accounts.authenticate("eddie", PASSWORD, HERE)
    assert account is not None
    return kept.sessions.open(account)


def test_a_session_is_known_to_all_processes(kept: Governance, make: Make) -> None:
    found = make().sessions.find(opened(kept))

    assert found is not None
    assert ("eddie", ("editor", "viewer")) == (found.account.name, found.account.roles)
    assert 40 < len(found.csrf)


def test_a_token_is_not_in_the_database(kept: Governance) -> None:
    token = opened(kept)
    with kept.database.reading() as connection:
        [row] = connection.execute(text("SELECT * FROM sessions")).all()

    assert token not in str(row)


@pytest.mark.parametrize("token", ["", "x", "' OR 1=1 --", "0" * 64])
def test_another_token_opens_nothing(kept: Governance, token: str) -> None:
    opened(kept)

    assert kept.sessions.find(token) is None


def test_a_session_ends_after_fifteen_idle_minutes(kept: Governance, clock: Clock) -> None:
    token = opened(kept)
    for _ in range(4):
        clock.now += 14 * 60
        assert kept.sessions.find(token) is not None
    clock.now += 15 * 60 + 1

    assert kept.sessions.find(token) is None


def test_a_session_ends_after_eight_hours_however_busy(kept: Governance, clock: Clock) -> None:
    token = opened(kept)
    for _ in range(48):
        clock.now += 10 * 60
        assert kept.sessions.find(token) is not None
    clock.now += 1

    assert kept.sessions.find(token) is None


def test_signing_out_ends_it_everywhere(kept: Governance, make: Make) -> None:
    token = opened(kept)
    make().sessions.close(token)

    assert kept.sessions.find(token) is None


def test_whatever_changes_the_account_ends_its_sessions(kept: Governance) -> None:
    deeds: list[Callable[[], None]] = [
        lambda: kept.accounts.set_password("eddie", PASSWORD),
        lambda: kept.accounts.set_roles("eddie", ["editor"]),
        lambda: kept.accounts.disable("eddie"),
    ]
    for deed in deeds:
        token = opened(kept)
        deed()
        assert kept.sessions.find(token) is None


def test_a_disabled_account_lets_nobody_in_until_it_is_enabled(kept: Governance) -> None:
    kept.accounts.disable("eddie")
    assert kept.accounts.authenticate("eddie", PASSWORD, HERE) is None
    kept.accounts.enable("eddie")

    assert kept.accounts.authenticate("eddie", PASSWORD, HERE) is not None


# --- back-tests -------------------------------------------------------------------------------------------------------


def test_any_process_shows_how_far_a_back_test_is(make: Make, clock: Clock) -> None:
    one, other = make(), make()
    number = one.trials.start("eddie", {"cohort": "population"})
    one.trials.progress(number, 50, 200)
    found = other.trials.get(number)
    assert found is not None
    assert ("running", 50, 200) == (found.state, found.done, found.total)
    one.trials.finish(number, {"losing": 3})
    found = other.trials.get(number)

    assert found is not None
    assert ("done", {"losing": 3}, {"cohort": "population"}) == (found.state, found.result, found.request)
    assert [number] == [trial.id for trial in other.trials.recent("eddie")]
    assert [] == other.trials.recent("anna")


def test_a_back_test_whose_process_ended_is_shown_as_stopped(governance: Governance, clock: Clock) -> None:
    number = governance.trials.start("eddie", {})
    clock.now += 31
    found = governance.trials.get(number)

    assert found is not None
    assert "stopped" == found.state
    governance.trials.fail(number, "no such folder")
    failed = governance.trials.get(number)
    assert failed is not None
    assert ("failed", "no such folder") == (failed.state, failed.why)
