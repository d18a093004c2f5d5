"""Rule files: read strictly, checked for shape, compiled."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from cds_service import schemas
from cds_service.errors import ContentError
from cds_service.facts import subtype
from cds_service.facts.derived import COMPUTED
from cds_service.rules import ordering, placeholders, quieting, ruling_out
from cds_service.rules.compiler import compile_clause
from cds_service.rules.model import DEFAULT_HOOKS, CardText, Citation, Clause, Dated, Escalation, Rule, Threshold, Value
from cds_service.rules.ruling_out import Logic
from cds_service.rules.scope import Scope, meant
from cds_service.schemas import strict_yaml
from cds_service.schemas.strict_yaml import Mapping
from cds_service.terminology import Terminology

Borrowed = dict[str, dict[str, Threshold]]


def read_rule(path: Path, shown_as: str) -> Mapping:
    """Read one rule file and check its shape and its name."""
    document = strict_yaml.read(path, shown_as=shown_as)
    schemas.check("rule", document, shown_as)
    if document["id"] != path.stem:
        raise ContentError(
            f'The id "{document["id"]}" differs from the name of the file.',
            slug="id-is-file-name",
            where=f"{shown_as}:{document.lines['id']}",
            remedy=f"Call the file {document['id']}.yaml.",
        )
    if document["chapter"] != path.parent.name:
        raise ContentError(
            f'The chapter "{document["chapter"]}" differs from the folder "{path.parent.name}".',
            slug="chapter-is-folder",
            where=f"{shown_as}:{document.lines['chapter']}",
            remedy=f"Move the file to {document['chapter']}/, or change its chapter.",
        )
    return document


def read_thresholds(document: Mapping, file: str) -> dict[str, Threshold]:
    """Read the thresholds of a rule; a borrowed one is an empty shell until it is linked."""
    entries = document.get("thresholds") or Mapping()
    return {name: _threshold(name, entry, f"{file}:{entries.lines[name]}") for name, entry in entries.items()}


def _threshold(name: str, entry: Mapping, where: str) -> Threshold:
    if "same_as" in entry:
        if len(entry) > 1:
            raise ContentError(
                f'The threshold "{name}" is the same as another one, and says more.',
                where=where,
                slug="threshold-ambiguous",
                remedy="Keep same_as alone, or take it away.",
            )
        rule, _, other = entry["same_as"].partition(".")
        return Threshold(name, "", "", Decimal(0), Decimal(0), (), borrowed=(rule, other))
    for key in ("means", "unit", "allowed", "values", "source"):
        if key not in entry:
            raise ContentError(
                f'The threshold "{name}" lacks {key}.',
                where=where,
                slug="threshold-incomplete",
                why="Every number needs a meaning, a unit, an allowed range, a date and a source.",
            )
    low, high = _allowed(entry["allowed"], where)
    values = tuple(
        sorted(
            (Dated(day(since, where), _value(value, where)) for since, value in entry["values"].items()),
            key=lambda dated: dated.since,
        )
    )
    threshold = Threshold(name, entry["means"], entry["unit"], low, high, values, entry["source"])
    for dated in values:
        if not threshold.allows(dated.value):
            raise ContentError(
                f'The threshold "{name}" has the value {dated.value}, outside its allowed range {entry["allowed"]}.',
                where=where,
                slug="out-of-range",
            )
    return threshold


def _allowed(text: str, where: str) -> tuple[Value, Value]:
    if text == "on or off":
        return False, True
    low, _, high = text.partition(" to ")
    try:
        return Decimal(low), Decimal(high)
    except ArithmeticError:
        raise ContentError(
            f'"{text}" is not a range.', where=where, slug="bad-range", remedy='Write "4.5 to 7.0", or "on or off".'
        ) from None


def day(text: str, where: str) -> date:
    """Read a day like 2026-11-21."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ContentError(
            f'"{text}" is not a day that exists.', where=where, slug="bad-date", remedy="Write 2026-11-21."
        ) from None


def _value(value: Any, where: str) -> Value:
    if isinstance(value, bool | Decimal):
        return value
    if isinstance(value, int):
        return Decimal(value)
    raise ContentError("A threshold's value must be a number, or true or false.", where=where, slug="bad-value")


def places(document: Mapping, file: str) -> dict[str, str]:
    """Return where each threshold of a rule stands, as file:line."""
    entries = document.get("thresholds") or Mapping()
    return {name: f"{file}:{entries.lines[name]}" for name in entries}


def link(thresholds: Borrowed, where: dict[str, dict[str, str]]) -> Borrowed:
    """Give every borrowed threshold the means, unit, range and values of the one it names."""
    return {
        rule: {name: _linked(threshold, thresholds, where[rule][name]) for name, threshold in own.items()}
        for rule, own in thresholds.items()
    }


def _linked(threshold: Threshold, thresholds: Borrowed, place: str) -> Threshold:
    if threshold.borrowed is None:
        return threshold
    rule, name = threshold.borrowed
    lender = thresholds.get(rule, {}).get(name)
    if lender is None:
        names = [f"{one}.{two}" for one, own in thresholds.items() for two, held in own.items() if not held.borrowed]
        raise ContentError(
            f'There is no threshold "{rule}.{name}" to be the same as.{meant(f"{rule}.{name}", names)}',
            where=place,
            slug="unknown-threshold",
        )
    if lender.borrowed:
        raise ContentError(
            f'"{rule}.{name}" is itself the same as another threshold.',
            where=place,
            slug="borrowed-threshold",
            remedy=f"Name {'.'.join(lender.borrowed)}.",
        )
    return msgspec.structs.replace(lender, name=threshold.name, borrowed=(rule, name))


def compile_rule(document: Mapping, file: str, thresholds: dict[str, Threshold], terminology: Terminology) -> Rule:
    """Compile a rule whose thresholds are linked. Raises ContentError with file and line."""
    scope = Scope(file, terminology, thresholds, set())
    about = _about(document, scope)
    when = compile_clause(document["when"], scope, document.lines["when"])
    card = _card(document["card"], scope)
    helps = _helps(document, scope) | _judged(card, scope)
    return Rule(
        id=document["id"],
        number=document["number"],
        title=document["title"],
        chapter=document["chapter"],
        status=document["status"],
        version=document["version"],
        owner=document["owner"],
        reviewed=day(document["reviewed"], f"{file}:{document.lines['reviewed']}"),
        why=document["why"].strip(),
        evidence=tuple(
            Citation(entry["cite"], entry["status"], entry.get("strength", "")) for entry in document["evidence"]
        ),
        unhelpful_when=document["unhelpful_when"],
        thresholds=thresholds,
        when=Logic(
            ordering.gated(when, about, terminology) if about else when,
            ruling_out.needs(document["when"], terminology),
        ),
        card=card,
        reads=frozenset(scope.reads),
        helps=helps,
        place=file,
        pairing=document.get("pairing", ""),
        told=scope.told,
        document=document,
        hooks=_names(document, "hooks") or DEFAULT_HOOKS,
        about_order=about,
        orders=frozenset(scope.orders),
        switch=_switch(document["when"]),
    )


def _switch(when: Mapping) -> str:
    """Return the switch that a rule's logic asks first of all, if it does."""
    first = next(iter(when.get("all") or ()), None)
    return str(first.get("enabled", "")) if isinstance(first, Mapping) else ""


def _about(document: Mapping, scope: Scope) -> tuple[str, ...]:
    """Return the concepts of the orders that a rule speaks of; a rule asked about orders has to say which."""
    asked = [hook for hook in _names(document, "hooks") if hook in ordering.ORDER_HOOKS]
    about = document.get("about_order")
    if asked and not about:
        scope.fail(
            f"The rule is asked at {asked[0]}, and does not say about which orders.",
            document.lines["hooks"],
            slug="missing-about-order",
            remedy="Add about_order: and the medications or orders that the rule speaks of.",
        )
    if about and not asked:
        scope.fail(
            "The rule says about which orders it speaks, and is asked at no hook about orders.",
            document.lines["about_order"],
            slug="idle-about-order",
            remedy=f"The hooks about orders are: {', '.join(ordering.ORDER_HOOKS)}.",
        )
    named = zip(about, about.lines, strict=True) if about else ()
    return tuple(dict.fromkeys(one for name, line in named for one in ordering.orderable(name, line, scope)))


def _card(entry: Mapping, scope: Scope) -> CardText:
    for key in ("workup", "consults", "repeat"):
        _known(entry, key, scope.terminology.orders, scope, "order")
    _known(entry, "alternatives", scope.terminology.order_medications(), scope, "medication to order")
    _known(entry, "override_reasons", scope.terminology.override_reasons, scope, "override reason")
    escalate = entry.get("escalate") or ()
    return CardText(
        indicator=entry["indicator"],
        summary=_wordings(entry),
        detail=entry["detail"].strip(),
        escalate=tuple(
            Escalation(one.get("to", ""), compile_clause(one["when"], scope, one.lines["when"]), _wordings(one))
            for one in escalate
        ),
        show=_names(entry, "show"),
        show_medications=_names(entry, "show_medications"),
        show_diagnoses=_names(entry, "show_diagnoses"),
        workup=_names(entry, "workup"),
        consults=_names(entry, "consults"),
        medication_advice=(entry.get("medication_advice") or "").strip(),
        override_reasons=_names(entry, "override_reasons"),
        quiet=quieting.read(entry, scope),
        repeat=_names(entry, "repeat"),
        fresh_within=scope.threshold(entry, "fresh_within", "days") if "fresh_within" in entry else "",
        remove_draft=bool(entry.get("remove_draft")),
        keep_draft_when=_keeping(entry, scope),
        alternatives=_names(entry, "alternatives"),
        show_subtype=bool(entry.get("show_subtype")),
    )


def _keeping(entry: Mapping, scope: Scope) -> Clause | None:
    """Compile when a draft order is not to be taken away."""
    clause = entry.get("keep_draft_when")
    return None if clause is None else compile_clause(clause, scope, entry.lines["keep_draft_when"])


def _wordings(entry: Mapping) -> tuple[str, ...]:
    summary = entry.get("summary") or ()
    return (summary,) if isinstance(summary, str) else tuple(summary)


def _names(entry: Mapping, key: str) -> tuple[str, ...]:
    return tuple(entry.get(key) or ())


def _known(entry: Mapping, key: str, known: dict[str, Any], scope: Scope, what: str) -> None:
    for name, line in zip(entry.get(key) or (), getattr(entry.get(key), "lines", ()), strict=True):
        if name not in known:
            scope.fail(
                f'There is no {what} "{name}".{meant(name, known)}', line, slug=f"unknown-{what.replace(' ', '-')}"
            )


_SHOWN = {"show": "measurement", "show_medications": "medication", "show_diagnoses": "diagnosis"}


def _helps(document: Mapping, scope: Scope) -> frozenset[str]:
    """Return what the card shows besides what the rule reads: it helps, but nothing waits for it."""
    card = document["card"]
    named = placeholders.check(card, scope)
    for key, kind in _SHOWN.items():
        for name, line in zip(card.get(key) or (), getattr(card.get(key), "lines", ()), strict=True):
            scope.check_kind(name, (kind,), key, line, single=kind == "measurement")
            named.add(name)
    if "pairing" in document:
        scope.threshold(document, "pairing", "h")
    elif paired := next((name for name in sorted(named) if name in COMPUTED and COMPUTED[name].window), None):
        scope.fail(
            f'The card shows "{paired}", so the rule must say how far apart its parts may lie.',
            document.lines["card"],
            slug="missing-pairing",
            remedy="Add pairing: and the name of a threshold in hours.",
        )
    if untold := next((one for one in sorted(named) if one in COMPUTED and COMPUTED[one].against), None):
        _check_told(untold, document, scope)
    return frozenset(concept for name in named for concept in scope.concepts(name))


def _check_told(name: str, document: Mapping, scope: Scope) -> None:
    if name not in scope.told:
        scope.fail(
            f'The card shows "{name}", and no clause of the rule says against which limit.',
            document.lines["card"],
            slug="missing-limit",
            remedy=f"Name it in a clause, with {COMPUTED[name].told}.",
        )


def _judged(card: CardText, scope: Scope) -> frozenset[str]:
    """Return what tells whether a card is needed again: its tests (are they fresh?), and what ends its quiet time."""
    tests = {name for name in card.workup if name in scope.terminology.analytes}
    named = {*tests, *quieting.names(card.quiet), *(subtype.READS if card.show_subtype else ())}
    return frozenset(concept for name in named for concept in scope.concepts(name))
