"""The patients for whom no rule may ever speak, as ``rules/silent.yaml`` of the content tells of them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from cds_service import schemas
from cds_service.errors import ContentError
from cds_service.rules.vignettes import Vignette
from cds_service.schemas import strict_yaml

FILE = "rules/silent.yaml"
KEYS = ("today", "stays_silent")


def read_silent(content: Path) -> tuple[Vignette, ...]:
    """
    Return the patients who must stay silent, written as vignettes of no rule; none where the content has no such file.

    Raises ContentError, with file and line, where it does not read.
    """
    path = content / FILE
    if not path.exists():
        return ()
    document = strict_yaml.read(path, shown_as=FILE)
    _check_keys(document)
    entries = document["stays_silent"]
    for entry in entries:
        schemas.check("vignette", entry, FILE, part="vignette")
    day = _day(document)
    lined = zip(entries, entries.lines, strict=True)
    return tuple(Vignette("", "stays_silent", entry["name"], day, FILE, line, entry) for entry, line in lined)


def _check_keys(document: strict_yaml.Mapping) -> None:
    if tuple(sorted(document)) != tuple(sorted(KEYS)):
        raise ContentError(f"The file has the keys {' and '.join(KEYS)}.", where=f"{FILE}:1", slug="wrong-shape")


def _day(document: strict_yaml.Mapping) -> date:
    try:
        return date.fromisoformat(document["today"])
    except (TypeError, ValueError):
        raise ContentError(
            "There is no such day.", where=f"{FILE}:{document.lines['today']}", slug="bad-date"
        ) from None
