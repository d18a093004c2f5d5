"""
The service over HTTP: status codes, methods, media types, sizes, CORS, headers (CHECKLIST.md C, G, I).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from cds_service.web.settings import MAX_BODY
from tests.build import LEFT_OUT, SERVICE, body, call, condition, observation, outcome, patient, to_json
from tests.conftest import Ask

Post = Callable[..., TestResponse]
ORIGIN = {"Origin": "https://sandbox.example"}
PREFLIGHT = {
    **ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}


def refused(response: TestResponse) -> str:
    """Return the slug of a refusal that has the shape every refusal must have."""
    assert response.is_json
    assert response.json is not None
    assert "OperationOutcome" == response.json["resourceType"]
    [issue] = response.json["issue"]
    assert {"severity", "code", "details"} <= set(issue)
    assert issue["details"]["text"]

    return str(issue["details"]["coding"][0]["code"])


# --- status codes ----------------------------------------------------------------------------------------------------


def test_an_answered_call_is_200_and_json(ask: Ask) -> None:
    response = ask(condition(), observation())

    assert (200, "application/json") == (response.status_code, response.content_type)


@pytest.mark.parametrize(
    "path",
    ["/cds-services/none", "/cds-services/calcinosis-patient-view/x", "/cds-services/%00", "/cds-services/..%2f", "/x"],
)
def test_an_unknown_address_is_404(app: Flask, path: str) -> None:
    response = app.test_client().post(path, data=body(), content_type="application/json")

    assert 404 == response.status_code
    assert refused(response) in {"unknown-service", "http-404"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", SERVICE, {"OPTIONS", "POST"}),
        ("PUT", SERVICE, {"OPTIONS", "POST"}),
        ("DELETE", SERVICE, {"OPTIONS", "POST"}),
        ("PATCH", SERVICE, {"OPTIONS", "POST"}),
        ("HEAD", SERVICE, {"OPTIONS", "POST"}),
        ("TRACE", SERVICE, {"OPTIONS", "POST"}),
        ("POST", "/cds-services", {"GET", "HEAD", "OPTIONS"}),
        ("PUT", "/cds-services", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_405_and_says_which_are_right(app: Flask, method: str, path: str, allowed: set[str]) -> None:
    response = app.test_client().open(path, method=method)

    assert 405 == response.status_code
    assert allowed == {one.strip() for one in response.headers["Allow"].split(",")}
    assert method == "HEAD" or "http-405" == refused(response)


def test_head_of_discovery_is_its_get_without_a_body(app: Flask) -> None:
    head, get = app.test_client().head("/cds-services"), app.test_client().get("/cds-services")

    assert (200, b"") == (head.status_code, head.data)
    assert len(get.data) == int(head.headers["Content-Length"])


@pytest.mark.parametrize("path", [SERVICE, "/cds-services"])
def test_options_say_which_methods_there_are(app: Flask, path: str) -> None:
    response = app.test_client().options(path)

    assert response.status_code in {200, 204}
    assert "OPTIONS" in response.headers["Allow"]


@pytest.mark.parametrize(
    "media",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "Application/JSON",
        'application/json; charset="utf-8"; x=y',
    ],
)
def test_json_is_accepted_with_any_parameters(post: Post, media: str) -> None:
    assert 200 == post(body(), content_type=media).status_code


@pytest.mark.parametrize(
    "media",
    [
        "text/plain",
        "application/xml",
        "application/fhir+json",
        "application/x-www-form-urlencoded",
        "json",
        "",
        "multipart/form-data",
    ],
)
def test_another_media_type_is_415(post: Post, media: str) -> None:
    response = post(body(), content_type=media)

    assert (415, "http-415") == (response.status_code, refused(response))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, identity", "x"])
def test_a_compressed_body_is_415(post: Post, encoding: str) -> None:
    """
    A small body that unfolds into a large one is a way to stop a server.
    """
    response = post(body(), headers={"Content-Encoding": encoding})

    assert (415, "http-415") == (response.status_code, refused(response))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"<xml/>", b"hook=patient-view"])
def test_a_body_that_is_no_request_is_400(post: Post, raw: bytes) -> None:
    response = post(raw)

    assert 400 == response.status_code
    assert refused(response)


def test_a_refusal_names_the_place_as_a_json_pointer(post: Post) -> None:
    response = post(to_json(call({}, context={"userId": "Practitioner/1"})))

    assert response.json is not None
    assert ["/context/patientId"] == response.json["issue"][0]["expression"]


@pytest.mark.parametrize(
    "values",
    [
        LEFT_OUT,
        None,
        {},
        {"observations": outcome(), "conditions": outcome()},
        {"conditions": "<html>"},
        {"unknown": {"resourceType": "Bundle"}},
        {"patient": patient()},
        {"patient": patient(birthDate="2026-02-20"), "observations": outcome()},
    ],
    ids=str,
)
def test_a_call_on_which_nothing_can_be_evaluated_is_412_and_names_the_keys(post: Post, values: Any) -> None:
    """
    An empty list of cards would look like "all clear".
    """
    response = post(to_json(call(values)))

    assert (412, "no-data") == (response.status_code, refused(response))
    assert response.json is not None
    assert "observations" in response.json["issue"][0]["diagnostics"]
    assert "conditions" in response.json["issue"][0]["diagnostics"]


def test_data_of_another_patient_are_412_and_counted(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    stranger = observation(subject={"reference": "Patient/MARKED-ID"})
    response = app.test_client().post(SERVICE, data=body(condition(), stranger), content_type="application/json")

    assert (412, "wrong-patient") == (response.status_code, refused(response))
    assert 1 == app.extensions["cds"].counted["refused wrong-patient"]
    assert b"MARKED" not in response.data


def test_data_of_another_patient_that_are_dropped_are_counted_too(make_app: Callable[..., Flask]) -> None:
    app = make_app(drop_strangers=True)
    strangers = [observation(subject={"reference": "Patient/MARKED-ID"}) for _ in range(3)]
    response = app.test_client().post(SERVICE, data=body(condition(), *strangers), content_type="application/json")

    assert 200 == response.status_code
    assert 3 == app.extensions["cds"].counted["dropped stranger"]
    assert b"MARKED" not in response.data


# --- headers ---------------------------------------------------------------------------------------------------------

ADDRESSES = [
    ("GET", "/cds-services"),
    ("POST", SERVICE),
    ("GET", SERVICE),
    ("GET", "/nowhere"),
    ("POST", "/cds-services/none"),
]


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_nobody_stores_an_answer_and_no_browser_guesses_what_it_is(app: Flask, method: str, path: str) -> None:
    response = app.test_client().open(path, method=method, data=b"{}", content_type="application/json")

    assert ("no-store", "nosniff") == (response.headers["Cache-Control"], response.headers["X-Content-Type-Options"])
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("auth", ["none", "jwt"])
@pytest.mark.parametrize("path", [SERVICE, "/cds-services"])
def test_a_preflight_is_answered_without_authentication(make_app: Callable[..., Flask], path: str, auth: str) -> None:
    method = {"Access-Control-Request-Method": "POST" if path == SERVICE else "GET"}
    response = make_app(auth=auth).test_client().options(path, headers={**PREFLIGHT, **method})

    assert response.status_code in {200, 204}
    assert response.headers["Access-Control-Allow-Origin"] in {"*", ORIGIN["Origin"]}
    assert method["Access-Control-Request-Method"] in response.headers["Access-Control-Allow-Methods"]
    # "*" would not cover Authorization.
    assert {"authorization", "content-type"} == {
        one.strip().lower() for one in response.headers["Access-Control-Allow-Headers"].split(",")
    }


@pytest.mark.parametrize(("method", "path"), [one for one in ADDRESSES if one[1].startswith("/cds-services")])
def test_cors_headers_stand_on_errors_too(app: Flask, method: str, path: str) -> None:
    response = app.test_client().open(path, method=method, headers=ORIGIN, data=b"{}", content_type="application/json")

    assert response.headers["Access-Control-Allow-Origin"] in {"*", ORIGIN["Origin"]}


def test_cors_headers_stand_on_a_refused_client_too(make_app: Callable[..., Flask]) -> None:
    response = (
        make_app(auth="jwt").test_client().post(SERVICE, headers=ORIGIN, data=b"{}", content_type="application/json")
    )

    assert 401 == response.status_code
    assert "Access-Control-Allow-Origin" in response.headers


def test_a_site_may_name_the_origins_that_may_call(make_app: Callable[..., Flask]) -> None:
    client = make_app(cors_origins=("https://ehr.example",)).test_client()
    ours = client.get("/cds-services", headers={"Origin": "https://ehr.example"})
    other = client.get("/cds-services", headers=ORIGIN)

    assert "https://ehr.example" == ours.headers["Access-Control-Allow-Origin"]
    assert "Access-Control-Allow-Origin" not in other.headers


# --- authentication --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", [None, "Bearer x", "Bearer ", "Basic eDp5", "eyJhbGciOiJub25lIn0.e30.", "Bearer a.b.c", "\u00e9"]
)
def test_without_authentication_a_call_is_401_and_never_says_why(
    make_app: Callable[..., Flask], header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}
    client = make_app(auth="jwt").test_client()
    bare = client.post(SERVICE, data=body(), content_type="application/json")
    response = client.post(SERVICE, data=body(), content_type="application/json", headers=headers)

    assert (401, "http-401", bare.data) == (response.status_code, refused(response), response.data)


@pytest.mark.parametrize(("path", "media"), [("/cds-services/none", "application/json"), (SERVICE, "text/plain")])
def test_who_is_not_known_learns_nothing_else(make_app: Callable[..., Flask], path: str, media: str) -> None:
    assert 401 == make_app(auth="jwt").test_client().post(path, data=b"{", content_type=media).status_code


def test_discovery_is_open_to_all(make_app: Callable[..., Flask]) -> None:
    client = make_app(auth="jwt").test_client()

    assert 200 == client.get("/cds-services").status_code
    assert 200 == client.get("/cds-services", headers={"Authorization": "Bearer x.y.z"}).status_code


# --- over a real connection ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def port(app: Flask) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def send(port: int, raw: bytes) -> bytes:
    """Send bytes as they stand and return what comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while piece := connection.recv(65_536):
            found += piece

    return found


def head(*headers: str) -> bytes:
    """Return the head of a call with these headers."""
    lines = [f"POST {SERVICE} HTTP/1.1", "Host: x", "Content-Type: application/json", "Connection: close", *headers]

    return "\r\n".join([*lines, "", ""]).encode()


def test_a_call_may_come_in_chunks(port: int) -> None:
    raw = body(condition(), observation())
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in (raw[:100], raw[100:]))

    assert b" 200 OK" in send(port, head("Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n").partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\nabc\r\n0\r\n\r\n",
        b"5\r\nab",
        b"-1\r\n\r\n",
        b"ffffffffffffffffffff\r\n",
        b"3\r\nabcdef\r\n0\r\n\r\n",
        b"",
    ],
)
def test_chunks_that_do_not_add_up_are_400(port: int, chunks: bytes) -> None:
    answer = send(port, head("Transfer-Encoding: chunked") + chunks)

    assert {b"400", b"413"} & set(answer.partition(b"\r\n")[0].split())
    assert b"OperationOutcome" in answer


def test_a_body_that_ends_early_is_400(port: int) -> None:
    raw = body()
    answer = send(port, head(f"Content-Length: {len(raw)}") + raw[:50])

    assert b" 400 " in answer.partition(b"\r\n")[0]


def test_a_call_without_a_body_is_400(port: int) -> None:
    assert b" 400 " in send(port, head("Content-Length: 0")).partition(b"\r\n")[0]


def test_a_body_of_exactly_8_megabytes_is_read(post: Post) -> None:
    raw = body()
    padded = raw[:-1] + b" " * (MAX_BODY - len(raw)) + b"}"

    assert MAX_BODY == len(padded)
    assert 200 == post(padded).status_code


def test_a_body_above_8_megabytes_is_413(post: Post) -> None:
    response = post(b" " * (MAX_BODY + 1))

    assert (413, "http-413") == (response.status_code, refused(response))


def test_a_body_that_is_announced_as_too_large_is_not_waited_for(port: int) -> None:
    assert b" 413 " in send(port, head(f"Content-Length: {MAX_BODY + 2}")).partition(b"\r\n")[0]


def test_a_body_that_grows_too_large_in_chunks_is_413(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    piece = b" " * 500_000
    with suppress(BrokenPipeError, ConnectionResetError):  # the answer may come before the whole body was sent
        connection.request(
            "POST",
            SERVICE,
            body=iter([piece] * (MAX_BODY // len(piece) + 2)),
            headers={"Content-Type": "application/json", "Transfer-Encoding": "chunked"},
            encode_chunked=True,
        )
    answer = connection.getresponse()

    assert 413 == answer.status
    connection.close()


def test_ids_of_cards_are_new_for_every_call(ask: Ask) -> None:
    first, second = (ask(condition(), observation()).json or {} for _ in range(2))

    assert UUID(first["cards"][0]["uuid"]) != UUID(second["cards"][0]["uuid"])
