"""
Two patients at once are never mixed (RELIABILITY 3.42): 10,000 interleaved calls, each checked against its patient.
"""

from __future__ import annotations

import http.client
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.build import body, condition, observation, patient
from tests.operations.load import JSON, PATH, address_of
from tests.operations.running import Service, running

CALLS, CLIENTS, PATIENTS = 10_000, 8, 50


def call_of(number: int) -> bytes:
    """Return the call of one of fifty patients, whom a phosphate of their own tells from all others."""
    who = f"pat-{number}"
    subject: dict[str, Any] = {"subject": {"reference": f"Patient/{who}"}}
    resources = (
        patient(id=who, birthDate=f"{1930 + number}-01-01"),
        condition(recordedDate="2020-01-01", **subject),
        observation(value=round(7 + number / 10, 1), effectiveDateTime=NOW_TEXT, **subject),
    )
    return body(*resources, context={"userId": "Practitioner/1", "patientId": who}, hookInstance=f"call-{number}")


NOW_TEXT = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def ask(service: Service, first: int) -> tuple[int, list[str]]:
    """Make the calls of one client; return how many were answered, and what was wrong."""
    connection = http.client.HTTPConnection(*address_of(service.url), timeout=30)
    raws = [call_of(number) for number in range(PATIENTS)]
    wrong, answered = [], 0
    for step in range(CALLS // CLIENTS):
        number = (first * 7 + step * 3) % PATIENTS
        connection.request("POST", PATH, raws[number], {**JSON, "X-Request-Id": f"p-{number}-{step}"})
        answer = connection.getresponse()
        cards = json.loads(answer.read()).get("cards", [])
        wrong += problems(cards, number, answer.getheader("X-Request-Id") == f"p-{number}-{step}")
        answered += answer.status == 200
    connection.close()
    return answered, wrong


def problems(cards: list[dict[str, Any]], number: int, named: bool) -> list[str]:
    text = json.dumps(cards)
    values = set(re.findall(r"phosphate (\d+\.\d) mg/dL", text))
    people = set(re.findall(r"pat-\d+", text))
    own = values == {f"{7 + number / 10:.1f}"} and people <= {f"pat-{number}"} and named
    return [] if own else [f"{number}: {values} {people} {named}"]


def test_ten_thousand_calls_never_mix_two_patients(tmp_path: Path) -> None:
    with running(tmp_path) as service, ThreadPoolExecutor(CLIENTS) as clients:
        ended = list(clients.map(lambda first: ask(service, first), range(CLIENTS)))

    assert CALLS == sum(answered for answered, _ in ended)
    assert [] == [problem for _, wrong in ended for problem in wrong][:5]
