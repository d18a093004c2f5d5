"""A decision of an admin about one rule: what may be decided, from when until when, and which decision is in force."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from cds_service import decoding
from cds_service.errors import ContentError
from cds_service.rules.model import Value

Kind = Literal["threshold", "status", "indicator", "quiet_hours", "reason", "rollout", "exception"]
Chosen = Value | str | int
STATUS: Final = "status"
INDICATOR: Final = "indicator"
QUIET_HOURS: Final = "quiet_hours"
ROLLOUT: Final = "rollout"
_ALONE: dict[str, Kind] = {STATUS: STATUS, INDICATOR: INDICATOR, QUIET_HOURS: QUIET_HOURS, ROLLOUT: ROLLOUT}
_BEFORE_POINT: dict[str, Kind] = {"reason": "reason", "exception": "exception"}
# ADMIN.md, "Exceptions": an exception ends after so many days at the latest.
LONGEST_EXCEPTION = 180
EXCEPTED = ("user", "client", "diagnosis", "patients")
KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class Tuning(msgspec.Struct, frozen=True):
    """
    One decision of an admin about one rule.

    ``name`` says what is decided (see ``kind_of``). It holds from ``since`` on, up to the day before ``until``; days
    are those of UTC.
    """

    rule: str
    name: str
    value: Chosen
    since: date
    who: str = ""
    why: str = ""
    until: date | None = None

    @property
    def place(self) -> str:
        """Where it belongs, as people write it: ``eskd-hyperphosphatemia.phosphate_high``."""
        return f"{self.rule}.{self.name}"

    def holds_on(self, day: date) -> bool:
        """Say whether it is meant for a day."""
        return self.since <= day and (self.until is None or day < self.until)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can hold it: numbers of thresholds as text, since they are decimals."""
        value = str(self.value) if isinstance(self.value, Decimal) else self.value
        days = {"since": self.since.isoformat(), "until": self.until.isoformat() if self.until else None}
        return {"rule": self.rule, "name": self.name, "value": value, **days, "who": self.who, "why": self.why}

    @classmethod
    def of_plain(cls, plain: dict[str, Any]) -> Tuning:
        """Read what ``plain`` wrote."""
        value: Chosen = plain["value"]
        if kind_of(plain["name"]) == "threshold" and not isinstance(value, bool):
            value = Decimal(str(value))
        until = plain.get("until")
        return cls(
            plain["rule"],
            plain["name"],
            value,
            date.fromisoformat(plain["since"]),
            plain.get("who", ""),
            plain.get("why", ""),
            date.fromisoformat(until) if until else None,
        )


def kind_of(name: str) -> Kind:
    """Say what a name is about; whatever is nothing else is a threshold of the rule."""
    return _ALONE.get(name) or _BEFORE_POINT.get(name.partition(".")[0] if "." in name else "", "threshold")


def key_of(name: str) -> str:
    """Return what stands behind the point: the code of an override reason, or the key of an exception."""
    return name.partition(".")[2]


def in_force(decided: Iterable[Tuning], day: date) -> dict[tuple[str, str], Tuning]:
    """Return the decisions that hold on a day by rule and name; of several about one thing the last one made."""
    return {(one.rule, one.name): one for one in decided if one.holds_on(day)}


def excepted(tuning: Tuning) -> tuple[str, tuple[str, ...]]:
    """Return the kind of an exception, and of whom or what it is. Raises ContentError where it does not say that."""
    try:
        found = decoding.convert(json.loads(str(tuning.value)), dict[str, Any])
        kind, of = found["kind"], tuple(decoding.convert(found["of"], list[str]))
    except (ValueError, KeyError, RecursionError, msgspec.ValidationError):
        raise wrong("An exception does not read.", tuning.place, remedy=EXCEPTION_FORM) from None
    if set(found) != {"kind", "of"} or kind not in EXCEPTED:
        raise wrong(f"An exception is of one of these kinds: {', '.join(EXCEPTED)}.", tuning.place, EXCEPTION_FORM)
    return kind, of


EXCEPTION_FORM = 'Write it as {"kind": "diagnosis", "of": ["calciphylaxis"]}.'


def exception_text(kind: str, of: Iterable[str]) -> str:
    """Write the value of an exception, always in the same way."""
    return json.dumps({"kind": kind, "of": list(of)}, ensure_ascii=False)


def wrong(what: str, where: str, remedy: str = "Write rule.threshold=value.") -> ContentError:
    """Return the error that says that a decision cannot be meant."""
    return ContentError(what, where=where, slug="bad-tuning", remedy=remedy)
