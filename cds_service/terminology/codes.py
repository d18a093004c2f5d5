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

    def with_systems(self, uris: Iterable[str]) -> CodeSystems:
        """Add code systems of a site that are none of ours: the URI is their name too."""
        given = tuple(uris)
        widened = CodeSystems(self._uris | {uri: uri for uri in given}, {})
        widened._names = self._names | {_folded(uri): uri for uri in given}
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


# Multiplication in the dihedral group of order ten, of which the check digit of SNOMED CT is made (Verhoeff).
_TURN = [
    [(a + b) % 5 + 5 * (b // 5) if a < 5 else (a - b) % 5 + 5 * (1 - b // 5) for b in range(10)] for a in range(10)
]
_FLIP = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def check_digit_holds(system: str, code: str) -> bool:
    """Say whether a code is not mistyped, as far as its system has a check digit (SNOMED CT and LOINC have)."""
    if system == "SNOMED CT":
        return code.isascii() and code.isdecimal() and _verhoeff(code)
    if system == "LOINC":
        body, dash, check = code.partition("-")
        return bool(dash) and code.isascii() and body.isdecimal() and check.isdecimal() and _luhn(body) == int(check)
    return True


def _verhoeff(code: str) -> bool:
    check = 0
    for place, digit in enumerate(reversed(code)):
        value = int(digit)
        for _ in range(place % 8):
            value = _FLIP[value]
        check = _TURN[check][value]
    return check == 0


def _luhn(body: str) -> int:
    """Return the check digit of a LOINC number: from the right, every other digit is doubled."""
    total = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(reversed(body)))
    return (10 - total % 10) % 10
