"""Who may call: the file of accepted issuers, read strictly once at start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from cds_service.errors import ContentError, SettingsError
from cds_service.schemas import strict_yaml

# Asymmetric signatures only (CDS Hooks 2.0.1, "Trusting CDS Clients"): never none, never HS*.
ALGORITHMS = ("ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_KNOWN = {"iss", "jku", "keys", "tenants", "audiences", "algorithms", "profile", "certificate", "name"}


class Issuer(msgspec.Struct, frozen=True):
    """
    One accepted client: exactly this ``iss``, with keys from exactly this ``jku`` or given here.

    ``tenants`` and ``audiences`` are further values that are accepted; ``certificate`` is the subject of the client
    certificate that the proxy must have seen ("" asks for none).
    """

    iss: str
    jku: str = ""
    keys: tuple[dict[str, Any], ...] = ()
    tenants: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ALGORITHMS
    profile: str = "standard"
    certificate: str = ""
    name: str = ""


class Issuers:
    """All accepted issuers; the same ``iss`` may stand with several ``jku`` (a hospital that moves)."""

    def __init__(self, entries: Iterable[Issuer] = ()) -> None:
        self.entries = tuple(entries)

    def find(self, iss: str, jku: str) -> Issuer | None:
        """Return the entry for a token; a ``jku`` in the token only chooses among those listed, it is never fetched."""
        return next((one for one in self.entries if one.iss == iss and (not jku or one.jku == jku)), None)


def read_issuers(path: Path) -> Issuers:
    """Read the file that ``CDS_ISSUERS`` names (YAML or JSON). Raises SettingsError with file and entry."""
    try:
        document = strict_yaml.read(path, shown_as=path.name)
    except (ContentError, OSError) as failure:
        raise SettingsError(
            f"The file of issuers cannot be read: {getattr(failure, 'what', type(failure).__name__)}",
            where="CDS_ISSUERS",
            slug="bad-issuers",
            remedy="See docs/operate.md for its shape.",
        ) from None
    entries = document.get("issuers")
    if not isinstance(entries, list) or not entries:
        raise _bad("It must hold issuers: and a list with at least one entry.", path, 0)
    return Issuers(_issuer(entry, path, number) for number, entry in enumerate(entries, 1))


def _issuer(entry: Any, path: Path, number: int) -> Issuer:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("iss"), str) or not entry["iss"]:
        raise _bad("An issuer needs iss.", path, number)
    if unknown := sorted(set(entry) - _KNOWN):
        raise _bad(f'"{unknown[0]}" is not a member of an issuer ({", ".join(sorted(_KNOWN))}).', path, number)
    keys = entry.get("keys") or ()
    keys = keys.get("keys", ()) if isinstance(keys, Mapping) else keys
    jku = entry.get("jku") or ""
    if bool(jku) == bool(keys):
        raise _bad("An issuer needs jku, or keys, and not both.", path, number)
    if jku and not _fetchable(jku):
        raise _bad("jku must be an https address (http on this machine only).", path, number)
    algorithms = _texts(entry, "algorithms", path, number) or ALGORITHMS
    if odd := sorted(set(algorithms) - set(ALGORITHMS)):
        raise _bad(f'The algorithm "{odd[0]}" is not accepted; these are: {", ".join(ALGORITHMS)}.', path, number)
    return Issuer(
        entry["iss"],
        jku,
        tuple(dict(key) for key in keys),
        _texts(entry, "tenants", path, number),
        _texts(entry, "audiences", path, number),
        algorithms,
        str(entry.get("profile") or "standard"),
        str(entry.get("certificate") or ""),
        str(entry.get("name") or ""),
    )


def _texts(entry: Mapping[str, Any], key: str, path: Path, number: int) -> tuple[str, ...]:
    value = entry.get(key) or ()
    found = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(one, str) and one for one in found):
        raise _bad(f"{key} must be a list of texts.", path, number)
    return found


def _fetchable(url: str) -> bool:
    parts = urlsplit(url)
    inside = parts.scheme == "http" and parts.hostname in _LOOPBACK
    return bool(parts.hostname) and (parts.scheme == "https" or inside) and "@" not in parts.netloc


def _bad(what: str, path: Path, number: int) -> SettingsError:
    where = f"{path.name}, issuer {number}" if number else path.name
    return SettingsError(what, where=where, slug="bad-issuers", remedy="See docs/operate.md for its shape.")
