"""The door: who may call, asked on both roads, and answered in one way."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any

import msgspec

from cds_service.adapters.auth import KeysUnavailable, Refused, Verifier
from cds_service.errors import NotAuthenticated, Unavailable
from cds_service.protocol.caller import ANYONE, Caller
from cds_service.protocol.profile import STANDARD, Profile

# Where the door leaves how it decided, so that a token is not used twice for one call. A client cannot set it:
# whatever it sends as a header is called HTTP_ something.
DECIDED = "calcinosis_cds.caller"
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxy(msgspec.Struct, frozen=True):
    """The proxy in front: from which addresses it calls, and in which header it names the client's certificate."""

    networks: tuple[Network, ...] = ()
    header: str = ""

    def trusts(self, address: str) -> bool:
        """Say whether an address is that of the proxy, so that what it says of its client is believed."""
        with suppress(ValueError):
            found = ipaddress.ip_address(address)
            caller = getattr(found, "ipv4_mapped", None) or found
            return any(caller in one for one in self.networks)
        return False

    def certificate(self, environ: Mapping[str, Any]) -> str:
        """Return the subject of the client's certificate as the proxy saw it; "" from any other address."""
        if self.header and self.trusts(environ.get("REMOTE_ADDR", "")):
            return str(environ.get(f"HTTP_{self.header.upper().replace('-', '_')}", ""))
        return ""


class Door:
    """
    Lets callers in.

    Without a verifier everybody may come (``open_to_all``) or nobody: CDS_AUTH=jwt without issuers trusts no one.
    ``public_url`` is the address under which clients know the service: a token must have been made for it.
    """

    def __init__(
        self,
        verifier: Verifier | None = None,
        *,
        open_to_all: bool = False,
        public_url: str = "",
        profiles: Mapping[str, Profile] | None = None,
        proxy: Proxy = Proxy(),  # noqa: B008 - immutable
    ) -> None:
        self.verifier, self.open_to_all, self._public_url = verifier, open_to_all, public_url.rstrip("/")
        self._profiles, self.proxy = profiles or {}, proxy

    def admit(self, path: str, environ: MutableMapping[str, Any]) -> Caller:
        """
        Return who calls an address of ours. Raises NotAuthenticated; Unavailable where an issuer's keys are missing.

        A token for a service is also good for its feedback (SECURITY.md 1). Who was let in is let in once, whichever
        roads the call takes; a refusal ends it, and is not kept, since it would hold the call and its body.
        """
        if self.open_to_all:
            return ANYONE
        known: Caller | None = environ.get(DECIDED)
        if known is None:
            known = environ[DECIDED] = self._decide(path, environ)
        return known

    def _decide(self, path: str, environ: Mapping[str, Any]) -> Caller:
        if self.verifier is None:
            raise NotAuthenticated("no-issuers")
        scheme, _, token = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise NotAuthenticated("no-token")
        certificate = self.proxy.certificate(environ)
        try:
            issuer, tenant = self.verifier.verify(token.strip(" "), self._audiences(path), certificate)
        except Refused as refused:
            raise NotAuthenticated(refused.reason) from None
        except KeysUnavailable:
            raise Unavailable("The keys of the client cannot be had now.", slug="keys-unavailable") from None
        return Caller(issuer.iss, tenant, self._profiles.get(issuer.profile, STANDARD), issuer.fhir)

    def _audiences(self, path: str) -> tuple[str, ...]:
        """Return the addresses that a token may be for; where nobody told us our own, only those of the issuer."""
        address = f"{self._public_url}{path}"
        return (address, address.removesuffix("/feedback")) if self._public_url else ()
