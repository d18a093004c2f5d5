"""The EHR's side of the network: reading a FHIR server, and calling CDS services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

import msgspec
import requests

from cds_service import decoding
from cds_service.adapters.ehr.record import Context, fill
from cds_service.errors import CdsError

# Connecting, then between two bytes, in seconds. An EHR waits half a second; a person at a terminal may wait longer.
TIMEOUT = (5.0, 30.0)
MAX_ANSWER = 32 * 1024 * 1024
_FHIR = "application/fhir+json, application/json"


class CallFailed(CdsError):
    """The other side cannot be reached, or does not answer as it should."""

    slug = "call-failed"


class Answer(msgspec.Struct, frozen=True):
    """What came back: the HTTP status, and the JSON object in the body (None if it is none)."""

    status: int
    body: dict[str, Any] | None
    milliseconds: float


def new_session() -> requests.Session:
    """Return a session that follows no settings of this machine: requests would put a password from ~/.netrc in."""
    session = requests.Session()
    session.trust_env = False
    return session


class HttpRecord:
    """A patient's record on a FHIR server, read with a service's prefetch templates. Only the first page is read."""

    def __init__(self, base: str, patient_id: str, *, token: str = "", session: requests.Session | None = None) -> None:
        self.base, self.patient_id = checked_url(base), patient_id
        self._session = session or new_session()
        self._headers = {"Accept": _FHIR} | ({"Authorization": f"Bearer {token}"} if token else {})

    def prefetch(self, templates: Mapping[str, str], context: Context) -> dict[str, Any]:
        """
        Fill prefetch templates from the server.

        What a read does not find is null; what the server refuses is the OperationOutcome it sent, or one that
        names the status; a template whose token the context lacks is left out.
        """
        filled: dict[str, Any] = {}
        for key, template in templates.items():
            try:
                url = fill(template, context)
            except LookupError:
                continue
            filled[key] = self._read(url)
        return filled

    def unsigned(self) -> list[dict[str, Any]]:
        """Return nothing: what is not signed is not on a server yet."""
        return []

    def _read(self, url: str) -> dict[str, Any] | None:
        answer = _send(self._session, "GET", f"{self.base}/{url}", headers=self._headers)
        if answer.status == 200 and answer.body is not None:
            return answer.body
        if answer.status in (404, 410) and "?" not in url:
            return None
        if answer.body is not None and answer.body.get("resourceType") == "OperationOutcome":
            return answer.body
        issue = {"severity": "error", "code": "exception", "details": {"text": f"The server answered {answer.status}."}}
        return {"resourceType": "OperationOutcome", "issue": [issue]}


def get_json(url: str, *, session: requests.Session | None = None) -> dict[str, Any]:
    """Return the JSON object at an address."""
    answer = _send(session or new_session(), "GET", checked_url(url), headers={"Accept": "application/json"})
    if answer.status != 200 or answer.body is None:
        _fail(f"There is no JSON at this address (status {answer.status}).", url)
    return answer.body


def discover(base_url: str, *, session: requests.Session | None = None) -> list[dict[str, Any]]:
    """Return what a CDS Hooks server announces. ``base_url`` is the address before ``/cds-services``."""
    url = f"{_service_base(base_url)}/cds-services"
    answer = _send(session or new_session(), "GET", url, headers={"Accept": "application/json"})
    services = (answer.body or {}).get("services")
    if answer.status != 200 or not isinstance(services, list):
        _fail(f"Discovery did not answer as CDS Hooks defines it (status {answer.status}).", url)
    return [one for one in services if isinstance(one, dict) and isinstance(one.get("id"), str)]


def call_service(
    base_url: str,
    service_id: str,
    request: Mapping[str, Any],
    *,
    token: str = "",
    session: requests.Session | None = None,
) -> Answer:
    """Send a hook call to a service, as an EHR does."""
    url = f"{_service_base(base_url)}/cds-services/{service_id}"
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    return _send(session or new_session(), "POST", url, headers=headers, data=msgspec.json.encode(request))


def checked_url(url: str) -> str:
    """Return an address without its last slash. Raises CallFailed where it is not one of the web."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        _fail(
            "This is not a web address.",
            url,
            remedy="Write it as http://127.0.0.1:8321 or https://fhir.example.org/r4.",
        )
    return url.rstrip("/")


def _service_base(url: str) -> str:
    """Return the address before ``/cds-services``; people copy the discovery address as a whole."""
    return checked_url(url).removesuffix("/cds-services")


def _send(
    session: requests.Session, method: str, url: str, *, headers: Mapping[str, str], data: bytes | None = None
) -> Answer:
    try:
        response = session.request(
            method, url, headers=headers, data=data, timeout=TIMEOUT, allow_redirects=False, stream=True
        )
        with response:
            body = _limited(response)
            taken = response.elapsed.total_seconds() * 1000
    except requests.ConnectionError:
        _fail("Nobody answers at this address.", url, remedy="Is the server running, and is the port right?")
    except requests.Timeout:
        _fail("The server did not answer in time.", url)
    except requests.RequestException as failure:
        _fail("The address cannot be called.", url, why=f"{type(failure).__name__}.")
    if response.is_redirect:
        _fail("The server sends callers to another address, which is not followed.", url)
    if len(body) > MAX_ANSWER:
        _fail("The answer is larger than 32 MB.", url)
    return Answer(response.status_code, _object(body), taken)


def _limited(response: requests.Response) -> bytes:
    """Read a body, but not much more than we take."""
    body = bytearray()
    for chunk in response.iter_content(65_536):
        body += chunk
        if len(body) > MAX_ANSWER:
            break
    return bytes(body)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        return decoding.decode(body, dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _fail(what: str, url: str, *, why: str = "", remedy: str = "") -> NoReturn:
    raise CallFailed(what, where=url.partition("?")[0], why=why, remedy=remedy)
