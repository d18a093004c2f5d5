"""Code systems: one short name for the many ways in which records spell the same system."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec


class Coding(msgspec.Struct, frozen=True, gc=False):
    """A code from a code system, as FHIR writes it. ``system`` is a URI."""

    system: str | None = None
    code: str | None = None
    display: str | None = None


class CodeSystems:
    """
    The code systems that concepts are written in, found by any spelling of their URI.

    Upper case, a trailing slash, https for http and the OID form all mean the same system
    (seen in real records: RELIABILITY.md section 4).
    """

    def __init__(self, uris: Mapping[str, str], aliases: Mapping[str, Iterable[str]]) -> None:
        self._uris = dict(uris)
        self._names = {_folded(uri): name for name, uri in uris.items()}
        for name, spellings in aliases.items():
            self._names.update((_folded(spelling), name) for spelling in spellings)

    def name(self, uri: str | None) -> str | None:
        """Return the short name of a system ("LOINC"), or None where it is not one of ours."""
        if uri is None:
            return None
        found = self._names.get(uri)
        return found or self._names.get(_folded(uri))

    def uri(self, name: str) -> str:
        """Return the canonical URI that we write ourselves."""
        return self._uris[name]

    def names(self) -> list[str]:
        """List the short names of all systems."""
        return sorted(self._uris)

    def with_aliases(self, aliases: Mapping[str, str]) -> CodeSystems:
        """Add a site's own system URIs (URI to short name), for records that use local system names."""
        widened = CodeSystems(self._uris, {})
        widened._names = self._names | {_folded(uri): name for uri, name in aliases.items()}
        return widened


def _folded(uri: str) -> str:
    plain = uri.strip().casefold().removesuffix("/")
    return "http://" + plain.removeprefix("https://") if plain.startswith("https://") else plain


def icd_key(code: str) -> str:
    """Return an ICD code without its dot: some records leave the dot out (MIMIC does)."""
    return code.replace(".", "").strip().upper()


def prefixes(code: str) -> Iterable[str]:
    """Yield a code and all its beginnings of three characters or more, longest first: its ICD or ATC blocks."""
    return (code[:length] for length in range(len(code), 2, -1))
