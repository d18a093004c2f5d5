"""How a rule file says for how long its card stays quiet after an override, and what ends that early."""

from __future__ import annotations

from typing import Any

from cds_service.facts import lesions
from cds_service.rules.measuring import label_of, unit_of
from cds_service.rules.model import Quiet, Refire
from cds_service.rules.scope import Scope
from cds_service.schemas.strict_yaml import Mapping

EACH_ORDER = "each order"
LESION = "lesion"
_HOURS = {"hour": 1, "hours": 1, "day": 24, "days": 24}
_SHAPES = (
    "Write {rises: test, by: threshold}, {falls: test, by: threshold}, {crosses: threshold, of: test}, "
    "{new: lesion} (or a diagnosis or medication), or {worse: indicator}."
)


def read(card: Mapping, scope: Scope) -> Quiet:
    """Read ``quiet_for`` and ``quiet_unless`` of a card. Raises ContentError where they do not read."""
    conditions = card.get("quiet_unless") or ()
    hours = _hours_by_hook(card.get("quiet_for") or EACH_ORDER)
    numbered = zip(conditions, getattr(conditions, "lines", ()), strict=True)
    unless = tuple(one for entry, line in numbered if (one := _refire(entry, scope, line)))
    return Quiet(hours, unless, "; ".join(_said(one, scope) for one in unless))


def names(quiet: Quiet) -> set[str]:
    """Return the measurements and concepts that must be known to tell whether a quiet time has ended."""
    return {name for one in quiet.unless for name in (one.concepts if one.kind == "new" else (one.about,))}


def _hours_by_hook(entry: Any) -> dict[str, int]:
    if isinstance(entry, str):
        return {"": _hours(entry)}
    return {"" if hook == "otherwise" else hook: _hours(text) for hook, text in entry.items()}


def _hours(text: str) -> int:
    number, _, unit = text.partition(" ")
    return 0 if text == EACH_ORDER else int(number) * _HOURS[unit]


def _refire(one: Any, scope: Scope, line: int) -> Refire | None:
    keys = sorted(one) if isinstance(one, Mapping) else []
    if keys == ["worse"] and one["worse"] == "indicator":
        return None  # Always so: a card that grew more urgent is never quiet.
    if keys == ["new"]:
        return Refire("new", one["new"], concepts=_concepts(one, scope))
    if keys in (["by", "falls"], ["by", "rises"]):
        return Refire(keys[1], one[keys[1]], _limit(one, "by", one[keys[1]], keys[1], scope))
    if keys != ["crosses", "of"]:
        scope.fail("This does not say what ends the quiet time.", line, slug="bad-quiet-unless", remedy=_SHAPES)
    return Refire("crosses", one["of"], _limit(one, "crosses", one["of"], "of", scope))


def _concepts(one: Mapping, scope: Scope) -> tuple[str, ...]:
    if one["new"] == LESION:
        return lesions.CONCEPTS
    scope.check_kind(one["new"], ("diagnosis", "medication"), "new", one.lines["new"])
    return scope.terminology.members(one["new"])


def _limit(one: Mapping, key: str, test: str, named: str, scope: Scope) -> str:
    scope.check_kind(test, ("measurement",), named, one.lines[named], single=True)
    return scope.threshold(one, key, unit_of(scope.terminology, test))


def _said(one: Refire, scope: Scope) -> str:
    """Say in words, and with the number in force, what ends the quiet time."""
    if one.kind == "new":
        return f"a new {one.about if one.about == LESION else scope.terminology.label(one.about)} is recorded"
    number = scope.thresholds[one.limit]
    limit = f"{number.values[-1].value} {number.unit}"
    if one.kind == "crosses":
        return f"{label_of(scope.terminology, one.about)} crosses {limit}"
    return f"{label_of(scope.terminology, one.about)} {one.kind} by {limit} or more"
