"""FHIR ValueSets as a site keeps them: the codes of an expansion, or those that the definition lists one by one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from cds_service import decoding
from cds_service.errors import ContentError
from cds_service.terminology.codes import Coding

MAX_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 20
Json = dict[str, Any]


class ValueSet(msgspec.Struct, frozen=True):
    """One ValueSet file: its text, and what it holds. ``where`` names it in errors."""

    where: str
    raw: bytes
    document: Json

    @property
    def url(self) -> str:
        """Return the canonical URL of the value set, without a version."""
        return str(self.document.get("url") or "").partition("|")[0]

    def place(self, code: str) -> str:
        """Return file and line of a code."""
        found = re.search(rb'"code"\s*:\s*' + re.escape(msgspec.json.encode(code)), self.raw)
        line = self.raw.count(b"\n", 0, found.start()) + 1 if found else 1
        return f"{self.where}:{line}"

    def fail(self, what: str, slug: str, remedy: str = "") -> ContentError:
        """Say what is wrong with this value set."""
        return ContentError(what, where=f"{self.where}:1", slug=slug, remedy=remedy)


def read(path: Path, where: str) -> ValueSet:
    """Read a file that must hold a FHIR ValueSet."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ContentError("The file is larger than 32 MB.", where=where, slug="too-large")
        raw = path.read_bytes()
    except OSError as failure:
        raise ContentError(
            "The file cannot be read.", where=where, why=failure.strerror or "", slug="unreadable"
        ) from None
    try:
        document = decoding.decode(raw, Json)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as failure:
        why = str(failure)
        raise ContentError("The file is not a JSON object.", where=f"{where}:1", why=why, slug="json") from None
    if document.get("resourceType") != "ValueSet":
        raise ContentError("The file holds no FHIR ValueSet.", where=f"{where}:1", slug="not-a-value-set")
    return ValueSet(where, raw, document)


def codings(one: ValueSet) -> list[Coding]:
    """
    Return the codes of a value set: of its expansion, else those its definition lists.

    Raises ContentError where the codes cannot be known without a terminology server: a part of a value set taken
    for the whole would leave patients out, and nobody would know.
    """
    found = _expanded(one) if "expansion" in one.document else _listed(one)
    if not found:
        raise one.fail("The ValueSet holds no codes.", "empty-value-set")
    return found


def _expanded(one: ValueSet) -> list[Coding]:
    expansion = one.document["expansion"]
    found = list(_contained(one, expansion, 0)) if isinstance(expansion, dict) else []
    total = expansion.get("total") if isinstance(expansion, dict) else None
    if isinstance(total, int) and total > sum(1 for _ in _contained(one, expansion, 0, every=True)):
        raise one.fail(
            f"The expansion is cut off: it holds {len(found)} of {total} codes.", "expansion-cut-off", _EXPAND
        )
    return found


def _contained(one: ValueSet, node: Json, depth: int, *, every: bool = False) -> Iterator[Coding]:
    """Yield the codes of an expansion, however they are nested; an abstract one is a heading, not a code."""
    if depth > MAX_DEPTH:
        raise one.fail("The expansion is nested too deeply.", "too-deep")
    for row in _rows(one, node, "contains"):
        if every or (row.get("code") and row.get("abstract") is not True):
            yield _coding(row.get("system"), row)
        yield from _contained(one, row, depth + 1, every=every)


def _listed(one: ValueSet) -> list[Coding]:
    compose = one.document.get("compose")
    if not isinstance(compose, dict):
        raise one.fail("The ValueSet has neither an expansion nor a definition.", "empty-value-set")
    left_out = {(row.system, row.code) for row in _enumerated(one, compose, "exclude")}
    return [row for row in _enumerated(one, compose, "include") if (row.system, row.code) not in left_out]


def _enumerated(one: ValueSet, compose: Json, key: str) -> Iterator[Coding]:
    for part in _rows(one, compose, key):
        if part.get("filter") or part.get("valueSet") or not part.get("concept"):
            raise one.fail(
                "The ValueSet is defined by a rule, not by a list of codes.", "value-set-not-expanded", _EXPAND
            )
        yield from (_coding(part.get("system"), row) for row in _rows(one, part, "concept"))


def _rows(one: ValueSet, node: Json, key: str) -> list[Json]:
    rows = node.get(key) or []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise one.fail(f'"{key}" must be a list of objects.', "wrong-shape")
    return rows


def _coding(system: Any, row: Json) -> Coding:
    return Coding(str(system or ""), str(row.get("code") or ""), str(row.get("display") or ""))


_EXPAND = 'Give its URL under value_sets and a terminology server under expand, then run "cds-service concepts expand".'
