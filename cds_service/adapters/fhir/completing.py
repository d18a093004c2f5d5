"""Complete what a hook call lacks from the EHR's own FHIR server, all at once, under one deadline."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from urllib.parse import quote

import msgspec
import requests

from cds_service.adapters import outbound
from cds_service.adapters.addresses import Origin, parse
from cds_service.adapters.deadline import Deadline
from cds_service.adapters.fhir import transport
from cds_service.adapters.fhir.guards import Breaker, Bulkhead
from cds_service.adapters.fhir.origins import Origins
from cds_service.adapters.fhir.searching import followed, read_all
from cds_service.adapters.outbound import Errand, Failed
from cds_service.protocol.access import Access

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_HOLE = re.compile(r"\{\{\s*context\.(patientId|encounterId)\s*\}\}")
# Less time than this is not worth a question: it would only be counted as a failure of the server.
_TOO_SHORT = 0.02
KEYS = 8
# So many servers that refuse a parameter are remembered.
_NARROW = 1_000


class Wanted(msgspec.Struct, frozen=True):
    """What a call lacks: ``queries`` by key, as templates, and for keys that were cut off the page that follows."""

    queries: Mapping[str, str] = {}
    further: Mapping[str, str] = {}

    @property
    def keys(self) -> list[str]:
        """Every key of which something is lacking."""
        return [*self.queries, *self.further]


class Completed(msgspec.Struct, frozen=True):
    """What was read for the keys, as JSON bytes; ``failed`` says for each other key why not."""

    values: dict[str, bytes]
    failed: dict[str, str]


class Completing:
    """
    The EHR's FHIR servers, as hook calls use them.

    ``budget`` is the time for one call in seconds, ``places`` how many calls may wait at once (smaller than the
    server's threads), ``authorities`` a file with further certificate authorities.
    """

    def __init__(
        self,
        origins: Origins,
        budget: float,
        places: int = 8,
        *,
        authorities: str = "",
        session: requests.Session | None = None,
        new_breaker: Callable[[], Breaker] = Breaker,
    ) -> None:
        self.origins, self.budget, self._new_breaker = origins, budget, new_breaker
        self.bulkhead, self.breakers = Bulkhead(places), dict[tuple[str, str, int], Breaker]()
        self.counted: Counter[str] = Counter()
        self._narrow: set[str] = set()
        self._counting = threading.Lock()
        self._readers = ThreadPoolExecutor(max_workers=places * KEYS, thread_name_prefix="fhir")
        self._session = session or outbound.new_session(places * KEYS, authorities)

    def complete(
        self,
        access: Access,
        wanted: Wanted,
        context: Mapping[str, str],
        deadline: Deadline,
        servers: tuple[str, ...] = (),
    ) -> Completed:
        """
        Read what is wanted, as far as it can be had before the deadline.

        ``servers`` are the base URLs that this client's calls may name; none: all that may be contacted. Nothing is
        raised: a key that cannot be read has a reason, and its rules will say that they do not know.
        """
        reason, origin = self._refused(access, servers)
        if origin is None:
            return self._nothing(wanted.keys, reason)
        addresses = _addresses(wanted, context, origin)
        unasked = Completed({}, {key: why for key, (url, why) in addresses.items() if not url})
        urls = {key: url for key, (url, _) in addresses.items() if url}
        found = self._guarded(origin, access.token, urls, deadline) if urls else Completed({}, {})
        self._count([*unasked.failed.values(), *found.failed.values(), *["read"] * len(found.values)])
        return Completed(found.values, unasked.failed | found.failed)

    def _refused(self, access: Access, servers: tuple[str, ...]) -> tuple[str, Origin | None]:
        if not access.server:
            return "no-server", None
        origin = self.origins.find(access.server)
        if origin is None or (servers and not any(one.covers(origin) for one in _parsed(servers))):
            return "not-permitted", None
        if access.seconds is not None and not access.seconds > 0:
            return "token-expired", None
        if access.token and not _TOKEN.fullmatch(access.token):
            return "token-odd", None
        return "", origin

    def _nothing(self, keys: Iterable[str], reason: str) -> Completed:
        failed = dict.fromkeys(keys, reason)
        self._count(failed.values())
        return Completed({}, failed)

    def _count(self, reasons: Iterable[str]) -> None:
        with self._counting:
            self.counted.update(reasons)

    def _guarded(self, origin: Origin, token: str, urls: Mapping[str, str], deadline: Deadline) -> Completed:
        breaker = self.breakers.setdefault((origin.scheme, origin.host, origin.port), self._new_breaker())
        with self.bulkhead.place() as got:
            if not got:
                return Completed({}, dict.fromkeys(urls, "busy"))
            if deadline.remaining() < _TOO_SHORT:
                return Completed({}, dict.fromkeys(urls, "too-late"))
            if not breaker.lets_pass():
                return Completed({}, dict.fromkeys(urls, "breaker-open"))
            try:
                found = self._read(origin, token, urls, deadline)
            except RuntimeError:  # no thread can be started, or the process is ending
                return Completed({}, dict.fromkeys(urls, "busy"))
        breaker.report(worked=bool(found.values) or not _is_outage(found.failed.values()))
        return found

    def _read(self, origin: Origin, token: str, urls: Mapping[str, str], deadline: Deadline) -> Completed:
        errand = Errand(deadline, transport.CALL_LIMIT)
        reads = {key: self._readers.submit(self._one, url, origin, token, errand) for key, url in urls.items()}
        done, late = wait(reads.values(), deadline.remaining())
        errand.end()
        for read in late:
            read.cancel()
        values = {key: read.result() for key, read in reads.items() if read in done and read.exception() is None}
        failed = {key: _reason(read) if read in done else "too-late" for key, read in reads.items()}
        return Completed(values, {key: why for key, why in failed.items() if key not in values})

    def _one(self, url: str, origin: Origin, token: str, errand: Errand) -> bytes:
        def get(address: str) -> bytes:
            try:
                return transport.read(self._session, address, origin, token, errand)
            except Failed as problem:
                if not problem.again or errand.deadline.remaining() < self.budget / 2:
                    raise
            return transport.read(self._session, address, origin, token, errand)

        wider = _with_medications(url)
        if wider != url and origin.url not in self._narrow:
            try:
                return read_all(get, wider, origin, errand.deadline)
            except Failed as problem:
                if problem.reason != "status-400":
                    raise
            found = read_all(get, url, origin, errand.deadline)
            self._remember_narrow(origin.url)
            return found
        return read_all(get, url, origin, errand.deadline)

    def _remember_narrow(self, url: str) -> None:
        """
        Ask a server without what it refused, from now on: it answered as soon as that was left out.

        The address may be anything below a listed one, as the client likes; one that finds no place is asked twice.
        """
        with self._counting:
            if len(self._narrow) < _NARROW:
                self._narrow.add(url)


# Orders often name their medication by reference only, and one that did not come along cannot be read.
_ORDERS = re.compile(r"/(MedicationRequest|MedicationStatement)\?")


def _with_medications(url: str) -> str:
    """Ask a search of orders to bring the Medications along; prefetch cannot (CDS Hooks 2.0.1, "Prefetch Query")."""
    kind = _ORDERS.search(url)
    return f"{url}&_include={kind[1]}:medication" if kind and "_include=" not in url else url


def _reason(read: Future[bytes]) -> str:
    problem = read.exception()
    return problem.reason if isinstance(problem, Failed) else "unexpected"


# What the server said about us, about this patient or about one query is no sign that it is down.
_ANSWERED = re.compile(r"status-4(?!29)")


def _is_outage(reasons: Iterable[str]) -> bool:
    return any(not _ANSWERED.match(reason) for reason in reasons)


@cache
def _parsed(servers: tuple[str, ...]) -> tuple[Origin, ...]:
    """Take base URLs of the settings apart, once."""
    return tuple([origin for url in servers if (origin := parse(url))])


def _addresses(wanted: Wanted, context: Mapping[str, str], origin: Origin) -> dict[str, tuple[str, str]]:
    """Return for each key the address to read, or "" and why there is none."""
    found = {}
    for key, template in wanted.queries.items():
        url = _filled(template, context)
        found[key] = (f"{origin.url}/{url}", "") if url else ("", "context-lacks")
    for key, link in wanted.further.items():
        following = followed(link, f"{origin.url}/", origin)
        found[key] = (following, "") if following else ("", "elsewhere")
    return found


def _filled(template: str, context: Mapping[str, str]) -> str:
    """Fill a template; "" where the context lacks what it names, or names it by dots, which lead to other places."""
    names = _HOLE.findall(template)
    if "{{" in _HOLE.sub("", template) or not all(context.get(name, "").strip(".") for name in names):
        return ""
    return _HOLE.sub(lambda hole: quote(context[hole[1]], safe=""), template)
