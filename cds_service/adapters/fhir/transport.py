"""One page of FHIR JSON from a server: what is not JSON, or could be read in two ways, is no answer."""

from __future__ import annotations

import re

import requests

from cds_service.adapters.addresses import Origin
from cds_service.adapters.outbound import Errand, Failed, fetch
from cds_service.errors import MalformedJson
from cds_service.protocol.wire import Body

# As much as a client may send as prefetch, for all pages of all queries of a call together.
PAGE_LIMIT, CALL_LIMIT = 4 * 1024 * 1024, 8 * 1024 * 1024
# An honest resource takes 200 bytes and a dozen objects: more objects than this are there to fill the memory.
_OBJECTS = 200_000
_JSON = re.compile(r"application/(?:fhir\+json|json\+fhir|json)\s*(?:;|\Z)", re.IGNORECASE)
_HEADERS = {"Accept": "application/fhir+json, application/json;q=0.9"}


def read(session: requests.Session, url: str, origin: Origin, token: str, errand: Errand) -> bytes:
    """
    Read one page.

    ``url`` must lie under ``origin`` (the caller's business). Raises Failed; the reason never quotes what came.
    """
    headers = _HEADERS | ({"Authorization": f"Bearer {token}"} if token else {})
    body = fetch(session, url, origin, errand, headers, limit=PAGE_LIMIT, is_type=_JSON.match)
    if not body.lstrip(b" \t\r\n").startswith(b"{"):
        raise Failed("not-fhir-json")
    if body.count(b"{") > _OBJECTS:
        raise Failed("too-large")
    try:
        Body(body).check_whole()
    except MalformedJson:
        raise Failed("not-json") from None
    return body
