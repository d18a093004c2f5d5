"""
Names: a resolver that fails, sleeps or lies (RELIABILITY.md 3, row 17; SECURITY.md 2, "Resolve-time check").
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from cds_service.adapters.addresses import may_connect
from cds_service.adapters.ehr import LocalRecord
from tests.build import (
    PATIENT,
    call,
    patient,
    to_json,
)
from tests.faults.asking import BUDGET, GRACE, SICK, TIGHT, Make, always, post, reasons
from tests.faults.servers import Reply, answering, fhir, running
from tests.moments import quickest

# --- row 17: names ---------------------------------------------------------------------------------------------------


@pytest.fixture
def named(make_app: Make) -> Callable[..., Flask]:
    def make(address: str = "http://fhir.hospital.example/fhir", **settings: Any) -> Flask:
        return make_app(**{"fhir_allow": address, "fhir_plain_http": True, "fhir_budget_ms": 8_000, **settings})

    return make


def named_call(**members: Any) -> bytes:
    return to_json(call({}, **{"fhirServer": "http://fhir.hospital.example/fhir", **members}))


def test_a_name_that_is_not_known_is_a_gap(named: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.getaddrinfo", fails)
    response, taken = post(named(), named_call())

    assert (412, {"unreachable"}) == (response.status_code, reasons(response))
    assert taken <= 8


def fails(*_: object, **__: object) -> Any:
    raise OSError("Temporary failure in name resolution")


def test_a_resolver_that_sleeps_costs_the_budget_and_one_thread(named: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    asked: list[str] = []

    def sleeps(host: str, *_: object, **__: object) -> Any:
        asked.append(host)
        released.wait(30)
        raise OSError

    monkeypatch.setattr("socket.getaddrinfo", sleeps)
    app = named(**TIGHT)
    try:

        def attempt() -> float:
            response, taken = post(app, named_call())
            assert (412, {"too-late"}) == (response.status_code, reasons(response))
            return taken

        assert quickest(attempt, BUDGET + GRACE) <= BUDGET + GRACE
        assert 1 == len(asked)
    finally:
        released.set()


INSIDE = (
    "127.0.0.1",
    "10.1.2.3",
    "169.254.169.254",
    "0.0.0.0",
    "::1",
    "fe80::1",
    "fd00::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "100.64.0.1",
    "192.168.0.1",
    "224.0.0.1",
    "::127.0.0.1",
    "168.63.129.16",
    "64:ff9b:1::a00:1",
    "64:ff9b:1:a00:0:100::",
    "64:ff9b:1::808:808",
    "::ffff:0:a00:1",
    "::ffff:0:808:808",
)


@pytest.mark.parametrize("number", INSIDE)
def test_a_public_name_that_leads_inside_is_not_followed(
    named: Make, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    with running(always(Reply(patient()))) as canary:
        family = 10 if ":" in number else 2
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(family, 1, 6, "", (number, canary.port))])
        response, _ = post(named(f"http://fhir.hospital.example:{canary.port}/fhir"), named_call(
            fhirServer=f"http://fhir.hospital.example:{canary.port}/fhir"
        ))  # fmt: skip

        assert (412, {"address-not-permitted"}) == (response.status_code, reasons(response))
        assert 0 == canary.connections


@pytest.mark.parametrize(
    ("number", "private", "may"),
    [
        ("64:ff9b:1::a00:1", True, True),
        ("64:ff9b:1:a00:0:100::", True, True),
        ("::ffff:0:a00:1", True, True),
        ("64:ff9b:1::a9fe:a9fe", True, False),
        ("::ffff:0:a9fe:a9fe", True, False),
        ("64:ff9b::808:808", False, True),
        ("::ffff:8.8.8.8", False, True),
        ("2001:4860:4860::8888", False, True),
    ],
)
def test_a_translator_of_ones_own_network_is_inside(number: str, private: bool, may: bool) -> None:
    """
    Local NAT64 (RFC 8215) and stateless translation (RFC 2765); a cloud's metadata service is never reached by them.
    """
    assert may == may_connect(ipaddress.ip_address(number), private=private)


def test_a_name_that_leads_inside_the_second_time_is_not_followed(named: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    DNS rebinding: the address that was checked is the one that is connected to, every time.
    """
    connected: list[str] = []
    answers = iter(["93.184.216.34"] + ["127.0.0.1"] * 50)

    def connect(address: tuple[str, int], *_: object, **__: object) -> Any:
        connected.append(address[0])
        raise OSError

    with running(always(Reply(patient()))) as canary:
        place = f"http://fhir.hospital.example:{canary.port}/fhir"
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", (next(answers), canary.port))])
        monkeypatch.setattr("socket.create_connection", connect)
        app = named(place)
        for _ in range(3):
            post(app, named_call(fhirServer=place))

        assert 0 == canary.connections
        assert {"93.184.216.34"} == set(connected)


def test_a_name_that_is_said_to_be_inside_may_lead_inside(named: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(answering(fhir(LocalRecord(PATIENT, SICK)))) as server:
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", server.port))])
        place = f"http://fhir.hospital.example:{server.port}/fhir"
        response, _ = post(named(f"{place} private", fhir_calls=2), named_call(fhirServer=place))

    assert response.status_code in {200, 412}
    assert server.asked
