"""Which rules speak of the same thing and share one card (KNOWLEDGE 5.0, item 4), as rules/merging.yaml says."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from cds_service import schemas
from cds_service.errors import ContentError
from cds_service.rules.scope import meant
from cds_service.schemas import strict_yaml

FILE = "rules/merging.yaml"


class Absorbing(msgspec.Struct, frozen=True):
    """A rule that takes others onto its card when it fires; with ``same_draft`` only what is about the same order."""

    rule: str
    absorbs: tuple[str, ...]
    same_draft: bool = False


class Merging(msgspec.Struct, frozen=True):
    """
    The table of rules that share a card.

    ``groups`` are rules of equal rank; ``absorbing`` are rules that take others with them only when they fire.
    """

    groups: tuple[tuple[str, ...], ...] = ()
    absorbing: tuple[Absorbing, ...] = ()

    def group(self, rule: str) -> tuple[str, ...]:
        """Return the rules that share a card with this one; itself alone if none do."""
        return next((group for group in self.groups if rule in group), (rule,))

    def absorber(self, rule: str) -> Absorbing | None:
        """Return what takes this rule onto its card, if anything does."""
        return next((one for one in self.absorbing if rule in one.absorbs), None)


def load(content: Path) -> Merging:
    """Read the table of a content folder. Raises ContentError where it does not read."""
    document = _document(content)
    if document is None:
        return Merging()
    entries = document.get("absorb") or ()
    return Merging(
        tuple(tuple(group["rules"]) for group in document.get("cards") or ()),
        tuple(Absorbing(one["rule"], tuple(one["absorbs"]), one.get("only") == "same draft") for one in entries),
    )


def strangers(content: Path, rules: Collection[str]) -> list[ContentError]:
    """Return an error for every name in the table that is no rule: it would merge nothing, and nobody would know."""
    document = _document(content)
    return [
        ContentError(
            f'There is no rule "{name}".{meant(name, rules)}',
            where=f"{FILE}:{line}",
            slug="unknown-rule",
            remedy="Correct the name, or take it out of the table.",
        )
        for name, line in _names(document or strict_yaml.Mapping())
        if name not in rules
    ]


def _document(content: Path) -> strict_yaml.Mapping | None:
    path = content / "rules" / "merging.yaml"
    if not path.exists():
        return None
    document = strict_yaml.read(path, shown_as=FILE)
    schemas.check("merging", document, FILE)
    _check_once(document)
    return document


def _names(document: strict_yaml.Mapping) -> Iterator[tuple[str, int]]:
    for group in document.get("cards") or ():
        yield from zip(group["rules"], group["rules"].lines, strict=True)
    for one in document.get("absorb") or ():
        yield one["rule"], one.lines["rule"]
        yield from zip(one["absorbs"], one["absorbs"].lines, strict=True)


def _check_once(document: strict_yaml.Mapping) -> None:
    """Refuse a rule that would belong to two cards: it stands in one group, or is absorbed by one rule."""
    met: set[str] = set()
    absorbers = {one["rule"] for one in document.get("absorb") or ()}
    for name, line in _names(document):
        if name in met and name not in absorbers:
            raise ContentError(
                f'The rule "{name}" stands in the table twice.',
                where=f"{FILE}:{line}",
                slug="duplicate-rule",
                remedy="A finding speaks on one card: leave it in one place.",
            )
        met.add(name)
