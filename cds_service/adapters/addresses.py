"""Addresses of other servers: taken apart by one strict pattern, and looked up only where that is allowed."""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Callable

import msgspec

from cds_service.adapters.deadline import Deadline
from cds_service.protocol.urls import PORTS

# One spelling only: no user, no query, no fragment, no backslash, nothing beyond ASCII, no dot segments.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9]+(?:(?:\.|-+)[a-z0-9]+)*|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)*)/?"
)
_LONGEST = 2_000
# The last label of a name never looks like a number, or readers differ on whether it is one (WHATWG URL 4.3).
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")
# A translator of one's own network makes IPv4 addresses of these, inner ones too, though some say that they are global:
# local NAT64 (RFC 8215), and stateless translation (RFC 2765).
_TRANSLATED = (ipaddress.ip_network("64:ff9b:1::/48"), ipaddress.ip_network("::ffff:0:0:0/96"))
# Metadata services of clouds that are not link-local: Alibaba, Oracle, AWS (IPv6), Azure.
_METADATA = frozenset(
    ipaddress.ip_address(one) for one in ("100.100.100.200", "192.0.0.192", "fd00:ec2::254", "168.63.129.16")
)
Number = ipaddress.IPv4Address | ipaddress.IPv6Address


class NotPermitted(Exception):
    """A name leads only to addresses that it must not lead to."""


class Origin(msgspec.Struct, frozen=True):
    """A base URL taken apart; ``private`` says that the address of the host may be one of an inner network."""

    scheme: str
    host: str
    port: int
    path: str = ""
    private: bool = False

    def covers(self, other: Origin) -> bool:
        """Say whether another address lies at or below this one; a path ends at a slash, never within a name."""
        same = (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port)
        return same and (other.path == self.path or other.path.startswith(f"{self.path}/"))

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        shown = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{shown}{self.path}"

    @property
    def inside(self) -> bool:
        """Say whether the host is inside by its name: a number, ``localhost``, or a name without a dot."""
        return number_of(self.host) is not None or self.host == "localhost" or "." not in self.host


def parse(url: str) -> Origin | None:
    """Return a base URL taken apart; None where two readers may understand it differently."""
    if not url.isascii() or len(url) > _LONGEST:
        return None
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    found = _URL.fullmatch(f"{scheme.lower()}{mark}{host.lower()}{slash}{path}")
    if found is None:
        return None
    name, port = found["host"], int(found["port"] or PORTS[found["scheme"]])
    numeric = name[0] == "[" or _NUMERIC.fullmatch(name) is not None
    if not 0 < port < 65_536 or (numeric and number_of(name) is None):
        return None
    return Origin(found["scheme"], name, port, found["path"])


def number_of(host: str) -> Number | None:
    """Return the IP address that a host is written as; None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def may_connect(number: Number, *, private: bool) -> bool:
    """
    Say whether an address may be connected to.

    A name that was listed as public must not lead inside, not even for one connection (DNS rebinding); a cloud's
    metadata service is never a FHIR server. An IPv4 address inside an IPv6 one counts as itself.
    """
    mapped = getattr(number, "ipv4_mapped", None)
    return all(_may(one, private=private) for one in ([mapped] if mapped else [number, *_carried(number)]))


def _carried(number: Number) -> list[Number]:
    """Return the IPv4 addresses that a gateway would make of an IPv6 address."""
    if not isinstance(number, ipaddress.IPv6Address) or number.is_loopback or number.is_unspecified:
        return []
    carried: list[Number] = [number.sixtofour] if number.sixtofour else []
    carried += number.teredo or ()
    last = ipaddress.IPv4Address(int(number) & 0xFFFF_FFFF)
    # With a prefix of 48 bits the address stands further to the front (RFC 6052 2.2), and zeros at the end.
    if number in _NAT64 or number in _COMPATIBLE or (_is_translated(number) and int(last)):
        carried.append(last)
    return carried


def _is_translated(number: Number) -> bool:
    return any(number in network for network in _TRANSLATED)


def _may(number: Number, *, private: bool) -> bool:
    never = number.is_link_local or number.is_multicast or number.is_unspecified or number in _METADATA
    inside = not number.is_global or getattr(number, "is_site_local", False) or _is_translated(number)
    return not never and (private or not inside)


class _LookUp:
    """One question to the resolver, for all who wait for the answer."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.numbers: list[str] | None = None


class Resolver:
    """
    Looks up names within a deadline.

    The resolver of the system knows no deadline, so it is asked in a thread, and never twice at once for one name: a
    resolver that hangs costs one thread per host that was listed. Nothing is remembered: what was checked is what is
    connected to.
    """

    def __init__(self) -> None:
        self._asked: dict[tuple[str, int], _LookUp] = {}
        self._lock = threading.Lock()

    def addresses(self, origin: Origin, deadline: Deadline) -> list[str]:
        """Return the addresses to connect to. Raises OSError if there are none, NotPermitted if none is allowed."""
        known = number_of(origin.host)
        found = [str(known)] if known else self._looked_up(origin.host, origin.port, deadline)
        allowed = [one for one in found if (number := number_of(one)) and may_connect(number, private=origin.private)]
        if found and not allowed:
            raise NotPermitted
        return allowed

    def _looked_up(self, host: str, port: int, deadline: Deadline) -> list[str]:
        with self._lock:
            asked = self._asked.get((host, port))
            if asked is None:
                asked = _LookUp()
                _start(self._ask, host, port, asked)
                self._asked[host, port] = asked
        if not asked.done.wait(deadline.remaining()) or asked.numbers is None:
            raise OSError("the name of the host is not known")
        return asked.numbers

    def _ask(self, host: str, port: int, asked: _LookUp) -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            asked.numbers = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        except (OSError, UnicodeError):
            asked.numbers = None
        finally:
            with self._lock:
                self._asked.pop((host, port), None)
            asked.done.set()


def _start(work: Callable[..., None], *arguments: object) -> None:
    """Start a thread that nobody waits for at the end of the process."""
    try:
        threading.Thread(target=work, args=arguments, name="dns", daemon=True).start()
    except RuntimeError:
        raise OSError("no thread to look up a name") from None
