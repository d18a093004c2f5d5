"""Threshold values by layers: rule file, site file, then (with the ledger) an admin's decision. Last one wins."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from cds_service import schemas
from cds_service.errors import ContentError
from cds_service.rules.model import Dated, Threshold, Value, Values
from cds_service.rules.scope import meant
from cds_service.rules.source import Borrowed, day
from cds_service.schemas import strict_yaml
from cds_service.terminology import Terminology
from cds_service.terminology import site as terminology_site
from cds_service.terminology.site import Extension

# Where an exported file (rules/tuning_files.py) holds what a site file cannot say.
TUNINGS = "tunings"


class Site(msgspec.Struct, frozen=True):
    """What one site changed: thresholds, statuses, names of code systems, codes. ``places`` are file:line."""

    name: str = ""
    thresholds: dict[str, tuple[Dated, ...]] = {}
    status: dict[str, str] = {}
    system_aliases: dict[str, str] = {}
    places: dict[str, str] = {}
    extension: Extension = Extension()


def read_site(path: Path) -> Site:
    """Read ``hooks/sites/<site>.yaml``."""
    file = f"sites/{path.name}"
    document = strict_yaml.read(path, shown_as=file)
    if TUNINGS in document:
        raise ContentError(
            "What stands below tunings: is for the ledger; no site file can say it.",
            where=f"{file}:{document.lines[TUNINGS]}",
            slug="not-for-a-site",
            remedy="Take it out, and run: cds-service tuning import with the file as it was exported.",
        )
    schemas.check("site", document, file)
    parts = {key: document.get(key) or strict_yaml.Mapping() for key in ("thresholds", "status", "system_aliases")}
    places = {name: f"{file}:{part.lines[name]}" for part in parts.values() if part for name in part}
    return Site(
        name=document["site"],
        thresholds={name: _layer(rows, places[name]) for name, rows in parts["thresholds"].items()},
        status={rule: row["status"] for rule, row in parts["status"].items()},
        system_aliases=dict(parts["system_aliases"]),
        places=places,
        extension=terminology_site.read(document, path),
    )


def _layer(rows: list[dict[str, Any]], where: str) -> tuple[Dated, ...]:
    return tuple(sorted((_dated(row, where) for row in rows), key=lambda dated: dated.since))


def _dated(row: Mapping[str, Any], where: str) -> Dated:
    value: Value = row["value"] if isinstance(row["value"], bool) else Decimal(row["value"])
    return Dated(day(row["since"], where), value, "site", row["who"], row["why"])


def check_status(site: Site, rules: Collection[str]) -> None:
    """Refuse a status for a rule that does not exist: it would change nothing, and nobody would know."""
    for name in site.status:
        if name not in rules:
            raise ContentError(
                f'There is no rule "{name}".{meant(name, rules)}', where=site.places[name], slug="unknown-rule"
            )


def check_aliases(site: Site, words: Terminology) -> None:
    """Refuse a local code system that is said to mean a system we do not know."""
    known = sorted({system for codes in words.codes.values() for system, _ in codes})
    for uri, name in site.system_aliases.items():
        if name not in known:
            raise ContentError(
                f'There is no code system "{name}".{meant(name, known)}',
                where=site.places[uri],
                slug="unknown-system",
                remedy=f"The systems are: {', '.join(known)}.",
            )


def apply_site(thresholds: Borrowed, site: Site) -> Borrowed:
    """Lay a site's dated values over those of the rules. Raises ContentError where one leaves its allowed range."""
    changed = {rule: dict(own) for rule, own in thresholds.items()}
    for name, values in site.thresholds.items():
        rule, _, threshold = name.partition(".")
        if threshold not in changed.get(rule, {}):
            names = [f"{one}.{two}" for one, own in thresholds.items() for two in own]
            raise ContentError(
                f'The site changes "{name}", which no rule has.{meant(name, names)}',
                where=site.places[name],
                slug="unknown-threshold",
            )
        changed[rule][threshold] = _layered(changed[rule][threshold], values, name, site.places[name])
    return changed


def _layered(threshold: Threshold, values: tuple[Dated, ...], name: str, where: str) -> Threshold:
    if threshold.borrowed:
        raise ContentError(
            f'The site changes "{name}", which is the same as another threshold.',
            where=where,
            slug="borrowed-threshold",
            remedy=f"Change {'.'.join(threshold.borrowed)}: both follow.",
        )
    for dated in values:
        if not threshold.allows(dated.value):
            raise ContentError(
                f'The site sets "{name}" to {dated.value}, outside its range {threshold.low} to {threshold.high}.',
                where=where,
                slug="out-of-range",
                why="The range is a guard rail that no layer crosses.",
            )
    before = tuple(dated for dated in threshold.values if dated.since < values[0].since)
    return msgspec.structs.replace(threshold, values=(*before, *values))


def in_force(thresholds: Mapping[str, Threshold], day: date, tried: Mapping[str, Value] | None = None) -> Values:
    """Return the values of a rule's thresholds on a day; ``tried`` holds values to try instead (back-test)."""
    values = {name: threshold.on(day).value for name, threshold in thresholds.items()}
    return {**values, **tried} if tried else values
