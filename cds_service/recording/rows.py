"""What goes into the ledger for one answered call, and what is handed over to make it of."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from cds_service import decoding
from cds_service.decide import Decision
from cds_service.facts.model import Facts
from cds_service.protocol.cards import Response
from cds_service.protocol.request import HookRequest
from cds_service.recording.restoring import restored
from cds_service.recording.snapshot import Snapshot
from cds_service.rules.book import RuleBook, ServiceRules

_snapshot = decoding.decoder(Snapshot)


class Answered(msgspec.Struct, frozen=True):
    """
    An answered call as it is handed over: nothing is worked out yet, so that the call does not wait.

    ``id`` is ours, ``issuer`` the client that called, ``ms`` how long the answer took, ``gaps`` what was asked of the
    FHIR server and did not come. The ids are those of the call: they leave this only as pseudonyms.
    """

    id: str
    book: RuleBook
    service: ServiceRules
    decision: Decision
    response: Response
    ms: float
    hook_instance: str = ""
    fhir_server: str = ""
    patient: str = ""
    user: str = ""
    encounter: str = ""
    issuer: str = ""
    gaps: Mapping[str, str] = {}

    @classmethod
    def of(cls, call: HookRequest, decided: tuple[RuleBook, ServiceRules, Decision, Response], **more: Any) -> Answered:
        """Hand over a call and what was decided; its body and its token stay behind."""
        book, service, decision, response = decided
        return cls(
            book=book,
            service=service,
            decision=decision,
            response=response,
            hook_instance=call.hook_instance,
            fhir_server=call.fhir_server,
            patient=call.patient_id,
            user=call.user_id,
            encounter=call.encounter_id,
            **more,
        )

    def __repr__(self) -> str:
        """Show nothing of anybody."""
        return f"Answered({self.id})"


class CardRow(msgspec.Struct, frozen=True):
    """A card that was shown: its uuid, its rules, and what its findings rested on (for quiet time)."""

    id: str
    indicator: str
    rules: list[str]
    suggestions: list[str]
    seen: list[dict[str, Any]] = []


class DecisionRow(msgspec.Struct, frozen=True):
    """
    One answered call. ``at`` is in seconds since 1970 (UTC), ``patient`` a pseudonym.

    ``content`` holds hook, pseudonyms, rule book, verdicts, trails and gaps; ``facts`` the compressed snapshot of
    what the rules were asked about, from which another threshold can be tried (``facts_from``).
    """

    id: str
    at: float
    service: str
    patient: str
    content: dict[str, Any]
    facts: bytes = b""
    cards: tuple[CardRow, ...] = ()


def facts_from(row: DecisionRow | bytes) -> Facts:
    """
    Return the facts of a recorded call: every rule says of them what it said of the record.

    Words of the record are not in them, so cards made of them name things by their concepts.
    """
    packed = row if isinstance(row, bytes) else row.facts
    return restored(_snapshot.decode(zlib.decompress(packed)))
