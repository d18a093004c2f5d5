"""Problems as they are told: where, what, why, what to do; the same one many times is told once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

# What a problem costs: the call or a whole kind of data; something that was sent; nothing, but it is good to know.
ERROR, WARNING, NOTE = SEVERITIES = ("error", "warning", "note")
SERVICE, MODELS = "this service", "fhir.resources R4B"
SHOWN = 5


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    One thing that is wrong.

    ``pointer`` is the JSON Pointer of its first place, ``also`` are further ones, ``times`` is how often it was met.
    ``found_by`` says whose reader found it.
    """

    severity: str
    pointer: str
    what: str
    why: str = ""
    todo: str = ""
    slug: str = ""
    found_by: str = SERVICE
    times: int = 1
    also: tuple[str, ...] = ()


class Key(msgspec.Struct, frozen=True, omit_defaults=True):
    """One prefetch key of the service: under which name it came, and what is known of it."""

    key: str
    state: str
    sent_as: str = ""
    entries: int = 0


class Report(msgspec.Struct, frozen=True):
    """Everything that was found about one call: ``answer`` says what the service would answer to it."""

    service: str
    answer: str
    keys: tuple[Key, ...]
    problems: tuple[Problem, ...]

    @property
    def sound(self) -> bool:
        """Say whether nothing was found that costs anything."""
        return all(one.severity == NOTE for one in self.problems)

    def count(self, severity: str) -> int:
        """Count the problems of one severity."""
        return sum(one.severity == severity for one in self.problems)

    def counted(self, severity: str) -> str:
        """Say how many problems of one severity there are."""
        number = self.count(severity)
        return f"{number} {severity}{'' if number == 1 else 's'}"

    def groups(self) -> Iterator[tuple[str, str, list[Problem]]]:
        """Yield the problems by severity and finder, the costly ones first."""
        for severity in SEVERITIES:
            for finder in (SERVICE, MODELS):
                found = [one for one in self.problems if (one.severity, one.found_by) == (severity, finder)]
                if found:
                    yield severity, finder, found

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found | {"sound": self.sound} | {f"{one}s": self.count(one) for one in SEVERITIES}


def gathered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Tell the same problem once, with its first places; the costly ones first, else in the order they were met."""
    found: dict[tuple[str, ...], list[Problem]] = {}
    for one in problems:
        found.setdefault((one.severity, one.found_by, one.slug, one.what, one.why), []).append(one)
    told = [_once(same) for same in found.values()]
    return tuple(sorted(told, key=lambda one: SEVERITIES.index(one.severity)))


def _once(same: list[Problem]) -> Problem:
    pointers = list(dict.fromkeys(place for one in same for place in (one.pointer, *one.also)))
    times = sum(one.times for one in same)
    return msgspec.structs.replace(same[0], times=times, also=tuple(pointers[1:SHOWN]))


def pointer(*steps: str | int) -> str:
    """Return a JSON Pointer (RFC 6901)."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)
