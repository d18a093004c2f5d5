"""
What the service says of itself during a whole run of the tests, searched at the end for patients and secrets.

Every line of the log (as production writes it), the log of every service that was started, its metrics, and every
refusal are kept in one folder by all test processes. When all are done the folder is searched: a mark of the hostile
tests, a name or number of an invented patient, a token. One that is found fails the run (SECURITY.md 6).
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from cds_service.web.logs import JsonLines

FOLDER = "SAID_BY_TESTS"
ROOT = Path(__file__).resolve().parent.parent
# What hostile tests put into names, notes, addresses and tokens; and what no log, refusal or metric ever needs.
MARKS = ("MARKED", "Rossi", "Bearer ey", "access_token")
_JWT = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}")
# The id of a request is chosen by the client and given back by design (SECURITY 4), if it is one plain word.
_REQUEST = re.compile(r'"request":"[\w.-]{1,64}"')
# A run of this many tests is a whole one, and has more to say than this.
WHOLE, ENOUGH = 5_000, 1_000


def keep(text: str) -> None:
    """Keep what a service said, if somebody will search it."""
    if folder := os.environ.get(FOLDER):
        with (Path(folder) / f"{os.getpid()}.txt").open("a", encoding="utf-8") as file:
            file.write(text.rstrip("\n") + "\n")


class Listener(logging.Handler):
    """Keeps every event of the service as the log of production would have it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one event."""
        keep(self.format(record))


def names(patients: Iterable[Path]) -> Iterator[str]:
    """Yield the names and numbers by which somebody would know the invented patients."""
    for path in patients:
        for entry in json.loads(path.read_text(encoding="utf-8"))["entry"]:
            person = entry["resource"]
            if person["resourceType"] == "Patient":
                yield from (str(one["value"]) for one in person.get("identifier", ()) if "value" in one)
                for name in person.get("name", ()):
                    yield from (part for part in (name.get("family", ""), *name.get("given", ())) if len(part) > 3)


def found(text: str, wanted: Iterable[str]) -> list[str]:
    """Return the lines that say what nobody may say."""
    words = [*MARKS, *wanted]
    lines = {_REQUEST.sub("", line): line for line in text.splitlines()}
    return [line for said, line in lines.items() if any(word in said for word in words) or _JWT.search(said)]


_LISTENER = Listener()


def _listening(ask: Callable[..., TestResponse]) -> Callable[..., TestResponse]:
    """Let the test client keep every refusal and the metrics."""

    @wraps(ask)
    def told(client: Client, *words: Any, **options: Any) -> TestResponse:
        answer = ask(client, *words, **options)
        # A page for people that shows what they typed in themselves is no refusal of a call.
        if answer.request.path == "/metrics" or (answer.status_code >= 400 and answer.is_json):
            keep(answer.get_data(as_text=True))
        return answer

    return told


def pytest_configure(config: pytest.Config) -> None:
    """Begin to listen, in every process; the first one makes the folder."""
    if not hasattr(config, "workerinput"):
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="said-")
    _LISTENER.setFormatter(JsonLines())
    logging.getLogger("cds_service").setLevel(logging.INFO)
    Client.open = _listening(Client.open)  # type: ignore[method-assign]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Listen again, where a test took all handlers away."""
    logging.getLogger("cds_service").addHandler(_LISTENER)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Search everything that was said, once all test processes are done."""
    if hasattr(session.config, "workerinput") or FOLDER not in os.environ:
        return
    folder = Path(os.environ.pop(FOLDER))
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.iterdir()))
    shutil.rmtree(folder)
    told = found(text, names((ROOT / "fixtures" / "patients").glob("*.json")))
    lines = text.count("\n")
    if session.testscollected > WHOLE and lines < ENOUGH and not session.shouldstop:
        told.append(f"only {lines} lines were kept: nobody listened")
    if told:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        session.config.stash[_TOLD] = told


_TOLD = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what was found, so that somebody can find out which test it was."""
    for line in config.stash.get(_TOLD, []):
        terminalreporter.write_line(f"SAID what names a patient or is a secret: {line[:400]}", red=True)
