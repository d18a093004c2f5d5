"""The door: who may call, asked on both roads, and answered in one way."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from cds_service.adapters.auth import Refused, Verifier
from cds_service.adapters.auth.keys import KeysUnavailable
from cds_service.errors import NotAuthenticated, Unavailable
from cds_service.protocol.caller import ANYONE, Caller
from cds_service.protocol.profile import STANDARD, Profile

# Where the short road leaves the caller it has let in, so that a token is not used twice for one call. A client cannot
# set it: whatever it sends as a header is called HTTP_ something.
ADMITTED = "calcinosis_cds.caller"


class Proxy(msgspec.Struct, frozen=True):
    """The proxy in front: from which addresses it calls, and in which header it names the client's certificate."""

    addresses: tuple[str, ...] = ()
    header: str = ""

    def certificate(self, environ: Mapping[str, Any]) -> str:
        """Return the subject of the client's certificate as the proxy saw it; "" from any other address."""
        with suppress(ValueError):
            caller = ipaddress.ip_address(environ.get("REMOTE_ADDR", ""))
            if any(caller in ipaddress.ip_network(one) for one in self.addresses) and self.header:
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
        self._profiles, self._proxy = profiles or {}, proxy

    def admit(self, path: str, environ: Mapping[str, Any]) -> Caller:
        """
        Return who calls an address of ours. Raises NotAuthenticated; Unavailable where an issuer's keys are missing.

        A token for a service is also good for its feedback (SECURITY.md 1).
        """
        if self.open_to_all:
            return ANYONE
        admitted: Caller | None = environ.get(ADMITTED)
        if admitted is not None:
            return admitted
        if self.verifier is None:
            raise NotAuthenticated("no-issuers")
        scheme, _, token = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise NotAuthenticated("no-token")
        return self._caller(token.strip(), path, environ)

    def _caller(self, token: str, path: str, environ: Mapping[str, Any]) -> Caller:
        address = f"{self._public_url}{path}"
        if self.verifier is None:
            raise NotAuthenticated("no-issuers")
        try:
            issuer, tenant = self.verifier.verify(token, (address, address.removesuffix("/feedback")))
        except Refused as refused:
            raise NotAuthenticated(refused.reason) from None
        except KeysUnavailable:
            raise Unavailable("The keys of the client cannot be had now.", slug="keys-unavailable") from None
        if issuer.certificate and issuer.certificate != self._proxy.certificate(environ):
            raise NotAuthenticated("certificate")
        return Caller(issuer.iss, tenant, self._profiles.get(issuer.profile, STANDARD))
