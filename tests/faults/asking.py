"""Hook calls that need a FHIR server, and what their answers say about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from tests.build import SERVICE, call, condition, observation, patient, to_json
from tests.faults.servers import Behaviour, Reply, Server, answering

BUDGET = 0.4
GRACE = 0.2
TIGHT = {"fhir_budget_ms": int(BUDGET * 1000)}
TOKEN = "MARKED-TOKEN"
SICK = (patient(), condition(), observation(value=8.1))
Make = Callable[..., Flask]
Json = dict[str, Any]


def asking(server: Server, values: Any = None, **members: Any) -> bytes:
    """Return a hook call that allows the service to read from a server."""
    authorization = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 300, "scope": "x", "subject": "y"}
    access = {"fhirServer": f"{server.base}/fhir", "fhirAuthorization": authorization}
    return to_json(call(values or {}, **{**access, **members}))


def post(app: Flask, raw: bytes) -> tuple[TestResponse, float]:
    started = time.monotonic()
    response = app.test_client().post(SERVICE, data=raw, content_type="application/json")
    return response, time.monotonic() - started


def reasons(response: TestResponse) -> set[str]:
    """Return why keys could not be fetched, from an answer or from a refusal."""
    found: Json = response.json or {}
    if response.status_code == 200:
        return set(found.get("extension", {}).get("org.calcinosis-cds", {}).get("not_fetched", {}).values())
    text = found["issue"][0]["diagnostics"]
    asked = text.partition("Asked of fhirServer: ")[2].partition(".")[0]
    return {one.split(" ")[1] for one in asked.split(", ")} if asked else set()


def always(reply: Reply) -> Behaviour:
    return answering(lambda _: reply)
