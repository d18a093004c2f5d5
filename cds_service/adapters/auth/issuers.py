"""Who may call: the file of accepted issuers, read strictly once at start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cds_service.adapters.addresses import number_of, parse
from cds_service.adapters.auth.keys import ALGORITHMS, Key, location, usable
from cds_service.errors import ContentError, SettingsError
from cds_service.schemas import strict_yaml

_KNOWN = ("iss", "jku", "keys", "tenants", "audiences", "algorithms", "profile", "certificate", "fhir", "name")
# In a list of tenants: whatever the token says, for an issuer whose tenants all are ours.
ANY_TENANT = "*"


class Issuer(msgspec.Struct, frozen=True):
    """
    One accepted client: exactly this ``iss``, with keys from exactly this ``jku`` or given here.

    ``tenants`` are the tenants that are accepted (none: only tokens without a tenant), ``audiences`` further values
    of ``aud``; ``certificate`` is the subject of the client certificate that the proxy must have seen ("" asks for
    none); ``fhir`` are the FHIR servers that its calls may name (none: all that the service may contact).
    """

    iss: str
    jku: str = ""
    keys: tuple[Key, ...] = ()
    tenants: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ALGORITHMS
    profile: str = "standard"
    certificate: str = ""
    fhir: tuple[str, ...] = ()
    name: str = ""


class Issuers:
    """All accepted issuers; the same ``iss`` may stand with several ``jku`` (a hospital that moves)."""

    def __init__(self, entries: Iterable[Issuer] = ()) -> None:
        self.entries = tuple(entries)

    def find(self, iss: str, jku: str) -> list[Issuer]:
        """
        Return the entries that a token may be of.

        A ``jku`` in the token only chooses among those listed, it is never fetched; where the keys were given to us,
        it says nothing.
        """
        return [one for one in self.entries if one.iss == iss and (not jku or not one.jku or one.jku == jku)]

    @property
    def key_addresses(self) -> list[str]:
        """The addresses that keys are fetched from."""
        return sorted({one.jku for one in self.entries if one.jku})


def read_issuers(path: Path) -> Issuers:
    """Read the file that ``CDS_ISSUERS`` names (YAML or JSON). Raises SettingsError with file and entry."""
    try:
        document = strict_yaml.read(path, shown_as=path.name)
    except (ContentError, OSError, UnicodeError) as failure:
        said = failure.what if isinstance(failure, ContentError) else type(failure).__name__
        raise _bad(f"The file of issuers cannot be read: {said}", path.name) from None
    entries = document.get("issuers")
    if set(document) != {"issuers"} or not isinstance(entries, list) or not entries:
        raise _bad("The file of issuers must hold issuers: and a list with at least one entry.", path.name)
    issuers = Issuers([_issuer(entry, f"{path.name}, issuer {number}") for number, entry in enumerate(entries, 1)])
    pairs = [(one.iss, one.jku) for one in issuers.entries if one.jku]
    if len(set(pairs)) < len(pairs):
        raise _bad("The same pair of iss and jku stands twice.", path.name)
    return issuers


def _issuer(entry: Any, where: str) -> Issuer:
    if not isinstance(entry, Mapping):
        raise _bad("An issuer must be a mapping with iss and jku.", where)
    if unknown := sorted(set(entry) - set(_KNOWN)):
        raise _bad(f'"{unknown[0]}" is not a member of an issuer ({", ".join(_KNOWN)}).', where)
    iss, jku = _text(entry, "iss", where), _text(entry, "jku", where)
    if not iss:
        raise _bad("An issuer needs iss.", where)
    keys = _keys(entry, where)
    if bool(jku) == bool(keys):
        raise _bad("An issuer needs jku, or keys, and not both.", where)
    if jku:
        _check_address(jku, where)
    return Issuer(
        iss,
        jku,
        keys,
        _texts(entry, "tenants", where),
        _texts(entry, "audiences", where),
        _algorithms(entry, where),
        _text(entry, "profile", where) or "standard",
        _text(entry, "certificate", where),
        _servers(entry, where),
        _text(entry, "name", where),
    )


def _algorithms(entry: Mapping[str, Any], where: str) -> tuple[str, ...]:
    named = _texts(entry, "algorithms", where) or ALGORITHMS
    if odd := sorted(set(named) - set(ALGORITHMS)):
        raise _bad(f'The algorithm "{odd[0]}" is not accepted; these are: {", ".join(ALGORITHMS)}.', where)
    return named


def _servers(entry: Mapping[str, Any], where: str) -> tuple[str, ...]:
    listed = _texts(entry, "fhir", where)
    if not all(parse(url) for url in listed) or (not listed and "fhir" in entry):
        raise _bad("fhir must be a list of base URLs of FHIR servers, as in CDS_FHIR_ALLOW.", where)
    return listed


def _keys(entry: Mapping[str, Any], where: str) -> tuple[Key, ...]:
    given = entry.get("keys")
    given = given.get("keys") if isinstance(given, Mapping) else given
    if given is None:
        return ()
    if not isinstance(given, list) or not given:
        raise _bad("keys must be a list of JSON Web Keys, or a key set.", where)
    if any(isinstance(one, Mapping) and ("d" in one or "k" in one) for one in given):
        raise _bad("keys holds a private or secret key: it belongs to the client alone. Have it replaced.", where)
    keys = [usable(one) for one in given]
    if None in keys:
        raise _bad(
            f"Key {keys.index(None) + 1} cannot be used: it needs kid, kty EC (P-256, P-384, P-521) or RSA of at least "
            "2,048 bits, and must be meant for signatures.",
            where,
        )
    return tuple(key for key in keys if key is not None)


def _text(entry: Mapping[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if value is not None and not (isinstance(value, str) and value):
        raise _bad(f"{key} must be a text.", where)
    return value or ""


def _texts(entry: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = entry.get(key)
    found = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
        raise _bad(f"{key} must be a list of texts.", where)
    return tuple(found)


def _check_address(jku: str, where: str) -> None:
    place = location(jku)
    number = number_of(place.host) if place else None
    here = place is not None and (place.host == "localhost" or (number is not None and number.is_loopback))
    if place is None or (place.scheme != "https" and not here):
        raise _bad("jku must be an https address (http on this machine only).", where)


def _bad(what: str, where: str) -> SettingsError:
    return SettingsError(what, where=f"CDS_ISSUERS {where}", slug="bad-issuers", remedy="Its shape: docs/operate.md.")
