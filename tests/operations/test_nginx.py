"""
The configuration of deploy/nginx, in a real nginx before a real service: TLS, what it passes on, what it refuses.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.build import ROOT
from tests.operations.load import PATH, hook_call
from tests.operations.proxying import in_front_of
from tests.operations.running import running


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Give the address of an nginx before a service, and the folder of its logs."""
    folder = tmp_path_factory.mktemp("nginx")
    with running(folder, "--workers", "1") as service, in_front_of(folder, service.url) as url:
        yield url, folder


def ask(proxy: tuple[str, Path], path: str, raw: bytes | None = None, **headers: str) -> requests.Response:
    url, folder = proxy
    headers = {"Content-Type": "application/json", **headers}
    method = "POST" if raw is not None else "GET"
    return requests.request(
        method, url + path, data=raw, headers=headers, timeout=20, verify=str(folder / "tls.crt"), allow_redirects=False
    )


def test_a_call_gets_its_card_over_tls(proxy: tuple[str, Path]) -> None:
    answer = ask(proxy, PATH, hook_call(), **{"X-Request-Id": "call-1"})

    assert 200 == answer.status_code
    assert "Kidney failure" in answer.json()["cards"][0]["summary"]
    assert "call-1" == answer.headers["X-Request-Id"]
    assert "max-age" in answer.headers["Strict-Transport-Security"]


def test_without_an_id_of_the_client_the_service_makes_one(proxy: tuple[str, Path]) -> None:
    assert re.fullmatch("[0-9a-f]{16}", ask(proxy, "/cds-services").headers["X-Request-Id"])


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/metrics?x", "/readyz?calls"])
def test_what_is_for_operators_is_not_passed_on(proxy: tuple[str, Path], path: str) -> None:
    answer = ask(proxy, path)

    assert (404, "OperationOutcome") == (answer.status_code, answer.json()["resourceType"])


@pytest.mark.parametrize("path", ["//metrics", "/./metrics", "/x/../metrics", "/%6detrics", "/metrics/", "/METRICS"])
def test_nor_under_another_spelling(proxy: tuple[str, Path], path: str) -> None:
    url, folder = proxy
    request = requests.Request("GET", url).prepare()
    request.url = url + path
    with requests.Session() as session:
        answer = session.send(request, verify=str(folder / "tls.crt"), timeout=20, allow_redirects=False)

    assert 404 == answer.status_code
    assert "cds_calls" not in answer.text


def test_a_body_that_is_too_large_is_refused_in_the_same_shape(proxy: tuple[str, Path]) -> None:
    for size in (8 * 1024 * 1024 + 100, 10 * 1024 * 1024):
        answer = ask(proxy, PATH, b" " * size)
        assert (413, "OperationOutcome") == (answer.status_code, answer.json()["resourceType"])


def test_only_tls_1_2_and_1_3(proxy: tuple[str, Path]) -> None:
    url, folder = proxy
    port = int(url.rpartition(":")[2])
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=str(folder / "tls.crt"))
        context.minimum_version = context.maximum_version = version
        with (
            socket.create_connection(("127.0.0.1", port), 5) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as one,
        ):
            assert one.version()
    text = (ROOT / "deploy" / "nginx" / "default.conf").read_text(encoding="utf-8")
    assert ["TLSv1.2 TLSv1.3"] == re.findall(r"ssl_protocols\s+(.*);", text)


def test_logs_hold_no_query(proxy: tuple[str, Path]) -> None:
    ask(proxy, f"{PATH}?patient=MARKED", hook_call())
    ask(proxy, "/nowhere?patient=MARKED")
    time.sleep(0.2)

    logged = "".join((proxy[1] / name).read_text() for name in ("access", "errors", "log"))
    assert "/nowhere" in logged
    assert "MARKED" not in logged
