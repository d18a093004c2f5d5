"""serve and demo: real processes, called over HTTP."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.build import body, condition, observation, patient
from tests.cli.conftest import Run

COMMAND = Path(sys.executable).with_name("cds-service")
SERVICE = "calcinosis-patient-view"
RULE = "rules/metastatic/eskd-hyperphosphatemia.yaml"
JSON = {"Content-Type": "application/json"}
LEDGERS = tempfile.mkdtemp(prefix="cds-serving-")
atexit.register(shutil.rmtree, LEDGERS, ignore_errors=True)
_NUMBERS = count(1)


def started(*words: str | Path, **environment: str) -> subprocess.Popen[str]:
    """Start a command in a process of its own, with no settings but those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CDS_")}
    command = [str(COMMAND), *(str(word) for word in words)]
    ledger = {"CDS_DATABASE_URL": f"sqlite:///{LEDGERS}/{next(_NUMBERS)}.db"}
    return subprocess.Popen(
        command, env={**kept, **ledger, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def refused(*words: str | Path, **environment: str) -> tuple[int, str, float]:
    """Run a command that must end by itself; return its exit code, what it said, and how long it took."""
    since = time.monotonic()
    process = started(*words, **environment)
    out, said = process.communicate(timeout=20)
    return process.returncode, out + said, time.monotonic() - since


@contextmanager
def serving(*words: str | Path, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str], str]]:
    """Run a server for as long as a test takes; give its address and the line that it starts with."""
    process = started(*words, **environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+(?=/cds-services)", line)
        assert found, line + (process.communicate(timeout=5)[1] if process.poll() is not None else "")
        yield found[0], process, line
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.fixture
def taken() -> Iterator[int]:
    """Give a port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def hook_call() -> bytes:
    """Return a call for a patient on dialysis with a high phosphate, dated now."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return body(patient(), condition(recordedDate="2020-01-01"), observation(effectiveDateTime=now))


# --- serve ------------------------------------------------------------------------------------------------------------


def test_a_served_call_gets_its_card_and_term_ends_the_service() -> None:
    with serving("serve", "--port", "0", CDS_AUTH="none") as (url, process, line):
        answer = requests.post(f"{url}/cds-services/{SERVICE}", data=hook_call(), headers=JSON, timeout=20)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=20)

    assert (200, 0) == (answer.status_code, code)
    assert "Kidney failure with phosphate 7.1 mg/dL" in answer.json()["cards"][0]["summary"]
    assert re.search(r"auth none - rule book [0-9a-f]{16} - [1-9]\d* active rules$", line.strip())


def test_without_an_issuer_discovery_is_open_and_calls_are_not() -> None:
    with serving("serve", "--port", "0", "--workers", "1") as (url, process, line):
        announced = requests.get(f"{url}/cds-services", timeout=20)
        called = requests.post(f"{url}/cds-services/{SERVICE}", data=hook_call(), headers=JSON, timeout=20)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)

    assert (200, 401) == (announced.status_code, called.status_code)
    assert "auth jwt" in line
    assert "every hook call gets 401" in said
    assert "CDS_AUTH=none cds-service serve --host 127.0.0.1" in said


def test_hup_loads_new_content_and_keeps_the_old_where_the_new_is_broken(content: Path) -> None:
    with serving("serve", "--port", "0", "--content", content, CDS_AUTH="none") as (url, process, _):
        sound = (content / RULE).read_text(encoding="utf-8")
        first = health(url)["rule_book"]
        (content / RULE).write_text(sound.replace("latest:", "lastest:"), encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        broken = eventually(url, lambda state: bool(state["stale"]))
        (content / RULE).write_text(sound.replace("2003-10-01: 5.5", "2003-10-01: 5.6"), encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        mended = eventually(url, lambda state: state["rule_book"] != first)

    assert first == broken["rule_book"]
    assert not mended["stale"]


def health(url: str) -> dict[str, Any]:
    """Ask the service how it is."""
    found: dict[str, Any] = requests.get(f"{url}/healthz", timeout=20).json()
    return found


def eventually(url: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until the service says something."""
    for _ in range(200):
        state = health(url)
        if holds(state):
            return state
        time.sleep(0.1)
    pytest.fail("the service never said so")


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (("--host", "0.0.0.0"), {"CDS_AUTH": "none"}, "unauthenticated-address"),
        (("--host", "::"), {"CDS_AUTH": "none"}, "unauthenticated-address"),
        ((), {"CDS_AUTH": "basic"}, "CDS_AUTH must be one of"),
        ((), {"CDS_CONTENT": "/nowhere"}, "no-content"),
        ((), {"CDS_SITE": "no-such-site"}, "no-such-site"),
        (("--host", "no.such.host.invalid"), {"CDS_AUTH": "jwt"}, "address-unavailable"),
        (("--port", "70000"), {}, "70000"),
    ],
)
def test_what_cannot_be_served_is_refused_at_once(
    words: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    """
    One clear message and exit code 2, within two seconds on an idle machine.
    """
    code, output, seconds = refused("serve", *words, **environment)

    assert 2 == code
    assert said in output
    assert "Traceback" not in output
    assert "Discovery" not in output
    assert 10 > seconds


def test_broken_content_opens_no_port(content: Path, taken: int) -> None:
    """
    The content is complained of, not the port: it was never tried.
    """
    rule = content / RULE
    rule.write_text(rule.read_text(encoding="utf-8").replace("latest:", "lastest:"), encoding="utf-8")

    code, output, _ = refused("serve", "--content", content, "--port", str(taken))

    assert 2 == code
    assert 'Did you mean "latest"' in output
    assert "address-unavailable" not in output


def test_a_port_that_is_taken_is_named(taken: int) -> None:
    code, output, _ = refused("serve", "--port", str(taken))

    assert 2 == code
    assert str(taken) in output


# --- demo -------------------------------------------------------------------------------------------------------------


def test_the_demo_shows_a_chart_with_a_card_and_a_call_that_works(taken: int) -> None:
    """
    On the next free port, where its own is taken.
    """
    with serving("demo", "--port", str(taken)) as (url, process, _):
        assert process.stdout is not None
        text = "".join(process.stdout.readline() for _ in range(8))
        page = re.search(r"http://\S+/sandbox/\S+", text)
        assert page, text
        chart = requests.get(page[0], timeout=20)
        moved = requests.get(f"{page[0]}/request.json", timeout=20).content
        answer = requests.post(f"{url}/cds-services/{SERVICE}", data=moved, headers=JSON, timeout=20)

    assert 200 == chart.status_code
    assert "Kidney failure with phosphate" in chart.text
    assert "warning" == answer.json()["cards"][0]["indicator"]
    assert f"{page[0]}/request.json | curl" in text
    assert str(taken) not in url


def test_the_demo_listens_on_this_machine_only() -> None:
    with serving("demo", "--port", "0") as (url, _, line):
        assert url.startswith("http://127.0.0.1:")
        assert "auth none" in line


def test_the_demo_can_show_one_card_and_end(run: Run) -> None:
    result = run("demo", "--once", "--port", "0")

    assert 0 == result.exit_code, result.output
    assert "Kidney failure with phosphate 7.1 mg/dL" in result.output


def test_the_version_is_said(run: Run) -> None:
    assert re.search(r"\d+\.\d+\.\d+", run("--version").output)


def test_an_answer_is_json_whatever_is_asked() -> None:
    with serving("serve", "--port", "0", "--workers", "1", CDS_AUTH="none") as (url, _, _):
        answer = requests.post(f"{url}/cds-services/{SERVICE}", data=b"{", headers=JSON, timeout=20)

    assert (400, "OperationOutcome") == (answer.status_code, json.loads(answer.content)["resourceType"])
