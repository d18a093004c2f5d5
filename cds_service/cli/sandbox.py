"""The FHIR server beside the demo: started first, filled with the cast meanwhile, and stopped with the demo."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec

from cds_service import decoding
from cds_service.adapters.governance import Governance
from cds_service.adapters.ledger import Key, Ledger
from cds_service.adapters.sandbox_server import NAME, SandboxFailed, SandboxServer, installed
from cds_service.protocol.access import Access
from cds_service.web.cast import moved, read_cast

INSTALL = 'pip install "calcinosis-cds[sandbox]", or make venv in a checkout'
WITHOUT = "The service works from what each call brings (prefetch), and fetches nothing."


class Beside:
    """What stands beside the demo: a FHIR server, or the reason why there is none (``missing``)."""

    def __init__(self, server: SandboxServer | None = None, missing: str = "") -> None:
        self.server, self.missing = server, missing
        self.resources = 0

    @property
    def access(self) -> Access | None:
        """Where the server is, and the token it asks for."""
        return self.server.access if self.server else None

    def allowed(self, already: str) -> str:
        """Return CDS_FHIR_ALLOW with the server in it."""
        return ",".join(filter(None, (already.strip(), f"{self.server.base} private" if self.server else "")))

    def fill(self, fixtures: Path, today: date) -> None:
        """Load the cast, its dates moved to today; where that fails, the demo goes on without the server."""
        if self.server is None:
            return
        try:
            self.resources = self.server.load(cast_of(fixtures, today))
        except SandboxFailed as problem:
            self.server.stop()
            self.server, self.missing = None, f"{problem.what} {problem.why}".strip()

    def lines(self) -> Iterator[str]:
        """Say what there is, for the terminal."""
        if self.server is None:
            yield f"No FHIR server: {self.missing}\n  {WITHOUT}"
            return
        yield (
            f"The same patients on a FHIR server ({NAME}, {self.resources} resources), which the service reads from "
            f"where prefetch is missing:\n  {self.server.base}\n  Authorization: Bearer {self.server.token}"
        )


@contextmanager
def beside(*, wanted: bool) -> Iterator[Beside]:
    """Start the server, and stop it in the end. It is not waited for: that is what ``fill`` does."""
    if not wanted:
        yield Beside(missing="it was not asked for.")
    elif not installed():
        yield Beside(missing=f"{NAME} is not installed ({INSTALL}).")
    else:
        with SandboxServer() as server:
            yield Beside(server)


@contextmanager
def ledger() -> Iterator[Ledger]:
    """Open a ledger for the demo, so that feedback is taken; it is gone with the demo."""
    folder, owner = tempfile.mkdtemp(prefix="cds-demo-"), os.getpid()
    try:
        yield Ledger.open(f"sqlite:///{folder}/ledger.db", Key(secrets.token_bytes(32)))
    finally:
        if os.getpid() == owner:  # a worker that ends leaves this too, and the others still write
            shutil.rmtree(folder, ignore_errors=True)


# Two people, since some changes need a second one.
_PEOPLE = {"editor": ("viewer", "editor", "operator"), "approver": ("viewer", "approver", "auditor", "operator")}


def people(governance: Governance) -> dict[str, str]:
    """Make the accounts of the demo; return their passwords, which are new each time."""
    made = {name: secrets.token_urlsafe(12) for name in _PEOPLE}
    for name, password in made.items():
        governance.accounts.create(name, password, _PEOPLE[name], "demo", "shell")
    return made


def invite(url: str, people: dict[str, str]) -> Iterator[str]:
    """Say where the admin pages are, and who may sign in."""
    yield f"\nThe admin pages, where rules are tuned:\n  {url}"
    for name, password in people.items():
        yield f"  {name} / {password}"


def today() -> date:
    """Return the calendar day (UTC)."""
    return datetime.now(UTC).date()


def cast_of(fixtures: Path, day: date) -> list[dict[str, Any]]:
    """Return every resource of the cast as if its stories played on a day."""
    cast = read_cast(fixtures)
    resources = [one for member in cast.members for one in cast.record(member).resources]
    text = moved(msgspec.json.encode(resources).decode(), (day - cast.day).days)
    return decoding.decode(text, list[dict[str, Any]])
