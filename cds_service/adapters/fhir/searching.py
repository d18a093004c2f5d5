"""One prefetch query read from a FHIR server: every page of it, up to limits, as one Bundle."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urljoin

import msgspec

from cds_service import decoding
from cds_service.adapters.addresses import Origin, parse
from cds_service.adapters.deadline import Deadline
from cds_service.adapters.outbound import Failed

PAGES = 10
# SECURITY.md 0.6: a rule needs the newest few hundred.
RESOURCES = 20_000
Raw = msgspec.Raw
Get = Callable[[str], bytes]


class _Link(msgspec.Struct):
    relation: str | None = None
    url: str | None = None


class _Page(msgspec.Struct):
    resourceType: str = ""
    total: int | None = None
    link: list[_Link] | None = None
    entry: list[Raw] | None = None


_page = decoding.decoder(_Page)
_MORE = [{"relation": "next", "url": "more"}]


def read_all(get: Get, url: str, origin: Origin, deadline: Deadline) -> bytes:
    """
    Return the resource at an address, or all pages of a search in one Bundle.

    What could not be read to its end keeps a ``next`` link, so that nobody takes it for the whole. Raises Failed
    where not even the first page came.
    """
    body = get(url)
    first = _decoded(body)
    if "?" not in url or first is None or not next_of(first):
        return body  # one resource, one page, an OperationOutcome, or something that intake will set aside
    entries, whole = list(first.entry or ()), False
    page, seen = first, {url}
    while len(seen) < PAGES and len(entries) <= RESOURCES and not deadline.passed:
        following = followed(next_of(page), url, origin)
        if following is None or following in seen:
            break
        seen.add(following)
        more = _more(get, following)
        if more is None:
            break
        entries += more.entry or ()
        url, page, whole = following, more, not _has_next(more)
        if not next_of(more):
            break
    return _bundle(entries[:RESOURCES], first.total, whole=whole and len(entries) <= RESOURCES)


def joined(sent: bytes, rest: bytes) -> bytes:
    """Return the first page of a search, which the client sent, and the pages that followed it, in one Bundle."""
    first, more = _decoded(sent), _decoded(rest)
    if first is None or more is None:
        return sent
    return _bundle([*(first.entry or ()), *(more.entry or ())], first.total, whole=not _has_next(more))


def next_link(value: bytes) -> str:
    """Return the address of the page that follows a Bundle, as it stands there; "" if there is none."""
    page = _decoded(value)
    return next_of(page) if page else ""


def next_of(page: _Page) -> str:
    """Return the address of the next page, as it stands there; "" if there is none, or nobody says where."""
    return next((link.url for link in page.link or () if link.relation == "next" and link.url), "")


def _has_next(page: _Page) -> bool:
    """Say whether there is a next page: also where its link leads nowhere, for what stands on it is not here."""
    return any(link.relation == "next" for link in page.link or ())


def followed(named: str, url: str, origin: Origin) -> str | None:
    """Return the address that a link on a page leads to, if it is at or below the same base URL; else None."""
    if not named.isprintable() or not named.isascii() or set(named) & set("#\\ "):
        return None  # urljoin leaves out, or turns round, what it does not like
    try:
        following = urljoin(url, named)
    except ValueError:
        return None
    base, mark, query = following.partition("?")
    place = parse(base)
    if place is None or not origin.covers(place):
        return None
    return f"{place.url}{'/' if base.endswith('/') else ''}{mark}{query}"


def _more(get: Get, url: str) -> _Page | None:
    """Return a further page; None where it cannot be had, or is none."""
    try:
        page = _decoded(get(url))
    except Failed:
        return None
    return page


def _decoded(body: bytes) -> _Page | None:
    """Return a Bundle; None for what is none, or none as FHIR spells it."""
    try:
        page = _page.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return page if page.resourceType == "Bundle" else None


def _bundle(entries: list[Raw], total: int | None, *, whole: bool) -> bytes:
    bundle: dict[str, object] = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    bundle |= {} if total is None else {"total": total}
    return msgspec.json.encode(bundle if whole else bundle | {"link": _MORE})
