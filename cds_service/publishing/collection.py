"""
The service as a collection of requests to try: an HTTP file (VS Code REST Client, JetBrains), and one for Postman.

Both are written from one list, so they cannot differ. Calls that read a FHIR server bring no patient data; the one
that brings its own is of an invented patient, and does not grow old: calcinosis on the problem list, and no results.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from cds_service.protocol.service import Service

Json = dict[str, Any]
BASE, FHIR, TOKEN, CARD = "base", "fhir", "token", "card"
# What `cds-service demo` says; a person who tries another service changes these at the top.
VARIABLES = {
    BASE: "http://127.0.0.1:8321",
    FHIR: "http://127.0.0.1:8390/fhir",
    TOKEN: "the-token-that-the-demo-prints",
    CARD: "the-uuid-of-a-card",
}
_SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
_JSON = {"Content-Type": "application/json"}
TITLE = "Calcinosis CDS"


class Request(msgspec.Struct, frozen=True):
    """One request: what it shows, and the status that answers it. ``{{name}}`` stands for a variable."""

    name: str
    about: str
    method: str
    url: str
    expects: int
    body: Json | None = None


def requests(services: Iterable[Service], calls: Mapping[str, Json], own: Json) -> list[Request]:
    """
    Return every request worth trying.

    ``calls`` holds for each hook an example of its call, ``own`` is one whose prefetch may be shown as it is.
    """
    every = list(services)
    first = next(one for one in every if one.hook == "patient-view")
    return [
        Request("Discovery", "Which services there are, and what they want.", "GET", _url("cds-services"), 200),
        Request("A card from prefetch", "Calcinosis without any result.", "POST", _service(first), 200, slim(own)),
        *(_fetching(one, calls[one.hook]) for one in every if one.hook in calls),
        Request(
            "Feedback",
            "What a clinician did with a card: stored before it is answered.",
            "POST",
            f"{_service(first)}/feedback",
            200,
            _FEEDBACK,
        ),
        Request("Nothing to go on", "No prefetch, no FHIR server.", "POST", _service(first), 412, _bare(own)),
        Request("No context", "What is wrong, where, and what to do.", "POST", _service(first), 400, _WITHOUT_CONTEXT),
        Request("No such service", "An unknown address.", "POST", _url("cds-services/nobody"), 404, _bare(own)),
        Request("How it is", "Is the service alive?", "GET", _url("healthz"), 200),
        Request("The rules", "Every rule in words, with its sources.", "GET", _url("rules/index.json"), 200),
    ]


def _url(path: str) -> str:
    return f"{{{{{BASE}}}}}/{path}"


def _service(service: Service) -> str:
    return _url(f"cds-services/{service.id}")


def _fetching(service: Service, example: Json) -> Request:
    """Return a call that brings no record: the service reads it from the FHIR server."""
    access = {
        "fhirServer": f"{{{{{FHIR}}}}}",
        "fhirAuthorization": {
            "access_token": f"{{{{{TOKEN}}}}}",
            "token_type": "Bearer",
            "expires_in": 300,
            "scope": "patient/*.read",
            "subject": "calcinosis-cds",
        },
    }
    call = _bare(example) | access
    about = f"{service.title}. The record is read from the FHIR server."
    return Request(f"{service.hook}, fetched", about, "POST", _service(service), 200, call)


def _bare(call: Json) -> Json:
    return {name: value for name, value in call.items() if name != "prefetch"}


def slim(call: Json) -> Json:
    """Return a call without what a reader of the file has no use for: addresses and modes of entries."""
    prefetch = {key: _slim_value(value) for key, value in call.get("prefetch", {}).items()}
    return call | {"prefetch": prefetch}


def _slim_value(value: Any) -> Any:
    if not isinstance(value, dict) or value.get("resourceType") != "Bundle":
        return value
    bundle: Json = {"resourceType": "Bundle", "type": value.get("type", "searchset")}
    entries = [{"resource": entry["resource"]} for entry in value.get("entry", ())]
    return bundle | ({"entry": entries} if entries else {})


_FEEDBACK: Json = {
    "feedback": [
        {
            "card": f"{{{{{CARD}}}}}",
            "outcome": "overridden",
            "outcomeTimestamp": "2026-03-01T12:00:00Z",
            "overrideReason": {"userComment": "A specialist is managing this."},
        }
    ]
}
_WITHOUT_CONTEXT: Json = {"hook": "patient-view", "hookInstance": "3d2f9f9e-2f1c-4b3a-9c62-0a8f0c2f7d11"}


# --- as files --------------------------------------------------------------------------------------------------------


def http_file(listed: Iterable[Request]) -> str:
    """Write the requests as an HTTP file."""
    return "\n".join(_http_lines(list(listed)))


def _http_lines(listed: list[Request]) -> Iterator[str]:
    yield f"# {TITLE}: every service, as an EHR calls it. Made by `cds-service collection`; a test keeps it true."
    yield "# Start the service with `make run`, and put what it prints into the variables below."
    yield ""
    for name, value in VARIABLES.items():
        yield f"@{name} = {value}"
    for one in listed:
        yield f"\n### {one.name}"
        yield f"# {one.about} Expects {one.expects}."
        yield f"{one.method} {one.url}"
        if one.body is not None:
            yield "Content-Type: application/json"
            yield f"\n{json.dumps(one.body, indent=2, ensure_ascii=False)}"
    yield ""


def postman(listed: Iterable[Request]) -> Json:
    """Write the requests as a Postman collection, each with a test of its status."""
    return {
        "info": {
            "name": TITLE,
            "description": "Every service, as an EHR calls it. Made by `cds-service collection`; a test keeps it true.",
            "schema": _SCHEMA,
        },
        "variable": [{"key": name, "value": value} for name, value in VARIABLES.items()],
        "item": [_item(one) for one in listed],
    }


def _item(one: Request) -> Json:
    request: Json = {"method": one.method, "description": one.about, "header": [], "url": {"raw": one.url}}
    if one.body is not None:
        raw = json.dumps(one.body, indent=2, ensure_ascii=False)
        request["header"] = [{"key": name, "value": value} for name, value in _JSON.items()]
        request["body"] = {"mode": "raw", "raw": raw, "options": {"raw": {"language": "json"}}}
    host, _, path = one.url.partition("/")
    request["url"] |= {"host": [host], "path": path.split("/")}
    check = f'pm.test("answers {one.expects}", () => pm.response.to.have.status({one.expects}));'
    return {
        "name": one.name,
        "event": [{"listen": "test", "script": {"type": "text/javascript", "exec": [check]}}],
        "request": request,
    }
