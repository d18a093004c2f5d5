"""
A server that replays what other FHIR servers answered, as it was recorded (../shared/data/server-responses).

The recordings answer other searches than ours, so each of our searches gets what was recorded of its kind: results of
three tests in one Bundle, orders by status. Addresses in the recordings become the address of the replay; a page that
was not recorded is not found, as on a server that loses one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.build import ROOT

Json = dict[str, Any]
RECORDINGS = ROOT.parent / "shared" / "data" / "server-responses"
# The base under which each server was recorded, and its version (SOURCE.md there).
BASES = {"medplum": "http://127.0.0.1:18103/fhir/R4", "sekmet": "http://127.0.0.1:18090/fhir"}
PATIENTS = ("mimic-esrd", "mimic-anticoag", "syn-esrd", "syn-dialysis", "syn-lupus")
LABS = ("phosphate", "calcium", "albumin-1")


class Recording:
    """What one server answered."""

    def __init__(self, server: str) -> None:
        self.folder, self.base = RECORDINGS / server, BASES[server]
        self.ids = {str(self.read(f"{name}.patient")["id"]): name for name in PATIENTS}

    def read(self, name: str) -> Json:
        """Return one recorded answer."""
        found: Json = json.loads((self.folder / f"{name}.json").read_bytes())
        return found

    def answer(self, address: str) -> tuple[int, Json]:
        """Return status and body for a path and query below the base."""
        path, query = urlsplit(address).path.strip("/"), parse_qs(urlsplit(address).query)
        kind, _, identifier = path.partition("/")
        name = self.ids.get(identifier or query.get("patient", [""])[0], "")
        if path == "metadata":
            return 200, self.read("ok.capability")
        if kind == "Patient":
            return (200, self.read(f"{name}.patient")) if name else (404, self.read("err.notfound"))
        if "_offset" in query or identifier:
            return 404, self.read("err.notfound")
        return 200, self._search(kind, name, query)

    def _search(self, kind: str, name: str, query: dict[str, list[str]]) -> Json:
        if not name:
            return self.read("ok.empty")
        if kind == "Observation":
            return _together([self.read(f"{name}.{test}") for test in LABS])
        if kind == "Condition":
            return self.read(f"{name}.conditions-active")
        if kind == "MedicationRequest":
            return _of_status(self.read(f"{name}.medrequests-include"), query["status"][0].split(","))
        return self.read("ok.empty")


def _together(bundles: list[Json]) -> Json:
    """Return the results of several searches, newest first, as one search would have found them."""
    entries = [entry for bundle in bundles for entry in bundle.get("entry", ())]
    entries.sort(key=lambda entry: str(entry["resource"]["effectiveDateTime"]), reverse=True)
    return {"resourceType": "Bundle", "type": "searchset", "link": bundles[0]["link"], "entry": entries}


def _of_status(bundle: Json, wanted: list[str]) -> Json:
    """Keep the orders of some statuses, and what they refer to."""
    entries = [one for one in bundle["entry"] if one["resource"].get("status", wanted[0]) in wanted]
    return {name: value for name, value in bundle.items() if name != "total"} | {"entry": entries}


@contextmanager
def replaying(server: str) -> Iterator[tuple[str, Recording, list[str]]]:
    """Replay a server on this machine; give its base URL, the recording, and the list of what was asked."""
    recording, asked = Recording(server), list[str]()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            prefix = urlsplit(recording.base).path
            asked.append(self.path.removeprefix(prefix))
            status, body = recording.answer(self.path.removeprefix(prefix))
            here = f"http://127.0.0.1:{listening.server_port}{prefix}"
            raw = json.dumps(body).replace(recording.base, here).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/fhir+json; charset=utf-8")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{listening.server_port}{urlsplit(recording.base).path}", recording, asked
        listening.shutdown()


def missing() -> str:
    """Say why nothing can be replayed; "" where it can."""
    return "" if Path(RECORDINGS).is_dir() else "the recordings are kept outside the project (../shared)"
