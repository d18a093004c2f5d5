"""An answered call, made a row of the ledger: who by pseudonym, what by code, and nothing in the record's own words."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import msgspec

from cds_service.cards.fixed import EXTENSION
from cds_service.decide import day_of
from cds_service.facts.evidence import UNKNOWN, YES, Judgement
from cds_service.protocol.cards import Card
from cds_service.recording.reach import reach_of
from cds_service.recording.rows import Answered, CardRow, DecisionRow
from cds_service.recording.snapshot import snapshot, trail_of
from cds_service.rules.book import RuleBook
from cds_service.rules.model import Outcome
from cds_service.rules.quiet import Seen

FORM = 1
# Who may call a hook, by the type of resource (CDS Hooks, userId).
_USERS = ("Practitioner", "PractitionerRole", "Patient", "RelatedPerson")
Pseudonym = Callable[..., str]


def decision_row(
    answered: Answered, pseudonym: Pseudonym, seen: Callable[[str], Sequence[Seen]] = lambda _card: ()
) -> DecisionRow:
    """
    Make the row of an answered call.

    ``pseudonym`` is that of the quiet state (the same person has the same one in both), ``seen`` says of a card what
    its findings rested on.
    """
    facts = answered.decision.facts
    kept = snapshot(facts, units_of(answered.book), reach_of(answered.book))
    return DecisionRow(
        id=answered.id,
        at=facts.now,
        service=answered.service.service.id,
        patient=pseudonym("patient", answered.fhir_server, answered.patient),
        content=_content(answered, pseudonym),
        facts=_packed(msgspec.json.encode(kept)),
        cards=tuple(_card(card, seen) for card in answered.response.cards),
    )


def _packed(raw: bytes) -> bytes:
    """Compress quickly, with little memory: zlib's usual 256 kB would push out of the caches what calls need."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 13, 6)
    return packer.compress(raw) + packer.flush()


def units_of(book: RuleBook) -> dict[str, str]:
    """Return the unit in which each test is kept."""
    return book.once("units kept", lambda: {name: analyte.unit for name, analyte in book.terminology.analytes.items()})


def _content(answered: Answered, pseudonym: Pseudonym) -> dict[str, Any]:
    decision, told = answered.decision, answered.response.extension.get(EXTENSION, {})
    content = {
        "form": FORM,
        "hook": answered.service.service.hook,
        **_people(answered, pseudonym),
        "book": answered.book.fingerprint,
        "ms": round(answered.ms, 2),
        "states": {name: state.value for name, state in decision.facts.states.items()},
        "not_fetched": dict(answered.gaps),
        **_verdicts(decision.outcomes),
        "thresholds": _changed(answered),
        "pilot": _verdicts(decision.silent),
        "held": told.get("held_back", []),
        "cards": [_shown(card) for card in answered.response.cards],
    }
    return {name: value for name, value in content.items() if value not in ("", [], {})}


def _people(answered: Answered, pseudonym: Pseudonym) -> dict[str, str]:
    server, kind = answered.fhir_server, answered.user.partition("/")[0]
    return {
        "instance": pseudonym("instance", answered.hook_instance),
        "encounter": pseudonym("encounter", server, answered.encounter) if answered.encounter else "",
        "user": pseudonym("user", server, answered.user) if answered.user else "",
        "user_kind": kind if kind in _USERS else "",
        "issuer": pseudonym("issuer", answered.issuer) if answered.issuer else "",
    }


def _verdicts(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Say of every rule how it ended; why, for those that fired or could not be evaluated."""
    said: dict[str, Any] = {
        "fired": [_fired(one) for one in outcomes if one.verdict is YES],
        "not_evaluated": {
            one.rule.id: list(one.judgement.missing) or [f"failed: {one.failed}"]
            for one in outcomes
            if one.verdict is UNKNOWN
        },
        "not_fired": [one.rule.id for one in outcomes if one.verdict not in (YES, UNKNOWN)],
    }
    return {name: value for name, value in said.items() if value}


def _fired(outcome: Outcome) -> dict[str, Any]:
    return {
        "rule": outcome.rule.id,
        "version": outcome.rule.version,
        "indicator": outcome.indicator,
        "trail": _trail(outcome.judgement),
    }


def _trail(judgement: Judgement) -> dict[str, Any]:
    """
    Return the branches that hold, as data.

    The lines of a trail may quote the record; they can be worded anew from the facts.
    """
    said: dict[str, Any] = {"rests_on": trail_of(judgement.items)} if judgement.items else {}
    if judgement.absent:
        said["absent"] = judgement.absent
    below = [told for child in judgement.children if child.verdict is YES and (told := _trail(child))]
    if len(below) == 1 and not said:
        return below[0]  # a line that only passes on what one below it says
    return {**said, "because": below} if below else said


def _changed(answered: Answered) -> dict[str, dict[str, str]]:
    """Return the thresholds in force that are not those of the rule files."""
    day = day_of(answered.decision.facts)
    book, service = answered.book, answered.service
    return book.once(("changed", id(service), day), lambda: _changed_on(answered, day))


def _changed_on(answered: Answered, day: date) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for rule in answered.service.rules:
        for name, threshold in rule.thresholds.items():
            if threshold.on(day).layer != "rule":
                found.setdefault(rule.id, {})[name] = str(answered.book.values(rule, day)[name])
    return found


def _rules_of(card: Card) -> list[str]:
    return [rule["id"] for rule in card.extension.get(EXTENSION, {}).get("rules", ())]


def _shown(card: Card) -> dict[str, Any]:
    return {"id": card.uuid, "indicator": card.indicator, "rules": _rules_of(card)}


def _card(card: Card, seen: Callable[[str], Sequence[Seen]]) -> CardRow:
    return CardRow(
        card.uuid,
        card.indicator,
        _rules_of(card),
        [suggestion.uuid for suggestion in card.suggestions],
        [msgspec.to_builtins(one) for one in seen(card.uuid)],
    )
