"""A look at what the service depends on, for the operator who asks: once, from this machine, and read only."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import msgspec
import requests

from cds_service import decoding
from cds_service.adapters.auth.keys import read_keys
from cds_service.adapters.ehr.client import new_session
from cds_service.adapters.ledger import Database
from cds_service.adapters.ledger.database import address
from cds_service.adapters.ledger.migrating import check_version

# Connecting, then between two bytes, in seconds.
PATIENCE = (5.0, 10.0)
LIMIT = 16 * 1024 * 1024
_FHIR = "application/fhir+json, application/json;q=0.9"


class Looked(msgspec.Struct, frozen=True):
    """
    What stands at an address.

    ``trouble`` says why nothing could be read; ``ahead`` is how many seconds that clock is before ours, None where it
    was not told.
    """

    status: int = 0
    body: bytes = b""
    milliseconds: float = 0.0
    ahead: float | None = None
    trouble: str = ""

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object that stands there; empty where there is none."""
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return decoding.decode(self.body, dict[str, Any])
        return {}


def look(url: str, *, authorities: str = "", clock: Callable[[], float] = time.time) -> Looked:
    """Read an address, without following it elsewhere; ``authorities`` is a file with further ones to trust."""
    session = new_session()
    found = _read(session, url, clock, verify=True)
    if found.trouble == _TLS and authorities:
        found = _read(session, url, clock, verify=authorities)
    return found


_TLS = "its certificate is not trusted here"


def _read(session: requests.Session, url: str, clock: Callable[[], float], *, verify: bool | str) -> Looked:
    try:
        with session.get(
            url, headers={"Accept": _FHIR}, timeout=PATIENCE, allow_redirects=False, stream=True, verify=verify
        ) as answer:
            now, body = clock(), answer.raw.read(LIMIT, decode_content=True)
            taken = answer.elapsed.total_seconds() * 1000
            ahead = _ahead(answer.headers.get("Date", ""), now)
            trouble = "it sends callers to another address" if answer.is_redirect else ""
            return Looked(answer.status_code, body, taken, ahead, trouble)
    except requests.exceptions.SSLError:
        return Looked(trouble=_TLS)
    except requests.Timeout:
        return Looked(trouble="it does not answer in time")
    except (requests.RequestException, OSError):
        return Looked(trouble="nobody answers there")


def _ahead(date: str, now: float) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() - now
    except (TypeError, ValueError):
        return None


def key_ids(body: bytes) -> list[str]:
    """Return the ids of the usable keys of a key set. Raises ValueError where it has none."""
    return sorted(read_keys(body))


def database_trouble(url: str) -> str:
    """
    Say what a first start would still have to make; "" where the database is ready.

    Raises SettingsError where it cannot be used. Nothing is made or changed.
    """
    target = address(url)
    if target.get_backend_name() == "sqlite" and target.database and not Path(target.database).exists():
        folder = Path(target.database).absolute().parent
        above = next(one for one in (folder, *folder.parents) if one.exists())
        able = os.access(above, os.W_OK | os.X_OK)
        return "not made yet: the first start makes it" if able else f"the folder {above} cannot be written to"
    with closing(Database(url, make=False)) as database:
        check_version(database)
    return ""


def safe(url: str) -> str:
    """Return a database's address without its password."""
    return address(url).render_as_string(hide_password=True)
