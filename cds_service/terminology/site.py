"""
What one site adds to the concepts: FHIR ValueSets, its own codes, the products of a newer RxNorm release.

All of it lies in files below ``hooks/sites/<site>/``, and loading reads nothing else: the network is asked by
``cds-service concepts expand`` only, which writes files.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from cds_service.errors import ContentError
from cds_service.schemas import strict_yaml
from cds_service.terminology import valuesets

COLUMNS = ("system", "code", "display", "concept", "who", "when")
OPTIONAL = ("route", "ingredients", "shared")
ROUTES = ("", "oral", "injection", "rectal", "local", "mixed", "other")


class Addition(msgspec.Struct, frozen=True):
    """
    One code that a site added to a concept. ``where`` is file:line.

    ``system`` is as it was written: a URI, or the short name of a system of ours. ``shared`` says that the code may
    mean another concept besides.
    """

    concept: str
    system: str
    code: str
    display: str
    who: str
    when: str
    where: str
    route: str = ""
    ingredients: int = 1
    shared: bool = False

    @property
    def verified(self) -> str:
        """Return the verification mark: who of the site answers for it, since when."""
        return f"site: {self.who}, {self.when}" if self.when else f"site: {self.who}"


class Wanted(msgspec.Struct, frozen=True):
    """A value set that the site names by its URL, and the concept it belongs to."""

    url: str
    concept: str
    where: str


class Extension(msgspec.Struct, frozen=True):
    """Everything that one site adds."""

    additions: tuple[Addition, ...] = ()
    wanted: tuple[Wanted, ...] = ()
    folder: Path | None = None
    server: str = ""
    products: Path | None = None


def read(document: strict_yaml.Mapping, path: Path, *, with_codes: bool = True) -> Extension:
    """
    Read what a site's file says of concepts, and the files it names. Raises ContentError with file and line.

    Without ``with_codes`` only the file itself is read: what ``expand`` is to fetch is not there yet.
    """
    home, file = path.parent / path.stem, f"sites/{path.name}"
    sets = document.get("value_sets")
    folder = _below(home, sets["folder"], f"{file}:{sets.lines['folder']}") if sets else None
    products = document.get("medication_products")
    return Extension(
        additions=tuple(_additions(document, home, folder, file)) if with_codes else (),
        wanted=tuple(_wanted(sets, file)) if sets else (),
        folder=folder,
        server=document.get("expand") or "",
        products=_below(home, products, f"{file}:{document.lines['medication_products']}") if products else None,
    )


def _additions(document: strict_yaml.Mapping, home: Path, folder: Path | None, file: str) -> Iterator[Addition]:
    if folder is not None:
        yield from _of_value_sets(document["value_sets"], folder, f"sites/{home.name}", file)
    tables = document.get("local_codes") or []
    for name in [tables] if isinstance(tables, str) else tables:
        where = f"{file}:{document.lines['local_codes']}"
        yield from _of_table(_below(home, name, where), f"sites/{home.name}/{name}")


def _below(home: Path, name: str, where: str) -> Path:
    """Return a path below the site's own folder: what lies elsewhere would not be part of the rule book."""
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\\" in name:
        raise ContentError(
            f'"{name}" does not lie below sites/{home.name}/.',
            where=where,
            slug="outside-the-site",
            remedy=f"Put it into sites/{home.name}/, and name it from there.",
        )
    return home.joinpath(*parts)


# --- value sets ------------------------------------------------------------------------------------------------------


def _sources(entry: Any) -> list[str]:
    named = entry["from"] if isinstance(entry, dict) else entry
    return [named] if isinstance(named, str) else list(named)


def _is_url(name: str) -> bool:
    return "://" in name or name.startswith("urn:")


def _wanted(sets: strict_yaml.Mapping, file: str) -> Iterator[Wanted]:
    table = sets["concepts"]
    for concept, entry in table.items():
        for name in filter(_is_url, _sources(entry)):
            yield Wanted(name, concept, f"{file}:{table.lines[concept]}")


def _of_value_sets(sets: strict_yaml.Mapping, folder: Path, home: str, file: str) -> Iterator[Addition]:
    table, shown = sets["concepts"], f"{home}/{sets['folder']}"
    by_url: dict[str, valuesets.ValueSet] = {}
    if any(_is_url(name) for entry in table.values() for name in _sources(entry)):
        found = (valuesets.read(path, f"{shown}/{path.name}") for path in sorted(folder.glob("*.json")))
        by_url = {one.url: one for one in found if one.url}
    for concept, entry in table.items():
        for name in _sources(entry):
            where = f"{file}:{table.lines[concept]}"
            one = _by_url(by_url, name, where, shown) if _is_url(name) else None
            one = one or valuesets.read(_below(folder, name, where), f"{shown}/{name}")
            yield from _of_value_set(one, concept, entry if isinstance(entry, dict) else {}, sets)


def _by_url(found: Mapping[str, valuesets.ValueSet], url: str, where: str, shown: str) -> valuesets.ValueSet:
    one = found.get(url.partition("|")[0])
    if one is None:
        raise ContentError(
            f"No file in {shown} holds the ValueSet {url}.",
            where=where,
            slug="value-set-missing",
            remedy='Put it there, or name a terminology server under expand and run "cds-service concepts expand".',
        )
    return one


def _of_value_set(
    one: valuesets.ValueSet, concept: str, entry: Mapping[str, Any], sets: Mapping[str, Any]
) -> Iterator[Addition]:
    left_out = {str(code) for code in entry.get("leave_out") or ()}
    when = str(entry.get("when") or sets.get("when") or one.document.get("date") or "")
    for row in valuesets.codings(one):
        if row.code in left_out:
            continue
        yield Addition(
            concept=concept,
            system=row.system or "",
            code=row.code or "",
            display=row.display or "",
            who=entry.get("who") or sets["who"],
            when=when[:10],
            where=one.place(row.code or ""),
            shared=bool(entry.get("shared")),
        )


# --- the table of local codes ----------------------------------------------------------------------------------------


def _of_table(path: Path, shown: str) -> Iterator[Addition]:
    rows = _yaml_rows(path, shown) if path.suffix in (".yaml", ".yml") else _csv_rows(path, shown)
    for row, where in rows:
        yield _addition(row, where)


def _csv_rows(path: Path, shown: str) -> Iterator[tuple[dict[str, str], str]]:
    """Yield the rows of a CSV file as spreadsheets write it: with commas or semicolons, with or without a mark."""
    text = _text(path, shown)
    header = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=";" if header.count(";") > 1 else ",")
    _check_columns([name or "" for name in reader.fieldnames or ()], shown)
    for row in reader:
        where = f"{shown}:{reader.line_num}"
        if None in row or None in row.values():
            raise ContentError(
                "The row has not as many fields as the header.",
                where=where,
                slug="row-too-long" if None in row else "row-too-short",
                remedy="A field that holds a comma stands in double quotes.",
            )
        if any(value.strip() for value in row.values()):
            yield {name.strip(): value.strip() for name, value in row.items()}, where


def _text(path: Path, shown: str) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as failure:
        raise ContentError(
            "The file cannot be read.", where=shown, why=failure.strerror or "", slug="unreadable"
        ) from None
    except UnicodeDecodeError:
        raise ContentError(
            "The file is not UTF-8.", where=shown, slug="not-utf-8", remedy='Save it as "CSV UTF-8".'
        ) from None


def _check_columns(names: list[str], shown: str) -> None:
    given = [name.strip() for name in names]
    missing = [name for name in COLUMNS if name not in given]
    other = [name for name in given if name not in (*COLUMNS, *OPTIONAL)]
    if missing or other or len(given) != len(set(given)):
        said = f"lacks {', '.join(missing)}" if missing else f"has a column too many: {', '.join(other or given)}"
        raise ContentError(
            f"The table {said}.",
            where=f"{shown}:1",
            slug="wrong-columns",
            remedy=f"Columns: {', '.join(COLUMNS)}; and, where needed, {', '.join(OPTIONAL)}.",
        )


def _yaml_rows(path: Path, shown: str) -> Iterator[tuple[dict[str, str], str]]:
    document = strict_yaml.read(path, shown_as=shown)
    codes = document.get("codes")
    if not isinstance(codes, strict_yaml.Sequence) or not all(isinstance(row, dict) for row in codes):
        raise ContentError("The file needs a list of codes.", where=f"{shown}:1", slug="wrong-shape")
    for row, line in zip(codes, codes.lines, strict=True):
        _check_columns([*row, *(name for name in ("display", "when") if name not in row)], f"{shown}:{line}")
        yield {name: "" if value is None else str(value) for name, value in row.items()}, f"{shown}:{line}"


def _addition(row: Mapping[str, str], where: str) -> Addition:
    for name in ("system", "code", "concept", "who", "when"):
        if not row.get(name):
            raise ContentError(f'The row does not say its "{name}".', where=where, slug="row-incomplete")
    route, ingredients = row.get("route", ""), row.get("ingredients") or "1"
    if route not in ROUTES:
        raise ContentError(
            f'"{route}" is no route.',
            where=where,
            slug="unknown-route",
            remedy=f"Routes: {', '.join(filter(None, ROUTES))}.",
        )
    if not ingredients.isdecimal() or not 0 < int(ingredients) < 1000:
        raise ContentError(f'"{ingredients}" is no number of ingredients.', where=where, slug="bad-number")
    return Addition(
        concept=row["concept"],
        system=row["system"],
        code=row["code"],
        display=row.get("display", ""),
        who=row["who"],
        when=_day(row["when"], where),
        where=where,
        route=route,
        ingredients=int(ingredients),
        shared=row.get("shared", "").casefold() in ("yes", "true", "1"),
    )


def _day(text: str, where: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ContentError(
            f'"{text}" is not a day that exists.', where=where, slug="bad-date", remedy="Write 2026-11-21."
        ) from None
