"""Which FHIR servers may be contacted: an exact list, compared before any library looks at an address."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from cds_service.adapters.addresses import Origin, may_connect, number_of, parse
from cds_service.errors import SettingsError

_INSIDE = "private"


class Origins:
    """The FHIR servers that the settings allow."""

    def __init__(self, allowed: Iterable[Origin] = ()) -> None:
        self.allowed = tuple(allowed)

    @classmethod
    def read(cls, setting: str, *, plain_http: bool = False) -> Origins:
        """
        Read ``CDS_FHIR_ALLOW``: base URLs separated by commas, each with `` private`` behind it if it may be inside.

        A host that is a number, ``localhost`` or a name without a dot is inside by its name. Without TLS only such a
        host may be contacted, unless ``plain_http``: tokens and records would be readable on the way. Raises
        SettingsError.
        """
        return cls([_entry(entry, plain_http=plain_http) for entry in setting.split(",") if entry.strip()])

    def find(self, url: str) -> Origin | None:
        """Return the origin of a ``fhirServer`` if it may be contacted, else None."""
        asked = parse(url)
        entry = next((one for one in self.allowed if asked and one.covers(asked)), None)
        return msgspec.structs.replace(asked, private=entry.private) if asked and entry else None

    @property
    def plain(self) -> list[str]:
        """Return the servers that are contacted without TLS beyond this machine and its network."""
        return [one.url for one in self.allowed if one.scheme == "http" and not _is_near(one)]


def _entry(text: str, *, plain_http: bool) -> Origin:
    url, _, word = text.strip().partition(" ")
    origin = parse(url)
    number = number_of(origin.host) if origin else None
    if origin is None or word.strip() not in ("", _INSIDE) or (number and not may_connect(number, private=True)):
        raise _bad(
            "CDS_FHIR_ALLOW has an entry that is no base URL of a FHIR server.",
            "Write https://fhir.hospital.example/r4, several separated by commas; "
            'add " private" behind one whose name leads to an inner network.',
        )
    if origin.scheme == "http" and not plain_http and not _is_near(origin):
        raise _bad(
            "CDS_FHIR_ALLOW has an http:// entry for another network: tokens and records would be readable on the way.",
            "Use https://. For a test without patients' data set CDS_FHIR_PLAIN_HTTP=1.",
        )
    return msgspec.structs.replace(origin, private=word.strip() == _INSIDE or origin.inside)


def _is_near(origin: Origin) -> bool:
    """Say whether a host is on this machine or in its network by its name: no public number, no name with a dot."""
    number = number_of(origin.host)
    return origin.inside and (number is None or not may_connect(number, private=False))


def _bad(what: str, remedy: str) -> SettingsError:
    return SettingsError(what, where="CDS_FHIR_ALLOW", slug="bad-setting", remedy=remedy)
