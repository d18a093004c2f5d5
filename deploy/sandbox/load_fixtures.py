"""
Put the synthetic patients of fixtures/ into a FHIR server, each as one transaction.

Usage: load_fixtures.py FOLDER FHIR-BASE [--as-if-today]. Only the standard library: it runs in a plain Python image.
Every resource is PUT under its own id, so loading twice changes nothing. The stories play on the day that cast.yaml
names; --as-if-today moves all dates, so that a service that lives today finds them fresh.
"""

from __future__ import annotations

import json
import re
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

_DAY = re.compile(r'(?<=")\d{4}-\d{2}-\d{2}(?=["T])')
FHIR_JSON = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}


def transaction(bundle: dict[str, Any]) -> dict[str, Any]:
    """Turn a Bundle of any type into a transaction that creates or replaces each resource under its id."""
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [_put(entry) for entry in bundle["entry"]],
    }


def _put(entry: dict[str, Any]) -> dict[str, Any]:
    resource = entry["resource"]
    url = f"{resource['resourceType']}/{resource['id']}"
    # The fullUrl stays, since the server resolves references inside a transaction by it.
    kept = {key: entry[key] for key in ("fullUrl", "resource") if key in entry}
    return kept | {"request": {"method": "PUT", "url": url}}


def wait_for(base: str, *, tries: int = 90, pause: float = 2) -> None:
    """Return when the server answers; a HAPI that starts from nothing takes about a minute."""
    for attempt in range(tries):
        try:
            urllib.request.urlopen(f"{base}/metadata", timeout=10).close()
        except OSError:
            if attempt == tries - 1:
                raise
            time.sleep(pause)
        else:
            return


def moved(text: str, days: int) -> str:
    """Move every date of a JSON text by so many days."""
    return _DAY.sub(lambda found: (date.fromisoformat(found.group()) + timedelta(days=days)).isoformat(), text)


def days_since(cast: Path) -> int:
    """Return how many days ago the stories play."""
    day = re.search(r"^day: (\d{4}-\d{2}-\d{2})$", cast.read_text(encoding="utf-8"), re.MULTILINE)
    if day is None:
        raise ValueError(f"{cast} names no day")
    return (datetime.now(UTC).date() - date.fromisoformat(day[1])).days


def load(path: Path, base: str, days: int = 0) -> None:
    """Send one patient; an HTTP error carries the server's own explanation."""
    body = json.dumps(transaction(json.loads(moved(path.read_text(encoding="utf-8"), days)))).encode()
    urllib.request.urlopen(urllib.request.Request(base, body, FHIR_JSON), timeout=60).close()


def main(folder: str, base: str, when: str = "") -> int:
    """Load every patient, say which, and count the failures."""
    days = days_since(Path(folder).parent / "cast.yaml") if when == "--as-if-today" else 0
    wait_for(base)
    failures = 0
    for path in sorted(Path(folder).glob("*.json")):
        try:
            load(path, base, days)
        except urllib.error.HTTPError as error:
            failures += 1
            reason = error.read(2000).decode(errors="replace")
            print(f"{path.name}: refused ({error.code}) {reason}", file=sys.stderr)
        else:
            print(f"{path.name}: loaded")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
