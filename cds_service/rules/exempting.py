"""
Whom a rule that fired shows no card: exceptions, and how far its rollout has come.

Pure: people, encounters and clients come as pseudonyms. The rule is evaluated all the same; what is held back is named
in the answer, counted and recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache
from hashlib import sha256

import msgspec

from cds_service.facts.model import Facts
from cds_service.rules.model import Exemption, Outcome, Rule
from cds_service.rules.quiet import Held

ROLLOUT = "rollout"


class Occasion(msgspec.Struct, frozen=True):
    """
    Of whom, by whom and where a call is: pseudonyms, but for the kind of ``user`` (the type of its FHIR resource).

    ``disguise`` makes of the name of a client what ``client`` holds.
    """

    patient: str = ""
    encounter: str = ""
    user: str = ""
    client: str = ""
    disguise: Callable[[str], str] = str


def sorted_out(
    fired: Sequence[Outcome], facts: Facts, day: date, occasion: Callable[[], Occasion]
) -> tuple[list[Outcome], list[Held]]:
    """Return the findings that may speak, and those held back; nobody's pseudonym is made where no rule is limited."""
    if not any(one.rule.limited for one in fired):
        return list(fired), []
    who, speaking, held = occasion(), list[Outcome](), list[Held]()
    for outcome in fired:
        reason = withheld(outcome.rule, facts, day, who)
        held += [Held(outcome, reason)] if reason else []
        speaking += [] if reason else [outcome]
    return speaking, held


def withheld(rule: Rule, facts: Facts, day: date, occasion: Occasion) -> str:
    """Return why a rule shows no card on an occasion; "" where it may."""
    for one in rule.exemptions:
        if one.since <= day < one.until and _excepted(one, facts, occasion):
            return f"exception {one.key}"
    return "" if rule.rollout >= 100 or place(rule.id, occasion) < rule.rollout else ROLLOUT


def _excepted(exemption: Exemption, facts: Facts, occasion: Occasion) -> bool:
    if exemption.kind == "user":
        return occasion.user in exemption.of
    if exemption.kind == "patients":
        return occasion.patient in exemption.of
    if exemption.kind == "client":
        return bool(occasion.client) and occasion.client in map(occasion.disguise, exemption.of)
    known = facts.diagnoses
    return any(one.active for name in exemption.members if name in known for one in known[name])


def place(rule: str, occasion: Occasion) -> int:
    """
    Return where an encounter stands among 100: always the same for a rule, and another for another rule.

    A rule rolled out further reaches new encounters and keeps those it had. Without an encounter the patient counts.
    """
    return _place(rule, occasion.encounter or occasion.patient)


@lru_cache(maxsize=4096)
def _place(rule: str, who: str) -> int:
    return int.from_bytes(sha256(f"{rule} {who}".encode()).digest()[:8]) % 100
