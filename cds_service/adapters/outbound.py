"""One request to another server: to a checked address only, without redirects, within a deadline, up to a size."""

from __future__ import annotations

import math
import os
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import DEFAULT_CA_BUNDLE_PATH, HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from cds_service.adapters.addresses import NotPermitted, Origin, Resolver
from cds_service.adapters.deadline import Deadline
from cds_service.errors import SettingsError

_PIECE = 65_536
_BROKEN = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError)


class Failed(Exception):
    """A read that brought nothing; ``reason`` is one of a fixed list, for logs, metrics and cards."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.again = reason, again


class Errand:
    """
    Everything that is read for one call: it ends for all reads at once, and has one allowance of bytes.

    Whoever waits for the reads ends the errand when time is up: their connections are cut, so that a read that waits
    for a byte wakes up, whatever drips or hangs.
    """

    def __init__(self, deadline: Deadline, allowance: int) -> None:
        self.deadline, self._allowance = deadline, allowance
        self._used: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._over = False

    def use(self, connection: socket.socket) -> socket.socket:
        """
        Remember a connection while it is read from, and return what ``leave`` needs to forget it.

        It is a second handle of the same connection: the first one is replaced when TLS begins.
        """
        handle = socket.socket(fileno=os.dup(connection.fileno()))
        with self._lock:
            self._used.add(handle)
            if self._over:
                _cut(handle)
        return handle

    def leave(self, handle: socket.socket) -> None:
        """Forget a connection: others may use it now."""
        with self._lock:
            self._used.discard(handle)
            handle.close()

    def take(self, size: int) -> None:
        """Count bytes that came. Raises Failed where they are too many for one call, or too late."""
        with self._lock:
            self._allowance -= size
        if self._allowance < 0:
            raise Failed("too-large")
        if self.deadline.passed:
            raise Failed("too-late")

    def end(self) -> None:
        """Cut every connection that is still read from, and every one that comes later."""
        with self._lock:
            self._over = True
            for handle in self._used:
                _cut(handle)


def _cut(handle: socket.socket) -> None:
    with suppress(OSError):
        handle.shutdown(socket.SHUT_RDWR)


class _Here(threading.local):
    """What the read in this thread is bound by, and the connections it uses."""

    errand: Errand | None = None
    origin: Origin | None = None
    handles: tuple[socket.socket, ...] = ()
    connected: bool = False


_here = _Here()
resolver = Resolver()


def _connect(connection: HTTPConnection) -> socket.socket:
    """Connect to an address of the host that was checked, not to whatever a second look-up would say."""
    origin, errand = _here.origin, _here.errand
    asked = (connection.host.strip("[]"), connection.port)
    if origin is None or errand is None or asked != (origin.host.strip("[]"), origin.port):
        raise Failed("not-permitted")
    try:
        numbers = resolver.addresses(origin, errand.deadline)
    except NotPermitted:
        raise Failed("address-not-permitted") from None
    for number in numbers:
        if not errand.deadline.passed:
            with suppress(OSError):
                made = socket.create_connection((number, origin.port), errand.deadline.remaining())
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return made
    raise OSError("no address of the host can be reached")


class _Watched:
    """What both kinds of connection do: connect to the checked address, and be known to the errand."""

    sock: socket.socket | None

    def _new_conn(self) -> socket.socket:
        made = _connect(self)  # type: ignore[arg-type]
        _here.connected = True
        try:
            _watch(made)
        except OSError:
            made.close()
            raise
        return made

    def request(self, *args: Any, **options: Any) -> None:
        if self.sock is not None:
            _watch(self.sock)
        super().request(*args, **options)  # type: ignore[misc]


def _watch(used: socket.socket) -> None:
    if _here.errand is not None:
        _here.handles += (_here.errand.use(used),)


class _PlainConnection(_Watched, HTTPConnection):
    """A connection without TLS."""


class _SecureConnection(_Watched, HTTPSConnection):
    """A connection with TLS; name and certificate are checked against the name, not the address."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    """An adapter of requests whose pools make our connections, with authorities that were read once."""

    def __init__(self, connections: int, authorities: str) -> None:
        self._authorities = authorities
        super().__init__(connections, connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, ssl_context=trusting(self._authorities))
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def cert_verify(self, conn: Any, url: str, verify: object, cert: object) -> None:  # noqa: ARG002 - requests' signature
        """Ask for a certificate always; whom to trust stands in the context, and reading it anew takes 20 ms."""
        conn.cert_reqs, conn.ca_certs, conn.ca_cert_dir = "CERT_REQUIRED", None, None


@cache
def trusting(authorities: str) -> ssl.SSLContext:
    """Return TLS settings: 1.2 or newer, the usual authorities, and those in a file. Raises SettingsError."""
    context = ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if authorities:
            context.load_verify_locations(cafile=authorities)
    except (OSError, ValueError):
        raise SettingsError(
            "CDS_CA_FILE is no file of certificates in PEM.",
            where="CDS_CA_FILE",
            slug="bad-setting",
            remedy="Name a file that can be read, with the certificates of the authorities to trust besides the usual.",
        ) from None
    return context


def new_session(connections: int, authorities: str = "") -> requests.Session:
    """Return a session without proxies, passwords or cookies of its own, that keeps its connections."""
    session = requests.Session()
    session.trust_env = False
    session.headers["User-Agent"] = "calcinosis-cds"
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = _Adapter(connections, authorities)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


@contextmanager
def asked(
    session: requests.Session,
    url: str,
    origin: Origin,
    errand: Errand,
    headers: Mapping[str, str],
    *,
    method: str = "GET",
    form: Mapping[str, str] | None = None,
    patience: float = math.inf,
) -> Iterator[requests.Response]:
    """
    Send one request and give the answer as it begins, whatever its status; it is read inside.

    ``url`` must lie under ``origin`` (the caller's business). ``patience`` is for how many seconds nothing may come.
    Raises Failed; the reason never quotes what came.
    """
    _here.errand, _here.origin, _here.handles, _here.connected = errand, origin, (), False
    sent, left = {**headers, "Accept-Encoding": "identity"}, min(max(errand.deadline.remaining(), 0.001), patience)
    try:
        with session.request(
            method, url, data=form, headers=sent, timeout=left, allow_redirects=False, stream=True
        ) as response:
            yield response
    except requests.exceptions.SSLError:
        raise Failed("too-late" if errand.deadline.passed else "tls") from None
    except requests.ConnectionError:
        # Nobody answers, or a kept connection was closed meanwhile: a second try may help. A server that took the
        # question and broke off has been asked.
        raise Failed("too-late" if errand.deadline.passed else "unreachable", again=not _here.connected) from None
    except _BROKEN:
        raise Failed("too-late" if errand.deadline.passed else "broken-off") from None
    finally:
        _leave(errand)


def fetch(
    session: requests.Session,
    url: str,
    origin: Origin,
    errand: Errand,
    headers: Mapping[str, str],
    *,
    limit: int,
    is_type: Callable[[str], object] = bool,
    form: Mapping[str, str] | None = None,
) -> bytes:
    """
    Read one answer. ``is_type`` says whether a Content-Type is one of those expected; a ``form`` is posted.

    ``url`` must lie under ``origin`` (the caller's business). Raises Failed; the reason never quotes what came.
    """
    method = "GET" if form is None else "POST"
    with asked(session, url, origin, errand, headers, method=method, form=form) as response:
        _check(response, is_type)
        return b"".join(pieces(response, errand, limit))


def _leave(errand: Errand) -> None:
    for handle in _here.handles:
        errand.leave(handle)
    _here.errand, _here.origin, _here.handles = None, None, ()


_KNOWN = re.compile(r"[45][0-9][0-9]")


def _check(response: requests.Response, is_type: Callable[[str], object]) -> None:
    status = response.status_code
    if 300 <= status < 400:
        raise Failed("redirect")
    if status != 200:
        # Where the server says how long it wants to be left alone, it is left alone.
        again = status == 503 and "Retry-After" not in response.headers
        raise Failed(f"status-{status}" if _KNOWN.fullmatch(str(status)) else "status-odd", again=again)
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Failed("compressed")
    if not is_type(response.headers.get("Content-Type", "unknown")):
        raise Failed("not-fhir-json")


def pieces(response: requests.Response, errand: Errand, limit: int) -> Iterator[bytes]:
    """Yield the body of an answer as it comes. Raises Failed where it is too large, too late, or not all of it came."""
    size = 0
    while piece := response.raw.read1(_PIECE, decode_content=False):
        size += len(piece)
        if size > limit:
            raise Failed("too-large")
        errand.take(len(piece))
        yield piece
    expected = response.headers.get("Content-Length", "")
    if expected.isdecimal() and int(expected) != size and "Transfer-Encoding" not in response.headers:
        raise Failed("broken-off")
