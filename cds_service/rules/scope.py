"""What the compiler knows while it reads one rule: its thresholds, the terminology, and where it stands."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, NoReturn

import msgspec

from cds_service.errors import ContentError
from cds_service.facts.derived import COMPUTED
from cds_service.rules.model import Threshold
from cds_service.schemas.strict_yaml import Mapping
from cds_service.terminology import Terminology


class Scope(msgspec.Struct):
    """The rule being compiled."""

    file: str
    terminology: Terminology
    thresholds: dict[str, Threshold]
    reads: set[str] = set()
    told: dict[str, str] = {}
    orders: set[str] = set()

    def fail(self, what: str, line: int, *, slug: str, remedy: str = "", why: str = "") -> NoReturn:
        """Refuse the rule, naming file and line."""
        raise ContentError(what, where=f"{self.file}:{line}", slug=slug, remedy=remedy, why=why)

    def threshold(self, clause: Mapping, key: str, unit: str | None = None) -> str:
        """Return the name of the threshold that a qualifier names, checking that it exists and has the right unit."""
        if key not in clause:
            self.fail(
                f'This clause needs "{key}".',
                clause.line,
                slug="missing-qualifier",
                remedy=f"Add {key}: and the name of a threshold.",
            )
        name, line = clause[key], clause.lines[key]
        if not isinstance(name, str):
            self.fail(
                f'"{key}" must name a threshold, not hold a number.',
                line,
                slug="number-in-clause",
                remedy="Declare it under thresholds: with its unit, source and allowed range, and name it here.",
            )
        found = self.thresholds.get(name)
        if found is None:
            self.fail(
                f'There is no threshold "{name}".{meant(name, self.thresholds)}',
                line,
                slug="unknown-threshold",
                remedy="Declare it under thresholds: in this rule.",
            )
        if unit is not None and found.unit != unit:
            self.fail(
                f'The threshold "{name}" is in {found.unit or "no unit"}, but here {unit or "no unit"} is needed.',
                line,
                slug="wrong-unit",
                remedy=f"Declare it in {unit}." if unit else "",
            )
        return name

    def concept(self, clause: Mapping, key: str, kinds: Iterable[str], *, single: bool = False) -> str:
        """Return the concept that a word names, checking that it exists and is of the right kind."""
        name, line = clause[key], clause.lines[key]
        if not isinstance(name, str):
            self.fail(f'"{key}" must name one concept.', line, slug="not-a-concept")
        self.check_kind(name, kinds, key, line, single=single)
        self.reads.update(self.concepts(name))
        return name

    def check_kind(self, name: str, kinds: Iterable[str], key: str, line: int, *, single: bool = False) -> None:
        """Refuse a name that is no concept, is of another kind, or is a group where one measurement is needed."""
        kind = "measurement" if name in COMPUTED else self.terminology.kind(name)
        if kind is None:
            self.fail(
                f'There is no concept "{name}".{meant(name, self._names())}',
                line,
                slug="unknown-concept",
                remedy="See hooks/concepts for the names of all concepts.",
            )
        if kind not in kinds:
            self.fail(f'"{name}" is a {kind}; "{key}" needs a {" or ".join(kinds)}.', line, slug="wrong-kind")
        if single and name in self.terminology.groups:
            self.fail(
                f'"{name}" is a group of tests; "{key}" needs one test.',
                line,
                slug="group-not-allowed",
                remedy=f"Name one of: {', '.join(self.terminology.members(name))}.",
            )

    def concepts(self, name: str) -> tuple[str, ...]:
        """Return the concepts behind a name: what a computed measurement reads, the members of a group, or itself."""
        computed = COMPUTED.get(name)
        return computed.reads if computed else self.terminology.members(name)

    def _names(self) -> list[str]:
        return [*COMPUTED, *self.terminology.analytes, *self.terminology.concepts, *self.terminology.groups]


def meant(word: str, known: Iterable[Any]) -> str:
    """Return `` Did you mean "latest"?`` for a word that is nearly one we know, else ""."""
    close = difflib.get_close_matches(word, [str(one) for one in known], n=1, cutoff=0.6)
    return f' Did you mean "{close[0]}"?' if close else ""
