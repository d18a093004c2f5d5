"""
Key sets: fetched seldom, from where we were told, and never lost to a server that fails (SECURITY.md 1, "JWKS fetch").
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import responses

from cds_service.adapters.auth import KeyStore, KeysUnavailable, keys
from cds_service.adapters.auth.keys import read_keys, usable
from cds_service.errors import SettingsError
from tests.adapters.auth.signing import JKU, key_set, public
from tests.faults import servers
from tests.faults.asking import always
from tests.faults.servers import Asked, Behaviour, Reply, Server, answering, once_asked, running
from tests.moments import quickest, spent

A_SET = key_set(public("es384"))
JSON = "application/json"


def serving(raw: bytes = A_SET, **more: Any) -> Behaviour:
    return always(Reply(raw, kind=JSON, **more))


def address(server: Server) -> str:
    return f"{server.base}/jwks.json"


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


# --- over the wire ---------------------------------------------------------------------------------------------------


@responses.activate
@pytest.mark.parametrize("kind", [JSON, "application/jwk-set+json", "text/plain", "application/octet-stream"])
def test_a_key_set_is_fetched_once_whatever_it_is_called(kind: str) -> None:
    responses.get(JKU, body=A_SET, content_type=kind)
    store = KeyStore()

    for _ in range(50):
        assert store.find(JKU, "es384")
    assert 1 == len(responses.calls)
    [sent] = [call.request.headers for call in responses.calls]
    assert "Authorization" not in sent
    assert "identity" == sent["Accept-Encoding"]


@responses.activate
@pytest.mark.parametrize(
    "answer",
    [
        {"status": 500},
        {"status": 404},
        {"status": 204},
        {"status": 302, "headers": {"Location": "https://evil.example/jwks.json"}},
        {"body": A_SET, "headers": {"Content-Encoding": "gzip"}},
        {"body": b"<html>Log in</html>"},
        {"body": b""},
        {"body": b"[]"},
        {"body": b'{"keys":[]}'},
        {"body": b'{"keys":null}'},
        {"body": b'{"keys":{"a":1}}'},
        {"body": b'{"keys":[1,null,"x",[],{}]}'},
        {"body": b'{"keys":[{"kty":"EC","kid":"es384"}]}'},
        {"body": A_SET[:-9]},
        {"body": b"[" * 100_000},
        {"body": A_SET + b" " * 300_000},
        {"body": ConnectionResetError()},
    ],
    ids=lambda answer: str(answer)[:40],
)
def test_an_answer_that_is_no_key_set_lets_nobody_in(answer: dict[str, Any]) -> None:
    responses.get(JKU, **answer)

    with pytest.raises(KeysUnavailable):
        KeyStore().find(JKU, "es384")
    assert 1 == len(responses.calls)


HANGING: dict[str, Behaviour] = {
    "says nothing": servers.hang,
    "hangs once asked": once_asked(servers.hang),
    "headers, then silence": once_asked(servers.headers_then_silence),
    "drips headers": once_asked(servers.drip_headers),
    "drips the body": once_asked(servers.drip_body),
    "endless body": once_asked(servers.endless_body),
    "endless headers": once_asked(servers.endless_headers),
    "reset": servers.reset,
    "garbage": once_asked(servers.says(b"\x00\x01\r\n\r\n")),
    "gzip bomb": always(servers.bomb(1024 * 1024)),
}


@pytest.mark.parametrize("name", HANGING)
def test_a_server_that_hangs_costs_two_seconds_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """
    All who wait, wait for the same fetch; who comes after it does not wait at all.
    """
    monkeypatch.setattr(keys, "PATIENCE", 0.4)
    with running(HANGING[name]) as server, ThreadPoolExecutor(8) as threads:

        def all_at_once() -> float:
            store, before = KeyStore(), server.connections

            def ask(_: int = 0) -> None:
                assert refuses(store, address(server))

            first = spent(lambda: list(threads.map(ask, range(8))))
            assert quickest(lambda: spent(ask), 0.2) < 0.2
            ended(lambda: not alive("keys") and server.connections > before)
            assert before + 1 == server.connections
            return first

        assert quickest(all_at_once, 1.0) < 1.0


def refuses(store: KeyStore, jku: str) -> bool:
    try:
        store.find(jku, "es384")
    except KeysUnavailable:
        return True
    return False


def alive(name: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == name]


def ended(done: Callable[[], bool]) -> None:
    """Wait for what happens beside the calls."""
    limit = time.monotonic() + 30
    while not done():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_redirects_are_not_followed() -> None:
    with running(serving()) as canary:
        with running(always(Reply(b"", 302, {"Location": address(canary)}))) as server:
            assert refuses(KeyStore(), address(server))
        assert 0 == canary.connections


def test_proxies_of_the_machine_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(serving()) as canary, running(serving()) as server:
        monkeypatch.setenv("HTTP_PROXY", canary.base)
        monkeypatch.setenv("NO_PROXY", "")
        assert KeyStore().find(address(server), "es384")
        assert 0 == canary.connections


# --- when it is fetched ----------------------------------------------------------------------------------------------


def test_a_flood_of_unknown_keys_is_at_most_two_fetches() -> None:
    with running(serving()) as server, ThreadPoolExecutor(8) as threads:
        store = KeyStore()
        assert store.find(address(server), "es384")
        found = list(threads.map(lambda number: store.find(address(server), f"unknown-{number}"), range(40)))

        assert [()] * 40 == found
        assert len(server.asked) <= 2


def test_after_half_a_minute_an_unknown_key_is_looked_for_again() -> None:
    clock, served = Clock(), [A_SET]
    fetched: list[str] = []

    def fetch(url: str) -> bytes:
        fetched.append(url)
        return served[0]

    store = KeyStore(fetch, clock)
    assert store.find(JKU, "es384")
    served[0] = key_set(public("es256"))
    clock.now += 29
    assert () == store.find(JKU, "es256")
    clock.now += 2
    assert store.find(JKU, "es256")
    assert () == store.find(JKU, "es384")  # what the issuer has taken back is gone
    assert 2 == len(fetched)


def failing(clock: Clock) -> tuple[KeyStore, list[str]]:
    """Return a store that has keys, and whose server fails from now on."""
    fetched: list[str] = []

    def fetch(url: str) -> bytes:
        fetched.append(url)
        if len(fetched) > 1:
            raise ValueError
        return A_SET

    store = KeyStore(fetch, clock)
    store.find(JKU, "es384")
    return store, fetched


def test_a_fetch_that_fails_never_loses_keys() -> None:
    clock = Clock()
    store, fetched = failing(clock)
    for _ in range(100):
        clock.now += 700
        assert store.find(JKU, "es384")
        assert () == store.find(JKU, "unknown")
    ended(lambda: len(fetched) > 50)


def test_keys_that_could_not_be_renewed_for_a_day_are_not_believed() -> None:
    clock = Clock()
    store, _ = failing(clock)
    clock.now += 24 * 3600 + 1

    assert refuses(store, JKU)


def test_after_a_day_without_calls_the_first_one_fetches_and_is_let_in() -> None:
    clock = Clock()
    store = KeyStore(lambda _: A_SET, clock)
    store.find(JKU, "es384")
    clock.now += 3 * 24 * 3600

    assert store.find(JKU, "es384")


def test_renewing_known_keys_holds_up_nobody() -> None:
    clock, go_on, fetched = Clock(), threading.Event(), list[str]()

    def fetch(url: str) -> bytes:
        fetched.append(url)
        if len(fetched) > 1:
            assert go_on.wait(60)
        return A_SET

    store = KeyStore(fetch, clock)
    store.find(JKU, "es384")
    clock.now += 601
    for _ in range(10):
        assert store.find(JKU, "es384")

    assert alive("keys"), "the renewal has not ended, and nobody waited for it"
    go_on.set()
    ended(lambda: len(fetched) == 2 and not alive("keys"))


def test_a_server_that_is_down_at_the_start_is_asked_again_soon() -> None:
    clock, up = Clock(), [False]

    def fetch(_: str) -> bytes:
        if not up[0]:
            raise OSError
        return A_SET

    store = KeyStore(fetch, clock)
    assert refuses(store, JKU)
    up[0] = True
    assert refuses(store, JKU)  # not at once
    clock.now += 5.1

    assert store.find(JKU, "es384")


def test_being_ready_is_having_keys_and_asks_for_those_that_lack() -> None:
    clock = Clock()
    store = KeyStore(lambda _: A_SET, clock)

    assert not store.ready([JKU])
    ended(lambda: store.ready([JKU]))
    assert store.ready([])
    clock.now += 25 * 3600
    assert not store.ready([JKU])


def test_each_address_has_keys_of_its_own() -> None:
    other = f"{JKU}2"
    sets = {JKU: A_SET, other: key_set(public("es256"))}
    store = KeyStore(sets.__getitem__)

    assert store.find(JKU, "es384")
    assert () == store.find(other, "es384")


# --- which keys ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "members",
    [
        {"kty": "oct", "k": "eA"},
        {"kty": "OKP", "crv": "Ed25519", "x": "eA"},
        {"kty": "ec"},
        {"kty": None},
        {"use": "enc"},
        {"use": ["sig"]},
        {"key_ops": ["sign"]},
        {"key_ops": []},
        {"key_ops": 5},
        {"key_ops": "verify"},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": "ECDH-ES"},
        {"alg": 5},
        {"alg": ["ES384"]},
        {"kid": ""},
        {"kid": 5},
        {"kid": None},
        {"kid": "x" * 513},
        {"crv": "P-256"},
        {"crv": "secp256k1"},
        {"crv": 5},
        {"x": "!"},
        {"x": 5},
        {"x": None},
        {"x": "AA"},
    ],
    ids=str,
)
def test_a_key_that_is_not_for_our_signatures_is_no_key(members: dict[str, Any]) -> None:
    assert usable(public("es384", **members)) is None


@pytest.mark.parametrize(
    "members", [{"n": "AQAB"}, {"e": "AA"}, {"n": 5}, {"n": None}, {"use": "enc"}, {"alg": "RSA-OAEP"}], ids=str
)
def test_a_weak_or_broken_rsa_key_is_no_key(members: dict[str, Any]) -> None:
    assert usable(public("rs384", **members)) is None
    assert usable(public("rsa1024")) is None


def test_only_the_public_part_of_a_key_is_taken() -> None:
    from jwt.algorithms import ECAlgorithm

    from tests.adapters.auth.signing import key

    whole = json.loads(ECAlgorithm.to_jwk(key("es384"))) | {"kid": "x"}
    whole.pop("key_ops", None)
    found = usable(whole)

    assert found is not None
    assert not hasattr(found.public, "private_numbers")


def test_two_keys_with_one_id_are_both_kept() -> None:
    both = read_keys(key_set(public("es384", kid="x"), public("rs384", kid="x")))["x"]

    assert [True, False] == [key.fits("ES384") for key in both]
    assert [False, True] == [key.fits("PS512") for key in both]


# --- TLS -------------------------------------------------------------------------------------------------------------


def test_a_file_that_holds_no_authorities_refuses_the_start(tmp_path: Any) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for path in (tmp_path / "empty.pem", tmp_path / "missing.pem", tmp_path):
        with pytest.raises(SettingsError, match="CDS_CA_FILE"):
            KeyStore(authorities=str(path))


def test_keys_come_from_several_addresses_at_once_each_by_its_own_fetch() -> None:
    def route(asked: Asked) -> Reply:
        return Reply(key_set(public("es256" if "a.json" in asked.target else "es384")), kind=JSON)

    with running(answering(route)) as server, ThreadPoolExecutor(8) as threads:
        store = KeyStore()
        wanted = [("a.json", "es256"), ("b.json", "es384")] * 8
        found = list(threads.map(lambda one: store.find(f"{server.base}/{one[0]}", one[1]), wanted))

        assert all(found)
        assert 2 == len(server.asked)
