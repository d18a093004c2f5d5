"""
Put the synthetic patients of fixtures/ into a FHIR server, each as one transaction.

Usage: load_fixtures.py FOLDER FHIR-BASE. Only the standard library: it runs in a plain Python image.
Every resource is PUT under its own id, so loading twice changes nothing.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

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


def load(path: Path, base: str) -> None:
    """Send one patient; an HTTP error carries the server's own explanation."""
    body = json.dumps(transaction(json.loads(path.read_bytes()))).encode()
    urllib.request.urlopen(urllib.request.Request(base, body, FHIR_JSON), timeout=60).close()


def main(folder: str, base: str) -> int:
    """Load every patient, say which, and count the failures."""
    wait_for(base)
    failures = 0
    for path in sorted(Path(folder).glob("*.json")):
        try:
            load(path, base)
        except urllib.error.HTTPError as error:
            failures += 1
            reason = error.read(2000).decode(errors="replace")
            print(f"{path.name}: refused ({error.code}) {reason}", file=sys.stderr)
        else:
            print(f"{path.name}: loaded")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
