"""The terminology of one content folder, read once and then immutable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from cds_service.errors import ContentError
from cds_service.schemas import strict_yaml
from cds_service.terminology import products
from cds_service.terminology.codes import CodeSystems
from cds_service.terminology.concepts import Concept, Match, Order, OverrideReason, word_pattern
from cds_service.terminology.meaning import Index, Row
from cds_service.terminology.site import Addition
from cds_service.terminology.units import Analyte, UnitTable, factor


class Terminology(msgspec.Struct):
    """
    Every concept, code, unit and order that rules may name.

    ``only_with`` are diagnoses whose codes name a setting: each counts only beside one of those named here.
    """

    systems: CodeSystems
    units: UnitTable
    analytes: dict[str, Analyte]
    concepts: dict[str, Concept]
    groups: dict[str, tuple[str, ...]]
    group_names: dict[str, str]
    orders: dict[str, Order]
    override_reasons: dict[str, OverrideReason]
    indexes: dict[str, Index]
    codes: dict[str, tuple[tuple[str, str], ...]]
    additions: tuple[Addition, ...] = ()
    only_with: dict[str, tuple[str, ...]] = {}

    def queried(self, name: str, system: str) -> list[str]:
        """Return the codes to search a record for: those of one system, and whatever a site added, escaped."""
        own = [code for of, code in self.codes[name] if of == system]
        added = [one.code for one in self.additions if one.concept == name]
        return sorted({*own, *(quote(re.sub(r"([\\,|$])", r"\\\1", code), safe="-._~") for code in added)})

    def members(self, name: str) -> tuple[str, ...]:
        """Return the concepts that a name stands for: the members of a group, or the concept itself."""
        return self.groups.get(name, (name,))

    def kind(self, name: str) -> str | None:
        """Return what kind of thing a name is: measurement, diagnosis, procedure or medication; None if unknown."""
        first = self.members(name)[0]
        if first in self.analytes:
            return "measurement"
        return self.concepts[first].kind if first in self.concepts else None

    def order_medications(self) -> dict[str, Order]:
        """Return the medications that a card may offer to order, by the name that rules give them."""
        return {name: order for name, order in self.orders.items() if order.category == "medication"}

    def label(self, name: str) -> str:
        """Return the name that a clinician reads."""
        if name in self.analytes:
            return self.analytes[name].name
        return self.concepts[name].name if name in self.concepts else self.group_names.get(name, name)


def load(folder: Path, table: Path | None = None) -> Terminology:
    """
    Read ``hooks/concepts``; ``table`` is a site's own table of medication products, instead of the one there.

    Raises ContentError with file and line where the content is not usable.
    """
    reader = _Reader(folder)
    for name in ("labs", "diagnoses", "procedures", "medications"):
        reader.concepts_of(name)
    reader.products(table or folder / products.FILE)
    return reader.finish()


class _Reader:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.analytes: dict[str, Analyte] = {}
        self.concepts: dict[str, Concept] = {}
        self.groups: dict[str, tuple[str, ...]] = {}
        self.group_names: dict[str, str] = {}
        self.codes: dict[str, list[tuple[str, str]]] = {}
        self.only_with: dict[str, str] = {}
        self.indexes = {
            kind: Index({}, {}, {}, unless={}) for kind in ("measurement", "diagnosis", "procedure", "medication")
        }
        self.indexes["medication"].names_suffice = True
        self.indexes["measurement"].names_one_thing = self.indexes["medication"].names_one_thing = True

    def document(self, name: str) -> strict_yaml.Mapping:
        return strict_yaml.read(self.folder / f"{name}.yaml", shown_as=f"concepts/{name}.yaml")

    def concepts_of(self, name: str) -> None:
        document = self.document(name)
        kind = document["kind"]
        self.indexes[kind].local_words = word_pattern(tuple(document.get("local_words") or ()))
        for identifier, entry in document["concepts"].items():
            where = f"concepts/{name}.yaml:{document['concepts'].lines[identifier]}"
            if identifier in self.analytes or identifier in self.concepts:
                raise ContentError(f'The concept "{identifier}" stands twice.', where=where, slug="duplicate-concept")
            self._add(kind, identifier, entry, where)
        for group, entry in (document.get("groups") or {}).items():
            self.groups[group], self.group_names[group] = tuple(entry["any_of"]), entry["name"]

    def _add(self, kind: str, identifier: str, entry: Mapping[str, Any], where: str) -> None:
        if kind == "measurement":
            self.analytes[identifier] = _analyte(identifier, entry, where)
        else:
            self.concepts[identifier] = _concept(kind, identifier, entry)
            self.only_with |= {identifier: entry["only_with"]} if "only_with" in entry else {}
        self._add_codes(self.indexes[kind], identifier, entry)

    def _add_codes(self, index: Index, identifier: str, entry: Mapping[str, Any]) -> None:
        kept = self.codes.setdefault(identifier, [])
        said = tuple(entry.get("names") or entry.get("text") or ())
        at_site = word_pattern((*said, *(entry.get("sites") or ())))
        for code in [*entry.get("codes", ()), *entry.get("ingredients", ())]:
            if code.get("unverified"):
                continue
            kept.append((code["system"], code["code"]))
            match = Match(identifier, "code", code["system"], code["code"])
            confirm = at_site if code.get("at_site") else None
            index.add(code["system"], code["code"], Row(match, bool(code.get("generic")), confirm))
        for block in entry.get("blocks", ()):
            match = Match(identifier, "block", "ICD-10-CM", block["prefix"])
            index.add_block("ICD-10-CM", block["prefix"], Row(match, bool(block.get("generic"))))
        for drug_class in entry.get("atc", ()):
            index.add_block("ATC", drug_class["code"], Row(Match(identifier, "code", "ATC", drug_class["code"])))
        self._add_words(index, identifier, entry, word_pattern(said))

    def _add_words(
        self, index: Index, identifier: str, entry: Mapping[str, Any], pattern: re.Pattern[str] | None
    ) -> None:
        if pattern:
            index.text[identifier] = pattern
        if pattern and not self.codes[identifier] and index is not self.indexes["diagnosis"]:
            # A diagnosis in words only is no evidence; a test or procedure without a verified code has only its name.
            index.named = index.named | {identifier}
        other = word_pattern(tuple(entry.get("unless") or ()))
        if other:
            index.unless[identifier] = other
        if entry.get("exclude"):
            index.excluded = index.excluded | {identifier}

    def products(self, path: Path) -> None:
        index = self.indexes["medication"]
        for row in products.read(path):
            if row.concept not in self.concepts:
                raise ContentError(
                    f'{path.name} has products of "{row.concept}", which is no medication here.',
                    where=path.name,
                    slug="unknown-concept",
                    remedy="Make the table anew: cds-service concepts import-rxnorm.",
                )
            match = Match(row.concept, "product", "RxNorm", row.rxcui, row.route, row.ingredients)
            index.add("RxNorm", row.rxcui, Row(match))

    def finish(self) -> Terminology:
        systems = self.document("systems")["systems"]
        return Terminology(
            systems=CodeSystems(
                {name: row["uri"] for name, row in systems.items()},
                {name: row.get("aliases") or () for name, row in systems.items()},
            ),
            units=UnitTable({unit: tuple(others or ()) for unit, others in self.document("units")["units"].items()}),
            analytes=self.analytes,
            concepts=self.concepts,
            groups=self.groups,
            group_names=self.group_names,
            orders=_orders(self.document("orders")),
            override_reasons=_reasons(self.document("override-reasons")),
            indexes=self.indexes,
            codes={name: tuple(codes) for name, codes in self.codes.items()},
            only_with={name: self.groups.get(other, (other,)) for name, other in self.only_with.items()},
        )


def _analyte(identifier: str, entry: Mapping[str, Any], where: str) -> Analyte:
    bounds = entry.get("plausible") or {}
    try:
        return Analyte(
            id=identifier,
            name=entry["name"],
            unit=entry.get("unit") or "",
            factors={unit: factor(str(text)) for unit, text in (entry.get("units") or {}).items()},
            low=_decimal(bounds.get("low")),
            high=_decimal(bounds.get("high")),
            decimals=int(entry.get("decimals", 1)),
            hemolysis_sensitive=bool(entry.get("hemolysis_sensitive")),
            qualitative=bool(entry.get("qualitative")),
            fresh_days=entry.get("fresh_days"),
            fresh_days_on_orders=entry.get("fresh_days_on_orders"),
            text=tuple(entry.get("text") or ()),
        )
    except (InvalidOperation, KeyError) as failure:
        raise ContentError(
            f'The measurement "{identifier}" is not usable: {failure}.', where=where, slug="bad-concept"
        ) from None


def _decimal(text: object) -> Decimal | None:
    return None if text is None else Decimal(str(text))


def _concept(kind: str, identifier: str, entry: Mapping[str, Any]) -> Concept:
    return Concept(
        id=identifier,
        kind=kind,
        name=entry["name"],
        text=tuple(entry.get("text") or entry.get("names") or ()),
        routes=tuple(entry.get("routes") or ()),
        max_ingredients=int(entry.get("max_ingredients") or 3),
        codes=len(entry.get("codes") or entry.get("ingredients") or ()),
        whole=(entry.get("derived") or "") if kind == "medication" else "",
    )


def _orders(document: Mapping[str, Any]) -> dict[str, Order]:
    return {
        identifier: Order(
            id=identifier,
            name=entry["name"],
            category=entry["category"],
            say=entry["say"],
            **{key: entry["code"][key] for key in ("system", "code", "display", "verified")},
            step=entry.get("step") or entry["category"],
            plan=entry.get("plan") or "",
            caution=" ".join((entry.get("caution") or "").split()),
            not_while=tuple(entry.get("not_while") or ()),
            stands_for=tuple(entry.get("stands_for") or ()),
            seen_as=tuple(entry.get("seen_as") or ()),
            instead_of=tuple(entry.get("instead_of") or ()),
        )
        for identifier, entry in document["concepts"].items()
    }


def _reasons(document: Mapping[str, Any]) -> dict[str, OverrideReason]:
    reasons: Iterable[tuple[str, Any]] = document["reasons"].items()
    return {code: OverrideReason(document["system"], code, entry["display"]) for code, entry in reasons}
