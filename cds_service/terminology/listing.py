"""Every code that stands behind a concept, with where its name was read: what an auditor asks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from cds_service.schemas import strict_yaml
from cds_service.terminology import products
from cds_service.terminology.book import Terminology
from cds_service.terminology.site import Addition

FILES = ("labs", "diagnoses", "procedures", "medications")


class Listed(msgspec.Struct, frozen=True):
    """
    One code of a concept, or of an order that cards may suggest.

    ``how`` is "code", "block", "class" (ATC, by prefix), "product", "order" (nothing is read by it), "generic" (it
    counts only with wording that confirms it), "unverified" (it never counts) or "site".
    """

    concept: str
    kind: str
    system: str
    code: str
    display: str
    verified: str
    how: str
    route: str = ""
    ingredients: int = 1

    @property
    def doubtful(self) -> bool:
        """Say whether nobody has read the name of the code itself."""
        return self.how == "unverified" or self.verified.startswith("xref")


def listed(folder: Path, words: Terminology, table: Path | None = None) -> list[Listed]:
    """List every code of a content folder, concept by concept; ``table`` is a site's own table of products."""
    found = [one for name in FILES for one in _of_file(strict_yaml.read(folder / f"{name}.yaml"))]
    found += map(_product, products.read(table or folder / products.FILE))
    found += (_added(one, words) for one in words.additions)
    order = {name: number for number, name in enumerate((*words.analytes, *words.concepts))}
    found.sort(key=lambda one: order[one.concept])
    return found + list(_orders(words))


def _of_file(document: strict_yaml.Mapping) -> Iterator[Listed]:
    kind = document["kind"]
    for concept, entry in document["concepts"].items():
        for row in (*entry.get("codes", ()), *entry.get("ingredients", ())):
            read_in = row["verified"] or "nobody"
            yield Listed(concept, kind, row["system"], row["code"], row["display"], read_in, _how(row))
        for row in entry.get("atc", ()):
            yield Listed(concept, kind, "ATC", row["code"], row["display"], row["verified"], "class")
        for row in entry.get("blocks", ()):
            # Every prefix was looked up in the tabular list (icd10cm_blocks.json).
            read_in = f"ICD-10-CM 2026-04, {row['billable']} billable codes"
            how = "generic" if row.get("generic") else "block"
            yield Listed(concept, kind, "ICD-10-CM", row["prefix"], row["title"], read_in, how)


def _how(row: dict[str, Any]) -> str:
    if row.get("unverified"):
        return "unverified"
    return "generic" if row.get("generic") else "code"


def _product(one: products.Product) -> Listed:
    return Listed(
        one.concept, "medication", "RxNorm", one.rxcui, one.name, one.source, "product", one.route, one.ingredients
    )


def _added(one: Addition, words: Terminology) -> Listed:
    kind = words.kind(one.concept) or ""
    return Listed(
        one.concept, kind, one.system, one.code, one.display, one.verified, "site", one.route, one.ingredients
    )


def _orders(words: Terminology) -> Iterator[Listed]:
    for one in words.orders.values():
        yield Listed(one.id, "order", one.system, one.code, one.display, one.verified, "order")
