"""How often a rule was asked silently: what a rule in pilot has to show before it shows cards."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import select

from cds_service import decoding
from cds_service.adapters.ledger import Database
from cds_service.adapters.ledger.schema import decisions

_AT_ONCE, _PATIENCE = 1_000, 30.0


class _Verdicts(msgspec.Struct, frozen=True):
    fired: list[dict[str, Any]] = []
    not_evaluated: dict[str, Any] = {}
    not_fired: list[str] = []

    def about(self, rule: str) -> bool:
        return (
            rule in self.not_fired or rule in self.not_evaluated or any(one.get("rule") == rule for one in self.fired)
        )


class _Content(msgspec.Struct):
    pilot: _Verdicts = _Verdicts()


_content = decoding.decoder(_Content)


def evaluations(database: Database, rule: str, enough: int) -> int:
    """
    Return in how many recorded calls a rule was asked silently, up to ``enough``; the newest are looked at first.

    What it could not be evaluated on counts too: that is seen in pilot, and is a reason to look. Raises Unavailable.
    """
    found, before = 0, None
    while found < enough:
        asked = select(decisions.c.number, decisions.c.content).where(decisions.c.content.contains('"pilot"'))
        page = asked if before is None else asked.where(decisions.c.number < before)
        with database.reading(patience=_PATIENCE) as connection:
            rows: Any = connection.execute(page.order_by(decisions.c.number.desc()).limit(_AT_ONCE)).all()
        if not rows:
            break
        found += sum(_content.decode(content).pilot.about(rule) for _, content in rows)
        before = rows[-1][0]
    return min(found, enough)
