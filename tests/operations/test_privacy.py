"""
Nothing that names a patient, and no secret, leaves a service by its log, its metrics or its refusals (SECURITY 6).
"""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.build import body, condition, observation, patient
from tests.operations.load import PATH, address_of, post
from tests.operations.running import Service, running
from tests.web.test_failures import CALLS

MARK = "MARKED"
TOKEN = {"access_token": f"{MARK}-TOKEN", "token_type": "Bearer", "expires_in": 300, "scope": "x", "subject": "x"}


def raw_requests() -> list[bytes]:
    """Return requests that are no HTTP, or odd HTTP, with marks all over."""
    lines = [
        f"GET /{MARK}?patient={MARK} HTTP/1.1\r\nHost: {MARK}\r\nAuthorization: Bearer {MARK}\r\n\r\n",
        f"POST {PATH}?patient={MARK} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-Request-Id: {MARK} x\r\n\r\n{{}}",
        f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer {MARK}\r\n\r\n",
        f"{MARK} / HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET /{MARK * 2_000} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {MARK}\r\n\r\n{MARK}",
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{MARK}\r\n",
    ]
    return [line.encode() for line in lines]


def talk(service: Service, raw: bytes) -> bytes:
    with socket.create_connection(address_of(service.url), 5) as one, suppress(OSError):
        one.sendall(raw)
        one.shutdown(socket.SHUT_WR)
        found = b""
        while piece := one.recv(65_536):
            found += piece
        return found
    return b""


def hostile(service: Service) -> list[bytes]:
    """Send everything that could leave a mark; return what came back of refusals."""
    named: dict[str, Any] = {"fhirServer": f"https://{MARK}.example/fhir", "fhirAuthorization": TOKEN}
    whole = body(patient(name=[{"family": MARK}]), condition(text=MARK), observation(note=[{"text": MARK}]), **named)
    said = [{"card": MARK, "outcome": MARK, "outcomeTimestamp": MARK, "overrideReason": {"userComment": MARK}}]
    refused = [talk(service, raw) for raw in raw_requests()]
    for raw in (whole, whole[:-50], *(one[1] for one in CALLS)):
        status, answer, _ = post(service.url, raw)
        refused += [answer] if status != 200 else []
    refused.append(post(service.url, json.dumps({"feedback": said}).encode(), f"{PATH}/feedback")[1])
    refused.append(service.get(f"/rules/{MARK}?{MARK}={MARK}", headers={"Authorization": f"Bearer {MARK}"}).content)
    return refused


def test_no_mark_is_found_in_what_the_service_says_of_itself(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{MARK}-metrics-token")
    with running(tmp_path, "--workers", "1", CDS_METRICS_TOKEN_FILE=str(tmp_path / "token")) as service:
        refused = hostile(service)
        metrics = service.get("/metrics", headers={"Authorization": f"Bearer {MARK}-metrics-token"})
        probes = service.get("/readyz").text + service.get("/healthz").text + service.get("/cds-services").text
        shown = "".join(Path(f"/proc/{one}/cmdline").read_text() for one in (service.process.pid, *service.workers()))
    log = service.log()

    assert 200 == metrics.status_code
    assert 10 < log.count('"event":"call"')
    assert 15 < len([one for one in refused if one])
    assert MARK not in log + metrics.text + probes + shown
    assert [] == [one for one in refused if MARK.encode() in one]
    assert "Traceback" not in log
