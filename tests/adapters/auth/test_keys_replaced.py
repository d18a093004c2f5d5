"""
Keys that an issuer withdraws, doubles or replaces: the old are soon believed no more, the new are soon known.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cds_service.adapters.auth import Issuer, Issuers, KeyStore, Refused, ReplaysInMemory, Verifier, keys
from cds_service.adapters.auth.keys import INTERVAL, LATE, REFRESH, STALE, read_keys
from tests.adapters.auth.signing import AUDIENCE, ISSUER, JKU, SECONDS, header, key_set, public, token
from tests.moments import quickest, spent

OLD, NEW = "es384-old", "es384-new"


class Issuing:
    """An issuer's key set as it is at each moment, and our service, whose clock is set by hand."""

    def __init__(self, *served: Any) -> None:
        self.now, self.fetched = 1_000.0, 0
        self.served, self.up, self.answers = key_set(*served), True, threading.Event()
        self.answers.set()
        self.store = KeyStore(self._fetch, lambda: self.now)
        self.by = Verifier(Issuers([Issuer(ISSUER, JKU)]), self.store, ReplaysInMemory(), lambda: SECONDS)

    def _fetch(self, _: str) -> bytes:
        self.fetched += 1
        time.sleep(0.05)  # as over a network: who does not wait has the old keys
        assert self.answers.wait(60)
        if not self.up:
            raise OSError
        return self.served

    def result(self, kid: str, signer: str, alg: str = "ES384") -> str:
        """Return what becomes of a token with a key id that a key has signed."""
        try:
            self.by.verify(token(None, header(alg, kid), signer=signer), (AUDIENCE,))
        except Refused as refused:
            return refused.reason
        return "let in"


def as_(kid: str, name: str) -> Any:
    return public(name, kid=kid)


@pytest.fixture
def issuing() -> Issuing:
    """Give an issuer whose key is known."""
    made = Issuing(as_("k", OLD))
    assert "let in" == made.result("k", OLD)
    return made


# --- withdrawn -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("idle", [LATE + 1, STALE - 3600])
def test_a_key_that_was_withdrawn_is_not_believed_by_the_first_call_after_an_idle_time(
    issuing: Issuing, idle: float
) -> None:
    issuing.served = key_set(as_("other", NEW))
    issuing.now += idle

    assert "kid" == issuing.result("k", OLD)
    assert "let in" == issuing.result("other", NEW)
    assert 2 == issuing.fetched


def test_where_the_fetch_fails_then_the_old_keys_stay_good_up_to_their_limit(issuing: Issuing) -> None:
    issuing.up = False
    issuing.now += STALE - 3600

    assert ["let in", "let in"] == [issuing.result("k", OLD) for _ in range(2)]


def test_an_address_that_hangs_holds_up_the_calls_once_and_not_every_half_minute(
    issuing: Issuing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "PATIENCE", 0.3)
    issuing.answers.clear()
    issuing.now += LATE + 1

    assert "let in" == issuing.result("k", OLD)
    issuing.up = False
    issuing.answers.set()
    _landed(issuing)
    issuing.answers.clear()
    issuing.now += INTERVAL + 1
    assert quickest(lambda: spent(lambda: issuing.store.find(JKU, "k")), 0.2) < 0.2
    issuing.answers.set()
    _landed(issuing)
    assert 3 == issuing.fetched


def _landed(issuing: Issuing) -> None:
    flight = issuing.store._of(JKU).flight
    if flight is not None:
        assert flight._over.wait(60)


# --- doubled ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signer", [OLD, NEW])
def test_of_two_keys_with_one_id_either_may_have_signed(signer: str) -> None:
    assert "let in" == Issuing(as_("k", OLD), as_("k", NEW)).result("k", signer)


@pytest.mark.parametrize("signer", [OLD, NEW])
def test_so_with_keys_that_were_given(signer: str) -> None:
    given = read_keys(key_set(as_("k", OLD), as_("k", NEW)))["k"]
    entry = Issuer(ISSUER, keys=given)
    by = Verifier(Issuers([entry]), KeyStore(), ReplaysInMemory(), lambda: SECONDS)

    assert entry == by.verify(token(None, header(kid="k"), signer=signer), (AUDIENCE,))[0]


# --- replaced --------------------------------------------------------------------------------------------------------


def test_a_key_that_was_replaced_under_its_id_is_looked_for(issuing: Issuing) -> None:
    issuing.served = key_set(as_("k", NEW))
    issuing.now += INTERVAL + 1

    assert "let in" == issuing.result("k", NEW)
    assert "signature" == issuing.result("k", OLD)
    assert 2 == issuing.fetched


def test_so_is_one_of_another_kind(issuing: Issuing) -> None:
    issuing.served = key_set(as_("k", "rs384"))
    issuing.now += INTERVAL + 1

    assert "let in" == issuing.result("k", "rs384", "RS384")


def test_a_strangers_signatures_cause_a_fetch_in_half_a_minute_at_most(issuing: Issuing) -> None:
    for _ in range(3):
        issuing.now += INTERVAL + 1
        with ThreadPoolExecutor(8) as threads:
            assert ["signature"] * 40 == list(threads.map(lambda _: issuing.result("k", NEW), range(40)))

    assert 4 == issuing.fetched
    assert "let in" == issuing.result("k", OLD)


def test_nobody_waits_for_one_fetch_longer_than_we_are_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A call that has waited for newer keys does not wait again because the signature is wrong, nor does the next one.
    """
    patience = 0.5
    monkeypatch.setattr(keys, "PATIENCE", patience)

    def both() -> tuple[float, float]:
        issuing = Issuing(as_("k", OLD))
        assert "let in" == issuing.result("k", OLD)
        issuing.answers.clear()
        issuing.now += LATE + REFRESH
        took = [spent(lambda: issuing.result("k", NEW)) for _ in range(2)]
        assert "let in" == issuing.result("k", OLD)
        issuing.answers.set()
        _landed(issuing)
        assert 2 == issuing.fetched
        return took[0], took[1]

    assert quickest(lambda: both()[0], 1.5 * patience) < 2 * patience
    assert quickest(lambda: both()[1], patience / 2) < patience / 2
