"""
The FHIR server of the demo: somebody else's (sekmet-fhir), in a process of its own, on this machine only.

It is no part of the service: it is installed with the extra ``sandbox``, and nothing of it is imported. What the
service reads from it, it reads over HTTP with a token, as from any EHR's server.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess  # our own command line, and nothing that came from outside
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from secrets import token_urlsafe
from typing import IO, Any, Self

import msgspec
import requests

from cds_service.adapters.ehr.client import new_session
from cds_service.errors import CdsError
from cds_service.protocol.access import Access

PACKAGE, NAME = "sekmet", "sekmet-fhir"
HOST = "127.0.0.1"
# For a sign of life, and for a batch to be taken, in seconds.
PATIENCE, LOADING = 20.0, 180.0
_JSON = "application/fhir+json"
# The shell ends the server when its standard input ends, which happens however the demo ends, even by kill -9.
_LEASH = 'trap : TERM; { trap : TERM; "$@"; kill 0; } & read -r _; kill 0; wait'
# Patients of fixtures/ are messy on purpose, so nothing is validated; nothing writes into the store by itself.
_SETTINGS = """\
base_url: {base}
host: {host}
port: {port}
data_dir: data
validation: {{inbound: "off"}}
simulator: {{enabled: false}}
log_inbound: false
server_auth: {auth}
"""
_BEARER, _OPEN = '{{types: [bearer], tokens: ["{token}"]}}', "{types: [none]}"


class SandboxFailed(CdsError):
    """The sandbox FHIR server does not start or does not take what it is given; the service works without it."""

    slug = "sandbox-server"


def installed() -> bool:
    """Say whether the server is there to be started."""
    return find_spec(PACKAGE) is not None


class SandboxServer:
    """
    A FHIR server that holds invented patients for as long as it is needed. ``with`` stops it and wipes its data.

    It asks for a token (pages of other sites that a browser has open could write into it else), unless ``open_to_all``.
    """

    def __init__(self, *, open_to_all: bool = False) -> None:
        self.token = "" if open_to_all else f"sandbox-{token_urlsafe(18)}"
        self.folder = Path(tempfile.mkdtemp(prefix="cds-sandbox-"))
        # Workers of the demo are forked from the process that owns the server, and must not end it when they end.
        self._owner = os.getpid()
        port = _free_port()
        self.base = f"http://{HOST}:{port}/fhir"
        self._session = new_session()
        self._process = self._started(port)

    @property
    def access(self) -> Access:
        """Where the server is, and the token it asks for."""
        return Access(self.base, self.token)

    def _started(self, port: int) -> subprocess.Popen[bytes]:
        auth = _BEARER.format(token=self.token) if self.token else _OPEN
        settings = _SETTINGS.format(base=self.base, host=HOST, port=port, auth=auth)
        (self.folder / "settings.yaml").write_text(settings, encoding="utf-8")
        command = [sys.executable, "-m", f"{PACKAGE}.cli", "serve", "-c", "settings.yaml"]
        log: IO[bytes]
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - see above
                ["/bin/sh", "-c", _LEASH, "sh", *command],
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C at the terminal ends the demo first, then this
            )

    def load(self, resources: Iterable[Mapping[str, Any]]) -> int:
        """
        Put resources into the server, once it answers, and return how many. Raises SandboxFailed.

        Afterwards its database learns how its values are spread (ANALYZE): without that, sorted searches are slow.
        """
        self._wait()
        entries = [_put(one) for one in resources]
        answered = self._post({"resourceType": "Bundle", "type": "batch", "entry": entries})
        refused = [one for one in answered if not str(one.get("response", {}).get("status", "")).startswith("20")]
        if refused:
            raise SandboxFailed(f"The sandbox FHIR server refused {len(refused)} of {len(entries)} resources.")
        with closing(sqlite3.connect(self.folder / "data" / "sekmet.db", timeout=PATIENCE)) as database:
            database.execute("ANALYZE")
            database.commit()
        return len(entries)

    def _post(self, bundle: Mapping[str, Any]) -> list[dict[str, Any]]:
        headers = {"Content-Type": _JSON, "Accept": _JSON}
        headers |= {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            answer = self._session.post(
                self.base, data=msgspec.json.encode(bundle), headers=headers, timeout=LOADING, allow_redirects=False
            )
            entries: list[dict[str, Any]] = answer.json()["entry"] if answer.status_code == 200 else []
        except (requests.RequestException, ValueError, KeyError):
            entries = []
        if not entries:
            raise SandboxFailed("The sandbox FHIR server did not take the patients.", why=self._last_words())
        return entries

    def _wait(self) -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and self._process.poll() is None:
            with suppress(requests.RequestException):
                if self._session.get(f"{self.base}/metadata", timeout=1, allow_redirects=False).status_code < 500:
                    return
            time.sleep(0.02)
        raise SandboxFailed("The sandbox FHIR server does not start.", why=self._last_words())

    def _last_words(self) -> str:
        lines = (self.folder / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "It said nothing."

    def stop(self) -> None:
        """End the server, and wipe its data."""
        if self._owner != os.getpid():
            return
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._session.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        """Return the server, which is starting."""
        return self

    def __exit__(self, *_problem: object) -> None:
        """Stop it."""
        self.stop()


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _put(resource: Mapping[str, Any]) -> dict[str, Any]:
    url = f"{resource['resourceType']}/{resource['id']}"
    return {"resource": resource, "request": {"method": "PUT", "url": url}}
