"""Where an export may lead: the FHIR server that was named, and the hosts that were listed for its files and tokens."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import msgspec

from cds_service.adapters.addresses import Origin, parse
from cds_service.adapters.fhir import Origins
from cds_service.errors import SettingsError

_QUERY = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{0,8192}")  # printable, without quotes and backslashes
_OPERATION = re.compile(r"/\$[A-Za-z-]{1,64}\Z")


class Place(msgspec.Struct, frozen=True):
    """An address that may be contacted: ``url`` as it is asked for, ``origin`` as it is connected to."""

    url: str
    origin: Origin

    def is_at(self, other: Origin) -> bool:
        """Say whether it lies on the same host, at the same port."""
        return _host(self.origin) == _host(other)


class Places:
    """
    The addresses of one export.

    ``servers`` is CDS_FHIR_ALLOW, ``tokens`` CDS_SMART_SERVERS and ``files`` CDS_BULK_FILES. Raises SettingsError where
    the server that is to be exported from does not stand in the first.
    """

    def __init__(self, source: str, servers: Origins, tokens: str = "", files: str = "") -> None:
        base = _OPERATION.sub("", source.rstrip("/"))
        found = servers.find(base)
        if found is None:
            raise SettingsError(
                "This FHIR server may not be contacted.",
                where="CDS_FHIR_ALLOW",
                slug="not-permitted",
                remedy="Add its base URL to CDS_FHIR_ALLOW, exactly; see docs/operate.md.",
            )
        self.base, self.kick_off = found, Place(f"{found.url}/$export", found)
        self._tokens, self._files = _listed("CDS_SMART_SERVERS", tokens), _listed("CDS_BULK_FILES", files)

    @property
    def server(self) -> Origin:
        """The FHIR server itself, without a Group or kind of resource."""
        path = re.sub(r"/(?:Group/[^/]+|Patient)\Z", "", self.base.path)
        return msgspec.structs.replace(self.base, path=path)

    def token(self, url: str) -> Place | None:
        """Return where tokens are to be had, if that is on the server's own host or listed."""
        return self._place(url, self._tokens)

    def file(self, url: str) -> Place | None:
        """Return where a file, or how the export goes, is to be read: on the server's own host or a listed one."""
        return self._place(urljoin(f"{self.kick_off.url}", url) if url.startswith("/") else url, self._files)

    def _place(self, url: str, listed: tuple[Origin, ...]) -> Place | None:
        base, mark, query = url.partition("?")
        asked = parse(base)
        if asked is None or not _QUERY.fullmatch(query) or "#" in query:
            return None
        own = _host(asked) == _host(self.base)
        entry = self.base if own else next((one for one in listed if one.covers(asked)), None)
        if entry is None:
            return None
        slash = "/" if base.endswith("/") else ""
        return Place(f"{asked.url}{slash}{mark}{query}", msgspec.structs.replace(asked, private=entry.private))


def _host(origin: Origin) -> tuple[str, str, int]:
    return (origin.scheme, origin.host, origin.port)


def _listed(name: str, setting: str) -> tuple[Origin, ...]:
    try:
        return Origins.read(setting).allowed
    except SettingsError:
        raise SettingsError(
            f"{name} has an entry that is no base URL.",
            where=name,
            slug="bad-setting",
            remedy="Write https://files.hospital.example/bulk, several separated by commas.",
        ) from None
