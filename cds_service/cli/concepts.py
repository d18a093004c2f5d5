"""Commands for those who answer for codes: what a concept stands for, what a code would match, what a site adds."""

from __future__ import annotations

import difflib
import fnmatch
import io
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from cds_service import schemas
from cds_service.cli.options import content_options, settings
from cds_service.cli.show import plain
from cds_service.errors import ContentError
from cds_service.rules.book import load_words
from cds_service.schemas import strict_yaml
from cds_service.terminology import Terminology, explaining, listing, products
from cds_service.terminology import rxnorm as releases
from cds_service.terminology import site as site_files
from cds_service.terminology.listing import Listed
from cds_service.terminology.products import Product
from cds_service.web.settings import content_folder

MARKS = {
    "block": "every code that begins so",
    "class": "every code that begins so",
    "generic": "counts only with wording that confirms it",
    "unverified": "never counts",
    "order": "only ordered, never read",
}


class _Concepts(click.Group):
    """A group whose own arguments are names of concepts: ``concepts vka`` is short for ``concepts list vka``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let what is no command be what to list."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Concepts)
def concepts() -> None:
    """
    Print codes with where each was read, or what one would match.

    Without a command, "cds-service concepts [NAME...]" lists every code of every concept (or of those named).
    """


# --- list ------------------------------------------------------------------------------------------------------------


@concepts.command("list")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--system", help='Only codes of one system: "SNOMED CT", ICD-10-CM, LOINC, RxNorm, ATC ...')
@click.option("--unverified", is_flag=True, help="Only codes whose name nobody has read (xref only, or not at all).")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, one object a code.")
@content_options
def list_concepts(
    names: tuple[str, ...],
    system: str | None,
    unverified: bool,
    as_json: bool,
    content: Path | None,
    site: str | None,
) -> None:
    """
    List the codes of concepts, with where each was read.

    NAME is a concept (vka), a group (calcinosis) or a pattern (les-*). "xref" marks codes of which only a cross
    reference was read: check them on a SNOMED browser before release.
    """
    words, rows = _everything(content, site)
    if system:
        system = _system(words, system)
    chosen = _chosen(words, rows, names)
    rows = [
        one
        for one in rows
        if (one.concept in chosen) and (not system or one.system == system) and (one.doubtful or not unverified)
    ]
    if as_json:
        click.echo(json.dumps([msgspec.to_builtins(one) for one in rows], ensure_ascii=False, indent=1))
        return
    for line in _lines(words, rows):
        click.echo(plain(line))
    click.echo(f"{len(rows)} codes.")


def _everything(content: Path | None, site: str | None) -> tuple[Terminology, list[Listed]]:
    chosen = settings(content, site)
    folder = content_folder(chosen)
    words, found = load_words(folder, chosen.site)
    return words, listing.listed(folder / "concepts", words, found.extension.products)


def _system(words: Terminology, name: str) -> str:
    known = {one.casefold(): one for one in words.systems.names()}
    found = words.systems.name(name) or known.get(name.casefold())
    if found is None:
        raise click.UsageError(f'There is no code system "{name}". The systems are: {", ".join(known.values())}.')
    return found


def _chosen(words: Terminology, rows: Iterable[Listed], names: tuple[str, ...]) -> set[str]:
    known = list(dict.fromkeys([*words.analytes, *words.concepts, *(one.concept for one in rows)]))
    chosen: set[str] = set()
    for name in names:
        found = words.groups.get(name) or fnmatch.filter(known, name)
        if not found:
            close = difflib.get_close_matches(name, [*known, *words.groups], n=1)
            hint = f' Did you mean "{close[0]}"?' if close else ""
            raise click.UsageError(f'There is no concept "{name}".{hint}')
        chosen.update(found)
    return chosen if names else set(known)


def _lines(words: Terminology, rows: Iterable[Listed]) -> Iterator[str]:
    heading: tuple[str, str] | None = None
    for one in rows:
        if heading != (heading := (one.concept, one.kind)):
            label = words.orders[one.concept].name if one.kind == "order" else words.label(one.concept)
            yield f"{one.concept} - {label} ({one.kind})"
        yield f"  {one.system:<10} {one.code:<12} {one.display}  [{one.verified}]{_mark(one)}"


def _mark(one: Listed) -> str:
    parts = [MARKS[one.how]] if one.how in MARKS else []
    if one.how == "product" or one.route:
        many = f"{one.ingredients} ingredient{'s' if one.ingredients > 1 else ''}"
        parts.append(f"route {one.route or 'not said'}, {many}")
    return f" ({'; '.join(parts)})" if parts else ""


# --- match -----------------------------------------------------------------------------------------------------------


@concepts.command()
@click.argument("what", nargs=-1, required=True, metavar="CODE|TEXT")
@click.option("--system", help="The code system, by its short name or URI; else every system is tried.")
@click.option("--kind", type=click.Choice(explaining.KINDS), help="Only as a thing of one kind.")
@content_options
def match(what: tuple[str, ...], system: str | None, kind: str | None, content: Path | None, site: str | None) -> None:
    """
    Say what a code or a text would match, and why.

    Exit code 1: a record that holds only this would not count for anything.
    """
    words, rows = _everything(content, site)
    said, named = " ".join(what), _system(words, system) if system else None
    found = explaining.of_code(words, rows, said, named, kind)
    if not found and not named:
        found = explaining.of_text(words, said, kind)
    for one in found:
        click.echo(plain(f"{'counts ' if one.counts else 'no     '} {one.kind} {one.concept}: {one.why}"))
    if not found:
        for line in _nothing(words, rows, said, named, kind):
            click.echo(plain(line))
    raise click.exceptions.Exit(0 if any(one.counts for one in found) else 1)


def _nothing(words: Terminology, rows: list[Listed], said: str, system: str | None, kind: str | None) -> Iterator[str]:
    yield f'"{said}" means nothing here{f" in {system}" if system else ""}.'
    for one in explaining.nearest(rows, said, [system] if system else ()):
        yield f"  Did you mean {one.system} {one.code}, {one.display} ({one.concept})?"
    for name in [] if system else explaining.nearest_names(words, said, kind):
        yield f'  Did you mean "{name}"?'


# --- expand ----------------------------------------------------------------------------------------------------------


@concepts.command()
@content_options
def expand(content: Path | None, site: str | None) -> None:
    """
    Fetch a site's value sets from its terminology server.

    Each value set that the site names by URL is expanded and written to its folder, with the day and the server.
    Nothing else in this program asks a terminology server.
    """
    from cds_service.adapters import terminology as server

    chosen = settings(content, site)
    path = _site_file(content_folder(chosen), chosen.site)
    asked = _site_extension(path)
    if not asked.server or asked.folder is None or not asked.wanted:
        raise ContentError(
            "The site names no value set to expand.",
            where=f"sites/{path.name}",
            slug="nothing-to-expand",
            remedy="Write expand: with the server's address, and URLs of ValueSets under value_sets.",
        )
    asked.folder.mkdir(parents=True, exist_ok=True)
    for url in dict.fromkeys(one.url for one in asked.wanted):
        found = server.expand(asked.server, url)
        found["date"] = datetime.now(UTC).date().isoformat()
        if wrong := _fault(found):
            raise ContentError(f"The server's ValueSet is not valid FHIR R4: {wrong}", where=url, slug="not-fhir")
        file = asked.folder / _file_name(asked.folder, url)
        file.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        click.echo(f"{found['expansion']['total']} codes of {url} written to {file}.")
    load_words(content_folder(chosen), chosen.site)


def _site_file(folder: Path, site: str) -> Path:
    if not site:
        raise click.UsageError("Name the site with --site or CDS_SITE.")
    return folder / "sites" / f"{site}.yaml"


def _site_extension(path: Path) -> site_files.Extension:
    file = f"sites/{path.name}"
    document = strict_yaml.read(path, shown_as=file)
    schemas.check("site", document, file)
    return site_files.read(document, path, with_codes=False)


def _file_name(folder: Path, url: str) -> str:
    """Return the file that holds this value set already, or a new name made of the end of its URL."""
    for path in sorted(folder.glob("*.json")):
        try:
            if json.loads(path.read_bytes()).get("url") == url.partition("|")[0]:
                return path.name
        except (ValueError, AttributeError):
            continue
    end = "".join(one if one.isalnum() or one in "-._" else "-" for one in url.partition("|")[0].rpartition("/")[2])
    return f"{end.strip('.-') or 'value-set'}.json"


def value_set_faults(folder: Path, site: str) -> Iterator[str]:
    """Yield what FHIR R4 does not allow in the value sets of a site; ``check`` asks."""
    path = folder / "sites" / f"{site}.yaml"
    sets = _site_extension(path).folder
    for one in sorted(sets.glob("*.json")) if sets else ():
        shown = f"sites/{site}/{one.relative_to(path.parent / site).as_posix()}"
        try:
            wrong = _fault(json.loads(one.read_bytes()))
        except ValueError as failure:
            wrong = f"no JSON: {failure}"
        if wrong:
            yield f"{shown}:1\n  The file is no valid FHIR R4 ValueSet: {wrong}  [not-fhir]"


def _fault(resource: Any) -> str:
    from cds_service.cli.fixtures import fault

    if not isinstance(resource, dict) or resource.get("resourceType") != "ValueSet":
        return "it is no ValueSet"
    return fault(resource)


# --- import-rxnorm ---------------------------------------------------------------------------------------------------


@concepts.command("import-rxnorm")
@click.argument("release", type=click.Path(exists=True, path_type=Path))
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the table.")
@click.option("--source", help="How the release is called in the table [default: by the day in its file name].")
@click.option("--write", is_flag=True, help="Write the table; without this, only what would change is said.")
@content_options
def import_rxnorm(
    release: Path, output: Path | None, source: str | None, write: bool, content: Path | None, site: str | None
) -> None:
    """
    Make the table of medication products from a newer RxNorm release.

    RELEASE is the zip as NLM gives it out (the full release or the Current Prescribable Content), or the folder it
    was unpacked to. Without --output the table is the site's: sites/NAME/medication-products.csv.
    """
    from cds_service.adapters import rxnorm as files

    chosen = settings(content, site)
    folder = content_folder(chosen)
    words, found = load_words(folder, chosen.site)
    day = files.release_day(release)
    if not source and not day:
        raise click.UsageError(
            "The name of the release holds no day (MMDDYYYY). Say --source, like: RxNorm 2026-11-02."
        )
    target = output or _site_file(folder, chosen.site).with_suffix("") / products.FILE
    with files.lines(release, files.NAMES) as names, files.lines(release, files.RELATIONS) as relations:
        read = releases.read(releases.rows(names), releases.rows(relations))
    table = releases.products_of(words, read, source or f"RxNorm {day}")
    if not table:
        raise ContentError("The release has no product of any medication here.", where=release.name, slug="rxnorm")
    before = products.read(found.extension.products or folder / "concepts" / products.FILE)
    for line in (*_changes(releases.changes(before, table)), *_by_name(words, read)):
        click.echo(plain(line))
    click.echo(_written(table, target, write=write, named=output is None and found.extension.products != target))


def _changes(said: releases.Changes) -> Iterator[str]:
    for one in said.added:
        yield f"+ {_shown(one)}"
    for one in said.retired:
        yield f"- {_shown(one)}"
    for old, new in said.changed:
        yield f"~ {_shown(new)}, before: route {old.route or 'not said'}, {old.ingredients} ingredients"
    yield f"{len(said.added)} added, {len(said.retired)} retired, {len(said.changed)} changed."


def _shown(one: Product) -> str:
    how = f"route {one.route or 'not said'}, {one.ingredients} ingredients"
    return f"{one.concept} {one.rxcui} {one.tty} {one.name} ({how})"


def _by_name(words: Terminology, read: releases.Release) -> Iterator[str]:
    """Say which ingredients were taken by their name: no code of them had been verified."""
    for concept, chosen in releases.ingredients_of(words, read).items():
        for number, why in chosen.items():
            if why != "code":
                yield f"Ingredient by its {why}: {number} for {concept}."


def _written(table: list[Product], target: Path, *, write: bool, named: bool) -> str:
    if not write:
        return f"Nothing was written. With --write, {len(table)} products go to {target}."
    text = io.StringIO()
    products.write(table, text)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text.getvalue(), encoding="utf-8", newline="")
    more = f"\nTo use it, the site's file needs the line: medication_products: {products.FILE}" if named else ""
    return f"{len(table)} products written to {target}.{more}"
