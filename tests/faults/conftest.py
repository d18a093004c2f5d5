"""A service that may ask one FHIR server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.faults.asking import Make
from tests.faults.servers import Server


@pytest.fixture(scope="module")
def app_for(make_app: Make) -> Callable[..., Flask]:
    """
    Make a service that may ask one server, with a breaker and places of its own.

    It has much time, so that other work on this machine changes no answer; tests of deadlines give it little.
    """

    def make(server: Server, **settings: Any) -> Flask:
        chosen = {"fhir_allow": f"{server.base}/fhir", "fhir_budget_ms": 8_000, **settings}
        return make_app(**chosen)

    return make
