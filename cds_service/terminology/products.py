"""The table of medication products: which RxNorm product holds which medication, and by which route it is given."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

import msgspec

from cds_service.errors import ContentError

FILE = "medication-products.csv"
PACKS = ("GPCK", "BPCK")
# KNOWLEDGE 3.1: the route is read off the dose form in the RxNorm name. The first that fits counts.
_ROUTES = tuple(
    (route, re.compile(rf"\b(?:{words})", re.IGNORECASE))
    for route, words in (
        ("other", r"irrigation|intraperitoneal|dialysis"),
        (
            "local",
            r"topical|ophthalmic|otic\b|nasal|inhal|vaginal|mucosal|mouthwash|transdermal|(?:medicated )?shampoo",
        ),
        ("local", r"intravitreal|urethral|intrauterine"),
        ("rectal", r"rectal|enema"),
        (
            "injection",
            r"inject|auto-inject|(?:prefilled )?syringe|cartridge|drug implant|intraven|intramusc|subcutaneous",
        ),
        ("oral", r"oral|chew|sublingual|buccal"),
    )
)
# One part of a pack: "21 (prednisone 5 MG Oral Tablet)", "1 (118 ML) (hydrocortisone ...)".
_PART = re.compile(r"(?:^|/ )\d+ (?:\([\d.]+ \w+\) )?\((?P<drug>.*?)\)(?= /|\s*$)")
COLUMNS = ["concept", "rxcui", "tty", "route", "ingredients", "name", "source"]


class Product(msgspec.Struct, frozen=True, gc=False):
    """A product of a medication concept. ``route`` is read off the dose form; ``source`` is where it was read."""

    concept: str
    rxcui: str
    tty: str
    route: str
    ingredients: int
    name: str
    source: str


def read(path: Path) -> Iterator[Product]:
    """Read a table of products. Raises ContentError with file and line."""
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            yield from _rows(csv.reader(lines), path.name)
    except (OSError, UnicodeDecodeError) as failure:
        raise ContentError("The table of products cannot be read.", where=path.name, why=str(failure)) from None


def _rows(rows: Iterator[list[str]], file: str) -> Iterator[Product]:
    if next(rows, None) != COLUMNS:
        raise ContentError(
            "This is no table of products.",
            where=f"{file}:1",
            slug="wrong-columns",
            remedy=f"Its columns are {', '.join(COLUMNS)}; cds-service concepts import-rxnorm writes one.",
        )
    for number, row in enumerate(rows, 2):
        try:
            concept, rxcui, tty, route, ingredients, name, source = row
            product = Product(concept, rxcui, tty, route, int(ingredients or 1), name, source)
            yield _opened(product) if tty in PACKS and not route else product
        except ValueError:
            raise ContentError("The row is no product.", where=f"{file}:{number}", slug="bad-product") from None


def route_of(form: str) -> str:
    """Return the route that a dose form means: "Oral Tablet" is by mouth; "other" where it says none that we know."""
    return next((route for route, words in _ROUTES if words.search(form)), "other")


def _opened(pack: Product) -> Product:
    """Give a pack without a route what its contents have: a kit of multivitamins is no calcium order."""
    inside = pack.name[pack.name.find("{") + 1 : pack.name.rfind("}")].strip()
    parts = [found["drug"].partition(" [")[0] for found in _PART.finditer(inside)]
    routes = {route_of(part) for part in parts}
    return msgspec.structs.replace(
        pack,
        route=routes.pop() if len(routes) == 1 else "mixed",
        ingredients=max((part.count(" / ") + 1 for part in parts), default=1),
    )


def write(products: Iterable[Product], lines: TextIO) -> None:
    """Write a table of products, in order, as ``read`` reads it."""
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(COLUMNS)
    for one in sorted(products, key=order):
        table.writerow([getattr(one, column) for column in COLUMNS])


def order(product: Product) -> tuple[str, int, str]:
    """Return what products are sorted by: their concept, then their number."""
    return product.concept, int(product.rxcui), product.rxcui
