"""
From the files of a RxNorm release to our table of medication products (KNOWLEDGE 3.1).

A release is read as two streams of rows, names (RXNCONSO) and relations (RXNREL); only what leads from a product to
its ingredients and its dose form is kept. A relation row reads "second RELA first": in ``855332|..|consists_of`` terms,
RXCUI2 is the product and RXCUI1 what it consists of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from cds_service.terminology.book import Terminology
from cds_service.terminology.products import PACKS, Product, order, route_of

Rows = Iterable[list[str]]
Numbers = dict[str, set[str]]
INGREDIENTS = ("IN", "PIN")
DRUGS = ("SCD", "SBD")
_KEPT = frozenset((*INGREDIENTS, *DRUGS, *PACKS, "BN", "DF"))
# Each relation that we follow, and the same one told from the other end.
_FORWARD = ("has_ingredient", "has_precise_ingredient", "consists_of", "tradename_of", "contains", "has_dose_form")
_BACKWARD = {
    "ingredient_of": "has_ingredient",
    "precise_ingredient_of": "has_precise_ingredient",
    "constitutes": "consists_of",
    "has_tradename": "tradename_of",
    "contained_in": "contains",
    "dose_form_of": "has_dose_form",
}
_FOLLOWED = frozenset((*_FORWARD, *_BACKWARD))
# What a component (SCDC) relates to; components themselves are not products, so their names are not kept.
_OF_COMPONENTS = ("has_ingredient", "has_precise_ingredient")


class Release(msgspec.Struct):
    """What of a release matters: names with their type (RXCUI to TTY and name), and relations by kind."""

    names: dict[str, tuple[str, str]]
    relations: dict[str, Numbers]

    def of(self, relation: str, number: str) -> set[str]:
        """Return what a concept relates to."""
        return self.relations[relation].get(number, set())

    def kind(self, number: str) -> str:
        """Return the type (TTY) of a concept, "" where the release does not have it."""
        return self.names.get(number, ("", ""))[0]


class Changes(msgspec.Struct, frozen=True):
    """How a new table differs from the one in force."""

    added: tuple[Product, ...]
    retired: tuple[Product, ...]
    changed: tuple[tuple[Product, Product], ...]


def read(names: Rows, relations: Rows) -> Release:
    """Read the rows of RXNCONSO.RRF and of RXNREL.RRF. What is suppressed or comes from another source is left out."""
    found = Release({}, {name: {} for name in _FORWARD})
    for row in names:
        if len(row) > 16 and row[11] == "RXNORM" and row[12] in _KEPT and row[16] in ("", "N"):
            found.names[row[0]] = (row[12], row[14])
    # A number stands in many rows: each is kept once.
    once: dict[str, str] = {}
    for row in relations:
        if len(row) > 10 and row[10] == "RXNORM" and row[0] and row[4] and row[7] in _FOLLOWED:
            _relate(found, once.setdefault(row[0], row[0]), row[7], once.setdefault(row[4], row[4]))
    return found


def _relate(found: Release, first: str, relation: str, second: str) -> None:
    if relation in _BACKWARD:
        first, relation, second = second, _BACKWARD[relation], first
    if relation in found.relations and (second in found.names or relation in _OF_COMPONENTS):
        found.relations[relation].setdefault(second, set()).add(first)


# --- ingredients -----------------------------------------------------------------------------------------------------


def ingredients_of(words: Terminology, release: Release) -> dict[str, dict[str, str]]:
    """
    Return, for each medication concept, the ingredients of the release that mean it, each with why it does.

    By the ingredient codes of the concept; and, where no code was verified, by an ingredient of exactly its name.
    """
    by_name = {name.casefold(): number for number, (kind, name) in release.names.items() if kind in INGREDIENTS}
    found: dict[str, dict[str, str]] = {}
    for concept in words.concepts.values():
        if concept.kind != "medication":
            continue
        codes = [code for system, code in words.codes[concept.id] if system == "RxNorm"]
        chosen = {code: "code" for code in codes if release.kind(code) in INGREDIENTS}
        for name in concept.text:
            number = by_name.get(name.casefold())
            if number and number not in codes:
                chosen[number] = f"name {name}"
        found[concept.id] = chosen
    return found


def _active(release: Release, drug: str) -> set[str]:
    """Return the ingredients (IN) of a clinical or branded drug, a component each."""
    own = {one for one in release.of("has_ingredient", drug) if release.kind(one) == "IN"}
    for generic in release.of("tradename_of", drug):
        own |= _active(release, generic) if release.kind(generic) == "SCD" else set()
    for component in release.of("consists_of", drug):
        own |= {one for one in release.of("has_ingredient", component) if release.kind(one) == "IN"}
    return own


def _precise(release: Release, drug: str) -> set[str]:
    """Return the salts and esters (PIN) that a drug names."""
    parts = {drug, *release.of("consists_of", drug)}
    for generic in release.of("tradename_of", drug):
        parts |= release.of("consists_of", generic)
    return {one for part in parts for one in release.of("has_precise_ingredient", part)}


def _form(release: Release, drug: str) -> str:
    """Return the dose form of a drug: as related, else its name, which ends with the form."""
    for one in (drug, *release.of("tradename_of", drug)):
        forms = sorted(release.names[form][1] for form in release.of("has_dose_form", one) if form in release.names)
        if forms:
            return forms[0]
    return release.names[drug][1].partition(" [")[0]


# --- products --------------------------------------------------------------------------------------------------------


class _Drug(msgspec.Struct, frozen=True):
    route: str
    active: frozenset[str]
    named: frozenset[str]


def products_of(words: Terminology, release: Release, source: str) -> list[Product]:
    """Return every product of every medication concept: drugs, branded drugs, packs and brand names."""
    drugs = {
        number: _Drug(
            route_of(_form(release, number)),
            frozenset(active := _active(release, number)),
            frozenset(active | _precise(release, number)),
        )
        for number, (kind, _) in release.names.items()
        if kind in DRUGS
    }
    whole = {**_each(drugs), **_packs(release, drugs), **_brands(release, drugs)}
    found = []
    for concept, chosen in ingredients_of(words, release).items():
        for number, parts in whole.items():
            having = [part for part in parts if not part.named.isdisjoint(chosen)]
            if having:
                found.append(_product(release, concept, number, having, source))
    return sorted(found, key=order)


def _each(drugs: Mapping[str, _Drug]) -> dict[str, list[_Drug]]:
    return {number: [drug] for number, drug in drugs.items()}


def _packs(release: Release, drugs: Mapping[str, _Drug]) -> dict[str, list[_Drug]]:
    """A pack is what it contains: a kit counts as its tablet does, whatever else is in the box."""
    packs = (number for number, (kind, _) in release.names.items() if kind in PACKS)
    return {pack: [drugs[one] for one in sorted(_contents(release, pack)) if one in drugs] for pack in packs}


def _contents(release: Release, pack: str) -> set[str]:
    own = release.of("contains", pack)
    return own or {one for generic in release.of("tradename_of", pack) for one in release.of("contains", generic)}


def _brands(release: Release, drugs: Mapping[str, _Drug]) -> dict[str, list[_Drug]]:
    """A brand name is every product that is sold under it."""
    found: dict[str, list[_Drug]] = {}
    for number, drug in sorted(drugs.items()):
        for brand in release.of("has_ingredient", number):
            if release.kind(brand) == "BN":
                found.setdefault(brand, []).append(drug)
    return found


def _product(release: Release, concept: str, number: str, having: list[_Drug], source: str) -> Product:
    kind, name = release.names[number]
    routes = {drug.route for drug in having}
    return Product(
        concept=concept,
        rxcui=number,
        tty=kind,
        route=routes.pop() if len(routes) == 1 else "mixed",
        ingredients=max(1, *(len(drug.active) for drug in having)),
        name=name,
        source=source,
    )


def changes(before: Iterable[Product], after: Iterable[Product]) -> Changes:
    """Compare two tables: a product is changed where its route or number of ingredients is another than before."""
    old, new = _keyed(before), _keyed(after)
    return Changes(
        added=tuple(one for key, one in new.items() if key not in old),
        retired=tuple(one for key, one in old.items() if key not in new),
        changed=tuple((old[key], one) for key, one in new.items() if key in old and _differs(old[key], one)),
    )


def _keyed(table: Iterable[Product]) -> dict[tuple[str, str], Product]:
    return {(one.concept, one.rxcui): one for one in table}


def _differs(one: Product, other: Product) -> bool:
    return (one.route, one.ingredients) != (other.route, other.ingredients)


def rows(lines: Iterable[str]) -> Iterator[list[str]]:
    """Split the lines of a RRF file."""
    return (line.rstrip("\r\n").split("|") for line in lines)
