"""A decision made by the shell is in force in all workers within five seconds, without a restart, and after one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from tests.build import ROOT, SERVICE, body, condition, fired, observation
from tests.operations.running import COMMAND, Service, eventually, running
from tests.web.test_quiet import PHOSPHATE

WHY = ("--who", "eddie", "--why", "too many cards in dialysis")


def decide(folder: Path, *words: str) -> str:
    """Run cds-service tuning beside the running service."""
    environment = {"CDS_DATABASE_URL": f"sqlite:///{folder}/ledger.db", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [str(COMMAND), "tuning", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def approve(folder: Path) -> None:
    """Let a second person approve the one decision that waits for her."""
    [waiting] = json.loads(decide(folder, "show", "--json"))
    assert "waiting" == waiting["state"]
    decide(folder, "approve", str(waiting["number"]), "--who", "anna", "--why", "agreed in the meeting")


def dialysis() -> bytes:
    """Return the call for a patient on dialysis, with a phosphate of 6.0 mg/dL of today: the service's clock runs."""
    return body(condition(), observation(value=6.0, effectiveDateTime=datetime.now(UTC).date().isoformat()))


def speaking(service: Service, asked: int = 12) -> set[bool]:
    """Say whether the rule speaks, over new connections, so that both workers are asked."""
    import requests

    answers = [
        requests.post(
            f"{service.url}{SERVICE}", data=dialysis(), headers={"Content-Type": "application/json"}, timeout=20
        )
        for _ in range(asked)
    ]

    return {PHOSPHATE in fired(answer.json()) for answer in answers}


def books(service: Service) -> set[str]:
    """Return the rule books that are in use, over new connections, so that both workers are asked."""
    return {service.get("/healthz").json()["rule_book"] for _ in range(12)}


def replaced(service: Service, signalled: list[int]) -> None:
    """Kill workers, or let the master replace them."""
    before = set(service.workers())
    for one in signalled:
        os.kill(one, signal.SIGKILL if one in before else signal.SIGHUP)
    eventually(lambda: len(now := service.workers()) == 2 and not before & set(now), 60)


def test_a_decision_reaches_both_workers_within_five_seconds_and_survives_a_restart(tmp_path: Path) -> None:
    with running(tmp_path, "--workers", "2") as service:
        assert {True} == speaking(service)
        before = books(service)
        decide(tmp_path, "set", f"{PHOSPHATE}.phosphate_high=6.5", *WHY)
        approve(tmp_path)
        assert 5 > eventually(lambda: speaking(service) == {False} and not books(service) & before, 5)
    with running(tmp_path, "--workers", "2") as service:
        assert {False} == speaking(service)
        decide(tmp_path, "restore", f"{PHOSPHATE}.phosphate_high", *WHY)
        assert 5 > eventually(lambda: speaking(service) == {True} and books(service) == before, 5)


def test_a_kill_waits_for_a_second_person_and_then_reaches_both_workers(tmp_path: Path) -> None:
    with running(tmp_path, "--workers", "2") as service:
        assert {True} == speaking(service)
        decide(tmp_path, "set", f"{PHOSPHATE}.status=retired", *WHY)
        assert {True} == speaking(service)
        approve(tmp_path)
        assert 5 > eventually(lambda: speaking(service) == {False}, 5)


def test_workers_that_begin_while_the_ledger_is_away_are_as_silent_as_those_before_them(tmp_path: Path) -> None:
    """After a crash of all of them, and after HUP."""
    path = tmp_path / "ledger.db"
    with running(tmp_path, "--workers", "2") as service:
        decide(tmp_path, "set", f"{PHOSPHATE}.status=retired", *WHY)
        approve(tmp_path)
        eventually(lambda: speaking(service) == {False}, 20)
        path.rename(path.with_suffix(".away"))
        for signalled in (service.workers(), [service.process.pid]):
            replaced(service, signalled)
            assert {False} == speaking(service)
            assert "ledger-gone" in service.get("/readyz").json()["reasons"]
        path.with_suffix(".away").rename(path)
